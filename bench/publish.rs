//! What publishing costs: events a second through outbox, lane and sink until all are
//! acknowledged, beside a bare rdkafka producer with the same settings that sends the same
//! bytes, by turns, against the same real broker. Then how long an event takes from its
//! authoring to the acknowledgement at a steady pace, and with `--live` the whole way from
//! the last sample of speech, with the demo call and the configured transcriber.
//!
//! `cargo bench --bench publish -- --events N --rounds N --pace EVENTS_A_SECOND --live`
//!
//! The broker is the one at `KAFKA_BOOTSTRAP`, else one that `tests/kafka/broker` starts.
// A bench that cannot go on has nobody to tell but the person who started it.
#![allow(clippy::unwrap_used)]

#[path = "publish/broker.rs"]
mod broker;
#[path = "demo_audio.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod demo_audio;
#[path = "publish/live.rs"]
mod live;
#[path = "publish/samples.rs"]
mod samples;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sidetone::config::KafkaSink;
use sidetone::event::body::{Timing, TranscriptFinal};
use sidetone::event::{Author, Body, Event, Origin};
use sidetone::publish::{Limits, Outbox};
use sidetone::sink::kafka::{Kafka, Topics, producer_config, wanted};
use sidetone::types::{ConversationId, LegId, Speaker, WallTime};

use self::broker::Broker;
use self::samples::Samples;

/// Legs that the events are of.
const LEGS: usize = 200;

/// Longest wait for everything to be acknowledged.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or(default, |value| value.parse().unwrap())
    };
    let (events, rounds, pace) = (option("--events", 200_000), option("--rounds", 5), option("--pace", 500));
    let samples = Samples::install();
    let Some(broker) = Broker::start() else { return };
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    throughput(&broker, samples, events, rounds);
    paced(&broker, samples, pace);
    if args.iter().any(|arg| arg == "--live") {
        live::run(&broker, samples);
    }
}

fn settings(broker: &Broker, topic: &str) -> KafkaSink {
    let settings =
        KafkaSink { bootstrap: broker.bootstrap.clone(), topic: format!("bench.{topic}"), ..KafkaSink::default() };
    let topics = Topics::new(&settings).unwrap();
    for wanted in wanted(&settings) {
        topics.ensure(&wanted, true).unwrap();
    }
    settings
}

fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)
}

/// A final as a call has them: some sixty characters of text.
fn final_(segment: u64) -> Body {
    let text = format!("well, number {segment} is on its way and will be with you on Thursday");
    Body::TranscriptFinal(TranscriptFinal {
        segment,
        start_ms: segment * 4_000,
        end_ms: segment * 4_000 + 3_200,
        text,
        words: Vec::new(),
        confidence: Some(0.93),
        language: "en".into(),
        asr: "moonshine".into(),
        sentiment: None,
        level_dbfs: -24.5,
        timing: Timing { endpoint_ms: 0.0, queue_ms: 0.0, decode_ms: 0.0, total_ms: 0.0 },
    })
}

fn authors() -> Vec<Author> {
    let author = |number: usize| {
        Author::new(Origin {
            conversation: ConversationId::parse(&format!("CON-{number}")).unwrap(),
            leg: LegId::parse(&format!("63f61863-4a51-4f6b-86e1-{number:012}")).unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/sidetone/bench"),
        })
    };
    (0..LEGS).map(author).collect()
}

fn outbox(settings: &KafkaSink, room: usize, samples: &Samples) -> Outbox {
    let limits = Limits { durable_max: room + 1_000, ephemeral_max: 1_000, live_max: 16 };
    let outbox = Outbox::start(vec![Box::new(Kafka::new(settings.clone()).unwrap())], limits, None).unwrap();
    // Opened and known to the broker, as the bare one is before its clock starts.
    let before = samples.count("sidetone_kafka_ack_seconds");
    outbox.publish(authors()[0].write(now(), final_(0)));
    let until = Instant::now() + PATIENCE;
    while samples.count("sidetone_kafka_ack_seconds") == before {
        assert!(Instant::now() < until, "the first event was not acknowledged");
        std::thread::sleep(Duration::from_millis(5));
    }
    outbox
}

fn throughput(broker: &Broker, samples: &Samples, count: usize, rounds: usize) {
    println!("events a second until all are acknowledged, {count} finals of {LEGS} legs");
    println!("  round  bare producer      ours   ratio");
    let mut authors = authors();
    let time = now();
    let events: Vec<_> = (0..count).map(|n| authors[n % LEGS].write(time, final_((n / LEGS) as u64))).collect();
    let settings = settings(broker, "throughput");
    let mut ratios: Vec<f64> = (1..=rounds)
        .map(|round| {
            // By turns who is first: the broker's caches and its compaction of old logs are no one's merit.
            let (bare, ours) = if round % 2 == 0 {
                let bare = bare(&settings, &events);
                (bare, ours(&settings, &events, samples))
            } else {
                let ours = ours(&settings, &events, samples);
                (bare(&settings, &events), ours)
            };
            let rate = |took: Duration| count as f64 / took.as_secs_f64();
            let ratio = rate(ours) / rate(bare);
            println!("  {round:>5}  {:>13.0} {:>9.0}  {ratio:>6.3}", rate(bare), rate(ours));
            ratio
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("  median ratio {:.3}", ratios[ratios.len() / 2]);
}

/// What the events are made into beforehand, so that sending is all that is measured.
fn bare(settings: &KafkaSink, events: &[Event]) -> Duration {
    let producer: BaseProducer = producer_config(settings).unwrap().create().unwrap();
    let records: Vec<_> =
        events.iter().map(|event| (event.origin.conversation.to_string(), event.headers(), event.value())).collect();
    let send = |(key, headers, value): &(String, Vec<(&'static str, String)>, Vec<u8>)| {
        let headers = headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let mut record = BaseRecord::to(&settings.topic).key(key).payload(value).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        producer.poll(Duration::ZERO);
    };
    send(&records[0]);
    producer.flush(PATIENCE).unwrap();
    let began = Instant::now();
    records.iter().for_each(send);
    producer.flush(PATIENCE).unwrap();
    began.elapsed()
}

fn ours(settings: &KafkaSink, events: &[Event], samples: &Samples) -> Duration {
    let outbox = outbox(settings, events.len(), samples);
    let events = events.to_vec();
    let began = Instant::now();
    for event in events {
        outbox.publish(event);
    }
    assert_eq!(outbox.stop(PATIENCE), []);
    began.elapsed()
}

fn paced(broker: &Broker, samples: &Samples, pace: usize) {
    let settings = settings(broker, "paced");
    let outbox = outbox(&settings, 100_000, samples);
    samples.clear();
    let (mut authors, began) = (authors(), Instant::now());
    for n in 0..pace * 10 {
        let due = began + Duration::from_secs_f64(n as f64 / pace as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        outbox.publish(authors[n % LEGS].write(now(), final_((n / LEGS) as u64)));
    }
    assert_eq!(outbox.stop(PATIENCE), []);
    println!("from authoring to acknowledgement at {pace} events a second, ms (linger.ms is 5)");
    println!("  {}", samples.line("sidetone_ack_seconds"));
}
