//! A token bucket: so many requests a second, and no more saved up than one second's.
//!
//! `vonage-voice.md` section 5: 3 calls a second, 15 other requests; what is over is
//! refused, not queued. Pure: time is an argument.

use crate::types::Moment;

const MICROS: u64 = 1_000_000;

/// Grants at most `rate` in any instant, and over any longer time `rate` a second on
/// top of that.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: u32,
    /// Millionths of a grant, so that no fraction is lost to rounding.
    level: u64,
    filled: Moment,
}

impl Bucket {
    /// A full bucket; `rate` a second, at least 1.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let rate = rate.max(1);
        Self { rate, level: u64::from(rate) * MICROS, filled: Moment::default() }
    }

    /// Whether one more may be done now. A clock that goes back fills nothing.
    pub fn take(&mut self, now: Moment) -> bool {
        let full = u64::from(self.rate) * MICROS;
        let passed = now.0.saturating_sub(self.filled.0);
        self.filled = self.filled.max(now);
        self.level = self.level.saturating_add(passed.saturating_mul(u64::from(self.rate))).min(full);
        let granted = self.level >= MICROS;
        if granted {
            self.level -= MICROS;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_at_once_then_one_every_third_of_a_second() {
        let mut bucket = Bucket::new(3);
        let mut granted = |ms| bucket.take(Moment::from_ms(ms));
        assert_eq!([granted(0), granted(0), granted(0), granted(0)], [true, true, true, false]);
        assert_eq!([granted(333), granted(334), granted(334)], [false, true, false]);
        assert_eq!([granted(60_000), granted(60_000), granted(60_000), granted(60_000)], [true, true, true, false]);
        assert!(!granted(0), "a clock that went back filled the bucket");
    }

    proptest! {
        /// In any window of w s no more than rate + rate * w are granted; and one who asks
        /// more slowly than the rate is never refused.
        #[test]
        fn never_over_the_rate_and_never_under_it(
            rate in 1..20_u32,
            waits in prop::collection::vec(0..700_000_u64, 1..300),
        ) {
            let mut bucket = Bucket::new(rate);
            let mut now = 0;
            let mut grants = Vec::new();
            for wait in &waits {
                now += wait;
                if bucket.take(Moment(now)) {
                    grants.push(now);
                }
            }
            for (first, start) in grants.iter().enumerate() {
                for (last, end) in grants.iter().enumerate().skip(first) {
                    let most = u64::from(rate) * MICROS + u64::from(rate) * (end - start);
                    prop_assert!((last - first + 1) as u64 * MICROS <= most);
                }
            }
            let slow = MICROS.div_ceil(u64::from(rate));
            for _ in &waits {
                now += slow;
                prop_assert!(bucket.take(Moment(now)));
            }
        }
    }
}
