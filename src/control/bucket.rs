//! A token bucket: how often something may be done, with time as an argument.
//!
//! Vonage refuses what comes faster and does not queue it (`vonage-voice.md` section 5),
//! so we queue on our side and spend tokens that come at the documented rate.

use std::time::Duration;

use crate::types::Moment;

/// At most `burst` at once and `per_second` in the long run.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Time that one token takes to come.
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again; in the past, it is full.
    full_at: Moment,
}

impl Bucket {
    /// A full bucket. `per_second` and `burst` of 0 count as 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        // Whole microseconds, as moments have.
        let interval = Duration::from_micros(1_000_000 / u64::from(per_second.clamp(1, 1_000_000)));
        Self { interval, burst: burst.max(1), full_at: Moment::default() }
    }

    /// Takes a token, or says when the next one comes.
    ///
    /// # Errors
    /// The moment from which a token can be taken.
    pub fn take(&mut self, now: Moment) -> Result<(), Moment> {
        let from = self.full_at.max(now);
        let full = from + self.interval;
        let capacity = self.interval * self.burst;
        if full.since(now) > capacity {
            let wait = full.since(now).saturating_sub(capacity);
            return Err(now + wait);
        }
        self.full_at = full;
        Ok(())
    }

    /// Gives no token before `until`: the other side said so.
    pub fn hold(&mut self, until: Moment) {
        self.full_at = self.full_at.max(until + self.interval * (self.burst - 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(3, 3);
        let now = Moment::from_ms(10_000);
        assert!((0..3).all(|_| bucket.take(now).is_ok()));
        let next = bucket.take(now).unwrap_err();
        assert!((333..=334).contains(&next.since(now).as_millis()), "{next:?}");
        assert!(bucket.take(next).is_ok());
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
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_burst_and_rate(waits in proptest::collection::vec(0_u64..500_000, 1..200)) {
            let mut bucket = Bucket::new(3, 3);
            let (mut now, mut taken) = (Moment::default(), Vec::new());
            for wait in waits {
                now = now + Duration::from_micros(wait);
                if bucket.take(now).is_ok() {
                    taken.push(now);
                }
                let recent = taken.iter().filter(|at| now.since(**at) < Duration::from_secs(1)).count();
                prop_assert!(recent <= 6, "{recent}");
            }
            let span = now.0 / 1_000_000;
            prop_assert!(taken.len() as u64 <= 3 + 3 * (span + 1));
        }
    }
}
