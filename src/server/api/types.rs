//! What our API takes and gives. This file is the contract: a change here shows in
//! `deploy/openapi.json`, hence in review.
//!
//! A `leg` is a participant's leg at Vonage; a `speaker` its role: `caller`, `agent`, or
//! the application's own word. Times are RFC 3339, UTC.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::InvalidParameter;
use crate::event::body::{SentimentScore, TimedWord};
use crate::types::speaker::SPEAKER_LEN_MAX;
use crate::types::{LegId, Private};

/// Calls on a page when nothing else is asked for.
pub const PAGE_DEFAULT: u16 = 50;
/// Most calls on a page.
pub const PAGE_MAX: u16 = 500;
/// Longest cursor, URL, address or name in a request, in bytes.
pub const TEXT_BYTES_MAX: usize = 2_048;
/// Longest text said, in characters; Vonage's bound.
pub const SAY_CHARS_MAX: usize = 1_500;
/// Most keys pressed at once.
pub const DIGITS_MAX: usize = 64;

/// A request's body or query: beyond its types, what must hold.
pub trait Asked: DeserializeOwned + JsonSchema + Send {
    /// Whether an empty body stands for `{}`.
    const OPTIONAL: bool = false;

    /// Everything wrong with it; empty when it can be used.
    fn check(&self) -> Vec<InvalidParameter>;
}

/// `GET /v1/calls`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListCalls {
    /// Only calls in this state.
    pub status: Option<CallState>,
    /// Only calls that began then or later, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub from: Option<String>,
    /// Calls on the page: 1 to 500; 50.
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl Asked for ListCalls {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        if let Some(from) = &self.from {
            wrong.expect(
                "from",
                chrono::DateTime::parse_from_rfc3339(from).is_ok(),
                "expected RFC 3339: 2026-11-24T09:30:00Z",
            );
        }
        wrong.expect("limit", self.limit.is_none_or(|limit| (1..=PAGE_MAX).contains(&limit)), "expected 1 to 500");
        wrong.text("cursor", self.cursor.as_deref());
        wrong.0
    }
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nobody has answered yet.
    Ringing,
    /// Someone talks, or waits.
    Active,
    /// It is over.
    Ended,
}

/// Who called whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The centre was called.
    Inbound,
    /// The centre called.
    Outbound,
}

/// One page of calls, newest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct CallList {
    /// The calls.
    pub calls: Vec<CallSummary>,
    /// `cursor` of the next page; none on the last.
    pub next: Option<String>,
}

/// A call in a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CallSummary {
    /// Our id of the call: `conversation` in its events.
    pub id: String,
    /// How far it is.
    pub status: CallState,
    /// Who called whom, where known.
    pub direction: Option<Direction>,
    /// Number, address or user that calls.
    pub from: Option<Private<String>>,
    /// Number or address that is called.
    pub to: Option<Private<String>>,
    /// The flow that was chosen for it.
    pub flow: Option<String>,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// `GET /v1/calls/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CallDetail {
    /// What a list says of it.
    #[serde(flatten)]
    pub summary: CallSummary,
    /// Whether capture is paused.
    pub paused: bool,
    /// Everyone who was called or called, in the order in which they came.
    pub participants: Vec<Participant>,
}

/// One who takes part, or did.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Participant {
    /// The leg at Vonage.
    pub leg: String,
    /// `caller`, `agent`, or the application's own word.
    pub speaker: String,
    /// Vonage's word for its state: `ringing`, `answered`, `completed`.
    pub status: String,
    /// When the leg was answered.
    pub answered_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// The media leg that hears it now, where there is one of its own.
    pub heard_by: Option<String>,
}

/// `GET /v1/calls/{id}/transcript`
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Transcript {
    /// The call.
    pub id: String,
    /// Whether the call is over and every segment of speech was answered.
    pub complete: bool,
    /// What was said, by its start.
    pub segments: Vec<TranscriptSegment>,
}

/// One stretch of speech.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TranscriptSegment {
    /// The media leg that heard it.
    pub leg: String,
    /// Who spoke.
    pub speaker: String,
    /// Number of the segment on its leg, from 1.
    pub segment: u64,
    /// Start on the call clock, in ms.
    pub start_ms: u64,
    /// End on the call clock, in ms.
    pub end_ms: u64,
    /// What was said; none where it has no text, for `dropped`.
    pub text: Option<Private<String>>,
    /// Why it has no text.
    pub dropped: Option<String>,
    /// The words with their times, where the transcriber gives them.
    pub words: Private<Vec<TimedWord>>,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// How it sounds.
    pub sentiment: Option<SentimentScore>,
}

/// `POST /v1/calls`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Who is called.
    pub to: CallTo,
    /// The flow that the call goes through; the one configured for outbound calls.
    #[serde(default)]
    pub flow: Option<String>,
    /// The number shown, E.164 without `+`; the one configured.
    #[serde(default)]
    pub from: Option<Private<String>>,
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CallTo {
    /// A telephone.
    Phone {
        /// E.164 without `+`.
        number: Private<String>,
    },
    /// A SIP address.
    Sip {
        /// `sip:…`
        uri: Private<String>,
    },
    /// A user of a client application.
    App {
        /// Its name.
        user: Private<String>,
    },
    /// An extension of Vonage Business Communications.
    Vbc {
        /// Its digits.
        extension: Private<String>,
    },
}

impl Asked for Outbound {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        match &self.to {
            CallTo::Phone { number } => wrong.number("to.number", &number.0),
            CallTo::Sip { uri } => {
                let scheme = uri.0.starts_with("sip:") || uri.0.starts_with("sips:");
                wrong.expect("to.uri", scheme && uri.0.len() <= TEXT_BYTES_MAX, "expected sip:… or sips:…");
            }
            CallTo::App { user } => wrong.text("to.user", Some(&user.0)),
            CallTo::Vbc { extension } => {
                let digits = extension.0.bytes().all(|b| b.is_ascii_digit()) && (1..=15).contains(&extension.0.len());
                wrong.expect("to.extension", digits, "expected 1 to 15 digits");
            }
        }
        wrong.text("flow", self.flow.as_deref());
        if let Some(from) = &self.from {
            wrong.number("from", &from.0);
        }
        wrong.0
    }
}

/// `POST /v1/calls/{id}/hangup`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HangUp {
    /// Only this leg; everyone.
    pub leg: Option<String>,
    /// Or only who has this role.
    pub speaker: Option<String>,
}

impl Asked for HangUp {
    const OPTIONAL: bool = true;

    fn check(&self) -> Vec<InvalidParameter> {
        Wrong::default().whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/transfer`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["ncco"]}, {"required": ["url"]}]))]
pub struct Transfer {
    /// The NCCO to go on with; its errors are answered with 422.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    pub ncco: Option<Private<Value>>,
    /// Or where that is.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "uri"))]
    pub url: Option<String>,
    /// Which leg goes; the caller's.
    #[serde(default)]
    pub leg: Option<String>,
}

impl Asked for Transfer {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        wrong.expect("ncco", self.ncco.is_some() != self.url.is_some(), "expected either ncco or url");
        if let Some(ncco) = &self.ncco {
            wrong.0.extend(super::ncco::errors(&ncco.0));
        }
        wrong.url("url", self.url.as_deref());
        wrong.whom(&self.leg, &None, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/mute` and `…/unmute`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{"required": ["leg"]}, {"required": ["speaker"]}]))]
pub struct Mute {
    /// The leg that others no longer hear.
    #[schemars(with = "String")]
    pub leg: Option<String>,
    /// Or the role of the one whom they do not hear.
    #[schemars(with = "String")]
    pub speaker: Option<String>,
}

impl Asked for Mute {
    fn check(&self) -> Vec<InvalidParameter> {
        Wrong::default().whom(&self.leg, &self.speaker, Whom::One).0
    }
}

/// `POST /v1/calls/{id}/play` with JSON
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// An audio file that Vonage can fetch.
    #[schemars(extend("format" = "uri"))]
    pub url: String,
    /// Only into this leg; into all.
    #[serde(default)]
    pub leg: Option<String>,
    /// Or only to who has this role.
    #[serde(default)]
    pub speaker: Option<String>,
    /// How often: 1; 0 for ever.
    #[serde(default, rename = "loop")]
    pub repeat: Option<u32>,
}

impl Asked for Play {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        wrong.url("url", Some(&self.url));
        wrong.whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// The query of `POST /v1/calls/{id}/play` with a WAV file as its body
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlayQuery {
    /// With a WAV file: only into this leg; into all.
    pub leg: Option<String>,
    /// With a WAV file: or only to who has this role.
    pub speaker: Option<String>,
    /// With a WAV file: how often; 1.
    #[serde(rename = "loop")]
    pub repeat: Option<u32>,
}

impl Asked for PlayQuery {
    fn check(&self) -> Vec<InvalidParameter> {
        Wrong::default().whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/stop`: what is played or said
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Only into this leg; into all.
    pub leg: Option<String>,
    /// Or only to who has this role.
    pub speaker: Option<String>,
}

impl Asked for Stop {
    const OPTIONAL: bool = true;

    fn check(&self) -> Vec<InvalidParameter> {
        Wrong::default().whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/say`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The text, or SSML: at most 1500 characters.
    #[schemars(length(min = 1, max = 1500))]
    pub text: Private<String>,
    /// BCP 47 tag: `en-GB`; the one configured.
    #[serde(default)]
    pub language: Option<String>,
    /// Number of the voice in that language: 0.
    #[serde(default)]
    pub style: Option<u32>,
    /// Only into this leg; into all.
    #[serde(default)]
    pub leg: Option<String>,
    /// Or only to who has this role.
    #[serde(default)]
    pub speaker: Option<String>,
}

impl Asked for Say {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        let length = self.text.0.chars().count();
        wrong.expect("text", (1..=SAY_CHARS_MAX).contains(&length), "expected 1 to 1500 characters");
        let tag = |language: &str| {
            (2..=35).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        wrong.expect("language", self.language.as_deref().is_none_or(tag), "expected a BCP 47 tag: en-GB");
        wrong.whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/dtmf`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PressKeys {
    /// `0-9`, `*` and `#`, and `p` for a pause of 500 ms: at most 64.
    #[schemars(regex(pattern = r"^[0-9*#p]{1,64}$"))]
    pub digits: Private<String>,
    /// Only into this leg; into all.
    #[serde(default)]
    pub leg: Option<String>,
    /// Or only to who has this role.
    #[serde(default)]
    pub speaker: Option<String>,
}

impl Asked for PressKeys {
    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        let keys = self.digits.0.bytes().all(|b| b.is_ascii_digit() || b"*#p".contains(&b));
        let count = (1..=DIGITS_MAX).contains(&self.digits.0.len());
        wrong.expect("digits", keys && count, "expected 1 to 64 of 0-9, *, # and p");
        wrong.whom(&self.leg, &self.speaker, Whom::OneOrAll).0
    }
}

/// `POST /v1/calls/{id}/pause`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pause {
    /// Why; published with the event.
    pub reason: Option<String>,
}

impl Asked for Pause {
    const OPTIONAL: bool = true;

    fn check(&self) -> Vec<InvalidParameter> {
        let mut wrong = Wrong::default();
        wrong.text("reason", self.reason.as_deref());
        wrong.0
    }
}

/// `POST /v1/calls/{id}/resume`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {}

impl Asked for Resume {
    const OPTIONAL: bool = true;

    fn check(&self) -> Vec<InvalidParameter> {
        Vec::new()
    }
}

/// `POST /v1/ncco/validate`
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NccoReport {
    /// Whether there is no error; warnings are allowed.
    pub valid: bool,
    /// Everything found, in document order.
    pub problems: Vec<NccoProblem>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NccoProblem {
    /// Where: `[2].endpoint[0].uri`.
    pub path: String,
    /// What must hold there.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// The whole in one line, with what is there.
    pub message: String,
}

/// How bad a broken rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Vonage refuses it, or does not do what it says.
    Error,
    /// Allowed, or unconfirmed, and likely not what was meant.
    Warning,
}

/// Whom a request may be about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    One,
    OneOrAll,
}

/// Collects what is wrong.
#[derive(Default)]
struct Wrong(Vec<InvalidParameter>);

impl Wrong {
    fn expect(&mut self, name: &str, holds: bool, expected: &str) {
        if !holds {
            self.0.push(InvalidParameter::new(name, expected));
        }
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        let holds = |text: &str| (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        self.expect(name, text.is_none_or(holds), "expected 1 to 2048 bytes without control characters");
    }

    fn number(&mut self, name: &str, number: &str) {
        let digits = number.bytes().all(|b| b.is_ascii_digit()) && (3..=15).contains(&number.len());
        self.expect(name, digits, "expected E.164 without +: 3 to 15 digits");
    }

    fn url(&mut self, name: &str, url: Option<&str>) {
        let holds = |url: &str| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
                && url.len() <= TEXT_BYTES_MAX
                && url.bytes().all(|b| b.is_ascii_graphic())
        };
        self.expect(name, url.is_none_or(holds), "expected an http:// or https:// URL of at most 2048 bytes");
    }

    fn whom(mut self, leg: &Option<String>, speaker: &Option<String>, whom: Whom) -> Self {
        let given = usize::from(leg.is_some()) + usize::from(speaker.is_some());
        if whom == Whom::One {
            self.expect("leg", given == 1, "expected either leg or speaker");
        } else {
            self.expect("leg", given <= 1, "expected leg or speaker, not both");
        }
        if let Some(leg) = leg {
            self.expect("leg", LegId::parse(leg).is_ok(), "expected 1 to 128 visible ASCII characters");
        }
        if let Some(speaker) = speaker {
            let name = (1..=SPEAKER_LEN_MAX).contains(&speaker.len()) && !speaker.chars().any(char::is_control);
            self.expect("speaker", name, "expected 1 to 64 bytes without control characters");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The names of what is wrong.
    fn wrong<T: Asked>(body: Value) -> Vec<String> {
        let body: T = serde_json::from_value(body).unwrap();
        body.check().into_iter().map(|wrong| wrong.name).collect()
    }

    #[test]
    fn what_must_hold_beyond_the_types() {
        let none: [&str; 0] = [];
        assert_eq!(
            wrong::<Outbound>(json!({"to": {"type": "phone", "number": "447700900000"}, "from": "12995550101"})),
            none
        );
        assert_eq!(
            wrong::<Outbound>(json!({"to": {"type": "phone", "number": "+44 77"}, "from": ""})),
            ["to.number", "from"]
        );
        assert_eq!(
            wrong::<Outbound>(json!({"to": {"type": "sip", "uri": "https://x"}, "flow": ""})),
            ["to.uri", "flow"]
        );
        assert_eq!(wrong::<Outbound>(json!({"to": {"type": "vbc", "extension": "12a"}})), ["to.extension"]);
        assert_eq!(wrong::<Outbound>(json!({"to": {"type": "app", "user": "kim"}})), none);
        assert_eq!(wrong::<ListCalls>(json!({"from": "2026-11-24T09:30:00Z", "limit": 500, "status": "active"})), none);
        assert_eq!(
            wrong::<ListCalls>(json!({"from": "yesterday", "limit": 501, "cursor": ""})),
            ["from", "limit", "cursor"]
        );
        assert_eq!(wrong::<Mute>(json!({"leg": "U1"})), none);
        assert_eq!(wrong::<Mute>(json!({})), ["leg"]);
        assert_eq!(wrong::<Mute>(json!({"leg": "U1", "speaker": "agent"})), ["leg"]);
        assert_eq!(wrong::<HangUp>(json!({})), none);
        assert_eq!(wrong::<HangUp>(json!({"leg": "a b"})), ["leg"]);
        assert_eq!(wrong::<Stop>(json!({"speaker": ""})), ["speaker"]);
        assert_eq!(wrong::<Transfer>(json!({"url": "https://a.example/n"})), none);
        assert_eq!(wrong::<Transfer>(json!({"ncco": [{"action": "talk", "text": "Hi"}], "leg": "U1"})), none);
        assert_eq!(wrong::<Transfer>(json!({})), ["ncco"]);
        assert_eq!(wrong::<Transfer>(json!({"ncco": [], "url": "ftp://a"})), ["ncco", "url"]);
        assert_eq!(wrong::<Transfer>(json!({"ncco": [{"action": "talk"}]})), ["ncco[0].text"]);
        assert_eq!(wrong::<Transfer>(json!({"ncco": {}})), ["ncco"]);
        assert_eq!(wrong::<Play>(json!({"url": "https://a.example/m.mp3", "loop": 0})), none);
        assert_eq!(wrong::<Play>(json!({"url": "https:///m.mp3"})), ["url"]);
        assert_eq!(wrong::<Say>(json!({"text": "é".repeat(1500), "language": "en-GB"})), none);
        assert_eq!(wrong::<Say>(json!({"text": "", "language": "e"})), ["text", "language"]);
        assert_eq!(wrong::<PressKeys>(json!({"digits": "1p2#*"})), none);
        assert_eq!(wrong::<PressKeys>(json!({"digits": "12x"})), ["digits"]);
        assert_eq!(wrong::<Pause>(json!({"reason": "card\u{7}"})), ["reason"]);
        let error = serde_json::from_value::<Say>(json!({"text": "Hi", "voice": 1})).unwrap_err().to_string();
        assert!(error.contains("unknown field `voice`"), "{error}");
    }

    #[test]
    fn debug_shows_no_number_digit_or_word() {
        let say: Say = serde_json::from_value(json!({"text": "s3cret"})).unwrap();
        let keys: PressKeys = serde_json::from_value(json!({"digits": "4111"})).unwrap();
        let call: Outbound =
            serde_json::from_value(json!({"to": {"type": "phone", "number": "4477"}, "from": "4478"})).unwrap();
        let shown = format!("{say:?} {keys:?} {call:?}");
        assert!(!["s3cret", "4111", "447"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
