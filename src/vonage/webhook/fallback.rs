//! Our server did not answer in time, and Vonage asks the fallback URL.
//!
//! Source: `vonage-voice.md` section 3.3: the same data as the request that failed,
//! with `reason` and `original_request` added.

use serde_json::Value;

use super::{Answer, BadWebhook, Event, body, query};
use crate::vonage::shape::object;
use crate::vonage::wire::{Field, Map, Wire};

/// A request that failed at its first URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// What went wrong: "Connection closed."
    pub reason: Field<String>,
    /// The request that failed.
    pub original: Field<OriginalRequest>,
    /// What that request said.
    pub of: FallbackOf,
}

/// What the failed request was.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one a webhook, taken apart at once")]
pub enum FallbackOf {
    /// An answer webhook: the reply's NCCO starts the call.
    Answer(Answer),
    /// An event webhook.
    Event(Event),
}

object! {
    /// The request that failed.
    OriginalRequest {
        /// Its URL.
        url: String = "url",
        /// `answer` or `event`.
        kind: String = "type",
    }
}

impl Fallback {
    fn from_map(mut map: Map) -> Result<Self, BadWebhook> {
        let reason = Field::take(&mut map, "reason");
        let original: Field<OriginalRequest> = Field::take(&mut map, "original_request");
        let kind = original.get().and_then(|original| original.kind.get()).map(String::as_str);
        // Where the kind is not said: only events have one of these.
        let event = kind == Some("event")
            || kind != Some("answer")
                && ["status", "payload", "dtmf", "speech"].iter().any(|key| map.contains_key(*key));
        let of =
            if event { FallbackOf::Event(Event::from_map(map)?) } else { FallbackOf::Answer(Answer::checked(map)?) };
        Ok(Self { reason, original, of })
    }

    /// The object that was read.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = match &self.of {
            FallbackOf::Answer(answer) => answer.to_wire(),
            FallbackOf::Event(event) => event.to_value(),
        };
        if let Value::Object(map) = &mut value {
            self.reason.put(map, "reason");
            self.original.put(map, "original_request");
        }
        value
    }
}

/// Reads the JSON body of a POST.
///
/// # Errors
/// [`BadWebhook`], naming the field where there is one.
pub fn parse_fallback(json: &[u8]) -> Result<Fallback, BadWebhook> {
    Fallback::from_map(body(json)?)
}

/// Reads the decoded query of a GET. `original_request` is then taken as JSON in a
/// string, and where it is not, the answer is assumed.
///
/// # Errors
/// [`BadWebhook::BadField`].
pub fn parse_fallback_query(pairs: &[(String, String)]) -> Result<Fallback, BadWebhook> {
    let mut map = query(pairs);
    if let Some(Value::String(json)) = map.get("original_request")
        && let Ok(Value::Object(original)) = serde_json::from_str(json)
    {
        map.insert("original_request".to_owned(), Value::Object(original));
    }
    Fallback::from_map(map)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_failed_request_is_inside() {
        for (kind, rest, is_event) in [
            ("answer", json!({"uuid": "a", "from": "447700900000"}), false),
            ("event", json!({"uuid": "a", "status": "answered"}), true),
            ("event", json!({"uuid": "a"}), true),
            ("other", json!({"uuid": "a", "status": "answered"}), true),
            ("other", json!({"uuid": "a"}), false),
        ] {
            let mut whole = rest;
            whole["reason"] = "Connection closed.".into();
            whole["original_request"] = json!({"url": "https://a.example/x", "type": kind, "n": 1});
            let fallback = parse_fallback(whole.to_string().as_bytes()).unwrap();
            assert_eq!(matches!(fallback.of, FallbackOf::Event(_)), is_event, "{whole}");
            assert_eq!(fallback.reason.get().map(String::as_str), Some("Connection closed."));
            assert_eq!(fallback.to_value(), whole);
        }
        assert!(parse_fallback(br#"{"uuid":[]}"#).is_err());
    }

    #[test]
    fn a_get_is_an_answer_unless_it_says_otherwise() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let plain = parse_fallback_query(&[pair("uuid", "a"), pair("reason", "x")]).unwrap();
        assert!(matches!(plain.of, FallbackOf::Answer(_)));
        let event = [pair("uuid", "a"), pair("original_request", r#"{"type":"event","url":"https://a.example"}"#)];
        assert!(matches!(parse_fallback_query(&event).unwrap().of, FallbackOf::Event(_)));
    }
}
