//! How we sign in to the Voice REST API: a token signed by the application's private key.
//!
//! Source: `vonage-voice.md` section 5: RS256; `application_id`, `iat`, `jti`; `exp`,
//! 15 min by default and 24 h at most; `acl` where the token shall do less.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::jws::{self, Compact};
use crate::types::WallTime;

/// Life of a token when nothing else is asked for.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Longest life that Vonage takes.
pub const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a key cannot be used. Holds nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAppKey {
    /// No `-----BEGIN …-----` and `-----END …-----`, or no base64 between.
    #[error("not a PEM file: expected -----BEGIN PRIVATE KEY----- and base64")]
    NotPem,
    /// A PEM file of something else.
    #[error("expected -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----, found {0:?}")]
    Label(String),
    /// A PEM file of something else, where a public key is wanted.
    #[error("expected -----BEGIN PUBLIC KEY----- or -----BEGIN RSA PUBLIC KEY-----, found {0:?}")]
    PublicLabel(String),
    /// Not an RSA key of 2048 to 8192 bits.
    #[error("not a usable RSA key of 2048 to 8192 bits: {0}")]
    Key(String),
}

/// Why a token is not the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadAppToken {
    /// Not a token with these claims.
    #[error("the token is malformed")]
    Malformed,
    /// Another algorithm than RS256.
    #[error("the token's algorithm is not RS256")]
    Algorithm,
    /// Not signed by this key.
    #[error("the signature is wrong")]
    Signature,
    /// Over, or living longer than [`LIFE_MAX`].
    #[error("the token has expired")]
    Expired,
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppClaims {
    /// The application.
    pub application_id: String,
    /// When it was made: seconds since 1970, UTC.
    pub iat: i64,
    /// Unique id of the token.
    pub jti: String,
    /// Good until then: seconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// The paths it may be used for; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Value>,
}

impl AppClaims {
    /// Claims good for `life` from now, cut to [`LIFE_MAX`], for calls, conversations
    /// and legs only. `jti` must be unique.
    #[must_use]
    pub fn new(application_id: &str, jti: &str, now: WallTime, life: Duration) -> Self {
        let iat = now.0.div_euclid(1_000_000);
        let life = life.min(LIFE_MAX).as_secs();
        Self {
            application_id: application_id.to_owned(),
            iat,
            jti: jti.to_owned(),
            exp: Some(iat.saturating_add_unsigned(life)),
            acl: Some(json!({"paths": {"/*/calls/**": {}, "/*/conversations/**": {}, "/*/legs/**": {}}})),
        }
    }
}

/// An application's private key. A copy is the same key in memory.
#[derive(Clone)]
pub struct AppKey(Arc<RsaKeyPair>);

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey([private])")
    }
}

impl AppKey {
    /// Reads a private key, PKCS#8 or PKCS#1, as Vonage's dashboard gives it.
    ///
    /// # Errors
    /// [`BadAppKey`].
    pub fn from_pem(pem: &str) -> Result<Self, BadAppKey> {
        let (label, der) = read_pem(pem).ok_or(BadAppKey::NotPem)?;
        let pair = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
            other => return Err(BadAppKey::Label(other.chars().take(40).collect())),
        };
        pair.map(|pair| Self(Arc::new(pair))).map_err(|error| BadAppKey::Key(error.to_string()))
    }

    /// Its length in bits, 2048 to 8192.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.0.public_modulus_len() * 8
    }

    /// Signs a token, for `Authorization: Bearer …`.
    #[must_use]
    pub fn sign(&self, claims: &AppClaims) -> String {
        let header = jws::encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        // Strings, numbers and JSON: they can always be written.
        let signed = format!("{header}.{}", jws::encode(serde_json::to_vec(claims).unwrap_or_default()));
        let mut signature = vec![0; self.0.public_modulus_len()];
        // PKCS#1 v1.5 takes nothing from the random source it is given. A failure, which a
        // checked key does not have, leaves zeros: a token that is refused.
        let random = aws_lc_rs::rand::SystemRandom::new();
        if self.0.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).is_err() {
            signature.fill(0);
        }
        format!("{signed}.{}", jws::encode(signature))
    }

    /// The public half, which Vonage keeps.
    #[must_use]
    pub fn public(&self) -> AppPublicKey {
        AppPublicKey(self.0.public_key().as_ref().into())
    }

    /// Checks a token that this key made: what Vonage does, for the simulator.
    ///
    /// # Errors
    /// [`BadAppToken`].
    pub fn verify(&self, token: &str, now: WallTime) -> Result<AppClaims, BadAppToken> {
        self.public().verify(token, now)
    }
}

/// An application's public key: what Vonage keeps, for the simulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPublicKey(Box<[u8]>);

impl AppPublicKey {
    /// Reads a public key, SPKI or PKCS#1.
    ///
    /// # Errors
    /// [`BadAppKey`].
    pub fn from_pem(pem: &str) -> Result<Self, BadAppKey> {
        let (label, der) = read_pem(pem).ok_or(BadAppKey::NotPem)?;
        if !["PUBLIC KEY", "RSA PUBLIC KEY"].contains(&label) {
            return Err(BadAppKey::PublicLabel(label.chars().take(40).collect()));
        }
        match ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der) {
            Ok(_) => Ok(Self(der.into())),
            Err(error) => Err(BadAppKey::Key(error.to_string())),
        }
    }

    /// Checks a token that the private half made.
    ///
    /// # Errors
    /// [`BadAppToken`].
    pub fn verify(&self, token: &str, now: WallTime) -> Result<AppClaims, BadAppToken> {
        let bad = BadAppToken::Malformed;
        let parts = Compact::split(token).ok_or(bad)?;
        let header: Value = serde_json::from_slice(&parts.header).map_err(|_| bad)?;
        if header["alg"] != "RS256" {
            return Err(BadAppToken::Algorithm);
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0)
            .verify(parts.signed.as_bytes(), &parts.signature)
            .map_err(|_| BadAppToken::Signature)?;
        let claims: AppClaims = serde_json::from_slice(&parts.claims).map_err(|_| bad)?;
        let now = now.0.div_euclid(1_000_000);
        let latest = claims.iat.saturating_add_unsigned(LIFE_MAX.as_secs());
        let default = claims.iat.saturating_add_unsigned(LIFE_DEFAULT.as_secs());
        if now >= claims.exp.unwrap_or(default).min(latest) { Err(BadAppToken::Expired) } else { Ok(claims) }
    }
}

/// The first block of a PEM file: its label and its bytes. What stands outside is left out.
fn read_pem(pem: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (base64, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: String = base64.split_ascii_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    (!der.is_empty()).then_some((label, der))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const NOW: WallTime = WallTime(1_763_942_400_000_000);

    fn new_pem() -> String {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let base64 = STANDARD.encode(der);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n", lines.join("\r\n"))
    }

    /// Made for this run of the tests: a key takes long.
    static PEM: LazyLock<String> = LazyLock::new(new_pem);

    fn claims() -> AppClaims {
        AppClaims::new("aaaa-bbbb", "jti-1", NOW, LIFE_DEFAULT)
    }

    #[test]
    fn what_was_signed_is_believed() {
        let key = AppKey::from_pem(&PEM).unwrap();
        let token = key.sign(&claims());
        assert_eq!(key.verify(&token, NOW), Ok(claims()));
        assert_eq!(key.sign(&claims()), token, "the same claims give the same token");
        let header = jws::decode(token.split('.').next().unwrap()).unwrap();
        assert_eq!(header, br#"{"alg":"RS256","typ":"JWT"}"#);
        let claims = serde_json::to_value(claims()).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
        assert_eq!(claims["acl"]["paths"]["/*/calls/**"], json!({}));
        assert_eq!(format!("{key:?}"), "AppKey([private])");
    }

    #[test]
    fn a_key_in_the_old_form_too() {
        // PKCS#8 is a shell of fixed length around PKCS#1 for a key of 2048 bits.
        let (_, pkcs8) = read_pem(&PEM).unwrap();
        let old = pem("RSA PRIVATE KEY", &pkcs8[26..]);
        let token = AppKey::from_pem(&old).unwrap().sign(&claims());
        assert_eq!(AppKey::from_pem(&PEM).unwrap().verify(&token, NOW), Ok(claims()));
    }

    #[test]
    fn every_forgery_has_its_name() {
        let key = AppKey::from_pem(&PEM).unwrap();
        let token = key.sign(&claims());
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, body) = signed.split_once('.').unwrap();
        let none = format!("{}.{body}.", jws::encode(r#"{"alg":"none"}"#));
        let hmac = format!("{}.{body}", jws::encode(r#"{"alg":"HS256"}"#));
        // The classic: an HMAC made with the public key, which everyone has.
        let hmac = format!("{hmac}.{}", jws::encode(jws::hs256(key.0.public_key().as_ref(), hmac.as_bytes())));
        let other = AppKey::from_pem(&new_pem()).unwrap().sign(&claims());
        for (bad, expected) in [
            (String::new(), BadAppToken::Malformed),
            (signed.to_owned(), BadAppToken::Malformed),
            (none, BadAppToken::Algorithm),
            (hmac, BadAppToken::Algorithm),
            (other, BadAppToken::Signature),
            (format!("{signed}."), BadAppToken::Signature),
        ] {
            assert_eq!(key.verify(&bad, NOW), Err(expected), "{bad}");
        }
        let later = |seconds: i64| WallTime(NOW.0 + seconds * 1_000_000);
        assert_eq!(key.verify(&token, later(899)), Ok(claims()));
        assert_eq!(key.verify(&token, later(900)), Err(BadAppToken::Expired));
        let endless = key.sign(&AppClaims { exp: Some(i64::MAX), ..claims() });
        assert_eq!(key.verify(&endless, later(86_400)).map(|_| ()), Err(BadAppToken::Expired));
        assert_eq!(AppClaims::new("a", "j", NOW, Duration::MAX).exp, Some(1_763_942_400 + 86_400));
    }

    #[test]
    fn the_public_half_checks_in_either_form() {
        let key = AppKey::from_pem(&PEM).unwrap();
        let token = key.sign(&claims());
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(key.0.public_key()).unwrap();
        for (label, der) in [("PUBLIC KEY", spki.as_ref()), ("RSA PUBLIC KEY", key.0.public_key().as_ref())] {
            let public = AppPublicKey::from_pem(&pem(label, der)).unwrap();
            assert_eq!(public.verify(&token, NOW), Ok(claims()), "{label}");
        }
        let text = |pem: &str| AppPublicKey::from_pem(pem).unwrap_err().to_string();
        assert_eq!(
            text(&PEM),
            "expected -----BEGIN PUBLIC KEY----- or -----BEGIN RSA PUBLIC KEY-----, found \"PRIVATE KEY\""
        );
        assert!(text(&pem("PUBLIC KEY", b"no key")).starts_with("not a usable RSA key of 2048 to 8192 bits"));
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let text = |pem: &str| AppKey::from_pem(pem).unwrap_err().to_string();
        let not_pem = "not a PEM file: expected -----BEGIN PRIVATE KEY----- and base64";
        for bad in [
            "",
            "hello",
            "-----BEGIN PRIVATE KEY-----\nAAAA",
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(text(bad), not_pem, "{bad}");
        }
        assert_eq!(
            text(&pem("PUBLIC KEY", b"x")),
            "expected -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----, found \"PUBLIC KEY\""
        );
        assert!(text(&pem("PRIVATE KEY", b"not a key")).starts_with("not a usable RSA key of 2048 to 8192 bits: "));
    }
}
