//! A card number said and keyed in a call, and everywhere that it could come out again.

use std::path::Path;

use serde_json::Value;
use sidetone::simulator::script::Keys;
use sidetone::types::Private;

use super::support::events::{Follower, is, kind, text};
use super::support::process::get;
use super::support::{until, within};
use super::world::{World, call};

/// A number for tests: what follows its first eight digits, which may be shown, is nowhere else.
const SAID: &str = "So my number is 4000 0566 5566 5556, okay?";
const SECRET: [&str; 2] = ["5566 5556", "55665556"];
/// What an utterance of so many frames has of it: the longer the audio, the more, as
/// partials have; then, from two seconds on, all.
const GROWING: usize = 100;
const ALL: usize = 1_500;

fn texts() -> String {
    let words: Vec<_> = SAID.split(' ').collect();
    let said = |frames: usize| words[..(1 + frames * words.len() / GROWING).min(words.len())].join(" ");
    let texts: Vec<_> = (0..GROWING + ALL).map(said).collect();
    format!("[asr.scripted]\ntexts = {}", serde_json::to_string(&texts).unwrap())
}

fn leaks(text: &str) -> bool {
    SECRET.iter().any(|secret| text.contains(secret))
}

/// Every file below `folder` but the configuration, which has the script of it, as text.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => files(&path),
        false if path.extension().is_some_and(|ending| ending == "toml") => Vec::new(),
        false => vec![String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()],
    };
    entries.flat_map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_in_no_event_file_answer_or_log() {
    let more = format!("{}\n[call]\npartial_interval_ms = 200\n[log]\nfilter = \"trace\"", texts());
    let mut world = World::new(&more).await;
    let platform = world.platform(|_| {}).await;
    let mut watch = Follower::connect(world.address(), "").await;
    let (mut script, voices) = call(20);
    script.calls[0].caller.dtmf = vec![Keys { at_ms: 8_000, digits: Private("4000056655665556#".into()) }];
    let running = tokio::spawn(async move { within("the call to end", platform.run(&script, &voices)).await });
    let record = loop {
        let event = within("the call's record", watch.next()).await.expect("an event").json();
        if kind(&event) == "call.record.v1" {
            break event;
        }
    };
    let id = text(&record, "/partitionkey");
    let transcript = until("the transcript", || async {
        let (status, said) = get(world.address(), &format!("/v1/calls/{id}/transcript")).await;
        (status == 200).then_some(said)
    })
    .await;
    assert!(running.await.unwrap().ok());
    let live: Vec<String> = watch.seen.iter().map(|sent| sent.data.clone()).collect();
    let (log, folder) = world.gateway.stop().await;
    let kept = files(folder.path());
    let all = live.iter().chain(&kept).chain([&transcript, &log]);
    let leaked: Vec<_> = all.filter(|text| leaks(text)).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");

    // Not even a log that tells all has it: neither what came over a socket nor who called.
    assert!(log.contains("\"level\":\"DEBUG\""), "the log tells little, so nothing was shown by what is not in it");
    for secret in ["websocket:dtmf", "447700900000", "token=", "stm1.", "\"digit\""] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }

    // It was said, and is marked; its words have their times.
    let events: Vec<Value> = watch.seen.iter().map(super::support::events::Sent::json).collect();
    let found = |wanted: &str, tag: &str| {
        events.iter().find(|event| {
            is(event, wanted, id) && event["data"]["text"].as_str().is_some_and(|text| text.contains(tag))
        })
    };
    assert!(found("transcript.partial.v1", "[DIGITS]").is_some() && transcript.contains("[CARD]"), "{transcript}");
    let said = found("transcript.final.v1", "[CARD]").expect("the card in a final");
    let words = said["data"]["words"].as_array().unwrap();
    let masked: Vec<_> = words.iter().filter(|word| word["text"] == "[CARD]").collect();
    assert_eq!((words.len(), masked.len()), (SAID.split(' ').count(), 4), "{said}");
    let entity = &said["data"]["entities"][0];
    assert_eq!((&entity["start_ms"], &entity["end_ms"]), (&masked[0]["start_ms"], &masked[3]["end_ms"]), "{said}");
    let keys: Vec<_> =
        events.iter().filter(|event| is(event, "dtmf.v1", id)).map(|event| text(event, "/data/digit")).collect();
    assert_eq!((keys.len(), keys[0], keys[1], keys[15], keys[16]), (17, "4", "[DIGIT]", "[DIGIT]", "#"));
}
