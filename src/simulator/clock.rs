//! The platform's time: real time, so many times faster.
//!
//! Ticks, talk, rings and limits are on it; so is every timestamp in a webhook, so that
//! a duration there is that of the call. Signatures are dated by the real clock.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::{Instant, sleep_until};

/// Speeds that make sense: below, nobody waits; above, no machine keeps up.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100.0;

/// A clock that began when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    began: DateTime<Utc>,
    speed: f64,
}

impl Clock {
    /// A clock that runs `speed` times faster than real time; cut to [`SPEEDS`].
    #[must_use]
    pub fn start(speed: f64) -> Self {
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(*SPEEDS.start(), *SPEEDS.end()) };
        Self { start: Instant::now(), began: Utc::now(), speed }
    }

    /// Times faster than real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Platform time since the clock began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed().mul_f64(self.speed)
    }

    /// The real time that a span of platform time takes.
    #[must_use]
    pub fn real(&self, span: Duration) -> Duration {
        span.div_f64(self.speed)
    }

    /// When a platform time comes, on the real clock.
    #[must_use]
    pub fn instant(&self, at: Duration) -> Instant {
        self.start + self.real(at)
    }

    /// Waits until a platform time; returns at once when it is past.
    pub fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send + use<> {
        sleep_until(self.instant(at))
    }

    /// Waits for a span of platform time.
    pub fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleep_until(self.now() + span)
    }

    /// A platform time as webhooks write it: `2020-01-01T12:00:00.000Z`.
    #[must_use]
    pub fn stamp(&self, at: Duration) -> String {
        let at = self.began + chrono::TimeDelta::from_std(at).unwrap_or_default();
        at.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_takes_eight_seconds_or_so() {
        let clock = Clock::start(7.5);
        assert_eq!(clock.real(Duration::from_secs(60)), Duration::from_secs(8));
        assert_eq!(
            clock.instant(Duration::from_secs(90)) - clock.instant(Duration::from_secs(30)),
            Duration::from_secs(8)
        );
    }

    #[test]
    fn speeds_out_of_range_are_cut_and_stamps_follow_the_platform() {
        for (asked, got) in [(0.0, 0.1), (1e9, 100.0), (f64::NAN, 1.0), (8.0, 8.0)] {
            assert_eq!(Clock::start(asked).speed(), got);
        }
        let clock = Clock::start(1.0);
        let (first, later) = (clock.stamp(Duration::ZERO), clock.stamp(Duration::from_millis(61_500)));
        let parse = |text: &str| DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_millis()).ok();
        assert_eq!(parse(&later).zip(parse(&first)).map(|(a, b)| a - b), Some(61_500));
        assert!(first.ends_with('Z'), "{first}");
    }
}
