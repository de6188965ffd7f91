//! Tokens as a forger makes them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::vonage::signature::Claims;

/// A token with any header, signed by HMAC-SHA-256 with any key; without a key, its
/// signature is empty. The value of the `Authorization` header.
pub(super) fn token(header: &str, claims: &Claims, key: Option<&str>) -> String {
    // Strings and a number: they can always be written.
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.map_or_else(String::new, |key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    });
    format!("Bearer {signed}.{signature}")
}
