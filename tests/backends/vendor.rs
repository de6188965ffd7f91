//! The vendors: one server that is any of them, and misbehaves as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response as Upgrade};
use tokio_tungstenite::tungstenite::http;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub const KEY: &str = "a-good-key";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OpenAi,
    Deepgram,
    AssemblyAi,
    Vosk,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Deepgram, Self::AssemblyAi, Self::Vosk];

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Deepgram => "deepgram",
            Self::AssemblyAi => "assemblyai",
            Self::Vosk => "vosk",
        }
    }
}

/// How an utterance is treated. What is not an answer is taken from the front of the list, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Answer,
    Garbage,
    Binary,
    Hang,
    Twice,
    OutOfOrder,
    Unauthorised,
    Limited(u64),
    Redirect,
    CloseMidWord,
    Oversized,
    NoWords,
}

impl Act {
    /// Whether it happens before an upgrade, instead of it.
    fn status(self) -> Option<u16> {
        match self {
            Self::Unauthorised => Some(401),
            Self::Limited(_) => Some(429),
            Self::Redirect => Some(302),
            _ => None,
        }
    }
}

/// What a server saw, for the test to wait for and to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    Connection,
    Audio(usize),
    Text(String),
    Gone,
}

pub struct Inner {
    kind: Kind,
    acts: Mutex<VecDeque<Act>>,
    saw: mpsc::UnboundedSender<Saw>,
    /// Without a message for so long, it hangs up.
    silence: Duration,
    /// Utterances after which it ends a session.
    session_max: usize,
    stop: watch::Sender<()>,
}

impl Inner {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn act(&self) -> Act {
        self.acts.lock().unwrap().pop_front().unwrap_or(Act::Answer)
    }

    fn see(&self, saw: Saw) {
        // The test may have seen enough.
        let _ = self.saw.send(saw);
    }
}

pub struct Vendor {
    pub address: SocketAddr,
    pub inner: Arc<Inner>,
    pub saw: mpsc::UnboundedReceiver<Saw>,
    /// Keeps the port while the server is down: no other test's server comes up in its place.
    _place: TcpSocket,
    server: Option<AbortOnDropHandle<()>>,
    alive: CancellationToken,
}

pub struct Manners {
    pub silence: Duration,
    pub session_max: usize,
}

impl Default for Manners {
    fn default() -> Self {
        Self { silence: Duration::from_secs(10), session_max: usize::MAX }
    }
}

/// A socket at `address` that does not listen, and beside which others may be.
fn shared(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl Vendor {
    pub async fn start(kind: Kind, acts: &[Act]) -> Self {
        Self::with(kind, acts, Manners::default()).await
    }

    pub async fn with(kind: Kind, acts: &[Act], manners: Manners) -> Self {
        let place = shared("127.0.0.1:0".parse().unwrap());
        let address = place.local_addr().unwrap();
        let (sender, saw) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            kind,
            acts: Mutex::new(acts.iter().copied().collect()),
            saw: sender,
            silence: manners.silence,
            session_max: manners.session_max,
            stop: watch::channel(()).0,
        });
        let mut vendor = Self { address, inner, saw, _place: place, server: None, alive: CancellationToken::new() };
        vendor.restart();
        vendor
    }

    /// Starts it, again where it was.
    pub fn restart(&mut self) {
        let listener = shared(self.address).listen(64).unwrap();
        self.alive = CancellationToken::new();
        let (inner, alive) = (Arc::clone(&self.inner), self.alive.clone());
        let server = match inner.kind {
            Kind::OpenAi => tokio::spawn(async move {
                let routes = axum::Router::new()
                    .route("/v1/audio/transcriptions", axum::routing::post(transcriptions))
                    .with_state(inner);
                axum::serve(listener, routes).await.unwrap();
            }),
            _ => tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (inner, alive) = (Arc::clone(&inner), alive.clone());
                    tokio::spawn(async move {
                        inner.see(Saw::Connection);
                        // A killed server closes nothing properly.
                        alive.run_until_cancelled(session(&inner, stream)).await;
                        inner.see(Saw::Gone);
                    });
                }
            }),
        };
        self.server = Some(AbortOnDropHandle::new(server));
    }

    /// Ends the server and every connection, as a crash does.
    pub async fn kill(&mut self) {
        self.alive.cancel();
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// The table of the backend that talks to it, with `more` in it.
    pub fn table(&self, more: &str) -> toml::Table {
        let mut table: toml::Table = more.parse().unwrap();
        let address = self.address;
        let url = match self.inner.kind {
            Kind::OpenAi => format!("http://{address}/v1/audio/transcriptions"),
            Kind::Deepgram => format!("ws://{address}/v1/listen"),
            Kind::AssemblyAi => format!("ws://{address}/v3/ws"),
            Kind::Vosk => format!("ws://{address}"),
        };
        table.entry("url").or_insert(url.into());
        if self.inner.kind != Kind::Vosk {
            table.entry("key").or_insert(KEY.into());
        }
        table
    }

    /// Treats the next utterance so.
    pub fn tell(&self, act: Act) {
        self.inner.acts.lock().unwrap().push_back(act);
    }

    /// Forgets what it was told and has not done.
    pub fn forget(&self) {
        self.inner.acts.lock().unwrap().clear();
    }

    /// The next thing it sees of this kind.
    pub async fn sees(&mut self, what: &str, mut wanted: impl FnMut(&Saw) -> bool) -> Saw {
        super::support::within(what, async {
            loop {
                let saw = self.saw.recv().await.unwrap();
                if wanted(&saw) {
                    return saw;
                }
            }
        })
        .await
    }

    /// What it has seen so far and nobody looked at.
    pub fn seen(&mut self) -> Vec<Saw> {
        std::iter::from_fn(|| self.saw.try_recv().ok()).collect()
    }
}

/// What a vendor says of so many samples.
pub fn text(kind: Kind, samples: usize) -> String {
    format!("{} heard {samples} samples.", kind.name())
}

// --- HTTP ---------------------------------------------------------------------------------

/// The fields of a form, by name.
fn fields(headers: &HeaderMap, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let content_type = headers["content-type"].to_str().unwrap();
    let boundary = format!("--{}", content_type.split("boundary=").nth(1).unwrap().trim_matches('"'));
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let (mut rest, mut fields) = (body, Vec::new());
    while let Some(at) = find(rest, boundary.as_bytes()) {
        rest = &rest[at + boundary.len()..];
        let Some(end) = find(rest, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let value = &rest[end + 4..];
        let length = find(value, boundary.as_bytes()).unwrap() - 2;
        let name = head.split("name=\"").nth(1).unwrap().split('"').next().unwrap();
        fields.push((name.replace("%5B", "[").replace("%5D", "]"), value[..length].to_vec()));
    }
    fields
}

async fn transcriptions(State(vendor): State<Arc<Inner>>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    vendor.see(Saw::Connection);
    let fields = fields(&headers, &body);
    let of =
        |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_slice()).collect::<Vec<_>>();
    if headers.get("authorization").is_none_or(|value| value != format!("Bearer {KEY}").as_str()) {
        return (StatusCode::UNAUTHORIZED, "{\"error\":{}}").into_response();
    }
    assert_eq!((of("model"), of("language")), (vec![&b"whisper-1"[..]], vec![&b"en"[..]]));
    assert_eq!(of("response_format"), [b"verbose_json"]);
    assert!(of("timestamp_granularities[]").contains(&&b"word"[..]));
    let wav = hound::WavReader::new(std::io::Cursor::new(of("file")[0])).unwrap();
    let samples = wav.len() as usize;
    let act = vendor.act();
    vendor.see(Saw::Audio(samples));
    let answer = json!({
        "task": "transcribe", "language": "english", "text": text(Kind::OpenAi, samples),
        "words": [{"word": "openai", "start": 0.0, "end": 0.05}], "segments": [{"id": 0, "avg_logprob": -0.1}],
    });
    match act {
        Act::Answer => axum::Json(answer).into_response(),
        Act::NoWords => axum::Json(json!({"text": ""})).into_response(),
        Act::Garbage | Act::OutOfOrder => "<html>busy</html>".into_response(),
        Act::Binary => vec![0xff_u8, 0xfe, 0].into_response(),
        Act::Hang => {
            let mut stop = vendor.stop.subscribe();
            let _ = stop.changed().await;
            StatusCode::NO_CONTENT.into_response()
        }
        // Two documents where one belongs.
        Act::Twice => format!("{answer}{answer}").into_response(),
        Act::Unauthorised => StatusCode::UNAUTHORIZED.into_response(),
        Act::Limited(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], "slower").into_response()
        }
        Act::Redirect => (StatusCode::FOUND, [("location", "http://127.0.0.1:9/elsewhere")]).into_response(),
        Act::CloseMidWord => {
            let broken = futures_util::stream::iter([
                Ok(axum::body::Bytes::from_static(b"{\"text\":\"hal")),
                Err(std::io::Error::other("gone")),
            ]);
            axum::body::Body::from_stream(broken).into_response()
        }
        Act::Oversized => "x".repeat(3 << 20).into_response(),
    }
}

// --- WebSocket ----------------------------------------------------------------------------

type Socket = WebSocketStream<TcpStream>;

#[expect(clippy::result_large_err, reason = "it is what the library wants")]
async fn upgrade(vendor: &Inner, stream: TcpStream) -> Option<Socket> {
    let refused = |status: u16, header: Option<(&'static str, String)>| {
        let mut response = http::Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        response.body(None).unwrap()
    };
    let check = |request: &Request, response: Upgrade| -> Result<Upgrade, ErrorResponse> {
        let first = vendor.acts.lock().unwrap().front().copied();
        if let Some((act, status)) = first.and_then(|act| Some((act, act.status()?))) {
            vendor.act();
            let header = match act {
                Act::Limited(seconds) => Some(("retry-after", seconds.to_string())),
                Act::Redirect => Some(("location", "ws://127.0.0.1:9/elsewhere".to_owned())),
                _ => None,
            };
            return Err(refused(status, header));
        }
        let query = request.uri().query().unwrap_or_default();
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let (expected, parts): (_, &[&str]) = match vendor.kind {
            Kind::Deepgram => (
                Some(format!("Token {KEY}")),
                &["encoding=linear16", "sample_rate=16000", "channels=1", "interim_results=true", "endpointing=false"],
            ),
            Kind::AssemblyAi => {
                (Some(KEY.to_owned()), &["sample_rate=16000", "encoding=pcm_s16le", "format_turns=true"])
            }
            _ => (None, &[]),
        };
        if authorization != expected.as_deref() {
            return Err(refused(401, None));
        }
        assert!(parts.iter().all(|part| query.split('&').any(|pair| pair == *part)), "{query}");
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(stream, check).await.ok()
}

/// A conversation's state on the vendor's side.
#[derive(Default)]
struct Heard {
    /// Samples of the connection, and where the utterance began.
    samples: usize,
    base: usize,
    turns: u64,
    served: usize,
    configured: bool,
}

async fn session(vendor: &Inner, stream: TcpStream) {
    let Some(mut socket) = upgrade(vendor, stream).await else { return };
    let mut heard = Heard::default();
    if vendor.kind == Kind::AssemblyAi {
        say(&mut socket, json!({"type": "Begin", "id": "s", "expires_at": 1})).await;
    }
    loop {
        let message = match tokio::time::timeout(vendor.silence, socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(_) => return,
            Err(_) if vendor.kind == Kind::Deepgram => return close(&mut socket, 1011, "NET-0001").await,
            Err(_) => return,
        };
        let on = match message {
            Message::Binary(audio) => audio_came(vendor, &mut socket, &mut heard, audio.len()).await,
            Message::Text(text) => {
                vendor.see(Saw::Text(text.to_string()));
                text_came(vendor, &mut socket, &mut heard, &text).await
            }
            _ => true,
        };
        if !on {
            return;
        }
    }
}

async fn say(socket: &mut Socket, value: Value) {
    let _ = socket.send(Message::text(value.to_string())).await;
}

async fn close(socket: &mut Socket, code: u16, reason: &str) {
    let _ = socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await;
    while let Some(Ok(_)) = socket.next().await {}
}

fn result(start: usize, end: usize, last: bool, finalize: bool, text: &str) -> Value {
    let (start, end) = (start as f64 / 16_000.0, end as f64 / 16_000.0);
    json!({
        "type": "Results", "channel_index": [0, 1], "start": start, "duration": end - start,
        "is_final": last, "speech_final": false, "from_finalize": finalize,
        "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words":
            [{"word": "deepgram", "start": start, "end": end, "confidence": 0.9}]}]},
    })
}

fn turn(order: u64, over: bool, formatted: bool, text: &str) -> Value {
    json!({
        "type": "Turn", "turn_order": order, "turn_is_formatted": formatted, "end_of_turn": over, "transcript": text,
        "end_of_turn_confidence": 0.5, "words": [{"text": "assemblyai", "start": 0, "end": 5, "confidence": 0.9}],
    })
}

async fn audio_came(vendor: &Inner, socket: &mut Socket, heard: &mut Heard, bytes: usize) -> bool {
    assert_eq!(bytes % 2, 0, "half a sample");
    let fits = vendor.kind != Kind::AssemblyAi || (1_600..=32_000).contains(&bytes);
    if !fits {
        say(socket, json!({"type": "Error", "error_code": 3007, "error": "Input Duration Violation"})).await;
        close(socket, 3007, "Input Duration Violation").await;
        return false;
    }
    heard.samples += bytes / 2;
    vendor.see(Saw::Audio(bytes / 2));
    let so_far = format!("{} so far", heard.samples - heard.base);
    match vendor.kind {
        Kind::Deepgram => say(socket, result(heard.base, heard.samples, false, false, &so_far)).await,
        Kind::AssemblyAi => say(socket, turn(heard.turns, false, false, &so_far)).await,
        Kind::Vosk if !heard.configured => return false,
        _ => say(socket, json!({ "partial": so_far })).await,
    }
    true
}

async fn text_came(vendor: &Inner, socket: &mut Socket, heard: &mut Heard, text: &str) -> bool {
    let kind = serde_json::from_str::<Value>(text).unwrap()["type"].as_str().unwrap_or_default().to_owned();
    match (vendor.kind, kind.as_str()) {
        (Kind::Deepgram, "KeepAlive") => true,
        (Kind::Deepgram, "CloseStream") => {
            say(socket, json!({"type": "Metadata", "duration": 0.0, "channels": 0})).await;
            close(socket, 1000, "").await;
            false
        }
        (Kind::AssemblyAi, "Terminate") => {
            say(socket, json!({"type": "Termination", "audio_duration_seconds": 1})).await;
            close(socket, 1000, "").await;
            false
        }
        (Kind::Vosk, _) if text.contains("config") => {
            assert_eq!(text, r#"{"config":{"sample_rate":16000,"words":1}}"#);
            heard.configured = true;
            true
        }
        (Kind::Deepgram, "Finalize") | (Kind::AssemblyAi, "ForceEndpoint") => finish(vendor, socket, heard).await,
        (Kind::Vosk, _) if text == r#"{"eof" : 1}"# => finish(vendor, socket, heard).await,
        other => panic!("{other:?} was sent {text}"),
    }
}

async fn answer(vendor: &Inner, socket: &mut Socket, heard: &Heard, text: &str) {
    match vendor.kind {
        Kind::Deepgram => say(socket, result(heard.base, heard.samples, true, true, text)).await,
        Kind::AssemblyAi => {
            say(socket, turn(heard.turns, true, false, &text.to_lowercase())).await;
            say(socket, turn(heard.turns, true, true, text)).await;
        }
        _ => {
            let word = json!({"word": "vosk", "start": 0.0, "end": 0.05, "conf": 0.9});
            say(socket, json!({"text": text, "result": [word]})).await;
        }
    }
}

/// The utterance is to be answered; whether the connection goes on.
async fn finish(vendor: &Inner, socket: &mut Socket, heard: &mut Heard) -> bool {
    let text = text(vendor.kind, heard.samples - heard.base);
    let act = vendor.act();
    match act {
        Act::Answer => answer(vendor, socket, heard, &text).await,
        Act::NoWords => answer(vendor, socket, heard, "").await,
        Act::Twice => {
            answer(vendor, socket, heard, &text).await;
            answer(vendor, socket, heard, &text).await;
        }
        Act::OutOfOrder => {
            // An answer to something that was answered long ago, or never asked.
            match vendor.kind {
                Kind::Deepgram if heard.base > 0 => {
                    say(socket, result(0, heard.base, true, true, "something old")).await
                }
                Kind::AssemblyAi if heard.turns > 0 => say(socket, turn(0, true, true, "something old")).await,
                Kind::Vosk => {
                    answer(vendor, socket, heard, &text).await;
                    answer(vendor, socket, heard, "something more").await;
                }
                Kind::AssemblyAi => say(socket, json!({"type": "Turn", "turn_order": "never"})).await,
                _ => say(socket, json!({"type": "Results", "start": "never"})).await,
            }
        }
        Act::Garbage => drop(socket.send(Message::text("<html>busy</html>")).await),
        Act::Binary => drop(socket.send(Message::binary(vec![0xff_u8, 0xfe])).await),
        Act::Oversized => drop(socket.send(Message::text("x".repeat(3 << 20))).await),
        // The connection is dropped without a word, in the middle of one.
        Act::CloseMidWord => return false,
        Act::Hang => {
            while let Some(Ok(_)) = socket.next().await {}
            return false;
        }
        Act::Unauthorised => {
            close(socket, 1008, "Unauthorized Connection: the key was withdrawn").await;
            return false;
        }
        Act::Limited(_) => {
            close(socket, 1008, "Unauthorized connection: Too many concurrent sessions").await;
            return false;
        }
        Act::Redirect => return false,
    }
    heard.base = heard.samples;
    heard.turns += 1;
    heard.served += 1;
    if vendor.kind == Kind::Vosk {
        close(socket, 1000, "").await;
        return false;
    }
    if heard.served >= vendor.session_max {
        close(socket, 3008, "Session Expired: Maximum session duration exceeded").await;
        return false;
    }
    true
}
