//! The other end: keep-alive connections that take the webhooks by turns.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::webhooks::Webhook;

/// Vonage's own number is unknown; with fewer, one slow reply would hold up many.
const CONNECTIONS: usize = 64;

/// Sends each webhook when it is due; how long after that each answer was there, in no order.
pub(crate) fn play(address: &str, webhooks: Vec<Webhook>) -> Vec<Duration> {
    let mut turns: Vec<Vec<Webhook>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (number, webhook) in webhooks.into_iter().enumerate() {
        turns[number % CONNECTIONS].push(webhook);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sockets = Vec::new();
        for turn in turns {
            let socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            sockets.push((socket, turn));
        }
        let start = Instant::now();
        let connections: Vec<_> =
            sockets.into_iter().map(|(socket, turn)| tokio::spawn(take_turns(socket, turn, start))).collect();
        let mut delays = Vec::new();
        for connection in connections {
            delays.extend(connection.await.unwrap());
        }
        delays
    })
}

async fn take_turns(mut socket: TcpStream, turn: Vec<Webhook>, start: Instant) -> Vec<Duration> {
    let mut delays = Vec::new();
    let mut reply = Vec::new();
    for webhook in turn {
        let due = start + webhook.due;
        tokio::time::sleep_until(due.into()).await;
        socket.write_all(&webhook.request).await.unwrap();
        read(&mut socket, &mut reply).await;
        if webhook.is_answer {
            assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
            delays.push(due.elapsed());
        }
    }
    delays
}

/// Reads one reply, whose length its head tells.
async fn read(socket: &mut TcpStream, reply: &mut Vec<u8>) {
    reply.clear();
    loop {
        assert!(socket.read_buf(reply).await.unwrap() > 0, "the server closed");
        let Some(end) = reply.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&reply[..end]).to_ascii_lowercase();
        let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if reply.len() >= end + 4 + length {
            return;
        }
    }
}
