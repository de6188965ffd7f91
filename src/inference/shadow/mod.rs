//! A second transcriber, that hears again what the first has answered, on a share of
//! conversations: how far do the two disagree?
//!
//! ```text
//! Reply sent ──► offered ──► here: a thread of its own ──► compared, redacted ──► Shadow, to the leg
//!                   │        elsewhere: a task
//!                   └─ shed: its own bound is reached, or anything waits for an inference thread
//! ```
//!
//! Invariant: nothing waits for it. It is asked after the leg was answered, and holds no
//! inference thread; whatever becomes of it is a counter and at most one event. Its text is
//! redacted as strictly as the first's.

mod elsewhere;
mod here;
mod overheard;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::elsewhere::Elsewhere;
use self::here::Here;
pub(super) use self::overheard::{Overheard, Said};
use super::breaker::Patience;
use super::gate::Gate;
use super::queue::Queue;
use super::redaction::Conversations;
use super::{BufferPool, Clock};
use crate::asr::Engine;
use crate::redact::Memory;
use crate::types::{self, ConversationId, Fault};

/// A second transcriber and what it is to hear.
#[derive(Clone)]
pub struct ShadowPlan {
    /// Its name.
    pub name: &'static str,
    /// The transcriber.
    pub engine: Engine,
    /// Share of conversations, 0 to 1.
    pub share: f64,
    /// Segments that wait for it; one more is shed.
    pub waiting_max: usize,
    /// Longest wait for one that works elsewhere and names no time of its own.
    pub timeout: Duration,
    /// When it is left alone.
    pub patience: Patience,
}

/// Whether a conversation is of the share: whether the first eight bytes of its id's SHA-256,
/// as a fraction of all they can be, are below it. The same on every gateway.
#[must_use]
pub fn is_chosen(conversation: &ConversationId, share: f64) -> bool {
    let digest = Sha256::digest(conversation.as_str().as_bytes());
    let first = digest[..8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    // As many bits as a fraction can have; all of them set are still below 1.
    ((first >> 11) as f64) / ((1_u64 << 53) as f64) < share
}

/// A leg that the second transcriber hears too. To be held as long as the leg is there.
#[derive(Debug, Clone)]
pub(super) struct Overhearing {
    /// What the second transcriber's own texts left behind, for all legs of the conversation.
    memory: Arc<Mutex<Memory>>,
    results: mpsc::Sender<Box<types::Shadow>>,
}

/// See the module's documentation.
pub(super) struct Shadow {
    share: f64,
    waiting_max: usize,
    memories: Conversations,
    second: Arc<Second>,
    way: Way,
}

/// What both ways have.
struct Second {
    name: &'static str,
    gate: Gate,
    buffers: Arc<BufferPool>,
    stopped: CancellationToken,
}

enum Way {
    Here(Here),
    Elsewhere(Elsewhere),
}

impl Shadow {
    /// # Errors
    /// When the system gives no thread, or there is no tokio runtime where one is needed.
    pub(super) fn new(
        plan: &ShadowPlan,
        queue: &Arc<Queue>,
        buffers: Arc<BufferPool>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let gate = Gate::new("shadow", plan.name, plan.patience, clock);
        let second = Arc::new(Second { name: plan.name, gate, buffers, stopped: CancellationToken::new() });
        let way = match &plan.engine {
            Engine::Local(_) => Way::Here(Here::start(plan, Arc::clone(&second), Arc::clone(queue))?),
            Engine::Remote(engine) => Way::Elsewhere(Elsewhere::new(plan, Arc::clone(engine), Arc::clone(&second))?),
        };
        let ShadowPlan { share, waiting_max, .. } = *plan;
        Ok(Self { share, waiting_max, memories: Conversations::default(), second, way })
    }

    /// A line to a new leg of `conversation`, if it is of the share, and what comes over it.
    pub(super) fn overhear(
        &self,
        conversation: &ConversationId,
    ) -> Option<(Overhearing, mpsc::Receiver<Box<types::Shadow>>)> {
        is_chosen(conversation, self.share).then(|| {
            let (results, heard) = mpsc::channel(self.waiting_max);
            (Overhearing { memory: self.memories.of(conversation), results }, heard)
        })
    }

    /// Takes a segment that was answered, or sheds it; never waits.
    pub(super) fn offer(&self, overheard: Overheard) {
        if self.second.stopped.is_cancelled() {
            return self.second.shed(overheard, &Fault::Shutdown);
        }
        match &self.way {
            Way::Here(here) => here.offer(overheard, &self.second),
            Way::Elsewhere(elsewhere) => elsewhere.offer(overheard),
        }
    }

    /// Its name, and how it stands.
    pub(super) fn standing(&self) -> (&'static str, String) {
        let trouble = match &self.way {
            Way::Here(here) => here.trouble(),
            Way::Elsewhere(_) => None,
        };
        (self.second.name, trouble.unwrap_or_else(|| self.second.gate.standing().as_str().to_owned()))
    }

    /// Hears nothing any more; what it has begun is not waited for, but for a moment.
    pub(super) fn stop(&self) {
        self.second.stopped.cancel();
        if let Way::Here(here) = &self.way {
            here.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConversationId {
        ConversationId::parse(&format!("CON-{n}")).unwrap()
    }

    #[test]
    fn the_share_is_that_of_conversations_and_says_the_same_everywhere() {
        for (share, least, most) in [(0.0, 0, 0), (0.05, 400, 600), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)] {
            let chosen = (0..10_000).filter(|n| is_chosen(&id(*n), share)).count();
            assert!((least..=most).contains(&chosen), "{chosen} of 10000 with a share of {share}");
        }
        // Whoever is of a small share is of a larger one.
        assert!((0..1_000).all(|n| !is_chosen(&id(n), 0.1) || is_chosen(&id(n), 0.2)));
        // Whether `printf CON-1 | sha256sum` begins with 0 to 7.
        assert_eq!([0, 1, 2, 3, 4, 5].map(|n| is_chosen(&id(n), 0.5)), GOLDEN);
    }

    const GOLDEN: [bool; 6] = [false, false, false, false, false, true];
}
