//! The bodies of webhooks.
//!
//! Source: `vonage-voice.md` section 3. Numbers are strings where the reference has
//! strings; in `answered` what is not known yet is null.

use std::time::Duration;

use serde_json::{Value, json};

use super::leg::{EndBy, Leg, Recording};
use crate::simulator::clock::Clock;
use crate::vonage::webhook::{EndpointKind, Status};
use crate::vonage::wire::Map;

/// EUR a minute.
const RATE: f64 = 0.0072;
/// A carrier's code.
const NETWORK: &str = "23410";
/// Milliseconds a key is held.
pub(super) const KEY_MS: u64 = 200;

/// A leg changed its state; `more` are the fields of that state alone.
pub(super) fn status(leg: &Leg, status: &Status, stamp: String, more: Map) -> Map {
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("from", leg.from.clone().into());
    put("to", leg.to.clone().into());
    let id = if matches!(status, Status::Human | Status::Machine) { "call_uuid" } else { "uuid" };
    put(id, leg.id.to_string().into());
    put("conversation_uuid", leg.conversation.clone().into());
    put("status", status.as_str().into());
    if *status != Status::Disconnected {
        put("direction", if leg.outbound { "outbound" } else { "inbound" }.into());
    }
    put("timestamp", stamp.into());
    if let Some(headers) = &leg.headers {
        put("headers", headers.clone().into());
    }
    body.extend(more);
    body
}

/// The fields of `answered` alone.
pub(super) fn answered() -> Map {
    object([("start_time", Value::Null), ("rate", Value::Null), ("network", Value::Null)])
}

/// The fields of `completed` alone.
pub(super) fn completed(leg: &Leg, by: EndBy, clock: &Clock, now: Duration) -> Map {
    let stamp = |at: Option<Duration>| at.map_or(Value::Null, |at| clock.stamp(at).into());
    let mut body = account(leg, now);
    body.extend(object([
        ("start_time", stamp(leg.answered)),
        ("end_time", clock.stamp(now).into()),
        ("disconnected_by", if by == EndBy::Platform { "platform" } else { "user" }.into()),
        ("sip_code", 200.into()),
    ]));
    body
}

/// Duration, rate, price and network, strings all of them.
pub(super) fn account(leg: &Leg, now: Duration) -> Map {
    let seconds = leg.seconds(now);
    object([
        ("duration", seconds.to_string().into()),
        ("rate", format!("{RATE:.8}").into()),
        ("price", format!("{:.8}", RATE * seconds as f64 / 60.0).into()),
        ("network", if leg.kind == EndpointKind::Phone { NETWORK.into() } else { Value::Null }),
    ])
}

/// A leg moved to another conversation.
pub(super) fn transfer(leg: &Leg, from: &str, stamp: String) -> Map {
    object([
        ("type", "transfer".into()),
        ("uuid", leg.id.to_string().into()),
        ("conversation_uuid_from", from.into()),
        ("conversation_uuid_to", leg.conversation.clone().into()),
        ("timestamp", stamp.into()),
    ])
}

/// The platform could not do what the NCCO says.
pub(super) fn error(leg: &Leg, reason: &str, stamp: String) -> Map {
    object([
        ("reason", reason.into()),
        ("conversation_uuid", leg.conversation.clone().into()),
        ("timestamp", stamp.into()),
    ])
}

/// A recording is there, so many bytes at this URL.
pub(super) fn recorded(recording: &Recording, conversation: &str, url: String, size: usize, clock: &Clock) -> Map {
    let ended = recording.began + Duration::from_millis(recording.tape.ms());
    object([
        ("start_time", clock.stamp(recording.began).into()),
        ("end_time", clock.stamp(ended).into()),
        ("recording_url", url.into()),
        ("size", size.into()),
        ("recording_uuid", recording.id.clone().into()),
        ("conversation_uuid", conversation.into()),
        ("timestamp", clock.stamp(clock.now()).into()),
    ])
}

/// What an `input` heard.
pub(super) fn input(leg: &Leg, dtmf: Value, speech: Value, stamp: String) -> Map {
    object([
        ("from", leg.from.clone().into()),
        ("to", leg.to.clone().into()),
        ("uuid", leg.id.to_string().into()),
        ("conversation_uuid", leg.conversation.clone().into()),
        ("timestamp", stamp.into()),
        ("dtmf", dtmf),
        ("speech", speech),
    ])
}

/// One key, for those who want each.
pub(super) fn key(leg: &Leg, key: char, stamp: String) -> Map {
    input(leg, json!({"digits": key.to_string(), "timed_out": false}), json!({"results": []}), stamp)
}

/// A `notify` was reached.
pub(super) fn notify(leg: &Leg, payload: Map, stamp: String) -> Map {
    object([
        ("payload", payload.into()),
        ("conversation_uuid", leg.conversation.clone().into()),
        ("timestamp", stamp.into()),
    ])
}

/// The parameters of the answer webhook.
pub(super) fn answer(leg: &Leg, region_url: String) -> Map {
    let mut body = object([("to", leg.to.clone().into())]);
    let from = if leg.kind == EndpointKind::App && !leg.outbound { "from_user" } else { "from" };
    body.insert(from.to_owned(), leg.from.clone().into());
    body.extend(object([
        ("uuid", leg.id.to_string().into()),
        ("conversation_uuid", leg.conversation.clone().into()),
        ("endpoint_type", leg.kind.as_str().into()),
        ("region_url", region_url.into()),
    ]));
    body
}

/// An object of these fields, in this order.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
