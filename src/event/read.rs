//! Events read back, as a consumer gets them: from a record's headers and value.

use std::sync::Arc;

use serde_json::Value;

use super::decode::DecodeError;
use super::{Body, Event, Origin};
use crate::types::{ConversationId, LegId, Speaker, WallTime};

/// Why something is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotOurs {
    what: String,
}

fn not_ours(what: impl Into<String>) -> NotOurs {
    NotOurs { what: what.into() }
}

/// What the envelope of an event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// CloudEvents `type`.
    pub kind: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`: the leg, or the record of the call.
    pub subject: String,
    /// CloudEvents `time`, RFC 3339.
    pub time: String,
    /// CloudEvents `partitionkey`: the conversation.
    pub partitionkey: String,
    /// Number among the subject's durable events.
    pub seq: u64,
    /// 0 for a durable event.
    pub sub: u64,
}

impl Attributes {
    /// From the headers of a record in binary mode. What is not there stays empty.
    pub fn from_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let text = || value.to_owned();
            match name {
                "ce_type" => found.kind = text(),
                "ce_source" => found.source = text(),
                "ce_subject" => found.subject = text(),
                "ce_time" => found.time = text(),
                "ce_partitionkey" => found.partitionkey = text(),
                "ce_seq" => found.seq = value.parse().unwrap_or_default(),
                "ce_sub" => found.sub = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        found
    }
}

impl Event {
    /// From an envelope and the data.
    ///
    /// # Errors
    /// [`NotOurs`]: which attribute or which part of the data is not as the contract says.
    pub fn from_parts(envelope: &Attributes, data: Value) -> Result<Self, NotOurs> {
        if envelope.seq == 0 {
            return Err(not_ours("an event without seq"));
        }
        let time = chrono::DateTime::parse_from_rfc3339(&envelope.time)
            .map_err(|_| not_ours("an event whose time is not RFC 3339"))?;
        let id = |name: &str, problem: crate::types::id::BadId| not_ours(format!("{name}: {problem}"));
        let speaker = data.get("speaker").and_then(Value::as_str).unwrap_or_default();
        let origin = Origin {
            conversation: ConversationId::parse(&envelope.partitionkey).map_err(|bad| id("partitionkey", bad))?,
            leg: LegId::parse(&envelope.subject).map_err(|bad| id("subject", bad))?,
            speaker: Speaker::parse(speaker),
            source: Arc::from(envelope.source.as_str()),
        };
        let body = body(&envelope.kind, &data)?;
        let (seq, sub) = (envelope.seq, envelope.sub);
        Ok(Self { origin: Arc::new(origin), seq, sub, time: WallTime(time.timestamp_micros()), body })
    }
}

/// The data of an event of a kind.
fn body(kind: &str, data: &Value) -> Result<Body, NotOurs> {
    Body::from_json(kind, &data.to_string()).map_err(|error| match error {
        DecodeError::Kind(kind) if kind.is_empty() => not_ours("no event: it has no ce_type"),
        DecodeError::Kind(kind) => not_ours(format!("an event of a type that is not known here: {kind}")),
        // The error's own text may quote what was said.
        _ => not_ours(format!("data that is not a {kind}")),
    })
}

/// An event from one JSON object in structured mode.
#[cfg(test)]
pub(super) fn structured(line: &[u8]) -> Result<Event, NotOurs> {
    let mut object: serde_json::Map<String, Value> =
        serde_json::from_slice(line).map_err(|_| not_ours("not one JSON object"))?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or_default();
    let envelope = Attributes {
        kind: text("type"),
        source: text("source"),
        subject: text("subject"),
        time: text("time"),
        partitionkey: text("partitionkey"),
        seq: number("seq"),
        sub: number("sub"),
    };
    Event::from_parts(&envelope, object.remove("data").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_reads_back_as_it_was_written() {
        let examples = include_str!("../../deploy/events/examples.jsonl");
        let mut read = 0;
        for line in examples.lines().filter(|line| !line.is_empty()) {
            let event = structured(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
            let again: Value = serde_json::from_slice(&event.to_structured()).unwrap();
            assert_eq!(again, serde_json::from_str::<Value>(line).unwrap());
            let headers = event.headers();
            let pairs = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let value = serde_json::from_slice(&event.value()).unwrap();
            assert_eq!(Event::from_parts(&Attributes::from_headers(pairs), value).as_ref(), Ok(&event));
            read += 1;
        }
        assert!(read > 10, "only {read} examples");
    }

    #[test]
    fn what_is_no_event_is_told_without_its_content() {
        let example = |changed: &str| {
            format!(
                r#"{{"type":"dtmf.v1","source":"/s","subject":"leg","time":"2026-01-01T00:00:00Z","partitionkey":"CON","seq":1,"data":{{"digit":"5","duration_ms":null,"at_ms":0}}{changed}}}"#
            )
        };
        assert!(structured(example("").as_bytes()).is_ok());
        for (changed, expected) in [
            (r#","seq":0"#, "an event without seq"),
            (r#","time":"now""#, "an event whose time is not RFC 3339"),
            (r#","subject":"""#, "subject: an id must be"),
            (r#","type":"other.v9""#, "an event of a type that is not known here: other.v9"),
            (r#","data":{"digit":4111}"#, "data that is not a dtmf.v1"),
        ] {
            let problem = structured(example(changed).as_bytes()).unwrap_err().to_string();
            assert!(problem.starts_with(expected) && !problem.contains("4111"), "{problem}");
        }
    }
}
