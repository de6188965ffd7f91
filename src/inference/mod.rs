//! Transcription, away from the sockets: on threads of its own, or elsewhere.
//!
//! ```text
//!                 only one transcriber, and it works here
//! leg task ──submit──────────────────────────────► Queue ──► worker thread
//!    ▲          │ more of them, or remote ones       ▲          │ level → transcribe
//!    │          ▼                                    │          │ → redact → score
//!    │        Chain ── a task for each segment:  ────┤ local    │
//!    │          ▲      who is asked, who next        │          │
//!    │          │                                    │ text     │
//!    │          └──── Lane: breaker, bounds ──► remote engine   │
//!    └── Reply ◄── refuses, sheds ◄── Finish ◄──────────────────┘
//!                                       ├── remote scorer, awaited by a task
//!                                       └── shadow: hears finals again, afterwards
//! ```
//!
//! Invariant: nobody who submits ever waits. A segment is taken or refused at
//! once, and the place for its reply is reserved before it is taken, so that whoever
//! answers never waits either. No remote transcriber and no remote scorer occupies a thread.

pub mod breaker;
mod buffers;
mod chain;
pub mod course;
mod finish;
mod gate;
mod hearing;
mod job;
mod lane;
mod neighbour;
mod places;
mod queue;
mod quick;
mod redaction;
mod scoring;
mod shadow;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use self::breaker::Standing;
pub use self::buffers::BufferPool;
use self::chain::Chain;
pub use self::chain::FailOver;
use self::finish::Finish;
pub use self::hearing::Hearing;
use self::job::{About, Job, To};
use self::neighbour::Last;
use self::queue::Queue;
pub use self::queue::{Backlog, Limits};
pub use self::quick::Quick;
use self::redaction::Conversations;
use self::redaction::Redaction;
pub use self::scoring::Scorer;
use self::scoring::Scoring;
use self::shadow::Overhearing;
use self::shadow::Shadow;
pub use self::shadow::{ShadowPlan, is_chosen};
use crate::asr::Engine;
use crate::redact::Policy;
use crate::types::{self, BuildError, ConversationId, Fault, Moment, RedactionTerms, Reply, Segment, SegmentKind};

/// Gives a leg's reply to whoever runs the leg. Boxed, as each leg's channel holds room
/// for some thirty from its start.
pub type ReplySlot = mpsc::OwnedPermit<Box<Reply>>;

/// What a second transcriber heard of a leg.
pub type Shadows = mpsc::Receiver<Box<types::Shadow>>;

/// What the workers work with.
#[derive(Clone)]
pub struct Engines {
    /// Name of the transcriber.
    pub asr_name: &'static str,
    /// The transcriber.
    pub asr: Engine,
    /// Those that are asked when it fails, in order.
    pub fall_back: Vec<(&'static str, Engine)>,
    /// Who hears in place of a local transcriber what is not worth its time.
    pub quick: Option<Quick>,
    /// A final that begins so soon after the one before is heard together with it.
    pub join_within: Duration,
    /// How failures are treated.
    pub fail_over: FailOver,
    /// Who scores texts, if anybody.
    pub scorer: Option<Scorer>,
    /// Who hears again what they have answered, if anybody.
    pub shadow: Option<ShadowPlan>,
    /// What is taken out of texts, where a leg does not say otherwise.
    pub redaction: Policy,
}

impl Engines {
    /// All transcribers, in the order they are asked in.
    pub fn chain(&self) -> impl Iterator<Item = (&'static str, &Engine)> {
        let others = self.fall_back.iter().map(|(name, engine)| (*name, engine));
        std::iter::once((self.asr_name, &self.asr)).chain(others)
    }

    /// The place of the quick one, if there is one: after those that are asked.
    fn quick_place(&self) -> usize {
        self.chain().count()
    }

    /// All transcribers, the quick one after those that are asked.
    fn all(&self) -> impl Iterator<Item = (&'static str, &Engine)> {
        self.chain().chain(self.quick.iter().map(|quick| (quick.name, &quick.engine)))
    }
}

/// The clock of what is under way.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    fn now(self) -> Moment {
        Moment::default() + self.0.elapsed()
    }

    /// The same moment for tokio's timers.
    fn instant(self, moment: Moment) -> tokio::time::Instant {
        (self.0 + moment.since(Moment::default())).into()
    }
}

/// How far the pool is from being of use.
#[derive(Debug, Clone, PartialEq)]
pub enum Readiness {
    /// Loading and warming the model.
    Warming,
    /// Every worker has decoded something.
    Ready,
    /// A worker could not open its transcriber.
    Failed(BuildError),
}

/// The inference threads and their queue.
pub struct Pool {
    queue: Arc<Queue>,
    finish: Arc<Finish>,
    /// Where there is more than one local transcriber.
    chain: Option<Arc<Chain>>,
    readiness: watch::Receiver<Readiness>,
    buffers: Arc<BufferPool>,
    redaction: Policy,
    conversations: Conversations,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts `threads` workers, each of which opens and warms its own transcribers. With more
    /// than one transcriber, or anything remote, it must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no thread, or there is no runtime where one is needed.
    pub fn start(engines: &Engines, threads: usize, limits: Limits, buffers: Arc<BufferPool>) -> std::io::Result<Self> {
        let (queue, clock) = (Arc::new(Queue::new(limits, threads)), Clock::default());
        let scoring = engines.scorer.as_ref().map(|scorer| Scoring::new(scorer, clock)).transpose()?;
        let shadow = |plan| Shadow::new(plan, &queue, Arc::clone(&buffers), clock);
        let shadow = engines.shadow.as_ref().map(shadow).transpose()?;
        let finish = Arc::new(Finish::new(scoring, shadow, Arc::clone(&queue), Arc::clone(&buffers)));
        let (report, readiness) = watch::channel(Readiness::Warming);
        let report = Arc::new(worker::Warmth::new(report, threads));
        let alone = engines.fall_back.is_empty() && matches!(engines.asr, Engine::Local(_));
        let chain = match alone {
            true => None,
            false => {
                let runtime = tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?;
                let (queue, finish, buffers) = (Arc::clone(&queue), Arc::clone(&finish), Arc::clone(&buffers));
                Some(Chain::new(engines, limits, queue, finish, buffers, (clock, runtime)))
            }
        };
        let workers: Vec<_> = (0..threads)
            .map(|n| {
                let (engines, queue) = (engines.clone(), Arc::clone(&queue));
                let (finish, report, buffers) = (Arc::clone(&finish), Arc::clone(&report), Arc::clone(&buffers));
                std::thread::Builder::new()
                    .name(format!("inference-{n}"))
                    .spawn(move || worker::run(&engines, &queue, &finish, &report, &buffers))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            queue,
            finish,
            chain,
            readiness,
            buffers,
            redaction: engines.redaction,
            conversations: Conversations::default(),
            workers: Mutex::new(workers),
        })
    }

    /// What is kept for a new leg of `conversation`, which is redacted as `terms` say, else as the
    /// gateway is configured; its legs share what they remember, for as long as one of them holds
    /// this. And what comes from the second transcriber, if there is one and it hears this
    /// conversation.
    #[must_use]
    pub fn hearing(&self, conversation: &ConversationId, terms: RedactionTerms) -> (Hearing, Option<Shadows>) {
        let redaction = Redaction::new(self.redaction.under(terms), self.conversations.of(conversation));
        let (overhearing, shadows) = self.finish.shadow().and_then(|shadow| shadow.overhear(conversation)).unzip();
        (Hearing { redaction, overhearing, last: Last::default() }, shadows)
    }

    /// Takes a segment; its reply goes to `replies`, a refusal too. Never waits.
    ///
    /// When `replies` has no room, nobody could be told: the segment comes back.
    ///
    /// # Errors
    /// The segment, when `replies` is full or closed.
    pub fn submit(
        &self,
        segment: Segment,
        hearing: &Hearing,
        replies: &mpsc::Sender<Box<Reply>>,
    ) -> Result<(), Segment> {
        let Ok(slot) = replies.clone().try_reserve_owned() else { return Err(segment) };
        let Segment { leg, id, kind, samples, start, cut_at } = segment;
        let (samples, about) =
            (Arc::new(samples), About { leg, id, kind, start, at: cut_at, hearing: hearing.clone() });
        match &self.chain {
            // A partial never goes to another, so it needs nobody to look after it.
            Some(chain) if kind == SegmentKind::Final || !chain.begins_here() => chain.submit(about, samples, slot),
            _ => {
                let job = Job { about, samples, backend: 0, submitted: Instant::now(), to: To::Leg(slot) };
                if let Err(job) = self.queue.push(job, &self.buffers) {
                    job.refuse(Fault::Overload, &self.buffers);
                }
            }
        }
        Ok(())
    }

    /// What waits now.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let mut backlog = self.queue.backlog();
        if let Some(chain) = &self.chain {
            // What waits for a thread is under way too.
            (backlog.finals, backlog.audio_s) = chain.under_way();
        }
        backlog
    }

    /// How each transcriber stands, by name; nothing where there is one only, and it is here.
    #[must_use]
    pub fn standings(&self) -> Vec<(&'static str, Standing)> {
        self.chain.iter().flat_map(|chain| chain.standings()).collect()
    }

    /// The scorer and how it stands, where it is elsewhere.
    #[must_use]
    pub fn scorer_standing(&self) -> Option<(&'static str, Standing)> {
        self.finish.standing()
    }

    /// The second transcriber, and how it stands.
    #[must_use]
    pub fn shadow_standing(&self) -> Option<(&'static str, String)> {
        self.finish.shadow().map(Shadow::standing)
    }

    /// Whether the workers are of use yet; watch it for changes.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Refuses what waits, lets the workers finish what they hold, and joins them.
    pub fn stop(&self) {
        if let Some(chain) = &self.chain {
            chain.stop();
        }
        self.finish.stop();
        self.queue.close(&self.buffers);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            // A worker catches its panics; one that died anyway has said so itself.
            let _ = worker.join();
        }
    }
}
