//! Who may open a media socket, and what the gateway says to it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sidetone::app::{App, Extras};
use sidetone::config::{self, Config, Source};
use sidetone::types::{ConversationId, LegId, Private, Speaker, WallTime};
use sidetone::vonage::media_token::{MediaClaims, MediaKeys};
use sidetone::vonage::signature::{Claims, Keyring, Payload, Policy, sign};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::events::{Follower, text};
use super::support::hello;
use super::support::peer::{Back, Peer, head, request};
use super::support::process::{self, Gateway};
use super::support::within;

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
async fn app(more: &str, extras: Extras) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start_with(&in_process(&folder, more), Vec::new(), None, extras).await.unwrap();
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
    let mut keyring = Keyring::default();
    keyring.add("a1b2c3d4", Private("signature secret".to_owned())).unwrap();
    let extras = Extras { vonage: Some((keyring, Policy::default())), ..Extras::default() };
    let (app, _folder) = app("[media]\nvonage = true", extras).await;
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

/// The longest that a test's gateway may wait for an echo that never comes.
#[allow(dead_code, reason = "used by the playback tests")]
const SOON: Duration = Duration::from_millis(200);
