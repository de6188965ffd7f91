//! Conversations: who hears whom, who ends what, and one media socket for each speaker,
//! created by REST as `vonage-voice.md` section 6 describes.

use std::collections::HashMap;

use serde_json::{Value, json};
use sidetone::audio::wav;
use sidetone::simulator::platform::Settings;

use crate::app::{App, Log, SPEED, caller, run, stage, within};

/// The agent, who answers and says 2000 all the time.
const AGENT: &str = "[[party]]\nmatch = { phone = \"447700900111\" }\nwav = \"agent.wav\"\naudio_offset = \"call\"\n";

/// POSTs or PUTs, and tries again when it is too early or too much.
async fn rest(method: reqwest::Method, url: String, body: Value) -> Value {
    within("REST to do it", async {
        loop {
            let request = reqwest::Client::new().request(method.clone(), &url).body(body.to_string());
            let reply = request.send().await.unwrap();
            match reply.status().as_u16() {
                200 | 201 => return serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap(),
                // A socket that broke has ended by itself.
                204 | 404 => return Value::Null,
                400 | 429 => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                other => panic!("{other}: {}", reply.text().await.unwrap()),
            }
        }
    })
    .await
}

/// What a controller does: the agent is called, and each speaker that enters the
/// conversation gets a socket that hears it alone; the socket goes with its speaker.
async fn control(app: App, base: String) {
    let agent = json!({"to": [{"type": "phone", "number": "447700900111"}], "from": {"type": "phone", "number": "442079460000"},
        "answer_url": [app.url("/answer")], "event_url": [app.url("/event")]});
    let (mut seen, mut sockets) = (0, HashMap::new());
    let mut agent = Some(agent);
    loop {
        let log = app.until("another event", |log| log.came.len() > seen).await;
        for came in &log.came[seen..] {
            if let Some(agent) = agent.take() {
                rest(reqwest::Method::POST, format!("{base}/v1/calls"), agent).await;
            }
            let leg = came.body["uuid"].as_str().unwrap_or_default().to_owned();
            // An event may come twice.
            if came.path == "/event" && came.body["type"] == "transfer" && !sockets.contains_key(&leg) {
                let created = rest(
                    reqwest::Method::POST,
                    format!("{base}/v1/calls"),
                    json!({"to": [{"type": "websocket", "uri": app.socket(&leg), "content-type": "audio/l16;rate=16000", "headers": {"speaker": leg}}],
                        "from": {"type": "phone", "number": "442079460000"},
                        "answer_url": [app.url(&format!("/listen/{leg}"))], "event_url": [app.url("/socket")]}),
                )
                .await;
                sockets.insert(leg, created["uuid"].as_str().unwrap().to_owned());
            } else if came.path == "/event" && came.body["status"] == "completed" {
                let Some(socket) = sockets.remove(&leg) else { continue };
                rest(reqwest::Method::PUT, format!("{base}/v1/calls/{socket}"), json!({"action": "hangup"})).await;
            }
        }
        seen = log.came.len();
    }
}

async fn two_speakers(settings: impl FnOnce(&App) -> Settings) -> (sidetone::simulator::platform::Report, Log) {
    let app = App::start(|_, path, _| match path {
        "/answer" => Some(json!([{"action": "conversation", "name": "conf_1"}])),
        path => path
            .strip_prefix("/listen/")
            .map(|leg| json!([{"action": "conversation", "name": "conf_1", "canHear": [leg], "canSpeak": []}])),
    })
    .await;
    let platform = sidetone::simulator::platform::Platform::start(settings(&app)).await.unwrap();
    let controller = tokio::spawn(control(app.clone(), format!("http://{}", platform.address())));
    let (script, voices) = stage(
        &(caller(r#"wav = "caller.wav", audio_offset = "joined", dtmf = [{ at_ms = 40000, digits = "4" }]"#) + AGENT),
        60,
    );
    let report = within("the call to end", platform.run(&script, &voices)).await;
    controller.abort();
    (report, app.settled().await)
}

#[tokio::test]
async fn a_socket_for_each_speaker_hears_that_speaker_only() {
    let heard = tempfile::tempdir().unwrap();
    let (report, log) = two_speakers(|app| Settings { heard: Some(heard.path().to_owned()), ..app.settings() }).await;
    assert!(report.ok() && report.left_over == 0, "{report}");
    let [call] = &report.calls[..] else { panic!("{report}") };
    assert_eq!(call.legs.iter().map(|leg| leg.role.as_str()).collect::<Vec<_>>()[0], "caller");
    assert_eq!(call.legs.len(), 4, "caller, agent and a socket each are one call: {report}");
    let speaker = |role: &str| call.legs.iter().find(|leg| leg.role == role).unwrap().uuid.clone();
    for (role, value) in [("caller", 1000), ("phone", 2000)] {
        let leg = speaker(role);
        let socket = log.sockets.iter().find(|socket| socket.query == leg).unwrap();
        assert_eq!(
            socket.texts[0],
            json!({"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "speaker": leg})
        );
        let keys: Vec<_> = socket.texts[1..].iter().map(|text| text["digit"].as_str().unwrap()).collect();
        assert_eq!(keys, if role == "caller" { vec!["4"] } else { vec![] }, "a key is heard with its speaker");
        assert_eq!(socket.values(), [0, value], "{role}");
        assert!(socket.frames.iter().all(|(bytes, _)| *bytes == 640));
        assert!(socket.frames.iter().filter(|(_, first)| *first == value).count() > 100, "{role}");
        assert_eq!(socket.closed, Some(Some(1000)), "hung up, {role}");
    }
    for leg in &call.legs {
        let expected: &[&str] = match leg.role.as_str() {
            "websocket" => &["started", "answered", "completed"],
            _ => &["started", "ringing", "answered", "completed"],
        };
        assert_eq!(leg.statuses, expected, "no disconnected after a hang-up by REST");
        assert_eq!(log.statuses(&leg.uuid), expected);
    }
    // Each entered the named conversation from one of its own.
    let transfers: Vec<_> = log.came.iter().filter(|came| came.body["type"] == "transfer").collect();
    assert_eq!(transfers.len(), 4);
    let to = &transfers[0].body["conversation_uuid_to"];
    assert!(
        transfers
            .iter()
            .all(|came| came.body["conversation_uuid_to"] == *to && came.body["conversation_uuid_from"] != *to)
    );
    // The two people heard each other, and both halves were in step.
    for (role, value) in [("caller", 2000), ("phone", 1000)] {
        let file = heard.path().join(format!("{role}-{}.wav", speaker(role)));
        let heard = wav::read(&file).unwrap();
        let count = heard.channels[0].iter().filter(|sample| **sample == value).count();
        assert!(count > 7 * 16_000, "{role} heard {count} samples of the other");
        assert!(heard.channels[0].iter().all(|sample| *sample == 0 || *sample == value), "{role}");
    }
}

#[tokio::test]
async fn with_every_fault_the_call_still_comes_to_its_end() {
    let (report, log) =
        two_speakers(|app| Settings { faults: "all".parse().unwrap(), seed: 3, ..app.settings() }).await;
    assert!(report.finished, "{report}");
    assert!(report.webhooks.duplicated > 0 && report.webhooks.delayed > 0, "{report:?}");
    assert!(!log.sockets.is_empty() && report.left_over == 0, "{report}");
}

#[tokio::test]
async fn it_starts_with_a_moderator_and_ends_with_one() {
    let app = App::start(|_, path, _| match path {
        "/answer" => Some(json!([{"action": "conversation", "name": "held", "startOnEnter": false}])),
        "/moderator" => Some(json!([{"action": "conversation", "name": "held", "endOnExit": true}])),
        _ => None,
    })
    .await;
    let platform = app.platform().await;
    let script = caller(r#"wav = "caller.wav", hangup_at_ms = 60000"#)
        + "[[party]]\nmatch = { app = \"alice\" }\nwav = \"agent.wav\"\nhangup_at_ms = 2000\n";
    let (script, voices) = stage(&script, 10);
    let base = format!("http://{}", platform.address());
    let moderator = json!({"to": [{"type": "app", "user": "alice"}], "from": {"type": "phone", "number": "442079460000"},
        "answer_url": [app.url("/moderator")]});
    let heard = async {
        app.until("the caller to wait", |log| log.came.iter().any(|came| came.body["type"] == "transfer")).await;
        rest(reqwest::Method::POST, format!("{base}/v1/calls"), moderator).await
    };
    let (report, _) = within("the call to end", async { tokio::join!(platform.run(&script, &voices), heard) }).await;
    let [caller, alice] = &report.calls[0].legs[..] else { panic!("{report}") };
    assert_eq!((caller.role.as_str(), alice.role.as_str()), ("caller", "app"));
    let log = app.log();
    let by = |leg: &str| {
        let completed = log.came.iter().find(|came| came.body["uuid"] == leg && came.body["status"] == "completed");
        completed.unwrap().body["disconnected_by"].clone()
    };
    assert_eq!((by(&alice.uuid), by(&caller.uuid)), (json!("user"), json!("platform")));
    assert!(report.calls[0].duration_ms < 30_000, "it ended with the moderator, {SPEED} times faster: {report}");
}

#[tokio::test]
async fn before_it_has_started_its_members_hear_nothing() {
    for starts in [false, true] {
        let app = App::start(move |_, path, _| {
            (path == "/answer").then(|| json!([{"action": "conversation", "name": "both", "startOnEnter": starts}]))
        })
        .await;
        let heard = tempfile::tempdir().unwrap();
        let settings = Settings { heard: Some(heard.path().to_owned()), ..app.settings() };
        let one = caller(r#"wav = "caller.wav", hangup_at_ms = 4000"#);
        let (report, _) = run(&app, settings, &(one.clone() + &one), 4).await;
        let files: Vec<_> =
            std::fs::read_dir(heard.path()).unwrap().map(|file| wav::read(&file.unwrap().path()).unwrap()).collect();
        assert_eq!(files.len(), 2, "{report}");
        for file in files {
            assert_eq!(file.channels[0].contains(&1000), starts, "{report}");
        }
        assert_eq!(report.calls[0].legs.len() + report.calls[1].legs.len(), 2, "a call keeps its number: {report}");
    }
}

#[tokio::test]
async fn rest_tells_mutes_and_transfers() {
    let app = App::start(|app, path, _| match path {
        "/answer" => Some(json!([{"action": "conversation", "name": "parked"}])),
        "/next" => Some(json!([{"action": "notify", "payload": {"there": 1}, "eventUrl": [app.url("/notified")]}])),
        _ => None,
    })
    .await;
    let platform = app.platform().await;
    let base = format!("http://{}/v1/calls", platform.address());
    let (script, voices) = stage(&caller("hangup_at_ms = 60000"), 1);
    let steer = async {
        let log = app
            .until("the caller to be parked", |log| log.came.iter().any(|came| came.body["type"] == "transfer"))
            .await;
        let leg = log.event("answered")["uuid"].as_str().unwrap().to_owned();
        let call = reqwest::get(format!("{base}/{leg}")).await.unwrap().text().await.unwrap();
        let call: Value = serde_json::from_str(&call).unwrap();
        assert_eq!((&call["status"], &call["direction"]), (&json!("answered"), &json!("inbound")));
        assert_eq!(call["from"], json!({"type": "phone", "number": "447700900000"}));
        for action in ["mute", "unmute", "earmuff", "unearmuff"] {
            rest(reqwest::Method::PUT, format!("{base}/{leg}"), json!({"action": action})).await;
        }
        let said = rest(reqwest::Method::PUT, format!("{base}/{leg}/talk"), json!({"text": "Still there?"})).await;
        assert_eq!(said["uuid"], leg);
        let to = json!({"action": "transfer", "destination": {"type": "ncco", "url": [app.url("/next")]}});
        rest(reqwest::Method::PUT, format!("{base}/{leg}"), to).await;
        app.until("the new flow", |log| !log.at("/notified").is_empty()).await;
        leg
    };
    let (report, leg) = within("the call to end", async { tokio::join!(platform.run(&script, &voices), steer) }).await;
    assert!(report.ok(), "{report}");
    let page = reqwest::get(format!("{base}?status=completed")).await.unwrap().text().await.unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["count"], &page["_embedded"]["calls"][0]["uuid"]), (&json!(1), &json!(leg)));
    let gone = reqwest::Client::new().put(format!("{base}/{leg}")).body(r#"{"action":"hangup"}"#).send().await.unwrap();
    assert_eq!(gone.status().as_u16(), 404, "it is over");
}

#[tokio::test]
async fn more_than_three_connects_a_second_are_an_error() {
    let app = App::start(|_, path, _| {
        let connect = json!({"action": "connect", "endpoint": [{"type": "vbc", "extension": "1"}]});
        (path == "/answer").then(|| json!([connect, connect, connect, connect]))
    })
    .await;
    // In real time, or the limit would be filled up again between two of them.
    let settings = Settings { speed: 1.0, ..app.settings() };
    let script =
        caller("hangup_at_ms = 30000") + "[[party]]\nmatch = { vbc = \"1\" }\nbusy = true\nanswer_after_ms = 0\n";
    let (_, log) = run(&app, settings, &script, 1).await;
    let busy = log.came.iter().filter(|came| came.body["status"] == "busy").count();
    let errors: Vec<_> = log.came.iter().filter_map(|came| came.body["reason"].as_str()).collect();
    assert_eq!((busy, errors.len()), (3, 1), "{errors:?}");
    assert!(errors[0].starts_with("Too many calls"));
}

#[tokio::test]
async fn a_connected_agent_can_be_transferred_and_the_callers_flow_goes_on() {
    let app = App::start(|app, path, _| match path {
        "/answer" => Some(json!([
            {"action": "connect", "endpoint": [{"type": "phone", "number": "447700900111"}], "eventUrl": [app.url("/agent")]},
            {"action": "notify", "payload": {"went": "on"}, "eventUrl": [app.url("/went")]},
            {"action": "conversation", "name": "queue"},
        ])),
        _ => None,
    })
    .await;
    let platform = app.platform().await;
    let base = format!("http://{}/v1/calls", platform.address());
    let (script, voices) = stage(&(caller("hangup_at_ms = 60000") + AGENT + "hangup_at_ms = 90000\n"), 1);
    let steer = async {
        let answered = |log: &Log| log.at("/agent").iter().any(|body| body["status"] == "answered");
        let log = app.until("the agent", answered).await;
        assert!(log.at("/went").is_empty(), "the flow waits for the agent");
        let agent = log.at("/agent")[0]["uuid"].as_str().unwrap().to_owned();
        let to = json!({"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "conversation", "name": "desk"}]}});
        rest(reqwest::Method::PUT, format!("{base}/{agent}"), to).await;
        let moved = |log: &Log| log.at("/agent").iter().filter(|body| body["type"] == "transfer").count() == 2;
        app.until("the agent to move", moved).await;
        app.until("the caller to go on", |log| !log.at("/went").is_empty()).await;
        let agent_now = reqwest::get(format!("{base}/{agent}")).await.unwrap().text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&agent_now).unwrap()["status"], "answered");
        let caller = log.event("answered")["uuid"].as_str().unwrap().to_owned();
        for leg in [caller, agent] {
            rest(reqwest::Method::PUT, format!("{base}/{leg}"), json!({"action": "hangup"})).await;
        }
    };
    let (report, ()) = within("the call", async { tokio::join!(platform.run(&script, &voices), steer) }).await;
    assert!(report.ok() && report.left_over == 0, "{report}");
}
