//! What Vonage tells us: the answer webhook, events, and the fallback of either.
//!
//! Source: `vonage-voice.md` section 3. Everything but the discriminating field may be
//! missing, null, empty, or a number written as a string; unknown fields and values
//! are kept and written again. Only ids are strict, since they become keys: an id that
//! is there must be one.

mod answer;
mod event;
mod fallback;
mod input;
mod record;
mod status;

use serde_json::Value;

pub use self::answer::{Answer, EndpointKind, parse_answer, parse_answer_query};
pub use self::event::{ErrorEvent, Event, Notification, Transferred, parse_event, parse_event_query};
pub use self::fallback::{Fallback, FallbackOf, OriginalRequest, parse_fallback, parse_fallback_query};
pub use self::input::{InputResult, KeysPressed, SpeechHeard, SpeechResult};
pub use self::record::{
    Recorded, Transcribed, TranscribedChannel, TranscribedSentence, TranscribedWord, TranscriptDocument,
};
pub use self::status::{DedupeKey, Direction, DisconnectedBy, Status, StatusEvent, SubState};
use super::wire::{Field, Map, Wire};
use crate::types::id::{ConversationId, LegId};
use crate::types::{Private, WallTime};

/// A webhook we cannot take. Names the field, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWebhook {
    /// The body is not JSON.
    #[error("the body is not JSON: line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the body must be an object; this is {0}")]
    NotObject(&'static str),
    /// A field is there and cannot be what it must be.
    #[error("{field}: must be {expected}")]
    BadField {
        /// Its key.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// What an id must be, for messages.
const AN_ID: &str = "an id: 1 to 128 visible ASCII characters";

/// Reads a body, with or without a byte order mark, into its object.
fn body(body: &[u8]) -> Result<Map, BadWebhook> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(BadWebhook::NotObject(super::wire::kind(&other))),
        Err(error) => Err(BadWebhook::NotJson { line: error.line(), column: error.column() }),
    }
}

/// Reads decoded query parameters into an object of strings. Where a name comes twice,
/// the first counts.
fn query(pairs: &[(String, String)]) -> Map {
    let mut map = Map::new();
    for (name, value) in pairs {
        map.entry(name.clone()).or_insert_with(|| value.clone().into());
    }
    map
}

/// Checks an id that is there and not empty.
fn check_id(name: &'static str, field: &Field<String>) -> Result<(), BadWebhook> {
    let good = match field {
        Field::Absent => true,
        Field::Is(id) => id.is_empty() || LegId::parse(id).is_ok(),
        Field::Odd(odd) => odd.is_null(),
    };
    if good { Ok(()) } else { Err(BadWebhook::BadField { field: name, expected: AN_ID }) }
}

/// A field that must be there, of its type, and not empty.
fn need<T: Wire>(name: &'static str, field: &Field<T>, expected: &'static str) -> Result<(), BadWebhook> {
    let empty = |value: &T| value.to_wire().as_str().is_some_and(str::is_empty);
    match field.get() {
        Some(value) if !empty(value) => Ok(()),
        _ => Err(BadWebhook::BadField { field: name, expected }),
    }
}

fn leg(field: &Field<String>) -> Option<LegId> {
    LegId::parse(field.get()?).ok()
}

fn conversation(field: &Field<String>) -> Option<ConversationId> {
    ConversationId::parse(field.get()?).ok()
}

/// The text of a private field, where it is not empty.
fn private_text(field: &Field<Private<super::wire::Text>>) -> Option<Private<String>> {
    field.reveal().map(|text| text.text().into_owned()).filter(|text| !text.is_empty()).map(Private)
}

/// A point in time: RFC 3339, or `2020-01-01 12:00:00` meaning UTC as REST writes it.
#[must_use]
pub fn time(field: &Field<String>) -> Option<WallTime> {
    let text = field.get()?.trim();
    let micros = chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .or_else(|_| {
            chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
                .map(|time| time.and_utc().timestamp_micros())
        })
        .ok()?;
    Some(WallTime(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_each_form() {
        let expected = Some(WallTime(1_577_880_000_000_000));
        for text in
            ["2020-01-01T12:00:00.000Z", "2020-01-01T13:00:00+01:00", "2020-01-01 12:00:00", " 2020-01-01T12:00:00Z"]
        {
            assert_eq!(time(&text.into()), expected, "{text}");
        }
        for text in ["", "now", "2020-01-01"] {
            assert_eq!(time(&text.into()), None, "{text}");
        }
        assert_eq!(time(&Field::Absent), None);
    }
}
