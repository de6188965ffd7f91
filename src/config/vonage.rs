//! `[vonage]`: our application at Vonage. `[control]`: the controller's bounds.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recordings::{self, Recordings};
use super::secret::{Secret, one_or_more};
use crate::control::Limits;
use crate::vonage::app_jwt::AppKey;
use crate::vonage::rest;
use crate::vonage::rest_types::DEFAULT_BASE;
use crate::vonage::signature::{Keyring, Policy, QueryHash, SECRETS_PER_KEY_MAX};

/// `[vonage]`. With a private key, calls can be made and controlled; with an account, its
/// signed webhooks are believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vonage {
    /// Id of the application; empty takes webhooks of any.
    pub application_id: String,
    /// The application's private key, a PEM file; a relative path starts at this file's
    /// folder. Empty: nothing is asked of Vonage, so there are no agents to ring and no
    /// listeners to make.
    pub private_key: PathBuf,
    /// The same key as text: for a secret that the environment carries. One of the two.
    pub private_key_pem: Secret,
    /// Where calls are created.
    pub api_base: String,
    /// Hosts besides Vonage's that may be sent our token: a simulator, as `host:port`.
    pub trusted_hosts: Vec<String>,
    /// Accounts whose signed webhooks are believed: `[[vonage.account]]`.
    pub account: Vec<Account>,
    /// Believe webhooks that are not signed. For development: only on a loopback address.
    pub unsigned: bool,
    /// The hash of a GET webhook's query: `ignore`, `if_present` or `required`.
    pub query_hash: QueryHashRule,
    /// Oldest signature taken, in s.
    pub signature_age_max_s: u64,
    /// Webhooks remembered, to answer a repetition with the same reply.
    pub webhooks_remembered_max: usize,
    /// Longest webhook taken, in bytes.
    pub webhook_bytes_max: usize,
    /// Longest wait for one answer of the API, in ms.
    pub request_timeout_ms: u64,
    /// Requests to the API under way at a time; one more fails.
    pub requests_max: usize,
    /// Copies of what Vonage records.
    pub recordings: Recordings,
}

/// `[[vonage.account]]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// The account's API key, as its signatures name it.
    pub api_key: String,
    /// Its signature secret, and during a rotation the other one.
    #[serde(deserialize_with = "one_or_more")]
    pub signature_secrets: Vec<Secret>,
}

/// What to do about the hash of a GET webhook's query, whose form nobody confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryHashRule {
    /// Do not look at it.
    Ignore,
    /// It must be right where there is one.
    IfPresent,
    /// It must be there and right.
    Required,
}

impl Default for Vonage {
    fn default() -> Self {
        Self {
            application_id: String::new(),
            private_key: PathBuf::new(),
            private_key_pem: Secret::default(),
            api_base: DEFAULT_BASE.to_owned(),
            trusted_hosts: Vec::new(),
            account: Vec::new(),
            unsigned: false,
            query_hash: QueryHashRule::IfPresent,
            signature_age_max_s: 300,
            webhooks_remembered_max: crate::vonage::replay::ENTRIES_DEFAULT,
            webhook_bytes_max: 262_144,
            request_timeout_ms: 10_000,
            requests_max: 256,
            recordings: Recordings::default(),
        }
    }
}

impl Vonage {
    /// Whether webhooks are taken at all.
    #[must_use]
    pub fn takes_webhooks(&self) -> bool {
        self.unsigned || !self.account.is_empty()
    }

    /// Whether Vonage can be asked for anything.
    #[must_use]
    pub fn has_api(&self) -> bool {
        !self.private_key.as_os_str().is_empty() || !self.private_key_pem.is_empty()
    }

    /// The private key, from wherever it is configured.
    ///
    /// # Errors
    /// The key, its value and what is wrong with it.
    pub fn app_key(&self) -> Result<AppKey, String> {
        if !self.private_key_pem.is_empty() {
            let key = AppKey::from_pem(&self.private_key_pem.reveal().0);
            return key.map_err(|error| format!("vonage.private_key_pem is no key: {error}"));
        }
        let path = &self.private_key;
        let bad = |what: String| format!("vonage.private_key is {}: {what}", path.display());
        let pem = std::fs::read_to_string(path).map_err(|error| bad(format!("it cannot be read: {error}")))?;
        AppKey::from_pem(&pem).map_err(|error| bad(error.to_string()))
    }

    /// The secrets of every account. Only of a checked configuration is this complete.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        for account in &self.account {
            for secret in &account.signature_secrets {
                // What could be refused here was refused when the configuration was checked.
                let _ = keyring.add(&account.api_key, secret.reveal());
            }
        }
        keyring
    }

    /// What is demanded of a signature.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            max_age: Duration::from_secs(self.signature_age_max_s),
            application_id: (!self.application_id.is_empty()).then(|| self.application_id.clone()),
            query_hash: match self.query_hash {
                QueryHashRule::Ignore => QueryHash::Ignore,
                QueryHashRule::IfPresent => QueryHash::IfPresent,
                QueryHashRule::Required => QueryHash::Required,
            },
            ..Policy::default()
        }
    }

    /// How the client behaves.
    #[must_use]
    pub fn client(&self) -> rest::Settings {
        rest::Settings {
            base: self.api_base.clone(),
            trusted_hosts: self.trusted_hosts.clone(),
            // No proxy reaches this machine's own simulator.
            system_proxy: !is_loopback_url(&self.api_base),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            ..rest::Settings::default()
        }
    }

    /// How the client behaves that downloads recordings.
    #[must_use]
    pub fn downloader(&self) -> rest::Settings {
        rest::Settings {
            attempts_max: self.recordings.attempts_max,
            recording_bytes_max: self.recordings.bytes_max,
            recording_timeout: Duration::from_millis(self.recordings.timeout_ms),
            ..self.client()
        }
    }
}

/// Whether a URL leads to this machine itself.
#[must_use]
pub fn is_loopback_url(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |h| h.0);
    crate::types::is_this_machine(host)
}

/// `[control]`: bounds of the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Calls followed at a time, those that are over but remembered included; a call beyond
    /// is served by the fallback NCCO.
    pub calls_max: usize,
    /// Legs at Vonage in one call; more are not listened to.
    pub participants_max: usize,
    /// Legs that may wait to be created.
    pub creations_max: usize,
    /// Legs created in a second; Vonage's own limit is 3.
    pub creations_per_second: u32,
    /// Legs asked after in a second, below Vonage's 15 requests.
    pub polls_per_second: u32,
    /// Longest wait until a participant is heard by a socket of its own, in ms; then one
    /// socket for all is tried as long.
    pub listener_timeout_ms: u64,
    /// Attempts at a socket before that.
    pub listener_attempts: u32,
    /// Pause before a socket that failed or was lost is asked for again, in ms; doubles with
    /// each failure.
    pub listener_pause_ms: u64,
    /// A leg of which nothing was heard for so long is asked after, in ms.
    pub sweep_after_ms: u64,
    /// Longest wait for late news after everybody left, in ms.
    pub linger_max_ms: u64,
    /// Quiet that ends that wait when nothing is missing, in ms.
    pub linger_ms: u64,
    /// How long a call that is over is remembered, in s.
    pub remember_s: u64,
    /// A call of which nothing was heard for so long is over, in s.
    pub silent_max_s: u64,
    /// Transcripts kept for the API, in MiB of text over all calls; the oldest go first.
    pub transcripts_mib_max: usize,
    /// How long a media socket's token waits for its socket, in s.
    pub token_life_s: u64,
    /// Rate of the media sockets: 8000, 16000 or 24000 Hz.
    pub media_rate_hz: u32,
}

impl Default for Control {
    fn default() -> Self {
        let limits = Limits::default();
        let ms = |span: Duration| span.as_millis() as u64;
        Self {
            calls_max: limits.calls_max,
            participants_max: limits.participants_max,
            creations_max: limits.creations_max,
            creations_per_second: limits.creations_per_second,
            polls_per_second: limits.polls_per_second,
            listener_timeout_ms: ms(limits.listener_timeout),
            listener_attempts: limits.listener_attempts,
            listener_pause_ms: ms(limits.listener_pause),
            sweep_after_ms: ms(limits.sweep_after),
            linger_max_ms: ms(limits.linger_max),
            linger_ms: ms(limits.linger),
            remember_s: limits.remember.as_secs(),
            silent_max_s: limits.silent_max.as_secs(),
            transcripts_mib_max: 64,
            token_life_s: 120,
            media_rate_hz: 16_000,
        }
    }
}

impl Control {
    /// What the controller is told.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let ms = Duration::from_millis;
        Limits {
            calls_max: self.calls_max,
            participants_max: self.participants_max,
            creations_max: self.creations_max,
            creations_per_second: self.creations_per_second,
            polls_per_second: self.polls_per_second,
            listener_timeout: ms(self.listener_timeout_ms),
            listener_attempts: self.listener_attempts,
            listener_pause: ms(self.listener_pause_ms),
            sweep_after: ms(self.sweep_after_ms),
            linger_max: ms(self.linger_max_ms),
            linger: ms(self.linger_ms),
            remember: Duration::from_secs(self.remember_s),
            silent_max: Duration::from_secs(self.silent_max_s),
            ..Limits::default()
        }
    }
}

/// What is wrong with either section, given the address we listen on.
pub(super) fn check(vonage: &Vonage, control: &Control, is_loopback: bool) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut expect = |key: &str, holds: bool, value: &str, expected: &str| {
        if !holds {
            problems.push((key.to_owned(), format!("is {value}; expected {expected}")));
        }
    };
    expect(
        "vonage.unsigned",
        !vonage.unsigned || is_loopback,
        "true",
        "false unless server.listen is a loopback address: anyone could forge webhooks",
    );
    expect(
        "vonage.private_key_pem",
        vonage.private_key.as_os_str().is_empty() || vonage.private_key_pem.is_empty(),
        "set",
        "one of it and vonage.private_key",
    );
    expect(
        "vonage.private_key",
        !vonage.has_api() || !vonage.application_id.is_empty(),
        "set",
        "vonage.application_id to be set with it",
    );
    if let Err(bad) = vonage.client().check() {
        // The client's own names, where they differ from ours.
        let key = match bad.key {
            "base" => "api_base",
            "request_timeout" => "request_timeout_ms",
            key => key,
        };
        expect(&format!("vonage.{key}"), false, &bad.value, bad.expected);
    }
    for (n, account) in vonage.account.iter().enumerate() {
        let key = |name: &str| format!("vonage.account[{n}].{name}");
        let named = !account.api_key.is_empty();
        let once = vonage.account.iter().filter(|other| other.api_key == account.api_key).count() == 1;
        expect(&key("api_key"), named && once, &format!("{:?}", account.api_key), "an API key of its own");
        let secrets = account.signature_secrets.len();
        let fit = (1..=SECRETS_PER_KEY_MAX).contains(&secrets);
        expect(&key("signature_secrets"), fit, &format!("a list of {secrets}"), "1 or 2 secrets");
        let filled = account.signature_secrets.iter().all(|secret| !secret.is_empty());
        expect(&key("signature_secrets"), filled, "empty", "no empty secret");
    }
    let mut range = |key: &str, value: u64, fits: std::ops::RangeInclusive<u64>| {
        let expected = format!("{} to {}", fits.start(), fits.end());
        expect(key, fits.contains(&value), &value.to_string(), &expected);
    };
    range("vonage.signature_age_max_s", vonage.signature_age_max_s, 10..=3_600);
    range("vonage.webhooks_remembered_max", vonage.webhooks_remembered_max as u64, 16..=1_000_000);
    range("vonage.webhook_bytes_max", vonage.webhook_bytes_max as u64, 1_024..=16 << 20);
    range("vonage.requests_max", vonage.requests_max as u64, 1..=10_000);
    range("control.calls_max", control.calls_max as u64, 1..=1_000_000);
    range("control.participants_max", control.participants_max as u64, 2..=50);
    range("control.creations_max", control.creations_max as u64, 1..=100_000);
    range("control.creations_per_second", control.creations_per_second.into(), 1..=1_000);
    range("control.polls_per_second", control.polls_per_second.into(), 1..=1_000);
    range("control.listener_timeout_ms", control.listener_timeout_ms, 100..=120_000);
    range("control.listener_attempts", control.listener_attempts.into(), 1..=20);
    range("control.listener_pause_ms", control.listener_pause_ms, 1..=60_000);
    range("control.sweep_after_ms", control.sweep_after_ms, 100..=3_600_000);
    range("control.linger_ms", control.linger_ms, 1..=60_000);
    range("control.linger_max_ms", control.linger_max_ms, control.linger_ms..=600_000);
    range("control.remember_s", control.remember_s, 1..=86_400);
    range("control.silent_max_s", control.silent_max_s, 60..=86_400);
    range("control.transcripts_mib_max", control.transcripts_mib_max as u64, 0..=65_536);
    range("control.token_life_s", control.token_life_s, 5..=3_600);
    let rate = crate::types::Rate::from_hz(control.media_rate_hz);
    expect("control.media_rate_hz", rate.is_some(), &control.media_rate_hz.to_string(), "8000, 16000 or 24000");
    problems.extend(recordings::check(&vonage.recordings, vonage.has_api()));
    problems
}
