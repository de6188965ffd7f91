//! The handshake of each leg, or why there was none.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use futures_util::SinkExt as _;
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::call::wire;
use crate::types::Rate;

/// Longest wait for a gateway to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most of what a gateway says when it refuses that is kept, in characters.
const REASON_MAX: usize = 60;

/// Why a leg is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotThere {
    /// The gateway said no.
    Refused(String),
    /// The gateway said nothing.
    Failed(String),
}

/// A gateway's media socket.
#[derive(Debug, Clone)]
pub(super) struct Door {
    url: Url,
    address: SocketAddr,
    authorization: Option<HeaderValue>,
    hello: String,
    /// What the conversations of this run begin with.
    pub(super) run: String,
}

impl Door {
    /// `url`: `ws://host:port/media`, with a query if need be.
    ///
    /// # Errors
    /// What is wrong with an argument, by the option's name.
    pub(super) async fn new(url: &str, authorization: Option<&str>, rate: Rate, run: String) -> Result<Self, String> {
        let bad = |what: &str| format!("--url is {url:?}: {what}; expected ws://host:port/media");
        let parsed = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        match parsed.scheme() {
            "ws" => {}
            "wss" => {
                return Err(bad(
                    "frames are made once for all legs, which TLS does not allow; dial the gateway behind the proxy",
                ));
            }
            other => return Err(bad(&format!("{other} is no scheme of a media socket"))),
        }
        let (host, port) =
            parsed.host_str().zip(parsed.port_or_known_default()).ok_or_else(|| bad("it names no host"))?;
        let host = host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| bad(&error.to_string()))?.next();
        let address = found.ok_or_else(|| bad("the host has no address"))?;
        let authorization = authorization.map(HeaderValue::from_str).transpose();
        let mut authorization = authorization.map_err(|_| "--authorization is no header's value".to_owned())?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let mut headers = Map::new();
        headers.insert("role".to_owned(), Value::from("caller"));
        Ok(Self { hello: wire::connected(rate, &headers), url: parsed, address, authorization, run })
    }

    /// Another path of the same host.
    pub(super) fn http(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        // A media socket's scheme has its pair, and no query of it is for others.
        let _ = url.set_scheme("http");
        url.set_path(path);
        url.set_query(None);
        url
    }

    /// Opens leg number `leg` and says hello. The socket does not block.
    pub(super) async fn open(&self, leg: u32) -> Result<TcpStream, NotThere> {
        let opened = timeout(PATIENCE, self.dial(leg)).await;
        opened.unwrap_or_else(|_| Err(NotThere::Failed(format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    async fn dial(&self, leg: u32) -> Result<TcpStream, NotThere> {
        let failed = |error: &dyn std::fmt::Display| NotThere::Failed(error.to_string());
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("conversation", &format!("{}-{leg}", self.run))
            .append_pair("speaker", "caller");
        let mut request = url.as_str().into_client_request().map_err(|error| failed(&error))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert("authorization", authorization.clone());
        }
        let socket = tokio::net::TcpStream::connect(self.address).await.map_err(|error| failed(&plain(&error)))?;
        socket.set_nodelay(true).map_err(|error| failed(&error))?;
        let (mut socket, _) = client_async(request, socket).await.map_err(|error| match error {
            WsError::Http(answer) => {
                let body = answer.body().as_deref().unwrap_or_default();
                NotThere::Refused(refusal(answer.status().as_u16(), body))
            }
            WsError::Io(error) => failed(&plain(&error)),
            other => failed(&other),
        })?;
        socket.send(Message::text(self.hello.as_str())).await.map_err(|error| failed(&error))?;
        // A gateway says nothing before it has heard the hello.
        socket.into_inner().into_std().map_err(|error| failed(&error))
    }
}

/// The same words for the same trouble, whatever the platform adds.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// `HTTP 503: no more legs now: legs_max`
fn refusal(status: u16, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let line = body.lines().next().unwrap_or_default().trim();
    match line {
        "" => format!("HTTP {status}"),
        line => format!("HTTP {status}: {}", line.chars().take(REASON_MAX).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_be_dialled_is_named() {
        for (url, expected) in [
            ("127.0.0.1:80", "--url is \"127.0.0.1:80\": "),
            ("http://127.0.0.1:80/media", "http is no scheme of a media socket; expected ws://host:port/media"),
            ("wss://127.0.0.1/media", "which TLS does not allow"),
        ] {
            let error = Door::new(url, None, Rate::Hz8000, "load".to_owned()).await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = Door::new("ws://127.0.0.1/media", Some("a\nb"), Rate::Hz8000, "load".to_owned()).await.unwrap_err();
        assert_eq!(error, "--authorization is no header's value");
    }

    #[test]
    fn refusals_are_told_in_the_gateways_words_cut_short() {
        assert_eq!(refusal(503, b"no more legs now: legs_max\n"), "HTTP 503: no more legs now: legs_max");
        assert_eq!(refusal(401, b""), "HTTP 401");
        assert_eq!(refusal(500, &[b'x'; 1_000]).len(), "HTTP 500: ".len() + REASON_MAX);
    }

    #[tokio::test]
    async fn nobody_at_the_door_is_a_failure() {
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("ws://{}/media", nobody.local_addr().unwrap());
        let door = Door::new(&url, None, Rate::Hz8000, "load".to_owned()).await.unwrap();
        assert_eq!(door.open(0).await.unwrap_err(), NotThere::Failed("connection refused".to_owned()));
    }
}
