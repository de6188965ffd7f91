//! What a second transcriber heard: published after the terminal event of its segment, or not
//! at all.
//!
//! Invariant: nothing of a leg waits for it or depends on it, but for the numbers of later
//! events: not the ledger, and not the end. What comes after the end comes too late.

use std::collections::VecDeque;

use super::Call;
use crate::event::Body;
use crate::event::body::TranscriptShadow;
use crate::types::{Moment, SegmentId, Shadow};

/// What is known of segments that a second transcriber hears.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    /// Answered and published; the second may still be heard.
    due: VecDeque<SegmentId>,
    /// The second was heard before the segment's turn came.
    early: VecDeque<Shadow>,
}

fn push<T>(queue: &mut VecDeque<T>, max: usize, item: T) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Call {
    pub(super) fn on_shadow(&mut self, now: Moment, shadow: Shadow) {
        if let Some(at) = self.shadows.due.iter().position(|id| *id == shadow.id) {
            self.shadows.due.remove(at);
            self.emit_shadow(now, shadow);
        } else if self.reorder.holds(shadow.id) && self.shadows.early.iter().all(|early| early.id != shadow.id) {
            push(&mut self.shadows.early, self.config.pending_max, shadow);
        }
    }

    /// A segment's terminal event is out; `overheard`: whether it is the first transcriber's answer
    /// and a second is to be heard.
    pub(super) fn after_terminal(&mut self, now: Moment, id: SegmentId, overheard: bool) {
        let early = self.shadows.early.iter().position(|shadow| shadow.id == id);
        let early = early.and_then(|at| self.shadows.early.remove(at));
        match early {
            Some(shadow) if overheard => self.emit_shadow(now, shadow),
            None if overheard => push(&mut self.shadows.due, self.config.pending_max, id),
            _ => {}
        }
    }

    fn emit_shadow(&mut self, now: Moment, shadow: Shadow) {
        let Shadow { id, text, confidence, asr, first, disagreement } = shadow;
        let body = TranscriptShadow {
            segment: id.0,
            text: text.0,
            confidence,
            asr: asr.to_owned(),
            first: first.to_owned(),
            words: disagreement.words,
            substitutions: disagreement.substitutions,
            deletions: disagreement.deletions,
            insertions: disagreement.insertions,
        };
        self.emit(now, Body::TranscriptShadow(body));
    }
}
