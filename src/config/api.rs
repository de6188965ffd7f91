//! `[api]`: who may use our API.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Shortest token taken, in bytes.
pub const TOKEN_LEN_MIN: usize = 16;

/// `[api]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Bearer tokens, each with its scopes: `[[api.tokens]]`. Without any, only this
    /// machine is answered, and only while `server.listen` is a loopback address.
    pub tokens: Vec<TokenSettings>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// To see calls.
    #[serde(rename = "calls:read")]
    CallsRead,
    /// To make, transfer, mute and end calls, and to press keys.
    #[serde(rename = "calls:control")]
    CallsControl,
    /// To play and say things into calls.
    #[serde(rename = "calls:audio")]
    CallsAudio,
    /// To read what was said.
    #[serde(rename = "transcripts:read")]
    TranscriptsRead,
    /// To pause and resume listening.
    #[serde(rename = "capture:control")]
    CaptureControl,
    /// To follow the events; they hold what was said.
    #[serde(rename = "events:read")]
    EventsRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [
        Self::CallsRead,
        Self::CallsControl,
        Self::CallsAudio,
        Self::TranscriptsRead,
        Self::CaptureControl,
        Self::EventsRead,
    ];

    /// The scope as configured and as told to clients.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsControl => "calls:control",
            Self::CallsAudio => "calls:audio",
            Self::TranscriptsRead => "transcripts:read",
            Self::CaptureControl => "capture:control",
            Self::EventsRead => "events:read",
        }
    }
}

/// One token of the configuration: `token`, or its `sha256` so that the file holds no
/// secret.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenSettings {
    /// Whose it is; said in logs.
    pub name: String,
    /// SHA-256 of the token in hexadecimal; empty where `token` is given.
    pub sha256: String,
    /// The token itself, at least [`TOKEN_LEN_MIN`] visible ASCII characters; empty where
    /// `sha256` is given. Never written out.
    #[serde(skip_serializing)]
    pub token: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSettings").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// A token that cannot be used. Holds nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{index}.{key} {what}")]
pub struct BadToken {
    /// Place in the list, from 0.
    pub index: usize,
    /// The key that is wrong.
    pub key: &'static str,
    /// How, and what was expected.
    pub what: String,
}

/// The tokens that are taken, by their digests: compared in constant time, shown by
/// nothing.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Known>);

/// One of them.
#[derive(Clone)]
pub(crate) struct Known {
    /// Whose it is.
    pub(crate) name: Arc<str>,
    digest: [u8; 32],
    /// What it allows.
    pub(crate) scopes: Vec<Scope>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|known| &known.name)).finish()
    }
}

impl Tokens {
    /// Checks the configured tokens and keeps their digests.
    ///
    /// # Errors
    /// [`BadToken`]: the first that cannot be used.
    pub fn new(settings: &[TokenSettings]) -> Result<Self, BadToken> {
        let mut known: Vec<Known> = Vec::with_capacity(settings.len());
        for (index, token) in settings.iter().enumerate() {
            let bad = |key, what: String| BadToken { index, key, what };
            let name_ok = !token.name.is_empty() && !token.name.chars().any(char::is_control);
            if !name_ok || known.iter().any(|other| *other.name == *token.name) {
                return Err(bad("name", format!("is {:?}; expected a name of its own", token.name)));
            }
            let digest = match (token.sha256.as_str(), token.token.as_str()) {
                ("", "") => return Err(bad("token", "is missing; expected token or sha256".to_owned())),
                ("", plain) if plain.len() < TOKEN_LEN_MIN || !plain.bytes().all(|b| b.is_ascii_graphic()) => {
                    let what = format!(
                        "is too short, or has spaces or characters beyond ASCII; expected {TOKEN_LEN_MIN} visible ASCII characters or more"
                    );
                    return Err(bad("token", what));
                }
                ("", plain) => Sha256::digest(plain).into(),
                (hex, "") => from_hex(hex)
                    .ok_or_else(|| bad("sha256", "is no SHA-256; expected 64 hexadecimal digits".to_owned()))?,
                _ => return Err(bad("sha256", "is given besides token; expected one of them".to_owned())),
            };
            if known.iter().any(|other| other.digest == digest) {
                return Err(bad("token", "is given twice; expected one of its own for each name".to_owned()));
            }
            if token.scopes.is_empty() {
                let all = Scope::ALL.map(Scope::as_str).join(", ");
                return Err(bad("scopes", format!("is empty; expected some of {all}")));
            }
            known.push(Known { name: token.name.as_str().into(), digest, scopes: token.scopes.clone() });
        }
        Ok(Self(known))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that was presented. Takes as long whichever it is.
    pub(crate) fn find(&self, presented: &str) -> Option<&Known> {
        let digest = Sha256::digest(presented);
        let mut found = None;
        for known in &self.0 {
            if verify_slices_are_equal(&known.digest, &digest).is_ok() {
                found = Some(known);
            }
        }
        found
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        // Signs would be taken by the parser.
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}
