//! Transcription on threads of its own, away from the sockets.
//!
//! ```text
//! leg task ──submit──► Queue (bounded, finals before partials) ──► worker thread
//!    ▲                    │ refuses, sheds                           │ level → transcribe → redact → score
//!    └──────── Reply ◄────┴──────────────────────────────────────────┘
//! ```
//!
//! Invariant: nobody who submits ever waits. A segment is taken or refused at
//! once, and the place for its reply is reserved before it is taken, so that a
//! worker never waits either.

mod buffers;
mod queue;
mod redaction;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

pub use self::buffers::BufferPool;
use self::queue::Queue;
pub use self::queue::{Backlog, Limits};
use self::redaction::Conversations;
pub use self::redaction::Redaction;
use crate::asr;
use crate::redact::Policy;
use crate::sentiment::Scorer;
use crate::types::{BuildError, ConversationId, Fault, RedactionTerms, Reply, Segment};

/// Gives a leg's reply to whoever runs the leg. Boxed, as each leg's channel holds room
/// for some thirty from its start.
pub type ReplySlot = mpsc::OwnedPermit<Box<Reply>>;

/// What the workers work with.
#[derive(Clone)]
pub struct Engines {
    /// Name of the transcriber.
    pub asr_name: &'static str,
    /// The transcriber.
    pub asr: Arc<dyn asr::Engine>,
    /// Name of the sentiment backend and the backend, if any.
    pub scorer: Option<(&'static str, Arc<dyn Scorer>)>,
    /// What is taken out of texts, where a leg does not say otherwise.
    pub redaction: Policy,
}

/// A segment on its way through the queue.
struct Job {
    segment: Segment,
    submitted: std::time::Instant,
    redaction: Redaction,
    reply: ReplySlot,
}

impl Job {
    fn refuse(self, fault: Fault, buffers: &BufferPool) {
        let refusal = Reply::refused(&self.segment, fault);
        self.reply.send(Box::new(refusal));
        crate::call::Buffers::give(buffers, self.segment.samples);
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
    readiness: watch::Receiver<Readiness>,
    buffers: Arc<BufferPool>,
    redaction: Policy,
    conversations: Conversations,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts `threads` workers, each of which opens and warms its own transcriber.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(engines: &Engines, threads: usize, limits: Limits, buffers: Arc<BufferPool>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(limits));
        let (report, readiness) = watch::channel(Readiness::Warming);
        let report = Arc::new(worker::Warmth::new(report, threads));
        let workers: Vec<_> = (0..threads)
            .map(|n| {
                let (engines, queue) = (engines.clone(), Arc::clone(&queue));
                let (report, buffers) = (Arc::clone(&report), Arc::clone(&buffers));
                std::thread::Builder::new()
                    .name(format!("inference-{n}"))
                    .spawn(move || worker::run(&engines, &queue, &report, &buffers))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            queue,
            readiness,
            buffers,
            redaction: engines.redaction,
            conversations: Conversations::default(),
            workers: Mutex::new(workers),
        })
    }

    /// How a leg of `conversation` is redacted: as `terms` say, else as the gateway is configured.
    /// Its legs share what they remember, for as long as one of them holds this.
    #[must_use]
    pub fn redaction(&self, conversation: &ConversationId, terms: RedactionTerms) -> Redaction {
        Redaction::new(self.redaction.under(terms), self.conversations.of(conversation))
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
        redaction: &Redaction,
        replies: &mpsc::Sender<Box<Reply>>,
    ) -> Result<(), Segment> {
        match replies.clone().try_reserve_owned() {
            Ok(reply) => {
                let redaction = redaction.clone();
                let job = Job { segment, submitted: std::time::Instant::now(), redaction, reply };
                if let Err(job) = self.queue.push(job, &self.buffers) {
                    job.refuse(Fault::Overload, &self.buffers);
                }
                Ok(())
            }
            Err(_) => Err(segment),
        }
    }

    /// What waits now.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.queue.backlog()
    }

    /// Whether the workers are of use yet; watch it for changes.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Refuses what waits, lets the workers finish what they hold, and joins them.
    pub fn stop(&self) {
        self.queue.close(&self.buffers);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            // A worker catches its panics; one that died anyway has said so itself.
            let _ = worker.join();
        }
    }
}
