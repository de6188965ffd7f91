//! WebSocket messages as bytes (RFC 6455, section 5.2): those we send, masked once and for
//! all legs, and as much of those we get as has to be answered.

use std::fmt;

/// Any key will do; an all-zero one might be special to somebody.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Longest payload of a control frame.
const CONTROL_MAX: usize = 125;

/// What a message is: the lower half of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// To be answered.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

/// One whole masked message, ready to be written to a socket. `payload`: up to 64 KiB.
#[must_use]
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + 8);
    write_masked(opcode, payload, &mut message);
    message
}

fn write_masked(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(u16::try_from(payload.len()).is_ok(), "{} bytes", payload.len());
    out.push(0x80 | opcode as u8);
    if payload.len() <= CONTROL_MAX {
        out.push(0x80 | payload.len() as u8);
    } else {
        out.push(0x80 | 126);
        out.extend((payload.len() as u16).to_be_bytes());
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Binary messages of one length, one after the other in memory.
#[derive(Clone)]
pub struct Messages {
    bytes: Vec<u8>,
    each: usize,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages of {} bytes", self.count(), self.each)
    }
}

impl Messages {
    /// A message for each `samples` samples; of what is left over, nothing.
    #[must_use]
    pub fn of(audio: &[i16], samples: usize) -> Self {
        let each = masked(Opcode::Binary, &vec![0; samples * 2]).len();
        let mut bytes = Vec::with_capacity(audio.len() / samples * each);
        let mut payload = Vec::with_capacity(samples * 2);
        for frame in audio.chunks_exact(samples) {
            payload.clear();
            frame.iter().for_each(|sample| payload.extend(sample.to_le_bytes()));
            write_masked(Opcode::Binary, &payload, &mut bytes);
        }
        Self { bytes, each }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.len() / self.each
    }

    /// The bytes of one of them.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn get(&self, at: u32) -> &[u8] {
        let from = at as usize * self.each;
        &self.bytes[from..from + self.each]
    }
}

/// What a gateway sent that matters to its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// It closes, with a code if it gives one.
    Close(Option<u16>),
    /// Audio, text, or a pong: counted at most.
    Other,
}

/// Reads a gateway's messages out of whatever pieces they come in. Keeps the payload of
/// control frames and nothing else.
#[derive(Debug, Default)]
pub struct Inbound {
    head: [u8; 10],
    have: u8,
    /// Of the message whose head is complete.
    left: u64,
    payload: Vec<u8>,
}

impl Inbound {
    /// Takes bytes as they came.
    pub fn feed(&mut self, mut bytes: &[u8], mut told: impl FnMut(Incoming)) {
        while !bytes.is_empty() {
            if !self.has_head() {
                self.head[usize::from(self.have)] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                if !self.has_head() {
                    continue;
                }
                self.left = self.length();
            }
            let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if self.head[0] & 0x08 != 0 {
                let room = CONTROL_MAX.saturating_sub(self.payload.len());
                self.payload.extend_from_slice(&bytes[..taken.min(room)]);
            }
            self.left -= taken as u64;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.have = 0;
                told(self.message());
            }
        }
    }

    /// A server's messages are not masked: two bytes, and the length where it is long.
    fn has_head(&self) -> bool {
        let wanted = match self.head[1] & 0x7F {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        self.have >= 2 && self.have >= wanted
    }

    fn length(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match self.head[1] & 0x7F {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        }
    }

    fn message(&mut self) -> Incoming {
        let payload = std::mem::take(&mut self.payload);
        match self.head[0] & 0x0F {
            9 => Incoming::Ping(payload),
            8 => Incoming::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            _ => Incoming::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocket, frame::coding::CloseCode};
    use tokio_tungstenite::tungstenite::{Bytes, Message};

    use super::*;

    /// Reads what is given, keeps what is written.
    #[derive(Default)]
    struct Pipe(Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Pipe {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the library makes of our bytes, at the server's end.
    fn read_by_a_server(bytes: &[u8]) -> Message {
        WebSocket::from_raw_socket(Pipe(Cursor::new(bytes.to_vec()), Vec::new()), Role::Server, None).read().unwrap()
    }

    /// What a server of the library sends.
    fn sent_by_a_server(messages: &[Message]) -> Vec<u8> {
        let mut server = WebSocket::from_raw_socket(Pipe::default(), Role::Server, None);
        messages.iter().for_each(|message| server.send(message.clone()).unwrap());
        server.get_ref().1.clone()
    }

    proptest! {
        #[test]
        fn a_server_reads_the_audio_that_was_encoded(audio in prop::collection::vec(any::<i16>(), 0..2000), frame in 1_usize..500) {
            let messages = Messages::of(&audio, frame);
            prop_assert_eq!(messages.count(), audio.len() / frame);
            for (at, samples) in audio.chunks_exact(frame).enumerate() {
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                prop_assert_eq!(read_by_a_server(messages.get(at as u32)), Message::binary(bytes));
            }
        }

        #[test]
        fn what_a_server_sends_is_read_in_any_pieces(cuts in prop::collection::vec(1_usize..400, 1..40), long in 0_usize..70_000) {
            let bytes = sent_by_a_server(&[
                Message::Ping(Bytes::from_static(b"are you there")),
                Message::binary(vec![0x88; long]),
                Message::text("{}"),
                Message::Ping(Bytes::new()),
                Message::Close(Some(CloseFrame { code: CloseCode::Away, reason: "stopping".into() })),
            ]);
            let (mut inbound, mut told, mut rest) = (Inbound::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                inbound.feed(piece, |incoming| told.push(incoming));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let expected = [
                Incoming::Ping(b"are you there".to_vec()),
                Incoming::Other,
                Incoming::Other,
                Incoming::Ping(Vec::new()),
                Incoming::Close(Some(1001)),
            ];
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn control_messages_are_as_the_library_has_them() {
        assert_eq!(read_by_a_server(&masked(Opcode::Pong, b"ab")), Message::Pong(Bytes::from_static(b"ab")));
        assert_eq!(read_by_a_server(&masked(Opcode::Text, b"{}")), Message::text("{}"));
        let close = read_by_a_server(&masked(Opcode::Close, &1000_u16.to_be_bytes()));
        assert!(matches!(close, Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
    }
}
