//! A token bucket: how often something may be done, with time as an argument.
//!
//! Vonage refuses what comes faster and does not queue it (`vonage-voice.md` section 5),
//! so we queue on our side. It counts within any second, so a bucket that fills while it
//! is emptied would not do: a token comes back only when its own time has passed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Moment;

/// At most `burst` within any `burst / per_second` seconds.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// How long a token that was taken is away.
    away: Duration,
    burst: usize,
    /// When each token that is away comes back, earliest first.
    back: VecDeque<Moment>,
}

impl Bucket {
    /// A full bucket. `per_second` and `burst` of 0 count as 1; with a `burst` that divides
    /// `per_second`, no second sees more than `per_second`.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (per_second.clamp(1, 1_000_000), burst.clamp(1, 1_000_000));
        // Whole microseconds, as moments have; up, so that it is never too soon.
        let away = Duration::from_micros((1_000_000 * u64::from(burst)).div_ceil(u64::from(per_second)));
        Self { away, burst: burst as usize, back: VecDeque::new() }
    }

    /// Takes a token, or says when the next one comes.
    ///
    /// # Errors
    /// The moment from which a token can be taken; later than `now`.
    pub fn take(&mut self, now: Moment) -> Result<(), Moment> {
        while self.back.front().is_some_and(|back| *back <= now) {
            self.back.pop_front();
        }
        match self.back.front() {
            Some(next) if self.back.len() >= self.burst => Err(*next),
            _ => {
                // After a hold others may be back later than this one.
                let back = self.back.back().map_or(now + self.away, |last| (*last).max(now + self.away));
                self.back.push_back(back);
                Ok(())
            }
        }
    }

    /// Gives no token before `until`, and then one after the other: the other side said so.
    pub fn hold(&mut self, until: Moment) {
        let step = self.away / u32::try_from(self.burst).unwrap_or(u32::MAX);
        // Those that are here come first, then those that are away, in the order they come back.
        let here = self.burst.saturating_sub(self.back.len());
        let back = std::iter::repeat_n(Moment::default(), here).chain(std::mem::take(&mut self.back));
        self.back = back.zip(0_u32..).map(|(back, n)| back.max(until + step * n)).collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_burst_then_not_before_its_second_has_passed() {
        let mut bucket = Bucket::new(3, 3);
        let now = Moment::from_ms(10_000);
        assert!((0..3).all(|_| bucket.take(now).is_ok()));
        let next = bucket.take(now + Duration::from_millis(400)).unwrap_err();
        assert_eq!(next, now + Duration::from_secs(1));
        assert!((0..3).all(|_| bucket.take(next).is_ok()));
        assert!(bucket.take(next).is_err());
    }

    #[test]
    fn a_hold_empties_it() {
        let mut bucket = Bucket::new(3, 3);
        let now = Moment::from_ms(5_000);
        bucket.hold(now + Duration::from_secs(2));
        let next = bucket.take(now).unwrap_err();
        assert_eq!(next, now + Duration::from_secs(2));
        assert!(bucket.take(next).is_ok());
        assert!(bucket.take(next).is_err());
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_the_rate(
            waits in proptest::collection::vec((0_u64..500_000, proptest::bool::weighted(0.1)), 1..200),
        ) {
            let mut bucket = Bucket::new(3, 3);
            let (mut now, mut taken) = (Moment::default(), Vec::new());
            for (wait, held) in waits {
                now = now + Duration::from_micros(wait);
                if held {
                    bucket.hold(now + Duration::from_millis(300));
                }
                match bucket.take(now) {
                    Ok(()) => taken.push(now),
                    Err(next) => prop_assert!(next > now && next.since(now) <= Duration::from_secs(2)),
                }
                let recent = taken.iter().filter(|at| now.since(**at) < Duration::from_secs(1)).count();
                prop_assert!(recent <= 3, "{recent}");
            }
        }
    }
}
