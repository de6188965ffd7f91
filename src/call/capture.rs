//! Pausing and resuming capture, as while a card number is read out.
//!
//! Invariant: nothing that arrives between a pause and its resumption is heard, kept or
//! published, not even as the end of a frame or in a filter; it is counted. What was
//! heard before the pause is kept whole.

use super::io::REASON_LEN_MAX;
use super::{Call, Phase};
use crate::event::Body;
use crate::event::body::{CapturePaused, CaptureResumed};
use crate::types::Moment;

/// A pause or resumption that came while the first message was awaited.
pub(super) struct Turn {
    /// Bytes of audio that had come by then.
    at: usize,
    asked: Moment,
    paused: bool,
    reason: String,
}

/// As much of a reason as is published.
fn kept(reason: &str) -> &str {
    let end = reason.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= REASON_LEN_MAX);
    &reason[..end.last().unwrap_or(0)]
}

impl Call {
    /// The leg's conversation was paused before the leg connected, or before it named it:
    /// nothing it has sent so far is heard. Of use until the first message is taken.
    pub fn start_paused(&mut self, reason: &str) {
        if let Phase::Waiting { turns, .. } = &mut self.phase {
            self.paused = true;
            *turns = vec![Turn { at: 0, asked: self.opened, paused: true, reason: kept(reason).to_owned() }];
        }
    }

    /// Pauses, or resumes. What is so already stays so, and nothing is published.
    pub(super) fn on_capture(&mut self, now: Moment, paused: bool, reason: &str) {
        if !self.listening() || self.paused == paused {
            return;
        }
        let Phase::Waiting { early, turns, .. } = &mut self.phase else {
            return self.turn(now, now, paused, reason);
        };
        // What came so far is not at its place yet; it is taken in the order of arrival.
        self.paused = paused;
        let at = early.len();
        // Two turns without a byte between them are none, so that there are no more turns
        // than bytes.
        if turns.pop_if(|last| last.at == at).is_none() {
            turns.push(Turn { at, asked: now, paused, reason: kept(reason).to_owned() });
        }
    }

    /// Waiting ⇒ Live: takes the audio that came early, pauses in their places.
    pub(super) fn catch_up(&mut self, now: Moment, early: &[u8], turns: Vec<Turn>) {
        let mut taken = 0;
        self.paused = false;
        for turn in turns {
            self.on_early(now, &early[taken..turn.at]);
            taken = turn.at;
            self.turn(now, turn.asked, turn.paused, &turn.reason);
        }
        self.on_early(now, &early[taken..]);
    }

    fn on_early(&mut self, now: Moment, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.on_frames(now, bytes);
        }
    }

    fn turn(&mut self, now: Moment, asked: Moment, paused: bool, reason: &str) {
        self.paused = paused;
        let (at_ms, reason) = (self.clock_ms(asked), kept(reason).to_owned());
        if paused {
            self.hush(now);
            self.emit(now, Body::CapturePaused(CapturePaused { at_ms, reason }));
        } else {
            self.taint();
            self.emit(now, Body::CaptureResumed(CaptureResumed { at_ms, reason }));
        }
    }
}
