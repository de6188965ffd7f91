//! The client against small servers on the loopback interface.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use super::token::wall;
use super::*;
use crate::types::Private;
use crate::vonage::app_jwt::{AppClaims, AppKey};
use crate::vonage::ncco::{Ncco, Talk};
use crate::vonage::rest_types::{CreateCall, ListCalls, ModifyCall, StartRecording, StreamIntoCall, TalkIntoCall};
use crate::vonage::webhook::Status;
use crate::vonage::wire::Num;

const APPLICATION: &str = "aaaa-bbbb";
const LEG: &str = "63f61863-4a51-4f6b-86e1-46edebcf9356";

/// Made for this run of the tests: a key takes long.
static PEM: LazyLock<String> = LazyLock::new(|| {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
});

pub(crate) fn key() -> AppKey {
    AppKey::from_pem(&PEM).unwrap()
}

/// What a server does with one request.
pub(crate) enum Act {
    /// Answers: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Says nothing.
    Hang,
    /// Sends these pieces; an error breaks the connection.
    Pieces(Vec<std::io::Result<Bytes>>),
    /// Sends so many bytes in pieces, then breaks the connection.
    Break(usize),
    /// Sends a byte now and then, for ever.
    Drip,
}

impl Act {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, vec![("content-type", "application/json".into())], body.to_string().into_bytes())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, vec![], vec![])
    }

    pub(crate) fn redirect(status: u16, to: String) -> Self {
        Self::Answer(status, vec![("location", to)], vec![])
    }
}

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The claims of the token, where it is ours and valid.
    pub(crate) fn claims(&self) -> AppClaims {
        let token = self.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        key().verify(token, wall()).unwrap()
    }
}

/// A server that does as its script says, and 599 when that is over.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) host: String,
    shared: Arc<Mutex<(VecDeque<Act>, Vec<Asked>)>>,
}

impl Fake {
    pub(crate) async fn new(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let fake = Self { host, shared: Arc::new(Mutex::new((script.into_iter().collect(), Vec::new()))) };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.host)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { base: self.base(), trusted_hosts: vec![self.host.clone()], ..quick() }
    }

    pub(crate) fn client(&self) -> Client {
        client(self.settings())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().1.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked().len()
    }
}

async fn answer(State(fake): State<Fake>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let act = {
        let mut shared = fake.shared.lock().unwrap();
        shared.1.push(Asked { method, path: uri.to_string(), headers, body });
        shared.0.pop_front().unwrap_or(Act::status(599))
    };
    match act {
        Act::Answer(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Act::Hang => std::future::pending().await,
        Act::Pieces(pieces) => Response::new(Body::from_stream(futures_util::stream::iter(pieces))),
        Act::Break(bytes) => {
            let pieces = (0..bytes.div_ceil(100)).map(|_| Ok(vec![b'x'; 100]));
            let broken = std::iter::once(Err(std::io::Error::other("broken on purpose")));
            Response::new(Body::from_stream(futures_util::stream::iter(pieces.chain(broken))))
        }
        Act::Drip => {
            let drip = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, std::io::Error>(" "), ()))
            });
            Response::new(Body::from_stream(drip))
        }
    }
}

/// Settings whose pauses are as good as none.
pub(crate) fn quick() -> Settings {
    let ms = Duration::from_millis(1);
    Settings { system_proxy: false, backoff_first: ms, backoff_max: ms, early_hangup_pause: ms, ..Settings::default() }
}

pub(crate) fn client(settings: Settings) -> Client {
    Client::new(settings, APPLICATION, key()).unwrap()
}

fn done() -> Act {
    Act::json(200, &json!({"message": "Done", "uuid": LEG}))
}

#[tokio::test]
async fn every_endpoint_is_asked_as_the_reference_says() {
    let created = json!({"uuid": LEG, "status": "started", "direction": "outbound", "conversation_uuid": "CON-1"});
    let page = json!({"count": 1, "_embedded": {"calls": [{"uuid": LEG}]}});
    let mut script = vec![Act::json(201, &created), Act::json(200, &page), Act::json(200, &json!({"uuid": LEG}))];
    script.extend((0..7).map(|_| Act::status(204)));
    script.extend((0..7).map(|_| done()));
    script.push(Act::json(201, &json!({"id": "REC-1"})));
    let fake = Fake::new(script).await;
    let client = fake.client();

    let new =
        CreateCall { answer_url: "https://a.example/n".into(), random_from_number: true.into(), ..Default::default() };
    let call = client.create_call(&new, None).await.unwrap();
    assert_eq!((call.uuid.get().unwrap().as_str(), call.status.get()), (LEG, Some(&Status::Started)));
    let list = ListCalls {
        status: Some(Status::Answered),
        date_start: Some("2026-01-01T00:00:00+01:00".into()),
        page_size: Some(20),
        ..Default::default()
    };
    let page = client.list_calls(&list, None).await.unwrap();
    assert_eq!(page.count.get().and_then(Num::as_u64), Some(1));
    assert_eq!(client.call(LEG, None).await.unwrap().uuid.get().unwrap(), LEG);

    client.hang_up(LEG, None).await.unwrap();
    client.mute(LEG, None).await.unwrap();
    client.unmute(LEG, None).await.unwrap();
    client.earmuff(LEG, None).await.unwrap();
    client.unearmuff(LEG, None).await.unwrap();
    client.transfer(LEG, Ncco(vec![Talk::say("Hi").into()]), None).await.unwrap();
    client.transfer_to(LEG, "https://a.example/n", None).await.unwrap();

    let file = StreamIntoCall {
        stream_url: "https://a.example/m.mp3".into(),
        level: Num::Text("0".into()).into(),
        ..Default::default()
    };
    let text = TalkIntoCall { text: "Hello".into(), language: "en-GB".into(), ..Default::default() };
    assert_eq!(client.stream(LEG, &file, None).await.unwrap().message.get().unwrap(), "Done");
    client.stop_stream(LEG, None).await.unwrap();
    client.talk(LEG, &text, None).await.unwrap();
    client.stop_talk(LEG, None).await.unwrap();
    client.send_dtmf(LEG, Private("1p2#".into()), None).await.unwrap();
    client.subscribe_dtmf(LEG, "https://a.example/keys", None).await.unwrap();
    client.unsubscribe_dtmf(LEG, None).await.unwrap();
    let how = StartRecording { split: true.into(), format: "wav".into(), ..Default::default() };
    assert_eq!(client.start_recording(LEG, &how, None).await.unwrap().0["id"], "REC-1");

    let leg = format!("/v1/calls/{LEG}");
    let under = |rest: &str| format!("{leg}/{rest}");
    let transfer = |what: Value| json!({"action": "transfer", "destination": what});
    let expected = [
        ("POST", "/v1/calls".into(), json!({"random_from_number": true, "answer_url": ["https://a.example/n"]})),
        (
            "GET",
            "/v1/calls?status=answered&date_start=2026-01-01T00%3A00%3A00%2B01%3A00&page_size=20".into(),
            Value::Null,
        ),
        ("GET", leg.clone(), Value::Null),
        ("PUT", leg.clone(), json!({"action": "hangup"})),
        ("PUT", leg.clone(), json!({"action": "mute"})),
        ("PUT", leg.clone(), json!({"action": "unmute"})),
        ("PUT", leg.clone(), json!({"action": "earmuff"})),
        ("PUT", leg.clone(), json!({"action": "unearmuff"})),
        ("PUT", leg.clone(), transfer(json!({"type": "ncco", "ncco": [{"action": "talk", "text": "Hi"}]}))),
        ("PUT", leg.clone(), transfer(json!({"type": "ncco", "url": ["https://a.example/n"]}))),
        ("PUT", under("stream"), json!({"stream_url": ["https://a.example/m.mp3"], "level": "0"})),
        ("DELETE", under("stream"), Value::Null),
        ("PUT", under("talk"), json!({"text": "Hello", "language": "en-GB"})),
        ("DELETE", under("talk"), Value::Null),
        ("PUT", under("dtmf"), json!({"digits": "1p2#"})),
        ("PUT", under("input/dtmf"), json!({"event_url": ["https://a.example/keys"]})),
        ("DELETE", under("input/dtmf"), Value::Null),
        ("POST", format!("/v1/legs/{LEG}/recording"), json!({"split": true, "format": "wav"})),
    ];
    let asked = fake.asked();
    assert_eq!(asked.len(), expected.len());
    for (asked, (method, path, body)) in asked.iter().zip(expected) {
        assert_eq!((asked.method.as_str(), &asked.path, asked.json()), (method, &path, body.clone()));
        assert_eq!(asked.header("accept"), Some("application/json"));
        assert_eq!(asked.header("content-type"), (!body.is_null()).then_some("application/json"), "{path}");
        assert!(asked.header("user-agent").unwrap().starts_with("sidetone/"));
    }
    let claims = asked[0].claims();
    assert_eq!(claims.application_id, APPLICATION);
    assert_eq!(claims.acl.unwrap()["paths"]["/*/legs/**"], json!({}));
    assert!(asked.iter().all(|asked| asked.claims().jti == claims.jti), "the token was signed anew for each request");
}

#[tokio::test]
async fn every_error_has_its_type_and_its_reason() {
    let bad = json!({"type": "BAD_REQUEST", "error_title": "Bad Request"});
    let problem = json!({"type": "https://a.example/e", "title": "Invalid", "detail": "no such\nvoice", "instance": "1",
        "invalid_parameters": [{"name": "number", "reason": "447700900000"}]});
    let reason = |text: &str| text.to_owned();
    for (act, expected, class) in [
        (Act::json(400, &bad), RestError::Rejected { status: 400, reason: reason("Bad Request") }, "rejected"),
        (
            Act::json(422, &problem),
            RestError::Rejected { status: 422, reason: reason("Invalid: no suchvoice") },
            "rejected",
        ),
        (Act::status(401), RestError::Unauthorised { status: 401, reason: reason("no reason given") }, "unauthorised"),
        (
            Act::json(403, &json!({"title": "Forbidden"})),
            RestError::Unauthorised { status: 403, reason: reason("Forbidden") },
            "unauthorised",
        ),
        (Act::json(404, &problem), RestError::NotFound { reason: reason("Invalid: no suchvoice") }, "not_found"),
        (
            Act::redirect(302, "https://a.example/".into()),
            RestError::Rejected { status: 302, reason: reason("no reason given") },
            "rejected",
        ),
        (
            Act::Answer(429, vec![("retry-after", "3600".into())], vec![]),
            RestError::RateLimited { retry_after: Some(Duration::from_secs(3600)) },
            "rate_limited",
        ),
        (
            Act::Answer(200, vec![], b"<html>447700900000".to_vec()),
            RestError::Malformed { expected: "an object with the call" },
            "malformed",
        ),
        (Act::json(200, &json!([1])), RestError::Malformed { expected: "an object with the call" }, "malformed"),
        (Act::Answer(200, vec![], vec![b' '; 2_000]), RestError::TooLarge { max: 1_024 }, "too_large"),
        (Act::Break(5_000), RestError::TooLarge { max: 1_024 }, "too_large"),
        (
            Act::Answer(400, vec![], vec![b'9'; 20_000]),
            RestError::Rejected { status: 400, reason: reason("no reason given") },
            "rejected",
        ),
    ] {
        let fake = Fake::new([act]).await;
        let error =
            client(Settings { response_bytes_max: 1_024, ..fake.settings() }).call(LEG, None).await.unwrap_err();
        assert_eq!((error.class(), &error), (class, &expected));
        assert_eq!(fake.count(), 1, "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("4477009") && !shown.contains("999") && !shown.contains("Bearer"), "{shown}");
    }
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again_and_no_more_often_than_allowed() {
    let failing = || {
        vec![
            Act::status(500),
            Act::status(503),
            Act::Break(300),
            Act::Answer(429, vec![("retry-after", "0".into())], vec![]),
        ]
    };
    let settings = |fake: &Fake, attempts_max| Settings { attempts_max, ..fake.settings() };
    let fake = Fake::new(failing().into_iter().chain([Act::json(200, &json!({"uuid": LEG}))])).await;
    client(settings(&fake, 5)).call(LEG, None).await.unwrap();
    assert_eq!(fake.count(), 5);
    let fake = Fake::new(failing()).await;
    let error = client(settings(&fake, 4)).mute(LEG, None).await.unwrap_err();
    assert_eq!((error.class(), fake.count()), ("rate_limited", 4));
}

#[tokio::test]
async fn a_call_is_not_made_twice() {
    for (act, class) in [(Act::status(503), "failed"), (Act::Break(0), "broken"), (Act::Break(300), "broken")] {
        let fake = Fake::new([act, Act::json(201, &json!({}))]).await;
        let error = fake.client().create_call(&CreateCall::default(), None).await.unwrap_err();
        assert_eq!((error.class(), fake.count(), error.may_be_done()), (class, 1, true));
        let fake = Fake::new([Act::status(500), done()]).await;
        assert_eq!(fake.client().send_dtmf(LEG, Private("5".into()), None).await.unwrap_err().class(), "failed");
        assert_eq!(fake.count(), 1, "a key was pressed twice");
    }
    let limited = || Act::Answer(429, vec![("retry-after", "0".into())], vec![]);
    let fake = Fake::new([limited(), limited(), Act::json(201, &json!({"uuid": LEG}))]).await;
    fake.client().create_call(&CreateCall::default(), None).await.unwrap();
    assert_eq!(fake.count(), 3);
    assert_eq!(fake.asked()[0].body, fake.asked()[2].body);

    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let host = nobody.local_addr().unwrap().to_string();
    let client = client(Settings { base: format!("http://{host}"), trusted_hosts: vec![host], ..quick() });
    let error = client.create_call(&CreateCall::default(), None).await.unwrap_err();
    assert_eq!((error.class(), error.may_be_done()), ("unreachable", false), "{error}");
    assert!(!error.to_string().contains("http"), "{error}");
}

#[tokio::test]
async fn a_hang_up_that_comes_too_early_is_tried_again() {
    let early = || Act::json(400, &json!({"type": "BAD_REQUEST", "error_title": "Bad Request"}));
    let fake = Fake::new([early(), early(), Act::status(204)]).await;
    fake.client().hang_up(LEG, None).await.unwrap();
    assert_eq!(fake.count(), 3);
    let fake = Fake::new((0..9).map(|_| early())).await;
    assert_eq!(fake.client().hang_up(LEG, None).await.unwrap_err().class(), "rejected");
    assert_eq!(fake.count() as u32, quick().attempts_max);
    let fake = Fake::new([early(), Act::status(204)]).await;
    assert_eq!(fake.client().mute(LEG, None).await.unwrap_err().class(), "rejected");
    assert_eq!(fake.count(), 1);
}

#[tokio::test]
async fn a_leg_that_is_over_is_as_good_as_hung_up() {
    let fake = Fake::new([Act::status(404), Act::status(404)]).await;
    fake.client().hang_up(LEG, None).await.unwrap();
    assert_eq!(fake.client().mute(LEG, None).await.unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn who_is_silent_or_slow_is_given_up() {
    for act in [|| Act::Hang, || Act::Drip] {
        let fake = Fake::new((0..9).map(|_| act())).await;
        let settings = Settings { request_timeout: Duration::from_millis(700), attempts_max: 2, ..fake.settings() };
        let client = client(settings);
        assert_eq!(client.call(LEG, None).await.unwrap_err(), RestError::TimedOut);
        assert_eq!(fake.count(), 2);
        assert_eq!(client.create_call(&CreateCall::default(), None).await.unwrap_err(), RestError::TimedOut);
        assert_eq!(fake.count(), 3);
    }
    let fake = Fake::new((0..9).map(|_| Act::Hang)).await;
    let client = client(Settings { total_timeout: Duration::from_millis(700), ..fake.settings() });
    assert_eq!(client.call(LEG, None).await.unwrap_err(), RestError::TimedOut);
    assert_eq!(fake.count(), 1, "the time for all attempts was over");
}

#[tokio::test]
async fn a_call_is_asked_for_in_its_region() {
    let found = || Act::json(200, &json!({"uuid": LEG}));
    let (home, region, evil) = (Fake::new([found(), found()]).await, Fake::new([found()]).await, Fake::new([]).await);
    let mut settings = home.settings();
    settings.trusted_hosts.push(region.host.clone());
    let client = client(settings);
    client.call(LEG, Some(&region.base())).await.unwrap();
    assert_eq!((home.count(), region.count()), (0, 1));
    assert_eq!(region.asked()[0].claims().application_id, APPLICATION);
    // A region that may not have our token is as good as none.
    assert!(!client.trusts(&evil.base()));
    client.call(LEG, Some(&evil.base())).await.unwrap();
    client.call(LEG, Some(&format!("{}/v1", region.base()))).await.unwrap();
    assert_eq!((home.count(), region.count(), evil.count()), (2, 1, 0));
}

#[tokio::test]
async fn a_call_that_is_not_found_is_looked_for_where_the_sweep_says() {
    let missing = || Act::json(404, &json!({"title": "Not found"}));
    let home = Fake::new([missing(), missing(), missing()]).await;
    let empty = Fake::new([missing(), missing()]).await;
    let region = Fake::new([Act::status(204), missing()]).await;
    let alone = client(home.settings());
    assert_eq!(alone.mute(LEG, None).await.unwrap_err().class(), "not_found");
    assert_eq!(home.count(), 1);
    let bases = [&home, &empty, &region];
    let sweep = Settings {
        trusted_hosts: bases.map(|fake| fake.host.clone()).to_vec(),
        sweep: bases.map(Fake::base).to_vec(),
        ..home.settings()
    };
    let sweeping = client(sweep);
    sweeping.mute(LEG, None).await.unwrap();
    assert_eq!(bases.map(Fake::count), [2, 1, 1]);
    assert_eq!(sweeping.mute(LEG, None).await.unwrap_err(), RestError::NotFound { reason: "Not found".into() });
    assert_eq!(bases.map(Fake::count), [3, 2, 2]);
    // A new call is not to be made anywhere else.
    let fake = Fake::new([missing()]).await;
    let client = client(Settings {
        base: fake.base(),
        trusted_hosts: vec![fake.host.clone(), region.host.clone()],
        sweep: vec![region.base()],
        ..quick()
    });
    assert_eq!(client.create_call(&CreateCall::default(), None).await.unwrap_err().class(), "not_found");
    assert_eq!(region.count(), 2);
}

#[tokio::test]
async fn ids_stay_in_their_place() {
    let fake = Fake::new([Act::status(204)]).await;
    let client = fake.client();
    for bad in ["", ".", "..", "a b", "a\nb", "naïve", &"x".repeat(129)] {
        assert_eq!(client.mute(bad, None).await.unwrap_err(), RestError::BadId, "{bad:?}");
    }
    assert_eq!(fake.count(), 0);
    client.modify("../x?y#z%2e", &ModifyCall::default(), None).await.unwrap();
    assert_eq!(fake.asked()[0].path, "/v1/calls/..%2Fx%3Fy%23z%252e");
}

#[tokio::test]
async fn lists_end() {
    let page = |from: u32, to: u32, rest: Value| {
        let calls: Vec<_> = (from..to).map(|n| json!({"uuid": n.to_string()})).collect();
        let mut page = json!({"page_size": 2, "record_index": from, "_embedded": {"calls": calls}});
        page.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        Act::json(200, &page)
    };
    // Each script, the pages that come, and what the last request skipped.
    for (script, pages, skipped) in [
        (vec![page(0, 2, json!({"count": 3})), page(2, 3, json!({"count": 3}))], 2, 2),
        // The count is wrong, but there is a link.
        (vec![page(0, 2, json!({"count": 2, "_links": {"next": {"href": "/x"}}})), page(2, 2, json!({}))], 2, 2),
        // Neither: until a page is empty.
        (vec![page(0, 2, json!({})), page(2, 4, json!({})), page(4, 4, json!({}))], 3, 4),
    ] {
        let fake = Fake::new(script).await;
        let mut all = fake.client().pages(ListCalls::default(), None);
        let mut count = 0;
        while all.next().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!((count, fake.count(), all.has_more()), (pages, pages, false));
        assert!(fake.asked()[pages - 1].path.ends_with(&format!("record_index={skipped}")), "{:?}", fake.asked());
    }
    let endless = (0..9).map(|n| page(n, n + 1, json!({"count": "1000"})));
    let fake = Fake::new(endless).await;
    let mut all = client(Settings { pages_max: 3, ..fake.settings() }).pages(ListCalls::default(), None);
    for _ in 0..3 {
        assert!(all.next().await.unwrap().is_some());
    }
    assert!(all.next().await.unwrap().is_none());
    assert_eq!((fake.count(), all.has_more()), (3, true));
}

#[tokio::test]
async fn a_client_can_be_shared_and_shows_no_secret() {
    let fake = Fake::new([Act::status(204), Act::status(204)]).await;
    let client = fake.client();
    let other = client.clone();
    tokio::spawn(async move { other.mute(LEG, None).await }).await.unwrap().unwrap();
    client.mute(LEG, None).await.unwrap();
    assert_eq!(fake.asked()[0].claims().jti, fake.asked()[1].claims().jti);
    let shown = format!("{client:?}");
    assert!(shown.contains("attempts_max") && !shown.contains(APPLICATION) && !shown.contains("Bearer"), "{shown}");
    let bad = Client::new(Settings { attempts_max: 0, ..quick() }, APPLICATION, key()).unwrap_err();
    assert_eq!(bad.to_string(), "attempts_max is 0; expected 1 to 10");
}
