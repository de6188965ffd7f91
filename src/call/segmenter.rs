//! Holds the audio of the speech now going on, and the moments before it.

use crate::audio::level;
use crate::audio::pre_roll::PreRoll;
use crate::types::rate::{FRAME_SAMPLES, Frame};
use crate::types::{MediaTime, SegmentId};

/// How far back from its end a segment may be cut, in frames: 2 s.
const CUT_WINDOW: usize = 100;

/// Speech that is going on.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: SegmentId,
    pub(super) samples: Vec<i16>,
    /// [`level::energy`] of the samples: summed as they come, while they are in the cache.
    energy: u64,
    pub(super) start: MediaTime,
    /// Incoming samples in it, in the ledger's unit.
    pub(super) received: u64,
    /// End of the newest voiced frame.
    pub(super) voiced_until: MediaTime,
    /// Where the next partial is due, if one is.
    pub(super) partial_due: Option<MediaTime>,
}

impl Open {
    pub(super) fn end(&self) -> MediaTime {
        self.start + self.samples.len() as u64
    }

    /// Mean power of the samples, as [`level::power`] has it.
    pub(super) fn power(&self) -> f32 {
        level::mean(self.energy, self.samples.len())
    }
}

/// The pre-roll and, during speech, the open segment.
///
/// Frames come with the number of incoming samples they were made from, which is
/// that of a whole frame but for a leg's very last one.
#[derive(Debug)]
pub(super) struct Segmenter {
    ring: PreRoll,
    ring_received: u64,
    frame_received: u64,
    pub(super) open: Option<Open>,
    opened: u64,
}

impl Segmenter {
    /// `pre_roll`: frames to keep. `frame_received`: incoming samples in a whole frame.
    pub(super) fn new(pre_roll: usize, frame_received: u64) -> Self {
        Self { ring: PreRoll::new(pre_roll), ring_received: 0, frame_received, open: None, opened: 0 }
    }

    /// Segments opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Keeps a frame that is not in speech. Gives the incoming samples now known to
    /// be silence: those of the frame it pushed out.
    pub(super) fn keep(&mut self, frame: &Frame, received: u64) -> u64 {
        self.ring_received += received;
        let gone = if self.ring.push(frame) { self.frame_received } else { 0 };
        self.ring_received -= gone;
        gone
    }

    /// Gives up the pre-roll: all of it was silence.
    pub(super) fn forget(&mut self) -> u64 {
        self.ring.clear();
        std::mem::take(&mut self.ring_received)
    }

    /// Opens a segment with the pre-roll, whose newest frame ends at `now_at`.
    pub(super) fn open(&mut self, mut samples: Vec<i16>, now_at: MediaTime) -> &mut Open {
        samples.clear();
        self.ring.drain_into(&mut samples);
        self.opened += 1;
        self.open.insert(Open {
            id: SegmentId(self.opened),
            start: MediaTime(now_at.0.saturating_sub(samples.len() as u64)),
            energy: level::energy(&samples),
            samples,
            received: std::mem::take(&mut self.ring_received),
            voiced_until: now_at,
            partial_due: None,
        })
    }

    /// Adds a frame to the open segment.
    pub(super) fn extend(&mut self, frame: &Frame, received: u64) {
        if let Some(open) = &mut self.open {
            open.samples.extend_from_slice(frame);
            open.energy += level::energy(frame);
            open.received += received;
        }
    }

    /// Takes the open segment, ended.
    pub(super) fn close(&mut self) -> Option<Open> {
        self.open.take()
    }

    /// Cuts the open segment at the quietest frame of its last two seconds; what
    /// comes after goes on in `rest` as the next segment.
    pub(super) fn cut(&mut self, mut rest: Vec<i16>) -> Option<Open> {
        let mut done = self.open.take()?;
        let at = quietest_boundary(&done.samples);
        rest.clear();
        rest.extend_from_slice(&done.samples[at..]);
        done.samples.truncate(at);
        let rest_energy = level::energy(&rest);
        done.energy -= rest_energy;
        // Only a leg's very last frame is not whole, and that one is in the rest.
        let done_received = done.received.min((at / FRAME_SAMPLES) as u64 * self.frame_received);
        let rest_received = done.received - done_received;
        done.received = done_received;
        self.opened += 1;
        self.open = Some(Open {
            id: SegmentId(self.opened),
            start: done.end(),
            samples: rest,
            energy: rest_energy,
            received: rest_received,
            voiced_until: done.voiced_until,
            partial_due: done.partial_due,
        });
        done.voiced_until = done.voiced_until.min(done.end());
        Some(done)
    }
}

/// Index of the sample after the quietest frame near the end. Neither side of it is
/// empty, unless there is one frame only.
fn quietest_boundary(samples: &[i16]) -> usize {
    let frames = samples.len() / FRAME_SAMPLES;
    let first = frames.saturating_sub(CUT_WINDOW).max(frames / 2);
    let power = |i: &usize| level::power(&samples[i * FRAME_SAMPLES..(i + 1) * FRAME_SAMPLES]);
    let quietest = (first..frames.saturating_sub(1)).min_by(|a, b| power(a).total_cmp(&power(b))).unwrap_or(0);
    (quietest + 1) * FRAME_SAMPLES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loud(n: i16) -> Frame {
        std::array::from_fn(|i| if i % 2 == 0 { 1000 + n } else { -1000 - n })
    }

    #[test]
    fn the_pre_roll_becomes_the_start_of_the_segment() {
        let mut segmenter = Segmenter::new(3, 160);
        let silent: Vec<_> = (1..=5).map(|n| segmenter.keep(&[n; FRAME_SAMPLES], 160)).collect();
        assert_eq!(silent, [0, 0, 0, 160, 160]);
        let open = segmenter.open(Vec::new(), MediaTime(5 * 320));
        assert_eq!((open.start, open.received, open.samples[0], open.id), (MediaTime(2 * 320), 480, 3, SegmentId(1)));
        assert_eq!(segmenter.forget(), 0, "the pre-roll was handed over whole");
    }

    #[test]
    fn a_cut_falls_on_the_quietest_frame_and_loses_nothing() {
        let mut segmenter = Segmenter::new(1, 320);
        segmenter.open(Vec::new(), MediaTime(0));
        for n in 0..200 {
            let frame = if n == 150 { [0; FRAME_SAMPLES] } else { loud(n) };
            segmenter.extend(&frame, 320);
        }
        let done = segmenter.cut(Vec::new()).unwrap();
        let rest = segmenter.close().unwrap();
        assert_eq!(done.samples.len(), 151 * FRAME_SAMPLES);
        assert_eq!((done.received, rest.received), (151 * 320, 49 * 320));
        assert_eq!((rest.start, rest.id), (done.end(), SegmentId(2)));
        assert_eq!(rest.samples[0], loud(151)[0]);
    }

    #[test]
    fn even_the_shortest_segment_can_be_cut() {
        let mut segmenter = Segmenter::new(1, 320);
        segmenter.open(Vec::new(), MediaTime(0));
        segmenter.extend(&loud(0), 320);
        let done = segmenter.cut(Vec::new()).unwrap();
        assert_eq!((done.received, segmenter.close().unwrap().received), (320, 0));
    }
}
