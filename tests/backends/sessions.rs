//! Connections to streaming vendors: shared, kept alive, rotated, never trusted twice.

use std::time::Duration;

use sidetone::types::{Fault, SegmentKind};

use super::bench::{asked, engine, speech, text_of};
use super::support::within;
use super::vendor::{Act, Kind, Manners, Saw, Vendor, text};

const REUSED: [Kind; 2] = [Kind::Deepgram, Kind::AssemblyAi];

fn connections(seen: &[Saw]) -> usize {
    seen.iter().filter(|saw| **saw == Saw::Connection).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_one_utterance_after_another() {
    for kind in REUSED {
        let mut vendor = Vendor::start(kind, &[]).await;
        let engine = engine(&vendor, kind, "");
        for n in 1..=10 {
            assert_eq!(text_of(&engine, n, 1_000 * n as usize).await, Ok(text(kind, 1_000 * n as usize)), "{kind:?}");
        }
        assert_eq!(connections(&vendor.seen()), 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_sent_while_it_is_said_and_its_interim_result_is_the_partial() {
    for kind in [Kind::Deepgram, Kind::AssemblyAi, Kind::Vosk] {
        let mut vendor = Vendor::start(kind, &[]).await;
        let engine = engine(&vendor, kind, "");
        for samples in [8_000, 16_000] {
            let partial = asked(&engine, speech(1, SegmentKind::Partial, samples)).await.unwrap();
            assert!(partial.text.0.ends_with("so far"), "{kind:?}: {:?}", partial.text.0);
        }
        let sent: usize = vendor.seen().iter().map(|saw| if let Saw::Audio(n) = saw { *n } else { 0 }).sum();
        assert_eq!(sent, 16_000, "{kind:?}");
        assert_eq!(text_of(&engine, 1, 24_000).await, Ok(text(kind, 24_000)), "{kind:?}");
        let seen = vendor.seen();
        let rest: usize = seen.iter().map(|saw| if let Saw::Audio(n) = saw { *n } else { 0 }).sum();
        assert_eq!((rest, connections(&seen)), (8_000, 0), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_utterance_cut_before_what_was_sent_begins_anew_elsewhere() {
    for kind in [Kind::Deepgram, Kind::AssemblyAi, Kind::Vosk] {
        let mut vendor = Vendor::start(kind, &[]).await;
        let engine = engine(&vendor, kind, if kind == Kind::AssemblyAi { "pace = 0.0" } else { "" });
        asked(&engine, speech(1, SegmentKind::Partial, 32_000)).await.unwrap();
        assert_eq!(text_of(&engine, 1, 20_000).await, Ok(text(kind, 20_000)), "{kind:?}");
        assert_eq!(text_of(&engine, 2, 12_000).await, Ok(text(kind, 12_000)), "{kind:?}");
        let expected = if kind == Kind::Vosk { 3 } else { 2 };
        assert_eq!(connections(&vendor.seen()), expected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_alive_by_the_vendors_rule() {
    let manners = Manners { silence: Duration::from_secs(3), ..Manners::default() };
    let mut vendor = Vendor::with(Kind::Deepgram, &[], manners).await;
    let engine = engine(&vendor, Kind::Deepgram, "keep_alive_ms = 600");
    assert!(text_of(&engine, 1, 8_000).await.is_ok());
    for _ in 0..8 {
        // Longer than the vendor's patience, together.
        vendor.sees("a sign of life", |saw| matches!(saw, Saw::Text(text) if text.contains("KeepAlive"))).await;
    }
    assert!(text_of(&engine, 2, 8_000).await.is_ok());
    assert_eq!(connections(&vendor.seen()), 0, "it was dialled again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_left_with_a_farewell_and_an_idle_one_too() {
    for (kind, farewell) in [(Kind::Deepgram, "CloseStream"), (Kind::AssemblyAi, "Terminate")] {
        for settings in ["session_max_s = 0", "idle_timeout_ms = 50"] {
            let mut vendor = Vendor::start(kind, &[]).await;
            let engine = engine(&vendor, kind, settings);
            for n in 1..=3 {
                assert_eq!(text_of(&engine, n, 8_000).await, Ok(text(kind, 8_000)), "{kind:?} {settings}");
                vendor.sees("a farewell", |saw| matches!(saw, Saw::Text(text) if text.contains(farewell))).await;
                vendor.sees("the end of the connection", |saw| *saw == Saw::Gone).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_vendor_ends_between_utterances_costs_none() {
    for kind in REUSED {
        let manners = Manners { session_max: 2, ..Manners::default() };
        let mut vendor = Vendor::with(kind, &[], manners).await;
        let engine = engine(&vendor, kind, "");
        for n in 1..=9 {
            assert_eq!(text_of(&engine, n, 8_000).await, Ok(text(kind, 8_000)), "{kind:?}, utterance {n}");
        }
        assert_eq!(connections(&vendor.seen()), 5, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_utterance_is_given_anothers_words() {
    for kind in REUSED {
        let vendor = Vendor::start(kind, &[]).await;
        let engine = engine(&vendor, kind, "");
        for (n, act) in [Act::Answer, Act::Twice, Act::Answer, Act::Answer].into_iter().enumerate() {
            let samples = 8_000 + 1_000 * n;
            vendor.tell(act);
            assert_eq!(text_of(&engine, n as u64, samples).await, Ok(text(kind, samples)), "{kind:?}, utterance {n}");
            vendor.forget();
        }
        // In place of an answer comes one to an utterance before.
        vendor.tell(Act::OutOfOrder);
        let fifth = text_of(&engine, 5, 3_200).await;
        assert!(
            matches!(fifth, Err(Fault::OutOfOrder | Fault::Garbage(_))) || fifth == Ok(text(kind, 3_200)),
            "{fifth:?}"
        );
        assert_eq!(text_of(&engine, 6, 4_800).await, Ok(text(kind, 4_800)), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_utterance_that_is_given_up_takes_its_connection_along() {
    for kind in REUSED {
        let mut vendor = Vendor::start(kind, &[Act::Hang]).await;
        let engine = engine(&vendor, kind, "concurrency_max = 1");
        let hanging = engine.transcribe(speech(1, SegmentKind::Final, 8_000));
        let mut hanging = Box::pin(hanging);
        tokio::select! {
            answer = &mut hanging => panic!("{kind:?} answered {answer:?}"),
            _ = vendor.sees("the end of the speech", |saw| matches!(saw, Saw::Text(text) if text.contains("Finalize") || text.contains("Force"))) => {}
        }
        drop(hanging);
        within("the end of the connection", vendor.sees("", |saw| *saw == Saw::Gone)).await;
        assert_eq!(text_of(&engine, 2, 4_000).await, Ok(text(kind, 4_000)), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_than_allowed_and_partials_give_way() {
    for kind in REUSED {
        let mut vendor = Vendor::start(kind, &[]).await;
        let engine = engine(&vendor, kind, "concurrency_max = 2");
        for n in 1..=2 {
            asked(&engine, speech(n, SegmentKind::Partial, 8_000)).await.unwrap();
        }
        assert_eq!(asked(&engine, speech(3, SegmentKind::Partial, 8_000)).await, Err(Fault::Overload), "{kind:?}");
        let third = asked(&engine, speech(3, SegmentKind::Final, 8_000));
        let (third, first) = tokio::join!(third, asked(&engine, speech(1, SegmentKind::Final, 16_000)));
        assert_eq!(first.unwrap().text.0, text(kind, 16_000));
        assert_eq!(third.unwrap().text.0, text(kind, 8_000));
        assert_eq!(connections(&vendor.seen()), 2, "{kind:?}");
    }
}
