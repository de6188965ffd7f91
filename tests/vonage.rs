//! The Vonage family from outside: nothing is lost, nothing panics, every shape of the
//! reference is told apart.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidetone::types::{Private, WallTime};
use sidetone::vonage::app_jwt::AppKey;
use sidetone::vonage::media_token::MediaKeys;
use sidetone::vonage::ncco::{Ncco, validate};
use sidetone::vonage::rest_types::{ApiError, CallPage, CreateCall, ModifyCall};
use sidetone::vonage::signature::{Keyring, Payload, Policy};
use sidetone::vonage::webhook::{
    Event, SpeechHeard, Status, TranscriptDocument, parse_answer, parse_answer_query, parse_event, parse_event_query,
    parse_fallback,
};

// --- generators -------------------------------------------------------------------

/// Keys of the reference, so that arbitrary objects hit our fields more often than not.
const KEYS: &[&str] = &[
    "action",
    "type",
    "text",
    "loop",
    "level",
    "bargeIn",
    "streamUrl",
    "eventUrl",
    "eventMethod",
    "endpoint",
    "from",
    "to",
    "number",
    "uri",
    "headers",
    "authorization",
    "value",
    "content-type",
    "standardHeaders",
    "standard_headers",
    "advancedMachineDetection",
    "advanced_machine_detection",
    "beep_timeout",
    "beepTimeout",
    "behavior",
    "mode",
    "transcription",
    "canHear",
    "canSpeak",
    "mute",
    "dtmf",
    "speech",
    "digits",
    "timed_out",
    "results",
    "confidence",
    "context",
    "payload",
    "status",
    "uuid",
    "call_uuid",
    "conversation_uuid",
    "conversation_uuid_from",
    "reason",
    "recording_url",
    "transcription_url",
    "sip_code",
    "duration",
    "timestamp",
    "original_request",
    "custom_data",
    "ncco",
    "destination",
    "url",
    "_embedded",
    "calls",
    "channels",
    "words",
    "onAnswer",
    "User-to-User",
    "new",
];

/// Words of the reference, and strings that are almost something else.
const WORDS: &[&str] = &[
    "talk",
    "stream",
    "record",
    "conversation",
    "connect",
    "input",
    "notify",
    "wait",
    "transfer",
    "pay",
    "phone",
    "app",
    "websocket",
    "sip",
    "vbc",
    "Talk",
    "GET",
    "POST",
    "get",
    "synchronous",
    "continue",
    "0",
    "-0.5",
    "1e3",
    ".91",
    "inf",
    "NaN",
    "",
    "true",
    "447700900000",
    "https://a.example/x",
    "wss://a.example",
    "audio/l16;rate=16000",
    "answered",
    "completed",
    "answer",
    "event",
    "dtmf",
    "speech",
    "CON-1",
    "a b",
    "<speak>é",
    "ß\u{0}\n",
    "custom",
    "vonage",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..20_u8).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ]
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = prop_oneof![4 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => ".{0,4}"];
    prop::collection::vec((key, value), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

fn any_json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 48, 6, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
    })
}

/// An object with a tag of the reference and anything else.
fn tagged(tag: &'static str) -> impl Strategy<Value = Value> {
    (prop::sample::select(WORDS), object(any_json())).prop_map(move |(word, mut object)| {
        object[tag] = word.into();
        object
    })
}

fn any_action() -> impl Strategy<Value = Value> {
    let connect = (object(any_json()), tagged("type")).prop_map(|(mut action, endpoint)| {
        action["action"] = "connect".into();
        action["endpoint"] = json!([endpoint]);
        action
    });
    prop_oneof![6 => tagged("action"), 3 => connect, 1 => any_json()]
}

// --- nothing is lost ----------------------------------------------------------------

/// Through text and back, as on the wire.
fn through<T: serde::Serialize + serde::de::DeserializeOwned>(value: &Value) -> Value {
    let read: T = serde_json::from_str(&value.to_string()).expect("an object can always be read");
    serde_json::from_str(&serde_json::to_string(&read).expect("and written")).expect("as JSON")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn an_ncco_loses_nothing(actions in prop::collection::vec(any_action(), 0..4)) {
        let value = Value::Array(actions);
        prop_assert_eq!(&through::<Ncco>(&value), &value);
        let ncco = Ncco::parse(value.to_string().as_bytes()).expect("an array");
        prop_assert_eq!(Ncco::parse(&ncco.to_bytes()).expect("an array"), ncco.clone());
        for problem in validate(&ncco) {
            let line = problem.to_string();
            prop_assert!(line.starts_with('[') && line.ends_with(')') && !line.contains('\n'), "{}", line);
        }
    }

    #[test]
    fn a_webhook_loses_nothing(value in object(any_json())) {
        let bytes = value.to_string().into_bytes();
        if let Ok(event) = parse_event(&bytes) {
            prop_assert_eq!(&event.to_value(), &value);
            let _ = (event.leg(), event.conversation(), event.honours_ncco(), format!("{event:?}"));
        }
        if let Ok(answer) = parse_answer(&bytes) {
            prop_assert_eq!(&serde_json::to_value(&answer).expect("writes"), &value);
            let _ = (answer.caller(), answer.region(), answer.custom_data(), answer.sip_headers().count());
        }
        if let Ok(fallback) = parse_fallback(&bytes) {
            prop_assert_eq!(&fallback.to_value(), &value);
        }
    }

    #[test]
    fn rest_loses_nothing(value in object(any_json())) {
        prop_assert_eq!(&through::<CreateCall>(&value), &value);
        prop_assert_eq!(&through::<ModifyCall>(&value), &value);
        prop_assert_eq!(&through::<CallPage>(&value), &value);
        prop_assert_eq!(&through::<TranscriptDocument>(&value), &value);
        prop_assert_eq!(&through::<ApiError>(&value), &value);
    }

    #[test]
    fn bytes_and_tokens_from_anywhere_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
        let _ = (Ncco::parse(&bytes), parse_event(&bytes), parse_answer(&bytes), parse_fallback(&bytes));
        let _ = (ApiError::parse(&bytes).summary(), AppKey::from_pem(&text).is_err());
        let now = WallTime(0);
        let bearer = format!("Bearer {text}");
        for authorization in [&text, &bearer] {
            let payload = Payload::Body(&bytes);
            prop_assert!(Keyring::default().verify(Some(authorization), payload, &Policy::default(), now).is_err());
        }
        let keys = MediaKeys::new(vec![Private(vec![7; 32])]).expect("a key");
        prop_assert!(keys.verify(&text, now).is_err());
    }
}

#[test]
fn every_rounding_of_a_float_survives() {
    for text in ["0.1", "0.9405097", "2.2250738585072014e-308", "123456789.12345679", "5e-324", "0.30000000000000004"] {
        let value: Value = serde_json::from_str(&format!(r#"[{{"action":"talk","level":{text}}}]"#)).expect("JSON");
        assert_eq!(through::<Ncco>(&value), value, "{text}");
    }
}

// --- every shape of the reference ------------------------------------------------------

fn event(value: &Value) -> Event {
    let event = parse_event(value.to_string().as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"));
    assert_eq!(event.to_value(), *value);
    event
}

fn leg_event(status: &str, extra: &Value) -> Value {
    let mut event = json!({"from": "442079460000", "to": "447700900000", "uuid": "aaaa-bbbb",
        "conversation_uuid": "CON-aaaa", "status": status, "direction": "outbound", "timestamp": "2020-01-01T12:00:00.000Z"});
    let map: &mut Map<_, _> = event.as_object_mut().expect("an object");
    map.extend(extra.as_object().expect("an object").clone());
    event
}

#[test]
fn every_status() {
    let rows = [
        ("started", json!({}), false),
        ("ringing", json!({}), false),
        ("cancelled", json!({}), false),
        ("timeout", json!({}), true),
        ("answered", json!({"start_time": null, "rate": "", "network": null}), false),
        ("answered", json!({"start_time": "2020-01-01T12:00:00.000Z", "rate": "0.02", "network": "1234"}), false),
        ("human", json!({"sub_state": "beep_start"}), false),
        ("machine", json!({"sub_state": "something_new"}), false),
        ("busy", json!({"sip_code": 486}), true),
        ("unanswered", json!({"detail": "carrier_timeout", "sip_code": "480"}), true),
        ("rejected", json!({"detail": "restricted", "sip_code": 603}), true),
        ("failed", json!({"detail": "cannot_route", "sip_code": 404}), true),
        ("disconnected", json!({"headers": {"session_id": "42", "n": {"m": 1}}}), true),
        (
            "completed",
            json!({"start_time": "2020-01-01T12:00:00.000Z", "end_time": "2020-01-01T12:00:01.000Z",
            "duration": "1", "rate": "0.02", "price": "0.0003", "network": "65512", "disconnected_by": "user", "sip_code": 200}),
            false,
        ),
        (
            "completed",
            json!({"duration": 1, "rate": 0.02, "price": null, "network": 65512, "disconnected_by": "robot"}),
            false,
        ),
        ("levitating", json!({"height": [1]}), false),
    ];
    for (status, extra, honours) in rows {
        let value = leg_event(status, &extra);
        let Event::Status(read) = event(&value) else { panic!("{value}") };
        assert_eq!(read.status.get().map(Status::as_str), Some(status));
        assert_eq!(read.honours_ncco(), honours, "{value}");
        assert_eq!(read.leg().expect("a leg").as_str(), "aaaa-bbbb");
        assert_eq!(read.conversation().expect("a conversation").as_str(), "CON-aaaa");
        assert_eq!(read.caller().expect("a caller").0, "442079460000");
        assert_eq!(read.dedupe_key().map(|key| key.status), Some(status.to_owned()));
        let shown = format!("{read:?}");
        assert!(!shown.contains("4420") && !shown.contains("4477"), "{shown}");
    }
}

#[test]
fn numbers_in_every_form() {
    for (duration, seconds) in [
        (json!("61"), Some(61)),
        (json!(61), Some(61)),
        (json!(61.0), Some(61)),
        (json!(""), None),
        (json!(null), None),
        (json!("1.5"), None),
    ] {
        let Event::Status(read) = event(&leg_event("completed", &json!({"duration": duration}))) else { panic!() };
        assert_eq!(read.duration.get().and_then(|n| n.as_u64()), seconds, "{duration}");
    }
}

#[test]
fn human_and_machine_name_their_leg_otherwise() {
    let value = json!({"call_uuid": "cccc", "conversation_uuid": "CON-a", "status": "machine", "timestamp": "t"});
    assert_eq!(event(&value).leg().expect("a leg").as_str(), "cccc");
}

#[test]
fn events_are_told_apart_in_the_order_of_the_reference() {
    let everything = json!({"payload": {"a": 1}, "type": "transfer", "uuid": "u", "conversation_uuid_from": "CON-1", "dtmf": {},
        "speech": {}, "transcription_url": "https://api.nexmo.com/t", "recording_url": "https://api.nexmo.com/r", "status": "answered", "reason": "why"});
    let order: [(&[&str], &str, bool); 8] = [
        (&[], "notify", true),
        (&["payload"], "transfer", false),
        (&["type", "conversation_uuid_from"], "input", true),
        (&["dtmf", "speech"], "transcription", false),
        (&["transcription_url"], "record", false),
        (&["recording_url"], "status", false),
        (&["status"], "error", false),
        (&["reason"], "unknown", false),
    ];
    let mut value = everything;
    for (gone, kind, honours) in order {
        for key in gone {
            value.as_object_mut().expect("an object").remove(*key);
        }
        let event = event(&value);
        assert_eq!((event.kind(), event.honours_ncco()), (kind, honours), "{value}");
    }
}

#[test]
fn transfers_with_and_without_a_type() {
    for value in [
        json!({"type": "transfer", "uuid": "u", "conversation_uuid_from": "CON-1", "conversation_uuid_to": "CON-2", "timestamp": "t"}),
        json!({"uuid": "u", "conversation_uuid_from": "CON-1", "conversation_uuid_to": "CON-2", "timestamp": "t"}),
    ] {
        let Event::Transfer(read) = event(&value) else { panic!("{value}") };
        assert_eq!(read.leg().expect("a leg").as_str(), "u");
        assert_eq!(read.to().expect("a conversation").as_str(), "CON-2");
    }
}

#[test]
fn input_by_key_and_by_voice() {
    let rows = [
        (json!({"dtmf": {"digits": "42", "timed_out": false}}), Some("42"), None),
        (
            json!({"dtmf": {"digits": null, "timed_out": true}, "speech": {"timeout_reason": "end_on_silence_timeout",
            "results": [{"text": "Sales", "confidence": "0.94"}, {"text": "Sails", "confidence": 0.7}]}}),
            None,
            Some(("Sales", Some(0.94))),
        ),
        (json!({"dtmf": {"digits": "1234"}, "speech": {"error": "Speech overridden by DTMF"}}), Some("1234"), None),
        (json!({"dtmf": {"digits": 42}}), Some("42"), None),
        (json!({"dtmf": "42", "timed_out": true}), Some("42"), None),
        (json!({"dtmf": "", "timed_out": true}), None, None),
        (json!({"dtmf": null, "speech": {"results": [{"text": "Yes", "confidence": ""}]}}), None, Some(("Yes", None))),
        (json!({"speech": {"results": [], "timeout_reason": "start_timeout"}}), None, None),
        (
            json!({"speech": {"results": [{"text": "hi", "confidence": ".91"}], "recording_url": "https://api.nexmo.com/r"}}),
            None,
            Some(("hi", Some(0.91))),
        ),
    ];
    for (mut value, digits, speech) in rows {
        value["uuid"] = "aaaa".into();
        let Event::Input(read) = event(&value) else { panic!("{value}") };
        assert_eq!(read.digits().map(|digits| digits.0).as_deref(), digits, "{value}");
        assert_eq!(read.best_speech().map(|(text, sure)| (text.0, sure)), speech, "{value}");
        let shown = format!("{read:?}");
        for secret in ["42", "1234", "Sales", "Yes"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    assert!(SpeechHeard::KEYS.contains(&"results"));
}

#[test]
fn recordings_transcriptions_notices_and_errors() {
    let rows = [
        (
            json!({"start_time": "t", "end_time": "t", "recording_url": "https://api.nexmo.com/v1/files/b", "size": 12222,
            "recording_uuid": "a", "conversation_uuid": "CON-a", "timestamp": "t"}),
            "record",
        ),
        (
            json!({"conversation_uuid": "CON-a", "type": "record", "recording_uuid": "a", "status": "transcribed",
            "transcription_url": "https://api.nexmo.com/v1/files/b"}),
            "transcription",
        ),
        (json!({"conversation_uuid": "CON-a", "payload": {"bar": "foo"}, "timestamp": "t"}), "notify"),
        (
            json!({"reason": "Syntax error in NCCO. Invalid value type or action.", "conversation_uuid": "CON-a", "timestamp": "t"}),
            "error",
        ),
    ];
    for (value, kind) in rows {
        let event = event(&value);
        assert_eq!(event.kind(), kind);
        assert_eq!(event.conversation().expect("a conversation").as_str(), "CON-a");
    }
}

#[test]
fn refusals_name_the_field() {
    for (value, message) in [
        (json!({"status": 7}), "status: must be a string, not empty"),
        (json!({"status": ""}), "status: must be a string, not empty"),
        (
            json!({"status": "answered", "uuid": {"a": "447700900000"}}),
            "uuid: must be an id: 1 to 128 visible ASCII characters",
        ),
        (
            json!({"status": "machine", "call_uuid": "two words"}),
            "call_uuid: must be an id: 1 to 128 visible ASCII characters",
        ),
        (json!({"recording_url": 5}), "recording_url: must be a URL"),
        (json!({"transcription_url": ["x"]}), "transcription_url: must be a URL"),
        (json!({"reason": {}}), "reason: must be a string, not empty"),
        (
            json!({"type": "transfer", "conversation_uuid_to": "x".repeat(129)}),
            "conversation_uuid_to: must be an id: 1 to 128 visible ASCII characters",
        ),
        (
            json!({"payload": 1, "conversation_uuid": 1}),
            "conversation_uuid: must be an id: 1 to 128 visible ASCII characters",
        ),
        (json!({"dtmf": {}, "uuid": 1}), "uuid: must be an id: 1 to 128 visible ASCII characters"),
    ] {
        let error = parse_event(value.to_string().as_bytes()).expect_err("refused");
        assert_eq!(error.to_string(), message, "{value}");
    }
    assert_eq!(parse_event(b"\xEF\xBB\xBF{\"status\":\"started\"}").expect("read").kind(), "status");
    assert!(parse_event(b"").is_err() && parse_event(b"\"x\"").is_err());
}

#[test]
fn queries() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let event = parse_event_query(&[pair("status", "ringing"), pair("uuid", "u"), pair("duration", "")]).expect("read");
    assert_eq!((event.kind(), event.leg().expect("a leg").as_str()), ("status", "u"));
    assert!(parse_answer_query(&[pair("uuid", "two words")]).is_err());
}

#[test]
fn a_cache_must_remember_as_long_as_a_token_is_fresh() {
    assert!(Policy::default().window() >= Duration::from_secs(330));
}
