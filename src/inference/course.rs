//! Which transcriber is asked for a segment, and when the next: the policy of fail-over.
//! Pure: time comes as an argument, and whether a transcriber may be asked is asked of
//! whoever knows.
//!
//! In each round every transcriber is asked in its turn until one answers. Between rounds
//! there is a pause. It ends with an answer, with the last round or with the deadline.

use std::time::Duration;

use crate::types::{Fault, Moment};

/// The bounds of a segment's course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest from its beginning to its end.
    pub total: Duration,
    /// Most rounds in which a transcriber was asked; at least 1.
    pub rounds_max: u32,
    /// Pause between rounds.
    pub pause: Duration,
    /// The next transcriber is asked beside one that has not answered for so long.
    pub hedge_after: Option<Duration>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this transcriber, by its place in the chain.
    Ask(usize),
    /// Wait for an answer, or until then.
    Wait(Moment),
    /// Nobody answered; the last thing that went wrong.
    GiveUp(Fault),
}

/// Where one segment is in its course.
#[derive(Debug)]
pub struct Course {
    bounds: Bounds,
    deadline: Moment,
    /// Transcribers in the chain.
    length: usize,
    /// The next to be asked.
    next: usize,
    /// Those asked that have not answered.
    asked: usize,
    /// Whether one was asked in this round.
    tried: bool,
    rounds: u32,
    /// When the next is due although one is asked.
    hedge_at: Option<Moment>,
    /// When the next round begins.
    round_at: Option<Moment>,
    fault: Option<Fault>,
}

impl Course {
    /// Begins, for a chain of `length` transcribers.
    #[must_use]
    pub fn new(now: Moment, bounds: Bounds, length: usize) -> Self {
        Self {
            bounds,
            deadline: now + bounds.total,
            length,
            next: 0,
            asked: 0,
            tried: false,
            rounds: 0,
            hedge_at: None,
            round_at: None,
            fault: None,
        }
    }

    /// What to do now. `admit` says whether a transcriber may be asked; one that it admits is
    /// in the step.
    pub fn poll(&mut self, now: Moment, mut admit: impl FnMut(usize) -> bool) -> Step {
        if now >= self.deadline {
            return Step::GiveUp(self.fault.take().unwrap_or(Fault::Timeout));
        }
        if self.round_at.is_some_and(|at| at <= now) {
            (self.round_at, self.next, self.tried) = (None, 0, false);
        }
        let due = self.round_at.is_none() && (self.asked == 0 || self.hedge_at.is_some_and(|at| at <= now));
        if due {
            self.hedge_at = None;
            while self.next < self.length {
                let place = self.next;
                self.next += 1;
                if admit(place) {
                    self.asked += 1;
                    self.tried = true;
                    self.hedge_at = self.bounds.hedge_after.map(|after| now + after);
                    return Step::Ask(place);
                }
            }
            if self.asked == 0 {
                self.rounds += u32::from(self.tried);
                if self.rounds >= self.bounds.rounds_max {
                    return Step::GiveUp(self.fault.take().unwrap_or(Fault::Unavailable));
                }
                // A round in which all were left alone is none: their time may be up by the next.
                self.fault.get_or_insert(Fault::Unavailable);
                self.round_at = Some(now + self.bounds.pause);
            }
        }
        let times = [Some(self.deadline), self.hedge_at, self.round_at];
        Step::Wait(times.into_iter().flatten().min().unwrap_or(self.deadline))
    }

    /// One that was asked has failed.
    pub fn failed(&mut self, fault: Fault) {
        self.asked = self.asked.saturating_sub(1);
        self.fault = Some(fault);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const BOUNDS: Bounds =
        Bounds { total: Duration::from_secs(10), rounds_max: 2, pause: Duration::from_secs(1), hedge_after: None };

    fn at(ms: u64) -> Moment {
        Moment::from_ms(ms)
    }

    #[test]
    fn each_failure_asks_the_next_and_the_last_one_ends_it_after_the_last_round() {
        let mut course = Course::new(at(0), BOUNDS, 2);
        assert_eq!(course.poll(at(0), |_| true), Step::Ask(0));
        assert_eq!(course.poll(at(0), |_| true), Step::Wait(at(10_000)));
        course.failed(Fault::Disconnected);
        assert_eq!(course.poll(at(5), |_| true), Step::Ask(1));
        course.failed(Fault::Oversized);
        assert_eq!(course.poll(at(10), |_| true), Step::Wait(at(1_010)));
        assert_eq!(course.poll(at(1_010), |_| true), Step::Ask(0));
        course.failed(Fault::Disconnected);
        assert_eq!(course.poll(at(1_020), |_| true), Step::Ask(1));
        course.failed(Fault::Crashed);
        assert_eq!(course.poll(at(1_030), |_| true), Step::GiveUp(Fault::Crashed));
    }

    #[test]
    fn one_that_is_left_alone_is_passed_over_and_where_all_are_it_waits_to_its_deadline() {
        let mut course = Course::new(at(0), BOUNDS, 3);
        assert_eq!(course.poll(at(0), |place| place == 2), Step::Ask(2));
        let mut course = Course::new(at(0), BOUNDS, 3);
        for second in 0..9 {
            assert_eq!(course.poll(at(second * 1_000), |_| false), Step::Wait(at((second + 1) * 1_000)));
        }
        assert_eq!(course.poll(at(9_000), |place| place == 1), Step::Ask(1));
        let mut course = Course::new(at(0), BOUNDS, 3);
        assert_eq!(course.poll(at(0), |_| false), Step::Wait(at(1_000)));
        assert_eq!(course.poll(at(10_000), |_| true), Step::GiveUp(Fault::Unavailable));
    }

    #[test]
    fn a_hedge_asks_the_next_beside_the_first_and_no_failure_of_one_ends_the_other() {
        let mut course = Course::new(at(0), Bounds { hedge_after: Some(Duration::from_millis(300)), ..BOUNDS }, 2);
        assert_eq!(course.poll(at(0), |_| true), Step::Ask(0));
        assert_eq!(course.poll(at(0), |_| true), Step::Wait(at(300)));
        assert_eq!(course.poll(at(300), |_| true), Step::Ask(1));
        assert_eq!(course.poll(at(300), |_| true), Step::Wait(at(600)));
        assert_eq!(course.poll(at(600), |_| true), Step::Wait(at(10_000)));
        course.failed(Fault::Timeout);
        assert_eq!(course.poll(at(700), |_| true), Step::Wait(at(10_000)));
    }

    #[test]
    fn the_deadline_ends_it_whoever_is_asked() {
        let mut course = Course::new(at(0), BOUNDS, 2);
        assert_eq!(course.poll(at(0), |_| true), Step::Ask(0));
        assert_eq!(course.poll(at(10_000), |_| true), Step::GiveUp(Fault::Timeout));
    }

    proptest! {
        /// However the transcribers behave, it ends in time, and asks each at most once a round.
        #[test]
        fn it_always_ends(
            length in 1..5_usize,
            hedge in any::<Option<u8>>(),
            acts in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..2_000_u64), 0..50),
        ) {
            let hedge_after = hedge.map(|ms| Duration::from_millis(ms.into()));
            let mut course = Course::new(at(0), Bounds { hedge_after, ..BOUNDS }, length);
            let (mut now, mut asked, mut under_way) = (0, vec![0; length], 0);
            let mut acts = acts.into_iter();
            for _ in 0..1_000 {
                let (admits, fails, later) = acts.next().unwrap_or((true, true, 100));
                match course.poll(at(now), |_| admits) {
                    Step::Ask(place) => {
                        asked[place] += 1;
                        under_way += 1;
                        prop_assert!(asked[place] <= BOUNDS.rounds_max, "asked too often: {:?}", asked);
                    }
                    Step::Wait(until) => {
                        prop_assert!(until > at(now) && until <= at(10_000));
                        if under_way > 0 && fails {
                            under_way -= 1;
                            course.failed(Fault::Disconnected);
                            now += later / 10;
                        } else {
                            now += later.max(1);
                        }
                    }
                    Step::GiveUp(_) => return Ok(()),
                }
            }
            prop_assert!(false, "it goes on for ever");
        }
    }
}
