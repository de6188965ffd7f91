//! Fail-over: one task for each segment under way, which asks the transcribers of the chain
//! in turn until one answers. The policy is [`super::course`]'s; here is what carries it out.
//!
//! Invariant: every segment that is taken is answered once: with a text and the name of who
//! heard it, or with the fault that was left when nobody did.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::breaker::{Patience, Standing};
use super::course::{Bounds, Course, Step};
use super::finish::{Finish, Served};
use super::job::{About, Finished, Named, Text, give_back};
use super::lane::Lane;
use super::queue::{Limits, Queue};
use super::{BufferPool, Clock, Engines, ReplySlot};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{Fault, Moment, Reply, SegmentKind, Transcript};

/// How a transcriber that fails is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailOver {
    /// Longest wait for one transcriber that names no time of its own.
    pub attempt_timeout: Duration,
    /// The bounds of the whole.
    pub bounds: Bounds,
    /// When one is left alone.
    pub patience: Patience,
}

impl Default for FailOver {
    fn default() -> Self {
        let cool_down = Duration::from_secs(1);
        Self {
            attempt_timeout: Duration::from_secs(8),
            bounds: Bounds { total: Duration::from_secs(25), rounds_max: 2, pause: cool_down, hedge_after: None },
            patience: Patience {
                failures_max: 5,
                cool_down,
                cool_down_max: Duration::from_secs(60),
                refused: Duration::from_secs(600),
            },
        }
    }
}

/// The transcribers and what is under way among them.
pub(super) struct Chain {
    finish: Arc<Finish>,
    lanes: Vec<Lane>,
    bounds: Bounds,
    limits: Limits,
    queue: Arc<Queue>,
    buffers: Arc<BufferPool>,
    clock: Clock,
    runtime: Handle,
    stopped: CancellationToken,
    /// Samples in the finals under way.
    samples: AtomicUsize,
    finals: AtomicUsize,
}

impl Chain {
    pub(super) fn new(
        engines: &Engines,
        limits: Limits,
        queue: Arc<Queue>,
        finish: Arc<Finish>,
        buffers: Arc<BufferPool>,
        (clock, runtime): (Clock, Handle),
    ) -> Arc<Self> {
        let FailOver { attempt_timeout, bounds, patience } = engines.fail_over;
        let lane = |(place, (name, engine))| Lane::new(place, name, engine, patience, attempt_timeout, clock);
        let lanes = engines.chain().enumerate().map(lane).collect();
        let chain = Arc::new(Self {
            finish,
            lanes,
            bounds,
            limits,
            queue,
            buffers,
            clock,
            runtime,
            stopped: CancellationToken::new(),
            samples: AtomicUsize::new(0),
            finals: AtomicUsize::new(0),
        });
        // A key that is not accepted is known before the first call.
        for place in 0..chain.lanes.len() {
            let looking = Arc::clone(&chain);
            chain.runtime.spawn(async move {
                let stopped = looking.stopped.clone();
                stopped.run_until_cancelled(looking.lanes[place].look()).await;
            });
        }
        chain
    }

    /// Whether the first transcriber works here and answers partials over the queue.
    pub(super) fn begins_here(&self) -> bool {
        self.lanes.first().is_some_and(Lane::is_local)
    }

    /// How each transcriber stands.
    pub(super) fn standings(&self) -> impl Iterator<Item = (&'static str, Standing)> {
        self.lanes.iter().map(|lane| (lane.name, lane.standing()))
    }

    /// Finals under way, and seconds of audio in them.
    pub(super) fn under_way(&self) -> (usize, f64) {
        let seconds = self.samples.load(Ordering::Acquire) as f64 / f64::from(PIPELINE_HZ);
        (self.finals.load(Ordering::Acquire), seconds)
    }

    /// Answers all that is under way with a refusal, and all that comes.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Takes a segment or refuses it; never waits.
    pub(super) fn submit(self: &Arc<Self>, about: About, samples: Arc<Vec<i16>>, slot: ReplySlot) {
        if let Err(fault) = self.room(about.kind, samples.len()) {
            slot.send(Box::new(Reply::refused(about.id, about.kind, fault)));
            return give_back(samples, &self.buffers);
        }
        let under_way = UnderWay { chain: Arc::clone(self), kind: about.kind, samples: samples.len() };
        // It ends with its deadline at the latest, and with `stop` at once.
        self.runtime.spawn(async move { under_way.chain.serve(about, samples, slot).await });
    }

    fn room(&self, kind: SegmentKind, samples: usize) -> Result<(), Fault> {
        if self.stopped.is_cancelled() {
            return Err(Fault::Shutdown);
        }
        match kind {
            SegmentKind::Partial => {
                let takes =
                    self.lanes.first().is_some_and(|lane| lane.takes_partials() && lane.standing() == Standing::Closed);
                // Each leg has one at most; the transcriber's own places bound them further.
                if !takes || self.limits.partials_max == 0 {
                    return Err(Fault::Overload);
                }
            }
            SegmentKind::Final => {
                let bound = self.limits.audio_max_s.saturating_mul(PIPELINE_HZ.into());
                let before = self.samples.fetch_add(samples, Ordering::AcqRel);
                // An empty chain takes any segment, however small the bound.
                if before > 0 && (before + samples) as u64 > bound {
                    self.samples.fetch_sub(samples, Ordering::AcqRel);
                    return Err(Fault::Overload);
                }
                self.finals.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }

    async fn serve(&self, about: About, samples: Arc<Vec<i16>>, slot: ReplySlot) {
        let began = self.clock.now();
        let whole = async {
            let heard = match about.kind {
                SegmentKind::Final => self.course(&about, &samples).await,
                SegmentKind::Partial => self.partial(&about, &samples).await,
            };
            let finished = match heard.result {
                Ok(transcript) => self.text(&about, transcript).await,
                Err(fault) => Err(fault),
            };
            (heard.asr, heard.asked, finished)
        };
        let (asr, asked, finished) = match self.stopped.run_until_cancelled(whole).await {
            Some(heard) => heard,
            None => ("", self.clock.now(), Err(Fault::Shutdown)),
        };
        let (queued, decoded) = (asked.since(began), self.clock.now().since(asked));
        self.finish.answer(Served { about, samples, asr, outcome: finished, queued, decoded }, slot);
    }

    /// Has a thread make of a text what is made of every text.
    async fn text(&self, about: &About, transcript: Transcript) -> Result<Finished, Fault> {
        let (to, finished) = oneshot::channel();
        self.queue.push_text(Text { about: about.clone(), transcript, to });
        let within = tokio::time::timeout(self.bounds.total, finished);
        within.await.map_err(|_| Fault::Timeout)?.unwrap_or(Err(Fault::Shutdown))
    }

    /// Asks the first alone: a partial is shown and forgotten, and worth no second try.
    async fn partial(&self, about: &About, samples: &Arc<Vec<i16>>) -> Heard {
        let asked = self.clock.now();
        match self.lanes.first().and_then(|lane| Some((lane, lane.admit()?))) {
            Some((lane, entry)) => {
                let answer = lane.ask(entry, about, samples, (&self.queue, &self.buffers)).await;
                Heard::new(lane.name, answer, asked)
            }
            None => Heard { asr: "", result: Err(Fault::Overload), asked },
        }
    }

    async fn course(&self, about: &About, samples: &Arc<Vec<i16>>) -> Heard {
        let mut course = Course::new(self.clock.now(), self.bounds, self.lanes.len());
        let mut asked = FuturesUnordered::new();
        loop {
            let mut entry = None;
            let now = self.clock.now();
            let step = course.poll(now, |place| {
                entry = self.lanes[place].admit();
                entry.is_some()
            });
            let until = match (step, entry) {
                (Step::Ask(place), Some(entry)) => {
                    let lane = &self.lanes[place];
                    asked.push(async move {
                        (lane.name, now, lane.ask(entry, about, samples, (&self.queue, &self.buffers)).await)
                    });
                    continue;
                }
                (Step::GiveUp(fault), _) => return Heard { asr: "", result: Err(fault), asked: now },
                (Step::Wait(until), _) => until,
                (Step::Ask(_), None) => continue,
            };
            let timer = tokio::time::sleep_until(self.clock.instant(until));
            tokio::select! {
                Some((asr, asked, answer)) = asked.next() => match answer {
                    // A judgement about the audio, which another would be no better for.
                    Ok(_) | Err(Fault::Looped) => return Heard::new(asr, answer, asked),
                    Err(fault) => course.failed(fault),
                },
                () = timer => {}
            }
        }
    }
}

/// What a course came to.
struct Heard {
    asr: &'static str,
    result: Result<Transcript, Fault>,
    /// When whoever answered was asked.
    asked: Moment,
}

impl Heard {
    fn new(asked_for: &'static str, answer: Result<Named, Fault>, asked: Moment) -> Self {
        let asr = answer.as_ref().map_or(asked_for, |(name, _)| name);
        Self { asr, result: answer.map(|(_, transcript)| transcript), asked }
    }
}

/// Room taken by a segment; given back with it.
struct UnderWay {
    chain: Arc<Chain>,
    kind: SegmentKind,
    samples: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.kind == SegmentKind::Final {
            self.chain.samples.fetch_sub(self.samples, Ordering::AcqRel);
            self.chain.finals.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
