//! Whom an endpoint means: an address in the script, or a socket to dial.

use super::Exchange;
use crate::simulator::script::Address;
use crate::simulator::socket::Dial;
use crate::types::{Private, Rate, WallTime};
use crate::vonage::ncco::{AuthorizationKind, Endpoint, Websocket};
use crate::vonage::signature::{Claims, Payload, sign};
use crate::vonage::webhook::EndpointKind;
use crate::vonage::wire::Map;

/// Somebody to call.
pub(super) struct Called {
    pub(super) kind: EndpointKind,
    /// As webhooks write it.
    pub(super) to: String,
    /// Of socket and SIP legs.
    pub(super) headers: Option<Map>,
    pub(super) whom: Whom,
}

/// A person or a socket.
pub(super) enum Whom {
    Person(Address),
    Socket(Box<Dial>),
}

/// What the `content-type` of a socket says of its rate.
fn rate(content_type: &str) -> Option<Rate> {
    let (coding, rate) = content_type.split_once(';')?;
    let hz = rate.trim().strip_prefix("rate=")?.trim().parse().ok()?;
    coding.trim().eq_ignore_ascii_case("audio/l16").then(|| Rate::from_hz(hz))?
}

impl Exchange {
    /// Reads an endpoint, or says what is wrong with it.
    pub(super) fn called(&self, endpoint: &Endpoint) -> Result<Called, &'static str> {
        let person = |kind, to: String, headers, address: fn(Private<String>) -> Address| Called {
            kind,
            whom: Whom::Person(address(Private(to.clone()))),
            to,
            headers,
        };
        match endpoint {
            Endpoint::Phone(phone) => {
                let number = phone.number.reveal().ok_or("a phone endpoint needs a number")?.text().into_owned();
                Ok(person(EndpointKind::Phone, number, None, Address::Phone))
            }
            Endpoint::App(app) => {
                let user = app.user.get().ok_or("an app endpoint needs a user")?.clone();
                Ok(person(EndpointKind::App, user, None, Address::App))
            }
            Endpoint::Vbc(vbc) => {
                let extension = vbc.extension.reveal().ok_or("a vbc endpoint needs an extension")?.text().into_owned();
                Ok(person(EndpointKind::Vbc, extension, None, Address::Vbc))
            }
            Endpoint::Sip(sip) => {
                let uri = sip
                    .uri
                    .reveal()
                    .cloned()
                    .or_else(|| Some(format!("sip:{}@{}", sip.user.reveal()?, sip.domain.get()?)));
                let headers = Some(sip.headers.reveal().cloned().unwrap_or_default());
                Ok(person(EndpointKind::Sip, uri.ok_or("a sip endpoint needs a uri")?, headers, Address::Sip))
            }
            Endpoint::Websocket(socket) => self.socket(socket),
            Endpoint::Unknown(_) => Err("the endpoint's type is unknown"),
        }
    }

    fn socket(&self, socket: &Websocket) -> Result<Called, &'static str> {
        let uri = socket.uri.reveal().ok_or("a websocket endpoint needs a uri")?.clone();
        let content_type = socket.content_type.get().ok_or("a websocket endpoint needs a content-type")?;
        let rate = rate(content_type).ok_or("content-type must be audio/l16;rate= and 8000, 16000 or 24000")?;
        let headers = socket.headers.reveal().cloned().unwrap_or_default();
        let authorization = match socket.authorization.get().and_then(|auth| Some((auth.kind.get()?, auth))) {
            None => None,
            Some((AuthorizationKind::Custom, auth)) => auth.value.reveal().cloned(),
            Some((AuthorizationKind::Vonage, _)) => self.handshake_token(),
        };
        Ok(Called {
            kind: EndpointKind::Websocket,
            to: uri.clone(),
            headers: Some(headers.clone()),
            whom: Whom::Socket(Box::new(Dial { uri, rate, headers, authorization })),
        })
    }

    fn handshake_token(&self) -> Option<String> {
        let signing = self.settings.signing.as_ref()?;
        // Signatures are dated by the real clock, whatever the speed.
        let now = WallTime(chrono::Utc::now().timestamp_micros());
        let claims = Claims {
            application_id: signing.application_id.clone(),
            ..Claims::of(Payload::Handshake, &signing.api_key, &Self::fresh(), now)
        };
        Some(sign(&signing.secret.0, &claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (content_type, expected) in [
            ("audio/l16;rate=8000", Some(Rate::Hz8000)),
            ("audio/l16;rate=16000", Some(Rate::Hz16000)),
            ("audio/L16; rate=24000", Some(Rate::Hz24000)),
            ("audio/l16;rate=44100", None),
            ("audio/l16", None),
            ("audio/wav;rate=8000", None),
        ] {
            assert_eq!(rate(content_type), expected, "{content_type}");
        }
    }
}
