//! Secrets that a gateway and an offline Vonage share: made up, good for the two alone.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

/// Characters in a line of a PEM file.
const PEM_LINE: usize = 64;

/// What both sides must know.
pub(in crate::cli) struct Secrets {
    pub(in crate::cli) application_id: String,
    pub(in crate::cli) api_key: String,
    pub(in crate::cli) signature_secret: String,
    pub(in crate::cli) token_key: String,
    pub(in crate::cli) private_key: String,
    pub(in crate::cli) public_key: String,
}

impl Secrets {
    /// Makes them up.
    ///
    /// # Errors
    /// What this machine could not make, in words.
    pub(in crate::cli) fn new() -> Result<Self, String> {
        let failed = |what: &str| format!("no {what} could be made");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed("RSA key"))?;
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| failed("RSA key"))?;
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(|_| failed("RSA key"))?;
        Ok(Self {
            application_id: Uuid::new_v4().to_string(),
            api_key: hex::<4>().ok_or_else(|| failed("random number"))?,
            signature_secret: hex::<32>().ok_or_else(|| failed("random number"))?,
            token_key: hex::<32>().ok_or_else(|| failed("random number"))?,
            private_key: pem("PRIVATE KEY", private.as_ref()),
            public_key: pem("PUBLIC KEY", public.as_ref()),
        })
    }
}

/// So many random bytes, as hexadecimal text.
fn hex<const N: usize>() -> Option<String> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(PEM_LINE).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
