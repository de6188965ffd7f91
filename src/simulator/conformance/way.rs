//! How to get to a media socket: as an answered NCCO says, or as was given.

use super::bench::Bench;
use super::{Stop, bad, skip};
use crate::types::{Private, Rate};
use crate::vonage::ncco::{Action, AuthorizationKind, Connect, Endpoint, Ncco, Websocket};
use crate::vonage::signature::Payload;
use crate::vonage::wire::Map;

/// A media socket and what opens it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) uri: Private<String>,
    /// The handshake's `Authorization` header.
    pub(super) authorization: Option<Private<String>>,
    pub(super) rate: Rate,
    /// Custom fields of the first message.
    pub(super) headers: Private<Map>,
    pub(super) source: Source,
}

/// Who named the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Whoever runs the checks.
    Given,
    /// The gateway itself, for one call.
    Ncco,
    /// Nobody: it is where ours would be.
    Assumed,
}

impl Bench {
    /// A way that has not been gone yet. Where an NCCO names it, that is a new call.
    pub(super) async fn way(&self) -> Result<Way, Stop> {
        let plain = |uri: &str, source| Way {
            uri: Private(uri.to_owned()),
            authorization: None,
            rate: Rate::Hz16000,
            headers: Private::default(),
            source,
        };
        if let Some(uri) = &self.target.media_url {
            return Ok(plain(uri, Source::Given));
        }
        // What is wrong with answers has checks of its own.
        let ncco = match self.answered().await {
            Ok((_, ncco)) => Some(ncco),
            Err(_) => None,
        };
        if let Some(socket) = ncco.as_ref().and_then(socket) {
            return self.way_of(socket);
        }
        match &self.target.assumed_media_url {
            Some(uri) => Ok(plain(uri, Source::Assumed)),
            None => skip("no NCCO names a websocket, and no media URL was given"),
        }
    }

    fn way_of(&self, socket: &Websocket) -> Result<Way, Stop> {
        let authorization = match socket.authorization.get().map(|a| (a.kind.get(), &a.value)) {
            Some((Some(AuthorizationKind::Custom), value)) => value.reveal().cloned(),
            Some((Some(AuthorizationKind::Vonage), _)) => match self.sign(Payload::Handshake) {
                Some(token) => Some(token),
                None => return skip("the NCCO has Vonage sign the handshake, and no signature secret was given"),
            },
            _ => None,
        };
        let rate = socket.content_type.get().and_then(|kind| kind.rsplit_once("rate=")?.1.parse().ok());
        let (Some(uri), Some(rate)) = (socket.uri.reveal(), rate.and_then(Rate::from_hz)) else {
            return bad("the NCCO's websocket lacks a uri or a rate");
        };
        Ok(Way {
            uri: Private(uri.clone()),
            authorization: authorization.map(Private),
            rate,
            headers: Private(socket.headers.reveal().cloned().unwrap_or_default()),
            source: Source::Ncco,
        })
    }
}

/// The first websocket that an NCCO connects.
fn socket(ncco: &Ncco) -> Option<&Websocket> {
    let connects = ncco.0.iter().filter_map(|action| match action {
        Action::Connect(Connect { endpoint, .. }) => endpoint.get(),
        _ => None,
    });
    connects.flatten().find_map(|endpoint| match endpoint {
        Endpoint::Websocket(socket) => Some(socket),
        _ => None,
    })
}
