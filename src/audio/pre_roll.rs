//! The last moments before speech was noticed, kept so that its first sound is not lost.

use crate::types::rate::{FRAME_SAMPLES, Frame};

/// A ring of the newest frames. Allocates when made, never after.
#[derive(Debug)]
pub struct PreRoll {
    samples: Box<[i16]>,
    capacity: usize,
    /// Where the next frame goes.
    head: usize,
    len: usize,
}

impl PreRoll {
    /// A ring of `capacity` frames of 20 ms.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { samples: vec![0; capacity * FRAME_SAMPLES].into(), capacity, head: 0, len: 0 }
    }

    /// Puts in the newest frame. `true` when the oldest had to go for it.
    pub fn push(&mut self, frame: &Frame) -> bool {
        let at = self.head * FRAME_SAMPLES;
        self.samples[at..at + FRAME_SAMPLES].copy_from_slice(frame);
        self.head = (self.head + 1) % self.capacity;
        let full = self.len == self.capacity;
        self.len += usize::from(!full);
        full
    }

    /// Frames held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves all frames, oldest first, to the end of `out`.
    pub fn drain_into(&mut self, out: &mut Vec<i16>) {
        let start = (self.head + self.capacity - self.len) % self.capacity;
        for i in 0..self.len {
            let at = (start + i) % self.capacity * FRAME_SAMPLES;
            out.extend_from_slice(&self.samples[at..at + FRAME_SAMPLES]);
        }
        self.len = 0;
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_newest_frames_in_order() {
        let mut ring = PreRoll::new(3);
        let evicted: Vec<_> = (1..=5).map(|n| ring.push(&[n; FRAME_SAMPLES])).collect();
        assert_eq!(evicted, [false, false, false, true, true]);
        let mut out = Vec::new();
        ring.drain_into(&mut out);
        let firsts: Vec<_> = out.chunks(FRAME_SAMPLES).map(|frame| frame[0]).collect();
        assert_eq!(firsts, [3, 4, 5]);
        assert!(ring.is_empty());
        ring.push(&[6; FRAME_SAMPLES]);
        assert_eq!(ring.len(), 1);
    }
}
