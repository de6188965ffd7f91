//! Back from structured mode: what [`Event::to_structured`] wrote, read again.
//!
//! For our own notes only (the spool): an event that was read and is written again is
//! the same, byte for byte. What the envelope does not tell (the speaker of a call's
//! record) is not needed for that.

use std::sync::Arc;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{
    CapturePaused, CaptureResumed, Dtmf, Kind, LegEnded, LegStarted, PlaybackEnded, SpeechEnded, SpeechStarted,
    TranscriptDropped, TranscriptFinal, TranscriptPartial, TranscriptShadow,
};
use super::call::{
    CallAnswered, CallCapture, CallCompleted, CallFailed, CallJoined, CallListening, CallRecord, CallRecording,
    CallStarted, CallTransferred, CallUpdated,
};
use super::loss::GatewayLoss;
use super::{Body, Event, Origin};
use crate::types::{ConversationId, LegId, Speaker, WallTime};

/// Why a line is not one of our events.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON that this kind of event has.
    #[error("not an event of this contract: {0}")]
    Json(#[from] serde_json::Error),
    /// An id that cannot be one.
    #[error(transparent)]
    Id(#[from] crate::types::BadId),
    /// Not RFC 3339.
    #[error("the time of the event is not RFC 3339")]
    Time,
    /// From a newer or an older version.
    #[error("events of type {0:?} are not known to this version")]
    Kind(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    partitionkey: String,
    seq: u64,
    #[serde(default)]
    sub: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    speaker: String,
}

impl Body {
    /// Reads the data of an event of type `kind`; members that the type does not have
    /// (those of the origin) are passed over.
    ///
    /// # Errors
    /// [`DecodeError::Kind`] or [`DecodeError::Json`].
    pub fn from_json(kind: &str, data: &str) -> Result<Self, DecodeError> {
        macro_rules! one_of {
            ($($type:ident),*) => {
                match kind {
                    $(<$type as Kind>::TYPE => Self::$type(serde_json::from_str(data)?),)*
                    other => return Err(DecodeError::Kind(other.to_owned())),
                }
            };
        }
        Ok(one_of!(
            LegStarted,
            SpeechStarted,
            SpeechEnded,
            TranscriptPartial,
            TranscriptFinal,
            TranscriptDropped,
            TranscriptShadow,
            Dtmf,
            CapturePaused,
            CaptureResumed,
            PlaybackEnded,
            LegEnded,
            CallStarted,
            CallAnswered,
            CallJoined,
            CallTransferred,
            CallListening,
            CallCapture,
            CallRecording,
            CallUpdated,
            CallFailed,
            CallCompleted,
            CallRecord,
            GatewayLoss
        ))
    }
}

impl Event {
    /// Reads what [`Event::to_structured`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]; never quotes what an event says.
    pub fn from_structured(line: &[u8]) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_> = serde_json::from_slice(line)?;
        let time = DateTime::parse_from_rfc3339(&envelope.time).map_err(|_| DecodeError::Time)?;
        let said: Said = serde_json::from_str(envelope.data.get())?;
        let origin = Origin {
            conversation: ConversationId::parse(&envelope.partitionkey)?,
            leg: LegId::parse(&envelope.subject)?,
            speaker: Speaker::parse(&said.speaker),
            source: Arc::from(envelope.source),
        };
        Ok(Self {
            origin: Arc::new(origin),
            seq: envelope.seq,
            sub: envelope.sub,
            time: WallTime(time.timestamp_micros()),
            body: Body::from_json(&envelope.kind, envelope.data.get())?,
        })
    }
}
