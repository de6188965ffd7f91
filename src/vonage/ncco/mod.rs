//! NCCO: the JSON array of actions that tells Vonage what to do with a call, run top
//! to bottom.
//!
//! Source: `vonage-voice.md` section 2 (actions) and 1.1 (the websocket endpoint).
//! Any array can be read and is written again without loss; whether it is any good is
//! [`validate()`]'s to say. Keys are written in our order, the action's name first.
//!
//! ```
//! use sidetone::vonage::ncco::{Conversation, Ncco, Talk, validate};
//!
//! let ncco = Ncco(vec![
//!     Talk::say("Please hold the line.").into(),
//!     Conversation::named("support-42").can_hear(["PAR-1"]).into(),
//! ]);
//! assert!(validate(&ncco).is_empty());
//! assert_eq!(Ncco::parse(&ncco.to_bytes()), Ok(ncco));
//! ```

mod action;
mod build;
mod endpoint;
mod validate;
mod word;

use std::borrow::Cow;

use serde_json::Value;

pub use self::action::{
    Action, AdvancedMachineDetection, Connect, Conversation, DtmfSettings, Input, Notify, Pay, Record, SpeechSettings,
    Stream, Talk, Transcription, Transfer, Wait,
};
pub use self::build::{WebsocketLeg, custom_authorization, vonage_authorization};
pub use self::endpoint::{
    App, Authorization, AuthorizationKind, Endpoint, OnAnswer, Phone, Sip, StandardHeaders, Vbc, Websocket,
};
pub use self::validate::{Problem, Severity, limits, validate};
pub use self::word::{
    DetectionBehavior, DetectionMode, EventType, InputKind, InputMode, Method, RecordFormat, RecordSplit,
};
use super::shape::serde_by_wire;
use super::wire::Wire;

/// A whole NCCO, at the top of an answer or a webhook's reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ncco(pub Vec<Action>);

/// Bytes that are no NCCO. Holds no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNcco {
    /// Not JSON.
    #[error("not JSON: line {line}, column {column}: {what}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 at the end of the line before.
        column: usize,
        /// What the JSON reader wanted.
        what: String,
    },
    /// JSON, but not an array.
    #[error("an NCCO must be an array of actions; this is {0}")]
    NotArray(&'static str),
}

impl Ncco {
    /// Reads a JSON document, UTF-8, with or without a byte order mark.
    ///
    /// # Errors
    /// [`BadNcco`] where it is not JSON or not an array. Odd or unknown actions are
    /// no error here.
    pub fn parse(json: &[u8]) -> Result<Self, BadNcco> {
        let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        let value: Value = serde_json::from_slice(json).map_err(|error| {
            // The reader ends its message with the place, which we give ourselves.
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default().to_owned();
            BadNcco::NotJson { line: error.line(), column: error.column(), what }
        })?;
        Self::from_wire(value).map_err(|odd| BadNcco::NotArray(super::wire::kind(&odd)))
    }

    /// The JSON document to reply with, as `application/json`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_wire().to_string().into_bytes()
    }
}

impl Wire for Ncco {
    fn expected() -> Cow<'static, str> {
        "an array of actions".into()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        Vec::from_wire(value).map(Self)
    }

    fn to_wire(&self) -> Value {
        self.0.to_wire()
    }
}

impl From<Vec<Action>> for Ncco {
    fn from(actions: Vec<Action>) -> Self {
        Self(actions)
    }
}

serde_by_wire!(Ncco);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Ncco {
        Ncco::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn odd_and_unknown_parts_come_back_as_they_were() {
        for value in [
            json!([]),
            json!([{"action": "talk", "text": "Hi", "level": "0", "loop": null, "voiceName": "Amy", "new": {"a": [1, 2.5]}}]),
            json!([{"action": "talk", "text": 7, "bargeIn": "true"}, {"action": "Talk"}, {"action": 5}, {}, 3, null, "talk"]),
            json!([{"action": "stream", "streamUrl": "https://a.example/m.mp3"}, {"action": "stream", "streamUrl": [1]}]),
            json!([{"action": "connect", "endpoint": {"type": "phone"}}, {"action": "connect", "endpoint": [[], {"type": "fax"}]}]),
            json!([{"action": "connect", "advanced_machine_detection": {"beep_timeout": 45, "beepTimeout": "46"},
                    "advancedMachineDetection": {"mode": "other"}}]),
            json!([{"action": "input", "type": ["dtmf", "gesture"], "dtmf": []}, {"action": "pay", "amount": 1.50}]),
        ] {
            assert_eq!(read(&value).to_wire(), value);
            let serde: Ncco = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&serde).unwrap(), value);
        }
    }

    #[test]
    fn typed_where_it_fits() {
        let ncco = read(&json!([
            {"action": "talk", "text": "Hi", "level": "-0.5", "loop": "2"},
            {"action": "stream", "streamUrl": "https://a.example/m.mp3"},
        ]));
        let [Action::Talk(talk), Action::Stream(stream)] = &ncco.0[..] else { panic!("{ncco:?}") };
        assert_eq!(talk.text.get().map(String::as_str), Some("Hi"));
        assert_eq!(talk.level.get().and_then(|level| level.as_f64()), Some(-0.5));
        assert_eq!(talk.repeat.get().and_then(|count| count.as_u64()), Some(2));
        assert_eq!(stream.stream_url.get().map(|urls| urls.all()), Some(&["https://a.example/m.mp3".to_owned()][..]));
    }

    #[test]
    fn what_is_no_array_is_refused_with_its_place() {
        assert_eq!(
            Ncco::parse(b"{}").unwrap_err().to_string(),
            "an NCCO must be an array of actions; this is an object"
        );
        assert_eq!(Ncco::parse(b"[\n{,").unwrap_err().to_string(), "not JSON: line 2, column 2: key must be a string");
        assert_eq!(Ncco::parse(b"\xEF\xBB\xBF[]"), Ok(Ncco::default()));
    }

    #[test]
    fn debug_shows_no_number_and_no_token() {
        let ncco = read(&json!([
            {"action": "connect", "from": "447700900000", "endpoint": [{"type": "phone", "number": "447700900001", "dtmfAnswer": "99887766"}]},
            {"action": "connect", "endpoint": [{"type": "websocket", "uri": "wss://gw.example/?t=s3cret", "headers": {"t": "s3cret"},
                "authorization": {"type": "custom", "value": "s3cret"}}]},
            {"action": "unknown", "number": "447700900002"},
        ]));
        let shown = format!("{ncco:?}");
        for secret in ["4477009", "99887766", "s3cret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
