//! `[asr.breaker]`, `[sentiment.breaker]`: when a backend that fails is left alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::inference::FailOver;
use crate::inference::breaker::Patience;

/// When a backend that fails is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSection {
    /// Failures in a row after which a backend is left alone.
    pub failures_max: u32,
    /// For how long at first, in ms; doubles each time that one more try fails. For transcribers
    /// also the pause before all are asked again for a segment on which all failed.
    pub cool_down_ms: u64,
    /// For how long at most, in ms.
    pub cool_down_max_ms: u64,
    /// For how long where the key is not accepted, in ms.
    pub refused_ms: u64,
}

impl Default for BreakerSection {
    fn default() -> Self {
        let Patience { failures_max, cool_down, cool_down_max, refused } = FailOver::default().patience;
        let ms = |span: Duration| span.as_millis() as u64;
        Self { failures_max, cool_down_ms: ms(cool_down), cool_down_max_ms: ms(cool_down_max), refused_ms: ms(refused) }
    }
}

impl BreakerSection {
    /// The same for who keeps to it.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let span = Duration::from_millis;
        let Self { failures_max, cool_down_ms, cool_down_max_ms, refused_ms } = *self;
        Patience {
            failures_max,
            cool_down: span(cool_down_ms),
            cool_down_max: span(cool_down_max_ms),
            refused: span(refused_ms),
        }
    }

    /// Key and what is wrong with its value; `section` is where this stands.
    pub(super) fn check(&self, section: &str) -> Vec<(String, String)> {
        let Self { failures_max, cool_down_ms, cool_down_max_ms, refused_ms } = *self;
        let least = cool_down_ms;
        let of = |most: u64| format!("{section}.cool_down_ms to {most}");
        [
            ("failures_max", u64::from(failures_max), 1..=1_000, "1 to 1000".to_owned()),
            ("cool_down_ms", cool_down_ms, 10..=60_000, "10 to 60000".to_owned()),
            ("cool_down_max_ms", cool_down_max_ms, least..=3_600_000, of(3_600_000)),
            ("refused_ms", refused_ms, least..=86_400_000, of(86_400_000)),
        ]
        .into_iter()
        .filter(|(_, value, range, _)| !range.contains(value))
        .map(|(key, value, _, expected)| (format!("{section}.{key}"), format!("is {value}; expected {expected}")))
        .collect()
    }
}
