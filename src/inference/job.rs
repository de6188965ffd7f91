//! What an inference thread is asked for, and whom it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{BufferPool, ReplySlot};
use crate::call::Buffers as _;
use crate::types::{Fault, Reply, SegmentId, SegmentKind, Sentiment, Transcript};

/// A text, and what was made of it.
pub(super) type Finished = (Transcript, Option<Sentiment>);

/// Something for a thread to do.
pub(super) enum Work {
    /// Hear what is said.
    Decode(Job),
    /// Do with a text that came from elsewhere what is done with one's own.
    Finish(Text),
}

/// Audio on its way to a local transcriber.
pub(super) struct Job {
    pub(super) kind: SegmentKind,
    pub(super) samples: Arc<Vec<i16>>,
    /// The transcriber's place in the chain.
    pub(super) backend: usize,
    pub(super) submitted: Instant,
    pub(super) to: To,
}

/// Who waits for a job's answer.
pub(super) enum To {
    /// The leg itself.
    Leg(SegmentId, ReplySlot),
    /// The segment's course, which may ask another if this one fails.
    Course(oneshot::Sender<Result<Finished, Fault>>),
}

impl To {
    /// Whether nobody waits any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Course(sender) if sender.is_closed())
    }
}

impl Job {
    /// Answers that it will not be done.
    pub(super) fn refuse(self, fault: Fault, buffers: &BufferPool) {
        match self.to {
            To::Leg(id, slot) => drop(slot.send(Box::new(refusal(id, self.kind, fault)))),
            To::Course(course) => drop(course.send(Err(fault))),
        }
        give_back(self.samples, buffers);
    }
}

/// A text on its way to a thread.
pub(super) struct Text {
    pub(super) kind: SegmentKind,
    pub(super) transcript: Transcript,
    pub(super) to: oneshot::Sender<Result<Finished, Fault>>,
}

/// The answer to a segment that nobody transcribed.
pub(super) fn refusal(id: SegmentId, kind: SegmentKind, fault: Fault) -> Reply {
    Reply {
        id,
        kind,
        outcome: Err(fault),
        sentiment: None,
        asr: "",
        scorer: None,
        queued: Duration::ZERO,
        decoded: Duration::ZERO,
    }
}

/// Gives a buffer back, unless somebody still reads it.
pub(super) fn give_back(samples: Arc<Vec<i16>>, buffers: &BufferPool) {
    if let Some(samples) = Arc::into_inner(samples) {
        buffers.give(samples);
    }
}
