//! Scorers that are elsewhere: no thread waits for one, and no text goes without being published.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use sidetone::inference::breaker::Standing;
use sidetone::simulator::player;
use sidetone::types::{Fault, SegmentId, SegmentKind};
use tokio::sync::Semaphore;

use super::bench::Bench;
use super::support::events::{check_all, kind, read, text};
use super::support::process::Gateway;
use super::support::{leg, speech, until, within};

/// A scoring service that answers as many as it is allowed to.
struct Service {
    url: String,
    asked: Arc<AtomicUsize>,
    allowed: Arc<Semaphore>,
}

impl Service {
    async fn start(status: StatusCode) -> Self {
        let (asked, allowed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, gate) = (Arc::clone(&asked), Arc::clone(&allowed));
        let answer = move || {
            let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                (status, r#"{"score": 0.5}"#)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/score", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/score", post(answer))).await });
        Self { url, asked, allowed }
    }

    /// Waits until it was asked so often.
    async fn is_asked(&self, times: usize) {
        until("the scorer to be asked", || {
            std::future::ready((self.asked.load(Ordering::SeqCst) >= times).then_some(()))
        })
        .await;
    }

    fn settings(&self, more: &str) -> String {
        format!(
            "[asr]\nbackend = \"scripted\"\n[inference]\nthreads = 1\n[sentiment]\nbackend = \"http\"\n\
             [sentiment.http]\nurl = \"{}\"\n{more}\n",
            self.url
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_waits_for_a_score_and_every_text_has_its_own() {
    let service = Service::start(StatusCode::OK).await;
    let alone = service.settings("timeout_ms = 5000");
    let chain = alone.replace("backend = \"scripted\"", "backend = \"scripted\"\nfall_back = [\"vosk\"]");
    for settings in [alone, chain] {
        let before = service.asked.load(Ordering::SeqCst);
        let mut bench = Bench::new(&settings);
        for id in 1..=8 {
            bench.submit(id, SegmentKind::Final, 8_000);
        }
        // The one thread has heard all eight, and none has a score yet.
        service.is_asked(before + 8).await;
        service.allowed.add_permits(8);
        let mut answered = Vec::new();
        for _ in 0..8 {
            let reply = bench.reply().await;
            assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
            assert_eq!(reply.sentiment.unwrap().unwrap().compound, 0.5);
            answered.push(reply.id);
        }
        answered.sort_unstable();
        assert_eq!(answered, (1..=8).map(SegmentId).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_finds_no_place_goes_without_a_score_at_once() {
    let service = Service::start(StatusCode::OK).await;
    let mut bench = Bench::new(&service.settings("timeout_ms = 5000\nconcurrency_max = 1\nqueue_max = 0"));
    bench.submit(1, SegmentKind::Final, 8_000);
    service.is_asked(1).await;
    bench.submit(2, SegmentKind::Final, 8_000);
    let reply = bench.reply().await;
    assert_eq!((reply.id, reply.sentiment), (SegmentId(2), Some(Err(Fault::Overload))));
    service.allowed.add_permits(1);
    assert!(bench.reply().await.sentiment.unwrap().is_ok());
    // A text so far is not scored.
    bench.submit(3, SegmentKind::Partial, 8_000);
    assert_eq!(bench.reply().await.sentiment, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_that_fails_is_left_alone_and_the_texts_are_published() {
    let service = Service::start(StatusCode::INTERNAL_SERVER_ERROR).await;
    service.allowed.add_permits(100);
    let mut bench = Bench::new(&service.settings("[sentiment.breaker]\nfailures_max = 2\ncool_down_ms = 60000"));
    for (id, fault) in [(1, Fault::Refused(500)), (2, Fault::Refused(500)), (3, Fault::Unavailable)] {
        bench.submit(id, SegmentKind::Final, 8_000);
        let reply = bench.reply().await;
        assert!(reply.outcome.is_ok());
        assert_eq!(reply.sentiment, Some(Err(fault)), "{id}");
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 2);
    assert_eq!(bench.pool.scorer_standing(), Some(("http", Standing::Open)));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_no_score() {
    let service = Service::start(StatusCode::OK).await;
    let mut bench = Bench::new(&service.settings("timeout_ms = 5000"));
    bench.submit(1, SegmentKind::Final, 8_000);
    service.is_asked(1).await;
    bench.pool.stop();
    let reply = bench.reply().await;
    assert!(reply.outcome.is_ok());
    assert_eq!(reply.sentiment, Some(Err(Fault::Shutdown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_scorer_hangs_has_its_texts_and_says_why_they_have_no_score() {
    let service = Service::start(StatusCode::OK).await;
    let gateway = Gateway::start(&service.settings("timeout_ms = 50")).await;
    let call = leg(gateway.address, "CON-hangs", speech(), 4.0);
    assert!(within("the call", player::play(&call, tokio::time::Instant::now())).await.is_ok());
    let path = gateway.events_path();
    until("the end of the leg", || {
        let events = super::support::events::read_so_far(&path);
        std::future::ready(events.iter().any(|event| kind(event) == "leg.ended.v1").then_some(()))
    })
    .await;
    let timeouts = "sidetone_sentiment_requests_total{backend=\"http\",outcome=\"timeout\"}";
    assert!(gateway.metric(timeouts).await >= 1.0, "{}", gateway.get("/metrics").await.1);
    let ready: Value = serde_json::from_str(&gateway.get("/readyz").await.1).unwrap();
    assert!(ready["scorer"]["http"].is_string() && ready["ready"] == true, "{ready}");
    let (_, folder) = gateway.stop().await;
    let events = read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&events);
    let finals: Vec<_> = events.iter().filter(|event| kind(event) == "transcript.final.v1").collect();
    assert!(!finals.is_empty());
    for event in finals {
        assert_eq!(event["data"]["sentiment"], Value::Null, "{event}");
        assert!(["timeout", "unavailable"].contains(&text(event, "/data/sentiment_fault")), "{event}");
    }
    assert!(events.iter().any(|event| kind(event) == "leg.ended.v1" && event["data"]["complete"] == true));
}
