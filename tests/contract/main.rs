//! The event contract as files: `deploy/events/` must say what the types say.
//!
//! `UPDATE_EXPECT=1 cargo test --test contract` rewrites the files; the change is
//! then seen in review.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod calls;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sidetone::event::body::{
    CapturePaused, CaptureResumed, Characteristics, Dtmf, Hello, Label, LedgerAccount, LegEnded, LegStarted,
    PlaybackEnded, PlaybackOutcome, RedactedEntity, SentimentQuarter, SentimentScore, SentimentTrend, SpeechEnded,
    SpeechStarted, TimedBy, TimedWord, Timing, TranscriptDropped, TranscriptFinal, TranscriptPartial, TranscriptShadow,
    Weights,
};
use sidetone::event::loss::{self, GatewayLoss};
use sidetone::event::{Author, Body, Event, Origin, schema};
use sidetone::types::{ConversationId, LegId, Speaker, WallTime};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/events")
}

/// Compares a file with what it should hold, or rewrites it when asked to.
fn expect(name: &str, generated: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "{} does not say what the types say; if the change is meant: UPDATE_EXPECT=1 cargo test --test contract",
        path.display()
    );
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// One event of each kind, every field filled.
fn examples() -> Vec<Body> {
    vec![
        Body::LegStarted(LegStarted {
            connected_at: "2026-11-23T09:30:00.000000Z".into(),
            at_ms: 0,
            rate_hz: 16_000,
            hello: Hello::Received,
            headers: [("role".to_owned(), Value::from("caller"))].into_iter().collect(),
            vad: "neural".into(),
            asr: "moonshine".into(),
            sentiment: Some("lexicon".into()),
            participant: Some("bbbbbbbb-4a51-4f6b-86e1-46edebcf9356".into()),
            listen_only: false,
        }),
        Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 640 }),
        Body::TranscriptPartial(TranscriptPartial {
            segment: 1,
            start_ms: 640,
            end_ms: 1_640,
            text: "You have charged".into(),
            asr: "moonshine".into(),
        }),
        Body::SpeechEnded(SpeechEnded { segment: 1, start_ms: 640, end_ms: 2_900 }),
        Body::TranscriptFinal(TranscriptFinal {
            segment: 1,
            start_ms: 640,
            end_ms: 3_400,
            text: "You have charged me twice.".into(),
            words: vec![TimedWord { text: "You".into(), start_ms: 940, end_ms: 1_050, confidence: Some(0.5) }],
            entities: vec![RedactedEntity {
                kind: "card".into(),
                start_ms: 940,
                end_ms: 1_050,
                timed_by: TimedBy::Words,
                first_word: 0,
                words: 1,
            }],
            confidence: Some(0.75),
            language: "en".into(),
            asr: "moonshine".into(),
            sentiment: Some(SentimentScore {
                label: Label::Negative,
                compound: -0.25,
                weights: Weights { negative: 0.25, neutral: 0.75, positive: 0.0 },
                backend: "lexicon".into(),
            }),
            sentiment_fault: None,
            level_dbfs: -22.5,
            timing: Timing { endpoint_ms: 500.0, queue_ms: 0.5, decode_ms: 60.0, total_ms: 560.5 },
        }),
        Body::TranscriptDropped(TranscriptDropped {
            segment: 2,
            start_ms: 4_000,
            end_ms: 4_900,
            reason: "backend_fault".into(),
            fault: Some("unauthorised".into()),
        }),
        Body::TranscriptShadow(TranscriptShadow {
            segment: 1,
            text: "You have charged me twice".into(),
            confidence: Some(0.5),
            asr: "deepgram".into(),
            first: "moonshine".into(),
            words: 5,
            substitutions: 0,
            deletions: 0,
            insertions: 0,
        }),
        Body::Dtmf(Dtmf { digit: "5".into(), duration_ms: Some(260), at_ms: 5_100 }),
        Body::CapturePaused(CapturePaused { at_ms: 5_200, reason: "card_number".into() }),
        Body::CaptureResumed(CaptureResumed { at_ms: 5_400, reason: "card_number".into() }),
        Body::PlaybackEnded(PlaybackEnded {
            playback: "greeting".into(),
            outcome: PlaybackOutcome::BargedIn,
            played_ms: 640,
            length_ms: 3_000,
            confirmed: true,
            at_ms: 5_500,
        }),
        Body::LegEnded(LegEnded {
            reason: "hangup".into(),
            complete: true,
            end_ms: 6_000,
            ledger: LedgerAccount {
                rate_hz: 16_000,
                received: 96_000,
                transcribed: 44_160,
                silent: 37_440,
                paused: 0,
                dropped: [("no_speech".to_owned(), 14_400)].into(),
            },
            characteristics: Characteristics {
                audio_ms: 6_000,
                speech_ms: 2_260,
                gap_ms: 0,
                segments: 2,
                finals: 1,
                dropped: 1,
                partials_shed: 0,
                words: 5,
                words_per_minute: Some(132.5),
                speech_dbfs: Some(-22.5),
                dtmf: 1,
            },
            sentiment: Some(SentimentTrend {
                compound: -0.25,
                scored_ms: 2_760,
                quarters: [(Some(-0.25), 860), (Some(-0.25), 1_500), (Some(-0.25), 400), (None, 0)]
                    .map(|(compound, scored_ms)| SentimentQuarter { compound, scored_ms })
                    .into(),
            }),
        }),
    ]
}

/// The word about events of a leg that were lost.
fn lost() -> Event {
    let origin = Origin {
        conversation: ConversationId::parse("CON-42").unwrap(),
        leg: LegId::parse("63f61863-4a51-4f6b-86e1-46edebcf9356").unwrap(),
        speaker: Speaker::Caller,
        source: Arc::from("/sidetone/gateway"),
    };
    let loss = GatewayLoss {
        subject: origin.leg.to_string(),
        from_seq: 5,
        to_seq: 7,
        reason: "spool_full".into(),
        sink: "kafka".into(),
    };
    loss::event(&origin, WallTime(1_795_426_200_000_000), loss).unwrap()
}

/// The examples as one leg's events, those of its call's record, and a word about a loss.
fn events() -> Vec<Event> {
    let leg = numbered("63f61863-4a51-4f6b-86e1-46edebcf9356", Speaker::Caller, examples());
    let call = numbered("0c0c0c0c-4a51-4f6b-86e1-46edebcf9356", Speaker::Unknown, calls::examples());
    leg.into_iter().chain(call).chain([lost()]).collect()
}

fn numbered(stream: &str, speaker: Speaker, bodies: Vec<Body>) -> Vec<Event> {
    let mut author = Author::new(Origin {
        conversation: ConversationId::parse("CON-42").unwrap(),
        leg: LegId::parse(stream).unwrap(),
        speaker,
        source: Arc::from("/sidetone/gateway"),
    });
    let time = |n: usize| WallTime(1_795_426_200_000_000 + n as i64 * 1_000_000);
    bodies.into_iter().enumerate().map(|(n, body)| author.write(time(n), body)).collect()
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let all = schema::all();
    assert!(!all.is_empty());
    for event in &all {
        expect(&format!("{}.json", event.kind), &pretty(&event.schema));
    }
    let kept = fs::read_dir(folder()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.ends_with(".v1.json")
    });
    assert_eq!(kept.count(), all.len(), "a schema of an event that is no more was left behind");
}

#[test]
fn the_asyncapi_document_is_that_of_the_types() {
    expect("asyncapi.json", &pretty(&schema::asyncapi()));
}

#[test]
fn the_examples_are_one_of_each_kind_and_fit_their_schemas() {
    let events = events();
    let schemas = schema::all();
    assert_eq!(events.len(), schemas.len());
    let mut lines = String::new();
    for event in &events {
        let described = schemas.iter().find(|described| described.kind == event.body.kind()).unwrap();
        assert_eq!(described.lane, event.lane(), "{}", described.kind);
        let value = serde_json::from_slice(&event.value()).unwrap();
        let validator = jsonschema::validator_for(&described.schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", described.kind);
        lines += &(String::from_utf8(event.to_structured()).unwrap() + "\n");
    }
    expect("examples.jsonl", &lines);
}

#[test]
fn a_schema_refuses_what_lacks_its_origin() {
    for described in schema::all() {
        let validator = jsonschema::validator_for(&described.schema).unwrap();
        assert!(!validator.is_valid(&serde_json::json!({})), "{}", described.kind);
    }
}

#[test]
fn what_was_written_is_read_again_byte_for_byte() {
    let events = events();
    assert!(!events.is_empty());
    for event in events {
        let written = event.to_structured();
        let again = Event::from_structured(&written).unwrap();
        assert_eq!(again.to_structured(), written);
        assert_eq!((again.id(), again.value(), again.headers()), (event.id(), event.value(), event.headers()));
        assert_eq!((again.body, again.time), (event.body, event.time));
    }
    let unknown = r#"{"source":"/s","type":"x.v1","subject":"l","time":"1970-01-01T00:00:00Z","partitionkey":"c","seq":1,"data":{}}"#;
    assert_eq!(
        Event::from_structured(unknown.as_bytes()).unwrap_err().to_string(),
        "events of type \"x.v1\" are not known to this version"
    );
}

#[test]
fn a_recording_from_before_there_were_copies_fits_its_schema_and_is_read_as_having_none() {
    let written = events().into_iter().map(|event| String::from_utf8(event.to_structured()).unwrap());
    let line = written.into_iter().find(|line| line.contains("\"call.recording.v1\"")).unwrap();
    let mut old: Value = serde_json::from_str(&line).unwrap();
    old["data"].as_object_mut().unwrap().shift_remove("copy").unwrap();
    let described = schema::all().into_iter().find(|described| described.kind == "call.recording.v1").unwrap();
    assert!(jsonschema::validator_for(&described.schema).unwrap().is_valid(&old["data"]));
    match Event::from_structured(old.to_string().as_bytes()).unwrap().body {
        Body::CallRecording(read) => assert_eq!(read.copy, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_final_from_before_there_were_entities_fits_its_schema_and_is_read_as_having_none() {
    let written = events().into_iter().map(|event| event.to_structured());
    let line = written.map(|line| String::from_utf8(line).unwrap()).find(|line| line.contains("\"entities\"")).unwrap();
    let mut old: Value = serde_json::from_str(&line).unwrap();
    old["data"].as_object_mut().unwrap().shift_remove("entities").unwrap();
    let described = schema::all().into_iter().find(|described| described.kind == "transcript.final.v1").unwrap();
    assert!(jsonschema::validator_for(&described.schema).unwrap().is_valid(&old["data"]));
    match Event::from_structured(old.to_string().as_bytes()).unwrap().body {
        Body::TranscriptFinal(read) => assert_eq!(read.entities, []),
        other => panic!("{other:?}"),
    }
}
