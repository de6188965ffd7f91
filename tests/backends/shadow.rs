//! A second transcriber: what it hears is told, compared and redacted; whatever becomes of it,
//! the first one's events are the same.

use serde_json::{Value, json};
use sidetone::simulator::player;
use sidetone::types::{Fault, SegmentId, SegmentKind};

use super::bench::Bench;
use super::support::events::{check_all, kind, number, read, read_so_far, text};
use super::support::process::{Gateway, run};
use super::support::{channel, leg, until, within};
use super::vendor::{Act, Kind, Saw, Vendor};

/// Two scripts, and how the second is told to behave.
fn scripts(first: &[&str], second: &[&str], more: &str) -> String {
    format!(
        "[asr]\nbackend = \"scripted\"\n[asr.scripted]\ntexts = {first:?}\n[inference]\nthreads = 1\n\
         [asr.shadow]\nbackend = \"scripted\"\nshare = 1.0\n[asr.shadow.scripted]\ntexts = {second:?}\n{more}\n"
    )
}

/// Waits until the second transcriber may be asked.
async fn is_warm(bench: &Bench) {
    assert!(bench.is_ready().await);
    until("the second transcriber to be warm", || {
        let ready = bench.pool.shadow_standing().is_some_and(|(_, standing)| standing == "ready");
        std::future::ready(ready.then_some(()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_hears_what_the_first_has_answered_and_is_held_against_it() {
    let settings = scripts(&["I have been waiting for twenty minutes."], &["i had been waiting 20 minutes"], "");
    // Once over the queue alone, once over the chain.
    let chain =
        settings.replace("backend = \"scripted\"\n[asr.s", "backend = \"scripted\"\nfall_back = [\"vosk\"]\n[asr.s");
    assert_ne!(settings, chain);
    for settings in [settings, chain] {
        let mut bench = Bench::new(&settings);
        is_warm(&bench).await;
        assert_eq!(bench.heard(1, 8_000).await.1.as_deref(), Ok("I have been waiting for twenty minutes."));
        let shadow = bench.shadow().await;
        assert_eq!((shadow.id, shadow.asr, shadow.first), (SegmentId(1), "scripted", "scripted"));
        assert_eq!((shadow.text.0.as_str(), shadow.confidence), ("i had been waiting 20 minutes", Some(0.9)));
        let d = shadow.disagreement;
        // Twenty is two words, as numbers are compared by their digits.
        assert_eq!((d.words, d.substitutions, d.deletions, d.insertions), (8, 1, 1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_texts_so_far_nor_conversations_that_are_not_of_the_share_are_heard_twice() {
    let settings = scripts(&["one"], &["two"], "");
    let mut bench = Bench::new(&settings);
    is_warm(&bench).await;
    bench.submit(1, SegmentKind::Partial, 8_000);
    assert!(!bench.reply().await.overheard);
    bench.submit(1, SegmentKind::Final, 8_000);
    assert!(bench.reply().await.overheard);
    assert_eq!(bench.shadow().await.text.0, "two");
    let mut bench = Bench::new(&settings.replace("share = 1.0", "share = 0.0"));
    bench.submit(1, SegmentKind::Final, 8_000);
    assert!(!bench.reply().await.overheard);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_text_is_redacted_by_what_either_of_them_heard() {
    let tags = "[redaction]\npolicy = \"tags\"\n";
    // The question, which the second one did not catch, and the answer.
    let (first, second) =
        (["What is the security code?", "three two one"], ["what is the cured toad", "three two one"]);
    let mut bench = Bench::new(&scripts(&first, &second, tags));
    is_warm(&bench).await;
    let frames = |n: usize| 320 * n;
    for (id, frames, expected) in [(1, frames(40), second[0]), (2, frames(41), "[CVV]")] {
        let (_, heard) = bench.heard(id, frames).await;
        assert_eq!(heard.unwrap() == expected, id == 2);
        assert_eq!(bench.shadow().await.text.0, expected);
    }
    // Each hears a number that the other did not.
    for (first, second) in [("it is on the card", "4111 1111 1111 1111"), ("4111 1111 1111 1111", "for one one one")] {
        let mut bench = Bench::new(&scripts(&[first], &[second], tags));
        is_warm(&bench).await;
        let (_, heard) = bench.heard(1, 8_000).await;
        let shown = [heard.unwrap(), bench.shadow().await.text.0];
        assert!(shown.iter().all(|text| !text.contains("4111")), "{shown:?}");
        assert!(shown.iter().any(|text| text.contains("[CARD]")), "{shown:?}");
    }
    // One that it heard in two pieces, of which the first transcriber heard neither as one.
    let second = ["my card is 4111 1111", "1111 1111"];
    let mut bench = Bench::new(&scripts(&["something", "else"], &second, "[redaction]\npolicy = \"strict\"\n"));
    is_warm(&bench).await;
    for (id, frames) in [(1, frames(40)), (2, frames(41))] {
        bench.heard(id, frames).await.1.unwrap();
        let text = bench.shadow().await.text.0;
        assert!(!text.contains("11"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_elsewhere_is_asked_too_and_one_that_hangs_is_left_alone() {
    let vendor = Vendor::start(Kind::Deepgram, &[]).await;
    let said = |samples| super::vendor::text(Kind::Deepgram, samples);
    let settings = format!(
        "[asr]\nbackend = \"scripted\"\nattempt_timeout_ms = 2000\n[asr.scripted]\ntexts = [\"one two\"]\n\
         [asr.breaker]\nfailures_max = 2\ncool_down_ms = 60000\n\
         [asr.shadow]\nbackend = \"deepgram\"\nshare = 1.0\n[asr.deepgram]\n{}\n",
        vendor.table("")
    );
    let mut bench = Bench::new(&settings);
    bench.heard(1, 8_000).await.1.unwrap();
    let shadow = bench.shadow().await;
    assert_eq!((shadow.asr, shadow.first, shadow.text.0.as_str()), ("deepgram", "scripted", &*said(8_000)));
    (0..20).for_each(|_| vendor.tell(Act::Hang));
    for id in 2..=9 {
        assert!(bench.heard(id, 8_000).await.1.is_ok());
    }
    until("it to be left alone", || {
        let (_, standing) = bench.pool.shadow_standing().unwrap();
        std::future::ready((standing == "left alone after failures").then_some(()))
    })
    .await;
    assert!(bench.heard(10, 8_000).await.1.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_hears_after_the_leg_is_gone_is_nobodys() {
    let mut bench = Bench::new(&scripts(&["one"], &["two"], ""));
    is_warm(&bench).await;
    bench.submit(1, SegmentKind::Final, 8_000);
    bench.leave();
    assert!(bench.reply().await.outcome.is_ok());
    // The next leg has its own.
    assert_ne!(bench.heard(2, 8_000).await.1, Err(Fault::Overload));
}

/// A call as its events tell it, but for who heard what twice, for times and for numbers.
fn told(events: &[Value]) -> Vec<Value> {
    let durable = events.iter().filter(|event| event.get("sub").is_none());
    let told = durable.filter_map(|event| {
        let data = |name: &str| event["data"][name].clone();
        let length = || number(event, "/data/end_ms") - number(event, "/data/start_ms");
        match kind(event) {
            "transcript.final.v1" => Some(json!([
                data("segment"),
                length(),
                data("text"),
                data("asr"),
                data("sentiment"),
                data("level_dbfs")
            ])),
            "transcript.dropped.v1" => Some(json!([data("segment"), length(), data("reason")])),
            "leg.ended.v1" => Some(json!([data("reason"), data("complete"), data("ledger"), data("characteristics")])),
            _ => None,
        }
    });
    told.collect()
}

/// Plays a call to a gateway with `settings`, while `meanwhile` happens; gives its events once
/// the metrics are as `counted` says.
async fn call(settings: &str, meanwhile: impl Future<Output = ()>, counted: impl Fn(&str) -> bool) -> Vec<Value> {
    let quiet = "[call]\npartial_interval_ms = 0\ngap_timeout_ms = 20000\n[endpointing]\nhangover_ms = 200\n\
                 max_segment_ms = 2000\nlong_segment_ms = 1000\n";
    let gateway = Gateway::start(&format!("{settings}\n{quiet}")).await;
    let samples = channel(1)[..40 * 8_000].to_vec();
    let leg = leg(gateway.address, "CON-1", samples, 8.0);
    let played = async { within("the call", player::play(&leg, tokio::time::Instant::now())).await.is_ok() };
    let (played, ()) = tokio::join!(played, meanwhile);
    assert!(played);
    let path = gateway.events_path();
    until("the end of the leg", || {
        let ended = read_so_far(&path).iter().any(|event| kind(event) == "leg.ended.v1");
        std::future::ready(ended.then_some(()))
    })
    .await;
    until("the metrics to say so", || async { counted(&gateway.get("/metrics").await.1).then_some(()) }).await;
    let (_, folder) = gateway.stop().await;
    let events = read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&events);
    events
}

/// How many segments the second transcriber was offered and what became of them, as counted.
fn counted(metrics: &str, outcome: &str) -> f64 {
    let named = |line: &&str| line.starts_with("sidetone_shadow_segments_total{") && line.contains(outcome);
    metrics.lines().filter(named).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

const FIRST: &str = "[asr]\nbackend = \"scripted\"\nattempt_timeout_ms = 3000\n[asr.breaker]\nfailures_max = 3\n\
                     [asr.scripted]\ntexts = [\"I am well\", \"thank you\", \"that is terrible\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_the_second_the_events_of_the_first_are_the_same() {
    let alone = told(&call(FIRST, async {}, |metrics| !metrics.contains("sidetone_shadow")).await);
    let finals = (alone.len() - 1) as f64;
    assert!(finals > 10.0, "{alone:#?}");
    // Here, and well.
    let well = "[asr.shadow]\nbackend = \"scripted\"\nshare = 1.0\n[asr.shadow.scripted]\ntexts = [\"I am unwell\"]\n";
    let words = "sidetone_shadow_words_total{first=\"scripted\",backend=\"scripted\"}";
    let events = call(&format!("{FIRST}{well}"), async {}, |metrics| metrics.contains(words)).await;
    assert_eq!(told(&events), alone);
    let shadows: Vec<_> = events.iter().filter(|event| kind(event) == "transcript.shadow.v1").collect();
    let sum = |name: &str| shadows.iter().map(|event| number(event, name)).sum::<u64>();
    assert!(sum("/data/words") > 0 && sum("/data/substitutions") > 0, "{shadows:#?}");
    assert!(shadows.iter().all(|event| text(event, "/data/speaker") == "caller"));
    // Here, and stuck from its first second on: two wait for it, the others are counted.
    let stuck =
        "[asr.shadow]\nbackend = \"scripted\"\nshare = 1.0\nwaiting_max = 2\n[asr.shadow.scripted]\ndelay_ms = 60000\n";
    let shed = |metrics: &str| counted(metrics, "overload") == finals - 2.0;
    assert_eq!(told(&call(&format!("{FIRST}{stuck}"), async {}, shed).await), alone);
    // Here, and broken.
    let broken = "[asr.shadow]\nbackend = \"scripted\"\nshare = 1.0\n[asr.shadow.scripted]\npanic_every = 1\n";
    let lost = |metrics: &str| counted(metrics, "unavailable") + counted(metrics, "overload") == finals;
    assert_eq!(told(&call(&format!("{FIRST}{broken}"), async {}, lost).await), alone);
    // Elsewhere, and hanging.
    let vendor = Vendor::start(Kind::Deepgram, &[Act::Hang; 100]).await;
    let elsewhere = |vendor: &Vendor| {
        let table = vendor.table("");
        format!("{FIRST}[asr.shadow]\nbackend = \"deepgram\"\nshare = 1.0\n[asr.shadow.deepgram]\n{table}\n")
    };
    let given_up = |metrics: &str| counted(metrics, "timeout") >= 1.0;
    let events = call(&elsewhere(&vendor), async {}, given_up).await;
    assert_eq!(told(&events), alone);
    assert!(events.iter().all(|event| kind(event) != "transcript.shadow.v1"));
    // Elsewhere, and killed in the middle of the call.
    let mut vendor = Vendor::start(Kind::Deepgram, &[]).await;
    let settings = elsewhere(&vendor);
    let kill = async {
        vendor.sees("audio to kill it on", |saw| matches!(saw, Saw::Audio(_))).await;
        vendor.kill().await;
    };
    let cut_off = |metrics: &str| counted(metrics, "unreachable") + counted(metrics, "disconnected") >= 1.0;
    assert_eq!(told(&call(&settings, kill, cut_off).await), alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_is_shown_where_operators_look_and_holds_nobody_up() {
    let settings = "[asr.shadow]\nbackend = \"scripted\"\nshare = 0.25\n[asr.shadow.scripted]\nfail_every = 1\n";
    let gateway = Gateway::start(settings).await;
    let shown = until("the second transcriber to have failed", || async {
        let (status, body) = gateway.get("/readyz").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let shown = body["shadow"]["scripted"].as_str().unwrap().to_owned();
        assert_eq!((status, &body["ready"]), (200, &true.into()), "{body}");
        shown.starts_with("failed: ").then_some(shown)
    })
    .await;
    assert!(shown.contains("scripted"), "{shown}");
    gateway.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let check = async |settings: &str| {
        let base = "[server]\nlisten = \"127.0.0.1:0\"\n[asr]\nbackend = \"scripted\"\n[sink.spool]\nmode = \"off\"\n";
        std::fs::write(folder.path().join("sidetone.toml"), format!("{base}{settings}")).unwrap();
        run(folder.path(), &["check", "--config", "sidetone.toml"]).await
    };
    let said = check(settings).await;
    assert!(
        said.out.contains("ok   asr shadow     scripted loads; hears a share of 0.25 of conversations"),
        "{said:?}"
    );
    for (settings, expected) in [
        ("[asr.shadow]\nbackend = \"nobody\"\n", "asr.shadow.backend is \"nobody\"; expected \"\" for none, or one of"),
        ("[asr.shadow]\nshare = 1.5\n", "asr.shadow.share is 1.5; expected 0 to 1"),
        ("[asr.shadow]\nwaiting_max = 0\n", "asr.shadow.waiting_max is 0; expected 1 to 1000"),
        (
            "[asr.shadow]\nbackend = \"scripted\"\n",
            "is \"scripted\" with the settings of asr.backend; expected another transcriber, or other settings in [asr.shadow.scripted]",
        ),
        ("[asr.shadow.nobody]\n", "asr.shadow.nobody is not a key of [asr.shadow] nor a backend"),
        (
            "[asr.shadow]\nbackend = \"scripted\"\n[asr.shadow.scripted]\ntexts = []\n",
            "BAD  asr shadow     asr.scripted: texts = []",
        ),
    ] {
        let said = check(settings).await;
        assert_eq!(said.code, Some(1), "{settings}");
        assert!(said.out.contains(expected), "{settings}: {}", said.out);
    }
}
