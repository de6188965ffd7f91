//! When each leg comes and goes.

use std::time::Duration;

use serde::Serialize;

use super::draw::Draw;

/// Legs that join in a second while nothing else is asked for: fast enough not to wait
/// for, slow enough that joining is not what is measured.
const JOINS_PER_S: f64 = 500.0;

/// Mean length of a call that comes and goes.
const CALL: Duration = Duration::from_secs(10);

/// Shortest run: what is shorter has no figures.
pub const DURATION_MIN: Duration = Duration::from_secs(1);

/// Most legs of a run, calls one after the other included.
pub const DIALS_MAX: usize = 1_000_000;

/// How the number of legs goes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// All join at the beginning and stay.
    Steady,
    /// One after the other over three quarters of the time, then all stay.
    Ramp,
    /// Half stay throughout; the other half comes at once and leaves at once.
    Burst,
    /// As many at a time, in calls of about ten seconds, each followed by the next.
    Churn,
    /// Half as many again as the gateway was told to take, then back to half.
    Overload,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Self; 5] = [Self::Steady, Self::Ramp, Self::Burst, Self::Churn, Self::Overload];

    /// The name on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Ramp => "ramp",
            Self::Burst => "burst",
            Self::Churn => "churn",
            Self::Overload => "overload",
        }
    }
}

/// One leg: from when until when, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// It is dialled.
    pub at: Duration,
    /// It hangs up.
    pub until: Duration,
}

/// A stretch of the run that has figures of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// What happens in it.
    pub name: &'static str,
    /// From when, counted from the start of the run.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
}

/// Every leg of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// By time of dialling.
    pub dials: Vec<Dial>,
    /// One after the other, without a gap, over the whole run.
    pub phases: Vec<Phase>,
    /// The phase, by its place, whose figures stand for the run.
    pub main: usize,
    /// Whether legs are meant to be refused.
    pub refusals_expected: bool,
}

impl Plan {
    /// The plan of `legs` legs over `duration`; the same for the same `seed`.
    #[must_use]
    pub fn new(pattern: Pattern, legs: usize, duration: Duration, seed: u64) -> Self {
        let at = |share: f64| duration.mul_f64(share);
        let joined = Duration::from_secs_f64(legs as f64 / JOINS_PER_S).min(at(0.25));
        // `legs` of them, evenly over a stretch.
        let spread = |legs: usize, from: Duration, over: Duration, until: Duration| {
            (0..legs).map(move |n| Dial { at: from + over.mul_f64(n as f64 / legs as f64), until })
        };
        let (mut dials, phases, main): (Vec<Dial>, _, _) = match pattern {
            Pattern::Steady => (
                spread(legs, Duration::ZERO, joined, duration).collect(),
                vec![("joining", joined), ("steady", duration)],
                1,
            ),
            Pattern::Ramp => {
                let top = at(0.75);
                (spread(legs, Duration::ZERO, top, duration).collect(), vec![("rising", top), ("full", duration)], 1)
            }
            Pattern::Burst => {
                let base = legs / 2;
                let (from, until) = (at(1.0 / 3.0), at(2.0 / 3.0));
                let dials = spread(base, Duration::ZERO, joined, duration).chain(spread(
                    legs - base,
                    from,
                    Duration::ZERO,
                    until,
                ));
                (dials.collect(), vec![("before", from), ("burst", until), ("after", duration)], 1)
            }
            Pattern::Churn => (churn(legs, duration, joined, seed), vec![("joining", joined), ("churn", duration)], 1),
            Pattern::Overload => {
                let (over, relief) = (at(0.4), at(0.7));
                let (stay, leave) = (legs / 2, legs - legs / 2);
                // Those that stay are let in first: the other half of what is allowed, and
                // all that is too much, leaves again.
                let dials = spread(stay, Duration::ZERO, over / 3, duration)
                    .chain(spread(leave, over / 3, over / 3, relief))
                    .chain(spread(legs.div_ceil(2), over * 2 / 3, over / 3, relief));
                (dials.collect(), vec![("rising", over), ("overload", relief), ("relief", duration)], 1)
            }
        };
        dials.sort_by_key(|dial| dial.at);
        let mut from = Duration::ZERO;
        let phases = phases.into_iter().map(|(name, until)| {
            let phase = Phase { name, from, until };
            from = until;
            phase
        });
        Self { dials, phases: phases.collect(), main, refusals_expected: pattern == Pattern::Overload }
    }

    /// Legs that are meant to be there at a time.
    #[must_use]
    pub fn legs_at(&self, at: Duration) -> usize {
        self.dials.iter().filter(|dial| dial.at <= at && at < dial.until).count()
    }

    /// When the last leg hangs up.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |phase| phase.until)
    }
}

/// A row of calls for each place; each as long as it comes, the last until the end.
fn churn(places: usize, duration: Duration, joined: Duration, seed: u64) -> Vec<Dial> {
    let mut dials = Vec::new();
    for place in 0..places {
        let mut draw = Draw::new(seed, place as u64);
        let mut at = joined.mul_f64(place as f64 / places as f64);
        while at < duration && dials.len() < DIALS_MAX {
            let until = (at + CALL.mul_f64(0.5 + draw.unit())).min(duration);
            dials.push(Dial { at, until });
            at = until;
        }
    }
    dials
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn counts(pattern: Pattern, legs: usize, seconds: [u64; 6]) -> [usize; 6] {
        let plan = Plan::new(pattern, legs, MINUTE, 1);
        seconds.map(|second| plan.legs_at(Duration::from_secs(second)))
    }

    #[test]
    fn each_pattern_has_its_shape() {
        for (pattern, seconds, expected) in [
            (Pattern::Steady, [0, 1, 20, 40, 59, 60], [1, 100, 100, 100, 100, 0]),
            (Pattern::Ramp, [0, 9, 18, 45, 59, 60], [1, 21, 41, 100, 100, 0]),
            (Pattern::Burst, [1, 19, 20, 39, 40, 59], [50, 50, 100, 100, 50, 50]),
            (Pattern::Churn, [1, 10, 20, 40, 59, 60], [100, 100, 100, 100, 100, 0]),
            (Pattern::Overload, [8, 16, 24, 41, 42, 59], [51, 101, 150, 150, 50, 50]),
        ] {
            assert_eq!(counts(pattern, 100, seconds), expected, "{pattern:?}");
        }
    }

    #[test]
    fn phases_follow_each_other_to_the_end() {
        for pattern in Pattern::ALL {
            for legs in [1, 7, 5_000] {
                let plan = Plan::new(pattern, legs, MINUTE, 3);
                assert_eq!(plan.phases[0].from, Duration::ZERO);
                assert!(plan.phases.windows(2).all(|pair| pair[0].until == pair[1].from), "{pattern:?}");
                assert_eq!((plan.end(), plan.main < plan.phases.len()), (MINUTE, true));
                assert!(plan.dials.is_sorted_by_key(|dial| dial.at), "{pattern:?}");
                assert!(plan.dials.iter().all(|dial| dial.at < dial.until && dial.until <= MINUTE), "{pattern:?}");
            }
        }
    }

    #[test]
    fn a_seed_makes_the_same_calls_again() {
        let churn = |seed| Plan::new(Pattern::Churn, 30, MINUTE, seed);
        assert_eq!(churn(7), churn(7));
        assert_ne!(churn(7), churn(8));
        let calls = churn(7).dials.len();
        assert!((150..=240).contains(&calls), "{calls} calls of about ten seconds in thirty places in a minute");
    }
}
