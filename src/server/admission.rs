//! How many legs may be here at once, counted in one place: two calls that come together
//! cannot both have the last one.
//!
//! A call that is answered with a socket is promised a place until the socket is here, so
//! that who is refused is refused at the answer, where the caller can still be served another
//! way. A promise is kept for a while only: many a caller hangs up before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::{ConversationId, Moment};

#[derive(Debug, Default)]
struct Taken {
    legs: usize,
    /// Until when a place is held for the first leg of a conversation.
    promised: HashMap<ConversationId, Moment>,
}

impl Taken {
    /// Whether there is a place that nobody has and nobody was promised.
    fn has_room(&mut self, now: Moment, max: usize) -> bool {
        if self.legs + self.promised.len() >= max {
            self.promised.retain(|_, until| *until > now);
        }
        self.legs + self.promised.len() < max
    }
}

/// Counts legs and promises against a capacity.
#[derive(Debug)]
pub struct Admission {
    taken: Arc<Mutex<Taken>>,
    max: usize,
    hold: Duration,
}

/// A leg's place; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Mutex<Taken>>);

impl Admission {
    /// At most `max` legs; a promise is kept for `hold`.
    #[must_use]
    pub fn new(max: usize, hold: Duration) -> Self {
        Self { taken: Arc::default(), max, hold }
    }

    /// Legs now.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.taken.lock().legs
    }

    /// Whether one more would be refused.
    #[must_use]
    pub fn is_full(&self, now: Moment) -> bool {
        !self.taken.lock().has_room(now, self.max)
    }

    /// Promises a place to the first leg of `call`, if there is one. To ask again prolongs it.
    #[must_use]
    pub fn promise(&self, call: &ConversationId, now: Moment) -> bool {
        let mut taken = self.taken.lock();
        let room = taken.promised.contains_key(call) || taken.has_room(now, self.max);
        if room {
            taken.promised.insert(call.clone(), now + self.hold);
        }
        room
    }

    /// A place, if there is one: the one promised to `call`, or one that nobody was promised.
    #[must_use]
    pub fn try_enter(&self, call: Option<&ConversationId>, now: Moment) -> Option<Place> {
        let mut taken = self.taken.lock();
        let promised = call.and_then(|call| taken.promised.remove(call)).is_some_and(|until| until > now);
        (promised || taken.has_room(now, self.max)).then(|| {
            taken.legs += 1;
            Place(Arc::clone(&self.taken))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().legs -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(10);
    const NOW: Moment = Moment(0);

    fn call(id: &str) -> ConversationId {
        ConversationId::parse(id).unwrap()
    }

    #[test]
    fn racing_legs_and_promises_never_exceed_the_capacity() {
        let admission = Admission::new(10, HOLD);
        let granted: usize = std::thread::scope(|scope| {
            let race = |thread: usize| {
                let admission = &admission;
                scope.spawn(move || {
                    let legs = (0..50).filter_map(|_| admission.try_enter(None, NOW)).map(std::mem::forget).count();
                    let call = |n: &i32| call(&format!("call-{thread}-{n}"));
                    legs + (0..50).filter(|n| admission.promise(&call(n), NOW)).count()
                })
            };
            let threads: Vec<_> = (0..8).map(race).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 10);
        assert!(admission.is_full(NOW));
    }

    #[test]
    fn a_place_is_given_back() {
        let admission = Admission::new(1, HOLD);
        let place = admission.try_enter(None, NOW).unwrap();
        assert!(admission.is_full(NOW) && admission.try_enter(None, NOW).is_none());
        drop(place);
        assert!(admission.try_enter(None, NOW).is_some());
    }

    #[test]
    fn the_last_place_is_promised_once_and_kept_for_whom_it_was_promised() {
        let admission = Admission::new(1, HOLD);
        assert!(admission.promise(&call("first"), NOW));
        assert!(!admission.promise(&call("second"), NOW), "the last place was promised twice");
        assert!(admission.promise(&call("first"), NOW), "an answer that is asked for again was refused");
        assert!(admission.try_enter(Some(&call("second")), NOW).is_none() && admission.try_enter(None, NOW).is_none());
        let place = admission.try_enter(Some(&call("first")), NOW).unwrap();
        assert!(!admission.promise(&call("second"), NOW), "the place is taken, and was promised again");
        drop(place);
        assert!(admission.promise(&call("second"), NOW));
    }

    #[test]
    fn a_promise_ends_with_its_time() {
        let admission = Admission::new(1, HOLD);
        assert!(admission.promise(&call("hung-up"), NOW));
        let just_before = Moment(HOLD.as_micros() as u64 - 1);
        assert!(admission.is_full(just_before));
        let later = just_before + Duration::from_micros(1);
        assert!(!admission.is_full(later));
        let place = admission.try_enter(Some(&call("hung-up")), later);
        assert!(place.is_some(), "one that comes late is refused a place that is free");
        assert!(!admission.promise(&call("next"), later));
    }
}
