//! An event webhook, told apart by what it holds.
//!
//! Source: `vonage-voice.md` section 3.2, "Dispatch": `payload`, `type` of `transfer` or
//! `conversation_uuid_from`, `dtmf` or `speech`, `transcription_url`, `recording_url`,
//! `status`, `reason`, in this order. There is no other way to tell.

use serde_json::Value;

use super::{
    BadWebhook, InputResult, Recorded, StatusEvent, Transcribed, body, check_id, conversation, leg, need, query,
};
use crate::types::{ConversationId, LegId, Private};
use crate::vonage::shape::object;
use crate::vonage::wire::{Map, Wire};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one a webhook, taken apart at once")]
pub enum Event {
    /// An NCCO's `notify` was reached.
    Notify(Notification),
    /// A leg moved to another conversation; also when it enters a named one.
    Transfer(Transferred),
    /// An NCCO's `input` is over.
    Input(InputResult),
    /// A transcription is there.
    Transcription(Transcribed),
    /// A recording is there.
    Record(Recorded),
    /// A leg changed its state.
    Status(StatusEvent),
    /// Vonage could not do what the NCCO said.
    Error(ErrorEvent),
    /// None of these; kept whole.
    Unknown(Private<Map>),
}

object! {
    /// An NCCO's `notify` was reached; an NCCO in the reply replaces the flow.
    Notification {
        /// What the NCCO gave.
        payload: Private<Value> = "payload",
        /// The conversation.
        conversation_uuid: String = "conversation_uuid",
        /// When, RFC 3339.
        timestamp: String = "timestamp",
    }
}

object! {
    /// A leg moved to another conversation.
    Transferred {
        /// `transfer`; seen in samples, not in documents.
        kind: String = "type",
        /// The leg.
        uuid: String = "uuid",
        /// Whence.
        conversation_uuid_from: String = "conversation_uuid_from",
        /// Whither.
        conversation_uuid_to: String = "conversation_uuid_to",
        /// When, RFC 3339.
        timestamp: String = "timestamp",
    }
}

object! {
    /// Vonage could not do what the NCCO said.
    ErrorEvent {
        /// Why, such as "Syntax error in NCCO. Invalid value type or action."
        reason: String = "reason",
        /// The conversation.
        conversation_uuid: String = "conversation_uuid",
        /// When, RFC 3339.
        timestamp: String = "timestamp",
    }
}

impl Transferred {
    /// The leg.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        leg(&self.uuid)
    }

    /// Where it came from.
    #[must_use]
    pub fn from(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid_from)
    }

    /// Where it is now.
    #[must_use]
    pub fn to(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid_to)
    }
}

impl Event {
    /// Tells what an object is, and checks its ids.
    pub(super) fn from_map(map: Map) -> Result<Self, BadWebhook> {
        // Null counts as absent but for what only one kind of event has at all.
        let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
        let event = if map.contains_key("payload") {
            Self::Notify(Notification::from_map(map))
        } else if map.get("type").and_then(Value::as_str) == Some("transfer") || has("conversation_uuid_from") {
            Self::Transfer(Transferred::from_map(map))
        } else if map.contains_key("dtmf") || map.contains_key("speech") {
            Self::Input(InputResult::from_map(map))
        } else if has("transcription_url") {
            Self::Transcription(Transcribed::from_map(map))
        } else if has("recording_url") {
            Self::Record(Recorded::from_map(map))
        } else if has("status") {
            Self::Status(StatusEvent::from_map(map))
        } else if has("reason") {
            Self::Error(ErrorEvent::from_map(map))
        } else {
            Self::Unknown(Private(map))
        };
        event.check()?;
        Ok(event)
    }

    fn check(&self) -> Result<(), BadWebhook> {
        match self {
            Self::Notify(e) => check_id("conversation_uuid", &e.conversation_uuid),
            Self::Transfer(e) => {
                check_id("uuid", &e.uuid)?;
                check_id("conversation_uuid_from", &e.conversation_uuid_from)?;
                check_id("conversation_uuid_to", &e.conversation_uuid_to)
            }
            Self::Input(e) => {
                check_id("uuid", &e.uuid)?;
                check_id("conversation_uuid", &e.conversation_uuid)
            }
            Self::Transcription(e) => {
                need("transcription_url", &e.transcription_url, "a URL")?;
                check_id("conversation_uuid", &e.conversation_uuid)
            }
            Self::Record(e) => {
                need("recording_url", &e.recording_url, "a URL")?;
                check_id("conversation_uuid", &e.conversation_uuid)
            }
            Self::Status(e) => {
                need("status", &e.status, "a string, not empty")?;
                check_id("uuid", &e.uuid)?;
                check_id("call_uuid", &e.call_uuid)?;
                check_id("conversation_uuid", &e.conversation_uuid)
            }
            Self::Error(e) => {
                need("reason", &e.reason, "a string, not empty")?;
                check_id("conversation_uuid", &e.conversation_uuid)
            }
            Self::Unknown(_) => Ok(()),
        }
    }

    /// The object that was read.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Notify(e) => e.to_wire(),
            Self::Transfer(e) => e.to_wire(),
            Self::Input(e) => e.to_wire(),
            Self::Transcription(e) => e.to_wire(),
            Self::Record(e) => e.to_wire(),
            Self::Status(e) => e.to_wire(),
            Self::Error(e) => e.to_wire(),
            Self::Unknown(map) => Value::Object(map.0.clone()),
        }
    }

    /// The kind, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Notify(_) => "notify",
            Self::Transfer(_) => "transfer",
            Self::Input(_) => "input",
            Self::Transcription(_) => "transcription",
            Self::Record(_) => "record",
            Self::Status(_) => "status",
            Self::Error(_) => "error",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The leg it is about, where it names one.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        match self {
            Self::Transfer(e) => e.leg(),
            Self::Input(e) => e.leg(),
            Self::Status(e) => e.leg(),
            _ => None,
        }
    }

    /// The conversation it is about; of a transfer, the one the leg is in now.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Notify(e) => conversation(&e.conversation_uuid),
            Self::Transfer(e) => e.to(),
            Self::Input(e) => e.conversation(),
            Self::Transcription(e) => e.conversation(),
            Self::Record(e) => e.conversation(),
            Self::Status(e) => e.conversation(),
            Self::Error(e) => conversation(&e.conversation_uuid),
            Self::Unknown(_) => None,
        }
    }

    /// Whether an NCCO in the reply may be honoured. Elsewhere the reply is empty.
    #[must_use]
    pub fn honours_ncco(&self) -> bool {
        match self {
            Self::Notify(_) | Self::Input(_) => true,
            Self::Status(e) => e.honours_ncco(),
            _ => false,
        }
    }
}

/// Reads the JSON body of a POST.
///
/// # Errors
/// [`BadWebhook`], naming the field where there is one.
pub fn parse_event(json: &[u8]) -> Result<Event, BadWebhook> {
    Event::from_map(body(json)?)
}

/// Reads the decoded query of a GET, where an application is set up so.
///
/// # Errors
/// [`BadWebhook::BadField`].
pub fn parse_event_query(pairs: &[(String, String)]) -> Result<Event, BadWebhook> {
    Event::from_map(query(pairs))
}
