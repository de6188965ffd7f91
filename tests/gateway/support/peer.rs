//! A WebSocket client that can break every rule: it writes its frames by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Key of every frame we mask. Any key is valid.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub struct Peer {
    pub stream: TcpStream,
}

/// What came back over the socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Back {
    /// A close frame with this code.
    Close(u16),
    /// The connection ended without one.
    Gone,
}

impl Peer {
    /// Connects as Vonage does.
    pub async fn connect(address: SocketAddr, query: &str) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        // What was sent is then in the gateway's socket, and not held back for more to come.
        stream.set_nodelay(true).unwrap();
        Self::upgrade(stream, query).await
    }

    /// Connects with the smallest receive buffer the system gives.
    pub async fn connect_narrow(address: SocketAddr, query: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        Self::upgrade(within("a connection", socket.connect(address)).await.unwrap(), query).await
    }

    async fn upgrade(mut stream: TcpStream, query: &str) -> Self {
        stream.write_all(request(query).as_bytes()).await.unwrap();
        let answer = within("the answer to the handshake", head(&mut stream)).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "the gateway answered {answer:?}");
        Self { stream }
    }

    pub async fn text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes()).await;
    }

    pub async fn binary(&mut self, audio: &[u8]) {
        self.send(BINARY, audio).await;
    }

    pub async fn send(&mut self, opcode: u8, payload: &[u8]) {
        within("room to send a frame", self.stream.write_all(&frame(0x80 | opcode, true, payload))).await.unwrap();
    }

    /// Sends what may be refused half-way, as by a gateway that has had enough.
    pub async fn send_if_taken(&mut self, bytes: &[u8]) -> bool {
        within("room to send, or a refusal", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Hangs up as RFC 6455 asks, and waits for the answer.
    pub async fn hang_up(mut self) -> Back {
        self.send(CLOSE, &1000_u16.to_be_bytes()).await;
        self.back().await
    }

    /// Reads to the close frame or to the end of the connection.
    pub async fn back(&mut self) -> Back {
        loop {
            match within("a frame, or the end of the connection", self.read()).await {
                Some((CLOSE, payload)) => {
                    return Back::Close(u16::from_be_bytes([payload[0], payload[1]]));
                }
                Some(_) => {}
                None => return Back::Gone,
            }
        }
    }

    /// One frame of the gateway; `None` when the connection has ended.
    pub async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).await.ok()?;
        assert_eq!(start[1] & 0x80, 0, "the gateway masked a frame");
        let length = match start[1] {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()? as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((start[0] & 0x0f, payload))
    }

    /// Breaks the connection with a TCP reset.
    pub fn reset(self) {
        #[expect(deprecated, reason = "it may block, but lingering for no time does not")]
        self.stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// A frame: first byte as given, masked or not.
pub fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let flag = if masked { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => bytes.push(flag | short as u8),
        long @ 126..=0xffff => {
            bytes.push(flag | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        huge => {
            bytes.push(flag | 127);
            bytes.extend_from_slice(&(huge as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ MASK[n % 4]));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// The handshake that Vonage sends.
pub fn request(query: &str) -> String {
    format!(
        "GET /media{query} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Reads the head of an HTTP answer; what there is of it, if the connection ends first.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Sends bytes to the port and gives what comes back until the connection ends.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = within("a connection", TcpStream::connect(address)).await.unwrap();
    // It may be refused half-way.
    let _ = within("room to send, or a refusal", stream.write_all(bytes)).await;
    let mut answer = Vec::new();
    let _ = within("the end of the connection", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
