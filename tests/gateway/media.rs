//! Who may open a media socket, and what the gateway says to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidetone::app::App;
use sidetone::call::BadPlayback;
use sidetone::config::{self, Config, Source};
use sidetone::event::body::LegEnded;
use sidetone::server::{Command, CommandRefused, LegHandle, LegInfo, LegObserver};
use sidetone::types::{ConversationId, KeyRule, LegId, Private, Rate, RedactionTerms, Speaker, WallTime};
use sidetone::vonage::media_token::{MediaClaims, MediaKeys};
use sidetone::vonage::signature::{Claims, Payload, sign};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::events::{Follower, Sent, kind, number, text};
use super::support::peer::{BINARY, Back, Peer, TEXT, head, request};
use super::support::process::{self, Gateway};
use super::support::{DTMF, bytes, hello, speech, until, within};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OLD_KEY: &str = "fedcba9876543210fedcba9876543210";
const CUSTOM: &str = "Bearer a value agreed upon";
const CALL: &str = "CON-call";

fn wall() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)
}

fn seconds() -> u64 {
    wall().0 as u64 / 1_000_000
}

/// Claims of a token good for a minute, on a call that began a minute ago.
fn claims(id: &str) -> MediaClaims {
    MediaClaims {
        conversation: ConversationId::parse(CALL).unwrap(),
        speaker: Speaker::Agent,
        participant: Some(LegId::parse("participant-1").unwrap()),
        listen_only: true,
        redaction: RedactionTerms::default(),
        clock_epoch_ms: wall().0 as u64 / 1000 - 60_000,
        expires_s: seconds() + 60,
        id: id.to_owned(),
    }
}

fn token_by(key: &str, claims: &MediaClaims) -> String {
    MediaKeys::new(vec![Private(key.as_bytes().to_vec())]).unwrap().sign(claims)
}

fn token(claims: &MediaClaims) -> String {
    token_by(KEY, claims)
}

/// Shakes hands with a query and perhaps an `Authorization`; gives the whole head of the
/// answer, and the socket.
async fn knock(address: SocketAddr, query: &str, authorization: Option<&str>) -> (String, Peer) {
    let mut stream = within("a connection", TcpStream::connect(address)).await.unwrap();
    let mut handshake = request(query);
    if let Some(value) = authorization {
        handshake = handshake.replacen("\r\n", &format!("\r\nAuthorization: {value}\r\n"), 1);
    }
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let answer = within("the answer to the handshake", head(&mut stream)).await;
    (answer, Peer { stream })
}

/// The status of the answer to a handshake.
async fn status(address: SocketAddr, query: &str, authorization: Option<&str>) -> u16 {
    let (answer, _) = knock(address, query, authorization).await;
    answer["HTTP/1.1 ".len()..][..3].parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_token_opens_one_socket_and_is_the_last_word_about_it() {
    let media = format!("[media]\ntoken_keys = [\"{KEY}\", \"{OLD_KEY}\"]");
    let gateway = Gateway::start(&media).await;
    let mut watch = Follower::connect(gateway.address, "").await;
    let good = token(&claims("one"));
    // Neither the query nor the first message changes what the token says.
    let (answer, mut peer) =
        knock(gateway.address, &format!("?token={good}&conversation=CON-other&role=caller&listen_only=false"), None)
            .await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    peer.text(r#"{"event":"websocket:connected","content-type":"audio/l16;rate=8000","role":"caller","conversation":"CON-x"}"#)
        .await;
    let started = watch.wait("leg.started.v1", CALL).await;
    assert_eq!((text(&started, "/data/speaker"), text(&started, "/data/participant")), ("agent", "participant-1"));
    assert_eq!(started["data"]["listen_only"], true);
    let at_ms = started["data"]["at_ms"].as_u64().unwrap();
    assert!((60_000..120_000).contains(&at_ms), "the call began a minute ago, and the leg joined at {at_ms} ms");
    peer.hang_up().await;

    let altered = format!("{}x{}", &good[..10], &good[11..]);
    let expired = token(&MediaClaims { expires_s: seconds() - 1, ..claims("two") });
    let old_clock = token(&MediaClaims { clock_epoch_ms: 1_000, ..claims("three") });
    let strange = token_by("another key, and a long enough one", &claims("four"));
    let rows = [
        (format!("?token={good}"), "token_used"),
        (format!("?token={expired}"), "token_expired"),
        (format!("?token={altered}"), "token_signature"),
        (format!("?token={strange}"), "token_signature"),
        (format!("?token={}", &good[..good.len() / 2]), "token_malformed"),
        ("?token=".to_owned(), "token_malformed"),
        (format!("?token={old_clock}"), "token_clock"),
        (format!("?conversation={CALL}&role=caller"), "missing"),
        (String::new(), "missing"),
    ];
    let reasons: std::collections::BTreeMap<&str, f64> = rows.iter().fold(Default::default(), |mut counts, row| {
        *counts.entry(row.1).or_default() += 1.0;
        counts
    });
    for (query, reason) in &rows {
        let (answer, mut peer) = knock(gateway.address, query, None).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{reason}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{answer}");
        peer.stream.shutdown().await.unwrap();
    }
    for (reason, count) in reasons {
        let name = format!("sidetone_media_denied_total{{reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&name).await, count, "{reason}");
    }
    // As a header, and by the key before the last.
    let bearer = format!("Bearer {}", token(&claims("five")));
    assert_eq!(status(gateway.address, "", Some(&bearer)).await, 101);
    let old = token_by(OLD_KEY, &claims("six"));
    assert_eq!(status(gateway.address, &format!("?token={old}"), None).await, 101);
    let (log, _) = gateway.stop().await;
    for secret in [KEY, OLD_KEY, &good, &expired, &old] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
    assert!(!log.contains("SOCKETS ARE OPEN"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_which_keys_are_published() {
    let (app, _folder) = app(&format!("[media]\ntoken_keys = \"{KEY}\""), Vec::new()).await;
    let mut watch = Follower::connect(app.address(), "").await;
    let rules = [None, Some(KeyRule::Choices), Some(KeyRule::Publish), Some(KeyRule::Mask)];
    let expected = [["5", "[DIGIT]"], ["5", "[DIGIT]"], ["5", "5"], ["[DIGIT]", "[DIGIT]"]];
    for (n, (keys, expected)) in rules.into_iter().zip(expected).enumerate() {
        let redaction = RedactionTerms { keys, ..RedactionTerms::default() };
        let token = token(&MediaClaims { redaction, ..claims(&n.to_string()) });
        let mut peer = Peer::connect(app.address(), &format!("?token={token}")).await;
        peer.text(&hello(8_000)).await;
        let mut shown = Vec::new();
        for _ in expected {
            peer.text(DTMF).await;
            shown.push(text(&coming(&mut watch, "dtmf.v1").await, "/data/digit").to_owned());
        }
        assert_eq!(shown, expected, "{keys:?}");
        assert_eq!(peer.hang_up().await, Back::Close(1000));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_refused_for_want_of_room_is_not_used_up() {
    let gateway = Gateway::start(&format!("[server]\nlegs_max = 1\n[media]\ntoken_keys = \"{KEY}\"")).await;
    let (first, second) = (token(&claims("one")), token(&claims("two")));
    let (answer, peer) = knock(gateway.address, &format!("?token={first}"), None).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(status(gateway.address, &format!("?token={second}"), None).await, 503);
    assert_eq!(peer.hang_up().await, Back::Close(1000));
    gateway.ready().await;
    assert_eq!(status(gateway.address, &format!("?token={second}"), None).await, 101);
    gateway.ready().await;
    // One that is used up gives its place back.
    assert_eq!(status(gateway.address, &format!("?token={second}"), None).await, 401);
    gateway.ready().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreed_value_opens_as_it_stands() {
    let gateway = Gateway::start(&format!("[media]\ncustom = [\"{CUSTOM}\", \"another value entirely\"]")).await;
    assert_eq!(status(gateway.address, "", Some(CUSTOM)).await, 101);
    assert_eq!(status(gateway.address, "", Some(CUSTOM)).await, 101);
    assert_eq!(status(gateway.address, "", Some("another value entirely")).await, 101);
    for wrong in ["Bearer a value agreed upoN", "Bearer a value agreed upo", "a value agreed upon", "\u{e9}"] {
        assert_eq!(status(gateway.address, "", Some(wrong)).await, 401, "{wrong}");
    }
    assert_eq!(status(gateway.address, "?token=x", None).await, 401);
    assert_eq!(gateway.metric("sidetone_media_denied_total{reason=\"custom_unknown\"}").await, 4.0);
    assert_eq!(gateway.metric("sidetone_media_denied_total{reason=\"missing\"}").await, 1.0);
    let (log, _) = gateway.stop().await;
    assert!(!log.contains("agreed upo"), "{log}");
}

/// A gateway in this process.
async fn app(more: &str, observers: Vec<Arc<dyn LegObserver>>) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start_observed(&in_process(&folder, more), Vec::new(), None, observers).await.unwrap();
    app.warm().await.unwrap();
    (app, folder)
}

fn in_process(folder: &tempfile::TempDir, more: &str) -> Config {
    let file = folder.path().join("sidetone.toml");
    std::fs::write(&file, process::config(more).to_string()).unwrap();
    config::load(&Source { file: Some(&file), ..Source::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_token_opens_one_socket() {
    let account = "[[vonage.account]]\napi_key = \"a1b2c3d4\"\nsignature_secrets = [\"signature secret\"]\n[media]\nvonage = true";
    let (app, _folder) = app(account, Vec::new()).await;
    let jwt = |secret: &str, jti: &str, age_s: i64| {
        let made = WallTime(wall().0 - age_s * 1_000_000);
        sign(secret, &Claims::of(Payload::Handshake, "a1b2c3d4", jti, made))
    };
    let good = jwt("signature secret", "one", 0);
    assert_eq!(status(app.address(), "", Some(&good)).await, 101);
    assert_eq!(status(app.address(), "", Some(&good)).await, 401, "shown twice");
    assert_eq!(status(app.address(), "", Some(&jwt("signature secret", "two", 0))).await, 101);
    assert_eq!(status(app.address(), "", Some(&jwt("another secret", "three", 0))).await, 401);
    assert_eq!(status(app.address(), "", Some(&jwt("signature secret", "four", 400))).await, 401);
    assert_eq!(status(app.address(), "", None).await, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_of_the_three_sockets_are_open_on_loopback_only() {
    let gateway = Gateway::start("").await;
    let mut peer = Peer::connect(gateway.address, "?token=whatever").await;
    peer.text(&hello(8_000)).await;
    assert_eq!(peer.hang_up().await, Back::Close(1000));
    let (log, folder) = gateway.stop().await;
    assert!(log.contains("MEDIA SOCKETS ARE OPEN"), "{log}");
    let said = process::run(folder.path(), &["serve", "--config", "sidetone.toml", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(said.code, Some(1));
    for word in ["server.listen is 0.0.0.0:0", "media.token_keys, media.custom and media.vonage"] {
        assert!(said.err.contains(word), "{}", said.err);
    }
    let said = process::run_with(folder.path(), &["serve", "--config", "sidetone.toml"], |command| {
        command.env("SIDETONE_MEDIA__VONAGE", "true");
    });
    let said = said.await;
    assert!(said.code == Some(1) && said.err.contains("media.vonage is true, but no account"), "{}", said.err);
}

// --- commands -----------------------------------------------------------------------

/// A leg that has said hello at 8 kHz, and what it is known as.
async fn live(app: &App, watch: &mut Follower, conversation: &str) -> (Peer, LegHandle) {
    live_by(app, watch, conversation, &format!("?conversation={conversation}&role=caller")).await
}

/// The same, where the handshake has this query.
async fn live_by(app: &App, watch: &mut Follower, conversation: &str, query: &str) -> (Peer, LegHandle) {
    let mut peer = Peer::connect(app.address(), query).await;
    peer.text(&hello(8_000)).await;
    let started = watch.wait("leg.started.v1", conversation).await;
    let leg = LegId::parse(text(&started, "/data/leg")).unwrap();
    let handle = until("the leg to be in the directory with its rate", || {
        std::future::ready(app.directory().find(&leg).filter(|handle| handle.info().rate.is_some()))
    });
    (peer, handle.await)
}

/// The next event of this type among those that were not looked at yet.
async fn coming(watch: &mut Follower, wanted: &str) -> Value {
    loop {
        let sent = watch.next().await.unwrap_or_else(|| panic!("the live stream ended without {wanted}"));
        if sent.kind == wanted {
            return sent.json();
        }
    }
}

async fn talk(peer: &mut Peer) {
    for frame in bytes(&speech()).chunks(320) {
        peer.binary(frame).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_for_every_leg_of_the_conversation_and_for_those_to_come() {
    let (app, _folder) = app("", Vec::new()).await;
    let mut watch = Follower::connect(app.address(), "").await;
    let conversation = ConversationId::parse(CALL).unwrap();
    let (mut caller, _) = live(&app, &mut watch, CALL).await;
    caller.text(DTMF).await;
    coming(&mut watch, "dtmf.v1").await;
    assert_eq!(app.directory().pause(&conversation, "card_number"), Ok(1));
    let paused = coming(&mut watch, "capture.paused.v1").await;
    assert_eq!(text(&paused, "/data/reason"), "card_number");
    talk(&mut caller).await;
    caller.text(DTMF).await;

    // Named by its first message only, and having spoken before it.
    let mut late = Peer::connect(app.address(), "").await;
    talk(&mut late).await;
    late.text(&format!(
        r#"{{"event":"websocket:connected","content-type":"audio/l16;rate=8000","conversation":"{CALL}","role":"agent"}}"#
    ))
    .await;
    let paused = coming(&mut watch, "capture.paused.v1").await;
    assert_eq!(text(&paused, "/data/speaker"), "agent");
    assert_eq!(app.directory().of(&conversation).len(), 2);
    assert_eq!(late.hang_up().await, Back::Close(1000));
    let ended = coming(&mut watch, "leg.ended.v1").await;
    let samples = speech().len() as u64;
    assert_eq!((number(&ended, "/data/ledger/received"), number(&ended, "/data/ledger/paused")), (samples, samples));
    assert_eq!(number(&ended, "/data/characteristics/segments"), 0);

    assert_eq!(app.directory().resume(&conversation, "done"), 1);
    coming(&mut watch, "capture.resumed.v1").await;
    caller.text(DTMF).await;
    coming(&mut watch, "dtmf.v1").await;
    assert_eq!(caller.hang_up().await, Back::Close(1000));
    let ended = coming(&mut watch, "leg.ended.v1").await;
    assert_eq!((number(&ended, "/data/ledger/paused"), number(&ended, "/data/characteristics/dtmf")), (samples, 2));
    app.stop().await;
    let events: Vec<_> = watch.rest().await.iter().map(Sent::json).collect();
    let texts =
        events.iter().filter(|event| kind(event).starts_with("transcript.") || kind(event).starts_with("speech."));
    assert_eq!(texts.count(), 0, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_socket_when_a_pause_comes_was_heard_before_it() {
    let (app, _folder) = app("", Vec::new()).await;
    let mut watch = Follower::connect(app.address(), "").await;
    // Of either nothing comes for a while, so that nobody was woken for some of it; and either
    // fits into what the kernel takes before anybody reads.
    for (name, audio) in [("CON-quiet", vec![0; 320 * 74]), ("CON-voice", bytes(&speech())[..320 * 78].to_vec())] {
        let conversation = ConversationId::parse(name).unwrap();
        let (mut caller, _) = live(&app, &mut watch, name).await;
        for frame in audio.chunks(320) {
            caller.binary(frame).await;
        }
        assert_eq!(app.directory().pause(&conversation, "card_number"), Ok(1));
        coming(&mut watch, "capture.paused.v1").await;
        caller.binary(&[0; 320]).await;
        assert_eq!(caller.hang_up().await, Back::Close(1000));
        let ended = coming(&mut watch, "leg.ended.v1").await;
        let [received, paused] = ["received", "paused"].map(|name| number(&ended, &format!("/data/ledger/{name}")));
        assert_eq!((received, paused), (audio.len() as u64 / 2 + 160, 160), "{name}");
    }
    app.stop().await;
}

/// The next frame of audio, or the text that comes instead.
async fn next(peer: &mut Peer) -> Result<Vec<u8>, Value> {
    loop {
        match within("something from the gateway", peer.read()).await.expect("the gateway is gone") {
            (BINARY, frame) => return Ok(frame),
            (TEXT, text) => return Err(serde_json::from_slice(&text).unwrap()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_played_arrives_frame_by_frame_and_gives_way_to_speech() {
    let (app, _folder) = app("[playback]\nlead_ms = 60", Vec::new()).await;
    let mut watch = Follower::connect(app.address(), "").await;
    let (mut peer, leg) = live(&app, &mut watch, CALL).await;

    // As it is, to the last sample, silence after it; then the mark.
    let samples: Arc<[i16]> = (0..1_000).map(|n| n * 7).collect();
    leg.play("greeting", Arc::clone(&samples), Rate::Hz8000, true).await.unwrap();
    let mut expected = bytes(&samples);
    expected.resize(7 * 320, 0);
    let mut played = Vec::new();
    let mark = loop {
        match next(&mut peer).await {
            Ok(frame) => {
                assert_eq!(frame.len(), 320);
                played.extend(frame);
            }
            Err(text) => break text,
        }
    };
    assert_eq!((played, &mark["action"], &mark["payload"]["mark"]), (expected, &"notify".into(), &"greeting".into()));
    peer.text(&json!({"event": "websocket:notify", "payload": mark["payload"]}).to_string()).await;
    let ended = coming(&mut watch, "playback.ended.v1").await;
    assert_eq!((text(&ended, "/data/outcome"), number(&ended, "/data/played_ms")), ("played", 125));
    assert_eq!(ended["data"]["confirmed"], true);

    // Converted from another rate; too long a one is refused before anything is done.
    let tone: Arc<[i16]> = vec![1_000; 24_000 * 20].into();
    leg.play("offer", tone, Rate::Hz24000, true).await.unwrap();
    leg.play("waiting", Arc::clone(&samples), Rate::Hz8000, false).await.unwrap();
    let long = leg.play("long", vec![0; 24_000 * 61].into(), Rate::Hz24000, true).await;
    assert_eq!(long, Err(CommandRefused::Playback(BadPlayback::TooLong)));
    for _ in 0..5 {
        assert_eq!(next(&mut peer).await.expect("a frame").len(), 320);
    }
    talk(&mut peer).await;
    let cleared = loop {
        if let Err(text) = next(&mut peer).await {
            break text;
        }
    };
    assert_eq!(cleared, json!({"action": "clear"}));
    peer.text(r#"{"event":"websocket:cleared"}"#).await;
    let ended = coming(&mut watch, "playback.ended.v1").await;
    assert_eq!((text(&ended, "/data/playback"), text(&ended, "/data/outcome")), ("offer", "barged_in"));
    assert!((1..20_000).contains(&number(&ended, "/data/played_ms")), "{ended}");
    let ended = coming(&mut watch, "playback.ended.v1").await;
    assert_eq!((text(&ended, "/data/playback"), number(&ended, "/data/played_ms")), ("waiting", 0));

    // Nothing of it comes after the clear: the next frame is the next playback's.
    leg.play("answer", vec![i16::MAX; 160].into(), Rate::Hz8000, false).await.unwrap();
    assert_eq!(next(&mut peer).await, Ok(bytes(&[i16::MAX; 160])));
    leg.try_send(Command::Close).unwrap();
    assert_eq!(peer.back().await, Back::Close(1000));
    let ended = coming(&mut watch, "playback.ended.v1").await;
    assert!(["hung_up", "played"].contains(&text(&ended, "/data/outcome")), "{ended}");
    assert_eq!(text(&coming(&mut watch, "leg.ended.v1").await, "/data/reason"), "closed");
    assert_eq!(leg.play("late", samples, Rate::Hz8000, true).await, Err(CommandRefused::Gone));
    app.stop().await;
}

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl LegObserver for Notes {
    fn connected(&self, leg: &LegInfo) {
        let LegInfo { conversation, speaker, rate, .. } = leg;
        self.0.lock().unwrap().push(format!("{conversation} {speaker} connected {rate:?}"));
    }

    fn ended(&self, leg: &LegInfo, ended: Option<&LegEnded>) {
        let reason = ended.map_or("died", |ended| &ended.reason);
        self.0.lock().unwrap().push(format!("{} {} ended: {reason}", leg.conversation, leg.speaker));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_is_told_of_each_leg_once_when_it_comes_and_once_when_it_goes() {
    let notes = Arc::new(Notes::default());
    let observer: Arc<dyn LegObserver> = Arc::clone(&notes) as _;
    let (app, _folder) = app("", vec![observer]).await;
    let mut watch = Follower::connect(app.address(), "").await;
    let (peer, _) = live(&app, &mut watch, "CON-hangup").await;
    assert_eq!(peer.hang_up().await, Back::Close(1000));
    watch.wait("leg.ended.v1", "CON-hangup").await;
    let (peer, _) = live(&app, &mut watch, "CON-reset").await;
    peer.reset();
    watch.wait("leg.ended.v1", "CON-reset").await;
    // Hangs up without a word.
    let peer = Peer::connect(app.address(), "?conversation=CON-silent").await;
    assert_eq!(peer.hang_up().await, Back::Close(1000));
    watch.wait("leg.ended.v1", "CON-silent").await;
    let (mut peer, _) = live(&app, &mut watch, "CON-drain").await;
    app.stop().await;
    assert_eq!(peer.back().await, Back::Close(1001));
    let mut notes = notes.0.lock().unwrap().clone();
    notes.sort();
    let expected = [
        "CON-drain caller connected Some(Hz8000)",
        "CON-drain caller ended: drained",
        "CON-hangup caller connected Some(Hz8000)",
        "CON-hangup caller ended: hangup",
        "CON-reset caller connected Some(Hz8000)",
        "CON-reset caller ended: connection_lost",
        "CON-silent unknown connected Some(Hz16000)",
        "CON-silent unknown ended: hangup",
    ];
    assert_eq!(notes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_listens_to_a_call_that_is_over_is_closed_whenever_it_came() {
    let control = "[vonage]\nunsigned = true\n[control]\nlinger_ms = 20\nlinger_max_ms = 200";
    let (app, _folder) = app(&format!("{control}\n[media]\ntoken_keys = [\"{KEY}\"]"), Vec::new()).await;
    let by = |conversation: &str, id: &str| {
        let conversation = ConversationId::parse(conversation).unwrap();
        format!("?token={}", token(&MediaClaims { conversation, ..claims(id) }))
    };
    let mut watch = Follower::connect(app.address(), "").await;
    let tell = async |path: &str, webhook: Value| {
        let url = format!("http://{}/v1/vonage/{path}", app.address());
        let told = reqwest::Client::new().post(url).body(webhook.to_string()).send();
        assert!(within("the webhook's answer", told).await.unwrap().status().is_success(), "{path}");
    };
    let (from, to) = ("447700900000", "442079460000");
    tell("answer", json!({"uuid": "leg-1", "conversation_uuid": CALL, "from": from, "to": to})).await;
    let (mut in_time, _) = live_by(&app, &mut watch, CALL, &by(CALL, "1")).await;
    // A call that nobody answered to us is none of the controller's.
    let (other, _) = live_by(&app, &mut watch, "CON-other", &by("CON-other", "2")).await;
    let ended = json!({"uuid": "leg-1", "conversation_uuid": CALL, "status": "completed", "direction": "inbound"});
    tell("event", ended).await;
    assert_eq!(in_time.back().await, Back::Close(1000));
    let ended = watch.wait("leg.ended.v1", CALL).await;
    assert_eq!(text(&ended, "/data/reason"), "closed");
    let mut late = Peer::connect(app.address(), &by(CALL, "3")).await;
    late.text(&hello(8_000)).await;
    assert_eq!(late.back().await, Back::Close(1000));
    assert_eq!(other.hang_up().await, Back::Close(1000));
    app.stop().await;
    let left: Vec<_> = watch.rest().await.iter().map(Sent::json).collect();
    let reasons = left.iter().filter(|event| kind(event) == "leg.ended.v1").map(|event| text(event, "/data/reason"));
    let mut reasons: Vec<_> = reasons.collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["closed", "closed", "hangup"]);
}
