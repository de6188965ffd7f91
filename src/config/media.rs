//! `[media]`: who may open a media socket. `[playback]`: how one is spoken to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::{Secret, one_or_more};
use crate::call::Speaking;
use crate::vonage::media_token::{KEY_LEN_MIN, KEYS_MAX};

/// Most values in `media.custom`: a few applications, each with an old value and a new one.
const CUSTOM_MAX: usize = 16;
/// Shortest value in `media.custom`, in bytes.
const CUSTOM_LEN_MIN: usize = 16;
/// Longest value in `media.custom`, in bytes: what the platform takes.
const CUSTOM_LEN_MAX: usize = 8191;

/// `[media]`. Any one of the three ways lets a socket in; with none of them, sockets are
/// open to whoever can reach the address, which must then be a loopback address.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Keys of media tokens, at least 32 bytes each: the one that signs, and during a
    /// rotation the old one after it.
    #[serde(deserialize_with = "one_or_more")]
    pub token_keys: Vec<Secret>,
    /// Values of the `Authorization` header that are accepted as they stand: what an
    /// NCCO's `authorization` of type `custom` has as its value.
    #[serde(deserialize_with = "one_or_more")]
    pub custom: Vec<Secret>,
    /// Accept the platform's own signed token, as an NCCO's `authorization` of type
    /// `vonage` makes it send one. Needs an account with a signature secret.
    pub vonage: bool,
}

impl Media {
    /// Whether no way is configured: sockets are open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.token_keys.is_empty() && self.custom.is_empty() && !self.vonage
    }
}

/// `[playback]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Playback {
    /// How far ahead of its being heard audio is sent, in ms. More survives a busier
    /// network; less is stopped sooner.
    pub lead_ms: u64,
    /// Playbacks of one leg that are not over yet; one more is refused.
    pub queue_max: usize,
    /// Longest wait, after a playback's end, for the platform to say that it was heard, in ms.
    pub echo_timeout_ms: u64,
    /// Longest wait for the platform to say that it stopped playing, in ms.
    pub clear_timeout_ms: u64,
}

impl Default for Playback {
    fn default() -> Self {
        let Speaking { lead, queue_max, echo_timeout, clear_timeout } = Speaking::default();
        let ms = |span: Duration| span.as_millis() as u64;
        Self { lead_ms: ms(lead), queue_max, echo_timeout_ms: ms(echo_timeout), clear_timeout_ms: ms(clear_timeout) }
    }
}

impl Playback {
    /// What each leg's `Call` is told.
    #[must_use]
    pub fn speaking(&self) -> Speaking {
        Speaking {
            lead: Duration::from_millis(self.lead_ms),
            queue_max: self.queue_max,
            echo_timeout: Duration::from_millis(self.echo_timeout_ms),
            clear_timeout: Duration::from_millis(self.clear_timeout_ms),
        }
    }
}

/// What is wrong with either section: key, value (never a secret's), and what was expected.
pub(super) fn check(media: &Media, playback: &Playback) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut expect = |key: String, holds: bool, value: String, expected: &str| {
        if !holds {
            problems.push((key, format!("is {value}; expected {expected}")));
        }
    };
    let keys = media.token_keys.len();
    expect("media.token_keys".to_owned(), keys <= KEYS_MAX, format!("a list of {keys}"), "1 or 2 keys, or none");
    for (n, key) in media.token_keys.iter().enumerate() {
        let long_enough = key.len() >= KEY_LEN_MIN;
        expect(format!("media.token_keys[{n}]"), long_enough, bytes(key), &format!("at least {KEY_LEN_MIN} bytes"));
    }
    let values = media.custom.len();
    expect("media.custom".to_owned(), values <= CUSTOM_MAX, format!("a list of {values}"), "at most 16 values");
    for (n, value) in media.custom.iter().enumerate() {
        let fits = (CUSTOM_LEN_MIN..=CUSTOM_LEN_MAX).contains(&value.len());
        let expected = format!("{CUSTOM_LEN_MIN} to {CUSTOM_LEN_MAX} bytes");
        expect(format!("media.custom[{n}]"), fits, bytes(value), &expected);
        let clean = value.is_printable() && !value.reveal().0.starts_with(' ') && !value.reveal().0.ends_with(' ');
        let what = "not a header's value".to_owned();
        expect(format!("media.custom[{n}]"), clean, what, "printable ASCII without spaces around it");
    }
    let Playback { lead_ms, queue_max, echo_timeout_ms, clear_timeout_ms } = playback;
    let lead_fits = (60..=200).contains(lead_ms);
    expect("playback.lead_ms".to_owned(), lead_fits, lead_ms.to_string(), "60 to 200");
    let queue_fits = (1..=64).contains(queue_max);
    expect("playback.queue_max".to_owned(), queue_fits, queue_max.to_string(), "1 to 64");
    for (key, ms) in [("echo", echo_timeout_ms), ("clear", clear_timeout_ms)] {
        let fits = (100..=30_000).contains(ms);
        expect(format!("playback.{key}_timeout_ms"), fits, ms.to_string(), "100 to 30000");
    }
    problems
}

fn bytes(secret: &Secret) -> String {
    format!("{} bytes long", secret.len())
}
