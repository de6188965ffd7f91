//! `[vonage.recordings]`: copies of what Vonage records, with its pauses muted.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[vonage.recordings]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recordings {
    /// Folder that copies of recordings are kept in, silent where capture was paused; it must
    /// be there. Empty: none are kept. It holds what was said: keep it private.
    pub folder: PathBuf,
    /// Longest recording taken, in bytes: two hours of two channels have 461 MB.
    pub bytes_max: u64,
    /// Longest time for one recording, in ms, all attempts together.
    pub timeout_ms: u64,
    /// Attempts at one recording.
    pub attempts_max: u32,
    /// Recordings downloaded at a time.
    pub parallel: usize,
    /// Recordings that may wait for that; one more is not kept.
    pub waiting_max: usize,
    /// Silenced before and after each pause as well, in ms, since Vonage's clock and ours
    /// differ by up to a second, and its times may be of whole seconds.
    pub guard_ms: u64,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            bytes_max: 1 << 30,
            timeout_ms: 600_000,
            attempts_max: 4,
            parallel: 2,
            waiting_max: 256,
            guard_ms: 2_000,
        }
    }
}

impl Recordings {
    /// Whether copies are kept at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.folder.as_os_str().is_empty()
    }

    /// How much is silenced around a pause; none where no copies are kept.
    #[must_use]
    pub fn guard(&self) -> Option<Duration> {
        self.is_on().then(|| Duration::from_millis(self.guard_ms))
    }
}

/// What is wrong with the section.
pub(super) fn check(section: &Recordings, has_api: bool) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut expect = |key: &str, holds: bool, value: &str, expected: &str| {
        if !holds {
            problems.push((format!("vonage.recordings.{key}"), format!("is {value}; expected {expected}")));
        }
    };
    let downloads = !section.is_on() || has_api;
    expect("folder", downloads, "set", "vonage.private_key to be set with it: a recording is asked for with our token");
    for (key, value, fits) in [
        ("bytes_max", section.bytes_max, 1_024..=1 << 40),
        ("timeout_ms", section.timeout_ms, 1_000..=86_400_000),
        ("attempts_max", section.attempts_max.into(), 1..=10),
        ("parallel", section.parallel as u64, 1..=64),
        ("waiting_max", section.waiting_max as u64, 0..=100_000),
        ("guard_ms", section.guard_ms, 0..=60_000),
    ] {
        expect(key, fits.contains(&value), &value.to_string(), &format!("{} to {}", fits.start(), fits.end()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_by_default_and_what_cannot_be_is_named() {
        assert_eq!((Recordings::default().guard(), check(&Recordings::default(), false)), (None, vec![]));
        let on = Recordings { folder: "kept".into(), ..Recordings::default() };
        assert_eq!((on.guard(), check(&on, true)), (Some(Duration::from_secs(2)), vec![]));
        let wrong = |section: &Recordings, has_api| -> Vec<_> {
            check(section, has_api).into_iter().map(|(key, what)| format!("{key} {what}")).collect()
        };
        assert_eq!(
            wrong(&on, false),
            [
                "vonage.recordings.folder is set; expected vonage.private_key to be set with it: a recording is asked for \
              with our token"
            ]
        );
        let none = Recordings {
            bytes_max: 0,
            timeout_ms: 0,
            attempts_max: 0,
            parallel: 0,
            waiting_max: 100_001,
            guard_ms: 60_001,
            ..Recordings::default()
        };
        let problems = wrong(&none, true);
        assert_eq!((problems.len(), problems[3].as_str()), (6, "vonage.recordings.parallel is 0; expected 1 to 64"));
    }
}
