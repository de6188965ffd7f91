//! The other end: every leg's frames from one thread, as cheaply as can be; and a ping to
//! each, to see how far behind the server is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sidetone::call::wire;
use sidetone::load::frame::{Messages, Opcode, masked};

use super::{RATE, demo_audio};

const FRAME: Duration = Duration::from_millis(20);

/// The thread wakes this often and sends what is due: as coarse as the timers of
/// most senders, and not so fine that it is all wake-ups.
const GRID: Duration = Duration::from_millis(1);

/// A leg that does not send all the time sends for so many frames: one second.
const SPURT: usize = 50;

/// One second of digital silence.
pub(crate) fn silence() -> Messages {
    Messages::of(&vec![0; RATE.hz() as usize], RATE.frame_samples())
}

/// The demo call, one party after the other.
pub(crate) fn demo_call() -> Messages {
    Messages::of(&demo_audio::parties(RATE).concat(), RATE.frame_samples())
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
    /// Connects legs of these numbers and says hello on each.
    pub(crate) fn connect(address: &str, legs: Range<usize>) -> Self {
        let hello = masked(Opcode::Text, wire::connected(RATE, &serde_json::Map::new()).as_bytes());
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
        Self { legs: legs.map(leg).collect() }
    }

    /// Plays `audio` on every leg at pace for `length`, over and over. Legs are evenly
    /// spread over the 20 ms, and each begins elsewhere in the audio. At any time one leg
    /// `in_turn` sends: each for a second, and then nothing while the others do.
    pub(crate) fn play(&mut self, audio: &Messages, length: Duration, in_turn: usize) -> Played {
        let legs = self.legs.len();
        let rounds = (length.as_nanos() / FRAME.as_nanos()) as usize;
        let start = Instant::now();
        let mut played = Played { frames: 0, late: 0 };
        for n in 0..rounds * legs {
            let (round, leg) = (n / legs, n % legs);
            if !((round + leg) / SPURT + leg).is_multiple_of(in_turn) {
                continue;
            }
            let due = FRAME.mul_f64(n as f64 / legs as f64);
            let passed = start.elapsed();
            if passed < due {
                sleep((due - passed).max(GRID));
            }
            let at = (leg * audio.count() / legs + round) % audio.count();
            self.legs[leg].write_all(audio.get(at as u32)).unwrap();
            played.frames += 1;
            played.late += u64::from(start.elapsed() > due + FRAME);
        }
        sleep((start + length).saturating_duration_since(Instant::now()));
        played
    }

    /// Closes every leg, and waits until the server has done so too.
    pub(crate) fn hang_up(mut self) {
        let close = masked(Opcode::Close, &1000_u16.to_be_bytes());
        self.legs.iter_mut().for_each(|socket| socket.write_all(&close).unwrap());
        for socket in &mut self.legs {
            socket.read_to_end(&mut Vec::new()).unwrap();
        }
    }

    /// Sends a ping behind everything sent so far; how long the last answer took.
    pub(crate) fn ping(&mut self) -> Duration {
        let ping = masked(Opcode::Ping, b"");
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
