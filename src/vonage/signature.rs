//! Signed webhooks: whether a request is Vonage's, whole, fresh and ours.
//!
//! Source: `vonage-voice.md` section 4. A token in `Authorization: Bearer …`, HS256 with
//! the account's *signature* secret, says who sent the request, when, and the hash of
//! its body. The same token, without a body, may stand in a media socket's handshake
//! (section 1.1).
//!
//! The algorithm is ours to choose, not the token's; signatures are compared in constant
//! time; nothing of a token is used before its signature holds, but for `api_key`, which
//! picks the secret. Repetition is [`replay`](super::replay)'s to notice.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::jws::{self, Compact};
use super::wire::Map;
use crate::types::{Private, WallTime};

/// Longest token looked at, in bytes.
pub const TOKEN_LEN_MAX: usize = 8 * 1024;
/// Longest `jti` accepted, in bytes.
pub const JTI_LEN_MAX: usize = 128;
/// Secrets that one `api_key` may have at a time: the new one and the old one.
pub const SECRETS_PER_KEY_MAX: usize = 2;
/// The only `iss`.
pub const ISSUER: &str = "Vonage";

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadSignature {
    /// No `Authorization` header. A rare fault on Vonage's side: answer 5xx, it is sent again.
    #[error("the request is not signed")]
    Missing,
    /// Not `Bearer` and a token of three parts with the claims it needs.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by another algorithm than HS256, or by none.
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    /// No secret is configured for the token's `api_key`.
    #[error("the token is for an unknown account")]
    UnknownKey,
    /// No active secret of the account makes this signature.
    #[error("the signature is wrong")]
    Signature,
    /// `iss` is not [`ISSUER`].
    #[error("the token's issuer is not {ISSUER}")]
    Issuer,
    /// The token names another application.
    #[error("the token is for another application")]
    Application,
    /// The body or query is not the one that was signed.
    #[error("the payload is not the one that was signed")]
    Payload,
    /// Older than [`Policy::max_age`].
    #[error("the token is stale")]
    Stale,
    /// Further ahead of our clock than [`Policy::future_skew`].
    #[error("the token is from the future")]
    Future,
}

/// What to do about the hash of a GET's query, whose exact form one article gives and
/// nobody confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueryHash {
    /// Do not look at it.
    Ignore,
    /// It must be right where there is one.
    #[default]
    IfPresent,
    /// It must be there and right.
    Required,
}

/// What was signed.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// The raw bytes of a POST's body.
    Body(&'a [u8]),
    /// The decoded query of a GET, in the order received.
    Query(&'a [(String, String)]),
    /// A WebSocket handshake: nothing to hash, and a hash is not looked at.
    Handshake,
}

impl Payload<'_> {
    /// The lowercase hex SHA-256 of what is signed; none for a handshake.
    #[must_use]
    pub fn hash(&self) -> Option<String> {
        let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Body(body) => Some(hex(body)),
            Self::Query(pairs) => {
                // As JavaScript builds an object: a name keeps its first place and its last value.
                let object: Map =
                    pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
                Some(hex(Value::Object(object).to_string().as_bytes()))
            }
            Self::Handshake => None,
        }
    }
}

/// What is demanded of a token beyond its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Oldest `iat` taken: 300 s.
    pub max_age: Duration,
    /// Furthest `iat` ahead of our clock: 30 s.
    pub future_skew: Duration,
    /// The one application; a token that names none passes. None takes every application.
    pub application_id: Option<String>,
    /// About the hash of a query.
    pub query_hash: QueryHash,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            future_skew: Duration::from_secs(30),
            application_id: None,
            query_hash: QueryHash::default(),
        }
    }
}

impl Policy {
    /// How long a token can be shown again and still be fresh: what a replay cache must
    /// remember for.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.max_age + self.future_skew
    }
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// When it was made: seconds since 1970, UTC. A fraction is cut off.
    #[serde(deserialize_with = "seconds")]
    pub iat: i64,
    /// Unique id of the token.
    pub jti: String,
    /// [`ISSUER`].
    pub iss: String,
    /// Lowercase hex SHA-256 of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
    /// The account.
    pub api_key: String,
    /// The application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
}

fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    // Saturating on purpose: what is out of range is stale or from the future.
    number.as_i64().or_else(|| number.as_f64().map(|n| n as i64)).ok_or_else(|| serde::de::Error::custom("not a time"))
}

/// A secret that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It has no characters.
    #[error("a signature secret must not be empty")]
    Empty,
    /// The account has [`SECRETS_PER_KEY_MAX`] already.
    #[error("an account has at most {SECRETS_PER_KEY_MAX} signature secrets at a time")]
    TooMany,
}

/// The signature secrets of every account we take webhooks for.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    secrets: HashMap<String, Vec<Private<String>>>,
}

impl Keyring {
    /// Adds a secret of an account; the second one is for the time of a rotation.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn add(&mut self, api_key: &str, secret: Private<String>) -> Result<(), BadSecret> {
        if secret.0.is_empty() {
            return Err(BadSecret::Empty);
        }
        let secrets = self.secrets.entry(api_key.to_owned()).or_default();
        if secrets.len() == SECRETS_PER_KEY_MAX {
            return Err(BadSecret::TooMany);
        }
        secrets.push(secret);
        Ok(())
    }

    /// Believes a request, or says why not. `authorization` is the header's value.
    ///
    /// # Errors
    /// [`BadSignature`], the first that applies in the order of its variants.
    pub fn verify(
        &self,
        authorization: Option<&str>,
        payload: Payload<'_>,
        policy: &Policy,
        now: WallTime,
    ) -> Result<Claims, BadSignature> {
        let token = bearer(authorization.ok_or(BadSignature::Missing)?)?;
        let parts = Compact::split(token).ok_or(BadSignature::Malformed)?;
        check_header(&parts.header)?;
        let claims: Claims = serde_json::from_slice(&parts.claims).map_err(|_| BadSignature::Malformed)?;
        if claims.jti.is_empty() || claims.jti.len() > JTI_LEN_MAX {
            return Err(BadSignature::Malformed);
        }
        let secrets = self.secrets.get(&claims.api_key).ok_or(BadSignature::UnknownKey)?;
        let holds =
            |secret: &Private<String>| jws::hs256_holds(secret.0.as_bytes(), parts.signed.as_bytes(), &parts.signature);
        if !secrets.iter().any(holds) {
            return Err(BadSignature::Signature);
        }
        if claims.iss != ISSUER {
            return Err(BadSignature::Issuer);
        }
        if let (Some(ours), Some(theirs)) = (&policy.application_id, &claims.application_id)
            && ours != theirs
        {
            return Err(BadSignature::Application);
        }
        check_payload(&claims, payload, policy)?;
        check_age(&claims, policy, now)?;
        Ok(claims)
    }
}

fn bearer(authorization: &str) -> Result<&str, BadSignature> {
    let (scheme, token) = authorization.trim().split_once(' ').ok_or(BadSignature::Malformed)?;
    let token = token.trim_start();
    if !scheme.eq_ignore_ascii_case("Bearer") || token.len() > TOKEN_LEN_MAX {
        return Err(BadSignature::Malformed);
    }
    Ok(token)
}

fn check_header(header: &[u8]) -> Result<(), BadSignature> {
    let Ok(Value::Object(header)) = serde_json::from_slice(header) else { return Err(BadSignature::Malformed) };
    match header.get("alg").and_then(Value::as_str) {
        Some("HS256") => {}
        Some(_) => return Err(BadSignature::Algorithm),
        None => return Err(BadSignature::Malformed),
    }
    // A token that demands something of its reader must be refused by one who does not know it.
    if header.contains_key("crit") { Err(BadSignature::Malformed) } else { Ok(()) }
}

fn check_payload(claims: &Claims, payload: Payload<'_>, policy: &Policy) -> Result<(), BadSignature> {
    let demanded = match payload {
        Payload::Body(_) => true,
        Payload::Query(_) => match policy.query_hash {
            QueryHash::Ignore => return Ok(()),
            QueryHash::IfPresent => false,
            QueryHash::Required => true,
        },
        Payload::Handshake => return Ok(()),
    };
    match &claims.payload_hash {
        // The claim is signed already: comparing it needs no constant time.
        Some(hash) if payload.hash().is_some_and(|ours| ours.eq_ignore_ascii_case(hash)) => Ok(()),
        None if !demanded => Ok(()),
        _ => Err(BadSignature::Payload),
    }
}

fn check_age(claims: &Claims, policy: &Policy, now: WallTime) -> Result<(), BadSignature> {
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let age = now.0.saturating_sub(claims.iat.saturating_mul(1_000_000));
    if age > micros(policy.max_age) {
        Err(BadSignature::Stale)
    } else if age < -micros(policy.future_skew) {
        Err(BadSignature::Future)
    } else {
        Ok(())
    }
}

/// Signs as Vonage does; for the simulator and for tests. Returns the value of the
/// `Authorization` header.
#[must_use]
pub fn sign(secret: &str, claims: &Claims) -> String {
    let header = jws::encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    // Claims are strings and a number: they can always be written.
    let claims = jws::encode(serde_json::to_vec(claims).unwrap_or_default());
    let signed = format!("{header}.{claims}");
    let signature = jws::encode(jws::hs256(secret.as_bytes(), signed.as_bytes()));
    format!("Bearer {signed}.{signature}")
}

impl Claims {
    /// The claims that Vonage would make for this payload.
    #[must_use]
    pub fn of(payload: Payload<'_>, api_key: &str, jti: &str, now: WallTime) -> Self {
        Self {
            iat: now.0.div_euclid(1_000_000),
            jti: jti.to_owned(),
            iss: ISSUER.to_owned(),
            payload_hash: payload.hash(),
            api_key: api_key.to_owned(),
            application_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_587_494_962_500_000);
    const BODY: &[u8] = br#"{"status":"answered"}"#;

    fn keyring() -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add("a1b2c3d4", Private("old secret".into())).unwrap();
        keyring.add("a1b2c3d4", Private("new secret".into())).unwrap();
        keyring.add("ffffffff", Private("their secret".into())).unwrap();
        keyring
    }

    fn claims() -> Claims {
        Claims { application_id: Some("aaaa".into()), ..Claims::of(Payload::Body(BODY), "a1b2c3d4", "c5ba8f24", NOW) }
    }

    fn verify(authorization: &str) -> Result<Claims, BadSignature> {
        let policy = Policy { application_id: Some("aaaa".into()), ..Default::default() };
        keyring().verify(Some(authorization), Payload::Body(BODY), &policy, NOW)
    }

    /// A token with any header, signed by the current secret.
    fn forged(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", jws::encode(header), jws::encode(claims));
        let signature = jws::encode(jws::hs256(b"new secret", signed.as_bytes()));
        format!("Bearer {signed}.{signature}")
    }

    #[test]
    fn either_secret_of_the_account_is_believed_and_no_third() {
        assert_eq!(verify(&sign("new secret", &claims())), Ok(claims()));
        assert_eq!(verify(&sign("old secret", &claims())), Ok(claims()));
        assert_eq!(verify(&sign("new secret", &claims()).replace("Bearer ", "bearer  ")), Ok(claims()));
        assert_eq!(verify(&sign("their secret", &claims())), Err(BadSignature::Signature));
        assert_eq!(keyring().add("a1b2c3d4", Private("third".into())), Err(BadSecret::TooMany));
        assert_eq!(keyring().add("new", Private(String::new())), Err(BadSecret::Empty));
        assert!(!format!("{:?}", keyring()).contains("secret\""));
    }

    #[test]
    fn every_forgery_has_its_own_name() {
        let good = sign("new secret", &claims());
        let json = serde_json::to_string(&claims()).unwrap();
        let signed = |change: fn(&mut Claims)| {
            let mut changed = claims();
            change(&mut changed);
            sign("new secret", &changed)
        };
        let unsigned = forged(r#"{"alg":"none"}"#, &json);
        let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
        let rows = [
            (good[..good.len() - 1].to_owned(), BadSignature::Malformed),
            (good[..good.len() - 3].to_owned(), BadSignature::Signature),
            (good["Bearer ".len()..].to_owned(), BadSignature::Malformed),
            (good.replace("Bearer", "Basic"), BadSignature::Malformed),
            (String::new(), BadSignature::Malformed),
            (format!("Bearer {}", "x".repeat(TOKEN_LEN_MAX + 1)), BadSignature::Malformed),
            (forged("{}", &json), BadSignature::Malformed),
            (forged("HS256", &json), BadSignature::Malformed),
            (forged(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &json), BadSignature::Malformed),
            (forged(r#"{"alg":"HS256"}"#, "{}"), BadSignature::Malformed),
            (forged(r#"{"alg":"HS256"}"#, "[]"), BadSignature::Malformed),
            (format!("{unsigned}."), BadSignature::Algorithm),
            (forged(r#"{"alg":"none"}"#, &json), BadSignature::Algorithm),
            (forged(r#"{"alg":"RS256"}"#, &json), BadSignature::Algorithm),
            (forged(r#"{"alg":"HS512"}"#, &json), BadSignature::Algorithm),
            (forged(r#"{"alg":"hs256"}"#, &json), BadSignature::Algorithm),
            (signed(|c| c.api_key = "00000000".into()), BadSignature::UnknownKey),
            (signed(|c| c.api_key = "ffffffff".into()), BadSignature::Signature),
            (signed(|c| c.jti.clear()), BadSignature::Malformed),
            (signed(|c| c.jti = "x".repeat(JTI_LEN_MAX + 1)), BadSignature::Malformed),
            (signed(|c| c.iss = "vonage".into()), BadSignature::Issuer),
            (signed(|c| c.application_id = Some("bbbb".into())), BadSignature::Application),
            (signed(|c| c.payload_hash = None), BadSignature::Payload),
            (signed(|c| c.payload_hash = Some("00".into())), BadSignature::Payload),
            (signed(|c| c.iat -= 301), BadSignature::Stale),
            (signed(|c| c.iat = i64::MIN), BadSignature::Stale),
            (signed(|c| c.iat += 31), BadSignature::Future),
            (signed(|c| c.iat = i64::MAX), BadSignature::Future),
        ];
        for (authorization, expected) in rows {
            assert_eq!(verify(&authorization), Err(expected), "{authorization}");
        }
        let policy = Policy::default();
        assert_eq!(keyring().verify(None, Payload::Body(BODY), &policy, NOW), Err(BadSignature::Missing));
    }

    #[test]
    fn any_changed_byte_of_a_token_is_noticed() {
        let good = sign("new secret", &claims());
        for at in "Bearer ".len()..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(verify(&String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn freshness_has_exact_edges_and_an_application_may_be_unnamed() {
        // NOW is half a second past a whole one.
        let aged = |iat: i64| verify(&sign("new secret", &Claims { iat, ..claims() })).map(|_| ());
        let now = claims().iat;
        assert_eq!((aged(now - 299), aged(now - 300)), (Ok(()), Err(BadSignature::Stale)));
        assert_eq!((aged(now + 30), aged(now + 31)), (Ok(()), Err(BadSignature::Future)));
        let fraction = serde_json::to_string(&claims()).unwrap().replace("1587494962", "1587494962.75");
        assert_eq!(verify(&forged(r#"{"alg":"HS256"}"#, &fraction)), Ok(claims()));
        let unnamed = Claims { application_id: None, ..claims() };
        assert_eq!(verify(&sign("new secret", &unnamed)), Ok(unnamed));
        assert_eq!(Policy::default().window(), Duration::from_secs(330));
    }

    #[test]
    fn the_hash_of_a_query() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = [pair("to", "44"), pair("from", "a\"b/é"), pair("to", "45")];
        // SHA-256 of {"to":"45","from":"a\"b/é"}
        let hash = Payload::Query(&pairs).hash().unwrap();
        assert_eq!(hash, Payload::Body("{\"to\":\"45\",\"from\":\"a\\\"b/é\"}".as_bytes()).hash().unwrap());
        let check = |hash: Option<&str>, query_hash| {
            let claims = Claims { payload_hash: hash.map(str::to_owned), ..claims() };
            let policy = Policy { query_hash, ..Default::default() };
            keyring().verify(Some(&sign("new secret", &claims)), Payload::Query(&pairs), &policy, NOW).map(|_| ())
        };
        for (given, query_hash, expected) in [
            (Some(&*hash), QueryHash::IfPresent, Ok(())),
            (None, QueryHash::IfPresent, Ok(())),
            (Some("00"), QueryHash::IfPresent, Err(BadSignature::Payload)),
            (Some("00"), QueryHash::Ignore, Ok(())),
            (Some(&*hash), QueryHash::Required, Ok(())),
            (None, QueryHash::Required, Err(BadSignature::Payload)),
        ] {
            assert_eq!(check(given, query_hash), expected, "{given:?} {query_hash:?}");
        }
    }

    #[test]
    fn a_handshake_needs_no_hash() {
        let claims = Claims { payload_hash: None, ..claims() };
        let authorization = sign("new secret", &claims);
        let policy = Policy { query_hash: QueryHash::Required, ..Default::default() };
        assert_eq!(keyring().verify(Some(&authorization), Payload::Handshake, &policy, NOW), Ok(claims));
    }

    /// A token made by another implementation, with Python's `hmac` and `hashlib`.
    #[test]
    fn a_token_made_elsewhere_holds() {
        let body = b"{\"a\":1}";
        let hash = Payload::Body(body).hash().unwrap();
        assert_eq!(hash, "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
        let token = concat!(
            "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpYXQiOiAxNTg3NDk0OTYyLCAianRpIjogImVsc2V3aGVyZSIsICJp",
            "c3MiOiAiVm9uYWdlIiwgInBheWxvYWRfaGFzaCI6ICIwMTVhYmQ3ZjVjYzU3YTJkZDk0Yjc1OTBmMDRhZDgwODQyNzM5MDVlZTMz",
            "ZWM1Y2ViZWFlNjIyNzZhOTdmODYyIiwgImFwaV9rZXkiOiAiYTFiMmMzZDQiLCAiYXBwbGljYXRpb25faWQiOiAiYWFhYSIsICJl",
            "eHRyYSI6IDF9.h5GxNYS4f8WR52-InRO4cN2Oe3rq-3Fz2Ls_pC_tCcE",
        );
        let claims = keyring().verify(Some(token), Payload::Body(body), &Policy::default(), NOW).unwrap();
        assert_eq!((claims.jti.as_str(), claims.iat), ("elsewhere", 1_587_494_962));
    }
}
