//! The pass that our controller gives a media socket: who is on the leg, and that the
//! leg is one we asked for.
//!
//! Vonage's first message names no call (`vonage-voice.md` section 1.2), and without an
//! `authorization` of its own a socket is open to anyone (1.1). So the NCCO carries a
//! token, in the URI's query, a custom header or `authorization`, and any gateway that
//! has the key can read it: no state is shared (`design.md`, section 8).
//!
//! `stm1.<claims>.<mac>`: claims are compact JSON in base64url; the MAC is HMAC-SHA-256
//! over all before it, the `stm1.` included, so that a token of another kind or version
//! made with the same key is none of these. All characters are safe in a query.
//!
//! A token opens one socket once: [`UsedTokens`]. That is known to one gateway only;
//! across several, the short life of the token is the bound.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::jws::{self, Compact};
use crate::types::{ConversationId, KeyRule, LegId, Private, RedactionMode, RedactionTerms, Speaker, WallTime};

/// Longest token looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 1024;
/// Shortest key taken, in bytes.
pub const KEY_LEN_MIN: usize = 32;
/// Keys at a time: the new one, which signs, and the old one.
pub const KEYS_MAX: usize = 2;
/// Longest unique id, in bytes.
pub const ID_LEN_MAX: usize = 64;
/// Used tokens remembered when nothing else is configured.
pub const USED_DEFAULT: usize = 16_384;

/// What a media socket is told about its leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaClaims {
    /// The conversation that the leg listens to.
    pub conversation: ConversationId,
    /// Whom it hears.
    pub speaker: Speaker,
    /// The participant's own leg at Vonage; none where the leg hears the mix.
    pub participant: Option<LegId>,
    /// Whether nothing may be played to the leg.
    pub listen_only: bool,
    /// What is taken out of its texts, and which of its keys are published.
    pub redaction: RedactionTerms,
    /// Zero of the call clock: ms since 1970, UTC. The same for all legs of a call.
    pub clock_epoch_ms: u64,
    /// Good until then: whole seconds since 1970, UTC.
    pub expires_s: u64,
    /// Unique: 1 to [`ID_LEN_MAX`] visible ASCII characters.
    pub id: String,
}

/// Why a socket is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadMediaToken {
    /// Not a token of this kind.
    #[error("the media token is malformed")]
    Malformed,
    /// Not made with one of our keys, or changed since.
    #[error("the media token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the media token has expired")]
    Expired,
    /// It has opened a socket already.
    #[error("the media token was used before")]
    Used,
    /// More unexpired tokens were used than can be remembered; letting one more in
    /// could let it in twice.
    #[error("too many media tokens are in use")]
    Full,
}

/// A key that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Under [`KEY_LEN_MIN`] bytes.
    #[error("a media token key must have at least {KEY_LEN_MIN} bytes")]
    Short,
    /// None, or more than [`KEYS_MAX`].
    #[error("there must be 1 to {KEYS_MAX} media token keys")]
    Count,
}

/// The claims as written: short names, for the token travels in 512 bytes of headers.
#[derive(Serialize, Deserialize)]
struct Written {
    c: String,
    s: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    l: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    t: u64,
    x: u64,
    j: String,
}

// Four characters, so that it passes for a part of a compact token.
const PREFIX: &str = "stm1";

/// The keys that sign and check tokens.
#[derive(Debug, Clone)]
pub struct MediaKeys {
    keys: Vec<Private<Vec<u8>>>,
}

impl MediaKeys {
    /// Takes 1 or 2 keys, the one that signs first; the other is for a rotation's time.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(keys: Vec<Private<Vec<u8>>>) -> Result<Self, BadKey> {
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(BadKey::Count);
        }
        if keys.iter().any(|key| key.0.len() < KEY_LEN_MIN) {
            return Err(BadKey::Short);
        }
        Ok(Self { keys })
    }

    /// Makes a token: up to 400 bytes for claims of usual length.
    #[must_use]
    pub fn sign(&self, claims: &MediaClaims) -> String {
        let written = Written {
            c: claims.conversation.as_str().to_owned(),
            s: claims.speaker.as_str().to_owned(),
            p: claims.participant.as_ref().map(|leg| leg.as_str().to_owned()),
            l: claims.listen_only,
            r: claims.redaction.mode.map(|mode| mode.as_str().to_owned()),
            k: claims.redaction.keys.map(|rule| rule.as_str().to_owned()),
            t: claims.clock_epoch_ms,
            x: claims.expires_s,
            j: claims.id.clone(),
        };
        // Strings and numbers: they can always be written.
        let signed = format!("{PREFIX}.{}", jws::encode(serde_json::to_vec(&written).unwrap_or_default()));
        let mac = jws::hs256(&self.keys[0].0, signed.as_bytes());
        format!("{signed}.{}", jws::encode(mac))
    }

    /// Reads a token that is ours and not over. Whether it was used is
    /// [`UsedTokens::claim`]'s to say.
    ///
    /// # Errors
    /// [`BadMediaToken`].
    pub fn verify(&self, token: &str, now: WallTime) -> Result<MediaClaims, BadMediaToken> {
        let bad = BadMediaToken::Malformed;
        if token.len() > TOKEN_LEN_MAX {
            return Err(bad);
        }
        let (prefix, _) = token.split_once('.').ok_or(bad)?;
        let parts = Compact::split(token).ok_or(bad)?;
        if prefix != PREFIX {
            return Err(bad);
        }
        let holds = |key: &Private<Vec<u8>>| jws::hs256_holds(&key.0, parts.signed.as_bytes(), &parts.signature);
        if !self.keys.iter().any(holds) {
            return Err(BadMediaToken::Signature);
        }
        let written: Written = serde_json::from_slice(&parts.claims).map_err(|_| bad)?;
        let claims = MediaClaims {
            conversation: ConversationId::parse(&written.c).map_err(|_| bad)?,
            speaker: Speaker::parse(&written.s),
            participant: written.p.map(|leg| LegId::parse(&leg)).transpose().map_err(|_| bad)?,
            listen_only: written.l,
            // A word that only a later version knows must not let more through.
            redaction: RedactionTerms {
                mode: written.r.map(|mode| RedactionMode::parse(&mode).unwrap_or(RedactionMode::Strict)),
                keys: written.k.map(|rule| KeyRule::parse(&rule).unwrap_or(KeyRule::Mask)),
            },
            clock_epoch_ms: written.t,
            expires_s: written.x,
            id: written.j,
        };
        if claims.id.is_empty() || claims.id.len() > ID_LEN_MAX {
            return Err(bad);
        }
        if claims.is_over(now) { Err(BadMediaToken::Expired) } else { Ok(claims) }
    }
}

impl MediaClaims {
    /// Whether its time is over: from the first moment of the second `expires_s`.
    #[must_use]
    pub fn is_over(&self, now: WallTime) -> bool {
        seconds(now) >= self.expires_s
    }
}

fn seconds(now: WallTime) -> u64 {
    u64::try_from(now.0.div_euclid(1_000_000)).unwrap_or(0)
}

/// Remembers the tokens that opened a socket, each until it expires.
///
/// Bounded. When it is full of unexpired tokens, new ones are refused rather than old
/// ones forgotten: only our own controller makes tokens, so a stranger cannot fill it.
#[derive(Debug)]
pub struct UsedTokens {
    ids: HashSet<Box<str>>,
    by_expiry: BTreeSet<(u64, Box<str>)>,
    limit: usize,
}

impl UsedTokens {
    /// Remembers `limit` tokens at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { ids: HashSet::new(), by_expiry: BTreeSet::new(), limit }
    }

    /// Uses a verified token. Done once, at the socket's upgrade.
    ///
    /// # Errors
    /// [`BadMediaToken::Used`] the second time, [`BadMediaToken::Expired`] when it is
    /// over, [`BadMediaToken::Full`] when no more can be remembered.
    pub fn claim(&mut self, claims: &MediaClaims, now: WallTime) -> Result<(), BadMediaToken> {
        if claims.is_over(now) {
            return Err(BadMediaToken::Expired);
        }
        let now = seconds(now);
        while self.by_expiry.first().is_some_and(|(expires, _)| *expires <= now) {
            if let Some((_, id)) = self.by_expiry.pop_first() {
                self.ids.remove(&id);
            }
        }
        let id: Box<str> = claims.id.as_str().into();
        if self.ids.contains(&id) {
            return Err(BadMediaToken::Used);
        }
        if self.ids.len() >= self.limit {
            return Err(BadMediaToken::Full);
        }
        self.ids.insert(id.clone());
        self.by_expiry.insert((claims.expires_s, id));
        Ok(())
    }

    /// Tokens remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_763_942_400_000_000);

    fn key(byte: u8) -> Private<Vec<u8>> {
        Private(vec![byte; KEY_LEN_MIN])
    }

    fn keys(bytes: &[u8]) -> MediaKeys {
        MediaKeys::new(bytes.iter().map(|byte| key(*byte)).collect()).unwrap()
    }

    fn claims() -> MediaClaims {
        MediaClaims {
            conversation: ConversationId::parse("CON-f972836a-550f-45fa-956c-12a2ab5b7d22").unwrap(),
            speaker: Speaker::Caller,
            participant: Some(LegId::parse("63f61863-4a51-4f6b-86e1-46edebcf9356").unwrap()),
            listen_only: false,
            redaction: RedactionTerms::default(),
            clock_epoch_ms: 1_763_942_399_123,
            expires_s: 1_763_942_460,
            id: "63f61863-4a51-4f6b-86e1-46edebcf9356".into(),
        }
    }

    fn after(seconds: i64) -> WallTime {
        WallTime(NOW.0 + seconds * 1_000_000)
    }

    #[test]
    fn what_was_signed_is_read_and_fits_a_query_and_a_header() {
        let token = keys(&[1]).sign(&claims());
        assert!(token.len() <= 400, "{} bytes", token.len());
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
        assert_eq!(keys(&[1]).verify(&token, NOW), Ok(claims()));
        let mixed = MediaClaims {
            participant: None,
            listen_only: true,
            redaction: RedactionTerms { mode: Some(RedactionMode::Strict), keys: Some(KeyRule::Publish) },
            speaker: Speaker::parse("supervisor"),
            ..claims()
        };
        assert_eq!(keys(&[1]).verify(&keys(&[1]).sign(&mixed), NOW), Ok(mixed));
    }

    #[test]
    fn the_old_key_still_opens() {
        let token = keys(&[1]).sign(&claims());
        assert_eq!(keys(&[2, 1]).verify(&token, NOW), Ok(claims()));
        assert_eq!(keys(&[2]).verify(&token, NOW), Err(BadMediaToken::Signature));
        assert_eq!(MediaKeys::new(vec![]).unwrap_err(), BadKey::Count);
        assert_eq!(MediaKeys::new(vec![key(1), key(2), key(3)]).unwrap_err(), BadKey::Count);
        assert_eq!(MediaKeys::new(vec![Private(vec![0; 31])]).unwrap_err(), BadKey::Short);
    }

    #[test]
    fn every_refusal_has_its_name() {
        let keys = keys(&[1]);
        let token = keys.sign(&claims());
        let signed = |text: &str| {
            let signed = format!("{PREFIX}.{}", jws::encode(text));
            format!("{signed}.{}", jws::encode(jws::hs256(&key(1).0, signed.as_bytes())))
        };
        let long = MediaClaims { id: "x".repeat(ID_LEN_MAX + 1), ..claims() };
        for (bad, expected) in [
            (String::new(), BadMediaToken::Malformed),
            ("stm1".into(), BadMediaToken::Malformed),
            ("x".repeat(TOKEN_LEN_MAX + 1), BadMediaToken::Malformed),
            (token[..token.len() - 1].into(), BadMediaToken::Malformed),
            (token[..token.len() - 3].into(), BadMediaToken::Signature),
            (format!("{token}="), BadMediaToken::Malformed),
            (format!("{token}.AAAA"), BadMediaToken::Malformed),
            (token.replacen("stm1", "stm2", 1), BadMediaToken::Malformed),
            (token.replacen("stm1.", "", 1), BadMediaToken::Malformed),
            (signed("{}"), BadMediaToken::Malformed),
            (signed("not json"), BadMediaToken::Malformed),
            (signed(r#"{"c":"two words","s":"","t":1,"x":9999999999,"j":"1"}"#), BadMediaToken::Malformed),
            (keys.sign(&long), BadMediaToken::Malformed),
            (keys.sign(&MediaClaims { id: String::new(), ..claims() }), BadMediaToken::Malformed),
        ] {
            assert_eq!(keys.verify(&bad, NOW), Err(expected), "{bad}");
        }
        assert_eq!(keys.verify(&token, after(59)), Ok(claims()));
        assert_eq!(keys.verify(&token, after(60)), Err(BadMediaToken::Expired));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let token = keys(&[1]).sign(&claims());
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(keys(&[1]).verify(&String::from_utf8(bytes).unwrap(), NOW).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_webhooks_token_is_no_pass_even_with_the_same_key() {
        let secret = "k".repeat(KEY_LEN_MIN);
        let claims = super::super::signature::Claims::of(super::super::signature::Payload::Handshake, "a", "b", NOW);
        let webhook = super::super::signature::sign(&secret, &claims);
        let keys = MediaKeys::new(vec![Private(secret.into_bytes())]).unwrap();
        assert_eq!(keys.verify(webhook.strip_prefix("Bearer ").unwrap(), NOW), Err(BadMediaToken::Malformed));
    }

    #[test]
    fn a_token_opens_once() {
        let mut used = UsedTokens::new(2);
        let other = |id: &str, expires_s| MediaClaims { id: id.into(), expires_s, ..claims() };
        assert_eq!(used.claim(&claims(), NOW), Ok(()));
        assert_eq!(used.claim(&claims(), NOW), Err(BadMediaToken::Used));
        assert_eq!(used.claim(&other("b", 1_763_942_410), NOW), Ok(()));
        assert_eq!(used.claim(&other("c", 1_763_942_460), NOW), Err(BadMediaToken::Full));
        assert_eq!(used.claim(&claims(), after(10)), Err(BadMediaToken::Used));
        assert_eq!(used.claim(&other("c", 1_763_942_460), after(10)), Ok(()));
        assert_eq!(used.claim(&claims(), after(60)), Err(BadMediaToken::Expired));
        assert_eq!(used.claim(&other("d", 1_763_942_500), after(60)), Ok(()));
        assert_eq!((used.len(), used.is_empty()), (1, false));
    }
}
