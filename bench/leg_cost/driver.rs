//! The other end: every leg's frames from one thread, as cheaply as can be.
//!
//! Frames are masked once, before the start; sending one is a single `write`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sidetone::call::wire;

use super::{RATE, demo_audio};

const FRAME: Duration = Duration::from_millis(20);

/// The thread wakes this often and sends what is due: as coarse as the timers of
/// most senders, and not so fine that it is all wake-ups.
const GRID: Duration = Duration::from_millis(1);

/// Any key will do; an all-zero one might be special to somebody.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One masked WebSocket message, ready to send.
pub(crate) type Frame = Vec<u8>;

/// One second of digital silence.
pub(crate) fn silence() -> Vec<Frame> {
    vec![message(0x82, &vec![0; RATE.frame_bytes()]); 50]
}

/// The demo call, one party after the other.
pub(crate) fn demo_call() -> Vec<Frame> {
    let bytes = demo_audio::bytes(&demo_audio::parties(RATE).concat());
    bytes.chunks_exact(RATE.frame_bytes()).map(|frame| message(0x82, frame)).collect()
}

/// RFC 6455 section 5.2, final and masked; `head` is its first byte.
fn message(head: u8, payload: &[u8]) -> Frame {
    let mut message = vec![head];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..=125) => message.push(0x80 | short),
        _ => {
            message.push(0x80 | 126);
            message.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    message.extend(MASK);
    message.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    message
}

/// What was sent.
pub(crate) struct Played {
    pub(crate) frames: u64,
    /// Sent more than a frame's time after they were due.
    pub(crate) late: u64,
}

/// Every leg's socket.
pub(crate) struct Driver {
    legs: Vec<TcpStream>,
}

impl Driver {
    /// Connects `legs` legs and says hello on each.
    pub(crate) fn connect(address: &str, legs: usize) -> Self {
        let hello = message(0x81, wire::connected(RATE, &serde_json::Map::new()).as_bytes());
        let leg = |n: usize| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            let request = format!(
                "GET /media?conversation=bench-{n}&speaker=caller HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: c2lkZXRvbmUgYmVuY2ghIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
            socket.write_all(&hello).unwrap();
            socket
        };
        Self { legs: (0..legs).map(leg).collect() }
    }

    /// Plays `frames` on every leg at pace for `length`, over and over. Legs are evenly
    /// spread over the 20 ms, and each begins elsewhere in the audio.
    pub(crate) fn play(&mut self, frames: &[Frame], length: Duration) -> Played {
        let legs = self.legs.len();
        let rounds = (length.as_nanos() / FRAME.as_nanos()) as usize;
        let start = Instant::now();
        let mut late = 0;
        for n in 0..rounds * legs {
            let (round, leg) = (n / legs, n % legs);
            let due = FRAME.mul_f64(n as f64 / legs as f64);
            let passed = start.elapsed();
            if passed < due {
                sleep((due - passed).max(GRID));
            }
            late += u64::from(start.elapsed() > due + FRAME);
            let at = (leg * frames.len() / legs + round) % frames.len();
            self.legs[leg].write_all(&frames[at]).unwrap();
        }
        sleep((start + length).saturating_duration_since(Instant::now()));
        Played { frames: (rounds * legs) as u64, late }
    }

    /// Sends a ping behind everything sent so far; how long the last answer took.
    pub(crate) fn ping(&mut self) -> Duration {
        let ping = message(0x89, b"");
        let start = Instant::now();
        self.legs.iter_mut().for_each(|socket| socket.write_all(&ping).unwrap());
        for socket in &mut self.legs {
            let mut pong = [0; 2];
            socket.read_exact(&mut pong).unwrap();
            assert_eq!(pong, [0x8A, 0], "the server sent something else than a pong");
        }
        start.elapsed()
    }
}
