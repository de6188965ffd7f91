//! The commands, run as a user runs them: what they print, where, and how they end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use sidetone::event::schema;
use sidetone::{asr, sentiment, sink, vad};
use tempfile::TempDir;

use super::support::events::{check_all, check_contract, is, kind, number, parse_lines, text};
use super::support::process::{Said, run_with};
use super::support::{channel, speech};

/// Runs the binary in `folder` with a transcriber that needs no model.
async fn scripted(folder: &Path, arguments: &[&str]) -> Said {
    run_with(folder, arguments, |command| {
        command.env("SIDETONE_ASR__BACKEND", "scripted");
    })
    .await
}

/// Writes interleaved channels at 8 kHz.
fn write_wav(folder: &TempDir, name: &str, channels: &[Vec<i16>]) -> PathBuf {
    let path = folder.path().join(name);
    let spec = hound::WavSpec {
        channels: channels.len() as u16,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&path, spec).unwrap();
    for at in 0..channels[0].len() {
        channels.iter().for_each(|channel| wav.write_sample(channel[at]).unwrap());
    }
    wav.finalize().unwrap();
    path
}

/// Both parties speak in it: the agent left, the caller right.
fn stereo() -> Vec<Vec<i16>> {
    (0..2).map(|which| channel(which)[..10 * 8_000].to_vec()).collect()
}

fn files(folder: &TempDir) -> BTreeSet<String> {
    folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Who was heard; the controller's events have no speaker.
fn speakers(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(|event| event.pointer("/data/speaker")?.as_str()).collect()
}

// --- demo -----------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_events_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let said = scripted(folder.path(), &["demo", "--json", "--speed", "16", "--events", "kept.jsonl"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let events = parse_lines(&said.out);
    check_all(&events);
    assert_eq!(speakers(&events), BTreeSet::from(["agent", "caller"]));
    let conversations: BTreeSet<_> = events.iter().map(|event| text(event, "/partitionkey")).collect();
    assert_eq!(conversations.len(), 1, "both legs are one conversation");
    let ended: Vec<_> = events.iter().filter(|event| kind(event) == "leg.ended.v1").collect();
    assert_eq!(ended.len(), 2);
    for leg in ended {
        // How long a socket hears the call depends on when it came and when the call ended.
        let received = number(leg, "/data/ledger/received");
        let heard = number(leg, "/data/ledger/transcribed") + number(leg, "/data/ledger/silent");
        assert_eq!(received, heard, "dropped or paused: {leg}");
        assert_eq!((&leg["data"]["complete"], text(leg, "/data/reason")), (&Value::Bool(true), "hangup"), "{leg}");
        assert!(number(leg, "/data/characteristics/finals") >= 5, "{leg}");
    }
    let kept = parse_lines(&std::fs::read_to_string(folder.path().join("kept.jsonl")).unwrap());
    let ids = |events: &[Value]| events.iter().map(|event| text(event, "/id").to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&kept), ids(&events));
    assert_eq!(files(&folder), ["kept.jsonl".to_owned()].into(), "the demo left something behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_call_to_people() {
    let folder = tempfile::tempdir().unwrap();
    let wav = write_wav(&folder, "call.wav", &stereo());
    let said = scripted(folder.path(), &["demo", wav.to_str().unwrap(), "--speed", "16"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.starts_with("Playing 10 s of 8000 Hz as a call: an offline Vonage on 127.0.0.1:"), "{}", said.out);
    for line in ["inbound call, flow demo", "a socket of its own hears the agent", "2 media legs, complete"] {
        assert!(said.out.contains(line), "{line:?} is not in\n{}", said.out);
    }
    assert_eq!(said.out.matches("nothing lost").count(), 2, "{}", said.out);
    for speaker in ["agent", "caller"] {
        let utterance = |line: &&str| line.starts_with("00:") && line.contains(speaker);
        assert!(said.out.lines().any(|line| utterance(&line)), "nothing of the {speaker}:\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "escape sequences outside a terminal: {:?}", said.out);
    assert_eq!(files(&folder), ["call.wav".to_owned()].into(), "the demo left something behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_a_file_of_any_number_of_channels() {
    let folder = tempfile::tempdir().unwrap();
    let [left, right] = &stereo()[..] else { panic!("stereo is two channels") };
    let silence = vec![0; left.len()];
    let named = ["--channels", "alice,bob"];
    for (name, channels, more, expected) in [
        ("mono.wav", vec![speech()], &[][..], &["caller"][..]),
        ("stereo.wav", stereo(), &[], &["agent", "caller"]),
        ("stereo.wav", stereo(), &named, &["alice", "bob"]),
        ("three.wav", vec![left.clone(), right.clone(), silence], &[], &["channel-1", "channel-2", "channel-3"]),
    ] {
        let wav = write_wav(&folder, name, &channels);
        let arguments = [&["demo", wav.to_str().unwrap(), "--json", "--speed", "32"], more].concat();
        let said = scripted(folder.path(), &arguments).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}: {said:?}");
        let events = parse_lines(&said.out);
        check_all(&events);
        assert_eq!(speakers(&events), expected.iter().copied().collect(), "{arguments:?}");
        // Each speaker got the channel that was meant, not another's.
        for (samples, speaker) in channels.iter().zip(expected) {
            let heard = events.iter().any(|e| kind(e) == "transcript.final.v1" && text(e, "/data/speaker") == *speaker);
            assert_eq!(heard, samples.iter().any(|sample| *sample != 0), "{arguments:?}: {speaker}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let wav = write_wav(&folder, "stereo.wav", &stereo());
    let wav = wav.to_str().unwrap();
    for (arguments, code, expected) in [
        (
            &["demo", wav, "--channels", "one"][..],
            1,
            "sidetone: --channels names 1 speakers, but the file has 2 channels\n",
        ),
        (&["demo", "nowhere.wav"], 1, "sidetone: nowhere.wav: "),
        (
            &["demo", "--speed", "0"],
            2,
            "error: invalid value '0' for '--speed <FACTOR>': expected a number from 0.1 to 32\n",
        ),
        (&["demo", "--speed", "fast"], 2, "error: invalid value 'fast' for '--speed <FACTOR>'"),
        (&["demo", wav, "--events", "no/where.jsonl"], 1, "sidetone: event file no/where.jsonl cannot be written: "),
    ] {
        let said = scripted(folder.path(), arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments:?}: {said:?}");
        assert!(said.err.starts_with(expected), "{arguments:?} said\n{}\nnot\n{expected}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcriber_in_trouble_costs_segments_not_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[asr]\nbackend = \"scripted\"\n[asr.scripted]\nfail_every = 5\nempty_every = 3\n";
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    let said = scripted(folder.path(), &["demo", "--config", "sidetone.toml", "--json", "--speed", "32"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let events = parse_lines(&said.out);
    check_all(&events);
    let dropped: BTreeSet<_> =
        events.iter().filter(|e| kind(e) == "transcript.dropped.v1").map(|e| text(e, "/data/reason")).collect();
    assert!(dropped.is_subset(&BTreeSet::from(["backend_fault", "no_speech"])), "{dropped:?}");
    assert!(dropped.contains("backend_fault") || dropped.contains("no_speech"), "no segment met with trouble");
}

// --- transcribe -----------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn transcribe_prints_lines_for_people() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder, "one.wav", &[speech()]);
    write_wav(&folder, "two.wav", &stereo());
    let said = scripted(folder.path(), &["transcribe", "one.wav", "two.wav"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let (one, two) = said.out.split_once("\n\n").expect("a blank line between two files");
    for (part, name, speakers) in [(one, "one.wav", &["caller"][..]), (two, "two.wav", &["agent", "caller"])] {
        let mut lines = part.lines();
        assert_eq!(lines.next(), Some(name));
        let lines: Vec<_> = lines.collect();
        assert!(!lines.is_empty(), "{part}");
        let times: Vec<_> = lines.iter().map(|line| &line[..7]).collect();
        assert!(times.is_sorted(), "not in the order they began: {times:?}");
        let spoke: BTreeSet<_> = lines.iter().map(|line| line[8..].split_whitespace().next().unwrap()).collect();
        assert_eq!(spoke, speakers.iter().copied().collect(), "{part}");
    }
    assert_eq!(files(&folder), ["one.wav".to_owned(), "two.wav".to_owned()].into(), "it left something behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn transcribe_prints_json_for_machines() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder, "two.wav", &stereo());
    let said = scripted(folder.path(), &["transcribe", "--format", "json", "two.wav", "two.wav"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let documents = parse_lines(&said.out);
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0], without_timing(&documents[1], &documents[0]), "the same file, the same words");
    for document in &documents {
        assert_eq!((text(document, "/file"), number(document, "/rate_hz")), ("two.wav", 8_000));
        let channels = document["channels"].as_array().unwrap();
        assert_eq!(channels.iter().map(|channel| text(channel, "/speaker")).collect::<Vec<_>>(), ["agent", "caller"]);
        for channel in channels {
            let utterances = channel["utterances"].as_array().unwrap();
            assert!(!utterances.is_empty());
            for utterance in utterances {
                check_contract(&as_event("transcript.final.v1", utterance));
            }
            check_contract(&as_event("leg.ended.v1", &channel["ended"]));
            super::support::events::check_ledger(&serde_json::json!({"data": channel["ended"]}));
            assert_eq!(number(channel, "/ended/ledger/received"), 80_000);
            assert_eq!(channel["ended"]["complete"], true);
        }
    }
}

/// `document` with what depends on the machine's speed taken from `model`.
fn without_timing(document: &Value, model: &Value) -> Value {
    let mut document = document.clone();
    for (channel, of) in
        document["channels"].as_array_mut().unwrap().iter_mut().zip(model["channels"].as_array().unwrap())
    {
        for (utterance, of) in
            channel["utterances"].as_array_mut().unwrap().iter_mut().zip(of["utterances"].as_array().unwrap())
        {
            utterance["timing"] = of["timing"].clone();
        }
    }
    document
}

/// The bare data of an event in an envelope, to hold it against the contract.
fn as_event(kind: &str, data: &Value) -> Value {
    let mut data = data.clone();
    for (name, value) in
        [("conversation", Value::from("c")), ("leg", "l".into()), ("speaker", "s".into()), ("seq", 1.into())]
    {
        data[name] = value;
    }
    serde_json::json!({
        "specversion": "1.0", "id": "l:1", "source": "/", "type": kind, "subject": "l", "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json", "partitionkey": "c", "seq": 1, "data": data,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn transcribe_writes_subtitles_that_hold_any_text() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder, "a --> b.wav", &stereo());
    let config = "[asr]\nbackend = \"scripted\"\n[asr.scripted]\ntexts = [\"1 < 2 & 3 --> 4\"]\n";
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    let arguments =
        ["transcribe", "--config", "sidetone.toml", "-f", "vtt", "--channels", "A>B&C,caller", "a --> b.wav"];
    let said = scripted(folder.path(), &arguments).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let mut blocks = said.out.split("\n\n");
    assert_eq!(blocks.next(), Some("WEBVTT"));
    assert_eq!(blocks.next(), Some("NOTE a - -> b.wav"));
    let cues: Vec<_> = blocks.filter(|block| !block.trim().is_empty()).collect();
    assert!(cues.len() >= 2, "{}", said.out);
    let stamp = |text: &str| {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "00:00:00.000", "{text}");
        text.to_owned()
    };
    for cue in cues {
        let lines: Vec<_> = cue.lines().collect();
        let (from, to) = lines[0].split_once(" --> ").unwrap_or_else(|| panic!("no times in {cue:?}"));
        assert!(stamp(from) < stamp(to), "{cue}");
        let voice = ["<v A&gt;B&amp;C>", "<v caller>"].into_iter().find_map(|voice| lines[1].strip_prefix(voice));
        assert_eq!(voice, Some("1 &lt; 2 &amp; 3 --&gt; 4"), "{cue}");
        assert_eq!(lines.len(), 2, "{cue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transcribe_says_what_is_wrong_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(folder.path().join("cd.wav"), spec).unwrap();
    wav.write_sample(1_i16).unwrap();
    wav.finalize().unwrap();
    std::fs::write(folder.path().join("text.wav"), "no audio at all").unwrap();
    for (name, expected) in [
        ("cd.wav", "sidetone: cd.wav: 44100 Hz; expected 8000, 16000 or 24000 Hz (sox, for one, converts: "),
        ("text.wav", "sidetone: text.wav: "),
        ("nowhere.wav", "sidetone: nowhere.wav: "),
        // A name that looks like another failure does not make it one.
        ("Broken pipe.wav", "sidetone: Broken pipe.wav: "),
    ] {
        let said = scripted(folder.path(), &["transcribe", name]).await;
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{name}: {said:?}");
        assert!(said.err.starts_with(expected), "{name}: {said:?}");
        assert_eq!(said.err.lines().count(), 1, "{name}: {said:?}");
    }
    let said = scripted(folder.path(), &["transcribe"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder, "one.wav", &[speech()]);
    for arguments in [
        &["events", "schemas"][..],
        &["backends"],
        &["transcribe", "one.wav"],
        &["demo", "one.wav", "--json", "--speed", "32"],
        &["demo", "one.wav", "--speed", "32"],
    ] {
        let said = run_with(folder.path(), arguments, |command| {
            command.env("SIDETONE_ASR__BACKEND", "scripted");
            // A pipe that nobody reads: its other end is closed when this returns.
            let (reader, writer) = std::io::pipe().unwrap();
            command.stdout(Stdio::from(writer));
            drop(reader);
        })
        .await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}: {said:?}");
    }
}

// --- the small ones ---------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn backends_lists_every_backend_and_marks_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let said = scripted(folder.path(), &["backends"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    // By what they are, too: two families may have one of the same name.
    let names: Vec<_> = vad::BACKENDS.iter().map(|b| (b.name(), b.about())).collect();
    let families = [
        names,
        asr::BACKENDS.iter().map(|b| (b.name(), b.about())).collect(),
        sentiment::BACKENDS.iter().map(|b| (b.name(), b.about())).collect(),
    ];
    for family in families {
        assert!(!family.is_empty());
        for (place, (name, about)) in family.iter().enumerate() {
            let line = format!("  {} {name:<12} {about}\n", if place == 0 { "*" } else { " " });
            assert_eq!(said.out.matches(&line).count(), 1, "{line:?} in\n{}", said.out);
        }
    }
    for (name, _) in sink::KINDS {
        assert!(said.out.contains(&format!("    {name:<12} ")), "{name} in\n{}", said.out);
    }
    assert_eq!(said.out.matches("  * ").count(), 3, "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_nothing_wrong_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let said = scripted(folder.path(), &["check", "--listen", "127.0.0.1:0"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let expected = [
        ("configuration", "defaults"),
        ("vad", "cascade"),
        ("model", "none needed"),
        ("asr", "scripted loads; "),
        ("port", "127.0.0.1:0 is free"),
        ("event file", "sidetone-events.jsonl"),
    ];
    assert_eq!(said.out.lines().count(), expected.len(), "{}", said.out);
    for (line, (what, begins)) in said.out.lines().zip(expected) {
        assert!(line.starts_with(&format!("ok   {what:<14} {begins}")), "{line}");
    }
    assert!(files(&folder).is_empty(), "looking left something behind: {:?}", files(&folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_does_not_touch_an_event_file_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let torn = "{\"id\":\"x:1\"}\n{\"id\":\"x:";
    std::fs::write(folder.path().join("sidetone-events.jsonl"), torn).unwrap();
    let said = scripted(folder.path(), &["check", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("sidetone-events.jsonl")).unwrap(), torn);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let config = "[sink.file]\npath = \"no/where.jsonl\"\n[asr.scripted]\ntexts = []\n[vad]\nbackend = \"webrtc\"\n";
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    let said = scripted(folder.path(), &["check", "--config", "sidetone.toml", "--listen", &taken]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{said:?}");
    for line in [
        "ok   configuration  sidetone.toml".to_owned(),
        "ok   vad            webrtc".to_owned(),
        "BAD  asr            asr.scripted: texts = []; expected one text or more".to_owned(),
        format!(
            "BAD  port           cannot listen on {taken}: Address already in use (os error 98); \
             stop what uses it, or choose another with --listen or server.listen"
        ),
        "BAD  event file     event file no/where.jsonl cannot be written: No such file or directory (os error 2); \
         choose another with --events or sink.file.path, or \"\" for none"
            .to_owned(),
    ] {
        assert!(said.out.lines().any(|said| said == line), "{line:?} is not in\n{}", said.out);
    }
    std::fs::write(folder.path().join("wrong.toml"), "[server]\nlegs_max = 0\n[call]\nspeed_max = 0\n").unwrap();
    let said = scripted(folder.path(), &["check", "--config", "wrong.toml"]).await;
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.out,
        "BAD  configuration  wrong.toml: server.legs_max is 0; expected at least 1\n\
         BAD  configuration  wrong.toml: call.speed_max is 0; expected 1 to 1000\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_prints_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["events"][..], schema::asyncapi()),
        (&["events", "asyncapi"], schema::asyncapi()),
        (
            &["events", "schemas"],
            Value::Object(schema::all().into_iter().map(|event| (event.kind.to_owned(), event.schema)).collect()),
        ),
    ] {
        let said = scripted(folder.path(), arguments).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        let printed: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(printed, expected, "{arguments:?}");
        assert!(printed.as_object().is_some_and(|document| !document.is_empty()));
    }
    assert_eq!(scripted(folder.path(), &["events", "poetry"]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_are_there_and_nothing_else_is_assumed() {
    let folder = tempfile::tempdir().unwrap();
    let help = scripted(folder.path(), &["--help"]).await;
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for command in ["demo", "serve", "transcribe", "backends", "check", "events", "models", "spool"] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command} is not in\n{}", help.out);
        let said = scripted(folder.path(), &[command, "--help"]).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{command}: {said:?}");
    }
    let version = scripted(folder.path(), &["--version"]).await;
    assert_eq!(version.out, concat!("sidetone ", env!("CARGO_PKG_VERSION"), "\n"));
    let nothing: [&str; 0] = [];
    assert_eq!(scripted(folder.path(), &nothing).await.code, Some(2));
    assert!(files(&folder).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_said_even_of_a_silent_call() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder, "silence.wav", &[vec![0; 8_000]]);
    let said = scripted(folder.path(), &["demo", "silence.wav", "--json", "--speed", "32"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let events = parse_lines(&said.out);
    check_all(&events);
    let conversation = text(&events[0], "/partitionkey");
    let ended = events.iter().find(|event| is(event, "leg.ended.v1", conversation)).unwrap();
    let [received, silent] = ["received", "silent"].map(|page| number(ended, &format!("/data/ledger/{page}")));
    assert!(received == silent && silent >= 8_000, "a second at 8 kHz, all of it silent: {ended}");
}
