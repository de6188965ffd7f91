//! The actions that our controller writes.
//!
//! Source: `vonage-voice.md` sections 1.1, 1.4 (synchronous events of a socket leg)
//! and 6 (one socket per speaker).

use super::action::{Action, Connect, Conversation, Record, Stream, Talk};
use super::endpoint::{Authorization, AuthorizationKind, Endpoint, Phone, Websocket};
use super::word::{EventType, RecordFormat, RecordSplit};
use crate::types::{Private, Rate};
use crate::vonage::wire::{Field, Map, Num};

/// What a media socket needs to know of its leg.
#[derive(Debug, Clone, PartialEq)]
pub struct WebsocketLeg {
    /// `wss://…`, with the signed token in its query where it travels there.
    pub uri: Private<String>,
    /// Rate of the audio both ways.
    pub rate: Rate,
    /// Custom fields of the first text message; 512 bytes of JSON at most.
    pub headers: Private<Map>,
    /// What the handshake's `Authorization` header says.
    pub authorization: Option<Authorization>,
}

/// Has Vonage sign the handshake with its own token.
#[must_use]
pub fn vonage_authorization() -> Authorization {
    Authorization { kind: AuthorizationKind::Vonage.into(), ..Default::default() }
}

/// Puts `value` verbatim into the handshake's `Authorization` header.
#[must_use]
pub fn custom_authorization(value: &str) -> Authorization {
    Authorization { kind: AuthorizationKind::Custom.into(), value: value.into(), ..Default::default() }
}

impl WebsocketLeg {
    /// The endpoint, for a `connect` or for `POST /v1/calls`.
    #[must_use]
    pub fn endpoint(self) -> Endpoint {
        Websocket {
            uri: self.uri.into(),
            content_type: format!("audio/l16;rate={}", self.rate.hz()).into(),
            headers: self.headers.into(),
            authorization: self.authorization.into(),
            ..Default::default()
        }
        .into()
    }

    /// A `connect` whose events go to `event_url` synchronously, so that a reply there
    /// can mend the call when the socket fails. The caller's flow goes on at once: keep
    /// it last.
    #[must_use]
    pub fn connect(self, event_url: &str) -> Connect {
        Connect { event_url: event_url.into(), ..Connect::to(self.endpoint()) }
    }
}

impl Connect {
    /// Connects this endpoint, with synchronous events.
    #[must_use]
    pub fn to(endpoint: Endpoint) -> Self {
        Self { endpoint: vec![endpoint].into(), event_type: EventType::Synchronous.into(), ..Default::default() }
    }

    /// Connects a telephone; both numbers E.164 without `+`.
    #[must_use]
    pub fn phone(number: &str, from: &str) -> Self {
        Self { from: from.into(), ..Self::to(Phone { number: number.into(), ..Default::default() }.into()) }
    }
}

impl Conversation {
    /// Joins the conversation of this name; hears all, is heard by all.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Default::default() }
    }

    /// A socket's own leg: hears one participant, is heard by nobody, and does not
    /// keep the conversation waiting.
    #[must_use]
    pub fn listener(name: &str, heard: &str) -> Self {
        Self { start_on_enter: true.into(), ..Self::named(name).can_hear([heard]).can_speak([] as [&str; 0]) }
    }

    /// Limits whom this leg hears; none of them means nobody.
    #[must_use]
    pub fn can_hear<I: IntoIterator<Item: Into<String>>>(self, legs: I) -> Self {
        Self { can_hear: Field::Is(legs.into_iter().map(Into::into).collect()), ..self }
    }

    /// Limits who hears this leg; none of them means nobody.
    #[must_use]
    pub fn can_speak<I: IntoIterator<Item: Into<String>>>(self, legs: I) -> Self {
        Self { can_speak: Field::Is(legs.into_iter().map(Into::into).collect()), ..self }
    }
}

impl Talk {
    /// Says `text`: 1500 characters at most, SSML tags not counted.
    #[must_use]
    pub fn say(text: &str) -> Self {
        Self { text: text.into(), ..Default::default() }
    }

    /// In this language, a BCP 47 tag.
    #[must_use]
    pub fn language(self, tag: &str) -> Self {
        Self { language: tag.into(), ..self }
    }
}

impl Stream {
    /// Plays this file once.
    #[must_use]
    pub fn play(url: &str) -> Self {
        Self { stream_url: url.into(), ..Default::default() }
    }
}

impl Record {
    /// Records beside the rest of the flow, as wav, each side on a channel of its own:
    /// left the caller, right what the caller hears.
    #[must_use]
    pub fn split(event_url: &str) -> Self {
        Self {
            format: RecordFormat::Wav.into(),
            split: RecordSplit::Conversation.into(),
            channels: Num::from(2_u32).into(),
            event_url: event_url.into(),
            ..Default::default()
        }
    }
}

impl Action {
    /// Whether the flow goes on at once after this action, as far as the reference
    /// says: a `record` without an end of its own, an asynchronous `input`, and a
    /// `connect` to a socket.
    #[must_use]
    pub fn is_async(&self) -> bool {
        match self {
            Self::Record(record) => {
                !record.end_on_silence.is_given() && !record.end_on_key.is_given() && !record.time_out.is_given()
            }
            Self::Input(input) => input.mode.get() == Some(&super::InputMode::Asynchronous),
            Self::Connect(connect) => {
                connect.endpoint.get().is_some_and(|all| matches!(all[..], [Endpoint::Websocket(_)]))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Ncco, validate};
    use super::*;
    use crate::vonage::wire::Wire;

    #[test]
    fn what_we_write_is_what_the_reference_shows() {
        let headers: Map = [("session_id".into(), "42".into()), ("role".into(), "caller".into())].into_iter().collect();
        let leg = WebsocketLeg {
            uri: Private("wss://gw.example/media?call=42".into()),
            rate: Rate::Hz16000,
            headers: Private(headers),
            authorization: Some(custom_authorization("Bearer abc")),
        };
        let ncco = Ncco(vec![
            Record::split("https://app.example/record").into(),
            Talk::say("Hello").language("en-GB").into(),
            Conversation::listener("conf_X", "aaaa").into(),
            leg.connect("https://app.example/ws-events").into(),
        ]);
        assert_eq!(
            ncco.to_wire(),
            json!([
                {"action": "record", "format": "wav", "split": "conversation", "channels": 2,
                    "eventUrl": ["https://app.example/record"]},
                {"action": "talk", "text": "Hello", "language": "en-GB"},
                {"action": "conversation", "name": "conf_X", "canHear": ["aaaa"], "canSpeak": [], "startOnEnter": true},
                {"action": "connect", "eventType": "synchronous", "eventUrl": ["https://app.example/ws-events"],
                    "endpoint": [{"type": "websocket", "uri": "wss://gw.example/media?call=42",
                        "content-type": "audio/l16;rate=16000", "headers": {"session_id": "42", "role": "caller"},
                        "authorization": {"type": "custom", "value": "Bearer abc"}}]},
            ])
        );
        assert_eq!(validate(&ncco), []);
        assert_eq!(ncco.0.iter().map(Action::is_async).collect::<Vec<_>>(), [true, false, false, true]);
    }

    #[test]
    fn a_phone_is_connected_from_a_number_of_ours() {
        assert_eq!(
            Connect::phone("447700900001", "447700900000").to_wire(),
            json!({"endpoint": [{"type": "phone", "number": "447700900001"}], "from": "447700900000", "eventType": "synchronous"})
        );
        assert_eq!(
            Stream::play("https://a.example/x.mp3").to_wire(),
            json!({"streamUrl": ["https://a.example/x.mp3"]})
        );
    }
}
