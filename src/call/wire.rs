//! Vonage's text messages on a media socket, in and out.
//!
//! Source: `vonage-voice.md` sections 1.2 and 1.3, which follow the vendor's public
//! reference and samples. What is unconfirmed there is taken both ways.

use serde_json::{Map, Value};

use crate::types::{PeerFault, Private, Rate};

/// Custom headers kept from the first message: this many at most.
pub const HEADERS_MAX: usize = 64;

/// A text message from Vonage.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// `websocket:connected`, the first message.
    Connected {
        /// The audio's rate, or the fault of its `content-type`.
        rate: Result<Rate, PeerFault>,
        /// The NCCO's custom headers.
        headers: Map<String, Value>,
    },
    /// `websocket:dtmf`.
    Dtmf {
        /// The key.
        digit: Private<String>,
        /// How long it was pressed.
        duration_ms: Option<u64>,
    },
    /// `websocket:cleared`: the playback buffer is empty.
    Cleared,
    /// `websocket:notify`: playback has reached a mark.
    Notify(Value),
}

/// Reads one text message.
///
/// # Errors
/// [`PeerFault::BadText`] for what is no JSON object or lacks a field,
/// [`PeerFault::UnknownEvent`] for an event we do not know.
pub fn parse(text: &str) -> Result<Message, PeerFault> {
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
        return Err(PeerFault::BadText);
    };
    let event = match message.remove("event") {
        Some(Value::String(event)) => event,
        _ => return Err(PeerFault::BadText),
    };
    match event.as_str() {
        "websocket:connected" => {
            let rate = match message.remove("content-type") {
                Some(Value::String(content_type)) => parse_content_type(&content_type),
                // Absent or null: what the vendor's samples ask for by default.
                None | Some(Value::Null) => Ok(Rate::Hz16000),
                Some(_) => Err(PeerFault::UnsupportedFormat),
            };
            Ok(Message::Connected { rate, headers: custom_headers(message) })
        }
        "websocket:dtmf" => {
            // The reference has `digit` and `duration` at the top; one SDK nests them.
            let nested = match message.remove("dtmf") {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            let field = |name: &str| message.get(name).or_else(|| nested.get(name));
            let digit = match field("digit") {
                Some(Value::String(digit)) if (1..=8).contains(&digit.len()) => digit.clone(),
                Some(Value::Number(digit)) if digit.as_u64().is_some_and(|d| d < 10) => digit.to_string(),
                _ => return Err(PeerFault::BadText),
            };
            let duration_ms = match field("duration") {
                Some(Value::String(ms)) => ms.parse().ok(),
                Some(ms) => ms.as_u64(),
                None => None,
            };
            Ok(Message::Dtmf { digit: Private(digit), duration_ms })
        }
        "websocket:cleared" => Ok(Message::Cleared),
        "websocket:notify" => Ok(Message::Notify(message.remove("payload").unwrap_or_default())),
        _ => Err(PeerFault::UnknownEvent),
    }
}

/// Custom headers stand at the top level; some clients nest them under `headers`.
fn custom_headers(mut message: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(nested)) = message.get("headers") {
        let nested = nested.clone();
        message.remove("headers");
        message.extend(nested);
    }
    message.into_iter().take(HEADERS_MAX).collect()
}

/// `audio/l16;rate=16000`, in any case, with spaces or without.
fn parse_content_type(text: &str) -> Result<Rate, PeerFault> {
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("audio/l16")) {
        return Err(PeerFault::UnsupportedFormat);
    }
    let rate = parts.filter_map(|part| part.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case("rate"));
    match rate {
        None => Ok(Rate::Hz16000),
        Some((_, hz)) => hz.trim().parse().ok().and_then(Rate::from_hz).ok_or(PeerFault::UnsupportedFormat),
    }
}

/// Writes the first message, as Vonage does: custom headers at the top level.
#[must_use]
pub fn connected(rate: Rate, headers: &Map<String, Value>) -> String {
    let mut message = Map::new();
    message.insert("event".into(), "websocket:connected".into());
    message.insert("content-type".into(), format!("audio/l16;rate={}", rate.hz()).into());
    for (name, value) in headers {
        message.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Value::Object(message).to_string()
}

/// Has the platform drop what it has not played yet; it answers `websocket:cleared`.
pub const CLEAR: &str = r#"{"action":"clear"}"#;

/// Has the platform say when all audio before it was heard. It returns the payload as it
/// is; `number` tells marks of one id apart.
#[must_use]
pub fn notify(id: &str, number: u64) -> String {
    serde_json::json!({"action": "notify", "payload": {"mark": id, "n": number}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(message: Value) -> Result<Message, PeerFault> {
        parse(&message.to_string())
    }

    #[test]
    fn the_first_message_gives_rate_and_headers() {
        let message = json!({"event": "websocket:connected", "content-type": "audio/l16;rate=8000", "role": "caller", "n": {"a": 1}});
        let Ok(Message::Connected { rate, headers }) = parsed(message) else { panic!() };
        assert_eq!(
            (rate, headers["role"].as_str(), &headers["n"]),
            (Ok(Rate::Hz8000), Some("caller"), &json!({"a": 1}))
        );
        let nested = json!({"event": "websocket:connected", "headers": {"role": "agent"}});
        let Ok(Message::Connected { rate, headers }) = parsed(nested) else { panic!() };
        assert_eq!((rate, headers["role"].as_str(), headers.len()), (Ok(Rate::Hz16000), Some("agent"), 1));
    }

    #[test]
    fn what_we_write_we_read() {
        let headers: Map<_, _> =
            [("role".into(), "agent".into()), ("event".into(), "mine".into())].into_iter().collect();
        let Ok(Message::Connected { rate, headers }) = parse(&connected(Rate::Hz24000, &headers)) else { panic!() };
        assert_eq!((rate, headers.len(), headers["role"].as_str()), (Ok(Rate::Hz24000), 1, Some("agent")));
    }

    #[test]
    fn content_types() {
        for (text, expected) in [
            ("audio/l16;rate=16000", Ok(Rate::Hz16000)),
            ("Audio/L16; RATE = 24000 ; channels=1", Ok(Rate::Hz24000)),
            ("audio/l16", Ok(Rate::Hz16000)),
            ("audio/l16;rate=44100", Err(PeerFault::UnsupportedFormat)),
            ("audio/l16;rate=fast", Err(PeerFault::UnsupportedFormat)),
            ("audio/pcmu;rate=8000", Err(PeerFault::UnsupportedFormat)),
            ("", Err(PeerFault::UnsupportedFormat)),
        ] {
            assert_eq!(parse_content_type(text), expected, "{text:?}");
        }
    }

    #[test]
    fn dtmf_in_every_shape_seen() {
        for message in [
            json!({"event": "websocket:dtmf", "digit": "5", "duration": 260}),
            json!({"event": "websocket:dtmf", "digit": 5, "duration": "260"}),
            json!({"event": "websocket:dtmf", "dtmf": {"digit": "5", "duration": 260}}),
        ] {
            assert_eq!(parsed(message), Ok(Message::Dtmf { digit: Private("5".into()), duration_ms: Some(260) }));
        }
        assert_eq!(parsed(json!({"event": "websocket:dtmf"})), Err(PeerFault::BadText));
        assert_eq!(parsed(json!({"event": "websocket:dtmf", "digit": "123456789"})), Err(PeerFault::BadText));
    }

    #[test]
    fn the_rest() {
        assert_eq!(parsed(json!({"event": "websocket:cleared"})), Ok(Message::Cleared));
        assert_eq!(
            parsed(json!({"event": "websocket:notify", "payload": {"m": 1}})),
            Ok(Message::Notify(json!({"m": 1})))
        );
        assert_eq!(parsed(json!({"event": "websocket:media"})), Err(PeerFault::UnknownEvent));
        for bad in ["", "{", "[]", "null", "{}", r#"{"event":7}"#] {
            assert_eq!(parse(bad), Err(PeerFault::BadText), "{bad}");
        }
    }
}
