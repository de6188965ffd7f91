//! What the spool costs an event on its way to a sink that takes it at once: a
//! thousand events published and acknowledged, and one alone, as a leg's are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use sidetone::event::body::{Label, SentimentScore, Timing, TranscriptFinal, Weights};
use sidetone::event::{Body, Event, Origin};
use sidetone::publish::spool::Settings;
use sidetone::publish::{Fsync, Limits, Mode, Outbox};
use sidetone::sink::{Outcome, Refusal, Sink};
use sidetone::types::{ConversationId, LegId, Speaker, WallTime};

/// Events published at once.
const BURST: u64 = 1_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
        .configure_from_args();
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    for (group, events) in [("publish_burst", BURST), ("publish_one", 1)] {
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(events));
        for (name, spool) in [
            ("none", None),
            ("overflow", Some((Mode::Overflow, Fsync::Never))),
            ("never", Some((Mode::Always, Fsync::Never))),
            ("interval_1s", Some((Mode::Always, Fsync::Every(Duration::from_secs(1))))),
            ("fsync", Some((Mode::Always, Fsync::Always))),
        ] {
            let settings = spool.map(|(mode, fsync)| Settings {
                dir: dir.path().join(name),
                mode,
                fsync,
                bytes_max: 1 << 30,
                segment_bytes: 16 << 20,
                memory_max: 10_000,
                replay_share: 50,
            });
            let taken = Arc::new(Taken::default());
            let limits = Limits { durable_max: 100_000, ephemeral_max: 1_000, live_max: 16 };
            let sink: Box<dyn Sink> = Box::new(Null { taken: Arc::clone(&taken), outcomes: Vec::new() });
            let outbox = Outbox::start(vec![sink], limits, settings.as_ref()).unwrap_or_else(|error| panic!("{error}"));
            let origin = origin();
            let mut seq = 0;
            group.bench_function(BenchmarkId::from_parameter(name), |bench| {
                bench.iter(|| {
                    for _ in 0..events {
                        seq += 1;
                        outbox.publish(event(&origin, seq));
                    }
                    taken.wait(seq);
                });
            });
            outbox.stop(Duration::from_secs(10));
        }
        group.finish();
    }
    criterion.final_summary();
}

/// How many events a sink has taken.
#[derive(Default)]
struct Taken {
    count: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Taken {
    fn wait(&self, count: u64) {
        let mut guard = self.lock.lock().unwrap_or_else(|error| panic!("{error}"));
        while self.count.load(Ordering::SeqCst) < count {
            guard = self.changed.wait(guard).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Serialises an event, as every sink does, and has it acknowledged at once.
struct Null {
    taken: Arc<Taken>,
    outcomes: Vec<(Arc<Event>, Outcome)>,
}

impl Sink for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        std::hint::black_box((event.value(), event.headers()));
        self.outcomes.push((Arc::clone(event), Outcome::Settled));
        self.taken.count.fetch_add(1, Ordering::SeqCst);
        let _guard = self.taken.lock.lock().unwrap_or_else(|error| panic!("{error}"));
        self.taken.changed.notify_all();
        Ok(())
    }

    fn acknowledge(&mut self) -> bool {
        true
    }

    fn outcomes(&mut self, outcomes: &mut Vec<(Arc<Event>, Outcome)>) {
        outcomes.append(&mut self.outcomes);
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        Ok(())
    }
}

fn origin() -> Arc<Origin> {
    let id = "63f61863-4a51-4f6b-86e1-46edebcf9356";
    Arc::new(Origin {
        conversation: ConversationId::parse(id).unwrap_or_else(|error| panic!("{error}")),
        leg: LegId::parse(id).unwrap_or_else(|error| panic!("{error}")),
        speaker: Speaker::Caller,
        source: Arc::from("/sidetone/gateway"),
    })
}

/// A final of ordinary length.
fn event(origin: &Arc<Origin>, seq: u64) -> Event {
    let body = Body::TranscriptFinal(TranscriptFinal {
        segment: seq,
        start_ms: 640,
        end_ms: 5_400,
        text: "You have charged me twice for the same order and I would like the second one back, please.".to_owned(),
        words: Vec::new(),
        entities: Vec::new(),
        confidence: Some(0.75),
        language: "en".to_owned(),
        asr: "moonshine".to_owned(),
        sentiment: Some(SentimentScore {
            label: Label::Negative,
            compound: -0.25,
            weights: Weights { negative: 0.25, neutral: 0.75, positive: 0.0 },
            backend: "lexicon".to_owned(),
        }),
        sentiment_fault: None,
        level_dbfs: -22.5,
        timing: Timing { endpoint_ms: 500.0, queue_ms: 0.5, decode_ms: 60.0, total_ms: 560.5 },
    });
    Event { origin: Arc::clone(origin), seq, sub: 0, time: WallTime(1_795_426_200_000_000), body }
}
