//! Which URLs may be sent our token: `https` at Vonage, and hosts that were configured.

use reqwest::Url;

use super::RestError;
use crate::vonage::rest_types::is_vonage_url;

/// Longest host shown in an error, in characters.
const HOST_SHOWN: usize = 100;

/// Whether a text can be an entry of `trusted_hosts`: `host` or `host:port`.
pub(super) fn is_host(text: &str) -> bool {
    let parsed = Url::parse(&format!("http://{text}/"));
    !text.contains(['/', '?', '#', '@', '\\'])
        && parsed.is_ok_and(|url| {
            let host = url.host_str().unwrap_or_default();
            let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
            text.eq_ignore_ascii_case(host) || text.eq_ignore_ascii_case(&with_port)
        })
}

/// The URL, where our token may be sent there.
///
/// # Errors
/// [`RestError::Untrusted`].
pub(super) fn url(text: &str, trusted_hosts: &[String]) -> Result<Url, RestError> {
    let parsed = Url::parse(text).ok();
    let host = parsed.as_ref().and_then(Url::host_str).unwrap_or_default();
    let host = host.chars().take(HOST_SHOWN).collect();
    // What was parsed is what is sent, so that is what must be good.
    parsed.filter(|url| is_trusted(url, trusted_hosts)).ok_or(RestError::Untrusted { host })
}

/// The URL as a base: trusted, and nothing but scheme and host.
pub(super) fn base(text: &str, trusted_hosts: &[String]) -> Option<Url> {
    let parsed = url(text, trusted_hosts).ok()?;
    (parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none()).then_some(parsed)
}

fn is_trusted(url: &Url, trusted_hosts: &[String]) -> bool {
    if is_vonage_url(url.as_str()) {
        return true;
    }
    let Some(host) = url.host_str() else { return false };
    let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && trusted_hosts.iter().any(|trusted| {
            trusted.eq_ignore_ascii_case(&with_port) || (url.port().is_none() && trusted.eq_ignore_ascii_case(host))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Vec<String> {
        ["127.0.0.1:9000", "Relay.example", "[::1]:9000"].map(str::to_owned).to_vec()
    }

    #[test]
    fn who_may_have_our_token() {
        for (text, trusted) in [
            ("https://api-eu-3.vonage.com/v1/files/1?x=2", true),
            ("https://api.nexmo.com:443/v1/files/1", true),
            ("http://127.0.0.1:9000/v1/files/1", true),
            ("https://127.0.0.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("https://relay.example/a", true),
            ("http://RELAY.example:80/a", true),
            ("http://api.nexmo.com/", false),
            ("https://api.nexmo.com:8443/", false),
            ("http://127.0.0.1:9001/", false),
            ("http://127.0.0.1/", false),
            ("https://relay.example:8443/", false),
            ("https://user@relay.example/", false),
            ("https://:secret@relay.example/", false),
            ("https://relay.example.evil.example/", false),
            ("https://evil.example/?relay.example", false),
            ("https://evil.example\\@relay.example/", false),
            ("ftp://relay.example/", false),
            ("file:///etc/passwd", false),
            ("relay.example", false),
            ("", false),
        ] {
            assert_eq!(url(text, &hosts()).is_ok(), trusted, "{text}");
        }
        let error = url("https://user:s3cret@evil.example/447700900000", &hosts()).unwrap_err();
        assert_eq!(error, RestError::Untrusted { host: "evil.example".into() });
    }

    #[test]
    fn a_base_has_no_path() {
        for (text, is_base) in [
            ("https://api-eu-3.vonage.com", true),
            ("https://api-eu-3.vonage.com/", true),
            ("http://127.0.0.1:9000", true),
            ("https://api-eu-3.vonage.com/v1", false),
            ("https://api-eu-3.vonage.com/?a", false),
            ("https://api-eu-3.vonage.com/#a", false),
            ("https://evil.example", false),
        ] {
            assert_eq!(base(text, &hosts()).is_some(), is_base, "{text}");
        }
    }

    #[test]
    fn entries() {
        for good in ["localhost", "127.0.0.1:9000", "[::1]:9000", "Relay.example:443"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "http://a", "a/b", "a:b", "a b", "u@a", "a:99999", ":80"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
