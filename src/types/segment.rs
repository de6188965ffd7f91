//! A stretch of speech on its way to a transcriber, and what comes back.

use std::time::Duration;

use super::{Entity, Fault, LegId, MediaTime, Moment, Private, SegmentId, Sentiment, Transcript};

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
    /// Sentiment of the text, or why there is none, where it was asked for.
    pub sentiment: Option<Result<Sentiment, Fault>>,
    /// Name of the transcriber that answered.
    pub asr: &'static str,
    /// Name of the sentiment backend that scored.
    pub scorer: Option<&'static str>,
    /// Whether a second transcriber may be heard about the segment, too: a [`Shadow`] may follow.
    pub overheard: bool,
    /// Time spent waiting for a worker.
    pub queued: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
}

/// What a second transcriber heard in a segment that the first has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// The segment.
    pub id: SegmentId,
    /// The text as it may be shown; empty where it heard no words.
    pub text: Private<String>,
    /// 0 to 1: its own figure, where it gives one.
    pub confidence: Option<f32>,
    /// Name of the second transcriber.
    pub asr: &'static str,
    /// Name of the one that answered first.
    pub first: &'static str,
    /// How far the two differ.
    pub disagreement: Disagreement,
}

/// How far two texts of one segment differ, in words made comparable: what it takes to make the
/// second's of the first's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disagreement {
    /// Words that the first heard.
    pub words: u64,
    /// Words that are others in the second's text.
    pub substitutions: u64,
    /// Words that are not in it.
    pub deletions: u64,
    /// Words that are in it alone.
    pub insertions: u64,
}

impl Disagreement {
    /// Words that differ, of whatever kind.
    #[must_use]
    pub fn wrong(self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }
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
            overheard: false,
            queued: Duration::ZERO,
            decoded: Duration::ZERO,
        }
    }
}
