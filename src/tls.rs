//! Whether an error is about a certificate: what whoever runs this at night must know apart
//! from a peer that is not there.

use std::error::Error;
use std::io;

/// Whether somewhere beneath `error` a certificate was not trusted: of another host, expired,
/// or signed by no authority that this system knows (`SSL_CERT_FILE` names others).
pub(crate) fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // What an I/O error wraps is not its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_found_however_deep_it_is_wrapped() {
        let distrust = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, distrust()));
        assert!(is_distrust(&distrust()) && is_distrust(&wrapped));
        assert!(!is_distrust(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(!is_distrust(&io::Error::other(rustls::Error::DecryptError)));
    }
}
