//! Segments awaiting their answers, released in speech order.

use std::collections::VecDeque;

use crate::types::{DropReason, MediaTime, Moment, Reply, SegmentId};

/// What is remembered of a segment while a transcriber has its audio.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    pub(super) id: SegmentId,
    pub(super) start: MediaTime,
    pub(super) end: MediaTime,
    /// Incoming samples in it, in the ledger's unit.
    pub(super) received: u64,
    /// Mean power, 0 to 1.
    pub(super) power: f32,
    pub(super) voiced_at: Moment,
    pub(super) cut_at: Moment,
    pub(super) deadline: Moment,
    pub(super) answer: Option<Answer>,
}

/// How a segment ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A transcriber replied, with text or a fault.
    Reply(Box<Reply>),
    /// Nobody will.
    Dropped(DropReason),
}

/// A bounded queue in speech order.
#[derive(Debug)]
pub(super) struct Reorder {
    pending: VecDeque<Pending>,
    max: usize,
}

impl Reorder {
    /// `max`: most segments unanswered at once. Those answered out of turn wait for the
    /// ones before them, and that no longer than these may take.
    pub(super) fn new(max: usize) -> Self {
        Self { pending: VecDeque::new(), max: max.max(1) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether one more segment may be sent to a transcriber.
    pub(super) fn has_room(&self) -> bool {
        self.pending.iter().filter(|p| p.answer.is_none()).count() < self.max
    }

    /// Adds the newest segment.
    pub(super) fn push(&mut self, segment: Pending) {
        self.pending.push_back(segment);
    }

    /// Notes an answer. `false` when nobody waits for it: answered or given up before.
    pub(super) fn answer(&mut self, id: SegmentId, answer: Answer) -> bool {
        match self.pending.iter_mut().find(|pending| pending.id == id && pending.answer.is_none()) {
            Some(pending) => {
                pending.answer = Some(answer);
                true
            }
            None => false,
        }
    }

    /// Whether a segment's terminal event is still to come.
    pub(super) fn holds(&self, id: SegmentId) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// Gives up every segment whose deadline has passed.
    pub(super) fn expire(&mut self, now: Moment) {
        for pending in self.pending.iter_mut().filter(|p| p.answer.is_none() && p.deadline <= now) {
            pending.answer = Some(Answer::Dropped(DropReason::Timeout));
        }
    }

    /// Gives up every segment still unanswered.
    pub(super) fn give_up(&mut self, reason: DropReason) {
        for pending in self.pending.iter_mut().filter(|p| p.answer.is_none()) {
            pending.answer = Some(Answer::Dropped(reason));
        }
    }

    /// The oldest segment, once it is answered.
    pub(super) fn pop(&mut self) -> Option<(Pending, Answer)> {
        self.pending.front()?.answer.as_ref()?;
        let mut pending = self.pending.pop_front()?;
        let answer = pending.answer.take()?;
        Some((pending, answer))
    }

    /// The earliest deadline of an unanswered segment.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.pending.iter().filter(|p| p.answer.is_none()).map(|p| p.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(id: u64, deadline: u64) -> Pending {
        Pending {
            id: SegmentId(id),
            start: MediaTime(0),
            end: MediaTime(1),
            received: 1,
            power: 0.0,
            voiced_at: Moment(0),
            cut_at: Moment(0),
            deadline: Moment(deadline),
            answer: None,
        }
    }

    fn popped(reorder: &mut Reorder) -> Vec<u64> {
        std::iter::from_fn(|| reorder.pop()).map(|(pending, _)| pending.id.0).collect()
    }

    #[test]
    fn answers_in_any_order_come_out_in_speech_order() {
        let mut reorder = Reorder::new(8);
        (1..=3).for_each(|id| reorder.push(pending(id, 100)));
        assert!(reorder.answer(SegmentId(3), Answer::Dropped(DropReason::NoSpeech)));
        assert!(reorder.answer(SegmentId(2), Answer::Dropped(DropReason::NoSpeech)));
        assert_eq!(popped(&mut reorder), [0; 0]);
        assert!(reorder.answer(SegmentId(1), Answer::Dropped(DropReason::NoSpeech)));
        assert_eq!(popped(&mut reorder), [1, 2, 3]);
    }

    #[test]
    fn a_late_or_second_answer_is_refused() {
        let mut reorder = Reorder::new(8);
        reorder.push(pending(1, 10));
        reorder.push(pending(2, 20));
        assert_eq!(reorder.deadline(), Some(Moment(10)));
        reorder.expire(Moment(10));
        assert!(!reorder.answer(SegmentId(1), Answer::Dropped(DropReason::NoSpeech)));
        assert!(!reorder.answer(SegmentId(7), Answer::Dropped(DropReason::NoSpeech)));
        let (first, answer) = reorder.pop().unwrap();
        assert_eq!((first.id, answer), (SegmentId(1), Answer::Dropped(DropReason::Timeout)));
        assert_eq!(reorder.deadline(), Some(Moment(20)));
    }

    #[test]
    fn room_is_bounded() {
        let mut reorder = Reorder::new(2);
        reorder.push(pending(1, 10));
        assert!(reorder.has_room());
        reorder.push(pending(2, 10));
        assert!(!reorder.has_room());
    }
}
