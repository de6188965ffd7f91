//! The sender against small applications on real sockets.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use super::*;
use crate::simulator::fault;
use crate::types::WallTime;
use crate::vonage::signature::{Keyring, Payload, Policy, QueryHash};
use crate::vonage::webhook::{FallbackOf, parse_fallback, parse_fallback_query};

const NCCO: &str = r#"[{"action":"talk","text":"Hi"}]"#;
const JSON: &str = "application/json; charset=utf-8";

/// A request as the application saw it.
#[derive(Debug)]
struct Seen {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn payload(&self) -> Payload<'_> {
        if self.method == "GET" { Payload::Query(&self.query) } else { Payload::Body(&self.body) }
    }
}

/// What an application does with request number n, from 0.
#[derive(Clone, Copy)]
enum Act {
    Say(u16, &'static str, &'static str),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

struct App {
    at: SocketAddr,
    seen: mpsc::Receiver<Seen>,
}

impl App {
    async fn start(script: impl Fn(usize, &Seen) -> Act + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::channel(1000);
        let number = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let app = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let query = reqwest::Url::parse(&format!("http://app{}", parts.uri)).unwrap();
            let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let seen = Seen {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: query.query_pairs().into_owned().collect(),
                authorization,
                body: axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec(),
            };
            let act = script(number.fetch_add(1, std::sync::atomic::Ordering::SeqCst), &seen);
            tell.send(seen).await.unwrap();
            match act {
                Act::Say(status, kind, body) => {
                    Response::builder().status(status).header("content-type", kind).body(Body::from(body)).unwrap()
                }
                Act::Hang => std::future::pending().await,
                Act::Close => {
                    let broken = futures_util::stream::once(async { Err::<&str, _>(io_error()) });
                    Response::new(Body::from_stream(broken))
                }
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { at, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    async fn next(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(10), self.seen.recv()).await.expect("no request came").unwrap()
    }

    fn none_left(&mut self) {
        assert!(self.seen.try_recv().is_err(), "one request too many");
    }
}

fn io_error() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

fn settings() -> Settings {
    Settings { retry_pause: Duration::from_millis(1), ..Default::default() }
}

fn sender(settings: Settings) -> Sender {
    Sender::new(settings).unwrap()
}

fn map(value: Value) -> Map {
    serde_json::from_value(value).unwrap()
}

fn event(status: &str) -> Map {
    map(json!({"uuid": "leg-1", "status": status, "timestamp": "2020-01-01T12:00:00.000Z"}))
}

fn signing() -> Signing {
    Signing {
        api_key: "a1b2c3d4".into(),
        secret: Private("signature secret".into()),
        application_id: Some("aaaa".into()),
    }
}

fn believed(seen: &Seen) -> String {
    let mut keyring = Keyring::default();
    keyring.add("a1b2c3d4", Private("signature secret".into())).unwrap();
    let policy = Policy { application_id: Some("aaaa".into()), query_hash: QueryHash::Required, ..Default::default() };
    let now = WallTime(chrono::Utc::now().timestamp_micros());
    keyring.verify(seen.authorization.as_deref(), seen.payload(), &policy, now).unwrap().jti
}

#[tokio::test]
async fn the_answer_url_is_asked_by_get_and_by_post_signed() {
    let mut app = App::start(|_, _| Act::Say(200, JSON, NCCO)).await;
    let sender = sender(Settings { signing: Some(signing()), ..settings() });
    let params = map(json!({"to": "442079460000", "uuid": "leg-1", "custom_data": {"k": "v&="}, "from": null}));
    let url = app.url("/answer?tenant=1");
    let ncco = sender.answer(&url, Method::Get, params.clone()).await.unwrap();
    assert_eq!(ncco.to_bytes(), NCCO.as_bytes());
    let get = app.next().await;
    let pairs: Vec<_> = get.query.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        pairs,
        [("tenant", "1"), ("to", "442079460000"), ("uuid", "leg-1"), ("custom_data", r#"{"k":"v&="}"#), ("from", "")]
    );
    assert_eq!((&*get.method, get.body.len()), ("GET", 0));
    assert!(sender.answer(&url, Method::Post, params.clone()).await.is_some());
    let post = app.next().await;
    assert_eq!(post.json(), Value::Object(params));
    assert_eq!(post.path, "/answer");
    assert_ne!(believed(&get), believed(&post));
    let tally = sender.tally();
    assert_eq!((tally.answers, tally.attempts, tally.taken, tally.failed), (2, 2, 2, 0));
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let mut app = App::start(|_, _| Act::Say(204, JSON, "")).await;
    assert_eq!(sender(settings()).event(&app.url("/event"), Method::Post, event("ringing")).await, None);
    assert_eq!(app.next().await.authorization, None);
}

#[tokio::test]
async fn what_is_tried_again_and_what_is_not() {
    for (first, again) in [
        (Act::Say(429, JSON, ""), true),
        (Act::Say(503, JSON, ""), true),
        (Act::Say(504, JSON, ""), true),
        (Act::Close, true),
        (Act::Say(401, JSON, ""), false),
        (Act::Say(404, JSON, ""), false),
        (Act::Say(500, JSON, ""), false),
        (Act::Say(206, JSON, NCCO), false),
        (Act::Say(302, JSON, NCCO), false),
        (Act::Say(200, "text/html", NCCO), false),
        (Act::Say(200, JSON, "{}"), false),
        (Act::Say(200, JSON, ""), false),
    ] {
        let mut app = App::start(move |n, _| if n == 0 { first } else { Act::Say(201, JSON, NCCO) }).await;
        let sender = sender(Settings { signing: Some(signing()), ..settings() });
        let ncco = sender.answer(&app.url("/answer"), Method::Post, event("x")).await;
        assert_eq!(ncco.is_some(), again);
        let one = app.next().await;
        if again {
            let two = app.next().await;
            assert_eq!(one.body, two.body);
            assert_ne!(believed(&one), believed(&two), "each delivery has its own jti");
        }
        app.none_left();
        let tally = sender.tally();
        assert_eq!((tally.retried, tally.failed), (u64::from(again), u64::from(!again)));
    }
}

#[tokio::test]
async fn a_retry_may_keep_its_jti() {
    let mut app = App::start(|_, _| Act::Say(503, JSON, "")).await;
    let sender = sender(Settings { signing: Some(signing()), same_jti_on_retry: true, ..settings() });
    assert_eq!(sender.answer(&app.url("/"), Method::Get, Map::new()).await, None);
    assert_eq!(believed(&app.next().await), believed(&app.next().await));
    app.none_left();
    assert_eq!(sender.tally().refused_5xx, 2);
}

#[tokio::test]
async fn slow_and_dead_applications_are_given_up() {
    let mut app = App::start(|_, _| Act::Hang).await;
    let slow = sender(Settings { pace: 50.0, ..settings() });
    assert_eq!(slow.answer(&app.url("/"), Method::Get, Map::new()).await, None);
    app.next().await;
    app.next().await;
    app.none_left();
    assert_eq!((slow.tally().timed_out, slow.tally().failed, slow.tally().slowest_reply_ms), (2, 1, 0));

    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    let dead = sender(settings());
    assert_eq!(dead.event(&url, Method::Post, event("completed")).await, None);
    assert_eq!((dead.tally().broken, dead.tally().retried), (2, 1));
    assert_eq!(dead.event("no url", Method::Post, event("completed")).await, None);
    assert_eq!((dead.tally().broken, dead.tally().retried, dead.tally().failed), (3, 1, 2));
    let once = sender(Settings { retry_plain_events: false, ..settings() });
    assert_eq!(once.event(&url, Method::Post, event("completed")).await, None);
    assert_eq!(once.tally().attempts, 1);
}

#[tokio::test]
async fn the_fallback_url_is_told_what_failed() {
    let mut app = App::start(|_, seen| match &*seen.path {
        "/fallback" => Act::Say(200, JSON, NCCO),
        _ => Act::Close,
    })
    .await;
    let sender = sender(Settings { fallback_answer_url: Some(app.url("/fallback")), ..settings() });
    for method in [Method::Get, Method::Post] {
        let params = map(json!({"to": "442079460000", "uuid": "leg-1"}));
        assert!(sender.answer(&app.url("/answer"), method, params).await.is_some());
        assert_eq!([app.next().await.path, app.next().await.path], ["/answer", "/answer"]);
        let asked = app.next().await;
        let fallback = match method {
            Method::Get => parse_fallback_query(&asked.query).unwrap(),
            Method::Post => parse_fallback(&asked.body).unwrap(),
        };
        assert_eq!(fallback.reason.get().map(String::as_str), Some("Connection closed."));
        assert!(matches!(&fallback.of, FallbackOf::Answer(answer) if answer.leg().is_some()));
        if method == Method::Post {
            let url = app.url("/answer");
            assert_eq!(asked.json()["original_request"], json!({"url": url, "type": "answer"}));
        }
    }
    // An event whose reply counts falls back, a plain one does not.
    assert!(sender.event(&app.url("/event"), Method::Post, event("disconnected")).await.is_some());
    for path in ["/event", "/event", "/fallback"] {
        assert_eq!(app.next().await.path, path);
    }
    assert_eq!(sender.event(&app.url("/event"), Method::Post, event("ringing")).await, None);
    for path in ["/event", "/event"] {
        assert_eq!(app.next().await.path, path);
    }
    app.none_left();
    assert_eq!((sender.tally().fallbacks, sender.tally().failed), (3, 1));
}

#[tokio::test]
async fn a_fallback_that_fails_too_ends_the_call() {
    let mut app = App::start(|_, _| Act::Say(503, JSON, "")).await;
    let sender = sender(Settings { fallback_answer_url: Some(app.url("/fallback")), ..settings() });
    assert_eq!(sender.answer(&app.url("/answer"), Method::Get, Map::new()).await, None);
    for path in ["/answer", "/answer", "/fallback", "/fallback"] {
        assert_eq!(app.next().await.path, path);
    }
    app.none_left();
}

#[tokio::test]
async fn replies_to_events() {
    for (status, reply, ncco, bad) in [
        ("disconnected", NCCO, true, 0),
        ("disconnected", "", false, 0),
        ("disconnected", "{}", false, 1),
        ("ringing", NCCO, true, 0),
        ("ringing", "ok", false, 0),
    ] {
        let app = App::start(move |_, _| Act::Say(200, JSON, reply)).await;
        let sender = sender(settings());
        let given = sender.event(&app.url("/"), Method::Post, event(status)).await;
        assert_eq!(given.is_some(), ncco, "{status} {reply}");
        assert_eq!(sender.tally().bad_ncco, bad, "{status} {reply}");
    }
}

#[tokio::test]
async fn a_legs_events_go_in_order_and_no_other_leg_waits() {
    let mut app = App::start(|_, seen| match seen.json()["uuid"].as_str() {
        Some("slow") => Act::Hang,
        _ => Act::Say(204, JSON, ""),
    })
    .await;
    let sender = sender(settings());
    let of = |leg: &str, n: usize| map(json!({"uuid": leg, "status": n.to_string()}));
    let url = app.url("/");
    let stuck = tokio::spawn(sender.event(&url, Method::Post, of("slow", 0)));
    assert_eq!(app.next().await.json()["uuid"], "slow");
    let sent: Vec<_> = (0..20).map(|n| sender.event(&url, Method::Post, of("fast", n))).collect();
    // Polled the other way round: the order of the calls must hold.
    let sent: Vec<_> = sent.into_iter().rev().map(tokio::spawn).collect();
    for n in 0..20 {
        assert_eq!(app.next().await.json()["status"], n.to_string());
    }
    for done in sent {
        assert_eq!(done.await.unwrap(), None);
    }
    stuck.abort();
}

#[tokio::test]
async fn no_more_are_on_their_way_than_allowed() {
    let now = Arc::new(Semaphore::new(0));
    let most = Arc::new(std::sync::Mutex::new((0_usize, 0_usize)));
    let (gate, count) = (Arc::clone(&now), Arc::clone(&most));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(async move || {
        {
            let mut count = count.lock().unwrap();
            count.0 += 1;
            count.1 = count.1.max(count.0);
        }
        gate.acquire().await.unwrap().forget();
        count.lock().unwrap().0 -= 1;
        "ok"
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let sender = sender(Settings { in_flight_max: 3, ..settings() });
    let sent: Vec<_> = (0..12)
        .map(|n| sender.event(&url, Method::Post, map(json!({"uuid": format!("leg-{n}"), "status": "x"}))))
        .map(tokio::spawn)
        .collect();
    now.add_permits(12);
    for done in sent {
        done.await.unwrap();
    }
    let most = most.lock().unwrap().1;
    assert!((1..=3).contains(&most), "{most} were on their way");
    assert_eq!(sender.tally().taken, 12);
}

#[tokio::test]
async fn faults_repeat_reorder_delay_and_lose() {
    let mut app = App::start(|_, _| Act::Say(204, JSON, "")).await;
    let url = app.url("/");
    // Which of four is struck follows from the leg's id and the seed alone.
    let mut run = async |wanted: &str| {
        let settings = Settings {
            faults: Faults::new(4, wanted.parse().unwrap(), fault::Settings::default()),
            pace: 10.0,
            ..settings()
        };
        let sender = sender(settings);
        let sent: Vec<_> = ["0", "1", "2", "3"]
            .map(|n| tokio::spawn(sender.event(&url, Method::Post, map(json!({"uuid": "leg", "status": n})))))
            .into();
        for done in sent {
            done.await.unwrap();
        }
        let mut order = String::new();
        while let Ok(seen) = app.seen.try_recv() {
            order += seen.json()["status"].as_str().unwrap();
        }
        (order, sender.tally())
    };
    assert_eq!(run("").await.0, "0123");
    let (order, tally) = run("webhook_duplicate").await;
    assert!(["00123", "01123", "01223", "01233"].contains(&&*order), "{order}");
    assert_eq!(tally.duplicated, 1);
    let (order, tally) = run("webhook_reorder").await;
    // The last has nobody to be overtaken by.
    assert!(["1023", "0213", "0132", "0123"].contains(&&*order), "{order}");
    assert_eq!(tally.reordered, 1);
    let (order, tally) = run("webhook_lost").await;
    assert_eq!((order.len(), tally.lost, tally.attempts), (3, 1, 3));
    let (order, tally) = run("webhook_delay").await;
    assert_eq!((&*order, tally.delayed), ("0123", 1));
}

#[test]
fn a_pace_that_is_none_is_refused() {
    for pace in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Sender::new(Settings { pace, ..Default::default() }).is_err());
    }
}
