//! CloudEvents 1.0: structured mode (one JSON object) for files and streams,
//! binary mode (headers and a JSON value) for Kafka.

use std::fmt::{Display, Write as _};

use serde::Serialize;

use super::body::Stream;
use super::{Body, Event, Origin};

/// The value of every event: who it is about, then what happened.
///
/// Origin and `seq` stand in the envelope too. They are repeated so that a tool
/// that shows values only (most Kafka tools) shows whole events.
#[derive(Serialize)]
struct Data<'a> {
    conversation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<&'a str>,
    seq: u64,
    #[serde(flatten)]
    body: &'a Body,
}

impl<'a> Data<'a> {
    fn of(event: &'a Event) -> Self {
        let Origin { conversation, leg, speaker, .. } = &*event.origin;
        let stream = event.body.traits().stream;
        let of_leg = stream == Stream::Leg;
        Self {
            conversation: conversation.as_str(),
            call: (stream == Stream::Call).then_some(leg.as_str()),
            leg: of_leg.then_some(leg.as_str()),
            speaker: of_leg.then_some(speaker.as_str()),
            seq: event.seq,
            body: &event.body,
        }
    }
}

/// The envelope in structured mode.
#[derive(Serialize)]
struct Structured<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    partitionkey: &'a str,
    seq: u64,
    #[serde(skip_serializing_if = "is_zero")]
    sub: u64,
    data: Data<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Version of CloudEvents spoken.
pub const SPEC_VERSION: &str = "1.0";

/// Type of every value.
pub const CONTENT_TYPE: &str = "application/json";

impl Event {
    /// CloudEvents `id`: `<leg>:<seq>`, and `.<sub>` after it when ephemeral.
    #[must_use]
    pub fn id(&self) -> String {
        match self.sub {
            0 => format!("{}:{}", self.origin.leg, self.seq),
            sub => format!("{}:{}.{sub}", self.origin.leg, self.seq),
        }
    }

    /// The whole event as one line of JSON without a line break, structured mode.
    #[must_use]
    pub fn to_structured(&self) -> Vec<u8> {
        json(&Structured {
            specversion: SPEC_VERSION,
            id: self.id(),
            source: &self.origin.source,
            kind: self.body.kind(),
            subject: self.origin.leg.as_str(),
            time: self.time.to_string(),
            datacontenttype: CONTENT_TYPE,
            partitionkey: self.origin.conversation.as_str(),
            seq: self.seq,
            sub: self.sub,
            data: Data::of(self),
        })
    }

    /// The record's value in binary mode.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        json(&Data::of(self))
    }

    /// Adds the record's value in binary mode to a buffer that its owner uses again.
    pub fn write_value(&self, out: &mut Vec<u8>) {
        write_json(&Data::of(self), out);
    }

    /// The record's headers in binary mode.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(HEADERS_MAX);
        self.each_header(|name, value| headers.push((name, value.to_owned())));
        headers
    }

    /// Shows each of the record's headers in turn; at most [`HEADERS_MAX`].
    pub fn each_header(&self, mut show: impl FnMut(&'static str, &str)) {
        let mut text = String::with_capacity(160);
        // Writing to a string does not fail.
        let _ = match self.sub {
            0 => write!(text, "{}:{}", self.origin.leg, self.seq),
            sub => write!(text, "{}:{}.{sub}", self.origin.leg, self.seq),
        };
        show("ce_specversion", SPEC_VERSION);
        show("ce_id", &text);
        show("ce_source", &self.origin.source);
        show("ce_type", self.body.kind());
        show("ce_subject", self.origin.leg.as_str());
        let mut written = |name, value: &dyn Display| {
            text.clear();
            let _ = write!(text, "{value}");
            show(name, &text);
        };
        written("ce_time", &self.time);
        written("ce_partitionkey", &self.origin.conversation);
        written("ce_seq", &self.seq);
        if self.sub > 0 {
            written("ce_sub", &self.sub);
        }
        show("content-type", CONTENT_TYPE);
    }
}

/// Most headers that an event has.
pub const HEADERS_MAX: usize = 10;

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_json(value, &mut out);
    out
}

fn write_json(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("events hold only strings, numbers and maps with string keys");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::body::{Dtmf, SpeechStarted};
    use crate::types::{ConversationId, LegId, Speaker, WallTime};

    fn event(sub: u64, body: Body) -> Event {
        let origin = Origin {
            conversation: ConversationId::parse("CON-1").unwrap(),
            leg: LegId::parse("leg-1").unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/sidetone/test"),
        };
        Event { origin: Arc::new(origin), seq: 7, sub, time: WallTime(1_000_000), body }
    }

    #[test]
    fn structured_mode_is_one_line_with_the_whole_event() {
        let dtmf = Dtmf { digit: "5".into(), duration_ms: Some(260), at_ms: 1200 };
        let line = String::from_utf8(event(0, Body::Dtmf(dtmf)).to_structured()).unwrap();
        assert_eq!(
            line,
            r#"{"specversion":"1.0","id":"leg-1:7","source":"/sidetone/test","type":"dtmf.v1","subject":"leg-1","#
                .to_owned()
                + r#""time":"1970-01-01T00:00:01.000000Z","datacontenttype":"application/json","partitionkey":"CON-1","seq":7,"#
                + r#""data":{"conversation":"CON-1","leg":"leg-1","speaker":"caller","seq":7,"digit":"5","duration_ms":260,"at_ms":1200}}"#
        );
    }

    #[test]
    fn ephemeral_events_do_not_advance_seq() {
        let event = event(2, Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 0 }));
        assert_eq!(event.id(), "leg-1:7.2");
        let headers = event.headers();
        assert!(headers.contains(&("ce_seq", "7".into())) && headers.contains(&("ce_sub", "2".into())), "{headers:?}");
    }
}
