//! The chain in a pool: breakers, hedges, deadlines, and what is not for a second try.

use sidetone::inference::breaker::Standing;
use sidetone::types::{Fault, SegmentKind};

use super::bench::Bench;
use super::support::until;
use super::vendor::{Act, Kind, Saw, Vendor, text};

const KIND: Kind = Kind::Deepgram;

fn standing(bench: &Bench) -> Standing {
    bench.pool.standings()[0].1
}

async fn stands(bench: &Bench, wanted: Standing) {
    until("the breaker to move", || std::future::ready((standing(bench) == wanted).then_some(()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_spares_the_vendor_and_closes_after_one_good_probe() {
    let mut vendor = Vendor::start(KIND, &[]).await;
    let breaker = "[asr.breaker]\nfailures_max = 2\ncool_down_ms = 300\n";
    let mut bench = Bench::before_scripted(&vendor, KIND, breaker);
    assert_eq!(bench.heard(1, 8_000).await.0, "deepgram");
    vendor.kill().await;
    // What came of the look beforehand may be learned between two failures, and then one more
    // is needed, or one less.
    let mut n = 1;
    while standing(&bench) == Standing::Closed {
        n += 1;
        assert!(n <= 4, "it is not left alone");
        assert_eq!(bench.heard(n, 8_000).await.0, "scripted");
    }
    assert_eq!(standing(&bench), Standing::Open);
    vendor.restart();
    vendor.seen();
    // The next one that goes there is the probe.
    loop {
        n += 1;
        if bench.heard(n, 8_000).await.0 == "deepgram" {
            break;
        }
        assert!(standing(&bench) == Standing::Open);
        tokio::task::yield_now().await;
    }
    assert_eq!(standing(&bench), Standing::Closed);
    let dialled = vendor.seen().iter().filter(|saw| **saw == Saw::Connection).count();
    assert_eq!(dialled, 1, "it was asked while it was to be left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_known_before_the_first_segment() {
    let vendor = Vendor::start(KIND, &[Act::Unauthorised]).await;
    let mut bench = Bench::before_scripted(&vendor, KIND, "");
    stands(&bench, Standing::Refused).await;
    assert_eq!(bench.heard(1, 8_000).await.0, "scripted");
    assert_eq!(standing(&bench), Standing::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_honoured() {
    let mut vendor = Vendor::start(Kind::OpenAi, &[Act::Answer, Act::Limited(3_600)]).await;
    let mut bench = Bench::before_scripted(&vendor, Kind::OpenAi, "");
    vendor.sees("the look beforehand", |saw| matches!(saw, Saw::Audio(1_600))).await;
    for n in 1..=5 {
        assert_eq!(bench.heard(n, 8_000).await.0, "scripted", "{n}");
    }
    assert_eq!(vendor.seen().iter().filter(|saw| **saw == Saw::Connection).count(), 1);
    assert_eq!(standing(&bench), Standing::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hedge_asks_the_next_and_the_first_answer_counts() {
    let vendor = Vendor::start(KIND, &[]).await;
    let mut bench = Bench::before_scripted(&vendor, KIND, "hedge_after_ms = 50\n");
    vendor.tell(Act::Hang);
    let (asr, heard) = bench.heard(1, 8_000).await;
    assert!(asr == "scripted" && heard.is_ok());
    // It was given up, which says nothing of it.
    assert_eq!(standing(&bench), Standing::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_the_last_fault_is_named_within_the_deadline() {
    let (mut first, mut second) = (Vendor::start(KIND, &[]).await, Vendor::start(Kind::Vosk, &[]).await);
    let tables = format!("[asr.deepgram]\n{}\n[asr.vosk]\n{}\n", first.table(""), second.table(""));
    let mut bench = Bench::new(&format!(
        "[asr]\nbackend = \"deepgram\"\nfall_back = [\"vosk\"]\n[asr.breaker]\ncool_down_ms = 10\n{tables}"
    ));
    assert_eq!(bench.heard(1, 8_000).await.0, "deepgram");
    first.kill().await;
    second.kill().await;
    assert_eq!(bench.heard(2, 8_000).await, ("", Err(Fault::Unreachable)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_one_that_crashes_or_hangs_is_made_good_too() {
    let vendor = Vendor::start(KIND, &[]).await;
    let table = vendor.table("");
    for (trouble, values, utterances) in
        [("panic_every", 3..20, 24), ("fail_every", 3..20, 24), ("delay_ms", 3_000..3_001, 6)]
    {
        // A thread that opens a transcriber tries it on a second of silence. A script that has
        // trouble with that is of no use here.
        let mut found = None;
        for value in values {
            let bench = Bench::new(&format!(
                "[asr]\nbackend = \"scripted\"\nfall_back = [\"deepgram\"]\nattempt_timeout_ms = 1000\n[asr.deepgram]\n{table}\n\
                 [asr.scripted]\n{trouble} = {value}\n[inference]\nthreads = 1\n[asr.breaker]\nfailures_max = 100\n"
            ));
            if bench.is_ready().await {
                found = Some(bench);
                break;
            }
        }
        let mut bench = found.unwrap();
        let mut by_deepgram = 0;
        for n in 1..=utterances {
            let (asr, heard) = bench.heard(n, 8_000 + 160 * n as usize).await;
            assert!(heard.as_ref().is_ok_and(|text| !text.is_empty()), "{trouble}: {asr} {heard:?}");
            by_deepgram += u32::from(asr == "deepgram");
        }
        assert!(by_deepgram > 0, "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_heard_elsewhere_is_redacted_like_what_is_heard_here() {
    let vendor = Vendor::start(KIND, &[]).await;
    let table = vendor.table("");
    let mut bench = Bench::new(&format!(
        "[asr]\nbackend = \"deepgram\"\nfall_back = [\"scripted\"]\n[redaction]\npolicy = \"tags\"\n[asr.deepgram]\n{table}\n"
    ));
    // Of a text so far, what is a number may go on.
    bench.submit(1, SegmentKind::Partial, 8_000);
    let reply = bench.reply().await;
    assert_eq!((reply.asr, reply.outcome.map(|it| it.text.0)), ("deepgram", Ok("[DIGITS] so far".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_a_second_is_asked_again_after_a_pause() {
    let vendor = Vendor::start(KIND, &[]).await;
    let table = vendor.table("");
    let mut bench = Bench::new(&format!(
        "[asr]\nbackend = \"deepgram\"\n[asr.deepgram]\n{table}\n[asr.breaker]\ncool_down_ms = 10\n"
    ));
    assert_eq!(bench.heard(1, 8_000).await.0, "deepgram");
    vendor.tell(Act::Garbage);
    assert_eq!(bench.heard(2, 9_000).await, ("deepgram", Ok(text(KIND, 9_000))));
}

#[tokio::test(flavor = "multi_thread")]
async fn partials_are_the_firsts_or_nobodys() {
    let mut vendor = Vendor::start(KIND, &[]).await;
    let mut bench = Bench::before_scripted(&vendor, KIND, "");
    bench.submit(1, SegmentKind::Partial, 8_000);
    let reply = bench.reply().await;
    assert_eq!((reply.asr, reply.outcome.map(|it| it.text.0)), ("deepgram", Ok("8000 so far".to_owned())));
    vendor.kill().await;
    bench.submit(2, SegmentKind::Partial, 8_000);
    let reply = bench.reply().await;
    assert!(reply.outcome.is_err(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_is_under_way() {
    let vendor = Vendor::start(KIND, &[]).await;
    let mut bench = Bench::before_scripted(&vendor, KIND, "");
    vendor.tell(Act::Hang);
    bench.submit(1, SegmentKind::Final, 8_000);
    bench.pool.stop();
    assert_eq!(bench.reply().await.outcome, Err(Fault::Shutdown));
    bench.submit(2, SegmentKind::Final, 8_000);
    assert_eq!(bench.reply().await.outcome, Err(Fault::Shutdown));
}
