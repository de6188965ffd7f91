//! Bytes to 20 ms frames, however the bytes were cut into messages.
//!
//! Vonage sends one frame a message. Proxies, bugs and other peers do not always,
//! so a frame may span messages, a message may hold many frames, and a sample may
//! be split in the middle. What comes out depends on the bytes alone.

use crate::types::Rate;

/// Collects bytes of little-endian 16-bit mono PCM into frames.
#[derive(Debug)]
pub struct Framer {
    frame_bytes: usize,
    /// The beginning of a frame whose end has not come.
    held: Vec<u8>,
}

impl Framer {
    /// A framer for one leg's rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { frame_bytes: rate.frame_bytes(), held: Vec::new() }
    }

    /// Takes bytes from the front of `input` until a frame is whole, and decodes it
    /// into `out` (one frame of samples: 160, 320 or 480). `false` when `input` ran
    /// out first; what was left of it is held.
    pub fn next_frame(&mut self, input: &mut &[u8], out: &mut [i16]) -> bool {
        if self.held.is_empty() && input.len() >= self.frame_bytes {
            let (frame, rest) = input.split_at(self.frame_bytes);
            *input = rest;
            decode(frame, out);
            return true;
        }
        let take = input.len().min(self.frame_bytes - self.held.len());
        let (head, rest) = input.split_at(take);
        self.held.extend_from_slice(head);
        *input = rest;
        if self.held.len() < self.frame_bytes {
            return false;
        }
        decode(&self.held, out);
        self.held.clear();
        true
    }

    /// Whether the beginning of a frame is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Ends the stream: decodes what is held into `out`, silence after it. Gives the
    /// number of real samples, and whether half a sample was left over.
    pub fn finish(&mut self, out: &mut [i16]) -> (usize, bool) {
        let samples = self.held.len() / 2;
        let half = self.held.len() % 2 == 1;
        out.fill(0);
        decode(&self.held, out);
        self.held.clear();
        (samples, half)
    }
}

fn decode(bytes: &[u8], out: &mut [i16]) {
    for (pair, sample) in bytes.chunks_exact(2).zip(out) {
        *sample = i16::from_le_bytes([pair[0], pair[1]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts `bytes` into messages of the sizes given, over and over.
    fn frames(bytes: &[u8], sizes: &[usize]) -> (Vec<Vec<i16>>, usize, bool) {
        let mut framer = Framer::new(Rate::Hz8000);
        let mut out = vec![0; 160];
        let mut got = Vec::new();
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (message, tail) = rest.split_at((*size).min(rest.len()));
            rest = tail;
            let mut message = message;
            while framer.next_frame(&mut message, &mut out) {
                got.push(out.clone());
            }
        }
        let (samples, half) = framer.finish(&mut out);
        got.push(out);
        (got, samples, half)
    }

    #[test]
    fn frames_depend_on_the_bytes_and_not_on_the_messages() {
        let bytes: Vec<u8> = (0..1333_u32).map(|i| (i * 7) as u8).collect();
        let whole = frames(&bytes, &[1333]);
        assert_eq!((whole.0.len(), whole.1, whole.2), (5, 26, true));
        for sizes in [&[1][..], &[320], &[319, 1, 2], &[641, 7], &[960]] {
            assert_eq!(frames(&bytes, sizes), whole, "cut by {sizes:?}");
        }
    }

    #[test]
    fn samples_are_little_endian() {
        let (frames, samples, half) = frames(&[0x01, 0x80, 0xff, 0x7f], &[3]);
        assert_eq!((&frames[0][..3], samples, half), (&[-32767, 32767, 0][..], 2, false));
    }
}
