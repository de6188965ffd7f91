//! What an inference thread is asked for, and whom it answers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::shadow::Said;
use super::{BufferPool, Hearing, ReplySlot};
use crate::call::Buffers as _;
use crate::types::{Entity, Fault, LegId, MediaTime, Moment, Reply, SegmentId, SegmentKind, Sentiment, Transcript};

/// Which segment something is about, and what is kept for its leg.
#[derive(Clone)]
pub(super) struct About {
    pub(super) leg: LegId,
    pub(super) id: SegmentId,
    pub(super) kind: SegmentKind,
    /// Position of its first sample.
    pub(super) start: MediaTime,
    /// When it was cut.
    pub(super) at: Moment,
    pub(super) hearing: Hearing,
}

/// A text as it may be shown, and what was made of it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) transcript: Transcript,
    pub(super) entities: Vec<Entity>,
    /// Or why there is none, where it was asked for.
    pub(super) sentiment: Option<Result<Sentiment, Fault>>,
    /// For the second transcriber.
    pub(super) said: Option<Box<Said>>,
}

/// Something for a thread to do.
pub(super) enum Work {
    /// Hear what is said: one partial, or finals of one transcriber.
    Decode(Vec<Job>),
    /// Make of a text that a segment's course came to what is made of every text.
    Finish(Text),
}

/// Audio on its way to a local transcriber.
pub(super) struct Job {
    pub(super) about: About,
    pub(super) samples: Arc<Vec<i16>>,
    /// The transcriber's place among all.
    pub(super) backend: usize,
    pub(super) submitted: Instant,
    pub(super) to: To,
}

/// A text and the name of who heard it.
pub(super) type Named = (&'static str, Transcript);

/// Who waits for a job's answer.
pub(super) enum To {
    /// The leg itself: the text is finished for it.
    Leg(ReplySlot),
    /// The segment's course, which may ask another if this one fails; what it came to is
    /// finished later, and once.
    Course(oneshot::Sender<Result<Named, Fault>>),
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
            To::Leg(slot) => drop(slot.send(Box::new(Reply::refused(self.about.id, self.about.kind, fault)))),
            To::Course(course) => drop(course.send(Err(fault))),
        }
        give_back(self.samples, buffers);
    }
}

/// A text on its way to a thread.
pub(super) struct Text {
    pub(super) about: About,
    pub(super) transcript: Transcript,
    pub(super) to: oneshot::Sender<Result<Finished, Fault>>,
}

/// Gives a buffer back, unless somebody still reads it.
pub(super) fn give_back(samples: Arc<Vec<i16>>, buffers: &BufferPool) {
    if let Some(samples) = Arc::into_inner(samples) {
        buffers.give(samples);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A final of the leg `leg-<id>`.
    pub(in crate::inference) fn about(hearing: Hearing, id: u64) -> About {
        let leg = LegId::parse(&format!("leg-{id}")).unwrap();
        About { leg, id: SegmentId(id), kind: SegmentKind::Final, start: MediaTime(0), at: Moment(id), hearing }
    }
}
