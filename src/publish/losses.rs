//! Events that found no room: kept as ranges of `seq`, until consumers can be told.
//!
//! Invariant: pure, and bounded: beyond [`HOLES_MAX`] holes, losses are counted only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::loss::{self, GatewayLoss};
use crate::event::{Event, Origin};
use crate::types::{LegId, WallTime};

/// Holes that are remembered at once.
pub(super) const HOLES_MAX: usize = 4_096;

struct Hole {
    origin: Arc<Origin>,
    to: u64,
    time: WallTime,
}

/// The holes not told of yet, by subject and first `seq`.
#[derive(Default)]
pub(super) struct Losses {
    holes: BTreeMap<(LegId, u64), Hole>,
}

impl Losses {
    /// Notes a durable event that is lost. `false` when there was no room to note it.
    pub(super) fn add(&mut self, event: &Event) -> bool {
        let at = (event.origin.leg.clone(), event.seq);
        let before = self.holes.range_mut(..=&at).next_back();
        if let Some(((leg, _), hole)) = before
            && *leg == at.0
            && event.seq == hole.to + 1
        {
            (hole.to, hole.time) = (event.seq, event.time);
            return true;
        }
        if self.holes.len() >= HOLES_MAX {
            return false;
        }
        self.holes.insert(at, Hole { origin: Arc::clone(&event.origin), to: event.seq, time: event.time });
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// An event for each hole of the subject of `next` that is before `next`; they are the
    /// caller's from now on.
    pub(super) fn take_before(&mut self, next: &Event, sink: &str) -> Vec<Event> {
        if self.holes.is_empty() {
            return Vec::new();
        }
        let leg = &next.origin.leg;
        let range = (leg.clone(), 0)..(leg.clone(), next.seq);
        let before: Vec<_> = self.holes.range(range).map(|(at, _)| at.clone()).collect();
        let holes = before.into_iter().filter_map(|at| self.holes.remove_entry(&at));
        holes.filter_map(|(at, hole)| tell(at, &hole, sink)).collect()
    }

    /// An event for each hole; they are the caller's from now on.
    pub(super) fn take(&mut self, sink: &str) -> Vec<Event> {
        let holes = std::mem::take(&mut self.holes);
        holes.into_iter().filter_map(|(at, hole)| tell(at, &hole, sink)).collect()
    }
}

fn tell((leg, from_seq): (LegId, u64), hole: &Hole, sink: &str) -> Option<Event> {
    let (subject, reason) = (leg.as_str().to_owned(), "spool_full".to_owned());
    let loss = GatewayLoss { subject, from_seq, to_seq: hole.to, reason, sink: sink.to_owned() };
    loss::event(&hole.origin, hole.time, loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Body;
    use crate::event::body::Dtmf;
    use crate::types::{ConversationId, Speaker};

    fn event(leg: &str, seq: u64) -> Event {
        let origin = Origin {
            conversation: ConversationId::parse("CON-1").unwrap(),
            leg: LegId::parse(leg).unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/test"),
        };
        let body = Body::Dtmf(Dtmf { digit: "1".into(), duration_ms: None, at_ms: 0 });
        Event { origin: Arc::new(origin), seq, sub: 0, time: WallTime(seq as i64), body }
    }

    #[test]
    fn each_hole_is_told_once_with_its_range() {
        let mut losses = Losses::default();
        for (leg, seq) in [("a", 3), ("b", 1), ("a", 4), ("a", 5), ("a", 9), ("b", 2)] {
            assert!(losses.add(&event(leg, seq)));
        }
        let told = losses.take("kafka");
        let said: Vec<_> = told
            .iter()
            .map(|event| match &event.body {
                Body::GatewayLoss(loss) => (event.id(), loss.subject.clone(), loss.from_seq, loss.to_seq),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = |id: &str, subject: &str, from, to| (id.to_owned(), subject.to_owned(), from, to);
        assert_eq!(
            said,
            [expected("loss:3:a:1", "a", 3, 5), expected("loss:9:a:1", "a", 9, 9), expected("loss:1:b:1", "b", 1, 2)]
        );
        assert!(told.iter().all(|event| event.origin.conversation.as_str() == "CON-1"));
        assert!(losses.is_empty() && losses.take("kafka").is_empty());
    }

    #[test]
    fn a_hole_is_told_of_before_what_is_behind_it_and_after_what_is_before_it() {
        let mut losses = Losses::default();
        for (leg, seq) in [("a", 3), ("a", 7), ("b", 1)] {
            losses.add(&event(leg, seq));
        }
        let ids = |told: Vec<Event>| told.iter().map(Event::id).collect::<Vec<_>>();
        assert_eq!(ids(losses.take_before(&event("a", 2), "kafka")), [""; 0]);
        assert_eq!(ids(losses.take_before(&event("a", 4), "kafka")), ["loss:3:a:1"]);
        assert_eq!(ids(losses.take_before(&event("a", 5), "kafka")), [""; 0]);
        assert_eq!(ids(losses.take("kafka")), ["loss:7:a:1", "loss:1:b:1"]);
    }

    #[test]
    fn holes_are_bounded_and_a_known_one_still_grows() {
        let mut losses = Losses::default();
        for n in 0..HOLES_MAX {
            assert!(losses.add(&event(&format!("leg-{n}"), 1)));
        }
        assert!(!losses.add(&event("one-more", 1)));
        assert!(losses.add(&event("leg-7", 2)));
        assert_eq!(losses.take("kafka").len(), HOLES_MAX);
    }

    #[test]
    fn the_longest_subject_still_makes_an_id() {
        let mut losses = Losses::default();
        assert!(losses.add(&event(&"x".repeat(128), u64::MAX)));
        assert_eq!(losses.take("kafka").len(), 1);
    }
}
