//! The answer webhook: a call is here, what shall be done with it?
//!
//! Source: `vonage-voice.md` section 3.1. GET with a query by default, or POST with
//! JSON. The reply is 200 and an NCCO.

use serde_json::Value;

use super::{BadWebhook, body, check_id, conversation, leg, private_text, query};
use crate::types::{ConversationId, LegId, Private};
use crate::vonage::rest_types::trusted_base;
use crate::vonage::shape::{object, open_words};
use crate::vonage::wire::{Map, Text};

/// What the headers of an incoming SIP call are prefixed with.
const SIP_PREFIX: &str = "SipHeader_";

object! {
    /// A call that waits for its NCCO.
    Answer {
        /// Number called: E.164 without `+`.
        to: Private<Text> = "to",
        /// Number calling; none where an app user calls.
        from: Private<Text> = "from",
        /// App user calling.
        from_user: Private<String> = "from_user",
        /// The leg that answers.
        uuid: String = "uuid",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// Kind of the leg.
        endpoint_type: EndpointKind = "endpoint_type",
        /// REST base for this call; see [`Answer::region`].
        region_url: String = "region_url",
        /// What the Client SDK sent along; see [`Answer::custom_data`].
        custom_data: Private<Value> = "custom_data",
    }
}

open_words! {
    /// Kind of a leg.
    EndpointKind {
        /// A telephone.
        Phone = "phone",
        /// A SIP address.
        Sip = "sip",
        /// A media socket.
        Websocket = "websocket",
        /// A user of the Client SDK.
        App = "app",
        /// An extension of Vonage Business Communications.
        Vbc = "vbc",
    }
}

impl Answer {
    pub(super) fn checked(map: Map) -> Result<Self, BadWebhook> {
        let answer = Self::from_map(map);
        check_id("uuid", &answer.uuid)?;
        check_id("conversation_uuid", &answer.conversation_uuid)?;
        Ok(answer)
    }

    /// The leg that answers.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        leg(&self.uuid)
    }

    /// Its conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid)
    }

    /// Who calls: the number, else the app user.
    #[must_use]
    pub fn caller(&self) -> Option<Private<String>> {
        private_text(&self.from)
            .or_else(|| self.from_user.reveal().filter(|user| !user.is_empty()).cloned().map(Private))
    }

    /// The number called.
    #[must_use]
    pub fn called(&self) -> Option<Private<String>> {
        private_text(&self.to)
    }

    /// REST base for this call, without a slash at the end, where it is `https` at
    /// Vonage; our application's token must go nowhere else.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        trusted_base(self.region_url.get()?)
    }

    /// What the Client SDK sent along: an object, as JSON, or as JSON in a string (how a
    /// GET carries it is unconfirmed).
    #[must_use]
    pub fn custom_data(&self) -> Option<Private<Map>> {
        match self.custom_data.reveal()? {
            Value::Object(map) => Some(map.clone()),
            Value::String(json) => serde_json::from_str(json).ok(),
            _ => None,
        }
        .map(Private)
    }

    /// Headers of an incoming SIP call, prefix removed: `X-UserId`, `User-to-User`.
    pub fn sip_headers(&self) -> impl Iterator<Item = (&str, Private<&str>)> {
        self.extra.0.iter().filter_map(|(key, value)| Some((key.strip_prefix(SIP_PREFIX)?, Private(value.as_str()?))))
    }
}

/// Reads the JSON body of a POST.
///
/// # Errors
/// [`BadWebhook`], naming the field where there is one.
pub fn parse_answer(json: &[u8]) -> Result<Answer, BadWebhook> {
    Answer::checked(body(json)?)
}

/// Reads the decoded query of a GET.
///
/// # Errors
/// [`BadWebhook::BadField`] for an id that cannot be one.
pub fn parse_answer_query(pairs: &[(String, String)]) -> Result<Answer, BadWebhook> {
    Answer::checked(query(pairs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> Value {
        json!({"to": "442079460000", "from": "447700900000", "uuid": "aaaa-bbbb", "conversation_uuid": "CON-aaaa",
            "endpoint_type": "phone", "region_url": "https://api-eu-3.vonage.com/", "custom_data": {"k": "v"},
            "SipHeader_X-UserId": "1938ND9", "SipHeader_User-to-User": "uui", "new": [1]})
    }

    #[test]
    fn post_with_everything() {
        let answer = parse_answer(full().to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&answer).unwrap(), full());
        assert_eq!(answer.leg().unwrap().as_str(), "aaaa-bbbb");
        assert_eq!(answer.conversation().unwrap().as_str(), "CON-aaaa");
        assert_eq!(
            (answer.caller().unwrap().0, answer.called().unwrap().0),
            ("447700900000".into(), "442079460000".into())
        );
        assert_eq!(answer.endpoint_type.get(), Some(&EndpointKind::Phone));
        assert_eq!(answer.region(), Some("https://api-eu-3.vonage.com"));
        assert_eq!(answer.custom_data().unwrap().0["k"], "v");
        let sip: Vec<_> = answer.sip_headers().map(|(name, value)| (name, value.0)).collect();
        assert_eq!(sip, [("X-UserId", "1938ND9"), ("User-to-User", "uui")]);
        assert!(!format!("{answer:?}").contains("4477"), "{answer:?}");
    }

    #[test]
    fn get_with_a_query() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let answer = parse_answer_query(&[
            pair("from_user", "Karen"),
            pair("from", ""),
            pair("uuid", "aaaa"),
            pair("uuid", "bbbb"),
            pair("endpoint_type", "hologram"),
            pair("custom_data", r#"{"k":"v"}"#),
            pair("region_url", "https://evil.example"),
        ])
        .unwrap();
        assert_eq!(answer.caller().unwrap().0, "Karen");
        assert_eq!(answer.leg().unwrap().as_str(), "aaaa");
        assert_eq!(answer.endpoint_type.get(), Some(&EndpointKind::Other("hologram".into())));
        assert_eq!(answer.custom_data().unwrap().0["k"], "v");
        assert_eq!((answer.region(), answer.called(), answer.conversation()), (None, None, None));
    }

    #[test]
    fn nulls_numbers_and_nothing_are_tolerated() {
        let answer = parse_answer(br#"{"from":447700900000,"to":null,"uuid":"","custom_data":7}"#).unwrap();
        assert_eq!(answer.caller().unwrap().0, "447700900000");
        assert_eq!((answer.called(), answer.leg(), answer.custom_data()), (None, None, None));
        assert_eq!(parse_answer(b"{}"), Ok(Answer::default()));
    }

    #[test]
    fn refusals_name_the_field_and_not_the_value() {
        let text = |json: &[u8]| parse_answer(json).unwrap_err().to_string();
        assert_eq!(text(br#"{"uuid":7}"#), "uuid: must be an id: 1 to 128 visible ASCII characters");
        assert_eq!(
            text(br#"{"conversation_uuid":"CON a"}"#),
            "conversation_uuid: must be an id: 1 to 128 visible ASCII characters"
        );
        assert_eq!(text(b"[]"), "the body must be an object; this is an array");
        assert_eq!(text(b"{\"a\":\n"), "the body is not JSON: line 2, column 0");
    }
}
