//! The API over real sockets, before a platform that only writes down what it is asked.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use base64::Engine as _;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::*;
use crate::simulator::voice::Refusal;
use crate::vonage::app_jwt::{AppClaims, AppKey};
use crate::vonage::rest_types::{
    Call, CallCreated, CallPage, CreateCall, Done, ListCalls, ModifyCall, SendDtmf, StartRecording, StreamIntoCall,
    SubscribeDtmf, TalkIntoCall,
};

/// There are the legs `63f6` and `busy`; of the second everything is refused.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(&'static str, Value)>>,
}

impl Fake {
    fn ask(&self, what: &'static str, uuid: &str, body: Value) -> Result<(), Refusal> {
        match uuid {
            "63f6" => {
                self.asked.lock().unwrap().push((what, body));
                Ok(())
            }
            "busy" => Err(Refusal::Conflict("it is busy".into())),
            "over" => Err(Refusal::BadRequest("it is over".into())),
            _ => Err(Refusal::NotFound),
        }
    }

    fn done(&self, what: &'static str, uuid: &str, body: Value) -> Result<Done, Refusal> {
        self.ask(what, uuid, body)?;
        Ok(Done { message: what.into(), uuid: uuid.into(), ..Default::default() })
    }
}

fn of<T: serde::Serialize>(value: T) -> Value {
    serde_json::to_value(value).unwrap()
}

impl Voice for Fake {
    fn create(self: &Arc<Self>, call: CreateCall) -> Result<CallCreated, Refusal> {
        self.ask("create", "63f6", of(call))?;
        Ok(CallCreated { uuid: "63f6".into(), conversation_uuid: "CON-1".into(), ..Default::default() })
    }

    fn list(&self, query: &ListCalls) -> CallPage {
        self.ask("list", "63f6", of(query.query())).unwrap();
        CallPage { count: crate::vonage::wire::Num::from(0_u32).into(), ..Default::default() }
    }

    fn call(&self, uuid: &str) -> Option<Call> {
        self.ask("call", uuid, Value::Null).ok().map(|()| Call { uuid: uuid.into(), ..Default::default() })
    }

    fn modify(self: &Arc<Self>, uuid: &str, command: ModifyCall) -> Result<(), Refusal> {
        self.ask("modify", uuid, of(command))
    }

    fn stream(self: &Arc<Self>, uuid: &str, stream: Option<StreamIntoCall>) -> Result<Done, Refusal> {
        self.done("stream", uuid, of(stream))
    }

    fn talk(self: &Arc<Self>, uuid: &str, talk: Option<TalkIntoCall>) -> Result<Done, Refusal> {
        self.done("talk", uuid, of(talk))
    }

    fn dtmf(self: &Arc<Self>, uuid: &str, keys: SendDtmf) -> Result<Done, Refusal> {
        self.done("dtmf", uuid, of(keys))
    }

    fn subscribe_dtmf(&self, uuid: &str, subscribe: Option<SubscribeDtmf>) -> Result<(), Refusal> {
        self.ask("subscribe", uuid, of(subscribe))
    }

    fn record(self: &Arc<Self>, uuid: &str, start: StartRecording) -> Result<(), Refusal> {
        self.ask("record", uuid, of(start))
    }

    fn recording(&self, uuid: &str) -> Option<Bytes> {
        (uuid == "bbbb").then(|| Bytes::from_static(b"RIFF...."))
    }
}

struct Server {
    fake: Arc<Fake>,
    base: String,
    http: reqwest::Client,
}

impl Server {
    /// Limits far away, and hang-ups never too early.
    fn easy() -> Settings {
        Settings {
            key: None,
            application_id: None,
            host: None,
            rates: Arc::new(Rates::of(1_000_000, 1_000_000, 1.0)),
            pace: 1e6,
        }
    }

    async fn start(settings: Settings) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let fake = Arc::<Fake>::default();
        let app = router(Arc::clone(&fake), settings);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { fake, base, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.request(method, path);
        answer(if body.is_null() { request } else { request.body(body.to_string()) }).await
    }

    fn asked(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.fake.asked.lock().unwrap())
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}

fn call() -> Value {
    json!({"to": [{"type": "phone", "number": "447700900000"}], "from": {"type": "phone", "number": "442079460000"},
        "answer_url": ["https://app.example/answer"]})
}

/// The call with changes; null takes a key away.
fn call_with(changes: Value) -> Value {
    let mut call = call();
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            call.as_object_mut().unwrap().remove(key);
        } else {
            call[key] = value.clone();
        }
    }
    call
}

#[tokio::test]
async fn every_endpoint_reaches_the_platform() {
    let server = Server::start(Server::easy()).await;
    let stream = json!({"stream_url": ["https://a.example/x.mp3"], "loop": "0", "level": "-0.5"});
    let talk = json!({"text": "Hi", "language": "en-GB", "style": 1, "level": "0"});
    let event = json!({"event_url": ["https://a.example/k"]});
    let transfer = json!({"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "wait"}]}});
    let none = Value::Null;
    for (method, path, body, status, what) in [
        ("POST", "/v1/calls", &call(), 201, "create"),
        ("GET", "/v1/calls/63f6", &none, 200, "call"),
        ("PUT", "/v1/calls/63f6", &json!({"action": "hangup"}), 204, "modify"),
        ("PUT", "/v1/calls/63f6", &transfer, 204, "modify"),
        ("PUT", "/v1/calls/63f6/stream", &stream, 200, "stream"),
        ("DELETE", "/v1/calls/63f6/stream", &none, 200, "stream"),
        ("PUT", "/v1/calls/63f6/talk", &talk, 200, "talk"),
        ("DELETE", "/v1/calls/63f6/talk", &none, 200, "talk"),
        ("PUT", "/v1/calls/63f6/dtmf", &json!({"digits": "1p2#"}), 200, "dtmf"),
        ("PUT", "/v1/calls/63f6/input/dtmf", &event, 204, "subscribe"),
        ("DELETE", "/v1/calls/63f6/input/dtmf", &none, 204, "subscribe"),
        ("POST", "/v1/legs/63f6/recording", &json!({"split": true, "format": "wav"}), 204, "record"),
    ] {
        let (given, _) = server.send(method, path, body).await;
        assert_eq!((given, server.asked()), (status, vec![(what, body.clone())]), "{method} {path}");
        if path != "/v1/calls" {
            for (uuid, refusal) in [("none", 404), ("busy", 409), ("over", 400)] {
                let (given, error) = server.send(method, &path.replace("63f6", uuid), body).await;
                let refusal = if what == "call" { 404 } else { refusal };
                assert_eq!(given, refusal, "{method} {path} of {uuid}");
                assert!(error["title"].is_string() || error["error_title"].is_string(), "{error}");
            }
        }
    }
    let (_, created) = server.send("POST", "/v1/calls", &call()).await;
    assert_eq!((&created["uuid"], &created["conversation_uuid"]), (&json!("63f6"), &json!("CON-1")));
    let file = server.request("GET", "/v1/files/bbbb").send().await.unwrap();
    assert_eq!((file.status().as_u16(), file.headers()["content-type"].to_str().unwrap()), (200, "audio/wav"));
    assert_eq!(server.send("GET", "/v1/files/none", &none).await.0, 404);
    assert_eq!(server.send("GET", "/v2/calls", &none).await.0, 404);
    assert_eq!(server.send("PATCH", "/v1/calls", &none).await.0, 405);
}

#[tokio::test]
async fn lists_are_asked_for_as_the_query_says() {
    let server = Server::start(Server::easy()).await;
    let query = "status=answered&date_start=2020-01-01T00%3A00%3A00Z&page_size=100&record_index=7&order=desc\
                 &conversation_uuid=CON-1&new=1";
    assert_eq!(server.send("GET", &format!("/v1/calls?{query}"), &Value::Null).await, (200, json!({"count": 0})));
    let expected = json!([
        ["status", "answered"],
        ["date_start", "2020-01-01T00:00:00Z"],
        ["page_size", "100"],
        ["record_index", "7"],
        ["order", "desc"],
        ["conversation_uuid", "CON-1"]
    ]);
    assert_eq!(server.asked(), [("list", expected)]);
    for (query, name) in [
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("record_index=-1", "record_index"),
        ("order=up", "order"),
        ("date_end=today", "date_end"),
    ] {
        let (status, error) = server.send("GET", &format!("/v1/calls?{query}"), &Value::Null).await;
        assert_eq!((status, &error["invalid_parameters"][0]["name"]), (400, &json!(name)), "{query}");
    }
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let server = Server::start(Server::easy()).await;
    let phone = json!({"type": "phone", "number": "447700900000"});
    let url = json!(["https://a.example/x"]);
    for (body, names) in [
        (call_with(json!({"to": null})), &["to"][..]),
        (call_with(json!({"to": []})), &["to"]),
        (call_with(json!({"to": [phone, phone]})), &["to"]),
        (call_with(json!({"to": "447700900000"})), &["to"]),
        (call_with(json!({"to": [{"type": "phone", "number": "+44"}]})), &["to[0].number"]),
        (call_with(json!({"to": [{"type": "pigeon"}]})), &["to[0].type"]),
        (call_with(json!({"from": null})), &["from"]),
        (call_with(json!({"random_from_number": true})), &["random_from_number"]),
        (call_with(json!({"from": {"type": "phone", "number": "+44"}})), &["from.number"]),
        (call_with(json!({"from": {"type": "phone"}})), &["from.number"]),
        (call_with(json!({"answer_url": null})), &["ncco"]),
        (call_with(json!({"ncco": [{"action": "wait"}]})), &["answer_url"]),
        (call_with(json!({"answer_url": null, "ncco": []})), &["ncco"]),
        (call_with(json!({"answer_url": null, "ncco": [{"action": "talk"}]})), &["ncco[0].text"]),
        (call_with(json!({"answer_url": null, "ncco": {"action": "talk"}})), &["ncco"]),
        (call_with(json!({"answer_url": ["ftp://a.example"], "event_url": []})), &["answer_url", "event_url"]),
        (call_with(json!({"answer_method": "PUT", "event_method": 1})), &["answer_method", "event_method"]),
        (call_with(json!({"ringing_timer": 121, "length_timer": 0})), &["length_timer", "ringing_timer"]),
        (
            call_with(json!({"machine_detection": "hangup", "advanced_machine_detection": {}})),
            &["advanced_machine_detection"],
        ),
        (json!([]), &["body"]),
    ] {
        check(&server, "POST", "/v1/calls", &body, names).await;
    }
    for (path, body, names) in [
        ("", json!({"action": "dance"}), &["action"][..]),
        ("", json!({}), &["action"]),
        ("", json!({"action": "transfer"}), &["destination"]),
        ("", json!({"action": "transfer", "destination": {"type": "x", "url": url}}), &["destination.type"]),
        ("", json!({"action": "transfer", "destination": {"type": "ncco"}}), &["destination.url"]),
        (
            "",
            json!({"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "x"}]}}),
            &["destination.ncco[0].action"],
        ),
        ("/stream", json!({}), &["stream_url"]),
        ("/stream", json!({"stream_url": url, "level": "2", "loop": -1}), &["loop", "level"]),
        ("/talk", json!({"text": ""}), &["text"]),
        ("/talk", json!({"text": "x".repeat(1501)}), &["text"]),
        ("/dtmf", json!({"digits": "12a"}), &["digits"]),
        ("/dtmf", json!({"digits": ""}), &["digits"]),
        ("/input/dtmf", json!({"event_url": ["x"]}), &["event_url"]),
    ] {
        check(&server, "PUT", &format!("/v1/calls/63f6{path}"), &body, names).await;
    }
    check(&server, "POST", "/v1/legs/63f6/recording", &json!({"format": "flac"}), &["format"]).await;
    assert_eq!(server.asked(), [], "something wrong reached the platform");
    let (status, _) = answer(server.request("POST", "/v1/calls").body("{")).await;
    assert_eq!(status, 400);
    let long = server.request("POST", "/v1/calls").body(vec![b' '; BODY_BYTES_MAX + 1]).send().await.unwrap();
    assert_eq!(long.status().as_u16(), 413);
}

async fn check(server: &Server, method: &str, path: &str, body: &Value, names: &[&str]) {
    let (status, error) = server.send(method, path, body).await;
    assert_eq!(status, 400, "{path} {body}");
    let named: Vec<_> = error["invalid_parameters"].as_array().unwrap().iter().collect();
    let named: Vec<_> = named.iter().map(|wrong| wrong["name"].as_str().unwrap()).collect();
    assert_eq!(named, names, "{path} {body}");
}

#[tokio::test]
async fn over_the_limits_is_429_and_nothing_waits() {
    // A clock that stands still: no time passes that could fill a bucket.
    let rates = Arc::new(Rates::new(0.0));
    let server = Server::start(Settings { rates: Arc::clone(&rates), ..Server::easy() }).await;
    assert!(rates.call(), "a connect counts, too");
    for expected in [201, 201, 429, 429] {
        assert_eq!(server.send("POST", "/v1/calls", &call()).await.0, expected);
    }
    for n in 0..17 {
        let expected = if n < 15 { 200 } else { 429 };
        assert_eq!(server.send("GET", "/v1/calls/63f6", &Value::Null).await.0, expected, "{n}");
    }
}

#[tokio::test]
async fn a_hang_up_right_after_creation_is_refused() {
    // So slow that the two seconds do not pass, and so fast that they have.
    for (pace, expected) in [(1e-3, 400), (1e6, 204)] {
        let server = Server::start(Settings { pace, ..Server::easy() }).await;
        let hangup = json!({"action": "hangup"});
        assert_eq!(server.send("PUT", "/v1/calls/63f6", &hangup).await.0, 204, "it was not created here");
        server.send("POST", "/v1/calls", &call()).await;
        assert_eq!(server.send("PUT", "/v1/calls/63f6", &hangup).await.0, expected);
        assert_eq!(server.send("PUT", "/v1/calls/63f6", &json!({"action": "mute"})).await.0, 204);
    }
}

#[tokio::test]
async fn a_call_is_found_in_its_region_only() {
    let settings = Settings { host: Some("eu.example:8080".into()), ..Server::easy() };
    let server = Server::start(settings).await;
    let with = |host: &'static str, path: &str| answer(server.request("GET", path).header("host", host));
    assert_eq!(with("eu.example:8080", "/v1/calls/63f6").await.0, 200);
    assert_eq!(with("us.example:8080", "/v1/calls/63f6").await.0, 404);
    assert_eq!(with("us.example:8080", "/v1/calls").await.0, 200);
    assert_eq!(server.send("POST", "/v1/calls", &call()).await.0, 201);
}

static KEY: LazyLock<AppKey> = LazyLock::new(new_key);

fn new_key() -> AppKey {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der =
        base64::engine::general_purpose::STANDARD.encode(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref());
    AppKey::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")).unwrap()
}

#[tokio::test]
async fn only_the_applications_own_tokens_are_taken() {
    let settings = Settings { key: Some(KEY.public()), application_id: Some("aaaa".into()), ..Server::easy() };
    let server = Server::start(settings).await;
    let at = |ahead: i64| WallTime(chrono::Utc::now().timestamp_micros() + ahead * 1_000_000);
    let claims = |id: &str, ahead| AppClaims::new(id, "jti", at(ahead), Duration::from_secs(900));
    for (authorization, expected) in [
        (format!("Bearer {}", KEY.sign(&claims("aaaa", 0))), 200),
        (format!("bearer {}", KEY.sign(&claims("aaaa", 10))), 200),
        (format!("Basic {}", KEY.sign(&claims("aaaa", 0))), 401),
        (format!("Bearer {}", KEY.sign(&claims("bbbb", 0))), 401),
        (format!("Bearer {}", KEY.sign(&claims("aaaa", -901))), 401),
        (format!("Bearer {}", KEY.sign(&claims("aaaa", 120))), 401),
        (format!("Bearer {}", new_key().sign(&claims("aaaa", 0))), 401),
        ("Bearer x".to_owned(), 401),
    ] {
        let (status, error) =
            answer(server.request("GET", "/v1/calls/63f6").header("authorization", &authorization)).await;
        assert_eq!(status, expected, "{authorization}");
        assert!(status == 200 || error["type"] == "UNAUTHORIZED");
    }
    assert_eq!(server.send("POST", "/v1/calls", &call()).await.0, 401);
}
