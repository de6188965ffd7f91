//! A media socket as Vonage opens it, held by hand.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::way::{Source, Way};
use super::{Stop, bad, skip};
use crate::call::wire;
use crate::types::Rate;
use crate::types::rate::FRAME_MS;

/// Longest wait for the upgrade: what the sibling Audio Connector grants.
const UPGRADE: Duration = Duration::from_secs(6);
/// Longest wait for a pong, and for the answer to a close.
const REPLY: Duration = Duration::from_secs(5);
/// Largest message taken from the gateway, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Most messages kept from the gateway.
const HEARD_MAX: usize = 10_000;

/// An open media socket.
#[derive(Debug)]
pub(super) struct Line {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// How long the upgrade took.
    pub(super) took: Duration,
    /// What the gateway negotiated.
    pub(super) extensions: Option<String>,
    /// What the gateway has sent but for pings and pongs.
    pub(super) heard: Vec<Message>,
    pings: u8,
}

/// How an attempt to open a socket ended.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is open.
    Line(Box<Line>),
    /// The gateway said no, with this status.
    Refused(u16),
}

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By a close frame.
    Closed,
    /// Without one.
    Broken,
}

impl Line {
    /// Asks for the socket, offering compression as a client may.
    pub(super) async fn ask(way: &Way) -> Result<Opened, Stop> {
        let Ok(mut request) = way.uri.0.as_str().into_client_request() else {
            return bad("the media URL is none");
        };
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        if let Some(authorization) = &way.authorization {
            let Ok(value) = HeaderValue::from_str(&authorization.0) else {
                return bad("the NCCO's authorization cannot stand in a header");
            };
            headers.insert(header::AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        let start = Instant::now();
        let (socket, response) = match timeout(UPGRADE, connect_async_with_config(request, Some(config), true)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(Error::Http(response))) => return Ok(Opened::Refused(response.status().as_u16())),
            Ok(Err(Error::Io(_))) => return bad("it cannot be connected to"),
            Ok(Err(error)) => return bad(format!("the upgrade failed: {error}")),
            Err(_) => return bad(format!("no upgrade within {} s", UPGRADE.as_secs())),
        };
        let extensions = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
        let extensions = extensions.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let line = Self { socket, took: start.elapsed(), extensions, heard: Vec::new(), pings: 0 };
        Ok(Opened::Line(Box::new(line)))
    }

    /// Opens the socket; it must open.
    pub(super) async fn open(way: &Way) -> Result<Self, Stop> {
        match Self::ask(way).await? {
            Opened::Line(line) => Ok(*line),
            Opened::Refused(401 | 403) if way.source == Source::Assumed => {
                skip("the media socket wants a token, and no NCCO has one: give --media-url")
            }
            Opened::Refused(status) => bad(format!("the upgrade got {status}: expected 101")),
        }
    }

    pub(super) async fn send(&mut self, message: Message) -> Result<(), Stop> {
        match timeout(REPLY, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => bad("the socket was closed by the gateway"),
            Err(_) => bad(format!("the gateway has not read for {} s", REPLY.as_secs())),
        }
    }

    /// The first message, at this rate.
    pub(super) async fn hello(&mut self, way: &Way, rate: Rate) -> Result<(), Stop> {
        self.send(Message::text(wire::connected(rate, &way.headers.0))).await
    }

    /// So many frames of silence at this rate, in real time.
    pub(super) async fn silence(&mut self, rate: Rate, frames: usize) -> Result<(), Stop> {
        let mut clock = interval(Duration::from_millis(FRAME_MS));
        for _ in 0..frames {
            clock.tick().await;
            self.send(Message::binary(vec![0; rate.frame_bytes()])).await?;
        }
        Ok(())
    }

    /// Whether the gateway still serves the socket: it answers a ping. What else it has
    /// sent is kept.
    pub(super) async fn alive(&mut self) -> Result<(), Stop> {
        self.pings += 1;
        let payload = vec![self.pings; 8];
        self.send(Message::Ping(payload.clone().into())).await?;
        let answered = timeout(REPLY, async {
            while let Some(Ok(message)) = self.socket.next().await {
                match message {
                    Message::Pong(pong) if pong == payload => return true,
                    Message::Close(_) => return false,
                    Message::Ping(_) | Message::Pong(_) => {}
                    other if self.heard.len() < HEARD_MAX => self.heard.push(other),
                    _ => {}
                }
            }
            false
        });
        match answered.await {
            Ok(true) => Ok(()),
            Ok(false) => bad("the gateway closed the socket"),
            Err(_) => bad(format!("a ping was not answered within {} s", REPLY.as_secs())),
        }
    }

    /// Reads to the socket's end; nothing where it does not end in time.
    pub(super) async fn end(&mut self) -> Option<End> {
        let ended = timeout(REPLY, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(_))) => return End::Closed,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return End::Broken,
                }
            }
        });
        ended.await.ok()
    }

    /// Hangs up as RFC 6455 asks. Whether the gateway answered so.
    pub(super) async fn hang_up(&mut self) -> Result<bool, Stop> {
        match timeout(REPLY, self.socket.close(None)).await {
            Ok(Ok(())) => Ok(self.end().await == Some(End::Closed)),
            _ => bad("the close frame could not be sent"),
        }
    }
}
