//! Media sockets: the handshake, the first text, frames at each rate, playback, and how
//! they end.

use serde_json::json;
use sidetone::audio::wav;
use sidetone::simulator::fault::{Faults, Hello};
use sidetone::simulator::platform::Settings;
use sidetone::simulator::webhook::Signing;
use sidetone::types::{Private, WallTime};
use sidetone::vonage::signature::{Keyring, Payload, Policy};

use crate::app::{App, Manner, caller, connect_socket, run, within};

/// The caller's voice for two seconds, and a key.
const CALLER: &str = r#"wav = "caller.wav", dtmf = [{ at_ms = 500, digits = "5" }]"#;

#[tokio::test]
async fn each_rate_has_its_frames_and_the_first_text_the_flattened_headers() {
    for (rate, bytes) in [(8_000, 320), (16_000, 640), (24_000, 960)] {
        let app =
            App::start(move |app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "call=42", rate)])))
                .await;
        let (report, log) = run(&app, app.settings(), &caller(CALLER), 2).await;
        assert!(report.ok(), "{report}");
        let [socket] = &log.sockets[..] else { panic!("{rate}: {} sockets", log.sockets.len()) };
        assert_eq!(socket.query, "call=42");
        assert_eq!(
            socket.texts,
            [
                json!({"event": "websocket:connected", "content-type": format!("audio/l16;rate={rate}"),
                    "session_id": "42", "nested": {"a": 1}}),
                json!({"event": "websocket:dtmf", "digit": "5", "duration": 200}),
            ]
        );
        assert!(socket.frames.iter().all(|(size, _)| *size == bytes), "{rate}");
        let loud = socket.frames.iter().filter(|(_, first)| (950..=1050).contains(first)).count();
        assert!((90..=102).contains(&loud), "{rate}: {loud} frames of two seconds' voice");
        // The caller hung up: the platform closed the socket.
        assert_eq!(socket.closed, Some(Some(1000)));
        let leg = &report.calls[0].legs[1];
        assert_eq!(leg.statuses, ["started", "answered", "completed"]);
        assert_eq!(leg.frames_sent, socket.frames.len() as u64, "{report}");
        let event = log.at("/socket-events")[0];
        assert_eq!((&event["to"], &event["headers"]["session_id"]), (&json!(app.socket("call=42")), &json!("42")));
    }
}

#[tokio::test]
async fn handshakes_bear_what_the_ncco_says() {
    let app = App::start(|app, path, _| {
        let with = |authorization: serde_json::Value| {
            let mut connect = connect_socket(app, "", 16_000);
            connect["endpoint"][0]["authorization"] = authorization;
            connect
        };
        (path == "/answer").then(|| {
            json!([
                connect_socket(app, "", 16_000),
                with(json!({"type": "custom", "value": "Bearer abc"})),
                with(json!({"type": "vonage"})),
                {"action": "wait", "timeout": 1},
            ])
        })
    })
    .await;
    let signing =
        Signing { api_key: "a1b2c3d4".into(), secret: Private("secret".into()), application_id: Some("app-1".into()) };
    let settings = Settings { signing: Some(signing), ..app.settings() };
    let (report, log) = run(&app, settings, &caller("hangup_at_ms = 900"), 1).await;
    assert!(report.ok(), "{report}");
    let tokens: Vec<_> = log.sockets.iter().map(|socket| socket.authorization.as_deref()).collect();
    let [None, Some("Bearer abc"), Some(token)] = tokens[..] else { panic!("{tokens:?}") };
    let mut keyring = Keyring::default();
    keyring.add("a1b2c3d4", Private("secret".into())).unwrap();
    let now = WallTime(chrono::Utc::now().timestamp_micros());
    let policy = Policy { application_id: Some("app-1".into()), ..Policy::default() };
    keyring.verify(Some(token), Payload::Handshake, &policy, now).unwrap();
    // Webhooks are signed by the same account, each over its own body.
    let event = log.came.iter().find(|came| came.path == "/event").unwrap();
    let claims = keyring.verify(event.authorization.as_deref(), Payload::Handshake, &policy, now).unwrap();
    assert!(claims.payload_hash.is_some());
}

#[tokio::test]
async fn a_socket_that_the_application_closes_is_disconnected_and_the_reply_goes_on() {
    let app = App::start(|app, path, body| match path {
        "/answer" => Some(json!([connect_socket(app, "", 16_000)])),
        "/socket-events" if body["status"] == "disconnected" => {
            Some(json!([{"action": "notify", "payload": {"went": "on"}, "eventUrl": [app.url("/went")]}]))
        }
        _ => None,
    })
    .await
    .with(Manner::Closes(25));
    let (report, log) = run(&app, app.settings(), &caller("hangup_at_ms = 60000"), 1).await;
    assert!(report.ok(), "{report}");
    assert_eq!(report.calls[0].legs[1].statuses, ["started", "answered", "disconnected", "completed"]);
    let disconnected = log.event("disconnected");
    assert!(disconnected.get("direction").is_none() && disconnected["headers"]["session_id"] == "42");
    assert_eq!(log.at("/went").len(), 1);
    assert_eq!(log.event("completed")["status"], "completed");
    assert!(report.calls[0].duration_ms < 30_000, "with nothing more to do the call ends: {report}");
}

#[tokio::test]
async fn a_frame_of_the_wrong_size_kills_the_socket() {
    for bytes in [320, 641, 1280] {
        let app = App::start(|app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "", 16_000)])))
            .await
            .with(Manner::Sends(bytes));
        let (report, log) = run(&app, app.settings(), &caller("hangup_at_ms = 60000"), 1).await;
        let leg = &report.calls[0].legs[1];
        assert_eq!(leg.statuses, ["started", "answered", "disconnected", "completed"], "{bytes}");
        assert_eq!(
            (leg.wrong_size, leg.problems[0].as_str()),
            (1, format!("unexpected frame size {bytes}, when required 640").as_str())
        );
        assert_eq!(log.sockets[0].closed, Some(None), "without a close frame, {bytes}");
    }
}

#[tokio::test]
async fn a_socket_that_cannot_be_had_fails_and_the_flow_goes_on() {
    for (scheme, host, problem) in [
        ("ws", Some("127.0.0.1:1"), "the socket was not taken: connection refused"),
        // The application speaks no TLS.
        ("wss", None, "the socket was not taken: "),
    ] {
        let app = App::start(move |app, path, _| {
            let mut connect = connect_socket(app, "", 16_000);
            let host = host.map_or_else(|| app.address.to_string(), str::to_owned);
            connect["endpoint"][0]["uri"] = json!(format!("{scheme}://{host}/media"));
            let on = json!({"action": "notify", "payload": {"went": "on"}, "eventUrl": [app.url("/went")]});
            (path == "/answer").then(|| json!([connect, on]))
        })
        .await;
        let (report, log) = run(&app, app.settings(), &caller("hangup_at_ms = 60000"), 1).await;
        let leg = &report.calls[0].legs[1];
        assert_eq!(leg.statuses, ["started", "failed", "completed"], "{scheme}");
        assert_eq!(leg.problems.len(), 1);
        assert!(leg.problems[0].starts_with(problem), "{scheme}: {:?}", leg.problems);
        assert_eq!(log.at("/went").len(), 1, "{scheme}");
    }
}

#[tokio::test]
async fn faults_are_those_of_the_seed() {
    let settings =
        |app: &App, seed: u64, faults: &str| Settings { seed, faults: faults.parse().unwrap(), ..app.settings() };
    let late = |seed: u64| {
        let faults = Faults::new(seed, "late_hello,wrong_frames".parse().unwrap(), Default::default());
        matches!(faults.socket(0).hello, Hello::Late(_))
    };
    let seed = (0..100).find(|seed| late(*seed)).unwrap();
    let app = App::start(|app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "", 16_000)]))).await;
    let script = caller(r#"wav = "caller.wav", hangup_at_ms = 8000"#);
    let (_, log) = run(&app, settings(&app, seed, "late_hello,wrong_frames"), &script, 8).await;
    let [socket] = &log.sockets[..] else { panic!("{} sockets", log.sockets.len()) };
    assert_eq!(socket.events(), ["websocket:connected"], "late, but it came");
    assert!(socket.before_hello > 5, "{} frames before the first text", socket.before_hello);
    let wrong = socket.frames.iter().filter(|(bytes, _)| *bytes != 640).count();
    assert!(wrong > 0 && wrong * 10 < socket.frames.len(), "{wrong} of {}", socket.frames.len());

    let app = App::start(|app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "", 16_000)]))).await;
    let failing =
        |seed: &u64| Faults::new(*seed, "failed_sockets".parse().unwrap(), Default::default()).socket(0).fail_connect;
    let seed = (0..100).find(failing).unwrap();
    let (report, log) = run(&app, settings(&app, seed, "failed_sockets"), &script, 1).await;
    assert_eq!(report.calls[0].legs[1].statuses, ["started", "failed", "completed"]);
    assert!(log.sockets.is_empty());
}

#[tokio::test]
async fn keys_pressed_by_rest_show_up_on_the_socket() {
    let app = App::start(|app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "", 16_000)]))).await;
    let platform = app.platform().await;
    let (script, voices) = crate::app::stage(&caller("hangup_at_ms = 60000"), 1);
    let press = async {
        let log = app.until("the socket", |log| log.at("/socket-events").len() > 1).await;
        let call =
            format!("http://{}/v1/calls/{}", platform.address(), log.at("/socket-events")[0]["uuid"].as_str().unwrap());
        let put = async |url: String, body: &'static str| {
            let reply = reqwest::Client::new().put(url).body(body).send().await.unwrap();
            assert!(reply.status().is_success(), "{}", reply.text().await.unwrap());
        };
        put(format!("{call}/dtmf"), r##"{"digits": "8p#"}"##).await;
        app.until("both keys", |log| log.sockets[0].texts.len() == 3).await;
        put(call, r#"{"action": "hangup"}"#).await;
    };
    let (report, ()) = within("the call", async { tokio::join!(platform.run(&script, &voices), press) }).await;
    let log = app.settled().await;
    let keys: Vec<_> = log.sockets[0].texts[1..].iter().map(|text| text["digit"].as_str().unwrap()).collect();
    assert_eq!(keys, ["8", "#"]);
    assert_eq!(report.calls[0].legs[1].statuses, ["started", "answered", "completed"], "hung up, not disconnected");
}

#[tokio::test]
async fn playback_is_drained_marked_cleared_and_overflows() {
    let heard = tempfile::tempdir().unwrap();
    let app = App::start(|app, path, _| (path == "/answer").then(|| json!([connect_socket(app, "", 16_000)])))
        .await
        .with(Manner::Floods);
    // Not so fast: the flood must come in faster than it is drained.
    let settings = Settings { heard: Some(heard.path().to_owned()), speed: 2.0, ..app.settings() };
    let (report, log) = run(&app, settings, &caller("hangup_at_ms = 60000"), 1).await;
    let socket = &log.sockets[0];
    // The mark behind the flood found no room; those before and after came back, in order.
    assert_eq!(socket.events(), ["websocket:connected", "websocket:notify", "websocket:cleared", "websocket:notify"]);
    assert_eq!(
        (&socket.texts[1]["payload"], &socket.texts[3]["payload"]),
        (&json!({"mark": "first"}), &json!({"mark": "last"}))
    );
    let leg = &report.calls[0].legs[1];
    assert!(leg.playback_overflow > 0, "3200 frames and a mark into a queue of 3072: {report}");
    let caller = wav::read(&heard.path().join(format!("caller-{}.wav", report.calls[0].legs[0].uuid))).unwrap();
    let count = |value| caller.channels[0].iter().filter(|sample| **sample == value).count();
    assert_eq!(count(700), 10 * 320, "all ten frames before the mark were heard");
    assert!(count(900) < 3_072 * 320, "what was cleared was not");
    assert_eq!(leg.frames_said as usize * 320, count(700) + count(900));
}
