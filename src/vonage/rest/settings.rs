//! What the client may be told, and what it does when told nothing.

use std::time::Duration;

use super::trust;
use crate::vonage::app_jwt::{LIFE_DEFAULT, LIFE_MAX};
use crate::vonage::rest_types::DEFAULT_BASE;

/// Shortest life of a token that is of use.
const TOKEN_LIFE_MIN: Duration = Duration::from_secs(60);

/// How the client behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where requests go that name no region: scheme and host, without a path.
    pub base: String,
    /// Hosts besides Vonage's that may be sent our token, by `http` as well: a simulator,
    /// a relay. `host:port`, or `host` for the scheme's usual port.
    pub trusted_hosts: Vec<String>,
    /// Bases that are asked too when the first answers 404; none.
    /// [`REGIONS`](crate::vonage::rest_types::REGIONS) has those of Vonage.
    pub sweep: Vec<String>,
    /// Whether the proxy that the system or the environment names is used; it is.
    pub system_proxy: bool,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one attempt's whole answer; for a download, for its beginning.
    pub request_timeout: Duration,
    /// Longest time for all attempts and the pauses between them.
    pub total_timeout: Duration,
    /// Attempts at one base, 1 to 10.
    pub attempts_max: u32,
    /// The pause after the first attempt is random up to this; it doubles with each.
    pub backoff_first: Duration,
    /// No random pause is longer.
    pub backoff_max: Duration,
    /// Longest `Retry-After` that is waited for; a longer one ends the request.
    pub retry_after_max: Duration,
    /// The pause, and up to half as much again, before a hang-up is tried again that came
    /// too early for Vonage.
    pub early_hangup_pause: Duration,
    /// Longest answer read, in bytes; the documents behind `transcription_url` too.
    pub response_bytes_max: usize,
    /// Longest recording downloaded, in bytes.
    pub recording_bytes_max: u64,
    /// Longest time for a recording, all attempts together.
    pub recording_timeout: Duration,
    /// Longest wait for the next piece of a recording.
    pub recording_idle_timeout: Duration,
    /// Redirects followed to a recording; each only to where our token may go.
    pub redirects_max: u32,
    /// Pages read of a list of calls.
    pub pages_max: u32,
    /// Life of a token: 60 s to 24 h. Renewed when a fifth of it is left.
    pub token_life: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: DEFAULT_BASE.to_owned(),
            trusted_hosts: Vec::new(),
            sweep: Vec::new(),
            system_proxy: true,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            attempts_max: 4,
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(4),
            retry_after_max: Duration::from_secs(10),
            early_hangup_pause: Duration::from_millis(700),
            response_bytes_max: 4 << 20,
            recording_bytes_max: 1 << 30,
            recording_timeout: Duration::from_secs(600),
            recording_idle_timeout: Duration::from_secs(20),
            redirects_max: 3,
            pages_max: 100,
            token_life: LIFE_DEFAULT,
        }
    }
}

/// A setting that cannot be: its name, its value and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; expected {expected}")]
pub struct BadSettings {
    /// Name of the setting.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// What it must be.
    pub expected: &'static str,
}

impl Settings {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`BadSettings`]: the first that cannot be.
    pub fn check(&self) -> Result<(), BadSettings> {
        let bad = |key, value: String, expected| Err(BadSettings { key, value, expected });
        for host in &self.trusted_hosts {
            if !trust::is_host(host) {
                return bad("trusted_hosts", format!("{host:?}"), "host or host:port, without a scheme or a path");
            }
        }
        for (key, base) in [("base", &self.base)].into_iter().chain(self.sweep.iter().map(|base| ("sweep", base))) {
            if trust::base(base, &self.trusted_hosts).is_none() {
                let expected =
                    "https at vonage.com or nexmo.com, or http or https at one of trusted_hosts, without a path";
                return bad(key, format!("{base:?}"), expected);
            }
        }
        for (key, span) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("total_timeout", self.total_timeout),
            ("recording_timeout", self.recording_timeout),
            ("recording_idle_timeout", self.recording_idle_timeout),
        ] {
            // Far future deadlines cannot be computed on every clock.
            if span.is_zero() || span > LIFE_MAX {
                return bad(key, format!("{span:?}"), "more than 0, at most 24 h");
            }
        }
        for (key, span) in [
            ("backoff_first", self.backoff_first),
            ("backoff_max", self.backoff_max),
            ("retry_after_max", self.retry_after_max),
            ("early_hangup_pause", self.early_hangup_pause),
        ] {
            if span > LIFE_MAX {
                return bad(key, format!("{span:?}"), "at most 24 h");
            }
        }
        for (key, count, range, expected) in [
            ("attempts_max", u64::from(self.attempts_max), 1..=10, "1 to 10"),
            ("response_bytes_max", self.response_bytes_max as u64, 1_024..=64 << 20, "1024 to 67108864"),
            ("recording_bytes_max", self.recording_bytes_max, 1..=u64::MAX, "at least 1"),
            ("redirects_max", u64::from(self.redirects_max), 0..=10, "0 to 10"),
            ("pages_max", u64::from(self.pages_max), 1..=10_000, "1 to 10000"),
        ] {
            if !range.contains(&count) {
                return bad(key, count.to_string(), expected);
            }
        }
        if !(TOKEN_LIFE_MIN..=LIFE_MAX).contains(&self.token_life) {
            return bad("token_life", format!("{:?}", self.token_life), "60 s to 24 h");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_and_a_simulator_are_fine() {
        assert_eq!(Settings::default().check(), Ok(()));
        let base = "http://127.0.0.1:9000".to_owned();
        let simulator = Settings { base, trusted_hosts: vec!["127.0.0.1:9000".into()], ..Settings::default() };
        assert_eq!(simulator.check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let https =
            "expected https at vonage.com or nexmo.com, or http or https at one of trusted_hosts, without a path";
        assert_eq!(
            error(|s| s.base = "http://api.nexmo.com".into()),
            format!("base is \"http://api.nexmo.com\"; {https}")
        );
        assert_eq!(
            error(|s| s.sweep = vec!["https://a.example".into()]),
            format!("sweep is \"https://a.example\"; {https}")
        );
        assert_eq!(
            error(|s| s.trusted_hosts = vec!["http://localhost".into()]),
            "trusted_hosts is \"http://localhost\"; expected host or host:port, without a scheme or a path"
        );
        assert_eq!(
            error(|s| s.request_timeout = Duration::ZERO),
            "request_timeout is 0ns; expected more than 0, at most 24 h"
        );
        assert_eq!(error(|s| s.backoff_max = Duration::MAX).split(" is ").next(), Some("backoff_max"));
        assert_eq!(error(|s| s.attempts_max = 0), "attempts_max is 0; expected 1 to 10");
        assert_eq!(error(|s| s.token_life = Duration::from_secs(5)), "token_life is 5s; expected 60 s to 24 h");
    }
}
