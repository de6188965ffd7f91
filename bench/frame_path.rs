//! What one 20 ms frame costs in the pure core: no socket, no thread, no model.
//!
//! Each iteration is one frame of a call that goes on, so utterances begin, end and
//! are answered among them as they would.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use sidetone::audio::resample::Resampler;
use sidetone::call::{BackendNames, Buffers as _, Call, CallConfig, CallParts, Input, Output, Terms, wire};
use sidetone::inference::BufferPool;
use sidetone::types::rate::{FRAME_MS, FRAME_SAMPLES, PIPELINE_HZ};
use sidetone::types::{ConversationId, LegId, Moment, Private, Rate, Reply, Segment, Speaker, Transcript, WallTime};
use sidetone::vad;

#[path = "demo_audio.rs"]
mod demo_audio;

const DETECTORS: [&str; 3] = ["webrtc", "neural", "cascade"];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    detectors(&mut criterion);
    resamplers(&mut criterion);
    calls(&mut criterion);
    criterion.final_summary();
}

/// Two kinds of audio: digital silence, and the demo call's agent.
fn audios(rate: Rate) -> [(&'static str, Vec<i16>); 2] {
    let speech = demo_audio::parties(rate).swap_remove(0);
    [("silence", vec![0; rate.frame_samples() * 50]), ("speech", speech)]
}

fn factory(name: &str) -> vad::Factory {
    let backend = vad::find(name).unwrap_or_else(|error| panic!("{error}"));
    backend.build(&toml::Table::new(), &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn detectors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("detector");
    for name in DETECTORS {
        for (audio, samples) in audios(Rate::Hz16000) {
            let mut vad = factory(name)();
            let mut frames = samples.as_chunks::<FRAME_SAMPLES>().0.iter().cycle();
            group.bench_function(BenchmarkId::new(name, audio), |bench| {
                bench.iter(|| frames.next().map(|frame| vad.score(black_box(frame))));
            });
        }
    }
    group.finish();
}

fn resamplers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resampler");
    for rate in [Rate::Hz8000, Rate::Hz24000] {
        let Some(mut resampler) = Resampler::new(rate) else { continue };
        let speech = demo_audio::parties(rate).swap_remove(0);
        let mut frames = speech.chunks_exact(rate.frame_samples()).cycle();
        let mut out = [0; FRAME_SAMPLES];
        group.bench_function(rate.hz().to_string(), |bench| {
            bench.iter(|| {
                frames.next().inspect(|frame| resampler.process(black_box(frame), &mut out));
                out[0]
            });
        });
    }
    group.finish();
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    for detector in DETECTORS {
        for rate in Rate::ALL {
            for (audio, samples) in audios(rate) {
                let bytes = demo_audio::bytes(&samples);
                let mut frames = bytes.chunks_exact(rate.frame_bytes()).cycle();
                let mut leg = Leg::new(detector, rate);
                group.bench_function(BenchmarkId::new(format!("{detector}/{}", rate.hz()), audio), |bench| {
                    bench.iter(|| frames.next().map(|frame| leg.hear(black_box(frame))));
                });
            }
        }
    }
    group.finish();
}

/// A leg in call, with a transcriber that answers at once and takes no time.
struct Leg {
    call: Call,
    buffers: Arc<BufferPool>,
    now: Moment,
}

impl Leg {
    fn new(detector: &'static str, rate: Rate) -> Self {
        let id = LegId::parse("bench").expect("five letters are a valid id");
        let conversation = ConversationId::parse("bench").expect("five letters are a valid id");
        let buffers = Arc::new(BufferPool::new(4, 15 * PIPELINE_HZ as usize));
        let parts = CallParts {
            conversation,
            leg: id,
            speaker: Speaker::default(),
            source: Arc::from("/sidetone/bench"),
            joined_at: Duration::ZERO,
            terms: Terms::default(),
            connected_at: WallTime::default(),
            vad: factory(detector),
            backends: BackendNames { vad: detector, asr: "none", sentiment: None },
            buffers: buffers.clone(),
        };
        let call = Call::new(Arc::new(CallConfig::default()), parts, Moment::default());
        let mut leg = Self { call, buffers, now: Moment::default() };
        leg.handle(Input::Text(&wire::connected(rate, &serde_json::Map::new())));
        leg
    }

    fn hear(&mut self, frame: &[u8]) {
        self.now = self.now + Duration::from_millis(FRAME_MS);
        self.handle(Input::Audio(frame));
    }

    fn handle(&mut self, input: Input<'_>) {
        self.call.handle(self.now, input);
        loop {
            match self.call.poll() {
                Output::Transcribe(segment) => {
                    let reply = answer(&segment);
                    self.buffers.give(segment.samples);
                    self.call.handle(self.now, Input::Reply(reply));
                }
                Output::Idle { until } => {
                    black_box(until);
                    return;
                }
                Output::Ended => panic!("the leg under test ended"),
                other => drop(black_box(other)),
            }
        }
    }
}

fn answer(segment: &Segment) -> Reply {
    let text = Private("My last bill was higher than I expected.".to_owned());
    Reply {
        id: segment.id,
        kind: segment.kind,
        outcome: Ok(Transcript { text, language: "en", ..Transcript::default() }),
        entities: Vec::new(),
        sentiment: None,
        asr: "none",
        scorer: None,
        overheard: false,
        queued: Duration::ZERO,
        decoded: Duration::ZERO,
    }
}
