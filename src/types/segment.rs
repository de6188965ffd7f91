//! A stretch of speech on its way to a transcriber, and what comes back.

use std::time::Duration;

use super::{Entity, Fault, LegId, MediaTime, Moment, SegmentId, Sentiment, Transcript};

/// Why a segment is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// The speech is over; the result is its one terminal event.
    Final,
    /// The speech goes on; the result is shown and forgotten. First to be shed.
    Partial,
}

/// Audio of one utterance, whole (`Final`) or so far (`Partial`).
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The leg it was heard on.
    pub leg: LegId,
    /// Its number on that leg. A partial has the number of the final it grows into.
    pub id: SegmentId,
    /// Whole or so far.
    pub kind: SegmentKind,
    /// Mono, 16 kHz, pre-roll and hangover included.
    pub samples: Vec<i16>,
    /// Position of the first sample.
    pub start: MediaTime,
    /// When it was cut, for queueing: the oldest is decoded first.
    pub cut_at: Moment,
}

/// A transcriber's answer to one [`Segment`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The segment answered.
    pub id: SegmentId,
    /// The kind that was asked for.
    pub kind: SegmentKind,
    /// Text, or why there is none.
    pub outcome: Result<Transcript, Fault>,
    /// What was taken out of the text, in its order.
    pub entities: Vec<Entity>,
    /// Sentiment of the text, where it was asked for and could be had.
    pub sentiment: Option<Sentiment>,
    /// Name of the transcriber that answered.
    pub asr: &'static str,
    /// Name of the sentiment backend that scored.
    pub scorer: Option<&'static str>,
    /// Time spent waiting for a worker.
    pub queued: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
}

impl Reply {
    /// The answer to a segment that nobody transcribed.
    #[must_use]
    pub fn refused(id: SegmentId, kind: SegmentKind, fault: Fault) -> Self {
        Self {
            id,
            kind,
            outcome: Err(fault),
            entities: Vec::new(),
            sentiment: None,
            asr: "",
            scorer: None,
            queued: Duration::ZERO,
            decoded: Duration::ZERO,
        }
    }
}
