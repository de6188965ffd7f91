//! What was said in recent calls, for `GET /v1/calls/{id}/transcript`.
//!
//! A convenience of the gateway that heard the call, kept in memory and bounded in bytes:
//! the conversation whose first word is oldest goes first. What must not be lost is in the
//! events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Body, Event};
use crate::types::ConversationId;

/// Bytes that a segment takes besides its text: its place in the list and its event.
const SEGMENT_BYTES: usize = 512;

/// Segments of speech by conversation.
#[derive(Debug)]
pub struct Transcripts {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_conversation: HashMap<ConversationId, Vec<Arc<Event>>>,
    /// Oldest first.
    order: VecDeque<ConversationId>,
    bytes: usize,
}

fn bytes_of(event: &Event) -> usize {
    let text = match &event.body {
        Body::TranscriptFinal(text) => text.text.len() + text.words.len() * 64,
        _ => 0,
    };
    SEGMENT_BYTES + text
}

impl Kept {
    fn forget_oldest(&mut self) {
        let events = self.order.pop_front().and_then(|id| self.by_conversation.remove(&id));
        self.bytes -= events.iter().flatten().map(|event| bytes_of(event)).sum::<usize>();
    }
}

impl Transcripts {
    /// Keeps `bytes_max` at most; 0 keeps nothing.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Mutex::default(), bytes_max }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event where it tells of a segment that was said or lost.
    pub(super) fn note(&self, event: &Event) {
        if !matches!(event.body, Body::TranscriptFinal(_) | Body::TranscriptDropped(_)) {
            return;
        }
        let bytes = bytes_of(event);
        if bytes > self.bytes_max {
            return;
        }
        let mut kept = self.kept();
        while kept.bytes + bytes > self.bytes_max {
            kept.forget_oldest();
        }
        kept.bytes += bytes;
        let conversation = &event.origin.conversation;
        if !kept.by_conversation.contains_key(conversation) {
            kept.order.push_back(conversation.clone());
        }
        kept.by_conversation.entry(conversation.clone()).or_default().push(Arc::new(event.clone()));
    }

    /// The segments of a conversation, by their start on the call clock.
    #[must_use]
    pub fn of(&self, conversation: &ConversationId) -> Vec<Arc<Event>> {
        let mut events = self.kept().by_conversation.get(conversation).cloned().unwrap_or_default();
        events.sort_by_key(|event| match &event.body {
            Body::TranscriptFinal(text) => text.start_ms,
            Body::TranscriptDropped(dropped) => dropped.start_ms,
            _ => 0,
        });
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::event::body::{Dtmf, TranscriptDropped};
    use crate::types::{LegId, Speaker, WallTime};

    fn dropped(conversation: &str, seq: u64, start_ms: u64) -> Event {
        let origin = Origin {
            conversation: ConversationId::parse(conversation).unwrap(),
            leg: LegId::parse("leg").unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/sidetone/test"),
        };
        let body =
            TranscriptDropped { segment: seq, start_ms, end_ms: start_ms + 1, reason: "no_speech".into(), fault: None };
        Event { origin: Arc::new(origin), seq, sub: 0, time: WallTime(0), body: Body::TranscriptDropped(body) }
    }

    #[test]
    fn segments_come_by_their_start_and_the_oldest_conversation_goes_first() {
        let transcripts = Transcripts::new(SEGMENT_BYTES * 3);
        for event in [dropped("A", 1, 50), dropped("A", 2, 20), dropped("B", 1, 5)] {
            transcripts.note(&event);
        }
        let (a, b) = (ConversationId::parse("A").unwrap(), ConversationId::parse("B").unwrap());
        assert_eq!(transcripts.of(&a).iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 1]);
        transcripts.note(&dropped("B", 2, 6));
        assert!(transcripts.of(&a).is_empty());
        assert_eq!((transcripts.of(&b).len(), transcripts.kept().bytes), (2, SEGMENT_BYTES * 2));
    }

    #[test]
    fn other_events_and_a_bound_of_nothing_keep_nothing() {
        let none = Transcripts::new(0);
        none.note(&dropped("A", 1, 0));
        let some = Transcripts::new(SEGMENT_BYTES);
        let mut key = dropped("A", 1, 0);
        key.body = Body::Dtmf(Dtmf { digit: "5".into(), duration_ms: None, at_ms: 0 });
        some.note(&key);
        assert_eq!((none.kept().bytes, some.kept().bytes), (0, 0));
    }
}
