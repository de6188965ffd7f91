//! What the pipeline around a transcriber costs: seconds of speech for each second of
//! processor time, the engine called in a loop and the same speech taken through
//! detection, cutting, queue, pool, sentiment and events, on as many threads, by turns.
//!
//! `cargo bench --bench pipeline -- --backend NAME --threads N --rounds N`
// A bench that cannot go on has nobody to tell but the person who started it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sidetone::app;
use sidetone::audio::level;
use sidetone::call::{BackendNames, Call, CallParts, Input, Output, Terms, wire};
use sidetone::config::{self, Config, Source};
use sidetone::inference::{BufferPool, Engines, Readiness};
use sidetone::types::rate::{FRAME_MS, PIPELINE_HZ};
use sidetone::types::{
    ConversationId, Fault, LegId, Moment, Rate, RedactionTerms, Reply, Segment, SegmentKind, Speaker, WallTime,
};
use tokio::sync::mpsc;

#[path = "demo_audio.rs"]
mod demo_audio;
#[path = "figures.rs"]
mod figures;

const RATE: Rate = Rate::Hz8000;

/// Segments under way at once for each thread: enough that none waits.
const AHEAD: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let mut config = config::load(&Source::environment()).unwrap_or_else(|error| panic!("{error}"));
    if let Some(backend) = option("--backend") {
        config.asr.backend = backend;
    }
    // The same engine on both sides, whatever waits.
    config.asr.quick = Some(String::new());
    // And the same audio: alone, the engine knows of no neighbours.
    config.asr.join_within_ms = 0;
    config.inference.threads = option("--threads").map_or(1, |threads| threads.parse().unwrap());
    let rounds: usize = option("--rounds").map_or(5, |rounds| rounds.parse().unwrap());
    let engines = match app::engines(&config) {
        Ok(engines) => engines,
        Err(error) => return println!("pipeline: not measured: {error}"),
    };
    let parties = demo_audio::parties(RATE);
    let segments = cut(&config, &parties);
    let speech = segments.iter().map(Vec::len).sum::<usize>() as f64 / f64::from(PIPELINE_HZ);
    println!(
        "{} on {} thread(s): {} segments, {speech:.1} s of speech in {:.1} s of audio; load {}",
        engines.asr_name,
        config.inference_threads(),
        segments.len(),
        parties.iter().map(Vec::len).sum::<usize>() as f64 / f64::from(RATE.hz()),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    println!("speech-seconds per CPU-second (per second)");
    println!("  round  engine alone        pipeline       ratio");
    let (alone, ratios): (Vec<f64>, Vec<f64>) = (1..=rounds)
        .map(|round| {
            let alone = alone(&config, &engines, &segments);
            let whole = whole(&config, &engines, &parties, segments.len());
            let (alone, whole) = (alone.of(speech), whole.of(speech));
            let ratio = whole.0 / alone.0;
            println!(
                "  {round:>5}  {:>6.1} ({:>6.1})  {:>6.1} ({:>6.1})  {ratio:>6.3}",
                alone.0, alone.1, whole.0, whole.1
            );
            (alone.0, ratio)
        })
        .unzip();
    let (alone, ratio) = (figures::spread(alone).1, figures::spread(ratios).1);
    println!("  median ratio {ratio:.3}");
    figures::tell("pipeline.alone", alone, 0);
    figures::tell("pipeline.ratio", ratio, 2);
}

/// Time taken.
struct Took {
    cpu: Duration,
    wall: Duration,
}

impl Took {
    fn by(work: impl FnOnce()) -> Self {
        let (cpu, wall) = (cpu(), Instant::now());
        work();
        Self { cpu: self::cpu() - cpu, wall: wall.elapsed() }
    }

    fn of(&self, speech: f64) -> (f64, f64) {
        (speech / self.cpu.as_secs_f64(), speech / self.wall.as_secs_f64())
    }
}

/// Processor time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The segments that the pipeline would transcribe.
fn cut(config: &Config, parties: &[Vec<i16>]) -> Vec<Vec<i16>> {
    let mut segments = Vec::new();
    let buffers = app::buffers(config);
    for samples in parties {
        let (replies_in, replies) = mpsc::channel(1);
        Leg::new(config, &buffers, replies).play(samples, 0, |segment| {
            replies_in.try_send(Box::new(Reply::refused(segment.id, segment.kind, Fault::Shutdown))).unwrap();
            segments.push(segment.samples);
        });
    }
    segments
}

/// The engine in a loop, on the pool's number of threads; loading is not counted.
fn alone(config: &Config, engines: &Engines, segments: &[Vec<i16>]) -> Took {
    let levelled: Vec<Vec<f32>> = segments
        .iter()
        .map(|samples| {
            let mut audio = Vec::new();
            level::to_speech_level(samples, &mut audio);
            audio
        })
        .collect();
    let threads = config.inference_threads();
    let (next, gate) = (AtomicUsize::new(0), std::sync::Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut transcriber = engines.asr.open().unwrap();
                // As the pool's threads warm theirs.
                let _ = transcriber.transcribe(&vec![1e-3; PIPELINE_HZ as usize], SegmentKind::Partial);
                gate.wait();
                while let Some(audio) = levelled.get(next.fetch_add(1, Ordering::Relaxed)) {
                    std::hint::black_box(transcriber.transcribe(audio, SegmentKind::Final).ok());
                }
                gate.wait();
            });
        }
        gate.wait();
        Took::by(|| {
            gate.wait();
        })
    })
}

/// The same audio through the pipeline, as fast as it will; loading is not counted.
fn whole(config: &Config, engines: &Engines, parties: &[Vec<i16>], expected: usize) -> Took {
    let buffers = app::buffers(config);
    let pool = app::pool(config, engines, &buffers).unwrap();
    while *pool.readiness().borrow() == Readiness::Warming {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ahead = AHEAD * config.inference_threads();
    let mut submitted = 0;
    let took = Took::by(|| {
        for samples in parties {
            let (replies_in, replies) = mpsc::channel(ahead + 1);
            let (hearing, _) = pool.hearing(&ConversationId::parse("bench").unwrap(), RedactionTerms::default());
            Leg::new(config, &buffers, replies).play(samples, ahead, |segment| {
                pool.submit(segment, &hearing, &replies_in).unwrap();
                submitted += 1;
            });
        }
    });
    assert_eq!(submitted, expected, "the pipeline did not transcribe what the engine did");
    pool.stop();
    took
}

/// One leg whose clock is its audio's.
struct Leg {
    call: Call,
    replies: mpsc::Receiver<Box<Reply>>,
    under_way: usize,
    ended: bool,
}

impl Leg {
    fn new(config: &Config, buffers: &Arc<BufferPool>, replies: mpsc::Receiver<Box<Reply>>) -> Self {
        let (vad_name, vad) = app::detector(config).unwrap();
        let mut call = config.call_config();
        // The clock says nothing about how long decoding takes, and nobody watches.
        call.partial_interval_ms = 0;
        call.reply_timeout = Duration::from_secs(3_600);
        call.tail_timeout = Duration::from_secs(3_600);
        call.pending_max = usize::MAX;
        let parts = CallParts {
            conversation: ConversationId::parse("bench").unwrap(),
            leg: LegId::parse("bench").unwrap(),
            speaker: Speaker::default(),
            source: Arc::from("/sidetone/bench"),
            joined_at: Duration::ZERO,
            terms: Terms::default(),
            connected_at: WallTime::default(),
            vad,
            backends: BackendNames { vad: vad_name, asr: "bench", sentiment: None },
            buffers: buffers.clone(),
        };
        let call = Call::new(Arc::new(call), parts, Moment::default());
        Self { call, replies, under_way: 0, ended: false }
    }

    /// Takes a whole call through; `transcribe` sees to it that a reply will come.
    fn play(mut self, samples: &[i16], ahead: usize, mut transcribe: impl FnMut(Segment)) {
        let hello = wire::connected(RATE, &serde_json::Map::new());
        self.handle(Moment::default(), Input::Text(&hello), &mut transcribe);
        let bytes = demo_audio::bytes(samples);
        let mut now = Moment::default();
        for frame in bytes.chunks(RATE.frame_bytes()) {
            now = now + Duration::from_millis(FRAME_MS);
            self.handle(now, Input::Audio(frame), &mut transcribe);
            while self.under_way > ahead {
                self.wait(now, &mut transcribe);
            }
        }
        self.handle(now, Input::Closed(None), &mut transcribe);
        while !self.ended {
            self.wait(now, &mut transcribe);
        }
    }

    fn handle(&mut self, now: Moment, input: Input<'_>, transcribe: &mut impl FnMut(Segment)) {
        self.call.handle(now, input);
        loop {
            match self.call.poll() {
                Output::Transcribe(segment) => {
                    self.under_way += 1;
                    transcribe(segment);
                }
                Output::Ended => self.ended = true,
                Output::Idle { .. } => return,
                // As a sink would have it.
                Output::Emit(event) => drop(std::hint::black_box(event.to_structured())),
                _ => {}
            }
        }
    }

    fn wait(&mut self, now: Moment, transcribe: &mut impl FnMut(Segment)) {
        let reply = self.replies.blocking_recv().unwrap();
        self.under_way -= 1;
        self.handle(now, Input::Reply(*reply), transcribe);
    }
}
