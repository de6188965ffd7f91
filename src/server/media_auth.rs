//! Who may open a media socket: the decision, apart from HTTP.
//!
//! Vonage's first message names no call and proves nothing (`vonage-voice.md` 1.1, 1.2),
//! so a socket is believed for what its handshake shows, in one of three ways:
//!
//! - a media token of ours, in the query (`token=`) or as `Authorization: Bearer stm1…`;
//!   it also says whose leg it is, and nothing else may say otherwise;
//! - a value of `Authorization` that was agreed on, compared in constant time;
//! - the platform's own signed token in `Authorization`.
//!
//! A media token that is shown must hold, whatever else is shown, for its claims are what
//! the leg goes by. A token in the first message's headers comes after the upgrade, when
//! the leg has its place already; it is not looked at.
//!
//! Tokens and `jti`s open one socket each. They are used up when the leg has got its
//! place, not before: one that is refused for want of room may come again with the same
//! token.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::config::Media;
use crate::types::{Moment, Private, WallTime};
use crate::vonage::media_token::{BadKey, BadMediaToken, MediaClaims, MediaKeys, USED_DEFAULT, UsedTokens};
use crate::vonage::replay::{self, ReplayCache, Sight};
use crate::vonage::signature::{BadSignature, Keyring, Payload, Policy};

/// Furthest back that a call clock's zero may lie. A socket lives two hours at most; a
/// token that says more than this was made by a mistaken clock, and is refused rather than
/// have its leg's times be wrong for good.
pub const CLOCK_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a handshake shows for itself.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// `token` of the query.
    pub token: Option<&'a str>,
    /// The `Authorization` header; `Some("")` for one that is not text.
    pub authorization: Option<&'a str>,
}

/// Why a socket is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// Nothing is asked for here.
    Open,
    /// It showed an agreed value.
    Custom,
    /// It showed the platform's token, whose unique id this is.
    Vonage(String),
    /// It showed a token of ours.
    Token(MediaClaims),
}

/// Why a socket is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denied {
    /// It showed nothing that could let it in.
    Missing,
    /// A media token was no good.
    Token(BadMediaToken),
    /// A media token's call clock began over [`CLOCK_MAX`] ago.
    Clock,
    /// `Authorization` is no agreed value.
    Custom,
    /// The platform's token was no good.
    Vonage(BadSignature),
    /// The platform's token was used before.
    VonageUsed,
}

impl Denied {
    /// The reason in one word, for metrics and the answer; nothing of what was shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing | Self::Vonage(BadSignature::Missing) => "missing",
            Self::Token(BadMediaToken::Malformed) => "token_malformed",
            Self::Token(BadMediaToken::Signature) => "token_signature",
            Self::Token(BadMediaToken::Expired) => "token_expired",
            Self::Token(BadMediaToken::Used) => "token_used",
            Self::Token(BadMediaToken::Full) => "tokens_full",
            Self::Clock => "token_clock",
            Self::Custom => "custom_unknown",
            Self::Vonage(BadSignature::Malformed) => "vonage_malformed",
            Self::Vonage(BadSignature::Algorithm) => "vonage_algorithm",
            Self::Vonage(BadSignature::UnknownKey) => "vonage_unknown_key",
            Self::Vonage(BadSignature::Signature) => "vonage_signature",
            Self::Vonage(BadSignature::Issuer) => "vonage_issuer",
            Self::Vonage(BadSignature::Application) => "vonage_application",
            Self::Vonage(BadSignature::Payload) => "vonage_payload",
            Self::Vonage(BadSignature::Stale) => "vonage_stale",
            Self::Vonage(BadSignature::Future) => "vonage_future",
            Self::VonageUsed => "vonage_used",
        }
    }
}

/// A configuration under which no socket could be let in, or every one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMediaAuth {
    /// Nothing is asked for, on an address that others can reach.
    #[error(
        "media sockets would be open to anyone: server.listen is {0}, which is not a loopback address, and none of \
         media.token_keys, media.custom and media.vonage is set; set one of them, as with SIDETONE_MEDIA__TOKEN_KEYS, \
         or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// `media.vonage` without an account.
    #[error("media.vonage is true, but no account with a signature secret is configured; add one, or set it to false")]
    NoAccount,
    /// A key of `media.token_keys`.
    #[error("media.token_keys: {0}")]
    Key(#[from] BadKey),
}

/// The ways in: what was configured.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    keys: Option<MediaKeys>,
    custom: Vec<Private<String>>,
    vonage: Option<(Keyring, Policy)>,
}

impl Ways {
    /// Takes `[media]`. `vonage`: the accounts whose signed tokens are believed, which
    /// `media.vonage` turns on.
    ///
    /// # Errors
    /// [`BadMediaAuth`], which names the key and the remedy.
    pub fn new(media: &Media, vonage: Option<(Keyring, Policy)>) -> Result<Self, BadMediaAuth> {
        let keys: Vec<_> = media.token_keys.iter().map(|key| Private(key.reveal().0.into_bytes())).collect();
        Ok(Self {
            keys: (!keys.is_empty()).then(|| MediaKeys::new(keys)).transpose()?,
            custom: media.custom.iter().map(|value| value.reveal()).collect(),
            vonage: if media.vonage { Some(vonage.ok_or(BadMediaAuth::NoAccount)?) } else { None },
        })
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.keys.is_none() && self.custom.is_empty() && self.vonage.is_none()
    }

    /// Judges a handshake. Whether its token was used before is [`MediaAuth::claim`]'s to say.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn judge(&self, shown: Shown<'_>, now: WallTime) -> Result<Pass, Denied> {
        if let Some(keys) = &self.keys
            && let Some(token) = shown.token.or_else(|| shown.authorization.and_then(own_token))
        {
            let claims = keys.verify(token, now).map_err(Denied::Token)?;
            return match position(&claims, now) {
                Some(_) => Ok(Pass::Token(claims)),
                None => Err(Denied::Clock),
            };
        }
        if self.are_open() {
            return Ok(Pass::Open);
        }
        let authorization = shown.authorization.ok_or(Denied::Missing)?;
        // Every value is compared, so that the time tells nothing of which one it was.
        let is =
            |value: &Private<String>| verify_slices_are_equal(value.0.as_bytes(), authorization.as_bytes()).is_ok();
        if self.custom.iter().filter(|value| is(value)).count() > 0 {
            return Ok(Pass::Custom);
        }
        match &self.vonage {
            Some((keyring, policy)) => {
                let claims = keyring.verify(Some(authorization), Payload::Handshake, policy, now);
                claims.map(|claims| Pass::Vonage(claims.jti)).map_err(Denied::Vonage)
            }
            None if self.custom.is_empty() => Err(Denied::Missing),
            None => Err(Denied::Custom),
        }
    }
}

/// A media token in `Authorization`, told from another's by its first part.
fn own_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("Bearer") && token.starts_with("stm1.")).then_some(token)
}

/// Where `now` is on the token's call clock: 0 if that begins in the future, as by another
/// machine's clock; none if it began over [`CLOCK_MAX`] ago.
#[must_use]
pub(super) fn position(claims: &MediaClaims, now: WallTime) -> Option<Duration> {
    let since = i128::from(now.0) - i128::from(claims.clock_epoch_ms) * 1000;
    let position = Duration::from_micros(u64::try_from(since.max(0)).unwrap_or(u64::MAX));
    (position <= CLOCK_MAX).then_some(position)
}

/// The ways in, and what has gone in by them.
pub struct MediaAuth {
    ways: Ways,
    used: Mutex<UsedTokens>,
    seen: Mutex<ReplayCache>,
}

impl MediaAuth {
    /// Guards the sockets of a gateway that listens on `listen`.
    ///
    /// # Errors
    /// [`BadMediaAuth::Open`] when that would let in anyone from anywhere.
    pub fn new(ways: Ways, listen: SocketAddr) -> Result<Self, BadMediaAuth> {
        if ways.are_open() && !listen.ip().to_canonical().is_loopback() {
            return Err(BadMediaAuth::Open(listen));
        }
        let window = ways.vonage.as_ref().map_or(Duration::ZERO, |(_, policy)| policy.window());
        Ok(Self {
            ways,
            used: Mutex::new(UsedTokens::new(USED_DEFAULT)),
            seen: Mutex::new(ReplayCache::new(replay::ENTRIES_DEFAULT, window)),
        })
    }

    /// The ways in.
    #[must_use]
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// Uses up what opens one socket only. To be done once, when the leg has its place.
    ///
    /// # Errors
    /// [`Denied`], for the second socket.
    pub fn claim(&self, pass: &Pass, wall: WallTime, now: Moment) -> Result<(), Denied> {
        match pass {
            Pass::Open | Pass::Custom => Ok(()),
            Pass::Token(claims) => {
                let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
                used.claim(claims, wall).map_err(Denied::Token)
            }
            Pass::Vonage(jti) => {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.see(jti, now) == Sight::First { Ok(()) } else { Err(Denied::VonageUsed) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::types::{ConversationId, RedactionTerms, Speaker};
    use crate::vonage::signature::{Claims, sign};

    const NOW: WallTime = WallTime(1_763_942_400_000_000);
    const KEY: &str = "a key of thirty-two bytes or more";
    const CUSTOM: &str = "Bearer agreed upon";
    const SECRET: &str = "signature secret";

    fn accounts() -> (Keyring, Policy) {
        let mut keyring = Keyring::default();
        keyring.add("a1b2c3d4", Private(SECRET.to_owned())).unwrap();
        (keyring, Policy::default())
    }

    fn ways(tokens: bool, custom: bool, vonage: bool) -> Ways {
        let media = Media {
            token_keys: tokens.then(|| Secret::new(KEY)).into_iter().collect(),
            custom: custom.then(|| Secret::new(CUSTOM)).into_iter().collect(),
            vonage,
        };
        Ways::new(&media, Some(accounts())).unwrap()
    }

    fn claims(age_ms: i64) -> MediaClaims {
        MediaClaims {
            conversation: ConversationId::parse("CON-1").unwrap(),
            speaker: Speaker::Caller,
            participant: None,
            listen_only: false,
            redaction: RedactionTerms::default(),
            clock_epoch_ms: (NOW.0 / 1000 - age_ms) as u64,
            expires_s: NOW.0 as u64 / 1_000_000 + 60,
            id: "one".into(),
        }
    }

    fn token(claims: &MediaClaims) -> String {
        MediaKeys::new(vec![Private(KEY.as_bytes().to_vec())]).unwrap().sign(claims)
    }

    fn jwt(secret: &str) -> String {
        sign(secret, &Claims::of(Payload::Handshake, "a1b2c3d4", "jti-1", NOW))
    }

    #[test]
    fn each_way_lets_in_what_it_is_for_and_nothing_else() {
        let (good, forged) = (token(&claims(0)), token(&claims(0)).replace("stm1.e", "stm1.f"));
        let (bearer, jwt, bad_jwt) = (format!("Bearer {good}"), jwt(SECRET), jwt("another"));
        let pass = Pass::Token(claims(0));
        let vonage = Pass::Vonage("jti-1".into());
        let signature = Denied::Token(BadMediaToken::Signature);
        let malformed = Denied::Vonage(BadSignature::Malformed);
        // Ways, query, header, outcome.
        type Row<'a> = ((bool, bool, bool), Option<&'a str>, Option<&'a str>, Result<Pass, Denied>);
        let rows: &[Row<'_>] = &[
            ((false, false, false), None, None, Ok(Pass::Open)),
            ((false, false, false), Some("x"), Some("y"), Ok(Pass::Open)),
            ((true, false, false), Some(&good), None, Ok(pass.clone())),
            ((true, false, false), None, Some(&bearer), Ok(pass.clone())),
            ((true, false, false), None, None, Err(Denied::Missing)),
            ((true, false, false), None, Some(CUSTOM), Err(Denied::Missing)),
            ((true, false, false), Some(""), None, Err(Denied::Token(BadMediaToken::Malformed))),
            ((true, false, false), Some(&forged), Some(&bearer), Err(signature)),
            ((true, true, true), Some(&forged), Some(CUSTOM), Err(signature)),
            ((false, true, false), Some(&good), None, Err(Denied::Missing)),
            ((false, true, false), None, Some(CUSTOM), Ok(Pass::Custom)),
            ((false, true, false), None, Some("Bearer agreed upom"), Err(Denied::Custom)),
            ((false, true, false), None, Some(""), Err(Denied::Custom)),
            ((false, true, false), None, Some(&bearer), Err(Denied::Custom)),
            ((false, false, true), None, Some(&jwt), Ok(vonage.clone())),
            ((false, false, true), None, Some(&bad_jwt), Err(Denied::Vonage(BadSignature::Signature))),
            ((false, false, true), None, Some(CUSTOM), Err(malformed)),
            ((false, false, true), None, None, Err(Denied::Missing)),
            ((true, true, true), None, Some(&jwt), Ok(vonage)),
            ((true, true, true), Some(&good), Some(&jwt), Ok(pass)),
            ((true, true, true), None, Some(CUSTOM), Ok(Pass::Custom)),
            ((true, true, true), None, None, Err(Denied::Missing)),
        ];
        for ((tokens, custom, vonage), token, authorization, expected) in rows {
            let shown = Shown { token: *token, authorization: *authorization };
            let got = ways(*tokens, *custom, *vonage).judge(shown, NOW);
            assert_eq!(got, *expected, "{tokens} {custom} {vonage}: {token:?} {authorization:?}");
        }
    }

    #[test]
    fn the_call_clock_is_taken_from_any_machine_within_reason() {
        let day_ms = CLOCK_MAX.as_millis() as i64;
        let at = |age_ms| position(&claims(age_ms), NOW).map(|position| position.as_millis() as i64);
        assert_eq!((at(1234), at(0), at(-5000)), (Some(1234), Some(0), Some(0)));
        assert_eq!((at(day_ms), at(day_ms + 1)), (Some(day_ms), None));
        assert_eq!(position(&MediaClaims { clock_epoch_ms: u64::MAX, ..claims(0) }, NOW), Some(Duration::ZERO));
        assert_eq!(position(&MediaClaims { clock_epoch_ms: 0, ..claims(0) }, NOW), None);
        let old = token(&claims(day_ms + 1));
        let shown = Shown { token: Some(&old), authorization: None };
        assert_eq!(ways(true, false, false).judge(shown, NOW), Err(Denied::Clock));
    }

    #[test]
    fn every_pass_of_one_socket_opens_one() {
        let auth = MediaAuth::new(ways(true, true, true), ([0, 0, 0, 0], 80).into()).unwrap();
        let twice = |pass: Pass| [(); 2].map(|()| auth.claim(&pass, NOW, Moment(0)));
        let used = Denied::Token(BadMediaToken::Used);
        assert_eq!(twice(Pass::Token(claims(0))), [Ok(()), Err(used)]);
        assert_eq!(twice(Pass::Vonage("jti-1".into())), [Ok(()), Err(Denied::VonageUsed)]);
        assert_eq!(twice(Pass::Custom), [Ok(()), Ok(())]);
    }

    #[test]
    fn nobody_can_open_the_door_to_everybody_by_mistake() {
        let open = |address: &str| MediaAuth::new(Ways::default(), address.parse().unwrap()).is_ok();
        assert!(open("127.0.0.1:80") && open("127.9.9.9:80") && open("[::1]:80") && open("[::ffff:127.0.0.1]:80"));
        assert!(!open("0.0.0.0:80") && !open("[::]:80") && !open("192.168.1.1:80"));
        let error = MediaAuth::new(Ways::default(), ([10, 0, 0, 1], 80).into()).err().unwrap().to_string();
        assert!(error.contains("server.listen is 10.0.0.1:80") && error.contains("media.token_keys"), "{error}");
        let media = Media { vonage: true, ..Media::default() };
        assert_eq!(Ways::new(&media, None).unwrap_err(), BadMediaAuth::NoAccount);
        assert!(Ways::new(&Media::default(), Some(accounts())).unwrap().are_open(), "media.vonage turns it on");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", ways(true, true, true));
        assert!(![KEY, CUSTOM, SECRET].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
