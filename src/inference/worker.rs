//! One inference thread: opens a transcriber, warms it, serves the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queue::Queue;
use super::{BufferPool, Engines, Job, Readiness};
use crate::asr::Transcriber;
use crate::audio::level;
use crate::call::Buffers as _;
use crate::telemetry;
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Entity, Fault, Reply, SegmentKind, Sentiment, Transcript};

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

pub(super) fn run(engines: &Engines, queue: &Queue, warmth: &Warmth, buffers: &BufferPool) {
    let mut transcriber = match open_warm(engines) {
        Ok(transcriber) => transcriber,
        Err(error) => return warmth.failed(error),
    };
    warmth.warm();
    let mut audio = Vec::new();
    while let Some(job) = queue.pop() {
        let started = Instant::now();
        let outcome = serve(engines, &mut *transcriber, &job, &mut audio);
        if outcome == Err(Fault::Crashed) {
            // Whatever state the panic left behind is not to be trusted.
            match open_warm(engines) {
                Ok(fresh) => transcriber = fresh,
                Err(error) => {
                    answer(engines, job, started, Err(Fault::Crashed), buffers);
                    return warmth.failed(error);
                }
            }
        }
        answer(engines, job, started, outcome, buffers);
    }
}

/// Opens a transcriber and lets it decode a second of near silence, so that the
/// first caller does not pay for lazy loading.
fn open_warm(engines: &Engines) -> Result<Box<dyn Transcriber>, BuildError> {
    let failed = |problem: String| BuildError::new(engines.asr_name, problem, "see the log above for its own message");
    catch_unwind(AssertUnwindSafe(|| {
        let mut transcriber = engines.asr.open()?;
        let audio: Vec<f32> = (0..PIPELINE_HZ).map(|n| if n % 2 == 0 { 1e-3 } else { -1e-3 }).collect();
        match transcriber.transcribe(&audio, SegmentKind::Partial) {
            Ok(_) | Err(Fault::Looped) => Ok(transcriber),
            Err(fault) => Err(failed(format!("could not decode a second of silence: {fault}"))),
        }
    }))
    .unwrap_or_else(|_| Err(failed("crashed while it was opened".to_owned())))
}

/// What became of a segment.
#[derive(Debug, PartialEq)]
struct Served {
    transcript: Transcript,
    entities: Vec<Entity>,
    sentiment: Option<Sentiment>,
}

fn serve(
    engines: &Engines,
    transcriber: &mut dyn Transcriber,
    job: &Job,
    audio: &mut Vec<f32>,
) -> Result<Served, Fault> {
    catch_unwind(AssertUnwindSafe(|| {
        level::to_speech_level(&job.segment.samples, audio);
        let mut transcript = transcriber.transcribe(audio, job.segment.kind)?;
        // Before anyone else sees it, the scorer included, which may be a service elsewhere.
        let entities = job.redaction.apply(&job.segment, &mut transcript);
        let wanted = job.segment.kind == SegmentKind::Final && !transcript.text.0.is_empty();
        // A transcript without a score is better than none.
        let sentiment = engines.scorer.as_ref().filter(|_| wanted).and_then(|(_, s)| s.score(&transcript.text.0).ok());
        Ok(Served { transcript, entities, sentiment })
    }))
    .unwrap_or(Err(Fault::Crashed))
}

fn answer(engines: &Engines, job: Job, started: Instant, outcome: Result<Served, Fault>, buffers: &BufferPool) {
    let decoded = started.elapsed();
    let queued = started.saturating_duration_since(job.submitted);
    let audio = Duration::from_secs_f64(job.segment.samples.len() as f64 / f64::from(PIPELINE_HZ));
    telemetry::SegmentServed { kind: job.segment.kind, audio, queued, decoded, fault: outcome.as_ref().err() }.emit();
    let (outcome, entities, sentiment) = match outcome {
        Ok(Served { transcript, entities, sentiment }) => (Ok(transcript), entities, sentiment),
        Err(fault) => (Err(fault), Vec::new(), None),
    };
    job.reply.send(Box::new(Reply {
        id: job.segment.id,
        kind: job.segment.kind,
        outcome,
        entities,
        sentiment,
        asr: engines.asr_name,
        scorer: engines.scorer.as_ref().map(|(name, _)| *name),
        queued,
        decoded,
    }));
    buffers.give(job.segment.samples);
}
