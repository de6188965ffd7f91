//! One inference thread: opens its transcribers, warms them, serves the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::job::{About, Finished, Job, Text, To, Work, give_back};
use super::queue::Queue;
use super::{BufferPool, Engines, Readiness};
use crate::asr::{Engine, Transcriber};
use crate::audio::level;
use crate::redact::Heard;
use crate::telemetry;
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, Reply, SegmentKind, Transcript};

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

/// One thread's transcribers, by their place among all; none for those that are remote.
type Transcribers = Vec<Option<Box<dyn Transcriber>>>;

pub(super) fn run(engines: &Engines, queue: &Queue, warmth: &Warmth, buffers: &BufferPool) {
    let opened = engines.all().map(|(name, engine)| open_warm(name, engine)).collect::<Result<Transcribers, _>>();
    let mut transcribers = match opened {
        Ok(transcribers) => transcribers,
        Err(error) => return warmth.failed(error),
    };
    warmth.warm();
    let mut audio = Vec::new();
    while let Some(work) = queue.pop() {
        match work {
            Work::Decode(job) if job.to.is_gone() => give_back(job.samples, buffers),
            Work::Decode(mut job) => {
                let first = job.backend == 0;
                let quick = engines.quick.as_ref().filter(|_| first);
                if quick.is_some_and(|quick| quick.hears(job.about.kind, queue.backlog().audio_s)) {
                    job.backend = engines.chain().count();
                }
                let backend = job.backend;
                let crashed = decode(engines, &mut transcribers, job, &mut audio, buffers);
                let there = transcribers.get(backend).is_some_and(Option::is_some);
                if let (true, Some((name, engine))) = (crashed && there, engines.all().nth(backend)) {
                    // Whatever state the panic left behind is not to be trusted.
                    match open_warm(name, engine) {
                        Ok(fresh) => transcribers[backend] = fresh,
                        // The others still have need of this thread.
                        Err(error) if engines.all().count() > 1 => {
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
                let _ = to.send(finish(engines, &about, transcript));
            }
        }
    }
}

/// Opens a transcriber and lets it decode a second of near silence, so that the
/// first caller does not pay for lazy loading. None for one that works elsewhere.
fn open_warm(name: &str, engine: &Engine) -> Result<Option<Box<dyn Transcriber>>, BuildError> {
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
    transcribers: &mut Transcribers,
    job: Job,
    audio: &mut Vec<f32>,
    buffers: &BufferPool,
) -> bool {
    let started = Instant::now();
    let name = engines.all().nth(job.backend).map_or("", |(name, _)| name);
    let outcome = match transcribers.get_mut(job.backend) {
        Some(Some(transcriber)) => hear(&mut **transcriber, &job, audio),
        _ => Err(Fault::Crashed),
    };
    let crashed = outcome == Err(Fault::Crashed);
    match job.to {
        To::Leg(slot) => {
            let outcome = outcome.and_then(|transcript| finish(engines, &job.about, transcript));
            let times = (started.saturating_duration_since(job.submitted), started.elapsed());
            slot.send(Box::new(reply(engines, &job.about, &job.samples, name, outcome, times)));
        }
        To::Course(course) => {
            // Whoever asked may have had enough.
            let _ = course.send(outcome.map(|transcript| (name, transcript)));
        }
    }
    give_back(job.samples, buffers);
    crashed
}

fn hear(transcriber: &mut dyn Transcriber, job: &Job, audio: &mut Vec<f32>) -> Result<Transcript, Fault> {
    catch_unwind(AssertUnwindSafe(|| {
        level::to_speech_level(&job.samples, audio);
        transcriber.transcribe(audio, job.about.kind)
    }))
    .unwrap_or(Err(Fault::Crashed))
}

/// What is made of every text, whoever heard it; once for each segment, as it is remembered.
fn finish(engines: &Engines, about: &About, mut transcript: Transcript) -> Result<Finished, Fault> {
    catch_unwind(AssertUnwindSafe(|| {
        // Before anyone else sees it, the scorer included, which may be a service elsewhere.
        let heard = Heard { leg: &about.leg, id: about.id, kind: about.kind, at: about.at };
        let entities = about.redaction.apply(heard, &mut transcript);
        let wanted = about.kind == SegmentKind::Final && !transcript.text.0.is_empty();
        // A transcript without a score is better than none.
        let sentiment = engines.scorer.as_ref().filter(|_| wanted).and_then(|(_, s)| s.score(&transcript.text.0).ok());
        Finished { transcript, entities, sentiment }
    }))
    .map_err(|_| Fault::Crashed)
}

/// A leg's reply; counted as a segment served.
pub(super) fn reply(
    engines: &Engines,
    about: &About,
    samples: &[i16],
    asr: &'static str,
    outcome: Result<Finished, Fault>,
    (queued, decoded): (Duration, Duration),
) -> Reply {
    let (id, kind) = (about.id, about.kind);
    let audio = Duration::from_secs_f64(samples.len() as f64 / f64::from(PIPELINE_HZ));
    telemetry::SegmentServed { kind, audio, queued, decoded, fault: outcome.as_ref().err() }.emit();
    let (outcome, entities, sentiment) = match outcome {
        Ok(Finished { transcript, entities, sentiment }) => (Ok(transcript), entities, sentiment),
        Err(fault) => (Err(fault), Vec::new(), None),
    };
    let scorer = engines.scorer.as_ref().map(|(name, _)| *name);
    Reply { id, kind, outcome, entities, sentiment, asr, scorer, queued, decoded }
}
