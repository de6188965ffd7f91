//! Compact tokens: three base64url parts joined by dots, and HMAC-SHA-256 over them.
//!
//! What the three kinds of token we meet have in common; each decides for itself what
//! its header and claims must be. RFC 7515, of which we take one algorithm at a time.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Base64url without padding.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url without padding. Strict: each byte string has one encoding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A compact token taken apart, nothing of it believed yet.
pub(super) struct Compact<'a> {
    /// What is signed: the first two parts and the dot between.
    pub(super) signed: &'a str,
    /// First part, decoded.
    pub(super) header: Vec<u8>,
    /// Second part, decoded.
    pub(super) claims: Vec<u8>,
    /// Third part, decoded.
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a token of exactly three parts apart.
    pub(super) fn split(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { signed, header: decode(header)?, claims: decode(claims)?, signature: decode(signature)? })
    }
}

/// HMAC-SHA-256.
pub(super) fn hs256(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// Checks an HMAC-SHA-256 in constant time.
pub(super) fn hs256_holds(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    #[test]
    fn the_rfcs_own_token_holds() {
        let key =
            decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow").unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let parts = Compact::split(token).unwrap();
        assert!(hs256_holds(&key, parts.signed.as_bytes(), &parts.signature));
        assert_eq!(hs256(&key, parts.signed.as_bytes()).as_ref(), parts.signature);
        assert!(!hs256_holds(b"other", parts.signed.as_bytes(), &parts.signature));
        assert!(!hs256_holds(&key, parts.signed.as_bytes(), &parts.signature[..31]));
    }

    #[test]
    fn what_is_not_three_strict_parts_is_refused() {
        for bad in ["", ".", "e30.e30", "e30.e30.e30.e30", "e30=.e30.e30", "e3+.e30.e30", "e31.e30.e30"] {
            assert!(Compact::split(bad).is_none(), "{bad}");
        }
        assert!(Compact::split("e30.e30.").is_some_and(|parts| parts.signature.is_empty()));
    }
}
