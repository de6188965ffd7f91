//! The copy of a recording whose call was paused while a card was read out.

use std::path::Path;
use std::time::Duration;

use hound::WavReader;
use reqwest::Client;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidetone::audio::wav::Wav;
use sidetone::simulator::script::Script;
use sidetone::simulator::stage::Voices;
use sidetone::types::Rate;

use super::support::events::{Follower, kind, number, text};
use super::support::within;
use super::world::World;

/// Loudest of all that is said but for the card.
const TALK: i16 = 6_000;
/// How loud the card is read out.
const CARD: i16 = 16_000;
/// Ms after the answer at which the caller presses the key that asks for the pause.
const KEY_MS: usize = 10_000;
/// When the card is read out, in ms after the answer.
const CARD_MS: std::ops::Range<usize> = 12_500..13_500;
const HANG_UP_MS: usize = 21_000;
/// More than two busy clocks of one machine differ by.
const GUARD_MS: i64 = 1_000;

/// A tone of 1 kHz at 16 kHz, as loud as it is to be at each ms.
fn voice(loud: impl Fn(usize) -> i16) -> Wav {
    let sample = |n: usize| (f64::from(loud(n / 16)) * (n as f64 * std::f64::consts::TAU / 16.0).sin()) as i16;
    Wav { rate: Rate::Hz16000, channels: vec![(0..HANG_UP_MS * 16).map(sample).collect()] }
}

/// The caller talks all the time, and reads the card out once; the agent talks all the time.
fn stage() -> (Script, Voices) {
    let script = format!(
        "[[call]]\nfrom = \"447700900000\"\nto = \"442079460000\"\n\
         caller = {{ wav = \"caller\", dtmf = [{{ at_ms = {KEY_MS}, digits = \"1\" }}], hangup_at_ms = {HANG_UP_MS} }}\n\
         [[party]]\nmatch = {{ phone = \"*\" }}\nanswer_after_ms = 100\nwav = \"agent\"\n"
    );
    let script = Script::parse(&script, "the card").unwrap();
    let mut voices = Voices::default();
    let caller = voice(|ms| if CARD_MS.contains(&ms) { CARD } else { TALK });
    voices.add(Path::new("caller"), caller, 0).unwrap();
    voices.add(Path::new("agent"), voice(|_| TALK), 0).unwrap();
    (script, voices)
}

/// The samples of each channel.
fn channels(path: &Path) -> Vec<Vec<i16>> {
    let mut reader = WavReader::open(path).unwrap();
    let count = usize::from(reader.spec().channels);
    assert_eq!(reader.spec().sample_rate, 16_000);
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    (0..count).map(|n| samples.iter().skip(n).step_by(count).copied().collect()).collect()
}

fn loudest(samples: &[i16]) -> u16 {
    samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or_default()
}

/// Ms from one time in the events to another.
fn ms_between(from: &str, to: &str) -> i64 {
    let at = |text| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    (at(to) - at(from)).num_milliseconds()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_is_silent_where_the_call_was_paused_and_nowhere_else() {
    let (kept, heard) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let section =
        format!("[vonage.recordings]\nfolder = {:?}\nguard_ms = {GUARD_MS}\n", kept.path().display().to_string());
    let mut world = World::new(&section).await;
    let platform = world.platform(|settings| {
        // Its clock is ours only then.
        settings.speed = 1.0;
        settings.heard = Some(heard.path().to_owned());
    });
    let platform = platform.await;
    let mut watch = Follower::connect(world.address(), "").await;
    let (script, voices) = stage();
    // It is there until the copy is: recordings are fetched when the call is over.
    let running = tokio::spawn(async move {
        platform.run(&script, &voices).await;
        platform
    });
    let id = loop {
        let event = within("the caller's key", watch.next()).await.unwrap().json();
        if kind(&event) == "dtmf.v1" {
            break text(&event, "/partitionkey").to_owned();
        }
    };
    let client = Client::new();
    let post = async |what: &str| {
        let request =
            client.post(world.url(&format!("/v1/calls/{id}/{what}"))).header("content-type", "application/json");
        assert_eq!(within(what, request.body("{}").send()).await.unwrap().status().as_u16(), 204, "{what}");
    };
    post("pause").await;
    // How long it is paused is part of the story: the card is read out meanwhile.
    tokio::time::sleep(Duration::from_millis((CARD_MS.end - KEY_MS) as u64 + 1_500)).await;
    post("resume").await;
    let platform = within("the platform", running).await.unwrap();
    let record = watch.wait("call.record.v1", &id).await;
    drop(platform);
    let metric = world.gateway.metric("sidetone_recordings_total{outcome=\"kept\"}").await;
    let (events, _) = world.published().await;

    let all = |wanted: &str| -> Vec<&Value> { events.iter().filter(|event| kind(event) == wanted).collect() };
    let told = all("call.recording.v1");
    assert_eq!((told.len(), &told[0]["data"]["copy"], metric), (2, &Value::Null, 1.0), "{told:#?}");
    let copy = &told[1]["data"]["copy"];
    assert_eq!(copy["kept"], true, "{copy}");
    assert_eq!(&record["data"]["recordings"][0]["copy"], copy, "the record did not wait for it");
    let names: Vec<_> = std::fs::read_dir(kept.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [text(copy, "/path")]);
    let path = kept.path().join(text(copy, "/path"));
    let file = std::fs::read(&path).unwrap();
    assert_eq!(format!("{:x}", Sha256::digest(&file)), text(copy, "/sha256"));
    assert_eq!((file.len() as u64, number(told[1], "/data/size")), (number(copy, "/bytes"), file.len() as u64));

    // Where the pause is in the recording, by what was published.
    let captures = all("call.capture.v1");
    let start = text(told[1], "/data/start");
    let [from, to] = [0, 1].map(|n| ms_between(start, text(captures[n], "/data/at")));
    let muted = number(copy, "/muted_ms") as i64;
    assert_eq!(number(copy, "/muted"), 1);
    assert!((muted - (to - from + 2 * GUARD_MS)).abs() <= 2, "{muted} ms were muted of {}", to - from);
    let sides = channels(&path);
    assert_eq!(sides.len(), 2, "each side has a channel of its own");
    for (n, side) in sides.iter().enumerate() {
        let part = |from: i64, to: i64| &side[from as usize * 16..to as usize * 16];
        assert_eq!(loudest(part(from - GUARD_MS + 1, to + GUARD_MS - 1)), 0, "channel {n} is not silent in the pause");
        for around in [
            part(from - GUARD_MS - 1_000, from - GUARD_MS - 1).chunks(320),
            part(to + GUARD_MS + 1, to + GUARD_MS + 1_000).chunks(320),
        ] {
            let quietest = around.map(loudest).min();
            assert!(quietest >= Some(TALK as u16 / 2), "channel {n} is silent outside of the pause: {quietest:?}");
        }
        assert!(loudest(side) <= TALK as u16 + 500, "the card can be heard on channel {n}");
    }
    // It was read out: the agent heard it.
    let heard = std::fs::read_dir(heard.path()).unwrap().map(|entry| entry.unwrap().path());
    let agents = heard.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("phone"));
    let loud: Vec<_> = agents.map(|path| loudest(&channels(&path)[0])).collect();
    assert!(loud.iter().any(|loud| *loud > CARD as u16 - 2_000), "nobody heard the card: {loud:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_is_told_of_at_the_start_and_later() {
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path().display().to_string();
    let mut world = World::new(&format!("[vonage.recordings]\nfolder = {folder:?}\n")).await;
    let platform = world.platform(|_| {}).await;
    let mut watch = Follower::connect(world.address(), "?type=call.record.v1").await;
    kept.close().unwrap();
    let (script, voices) = super::world::call(12);
    within("the call to end", platform.run(&script, &voices)).await;
    let record = within("the call's record", watch.next()).await.unwrap().json();
    let copy = &record["data"]["recordings"][0]["copy"];
    assert_eq!((&copy["kept"], &copy["reason"]), (&false.into(), &"disk".into()), "{record}");
    let (log, folder) = world.gateway.stop().await;
    assert!(log.contains("no copy of a recording is kept"), "{log}");
    let again = super::support::process::run(folder.path(), &["serve", "--config", "sidetone.toml"]).await;
    assert!(
        again.code != Some(0) && again.err.contains("vonage.recordings.folder is "),
        "it starts without the folder: {again:?}"
    );
}
