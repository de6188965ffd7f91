//! NCCO actions, each as far as the application can see it.

use std::io::Cursor;
use std::path::Path;

use serde_json::{Value, json};
use sidetone::audio::wav;

use crate::app::{App, caller, run};

#[tokio::test]
async fn keys_are_collected_and_the_reply_goes_on() {
    let app = App::start(|_, path, body| match path {
        "/answer" => Some(json!([
            {"action": "talk", "text": "Press a key at any time.", "bargeIn": true},
            {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 6, "submitOnHash": true}},
            {"action": "talk", "text": "never said"},
        ])),
        "/event" if body["dtmf"]["digits"] == "12" => Some(json!([
            {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}},
            {"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 1}},
        ])),
        _ => None,
    })
    .await;
    let script = caller(r##"dtmf = [{ at_ms = 200, digits = "12#" }, { at_ms = 2000, digits = "7" }]"##);
    let (report, log) = run(&app, app.settings(), &script, 1).await;
    let inputs: Vec<_> = log.at("/event").into_iter().filter(|body| body["dtmf"].is_object()).collect();
    let dtmf: Vec<_> = inputs.iter().map(|body| body["dtmf"].clone()).collect();
    assert_eq!(
        dtmf,
        [
            json!({"digits": "12", "timed_out": false}),
            json!({"digits": "7", "timed_out": false}),
            json!({"digits": null, "timed_out": true}),
        ]
    );
    assert_eq!((&inputs[0]["from"], &inputs[0]["to"]), (&json!("447700900000"), &json!("442079460000")));
    assert!(report.ok(), "{report}");
    assert_eq!(report.calls[0].legs[0].keys, 4);
}

#[tokio::test]
async fn speech_is_what_the_script_says_and_keys_beat_it() {
    let app = App::start(|_, path, _| {
        let input = |kind: &[&str], url: &str| json!({"action": "input", "type": kind, "eventUrl": [url]});
        (path == "/answer").then(|| {
            json!([
                input(&["speech"], "http://127.0.0.1:1/nowhere"),
                {"action": "wait", "timeout": 0.1},
            ])
        })
    })
    .await;
    // The first input's webhook goes nowhere: the flow goes on all the same.
    let (report, _) = run(&app, app.settings(), &caller(r#"speech = ["pay a bill"]"#), 1).await;
    assert_eq!(report.webhooks.failed, 1, "{report}");

    let app = App::start(|_, path, _| {
        let input = |kind: &[&str]| json!({"action": "input", "type": kind, "speech": {"startTimeout": 1}});
        (path == "/answer").then(|| json!([input(&["speech"]), input(&["speech", "dtmf"]), input(&["speech"])]))
    })
    .await;
    let script = caller(
        r#"speech = ["pay a bill", "operator"], dtmf = [{ at_ms = 4100, digits = "0000" }], hangup_at_ms = 20000"#,
    );
    let (_, log) = run(&app, app.settings(), &script, 1).await;
    let heard: Vec<Value> = log
        .at("/event")
        .into_iter()
        .filter(|body| body["speech"].is_object())
        .map(|body| body["speech"].clone())
        .collect();
    assert_eq!(
        heard,
        [
            json!({"timeout_reason": "end_on_silence_timeout", "results": [{"text": "pay a bill", "confidence": "0.94"}]}),
            json!({"error": "Speech overridden by DTMF"}),
            json!({"timeout_reason": "start_timeout", "results": []}),
        ]
    );
}

#[tokio::test]
async fn asynchronous_keys_come_one_by_one_while_the_flow_goes_on() {
    let app = App::start(|_, path, _| {
        (path == "/answer").then(|| {
            json!([
                {"action": "input", "type": ["dtmf"], "mode": "asynchronous"},
                {"action": "notify", "payload": {"reached": true}, "eventUrl": ["http://127.0.0.1:1/"]},
                {"action": "wait", "timeout": 2},
            ])
        })
    })
    .await;
    let (_, log) = run(&app, app.settings(), &caller(r#"dtmf = [{ at_ms = 100, digits = "59" }]"#), 1).await;
    let keys: Vec<_> = log.at("/event").into_iter().filter_map(|body| body["dtmf"]["digits"].as_str()).collect();
    assert_eq!(keys, ["5", "9"]);
}

#[tokio::test]
async fn a_notify_is_asked_and_its_reply_replaces_the_flow() {
    let app = App::start(|app, path, body| match (path, body["payload"]["step"].as_u64()) {
        ("/answer", _) => Some(json!([
            {"action": "notify", "payload": {"step": 1}, "eventUrl": [app.url("/notified")]},
            {"action": "notify", "payload": {"step": 9}, "eventUrl": [app.url("/notified")]},
        ])),
        ("/notified", Some(1)) => Some(json!([
            {"action": "notify", "payload": {"step": 2}, "eventUrl": [app.url("/notified")]},
            {"action": "notify", "payload": {"step": 3}, "eventUrl": [app.url("/notified")]},
        ])),
        _ => None,
    })
    .await;
    let (report, log) = run(&app, app.settings(), &caller(""), 1).await;
    assert!(report.ok());
    let steps: Vec<_> = log.at("/notified").iter().map(|body| body["payload"]["step"].clone()).collect();
    assert_eq!(steps, [1, 2, 3], "an empty reply goes on, an NCCO replaces what follows");
}

/// The URL of half a second of 300s.
async fn serve_music() -> String {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    (0..8_000).for_each(|_| writer.write_sample(300_i16).unwrap());
    writer.finalize().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/music.wav", listener.local_addr().unwrap());
    let file = axum::body::Bytes::from(file.into_inner());
    let router = axum::Router::new().fallback(move || std::future::ready(file.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_recording_is_told_of_and_can_be_fetched() {
    let music = serve_music().await;
    let app = App::start(move |_, path, _| {
        (path == "/answer").then(|| {
            json!([
                {"action": "record", "split": "conversation", "channels": 2, "format": "wav"},
                {"action": "record", "endOnKey": "#", "beepStart": false},
                {"action": "stream", "streamUrl": [music]},
                {"action": "wait", "timeout": 1},
            ])
        })
    })
    .await;
    let platform = app.platform().await;
    let (script, voices) =
        crate::app::stage(&caller(r##"wav = "caller.wav", dtmf = [{ at_ms = 1000, digits = "#" }]"##), 1);
    let report = crate::app::within("the script", platform.run(&script, &voices)).await;
    assert!(report.ok(), "{report}");
    let log = app.log();
    let recorded: Vec<_> = log.at("/event").into_iter().filter(|body| body["recording_url"].is_string()).collect();
    let [by_key, whole] = recorded[..] else { panic!("{recorded:?}") };
    let fetch = async |event: &Value| {
        let reply = reqwest::get(event["recording_url"].as_str().unwrap()).await.unwrap();
        let file = reply.error_for_status().unwrap().bytes().await.unwrap();
        assert_eq!(event["size"], file.len());
        wav::decode(Cursor::new(file), Path::new("recording")).unwrap()
    };
    let (by_key, whole) = (fetch(by_key).await, fetch(whole).await);
    assert_eq!((by_key.channels.len(), whole.channels.len(), whole.rate.hz()), (1, 2, 16_000));
    let ms = |wav: &wav::Wav| wav.channels[0].len() / 16;
    assert!((900..=1_500).contains(&ms(&by_key)), "until the key: {} ms", ms(&by_key));
    assert!(ms(&whole) >= 1_900, "the whole call: {} ms", ms(&whole));
    assert_eq!(whole.channels[0].iter().filter(|sample| **sample == 1000).count(), 16_000, "left: all that was said");
    assert_eq!(whole.channels[1].iter().filter(|sample| **sample == 300).count(), 8_000, "right: all that was heard");
}

#[tokio::test]
async fn a_synchronous_recording_ends_with_silence_and_the_flow_waits_for_it() {
    let app = App::start(|app, path, _| {
        (path == "/answer").then(|| {
            json!([
                {"action": "record", "endOnSilence": 3, "eventUrl": [app.url("/recorded")]},
                {"action": "notify", "payload": {"went": "on"}, "eventUrl": [app.url("/recorded")]},
            ])
        })
    })
    .await;
    let script = caller(r#"wav = "caller.wav", hangup_at_ms = 60000"#);
    let (report, log) = run(&app, app.settings(), &script, 2).await;
    let [recorded, notified] = log.at("/recorded")[..] else { panic!("{report}") };
    assert!(recorded["recording_url"].is_string() && notified["payload"].is_object(), "{recorded} {notified}");
    // Five seconds, mono, 16 bits at 16 kHz, and a header.
    let size = recorded["size"].as_u64().unwrap();
    assert!((160_000..=161_400).contains(&size), "{size} bytes: two seconds of voice and three of silence");
}

#[tokio::test]
async fn a_file_is_fetched_and_heard() {
    let heard = tempfile::tempdir().unwrap();
    let url = serve_music().await;
    let app = App::start(move |_, path, _| {
        (path == "/answer").then(|| json!([{"action": "stream", "streamUrl": [url], "loop": 2}]))
    })
    .await;
    let settings = sidetone::simulator::platform::Settings { heard: Some(heard.path().to_owned()), ..app.settings() };
    let (report, _) = run(&app, settings, &caller(""), 1).await;
    assert!(report.ok(), "{report}");
    let files: Vec<_> = std::fs::read_dir(heard.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with("caller-"));
    let heard = wav::read(file).unwrap();
    assert_eq!(heard.channels[0].iter().filter(|sample| **sample == 300).count(), 16_000, "half a second, twice");
}
