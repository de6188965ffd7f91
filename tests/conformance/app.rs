//! A small application behind Vonage that behaves, or misbehaves in one way.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};
use sidetone::simulator::conformance::Target;
use sidetone::simulator::webhook::Signing;
use sidetone::types::{Moment, Private, Rate, WallTime};
use sidetone::vonage::replay::{ReplayCache, Sight};
use sidetone::vonage::signature::{BadSignature, Keyring, Payload, Policy};
use sidetone::vonage::webhook::{DedupeKey, Event, StatusEvent, parse_answer, parse_event};

pub const SECRET: &str = "signature secret";
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longer than a webhook's reply, or an upgrade, may take.
const TOO_LONG: Duration = Duration::from_millis(5200);
const RATHER_LONG: Duration = Duration::from_millis(1200);

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sin {
    None,
    /// The answer's status.
    AnswerStatus(u16),
    /// The answer's content type.
    AnswerKind(&'static str),
    /// The answer itself.
    Answer(&'static str),
    AnswerSlow,
    AnswerStrict,
    /// The status that garbage gets.
    Garbage(u16),
    AnswerGarbage(u16),
    TakesHuge,
    DiesOfHuge,
    Believes(BadSignature),
    BelievesNobody,
    /// 404 for what is not believed.
    Hides,
    AnswersAnew,
    RefusesRepeats,
    /// 400 for events of which this is true.
    Refuses(Disliked),
    RefusesLateEvents,
    RefusesRepeatedEvents,
    SlowUpgrade,
    Deflates,
    RefusesSockets,
    /// Reads nothing after the first text message.
    Deaf,
    ClosesOnEarlyAudio,
    ClosesWithoutHello,
    ClosesOnOddFrames,
    ClosesOnUnknownText,
    /// Breaks the connection at this rate.
    BreaksAt(u32),
    SendsShortFrames,
    SendsOddText,
    Sulks,
    TakesTokensTwice,
    NoAudio,
}

/// Which events.
#[derive(Clone, Copy)]
pub struct Disliked(pub fn(&Value) -> bool);

impl PartialEq for Disliked {
    /// Predicates are asked, not compared.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl fmt::Debug for Disliked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events")
    }
}

struct Shared {
    at: SocketAddr,
    sin: Sin,
    signed: bool,
    keyring: Keyring,
    replies: Mutex<ReplayCache>,
    tokens: Mutex<HashSet<String>>,
    over: Mutex<HashSet<String>>,
    seen: Mutex<HashSet<DedupeKey>>,
    sulking: Mutex<bool>,
    next: Mutex<u64>,
}

pub struct App {
    pub at: SocketAddr,
    signed: bool,
}

impl App {
    pub async fn start(sin: Sin, signed: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut keyring = Keyring::default();
        keyring.add("a1b2c3d4", Private(SECRET.into())).unwrap();
        let limit = if sin == Sin::TakesHuge { 4 * 1024 * 1024 } else { BODY_BYTES_MAX };
        let shared = Arc::new(Shared {
            at,
            sin,
            signed,
            keyring,
            replies: Mutex::new(ReplayCache::new(100, Policy::default().window())),
            tokens: Mutex::default(),
            over: Mutex::default(),
            seen: Mutex::default(),
            sulking: Mutex::default(),
            next: Mutex::default(),
        });
        let app = Router::new()
            .route("/v1/vonage/answer", any(answer))
            .route("/v1/vonage/event", any(event))
            .route("/media", get(media))
            .layer(DefaultBodyLimit::max(limit))
            .with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { at, signed }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.at)
    }

    pub fn target(&self) -> Target {
        let signing =
            Signing { api_key: "a1b2c3d4".into(), secret: Private(SECRET.into()), application_id: Some("aaaa".into()) };
        Target { signing: self.signed.then_some(signing), ..Target::at(&self.base()).unwrap() }
    }
}

impl Shared {
    /// Whether a webhook is believed, or what to answer instead; its `jti`, where it has one.
    fn believe(&self, headers: &HeaderMap, payload: Payload<'_>) -> Result<Option<String>, StatusCode> {
        if !self.signed {
            return Ok(None);
        }
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let policy = Policy { application_id: Some("aaaa".into()), ..Default::default() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        match self.keyring.verify(authorization, payload, &policy, WallTime(i64::try_from(now).unwrap())) {
            Ok(_) if self.sin == Sin::BelievesNobody => Err(StatusCode::UNAUTHORIZED),
            Ok(claims) => Ok(Some(claims.jti)),
            Err(why) if self.sin == Sin::Believes(why) => Ok(None),
            Err(_) if self.sin == Sin::Hides => Err(StatusCode::NOT_FOUND),
            Err(_) => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// A token that opens one socket.
    fn token(&self) -> String {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        self.tokens.lock().unwrap().insert(next.to_string());
        next.to_string()
    }

    fn ncco(&self) -> Bytes {
        if let Sin::Answer(ncco) = self.sin {
            return ncco.into();
        }
        let ncco = json!([
            {"action": "talk", "text": "One moment."},
            {"action": "connect", "endpoint": [{"type": "websocket",
                "uri": format!("ws://{}/media?token={}", self.at, self.token()),
                "content-type": "audio/l16;rate=16000", "headers": {"role": "caller"},
                "authorization": {"type": "custom", "value": "Bearer of news"}}]},
        ]);
        ncco.to_string().into()
    }
}

type Gateway = State<Arc<Shared>>;

async fn answer(
    State(app): Gateway,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let pairs: Vec<(String, String)> =
        Query::try_from_uri(&format!("/?{}", query.unwrap_or_default()).parse().unwrap()).unwrap().0;
    let payload = if method == Method::GET { Payload::Query(&pairs) } else { Payload::Body(&body) };
    let jti = match app.believe(&headers, payload) {
        Ok(jti) => jti,
        Err(status) => return status.into_response(),
    };
    if method == Method::POST {
        let strict = app.sin == Sin::AnswerStrict && body.windows(4).any(|word| word == b"null");
        if strict || parse_answer(&body).is_err() {
            let status = if let Sin::AnswerGarbage(status) = app.sin { status } else { 400 };
            return StatusCode::from_u16(status).unwrap().into_response();
        }
    }
    let reply = match &jti {
        Some(jti) if app.sin != Sin::AnswersAnew => {
            let mut replies = app.replies.lock().unwrap();
            match replies.see(jti, Moment::default()) {
                Sight::Repeat(_) if app.sin == Sin::RefusesRepeats => return StatusCode::CONFLICT.into_response(),
                Sight::Repeat(reply) => reply,
                _ => {
                    let reply = app.ncco();
                    replies.answer(jti, reply.clone());
                    reply
                }
            }
        }
        _ => app.ncco(),
    };
    if app.sin == Sin::AnswerSlow {
        tokio::time::sleep(TOO_LONG).await;
    }
    let kind = if let Sin::AnswerKind(kind) = app.sin { kind } else { "application/json" };
    let status = if let Sin::AnswerStatus(status) = app.sin { status } else { 200 };
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], reply).into_response()
}

async fn event(
    State(app): Gateway,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(too_long) => {
            *app.sulking.lock().unwrap() |= app.sin == Sin::DiesOfHuge;
            return too_long.into_response();
        }
    };
    if *app.sulking.lock().unwrap() && app.sin == Sin::DiesOfHuge {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if let Err(status) = app.believe(&headers, Payload::Body(&body)) {
        return status.into_response();
    }
    let Ok(event) = parse_event(&body) else {
        let status = if let Sin::Garbage(status) = app.sin { status } else { 400 };
        return StatusCode::from_u16(status).unwrap().into_response();
    };
    let refused = match (app.sin, &event) {
        (Sin::Refuses(disliked), _) => disliked.0(&event.to_value()),
        (Sin::RefusesLateEvents, Event::Status(status)) => app.is_late(status),
        (Sin::RefusesRepeatedEvents, Event::Status(status)) => {
            !app.seen.lock().unwrap().insert(status.dedupe_key().unwrap())
        }
        _ => false,
    };
    if refused { StatusCode::BAD_REQUEST } else { StatusCode::NO_CONTENT }.into_response()
}

impl Shared {
    fn is_late(&self, event: &StatusEvent) -> bool {
        let leg = event.leg().unwrap().as_str().to_owned();
        let mut over = self.over.lock().unwrap();
        if event.status.get().unwrap().as_str() == "completed" { !over.insert(leg) } else { over.contains(&leg) }
    }
}

async fn media(
    State(app): Gateway,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let token = query.as_deref().and_then(|query| query.strip_prefix("token=")).unwrap_or_default();
    let known = {
        let mut tokens = app.tokens.lock().unwrap();
        if app.sin == Sin::TakesTokensTwice { tokens.contains(token) } else { tokens.remove(token) }
    };
    let authorized = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer of news");
    if !known || !authorized || app.sin == Sin::RefusesSockets {
        return StatusCode::FORBIDDEN.into_response();
    }
    if *app.sulking.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if app.sin == Sin::SlowUpgrade {
        tokio::time::sleep(RATHER_LONG).await;
    }
    let deflates = app.sin == Sin::Deflates;
    let mut response = upgrade.on_upgrade(async move |socket| {
        let ended = serve(&app, socket).await;
        // Whoever hangs up as he should is no reason to sulk.
        *app.sulking.lock().unwrap() |= app.sin == Sin::Sulks && ended.is_none();
    });
    if deflates {
        let value = HeaderValue::from_static("permessage-deflate");
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
    }
    response
}

/// Serves a socket to its close frame; none where there was none.
async fn serve(app: &Shared, mut socket: WebSocket) -> Option<()> {
    let mut rate = Rate::Hz16000;
    let mut hello = false;
    let mut before = 0;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    loop {
        let message = tokio::select! {
            message = socket.recv() => message?.ok()?,
            _ = clock.tick() => {
                let message = match app.sin {
                    Sin::NoAudio => continue,
                    Sin::SendsShortFrames => Message::binary(vec![0; rate.frame_bytes() / 2]),
                    Sin::SendsOddText => Message::text(r#"{"event":"hello"}"#),
                    _ => Message::binary(vec![0; rate.frame_bytes()]),
                };
                socket.send(message).await.ok()?;
                continue;
            }
        };
        let close = match &message {
            Message::Text(text) => {
                let text: Value = serde_json::from_str(text).unwrap();
                if text["event"] == "websocket:connected" {
                    hello = true;
                    let hz = text["content-type"].as_str().unwrap().rsplit_once('=').unwrap().1.parse().unwrap();
                    rate = Rate::from_hz(hz).unwrap();
                    if app.sin == Sin::BreaksAt(hz) {
                        return Some(());
                    }
                    if app.sin == Sin::Deaf {
                        std::future::pending::<()>().await;
                    }
                }
                app.sin == Sin::ClosesOnUnknownText && text["event"] == "websocket:levitating"
            }
            Message::Binary(audio) => {
                before += u32::from(!hello);
                (app.sin == Sin::ClosesOnEarlyAudio && !hello)
                    || (app.sin == Sin::ClosesWithoutHello && before > 40)
                    || (app.sin == Sin::ClosesOnOddFrames && audio.len() != rate.frame_bytes())
            }
            Message::Close(_) => {
                // The answer goes out with the next read.
                socket.recv().await;
                return Some(());
            }
            _ => false,
        };
        if close {
            let _ = socket.send(Message::Close(None)).await;
            return Some(());
        }
    }
}
