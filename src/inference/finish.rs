//! What becomes of a segment once it was heard, by whomever: its text is redacted and scored,
//! once; then its leg is answered, and a second transcriber may hear it.
//!
//! ```text
//! text ──► redact ──► score ───────────► Reply, then [`shadow`](super::shadow)
//!          on an inference thread │        ▲
//!                                 └─ task ─┘ where the scorer is elsewhere: no thread waits
//! ```
//!
//! Invariant: a text waits for its score no longer than the scorer's bound, and is published
//! without one rather than not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::breaker::Standing;
use super::job::{About, Finished, give_back};
use super::queue::Queue;
use super::scoring::Scoring;
use super::shadow::{Overheard, Said, Shadow};
use super::{BufferPool, ReplySlot};
use crate::redact::Heard;
use crate::telemetry;
use crate::types::rate::PIPELINE_HZ;
use crate::types::{Fault, Reply, SegmentKind, Transcript};

/// See the module's documentation.
pub(super) struct Finish {
    scoring: Option<Scoring>,
    shadow: Option<Shadow>,
    /// What waits for the threads: scores give way to it.
    queue: Arc<Queue>,
    buffers: Arc<BufferPool>,
    stopped: CancellationToken,
}

/// A segment at its end.
pub(super) struct Served {
    pub(super) about: About,
    pub(super) samples: Arc<Vec<i16>>,
    /// Who answered; empty for nobody.
    pub(super) asr: &'static str,
    pub(super) outcome: Result<Finished, Fault>,
    pub(super) queued: Duration,
    pub(super) decoded: Duration,
}

impl Served {
    /// The text that is to be scored.
    fn wanted(&self) -> Option<&str> {
        let text = self.outcome.as_ref().ok().map(|finished| finished.transcript.text.0.as_str())?;
        (self.about.kind == SegmentKind::Final && !text.is_empty()).then_some(text)
    }
}

impl Finish {
    pub(super) fn new(
        scoring: Option<Scoring>,
        shadow: Option<Shadow>,
        queue: Arc<Queue>,
        buffers: Arc<BufferPool>,
    ) -> Self {
        Self { scoring, shadow, queue, buffers, stopped: CancellationToken::new() }
    }

    /// The scorer, and how it stands where it is elsewhere.
    pub(super) fn standing(&self) -> Option<(&'static str, Standing)> {
        let scoring = self.scoring.as_ref()?;
        Some((scoring.name, scoring.standing()?))
    }

    /// The second transcriber, if there is one.
    pub(super) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// No score is waited for any more, and nothing is heard twice.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
        if let Some(shadow) = &self.shadow {
            shadow.stop();
        }
    }

    /// Makes of a text what is made on a thread; once for each segment, as it is remembered.
    pub(super) fn text(&self, about: &About, transcript: Transcript) -> Result<Finished, Fault> {
        let redacted = catch_unwind(AssertUnwindSafe(|| {
            let mut transcript = transcript;
            let keep = about.hearing.overhearing.is_some() && about.kind == SegmentKind::Final;
            let text = keep.then(|| transcript.text.clone());
            // Before anyone else sees it, the scorer included, which may be a service elsewhere.
            let heard = Heard { leg: &about.leg, id: about.id, kind: about.kind, at: about.at };
            let (entities, before) = about.hearing.redaction.apply(heard, &mut transcript, keep);
            let said = text.zip(before).map(|(text, memory)| Box::new(Said { text, memory }));
            Finished { transcript, entities, sentiment: None, said }
        }));
        let mut finished = redacted.map_err(|_| Fault::Crashed)?;
        if about.kind == SegmentKind::Final && !finished.transcript.text.0.is_empty() {
            let text = &finished.transcript.text.0;
            finished.sentiment =
                self.scoring.as_ref().and_then(|scoring| scoring.here(text, || !self.queue.is_pressed()));
        }
        Ok(finished)
    }

    /// Answers a segment's leg: at once, or when a scorer that is elsewhere has had its time.
    pub(super) fn answer(self: &Arc<Self>, mut served: Served, slot: ReplySlot) {
        let runtime = self.scoring.as_ref().and_then(Scoring::runtime);
        let Some(runtime) = runtime.filter(|_| served.wanted().is_some()) else { return self.send(served, slot) };
        let finish = Arc::clone(self);
        // It ends with the scorer's bound at the latest, and with `stop` at once.
        runtime.spawn(async move {
            let asked = Instant::now();
            if let (Some(scoring), Some(text)) = (&finish.scoring, served.wanted()) {
                let scored = finish.stopped.run_until_cancelled(scoring.score(text)).await;
                if let Ok(finished) = &mut served.outcome {
                    finished.sentiment = Some(scored.unwrap_or(Err(Fault::Shutdown)));
                }
            }
            served.decoded += asked.elapsed();
            finish.send(served, slot);
        });
    }

    fn send(&self, served: Served, slot: ReplySlot) {
        let Served { about, samples, asr, outcome, queued, decoded } = served;
        let (id, kind) = (about.id, about.kind);
        let audio = Duration::from_secs_f64(samples.len() as f64 / f64::from(PIPELINE_HZ));
        telemetry::SegmentServed { kind, audio, queued, decoded, fault: outcome.as_ref().err() }.emit();
        let (outcome, entities, sentiment, said) = match outcome {
            Ok(Finished { transcript, entities, sentiment, said }) => (Ok(transcript), entities, sentiment, said),
            Err(fault) => (Err(fault), Vec::new(), None, None),
        };
        let scorer = self.scoring.as_ref().map(|scoring| scoring.name);
        let second = self.shadow.as_ref().zip(said).zip(about.hearing.overhearing.clone());
        let overheard = second.is_some();
        slot.send(Box::new(Reply { id, kind, outcome, entities, sentiment, asr, scorer, overheard, queued, decoded }));
        match second {
            Some(((shadow, said), to)) => shadow.offer(Overheard { about, samples, first: asr, said, to }),
            None => give_back(samples, &self.buffers),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::job::tests::about;
    use super::super::job::{Job, To};
    use super::super::queue::Limits;
    use super::super::scoring::Scorer;
    use super::super::{Clock, Hearing};
    use super::*;
    use crate::inference::breaker::Patience;
    use crate::sentiment::{self, Engine, Local};
    use crate::types::{Private, Sentiment};

    /// The lexicon, as if it took its time.
    struct Slow(Arc<dyn Local>);

    impl Local for Slow {
        fn score(&self, text: &str) -> Result<Sentiment, Fault> {
            self.0.score(text)
        }
    }

    /// What is said of a text while so many seconds of audio wait for the threads.
    fn scored(waiting_s: usize, slowly: bool) -> Result<Sentiment, Fault> {
        let queue = Arc::new(Queue::new(Limits { audio_max_s: 60, partials_max: 0, scores_audio_max_s: 2 }, 1));
        let buffers = Arc::new(BufferPool::new(1, 1));
        let (sender, _replies) = mpsc::channel(1);
        let samples = Arc::new(vec![0; waiting_s * PIPELINE_HZ as usize]);
        let to = To::Leg(sender.try_reserve_owned().unwrap());
        let job = Job { about: about(Hearing::default(), 1), samples, backend: 0, submitted: Instant::now(), to };
        assert!(queue.push(job, &buffers).is_ok());
        let engine = sentiment::find("lexicon").unwrap().build(&toml::Table::new(), &[]).unwrap();
        let engine = match engine {
            Engine::Local(lexicon) if slowly => Engine::Local(Arc::new(Slow(lexicon))),
            engine => engine,
        };
        let second = Duration::from_secs(1);
        let patience = Patience { failures_max: 1, cool_down: second, cool_down_max: second, refused: second };
        let scorer = Scorer { name: "lexicon", engine, patience };
        let scoring = Scoring::new(&scorer, Clock::default()).unwrap();
        let finish = Finish::new(Some(scoring), None, queue, buffers);
        let said = Transcript { text: Private("that is wonderful".to_owned()), ..Transcript::default() };
        let finished = finish.text(&about(Hearing::default(), 1), said).unwrap();
        assert_eq!(finished.transcript.text.0, "that is wonderful", "a text was shed with its score");
        finished.sentiment.unwrap()
    }

    #[test]
    fn a_text_has_its_score_until_too_much_waits_and_is_published_without_one_then() {
        assert!(scored(2, true).unwrap().compound > 0.0);
        assert_eq!(scored(3, true), Err(Fault::Overload));
        assert!(scored(3, false).unwrap().compound > 0.0, "a score that takes no time was left out");
    }
}
