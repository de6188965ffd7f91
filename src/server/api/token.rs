//! Who may use our API: bearer tokens, each with its scopes.
//!
//! Without any token configured the API answers this machine alone, and only while it
//! listens to this machine alone: enough to develop with, nothing to leave open.
//!
//! Invariant: a token is compared by its SHA-256, with every configured one, in constant
//! time; it is kept, shown and logged nowhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
pub use crate::config::{BadToken, Scope, TOKEN_LEN_MIN, TokenSettings, Tokens};
use crate::server::Peer;
use crate::telemetry::ApiRefused;

/// What a proxy adds to a request; then the peer is not who asks.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// How a request reached us, as far as that matters where no token is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// We listen to this machine alone.
    pub listen_is_loopback: bool,
    /// The connection comes from this machine.
    pub peer_is_loopback: bool,
    /// It came through a proxy, so from anywhere.
    pub forwarded: bool,
    /// A web page of another host asks, by its `Origin` or a `Host` that is not this machine.
    pub foreign_page: bool,
}

/// Whether a request is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is; with whose token, where there are any.
    Allowed(Option<Arc<str>>),
    /// 401: no token, or none of ours.
    Unauthenticated,
    /// 403: the token lacks this scope.
    Lacks(Scope),
}

/// Decides about a request that needs `scope`.
#[must_use]
pub fn decide(tokens: &Tokens, presented: Option<&str>, scope: Scope, how: Circumstances) -> Decision {
    if tokens.is_empty() {
        let ours = how.listen_is_loopback && how.peer_is_loopback && !how.forwarded && !how.foreign_page;
        return if ours { Decision::Allowed(None) } else { Decision::Unauthenticated };
    }
    match presented.and_then(|token| tokens.find(token)) {
        None => Decision::Unauthenticated,
        Some(known) if known.scopes.contains(&scope) => Decision::Allowed(Some(Arc::clone(&known.name))),
        Some(_) => Decision::Lacks(scope),
    }
}

/// Whose token a request came with, in its extensions; none where no token is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Option<Arc<str>>);

/// Lets requests in, or not.
#[derive(Debug, Clone)]
pub struct Guard {
    tokens: Arc<Tokens>,
    listen_is_loopback: bool,
}

impl Guard {
    /// A guard of an API that listens at this address.
    #[must_use]
    pub fn new(tokens: Tokens, listen: SocketAddr) -> Self {
        Self { tokens: Arc::new(tokens), listen_is_loopback: is_loopback(listen.ip()) }
    }

    fn admit(&self, request: &Request, scope: Scope) -> Decision {
        let headers = request.headers();
        let peer = request.extensions().get::<ConnectInfo<Peer>>();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| request.uri().host());
        let how = Circumstances {
            listen_is_loopback: self.listen_is_loopback,
            peer_is_loopback: peer.is_some_and(|peer| is_loopback(peer.0.address.ip())),
            forwarded: FORWARDED.iter().any(|name| headers.contains_key(HeaderName::from_static(name))),
            foreign_page: host.is_some_and(|host| !is_local(host))
                || headers.get(ORIGIN).is_some_and(|origin| {
                    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
                    !host.is_some_and(|(_, host)| is_local(host))
                }),
        };
        decide(&self.tokens, bearer(headers), scope, how)
    }
}

/// The middleware of a route that needs a scope.
pub(super) async fn require(
    State((guard, scope)): State<(Guard, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    let presented = request.headers().contains_key(AUTHORIZATION);
    match guard.admit(&request, scope) {
        Decision::Allowed(name) => {
            request.extensions_mut().insert(Caller(name));
            next.run(request).await
        }
        Decision::Unauthenticated => {
            ApiRefused { reason: "unauthenticated" }.emit();
            let detail = if guard.tokens.is_empty() {
                "no token is configured, so only this machine is answered, and only while server.listen is a loopback address"
            } else if presented {
                "the token is not known"
            } else {
                "no bearer token was sent"
            };
            let error = if presented { ", error=\"invalid_token\"" } else { "" };
            let challenge = format!("Bearer realm=\"sidetone\"{error}");
            let problem = Problem::new(StatusCode::UNAUTHORIZED).detail(detail);
            ([(WWW_AUTHENTICATE, challenge)], problem).into_response()
        }
        Decision::Lacks(scope) => {
            ApiRefused { reason: "scope" }.emit();
            let scope = scope.as_str();
            let challenge = format!("Bearer realm=\"sidetone\", error=\"insufficient_scope\", scope=\"{scope}\"");
            let problem = Problem::new(StatusCode::FORBIDDEN).detail(format!("the token lacks the scope {scope}"));
            ([(WWW_AUTHENTICATE, challenge)], problem).into_response()
        }
    }
}

/// The token of `Authorization: Bearer …`, where there is exactly one such header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

/// Whether `host` or `host:port` names this machine.
fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return is_loopback(address.ip());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_loopback(address);
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    const SECRET: &str = "correct-horse-battery";

    fn token(name: &str, secret: &str, scopes: &[Scope]) -> TokenSettings {
        TokenSettings { name: name.into(), token: secret.into(), scopes: scopes.to_vec(), ..Default::default() }
    }

    fn two() -> Tokens {
        let by_hash = TokenSettings {
            name: "wallboard".into(),
            sha256: format!("{:X}", Sha256::digest("wallboard-secret-1")),
            scopes: vec![Scope::CallsRead, Scope::EventsRead],
            ..Default::default()
        };
        Tokens::new(&[token("crm", SECRET, &[Scope::CallsRead, Scope::CallsControl]), by_hash]).unwrap()
    }

    const HERE: Circumstances =
        Circumstances { listen_is_loopback: true, peer_is_loopback: true, forwarded: false, foreign_page: false };

    #[test]
    fn tokens_allow_what_their_scopes_say() {
        let tokens = two();
        let allowed = |name: &str| Decision::Allowed(Some(name.into()));
        for (presented, scope, expected) in [
            (Some(SECRET), Scope::CallsRead, allowed("crm")),
            (Some(SECRET), Scope::CallsControl, allowed("crm")),
            (Some(SECRET), Scope::TranscriptsRead, Decision::Lacks(Scope::TranscriptsRead)),
            (Some("wallboard-secret-1"), Scope::EventsRead, allowed("wallboard")),
            (Some("wallboard-secret-1"), Scope::CallsAudio, Decision::Lacks(Scope::CallsAudio)),
            (Some("wallboard-secret-2"), Scope::CallsRead, Decision::Unauthenticated),
            (Some(""), Scope::CallsRead, Decision::Unauthenticated),
            (None, Scope::CallsRead, Decision::Unauthenticated),
        ] {
            // Once there are tokens, where a request comes from changes nothing.
            for listen_is_loopback in [true, false] {
                let how = Circumstances { listen_is_loopback, ..HERE };
                assert_eq!(decide(&tokens, presented, scope, how), expected, "{presented:?} {scope:?}");
            }
        }
    }

    #[test]
    fn without_tokens_only_this_machine_is_answered() {
        let none = Tokens::default();
        for (how, allowed) in [
            (HERE, true),
            (Circumstances { listen_is_loopback: false, ..HERE }, false),
            (Circumstances { peer_is_loopback: false, ..HERE }, false),
            (Circumstances { forwarded: true, ..HERE }, false),
            (Circumstances { foreign_page: true, ..HERE }, false),
        ] {
            let expected = if allowed { Decision::Allowed(None) } else { Decision::Unauthenticated };
            assert_eq!(decide(&none, None, Scope::CallsControl, how), expected, "{how:?}");
            assert_eq!(decide(&none, Some(SECRET), Scope::CallsControl, how), expected, "{how:?}");
        }
    }

    #[test]
    fn tokens_that_cannot_be_used_are_named_and_not_shown() {
        let read = &[Scope::CallsRead];
        let with = |sha256: &str, token: &str| TokenSettings {
            name: "a".into(),
            sha256: sha256.into(),
            token: token.into(),
            scopes: read.to_vec(),
        };
        let hex = format!("{:x}", Sha256::digest(SECRET));
        for (settings, expected) in [
            (vec![token("", SECRET, read)], "0.name is \"\"; expected a name of its own"),
            (
                vec![token("a", SECRET, read), token("a", "another-secret-here", read)],
                "1.name is \"a\"; expected a name of its own",
            ),
            (vec![with("", "")], "0.token is missing; expected token or sha256"),
            (vec![with("", "short")], "0.token is too short"),
            (vec![with("", "with spaces in it, long")], "0.token is too short, or has spaces"),
            (vec![with(&hex, SECRET)], "0.sha256 is given besides token"),
            (vec![with("abc", "")], "0.sha256 is no SHA-256"),
            (vec![with(&"+1".repeat(32), "")], "0.sha256 is no SHA-256"),
            (vec![with("", SECRET), TokenSettings { name: "b".into(), ..with(&hex, "") }], "1.token is given twice"),
            (vec![token("a", SECRET, &[])], "0.scopes is empty; expected some of calls:read, calls:control"),
        ] {
            let error = Tokens::new(&settings).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains(SECRET) && !format!("{settings:?}").contains(SECRET), "{error}");
        }
        let shown = format!("{:?} {}", two(), toml::to_string(&token("a", SECRET, read)).unwrap());
        assert!(!shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn settings_are_read() {
        let read: TokenSettings =
            toml::from_str("name = \"crm\"\ntoken = \"x\"\nscopes = [\"calls:read\", \"capture:control\"]").unwrap();
        assert_eq!(read.scopes, [Scope::CallsRead, Scope::CaptureControl]);
        let error = toml::from_str::<TokenSettings>("scopes = [\"calls:write\"]").unwrap_err().to_string();
        assert!(error.contains("calls:write") && error.contains("`calls:control`"), "{error}");
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
    }

    #[test]
    fn headers() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            });
            headers
        };
        for (values, expected) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer  abc"], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Bearer a", "Bearer b"], None),
            (&[], None),
        ] {
            assert_eq!(bearer(&headers(values)), expected, "{values:?}");
        }
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("192.168.1.5:8080", false),
            ("localhost.evil.example", false),
            ("evil.example:8080", false),
            ("", false),
        ] {
            assert_eq!(is_local(host), local, "{host}");
        }
    }
}
