//! Every vendor times every way to misbehave: the named fault, and the next transcriber.

use std::time::Duration;

use sidetone::types::{Fault, SegmentKind};

use super::bench::{Bench, asked, engine, speech, text_of};
use super::vendor::{Act, Kind, Saw, Vendor, text};

/// The fault that an act is, where it is one for the utterance that it happens to.
fn fault_of(kind: Kind, act: Act) -> Option<Fault> {
    let streams = kind != Kind::OpenAi;
    Some(match act {
        Act::Answer | Act::NoWords => return None,
        // The first answer is one; the second costs the connection.
        Act::Twice if streams => return None,
        Act::OutOfOrder if kind == Kind::Vosk => return None,
        Act::OutOfOrder | Act::Garbage | Act::Twice => Fault::Garbage(""),
        Act::Binary => Fault::Garbage(""),
        Act::Hang => Fault::Timeout,
        Act::Unauthorised => Fault::Unauthorised,
        Act::Limited(seconds) => Fault::Limited { retry_after: Some(Duration::from_secs(seconds)) },
        Act::Redirect => Fault::Refused(302),
        Act::CloseMidWord => Fault::Disconnected,
        Act::Oversized => Fault::Oversized,
    })
}

const ACTS: [Act; 11] = [
    Act::Answer,
    Act::Garbage,
    Act::Binary,
    Act::Hang,
    Act::Twice,
    Act::OutOfOrder,
    Act::Unauthorised,
    Act::Limited(7),
    Act::Redirect,
    Act::CloseMidWord,
    Act::Oversized,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_behaves_is_understood() {
    for kind in Kind::ALL {
        let vendor = Vendor::start(kind, &[Act::Answer, Act::NoWords]).await;
        let engine = engine(&vendor, kind, "");
        let answer = asked(&engine, speech(1, SegmentKind::Final, 12_345)).await.unwrap();
        assert_eq!(answer.text.0, text(kind, 12_345), "{kind:?}");
        assert_eq!((answer.words.len(), answer.language), (1, "en"), "{kind:?}");
        assert!(answer.confidence.is_some_and(|it| (0.5..=1.0).contains(&it)), "{kind:?}: {:?}", answer.confidence);
        assert!(
            answer.words.iter().all(|word| word.start_ms < word.end_ms && word.end_ms <= 771),
            "{:?}",
            answer.words
        );
        assert_eq!(text_of(&engine, 2, 4_000).await, Ok(String::new()), "{kind:?}, no words");
        assert_eq!(text_of(&engine, 3, 1_600).await, Ok(text(kind, 1_600)), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misbehaviour_is_a_fault_by_its_name() {
    for kind in Kind::ALL {
        for act in ACTS.into_iter().filter(|act| *act != Act::Hang) {
            let vendor = Vendor::start(kind, &[act]).await;
            let engine = engine(&vendor, kind, "");
            let answer = text_of(&engine, 1, 8_000).await;
            match fault_of(kind, act) {
                None => assert_eq!(answer, Ok(text(kind, 8_000)), "{kind:?} {act:?}"),
                Some(Fault::Garbage(_)) => {
                    assert!(matches!(answer, Err(Fault::Garbage(_))), "{kind:?} {act:?}: {answer:?}")
                }
                Some(fault) => assert_eq!(answer, Err(fault), "{kind:?} {act:?}"),
            }
            // Whatever happened to one utterance, the next has its own answer.
            let next = text_of(&engine, 2, 16_000).await;
            assert_eq!(next, Ok(text(kind, 16_000)), "{kind:?} after {act:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misbehaviour_is_made_good_by_the_next_transcriber() {
    for kind in Kind::ALL {
        for act in ACTS {
            // The pool looks at a vendor beforehand, and that must not take what is meant for the call.
            let mut vendor = Vendor::start(kind, &[]).await;
            let mut bench = Bench::before_scripted(&vendor, kind, "");
            if kind == Kind::OpenAi {
                vendor.sees("the look beforehand", |saw| *saw == Saw::Audio(1_600)).await;
            }
            assert_eq!(bench.heard(1, 8_000).await, (kind.name(), Ok(text(kind, 8_000))), "{kind:?}");
            let fresh = matches!(act, Act::Unauthorised | Act::Limited(_) | Act::Redirect) && kind != Kind::OpenAi;
            if fresh && kind != Kind::Vosk {
                // These happen at a handshake, and the connection there is has had its own.
                continue;
            }
            vendor.tell(act);
            let (asr, heard) = bench.heard(2, 9_600).await;
            match fault_of(kind, act) {
                None => assert_eq!((asr, heard), (kind.name(), Ok(text(kind, 9_600))), "{kind:?} {act:?}"),
                Some(_) => assert!(asr == "scripted" && heard.is_ok_and(|text| !text.is_empty()), "{kind:?} {act:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_withdrawn_and_a_limit_in_the_middle_are_named_too() {
    let rows = [
        (Kind::AssemblyAi, Act::Unauthorised, Fault::Unauthorised),
        (Kind::AssemblyAi, Act::Limited(1), Fault::Limited { retry_after: None }),
    ];
    for (kind, act, fault) in rows {
        let vendor = Vendor::start(kind, &[Act::Answer, act]).await;
        let engine = engine(&vendor, kind, "");
        assert_eq!(text_of(&engine, 1, 8_000).await, Ok(text(kind, 8_000)));
        assert_eq!(text_of(&engine, 2, 8_000).await, Err(fault), "{kind:?} {act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_a_fault_too() {
    for kind in Kind::ALL {
        let mut vendor = Vendor::start(kind, &[]).await;
        vendor.kill().await;
        assert_eq!(text_of(&engine(&vendor, kind, ""), 1, 8_000).await, Err(Fault::Unreachable), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_found_by_looking() {
    for kind in [Kind::OpenAi, Kind::Deepgram, Kind::AssemblyAi] {
        let vendor = Vendor::start(kind, &[]).await;
        let good = engine(&vendor, kind, "");
        assert!(good.check().await.is_ok(), "{kind:?}");
        let bad = engine(&vendor, kind, "key = \"another\"");
        assert_eq!(bad.check().await, Err(Fault::Unauthorised), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_its_bound_is_not_taken_in_parts_either() {
    for kind in [Kind::Deepgram, Kind::AssemblyAi, Kind::Vosk] {
        let vendor = Vendor::start(kind, &[]).await;
        let engine = engine(
            &vendor,
            kind,
            if kind == Kind::AssemblyAi { "reply_bytes_max = 512\npace = 0.0" } else { "reply_bytes_max = 512" },
        );
        // Each interim result is small, and there are many.
        assert_eq!(text_of(&engine, 1, 480_000).await, Err(Fault::Oversized), "{kind:?}");
    }
}
