//! One inference thread: opens its transcribers, warms them, serves the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::finish::{Finish, Served};
use super::job::{Job, Text, To, Work, give_back};
use super::queue::Queue;
use super::{BufferPool, Engines, Readiness};
use crate::asr::{Engine, Transcriber};
use crate::audio::level;
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, SegmentKind, Transcript};

/// Counts the workers that are warm, and says when all are.
pub(super) struct Warmth {
    report: watch::Sender<Readiness>,
    cold: AtomicUsize,
}

impl Warmth {
    pub(super) fn new(report: watch::Sender<Readiness>, threads: usize) -> Self {
        Self { report, cold: AtomicUsize::new(threads) }
    }

    fn warm(&self) {
        if self.cold.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.report.send_replace(Readiness::Ready);
        }
    }

    fn failed(&self, error: BuildError) {
        self.report.send_replace(Readiness::Failed(error));
    }
}

/// One thread's transcribers, by their place in the chain; none for those that are remote.
type Transcribers = Vec<Option<Box<dyn Transcriber>>>;

pub(super) fn run(engines: &Engines, queue: &Queue, finish: &Arc<Finish>, warmth: &Warmth, buffers: &BufferPool) {
    let opened = engines.chain().map(|(name, engine)| open_warm(name, engine)).collect::<Result<Transcribers, _>>();
    let mut transcribers = match opened {
        Ok(transcribers) => transcribers,
        Err(error) => return warmth.failed(error),
    };
    warmth.warm();
    let mut audio = Vec::new();
    while let Some(work) = queue.pop() {
        match work {
            Work::Decode(job) if job.to.is_gone() => give_back(job.samples, buffers),
            Work::Decode(job) => {
                let backend = job.backend;
                let crashed = decode(engines, finish, &mut transcribers, job, &mut audio, buffers);
                let there = transcribers.get(backend).is_some_and(Option::is_some);
                if let (true, Some((name, engine))) = (crashed && there, engines.chain().nth(backend)) {
                    // Whatever state the panic left behind is not to be trusted.
                    match open_warm(name, engine) {
                        Ok(fresh) => transcribers[backend] = fresh,
                        // The others still have need of this thread.
                        Err(error) if !engines.fall_back.is_empty() => {
                            transcribers[backend] = None;
                            warmth.failed(error);
                        }
                        Err(error) => return warmth.failed(error),
                    }
                }
            }
            Work::Finish(Text { to, .. }) if to.is_closed() => {}
            Work::Finish(Text { about, transcript, to }) => {
                // Whoever asked may have had enough.
                let _ = to.send(finish.text(&about, transcript));
            }
        }
    }
}

/// Opens a transcriber and lets it decode a second of near silence, so that the
/// first caller does not pay for lazy loading. None for one that works elsewhere.
pub(super) fn open_warm(name: &str, engine: &Engine) -> Result<Option<Box<dyn Transcriber>>, BuildError> {
    let Engine::Local(engine) = engine else { return Ok(None) };
    let failed = |problem: String| BuildError::new(name, problem, "see the log above for its own message");
    catch_unwind(AssertUnwindSafe(|| {
        let mut transcriber = engine.open()?;
        let audio: Vec<f32> = (0..PIPELINE_HZ).map(|n| if n % 2 == 0 { 1e-3 } else { -1e-3 }).collect();
        match transcriber.transcribe(&audio, SegmentKind::Partial) {
            Ok(_) | Err(Fault::Looped) => Ok(Some(transcriber)),
            Err(fault) => Err(failed(format!("could not decode a second of silence: {fault}"))),
        }
    }))
    .unwrap_or_else(|_| Err(failed("crashed while it was opened".to_owned())))
}

/// Serves a job and answers it; whether the transcriber crashed.
fn decode(
    engines: &Engines,
    finish: &Arc<Finish>,
    transcribers: &mut Transcribers,
    job: Job,
    audio: &mut Vec<f32>,
    buffers: &BufferPool,
) -> bool {
    let started = Instant::now();
    let outcome = match transcribers.get_mut(job.backend) {
        Some(Some(transcriber)) => hear(&mut **transcriber, &job, audio),
        _ => Err(Fault::Crashed),
    };
    let crashed = outcome == Err(Fault::Crashed);
    match job.to {
        To::Leg(slot) => {
            let Job { about, samples, submitted, .. } = job;
            let outcome = outcome.and_then(|transcript| finish.text(&about, transcript));
            let (queued, decoded) = (started.saturating_duration_since(submitted), started.elapsed());
            finish.answer(Served { about, samples, asr: engines.asr_name, outcome, queued, decoded }, slot);
        }
        To::Course(course) => {
            // Whoever asked may have had enough.
            let _ = course.send(outcome);
            give_back(job.samples, buffers);
        }
    }
    crashed
}

fn hear(transcriber: &mut dyn Transcriber, job: &Job, audio: &mut Vec<f32>) -> Result<Transcript, Fault> {
    catch_unwind(AssertUnwindSafe(|| {
        level::to_speech_level(&job.samples, audio);
        transcriber.transcribe(audio, job.about.kind)
    }))
    .unwrap_or(Err(Fault::Crashed))
}
