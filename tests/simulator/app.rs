//! A small application: answers webhooks as a test says, writes everything down, and
//! takes media sockets.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use sidetone::audio::wav::Wav;
use sidetone::simulator::platform::{Platform, Report, Settings};
use sidetone::simulator::script::Script;
use sidetone::simulator::stage::Voices;
use sidetone::types::Rate;
use tokio::sync::watch;

/// Longest wait for anything. Only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Times faster than real time.
pub const SPEED: f64 = 20.0;
/// Longest body of a webhook.
const BODY_MAX: usize = 1 << 20;

/// Waits for `future`; `what` is named if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", PATIENCE.as_secs()),
    }
}

/// A webhook that came.
#[derive(Debug, Clone)]
pub struct Came {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// A media socket that was dialled.
#[derive(Debug, Clone, Default)]
pub struct Socket {
    pub query: String,
    pub authorization: Option<String>,
    pub texts: Vec<Value>,
    /// Message lengths, and for each its first sample.
    pub frames: Vec<(usize, i16)>,
    /// How many of them came before the first text.
    pub before_hello: usize,
    /// The close code, or none where the connection just ended.
    pub closed: Option<Option<u16>>,
}

impl Socket {
    pub fn events(&self) -> Vec<&str> {
        self.texts.iter().map(|text| text["event"].as_str().unwrap()).collect()
    }

    /// The values that frames had, each once, in order of size.
    pub fn values(&self) -> Vec<i16> {
        let mut values: Vec<_> = self.frames.iter().map(|(_, first)| *first).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    pub came: Vec<Came>,
    pub sockets: Vec<Socket>,
}

impl Log {
    /// The statuses of a leg, in order.
    pub fn statuses(&self, leg: &str) -> Vec<String> {
        let of_leg = |came: &&Came| came.body["uuid"] == leg || came.body["call_uuid"] == leg;
        let status = |came: &Came| came.body["status"].as_str().map(str::to_owned);
        self.came.iter().filter(of_leg).filter_map(status).collect()
    }

    /// The bodies of all webhooks to a path.
    pub fn at(&self, path: &str) -> Vec<&Value> {
        self.came.iter().filter(|came| came.path == path).map(|came| &came.body).collect()
    }

    pub fn event(&self, status: &str) -> &Value {
        let event = self.came.iter().find(|came| came.body["status"] == status);
        &event.unwrap_or_else(|| panic!("no {status} in {:#?}", self.came)).body
    }
}

type Answer = dyn Fn(&App, &str, &Value) -> Option<Value> + Send + Sync;

/// What a socket's application does besides listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    #[default]
    Listens,
    /// Closes after so many frames.
    Closes(usize),
    /// Sends a message of this many bytes first.
    Sends(usize),
    /// Plays, marks, floods, clears: see `media.rs`.
    Floods,
}

#[derive(Clone)]
pub struct App {
    pub address: std::net::SocketAddr,
    log: watch::Sender<Log>,
    answer: Arc<Answer>,
    manner: Arc<Mutex<Manner>>,
}

impl App {
    /// `answer` gets the application, the path and the parameters of a webhook, and gives
    /// the reply: an NCCO, or nothing (204).
    pub async fn start(answer: impl Fn(&Self, &str, &Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            log: watch::Sender::new(Log::default()),
            answer: Arc::new(answer),
            manner: Arc::default(),
        };
        let router = Router::new().fallback(serve).with_state(app.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        app
    }

    pub fn with(self, manner: Manner) -> Self {
        *self.manner.lock().unwrap() = manner;
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn socket(&self, query: &str) -> String {
        format!("ws://{}/media?{query}", self.address)
    }

    pub fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits until the log satisfies `enough`.
    pub async fn until(&self, what: &str, enough: impl Fn(&Log) -> bool) -> Log {
        let mut log = self.log.subscribe();
        within(what, async { log.wait_for(|log| enough(log)).await.unwrap().clone() }).await
    }

    /// The log, once every socket's end is written down.
    pub async fn settled(&self) -> Log {
        self.until("all sockets to close", |log| log.sockets.iter().all(|socket| socket.closed.is_some())).await
    }

    pub fn settings(&self) -> Settings {
        Settings { speed: SPEED, ..Settings::new(&self.url("/answer"), &self.url("/event")) }
    }

    pub async fn platform(&self) -> Platform {
        Platform::start(self.settings()).await.unwrap()
    }
}

async fn serve(State(app): State<App>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if path == "/media" {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.unwrap();
        return upgrade.on_upgrade(|socket| media(app, socket, Socket { query, authorization, ..Socket::default() }));
    }
    let body: Bytes = axum::body::to_bytes(body, BODY_MAX).await.unwrap();
    let body = if body.is_empty() {
        let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
        Value::Object(url.query_pairs().map(|(k, v)| (k.into_owned(), Value::from(v))).collect::<Map<_, _>>())
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    let reply = (app.answer)(&app, &path, &body);
    app.log.send_modify(|log| log.came.push(Came { path, authorization, body }));
    match reply {
        Some(ncco) => axum::Json(ncco).into_response(),
        None => axum::http::StatusCode::NO_CONTENT.into_response(),
    }
}

async fn media(app: App, mut socket: WebSocket, record: Socket) {
    let manner = *app.manner.lock().unwrap();
    let mut number = 0;
    app.log.send_modify(|log| {
        number = log.sockets.len();
        log.sockets.push(record);
    });
    let note = |change: &dyn Fn(&mut Socket)| app.log.send_modify(|log| change(&mut log.sockets[number]));
    match manner {
        Manner::Sends(bytes) => socket.send(Message::Binary(vec![0; bytes].into())).await.unwrap(),
        Manner::Floods => play(&mut socket, 10, 700, "first").await,
        Manner::Listens | Manner::Closes(_) => {}
    }
    let mut frames = 0;
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Binary(bytes) => {
                let first = bytes.get(..2).map_or(0, |pair| i16::from_le_bytes([pair[0], pair[1]]));
                note(&|socket| socket.frames.push((bytes.len(), first)));
                frames += 1;
                if manner == Manner::Closes(frames) {
                    let _ = socket.send(Message::Close(None)).await;
                }
            }
            Message::Text(text) => {
                let text: Value = serde_json::from_str(&text).unwrap();
                note(&|socket| {
                    if socket.texts.is_empty() {
                        socket.before_hello = socket.frames.len();
                    }
                    socket.texts.push(text.clone());
                });
                if manner == Manner::Floods {
                    match (text["event"].as_str().unwrap(), text["payload"]["mark"].as_str()) {
                        // More than the platform queues, and a mark that finds no room.
                        ("websocket:notify", Some("first")) => {
                            play(&mut socket, 3_200, 900, "lost").await;
                            socket.send(Message::text(json!({"action": "clear"}).to_string())).await.unwrap();
                        }
                        ("websocket:cleared", _) => play(&mut socket, 0, 0, "last").await,
                        ("websocket:notify", Some("last")) => socket.send(Message::Close(None)).await.unwrap(),
                        _ => {}
                    }
                }
            }
            Message::Close(frame) => {
                note(&|socket| socket.closed = Some(frame.as_ref().map(|frame| frame.code)));
            }
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    note(&|socket| socket.closed = socket.closed.or(Some(None)));
}

/// Sends frames of one value, and a mark behind them.
async fn play(socket: &mut WebSocket, frames: usize, value: i16, mark: &str) {
    let frame: Vec<u8> = [value; 320].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for _ in 0..frames {
        socket.send(Message::Binary(frame.clone().into())).await.unwrap();
    }
    let notify = json!({"action": "notify", "payload": {"mark": mark}});
    socket.send(Message::text(notify.to_string())).await.unwrap();
}

/// A script, and voices `caller.wav` (1000 all through) and `agent.wav` (2000), `seconds` long.
pub fn stage(script: &str, seconds: usize) -> (Script, Voices) {
    let script = Script::parse(script, "test").unwrap();
    let mut voices = Voices::default();
    for (name, value) in [("caller.wav", 1000), ("agent.wav", 2000)] {
        let wav = Wav { rate: Rate::Hz16000, channels: vec![vec![value; seconds * 16_000]] };
        voices.add(Path::new(name), wav, 0).unwrap();
    }
    (script, voices)
}

/// One caller; `caller` are the keys of the inline table.
pub fn caller(caller: &str) -> String {
    format!("[[call]]\nfrom = \"447700900000\"\nto = \"442079460000\"\ncaller = {{ {caller} }}\n")
}

/// Runs a script against an application; the report, and what the application saw.
pub async fn run(app: &App, settings: Settings, script: &str, seconds: usize) -> (Report, Log) {
    let platform = Platform::start(settings).await.unwrap();
    let (script, voices) = stage(script, seconds);
    let report = within("the script to end", platform.run(&script, &voices)).await;
    assert!(report.finished, "{report}");
    (report, app.settled().await)
}

/// A socket endpoint in a `connect`.
pub fn connect_socket(app: &App, query: &str, rate: u32) -> Value {
    json!({"action": "connect", "eventType": "synchronous", "eventUrl": [app.url("/socket-events")], "endpoint": [
        {"type": "websocket", "uri": app.socket(query), "content-type": format!("audio/l16;rate={rate}"),
         "headers": {"session_id": "42", "nested": {"a": 1}}}]})
}
