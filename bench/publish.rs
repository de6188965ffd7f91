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
#[path = "figures.rs"]
mod figures;
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
        entities: Vec::new(),
        confidence: Some(0.93),
        language: "en".into(),
        asr: "moonshine".into(),
        sentiment: None,
        sentiment_fault: None,
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
    println!("  a bare producer is given bytes that are ready, or makes them of the same events");
    println!("  round  bytes ready  bytes made       ours  ours/ready  ours/made");
    let mut authors = authors();
    let time = now();
    let events: Vec<_> = (0..count).map(|n| authors[n % LEGS].write(time, final_((n / LEGS) as u64))).collect();
    let settings = settings(broker, "throughput");
    let (mut ready, mut made) = (Vec::new(), Vec::new());
    let mut cost = [const { Vec::new() }; 3];
    for round in 1..=rounds {
        // By turns who is first: the broker's warmth is no one's merit.
        let mut took = [Duration::ZERO; 3];
        for turn in 0..3 {
            let who = (round + turn) % 3;
            let before = cpu();
            took[who] = match who {
                0 => bare(&settings, &events, true),
                1 => bare(&settings, &events, false),
                _ => ours(&settings, &events, samples),
            };
            cost[who].push((cpu() - before).as_secs_f64() * 1e6 / count as f64);
        }
        let [of_ready, of_made, of_ours] = took.map(|took| count as f64 / took.as_secs_f64());
        ready.push(of_ours / of_ready);
        made.push(of_ours / of_made);
        println!(
            "  {round:>5}  {of_ready:>11.0} {of_made:>11.0} {of_ours:>10.0}  {:>10.3} {:>10.3}",
            of_ours / of_ready,
            of_ours / of_made
        );
    }
    let median = |figures: Vec<f64>| figures::spread(figures).1;
    let (ready, made) = (median(ready), median(made));
    println!("  median ratio {ready:.3} to bytes ready, {made:.3} to bytes made");
    figures::tell("publish.ratio", made, 2);
    let [of_ready, of_made, of_ours] = cost.map(median);
    println!(
        "  median CPU of this process, µs an event: {of_ready:.2} with the making beforehand, {of_made:.2}, {of_ours:.2}"
    );
}

/// Processor time of this process; the broker has its own.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

type Made = (String, Vec<(&'static str, String)>, Vec<u8>);

fn made(event: &Event) -> Made {
    (event.origin.conversation.to_string(), event.headers(), event.value())
}

fn bare(settings: &KafkaSink, events: &[Event], ready: bool) -> Duration {
    let producer: BaseProducer = producer_config(settings).unwrap().create().unwrap();
    let send = |(key, headers, value): &Made| {
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
    let all: Vec<_> = if ready { events.iter().map(made).collect() } else { Vec::new() };
    send(&made(&events[0]));
    producer.flush(PATIENCE).unwrap();
    let began = Instant::now();
    if ready {
        all.iter().for_each(send);
    } else {
        events.iter().for_each(|event| send(&made(event)));
    }
    producer.flush(PATIENCE).unwrap();
    began.elapsed()
}

/// Events on their way at most: what fills librdkafka's queue, and no heap of what
/// waits behind it.
const AHEAD: usize = 60_000;

fn ours(settings: &KafkaSink, events: &[Event], samples: &Samples) -> Duration {
    let outbox = outbox(settings, events.len(), samples);
    let before = samples.count("sidetone_kafka_ack_seconds");
    let began = Instant::now();
    for (sent, event) in events.iter().enumerate() {
        while sent % 256 == 0 && sent + before > samples.count("sidetone_kafka_ack_seconds") + AHEAD {
            std::thread::sleep(Duration::from_micros(200));
        }
        // Authoring an event is part of it: a call makes one.
        outbox.publish(event.clone());
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
