//! The whole way: the demo call on real sockets at its own pace, the configured transcriber,
//! the broker's acknowledgement.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};
use sidetone::app::App;
use sidetone::config::{self, Source};
use sidetone::event::body::Timing;
use sidetone::event::{Body, Event};
use sidetone::simulator::player::{self, Leg};
use sidetone::sink::kafka::Kafka;
use sidetone::sink::{Refusal, Sink};
use sidetone::types::Rate;

use super::broker::Broker;
use super::demo_audio;
use super::samples::{Samples, line};

/// Rate of the legs.
const RATE: Rate = Rate::Hz8000;

/// Keeps each final's account of its time.
struct Timings(Arc<Mutex<Vec<Timing>>>);

impl Sink for Timings {
    fn name(&self) -> &'static str {
        "timings"
    }
    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        if let Body::TranscriptFinal(final_) = &event.body {
            self.0.lock().unwrap().push(final_.timing.clone());
        }
        Ok(())
    }
    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        Ok(())
    }
}

pub(super) fn run(broker: &Broker, samples: &Samples) {
    let mut config = config::load(&Source::environment()).unwrap_or_else(|error| panic!("{error}"));
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    let settings = super::settings(broker, "live");
    let timings = Arc::default();
    let sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(Kafka::new(settings).unwrap()), Box::new(Timings(Arc::clone(&timings)))];
    samples.clear();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let played = runtime.block_on(async {
        let app = match App::start(&config, sinks, None).await {
            Ok(app) => app,
            Err(error) => {
                println!("live: not measured: {error}");
                return false;
            }
        };
        app.warm().await.unwrap();
        let start = tokio::time::Instant::now() + Duration::from_millis(300);
        let legs = demo_audio::parties(RATE).into_iter().enumerate().map(|(number, samples)| {
            let mut headers = Map::new();
            headers.insert("conversation".to_owned(), Value::String("CON-bench".to_owned()));
            headers.insert("role".to_owned(), Value::String(["agent", "caller"][number % 2].to_owned()));
            let url = format!("ws://{}/media", app.address());
            Leg { url, rate: RATE, headers, samples: Arc::from(samples), speed: 1.0 }
        });
        let playing: Vec<_> = legs.map(|leg| tokio::spawn(async move { player::play(&leg, start).await })).collect();
        for leg in playing {
            leg.await.unwrap().unwrap();
        }
        app.stop().await;
        true
    });
    if !played {
        return;
    }
    let timings = timings.lock().unwrap();
    let of = |part: fn(&Timing) -> f32| line(timings.iter().map(|timing| f64::from(part(timing))).collect());
    println!("from the last sample of speech to the acknowledgement, the demo call live, {}, ms", config.asr.backend);
    println!("  endpointing  {}", of(|timing| timing.endpoint_ms));
    println!("  queue        {}", of(|timing| timing.queue_ms));
    println!("  decode       {}", of(|timing| timing.decode_ms));
    println!("  to the event {}", of(|timing| timing.total_ms));
    println!("  publish      {}", samples.line("sidetone_kafka_ack_seconds"));
    println!("  to the ack   {}", samples.line("sidetone_ack_seconds"));
}
