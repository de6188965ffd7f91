//! When a transcriber that fails is left alone, and when it is tried again. Pure: time comes
//! as an argument.
//!
//! ```text
//!           failures in a row, a refused key, a limit
//! closed ─────────────────────────────────────────────► open ◄──┐
//!    ▲                                            its time is up │ the probe fails
//!    │                                                    ▼      │
//!    └──────────── the one probe is answered ─────── half open ──┘
//! ```
//!
//! Invariant: between an opening and the next answer at most one request is under way that
//! began after the opening; and what began before it says nothing any more.

use std::time::Duration;

use crate::types::{Fault, Moment};

/// How soon and for how long a transcriber is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Failures in a row that open the breaker; at least 1.
    pub failures_max: u32,
    /// How long it is open at first; doubles with each opening that no answer came between.
    pub cool_down: Duration,
    /// The longest it is open for failures.
    pub cool_down_max: Duration,
    /// How long it is open for a key that is not accepted.
    pub refused: Duration,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was not.
    Failed,
    /// The key was not accepted.
    Refused,
    /// The backend wants to be left alone, perhaps for a time it named.
    Limited(Option<Duration>),
    /// Nobody waited for it; it says nothing.
    Unknown,
}

impl Outcome {
    /// What an answer or its fault says of the backend.
    #[must_use]
    pub fn of<T>(result: &Result<T, Fault>) -> Self {
        match result {
            // That it heard nonsense in noise is an answer.
            Ok(_) | Err(Fault::Looped) => Self::Answered,
            // Our own bounds were met, not the backend's.
            Err(Fault::Overload | Fault::Shutdown | Fault::Unavailable) => Self::Unknown,
            Err(Fault::Unauthorised) => Self::Refused,
            Err(Fault::Limited { retry_after }) => Self::Limited(*retry_after),
            Err(_) => Self::Failed,
        }
    }
}

/// The right to make one request; to be settled.
#[derive(Debug, PartialEq, Eq)]
pub struct Pass(u64);

/// How a breaker stands, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Requests go through.
    Closed,
    /// One is under way to see whether more may.
    HalfOpen,
    /// None go through.
    Open,
    /// None go through, as the key was not accepted.
    Refused,
}

impl Standing {
    /// The name for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "ready",
            Self::HalfOpen => "tried again",
            Self::Open => "left alone after failures",
            Self::Refused => "does not accept the key",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    HalfOpen,
    Open { until: Moment },
}

/// One backend's breaker.
#[derive(Debug)]
pub struct Breaker {
    patience: Patience,
    state: State,
    /// Counts probes. A pass from before the latest says nothing any more.
    generation: u64,
    /// Openings since the last answer.
    openings: u32,
    refused: bool,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, state: State::Closed { failures: 0 }, generation: 0, openings: 0, refused: false }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            _ if self.refused => Standing::Refused,
            State::HalfOpen => Standing::HalfOpen,
            State::Open { .. } => Standing::Open,
        }
    }

    /// Asks to make a request; none while the backend is left alone.
    pub fn admit(&mut self, now: Moment) -> Option<Pass> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if until <= now => {
                self.state = State::HalfOpen;
                self.generation += 1;
            }
            State::Open { .. } | State::HalfOpen => return None,
        }
        Some(Pass(self.generation))
    }

    /// Takes note of what became of a request. Every pass comes back here once.
    pub fn settle(&mut self, now: Moment, pass: &Pass, outcome: Outcome) {
        if pass.0 != self.generation {
            return;
        }
        let failures = match self.state {
            State::Closed { failures } => failures.saturating_add(1),
            State::HalfOpen => self.patience.failures_max,
            // It began before the opening; the next probe begins a generation of its own.
            State::Open { .. } => return,
        };
        match outcome {
            Outcome::Answered => {
                self.state = State::Closed { failures: 0 };
                (self.openings, self.refused) = (0, false);
            }
            Outcome::Failed if failures < self.patience.failures_max => self.state = State::Closed { failures },
            Outcome::Failed => self.open(now, None),
            Outcome::Limited(retry_after) => self.open(now, retry_after),
            Outcome::Refused => {
                self.open(now, Some(self.patience.refused));
                self.refused = true;
            }
            Outcome::Unknown if self.state == State::HalfOpen => {
                // The probe told nothing: the next one may be it.
                self.state = State::Open { until: now };
            }
            Outcome::Unknown => {}
        }
    }

    fn open(&mut self, now: Moment, named: Option<Duration>) {
        let Patience { cool_down, cool_down_max, .. } = self.patience;
        let grown = cool_down.saturating_mul(1 << self.openings.min(16)).min(cool_down_max);
        // A backend that names no time at all must not be asked at once.
        let span = named.map_or(grown, |named| named.max(cool_down));
        self.state = State::Open { until: now + span };
        self.openings = self.openings.saturating_add(1);
        self.refused = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    const PATIENCE: Patience = Patience {
        failures_max: 3,
        cool_down: Duration::from_secs(1),
        cool_down_max: Duration::from_secs(8),
        refused: Duration::from_secs(300),
    };

    fn at(ms: u64) -> Moment {
        Moment::from_ms(ms)
    }

    /// Asks once and settles at once; whether it was let through.
    fn ask(breaker: &mut Breaker, ms: u64, outcome: Outcome) -> bool {
        breaker.admit(at(ms)).is_some_and(|pass| {
            breaker.settle(at(ms), &pass, outcome);
            true
        })
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_between_them_does_not() {
        let mut breaker = Breaker::new(PATIENCE);
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Answered, Outcome::Failed, Outcome::Failed] {
            assert!(ask(&mut breaker, 0, outcome));
        }
        assert_eq!(breaker.standing(), Standing::Closed);
        assert!(ask(&mut breaker, 0, Outcome::Failed));
        assert_eq!(breaker.standing(), Standing::Open);
        assert!(!ask(&mut breaker, 999, Outcome::Answered));
        assert!(ask(&mut breaker, 1_000, Outcome::Answered));
        assert_eq!(breaker.standing(), Standing::Closed);
    }

    #[test]
    fn the_cool_down_grows_up_to_its_bound_and_an_answer_makes_it_short_again() {
        let mut breaker = Breaker::new(PATIENCE);
        (0..3).for_each(|_| assert!(ask(&mut breaker, 0, Outcome::Failed)));
        let mut now = 0;
        for span in [1_000, 2_000, 4_000, 8_000, 8_000] {
            assert!(!ask(&mut breaker, now + span - 1, Outcome::Failed), "after {span}");
            now += span;
            assert!(ask(&mut breaker, now, Outcome::Failed), "after {span}");
        }
        assert!(ask(&mut breaker, now + 8_000, Outcome::Answered));
        now += 8_000;
        (0..3).for_each(|_| assert!(ask(&mut breaker, now, Outcome::Failed)));
        assert!(ask(&mut breaker, now + 1_000, Outcome::Answered));
    }

    #[test]
    fn one_probe_at_a_time_and_one_that_was_given_up_makes_room_for_another() {
        let mut breaker = Breaker::new(PATIENCE);
        (0..3).for_each(|_| assert!(ask(&mut breaker, 0, Outcome::Failed)));
        let probe = breaker.admit(at(1_000)).unwrap();
        assert_eq!((breaker.admit(at(1_000)), breaker.standing()), (None, Standing::HalfOpen));
        breaker.settle(at(2_000), &probe, Outcome::Unknown);
        assert!(ask(&mut breaker, 2_000, Outcome::Answered));
    }

    #[test]
    fn a_refused_key_and_a_limit_open_it_at_once_for_their_own_time() {
        let mut breaker = Breaker::new(PATIENCE);
        assert!(ask(&mut breaker, 0, Outcome::Refused));
        assert_eq!(breaker.standing(), Standing::Refused);
        assert!(!ask(&mut breaker, 299_999, Outcome::Answered));
        assert!(ask(&mut breaker, 300_000, Outcome::Answered));
        assert!(ask(&mut breaker, 300_000, Outcome::Limited(Some(Duration::from_secs(30)))));
        assert_eq!(breaker.standing(), Standing::Open);
        assert!(!ask(&mut breaker, 329_999, Outcome::Answered));
        assert!(ask(&mut breaker, 330_000, Outcome::Limited(None)));
        assert!(!ask(&mut breaker, 330_999, Outcome::Answered));
    }

    #[test]
    fn what_began_before_an_opening_says_nothing() {
        let mut breaker = Breaker::new(PATIENCE);
        let passes: Vec<_> = (0..6).map(|_| breaker.admit(at(0)).unwrap()).collect();
        passes[..4].iter().for_each(|pass| breaker.settle(at(0), pass, Outcome::Failed));
        breaker.settle(at(10), &passes[4], Outcome::Answered);
        assert_eq!(breaker.standing(), Standing::Open);
        assert!(ask(&mut breaker, 1_000, Outcome::Answered), "a late failure made the cool-down longer");
        breaker.settle(at(1_000), &passes[5], Outcome::Refused);
        assert_eq!(breaker.standing(), Standing::Closed);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Admit,
        Settle(usize, Outcome),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            Just(Outcome::Answered),
            Just(Outcome::Failed),
            Just(Outcome::Refused),
            Just(Outcome::Unknown),
            any::<Option<u16>>().prop_map(|it| Outcome::Limited(it.map(|s| Duration::from_secs(s.into())))),
        ];
        prop_oneof![
            (0..3_000_u64).prop_map(Step::Wait),
            Just(Step::Admit),
            (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_lets_one_probe_through_and_never_shuts_for_good(
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut breaker = Breaker::new(PATIENCE);
            let (mut now, mut out) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Wait(ms) => now += ms,
                    Step::Admit => {
                        let before = breaker.standing();
                        if let Some(pass) = breaker.admit(at(now)) {
                            prop_assert!(before != Standing::HalfOpen, "a second probe");
                            let probing = before != Standing::Closed;
                            out.push(pass);
                            prop_assert_eq!(probing, breaker.state == State::HalfOpen);
                        } else {
                            prop_assert!(before != Standing::Closed, "a closed breaker let nothing through");
                        }
                    }
                    Step::Settle(..) if out.is_empty() => {}
                    Step::Settle(which, outcome) => {
                        let pass = out.swap_remove(which % out.len());
                        breaker.settle(at(now), &pass, outcome);
                    }
                }
                let current = out.iter().filter(|pass| pass.0 == breaker.generation).count();
                prop_assert!(breaker.state != State::HalfOpen || current == 1, "half open with {} probes", current);
            }
            // Once everything came back, the longest span later, it lets a request through.
            for pass in out {
                breaker.settle(at(now), &pass, Outcome::Failed);
            }
            prop_assert!(breaker.admit(at(now + 70_000 * 1_000)).is_some());
        }
    }
}
