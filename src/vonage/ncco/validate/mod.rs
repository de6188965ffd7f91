//! What is wrong with an NCCO, before Vonage says so in the middle of a call.
//!
//! Rules are those of `vonage-voice.md` sections 1.1 and 2. What the reference states
//! is an [`Severity::Error`]; what it calls unconfirmed, and what is allowed but
//! likely a mistake, is a [`Severity::Warning`].

mod action;
mod check;
mod endpoint;
pub mod limits;

use std::borrow::Cow;
use std::fmt;

use self::check::Checker;
use super::{Action, Ncco};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Allowed, or unconfirmed, and likely not what was meant.
    Warning,
    /// Vonage refuses it, or does not do what it says.
    Error,
}

/// One broken rule. Displayed as `path: rule (value)`, a warning as
/// `path: warning: rule (value)`; that form is stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `[2].endpoint[0].uri`.
    pub path: String,
    /// What must hold there.
    pub rule: Cow<'static, str>,
    /// What is there: JSON, cut to [`limits::SHOWN_CHARS`] characters; for numbers, keys
    /// and secrets a description instead; `absent` where nothing is.
    pub value: String,
    /// How bad.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}: {mark}{} ({})", self.path, self.rule, self.value)
    }
}

/// Every problem of an NCCO, in document order. None means that it is good.
#[must_use]
pub fn validate(ncco: &Ncco) -> Vec<Problem> {
    let mut checker = Checker::default();
    for (index, action) in ncco.0.iter().enumerate() {
        checker.element("", index, |c| action::check(c, action));
        order(&mut checker, &ncco.0, index);
    }
    checker.into_problems()
}

/// Rules about what may follow what.
fn order(c: &mut Checker, actions: &[Action], index: usize) {
    let after = &actions[index + 1..];
    let barge_in = match &actions[index] {
        Action::Talk(talk) => talk.barge_in.get(),
        Action::Stream(stream) => stream.barge_in.get(),
        _ => None,
    };
    c.element("", index, |c| {
        if barge_in == Some(&true) {
            let next = after.iter().find(|action| !matches!(action, Action::Talk(_) | Action::Stream(_)));
            if !matches!(next, Some(Action::Input(_))) {
                let found = next.map_or("the end", |action| action.tag().unwrap_or("no action"));
                c.error("bargeIn", "must be followed by an input, with only talk and stream between", found);
            }
        }
        let unreached = |c: &mut Checker, rule: &'static str| {
            if !after.is_empty() {
                c.warning("action", rule, format_args!("{} follow", after.len()));
            }
        };
        match &actions[index] {
            Action::Transfer(_) => unreached(c, "ends the flow; the actions after it never run"),
            connect @ Action::Connect(_) if connect.is_async() => {
                unreached(c, "to a websocket lets the flow go on at once; keep it last");
            }
            _ => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::vonage::wire::Wire;

    fn problems(ncco: Value) -> Vec<String> {
        validate(&Ncco::from_wire(ncco).unwrap()).iter().map(ToString::to_string).collect()
    }

    /// Each row: an action, and all that is wrong with it.
    fn table(rows: Vec<(Value, &[&str])>) {
        assert!(!rows.is_empty());
        for (action, expected) in rows {
            assert_eq!(problems(json!([action])), expected, "{action}");
        }
    }

    #[test]
    fn actions_that_are_none() {
        table(vec![
            (
                json!({"action": "dance"}),
                &[
                    r#"[0].action: must be record, conversation, connect, talk, stream, input, notify, wait, transfer or pay ("dance")"#,
                ],
            ),
            (json!({"text": "Hi"}), &["[0].action: is required (absent)"]),
            (json!({"action": null}), &["[0].action: must be a string (null)"]),
            (json!("talk"), &[r#"[0]: must be an object with "action" ("talk")"#]),
            (json!({"action": "pay", "amount": 1}), &["[0].action: warning: was withdrawn by Vonage (\"pay\")"]),
        ]);
    }

    #[test]
    fn talk_and_stream() {
        table(vec![
            (json!({"action": "talk"}), &["[0].text: is required (absent)"]),
            (json!({"action": "talk", "text": ""}), &["[0].text: must not be empty (\"\")"]),
            (json!({"action": "talk", "text": 5}), &["[0].text: must be a string (5)"]),
            (json!({"action": "talk", "text": null}), &["[0].text: is required (null)"]),
            (
                json!({"action": "talk", "text": "x".repeat(1501)}),
                &["[0].text: must be at most 1500 characters without SSML tags (1501 characters)"],
            ),
            (json!({"action": "talk", "text": format!("<speak>{}</speak>", "é".repeat(1500))}), &[]),
            (json!({"action": "talk", "text": "Hi", "level": "0", "loop": "2", "style": 0, "premium": true}), &[]),
            (
                json!({"action": "talk", "text": "Hi", "level": "1.5", "loop": -1, "style": 0.5}),
                &[
                    "[0].loop: must be a whole number from 0 (-1)",
                    "[0].level: must be from -1 to 1 (\"1.5\")",
                    "[0].style: must be a whole number from 0 (0.5)",
                ],
            ),
            (
                json!({"action": "talk", "text": "Hi", "level": "loud", "premium": "true", "language": null}),
                &[
                    "[0].level: must be a number (\"loud\")",
                    "[0].language: warning: should be left out rather than null (null)",
                    "[0].premium: warning: should be true or false, not a string (\"true\")",
                ],
            ),
            (
                json!({"action": "talk", "text": "Hi", "volume": 3, "a\nb": 1}),
                &[
                    "[0].volume: warning: is not a known field of talk (3)",
                    "[0][\"a\\nb\"]: warning: is not a known field of talk (1)",
                ],
            ),
            (
                json!({"action": "talk", "text": "Hi", "voiceName": "Amy"}),
                &["[0].voiceName: warning: is legacy; use language and style (\"Amy\")"],
            ),
            (json!({"action": "stream"}), &["[0].streamUrl: is required (absent)"]),
            (json!({"action": "stream", "streamUrl": []}), &["[0].streamUrl: must hold one URL ([])"]),
            (
                json!({"action": "stream", "streamUrl": "https://a.example/x.mp3"}),
                &["[0].streamUrl: warning: should be an array of one URL (\"https://a.example/x.mp3\")"],
            ),
            (
                json!({"action": "stream", "streamUrl": ["https://a.example/x", "ftp://a.example/y"]}),
                &[
                    "[0].streamUrl: warning: should hold one URL (2 elements)",
                    "[0].streamUrl[1]: must be an http:// or https:// URL (\"ftp://a.example/y\")",
                ],
            ),
            (
                json!({"action": "stream", "streamUrl": ["https:///x"]}),
                &["[0].streamUrl[0]: must be an http:// or https:// URL (\"https:///x\")"],
            ),
        ]);
    }

    #[test]
    fn barge_in_wants_an_input_next() {
        let talk = json!({"action": "talk", "text": "Hi", "bargeIn": true});
        let music = json!({"action": "stream", "streamUrl": ["https://a.example/x.mp3"]});
        let input = json!({"action": "input", "type": ["dtmf"]});
        let rule = "bargeIn: must be followed by an input, with only talk and stream between";
        assert!(problems(json!([talk, music, input])).is_empty());
        assert!(problems(json!([input, talk, input, music])).is_empty());
        assert_eq!(problems(json!([talk])), [format!("[0].{rule} (the end)")]);
        assert_eq!(problems(json!([music, talk, {"action": "wait"}])), [format!("[1].{rule} (wait)")]);
    }

    #[test]
    fn record() {
        table(vec![
            (json!({"action": "record"}), &[]),
            (
                json!({"action": "record", "split": "conversation", "channels": 32, "endOnSilence": "3", "endOnKey": "#",
                    "timeOut": 7200, "format": "wav", "transcription": {}}),
                &[],
            ),
            (
                json!({"action": "record", "format": "flac", "split": "yes", "eventMethod": "PUT",
                    "transcription": {"eventMethod": "post"}}),
                &[
                    "[0].format: must be mp3 or wav or ogg (\"flac\")",
                    "[0].split: must be conversation (\"yes\")",
                    "[0].eventMethod: must be GET or POST (\"PUT\")",
                    "[0].transcription.eventMethod: warning: should be in capitals (\"post\")",
                ],
            ),
            (
                json!({"action": "record", "channels": 33, "endOnSilence": 2, "timeOut": 2, "endOnKey": "12"}),
                &[
                    "[0].channels: must be a whole number from 1 to 32 (33)",
                    "[0].channels: needs split to be conversation (33)",
                    "[0].endOnSilence: must be from 3 to 10 (2)",
                    "[0].endOnKey: must be one of 0-9 * # (2 characters)",
                    "[0].timeOut: must be from 3 to 7200 (2)",
                ],
            ),
            (
                json!({"action": "record", "format": "mp3", "split": "conversation", "channels": 3}),
                &["[0].format: warning: should be wav above two channels (\"mp3\")"],
            ),
            (
                json!({"action": "record", "transcription": {"eventUrl": ["nowhere"], "tone": 1}}),
                &[
                    "[0].transcription.eventUrl[0]: must be an http:// or https:// URL (\"nowhere\")",
                    "[0].transcription.tone: warning: is not a known field of transcription (1)",
                ],
            ),
            (json!({"action": "record", "transcription": []}), &["[0].transcription: must be an object ([])"]),
        ]);
    }

    #[test]
    fn conversation_and_transfer() {
        table(vec![
            (json!({"action": "conversation"}), &["[0].name: is required (absent)"]),
            (
                json!({"action": "conversation", "name": "x", "canHear": [], "canSpeak": ["a"], "record": true,
                    "transcription": {}, "eventUrl": ["https://a.example"]}),
                &[],
            ),
            (
                json!({"action": "conversation", "name": "x", "mute": true, "canSpeak": [], "canHear": [1]}),
                &["[0].mute: excludes canSpeak (true)", "[0].canHear: must be an array, each element a string ([1])"],
            ),
            (
                json!({"action": "conversation", "name": "x", "mute": false, "canSpeak": []}),
                &["[0].mute: warning: should not stand beside canSpeak (false)"],
            ),
            (
                json!({"action": "conversation", "name": "x", "transcription": {}, "eventUrl": ["https://a.example"]}),
                &[
                    "[0].eventUrl: warning: is used for recordings only; record is not true ([\"https://a.example\"])",
                    "[0].transcription: needs record to be true ({})",
                ],
            ),
            (
                json!({"action": "conversation", "name": "x", "canHear": [""]}),
                &["[0].canHear[0]: must not be empty (\"\")"],
            ),
            (json!({"action": "transfer"}), &["[0].conversationId: is required (absent)"]),
            (
                json!({"action": "transfer", "conversationId": "63f6"}),
                &["[0].conversationId: warning: should start with CON- (\"63f6\")"],
            ),
        ]);
        assert_eq!(
            problems(json!([{"action": "transfer", "conversationId": "CON-1"}, {"action": "wait"}])),
            ["[0].action: warning: ends the flow; the actions after it never run (1 follow)"]
        );
    }

    #[test]
    fn connect() {
        let phone = json!([{"type": "phone", "number": "447700900001"}]);
        table(vec![
            (json!({"action": "connect"}), &["[0].endpoint: is required (absent)"]),
            (json!({"action": "connect", "endpoint": []}), &["[0].endpoint: must hold exactly one (0 elements)"]),
            (
                json!({"action": "connect", "endpoint": [phone[0], phone[0]]}),
                &["[0].endpoint: must hold exactly one (2 elements)"],
            ),
            (
                json!({"action": "connect", "endpoint": phone[0]}),
                &[r#"[0].endpoint: must be an array, each element an object with "type" (an object)"#],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "from": "447700900000", "randomFromNumber": true}),
                &["[0].randomFromNumber: excludes from (true)"],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "from": "+447700900000", "eventType": "async"}),
                &[
                    "[0].from: must be E.164 without +: 7 to 15 digits (13 characters, '+' at 1)",
                    "[0].eventType: must be synchronous (\"async\")",
                ],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "timeout": 7201, "limit": "7201"}),
                &[
                    "[0].timeout: warning: should be from 3 to 7200 (7201)",
                    "[0].limit: must be from 1 to 7200 (\"7201\")",
                ],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "machineDetection": "continue",
                    "advancedMachineDetection": {"beep_timeout": 45}}),
                &["[0].machineDetection: warning: is overridden by advancedMachineDetection (\"continue\")"],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "advanced_machine_detection": {"mode": "guess", "beepTimeout": 121}}),
                &[
                    "[0].advanced_machine_detection.mode: must be default or detect or detect_beep (\"guess\")",
                    "[0].advanced_machine_detection.beepTimeout: must be from 45 to 120 (121)",
                ],
            ),
            (
                json!({"action": "connect", "endpoint": phone, "ringbackTone": "tone.wav"}),
                &["[0].ringbackTone: must be an http:// or https:// URL (\"tone.wav\")"],
            ),
        ]);
    }

    fn endpoint(endpoint: Value) -> Vec<String> {
        let strip = |problem: String| problem.replacen("[0].endpoint[0]", "", 1);
        problems(json!([{"action": "connect", "endpoint": [endpoint]}])).into_iter().map(strip).collect()
    }

    #[test]
    fn endpoints() {
        let rows: Vec<(Value, &[&str])> = vec![
            (json!({"type": "phone"}), &[".number: is required (absent)"]),
            (json!({"type": "phone", "number": 447_700_900_001_u64, "dtmfAnswer": "1p2*#"}), &[]),
            (
                json!({"type": "phone", "number": "44 77", "dtmfAnswer": "1w2"}),
                &[
                    ".number: must be E.164 without +: 7 to 15 digits (5 characters, ' ' at 3)",
                    ".dtmfAnswer: must hold only 0-9 * # p (3 characters, 'w' at 2)",
                ],
            ),
            (
                json!({"type": "phone", "number": "07700900001", "onAnswer": {"ringbackTone": "x"}}),
                &[
                    ".number: warning: should start with a country code, not 0 (11 characters)",
                    ".onAnswer.url: is required (absent)",
                    ".onAnswer.ringbackTone: must be an http:// or https:// URL (\"x\")",
                ],
            ),
            (
                json!({"type": "phone", "number": ["447700900001"], "Number": "447700900001"}),
                &[
                    ".number: must be a string (an array)",
                    ".Number: warning: is not a known field of a phone endpoint (a string)",
                ],
            ),
            (json!({"type": "app", "user": ""}), &[".user: must not be empty (\"\")"]),
            (json!({"type": "vbc", "extension": "12a"}), &[".extension: must hold only 0-9 (3 characters, 'a' at 3)"]),
            (json!({"type": "sip", "uri": "sip:a@b.example;transport=tls", "headers": {"Bar": "foo"}}), &[]),
            (json!({"type": "sip"}), &[".uri: is required, or user and domain (absent)"]),
            (
                json!({"type": "sip", "uri": "a@b.example", "user": "a"}),
                &[
                    ".uri: must start with sip: or sips: (11 characters)",
                    ".uri: excludes user and domain (11 characters)",
                ],
            ),
            (json!({"type": "sip", "user": "a"}), &[".domain: is required with user (absent)"]),
            (
                json!({"type": "sip", "uri": "sip:a@b", "standardHeaders": {"User-to-User": "x".repeat(257)}, "headers": {"A": 1}}),
                &[
                    ".headers.A: warning: should be a string (1)",
                    ".standardHeaders.User-to-User: warning: should be at most 256 characters (257 characters)",
                ],
            ),
            (json!({"type": "fax"}), &[".type: must be phone, app, websocket, sip or vbc (\"fax\")"]),
            (json!({}), &[".type: is required (absent)"]),
            (json!(7), &[": must be an object with \"type\" (7)"]),
        ];
        for (value, expected) in rows {
            assert_eq!(endpoint(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn websocket() {
        let ws = |patch: Value| {
            let mut ws =
                json!({"type": "websocket", "uri": "wss://gw.example/m?x=1", "content-type": "audio/l16;rate=16000"});
            let Value::Object(patch) = patch else { panic!() };
            ws.as_object_mut().unwrap().extend(patch);
            endpoint(ws)
        };
        let rows: Vec<(Value, &[&str])> = vec![
            (json!({"headers": {"a": {"b": [1]}}, "authorization": {"type": "vonage"}}), &[]),
            (
                json!({"content-type": "audio/l16;rate=24000"}),
                &[
                    ".content-type: warning: has an unconfirmed rate; 8000 and 16000 are safe (\"audio/l16;rate=24000\")",
                ],
            ),
            (
                json!({"content-type": "audio/l16;rate=44100"}),
                &[".content-type: must be audio/l16;rate=8000, 16000 or 24000 (\"audio/l16;rate=44100\")"],
            ),
            (json!({"uri": "https://gw.example/"}), &[".uri: must be a ws:// or wss:// URL (19 characters)"]),
            (
                json!({"uri": "ws://gw.example/", "authorization": {"type": "custom", "value": "Bearer x"}}),
                &[".uri: warning: should be wss:// where authorization is sent (16 characters)"],
            ),
            (
                json!({"headers": {"k": "v".repeat(520), "event": 1}}),
                &[
                    ".headers: warning: should be at most 512 bytes of JSON (538 bytes)",
                    ".headers.event: warning: is a key of the first message itself (hidden)",
                ],
            ),
            (json!({"authorization": {}}), &[".authorization.type: is required (absent)"]),
            (
                json!({"authorization": {"type": "basic"}}),
                &[".authorization.type: must be vonage or custom (\"basic\")"],
            ),
            (json!({"authorization": {"type": "custom"}}), &[".authorization.value: is required with custom (absent)"]),
            (
                json!({"authorization": {"type": "custom", "value": "x".repeat(8192)}}),
                &[".authorization.value: must be 1 to 8191 printable ASCII characters (8192 characters)"],
            ),
            (
                json!({"authorization": {"type": "custom", "value": "a\nb"}}),
                &[".authorization.value: must be 1 to 8191 printable ASCII characters (3 characters, '\\n' at 2)"],
            ),
            (
                json!({"authorization": {"type": "vonage", "value": "x"}}),
                &[".authorization.value: warning: is used with custom only (1 characters)"],
            ),
        ];
        for (patch, expected) in rows {
            assert_eq!(ws(patch.clone()), expected, "{patch}");
        }
        assert_eq!(
            endpoint(json!({"type": "websocket"})),
            [".uri: is required (absent)", ".content-type: is required (absent)",]
        );
        let ncco = json!([{"action": "connect", "endpoint": [{"type": "websocket", "uri": "wss://g.example", "content-type": "audio/l16;rate=8000"}]}, {"action": "wait"}]);
        assert_eq!(
            problems(ncco),
            ["[0].action: warning: to a websocket lets the flow go on at once; keep it last (1 follow)"]
        );
    }

    #[test]
    fn input_notify_wait() {
        table(vec![
            (json!({"action": "input"}), &["[0].type: is required (absent)"]),
            (json!({"action": "input", "type": []}), &["[0].type: must not be empty ([])"]),
            (
                json!({"action": "input", "type": ["dtmf", "gesture"]}),
                &["[0].type: must be an array, each element dtmf or speech ([\"dtmf\",\"gesture\"])"],
            ),
            (json!({"action": "input", "type": ["dtmf"], "mode": "asynchronous", "dtmf": {}}), &[]),
            (
                json!({"action": "input", "type": ["dtmf", "speech"], "mode": "asynchronous", "dtmf": {"maxDigits": 1}}),
                &[
                    "[0].mode: must be synchronous for speech (\"asynchronous\")",
                    "[0].dtmf: must be blank in asynchronous mode ({\"maxDigits\":1})",
                ],
            ),
            (
                json!({"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 11, "maxDigits": 22}, "speech": {}}),
                &[
                    "[0].dtmf.timeOut: must be from 0 to 10 (11)",
                    "[0].dtmf.maxDigits: warning: should be a whole number from 1 to 20 (22)",
                    "[0].speech: warning: is not used; type lacks speech ({})",
                ],
            ),
            (
                json!({"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 23}}),
                &["[0].dtmf.maxDigits: must be a whole number from 1 to 22 (23)"],
            ),
            (
                json!({"action": "input", "type": ["speech"], "dtmf": {"maxDigits": 1}, "speech": {"uuid": ["a", "b"],
                    "endOnSilence": 0.3, "startTimeout": 61, "maxDuration": 0, "sensitivity": 9, "context": "dog"}}),
                &[
                    "[0].dtmf: warning: is not used; type lacks dtmf ({\"maxDigits\":1})",
                    "[0].speech.uuid: must hold one leg ([\"a\",\"b\"])",
                    "[0].speech.endOnSilence: must be from 0.4 to 10 (0.3)",
                    "[0].speech.context: must be an array, each element a string (\"dog\")",
                    "[0].speech.startTimeout: must be from 1 to 60 (61)",
                    "[0].speech.maxDuration: must be from 1 to 60 (0)",
                    "[0].speech.sensitivity: must be from 10 to 100 (9)",
                ],
            ),
            (json!({"action": "notify"}), &["[0].payload: is required (absent)", "[0].eventUrl: is required (absent)"]),
            (json!({"action": "notify", "payload": {"a": 1}, "eventUrl": ["https://a.example"]}), &[]),
            (json!({"action": "wait", "timeout": "0.1"}), &[]),
            (json!({"action": "wait", "timeout": 0}), &["[0].timeout: warning: should be from 0.1 to 7200 (0)"]),
        ]);
    }

    #[test]
    fn long_values_are_cut() {
        let found = problems(json!([{"action": "talk", "text": ["x".repeat(500)]}]));
        assert!(found[0].chars().count() < 120 && found[0].ends_with("…)"), "{}", found[0]);
    }
}
