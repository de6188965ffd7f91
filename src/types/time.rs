//! Three clocks, kept apart by type.
//!
//! [`Moment`] is the monotonic clock of this process: when something reached us.
//! [`MediaTime`] is a position in one leg's audio: where in the speech.
//! [`WallTime`] is UTC: what people and other machines read.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

use super::rate::PIPELINE_HZ;

/// A point on a monotonic clock: microseconds since an epoch of the caller's choice.
///
/// Passed in as an argument wherever time matters, so that the pure core can be
/// run on any clock, a recorded one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// `ms` milliseconds after the epoch.
    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A position in a leg's audio: samples at 16 kHz since the leg's first sample,
/// silence that Vonage did not send included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(pub u64);

impl MediaTime {
    /// The position `ms` milliseconds in.
    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Self(ms * u64::from(PIPELINE_HZ) / 1000)
    }

    /// The position in milliseconds, rounded down.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 * 1000 / u64::from(PIPELINE_HZ)
    }
}

impl Add<u64> for MediaTime {
    type Output = Self;
    /// Moves on by a number of 16 kHz samples.
    fn add(self, samples: u64) -> Self {
        Self(self.0 + samples)
    }
}

impl Sub for MediaTime {
    type Output = u64;
    /// Samples between two positions; zero when `earlier` is later.
    fn sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 with microseconds, as in CloudEvents' `time`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = DateTime::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&utc.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}
