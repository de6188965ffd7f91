//! What was answered to a webhook, for when it comes again.
//!
//! Vonage repeats a webhook whose reply was slow or lost, and whether the repetition
//! bears the same `jti` is unconfirmed (`vonage-voice.md` sections 3.3 and 4). So a
//! repeated `jti` is no attack to be refused, but a question to be answered the same
//! way, without doing anything twice.
//!
//! Bounded in entries and in bytes; the oldest go first. Time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::types::Moment;

/// Webhooks remembered when nothing else is configured: at 15 a second, the time a
/// token is fresh (330 s) takes 4950.
pub const ENTRIES_DEFAULT: usize = 8192;
/// Bytes of all replies kept, together.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Whether a token was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Never, or not within the time remembered. It is remembered from now on.
    First,
    /// It was, and the first sight has not been answered yet, or its reply was not kept.
    Pending,
    /// It was, and this was the reply.
    Repeat(Bytes),
}

#[derive(Debug)]
struct Entry {
    /// Tells this entry from an earlier one of the same id.
    number: u64,
    reply: Option<Bytes>,
}

/// Remembers tokens by their `jti`, or whatever else is unique to a webhook.
#[derive(Debug)]
pub struct ReplayCache {
    entries: HashMap<Box<str>, Entry>,
    /// Oldest first; ids that were forgotten are skipped by their number.
    order: VecDeque<(Moment, u64, Box<str>)>,
    limit: usize,
    keep: Duration,
    next: u64,
    reply_bytes: usize,
    forgotten_early: u64,
}

impl ReplayCache {
    /// Remembers `limit` tokens (at least 1), each for `keep`: no shorter than
    /// [`Policy::window`](super::signature::Policy::window).
    #[must_use]
    pub fn new(limit: usize, keep: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
            keep,
            next: 0,
            reply_bytes: 0,
            forgotten_early: 0,
        }
    }

    /// Looks a token up, and remembers it where it is new.
    pub fn see(&mut self, id: &str, now: Moment) -> Sight {
        self.expire(now);
        if let Some(entry) = self.entries.get(id) {
            return entry.reply.clone().map_or(Sight::Pending, Sight::Repeat);
        }
        while self.entries.len() >= self.limit {
            self.forget_oldest();
            self.forgotten_early += 1;
        }
        let number = self.next;
        self.next += 1;
        self.entries.insert(id.into(), Entry { number, reply: None });
        self.order.push_back((now, number, id.into()));
        Sight::First
    }

    /// Keeps the reply to a token seen before. Of a token that is not remembered, or
    /// has a reply, nothing is kept; older replies make room.
    pub fn answer(&mut self, id: &str, reply: Bytes) {
        if reply.len() > REPLY_BYTES_MAX || self.entries.get(id).is_none_or(|entry| entry.reply.is_some()) {
            return;
        }
        let room = REPLY_BYTES_MAX - reply.len();
        while self.reply_bytes > room {
            // Making room may take the very token that is answered.
            self.forget_oldest();
            self.forgotten_early += 1;
        }
        if let Some(entry) = self.entries.get_mut(id) {
            self.reply_bytes += reply.len();
            entry.reply = Some(reply);
        }
    }

    /// Forgets a token whose handling failed, so that its repetition is handled.
    pub fn forget(&mut self, id: &str) {
        if let Some(entry) = self.entries.remove(id) {
            self.reply_bytes -= entry.reply.map_or(0, |reply| reply.len());
            self.order.retain(|(_, number, _)| *number != entry.number);
        }
    }

    /// Tokens remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tokens forgotten before their time, for want of room: each could be replayed.
    #[must_use]
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    fn expire(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(seen, ..)| now.since(*seen) > self.keep) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, _, id)) = self.order.pop_front()
            && let Some(entry) = self.entries.remove(&id)
        {
            self.reply_bytes -= entry.reply.map_or(0, |reply| reply.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Duration = Duration::from_secs(330);

    fn at(seconds: u64) -> Moment {
        Moment::from_ms(seconds * 1000)
    }

    #[test]
    fn the_second_sight_gets_the_first_ones_reply() {
        let mut cache = ReplayCache::new(8, KEEP);
        assert_eq!(cache.see("a", at(0)), Sight::First);
        assert_eq!(cache.see("a", at(1)), Sight::Pending);
        cache.answer("a", Bytes::from_static(b"[]"));
        cache.answer("a", Bytes::from_static(b"other"));
        cache.answer("never seen", Bytes::from_static(b"x"));
        assert_eq!(cache.see("a", at(330)), Sight::Repeat(Bytes::from_static(b"[]")));
        assert_eq!(cache.see("a", at(331)), Sight::First, "remembered for too long");
        assert_eq!((cache.len(), cache.forgotten_early()), (1, 0));
    }

    #[test]
    fn a_failed_handling_is_tried_again() {
        let mut cache = ReplayCache::new(8, KEEP);
        cache.see("a", at(0));
        cache.forget("a");
        assert_eq!(cache.see("a", at(1)), Sight::First);
        assert_eq!(cache.see("a", at(330)), Sight::Pending, "the first sight's age must not count");
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let mut cache = ReplayCache::new(2, KEEP);
        for id in ["a", "b", "c"] {
            assert_eq!(cache.see(id, at(0)), Sight::First);
        }
        assert_eq!((cache.len(), cache.forgotten_early()), (2, 1));
        assert_eq!(cache.see("c", at(0)), Sight::Pending);
        assert_eq!(cache.see("a", at(0)), Sight::First);
    }

    #[test]
    fn replies_are_bounded_in_bytes() {
        let mut cache = ReplayCache::new(8, KEEP);
        let half = Bytes::from(vec![0; REPLY_BYTES_MAX / 2]);
        for id in ["a", "b", "c"] {
            cache.see(id, at(0));
            cache.answer(id, half.clone());
        }
        assert_eq!((cache.len(), cache.reply_bytes), (2, REPLY_BYTES_MAX));
        cache.see("d", at(0));
        cache.answer("d", Bytes::from(vec![0; REPLY_BYTES_MAX + 1]));
        assert_eq!(cache.see("d", at(0)), Sight::Pending);
    }

    proptest! {
        #[test]
        fn counts_always_agree(steps in prop::collection::vec((0..6_u8, 0..4_u8, 0..200_u64), 0..200)) {
            let mut cache = ReplayCache::new(4, KEEP);
            let mut now = 0;
            for (id, what, later) in steps {
                let id = id.to_string();
                match what {
                    0 => cache.answer(&id, Bytes::from(vec![0; usize::from(id.as_bytes()[0])])),
                    1 => cache.forget(&id),
                    _ => {
                        now += later;
                        cache.see(&id, at(now));
                    }
                }
                let bytes: usize = cache.entries.values().flat_map(|entry| &entry.reply).map(Bytes::len).sum();
                prop_assert_eq!(bytes, cache.reply_bytes);
                prop_assert_eq!(cache.entries.len(), cache.order.len());
                prop_assert!(cache.len() <= 4);
            }
        }
    }
}
