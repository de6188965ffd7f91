//! Events: whatever Vonage may say is taken.

use serde_json::{Value, json};

use super::bench::{Bench, Call};
use super::{Check, Verdict, bad};

macro_rules! events {
    ($($name:literal: $about:literal => $events:expr;)+) => {
        &[$(Check {
            name: $name,
            about: $about,
            run: |bench| Box::pin(all_taken(bench, $events)),
        },)+]
    };
}

pub(super) const CHECKS: &[Check] = events! {
    "event.in_order": "started, ringing, answered, completed get 2xx" => |call| {
        ["started", "ringing", "answered", "completed"].map(|status| call.status(status)).into()
    };
    "event.out_of_order": "completed, answered, started get 2xx" => |call| {
        ["completed", "answered", "started"].map(|status| call.status(status)).into()
    };
    "event.twice": "the same event, delivered twice, gets 2xx each time" => |call| {
        let event = call.status("answered");
        vec![event.clone(), event]
    };
    "event.unknown_status": "a status nobody knows gets 2xx" => |call| vec![call.status("levitating")];
    "event.unknown_kind": "an event that is like none known gets 2xx" => |call| {
        vec![json!({"uuid": call.uuid, "conversation_uuid": call.conversation, "something_new": {"a": [1]}})]
    };
    "event.unknown_fields": "fields nobody knows are no reason to refuse" => |call| {
        vec![with(call.status("ringing"), &json!({"something_new": {"a": [null]}, "price_usd": 1e-9}))]
    };
    "event.nulls": "null in place of every number, text and time gets 2xx" => |call| {
        let nulls = json!({"from": null, "to": null, "direction": null, "start_time": null, "end_time": null,
            "rate": null, "price": null, "duration": null, "network": null, "sip_code": null, "timestamp": null});
        vec![with(call.status("answered"), &nulls)]
    };
    "event.string_numbers": "numbers as strings, strings as numbers and empty ones get 2xx" => |call| {
        let odd = json!({"duration": "12", "rate": "0.0045", "price": "", "network": 23410, "sip_code": "200",
            "from": 447_700_900_000_u64, "disconnected_by": "platform"});
        vec![with(call.status("completed"), &odd), with(call.status("completed"), &json!({"duration": 12}))]
    };
    "event.every_status": "every status the reference knows gets 2xx" => |call| {
        let mut events: Vec<_> = ["cancelled", "timeout", "busy", "unanswered", "rejected", "failed", "disconnected"]
            .map(|status| with(call.status(status), &json!({"sip_code": 486, "detail": "unavailable"})))
            .into();
        for status in ["human", "machine"] {
            let mut event = with(call.status(status), &json!({"sub_state": "beep_start", "call_uuid": call.uuid}));
            if let Some(event) = event.as_object_mut() {
                event.shift_remove("uuid");
            }
            events.push(event);
        }
        events
    };
    "event.every_kind": "transfer, record, transcription, input, notify and error get 2xx" => |call| {
        let (uuid, conversation) = (&call.uuid, &call.conversation);
        let time = "2020-01-01T12:00:00.000Z";
        vec![
            json!({"type": "transfer", "uuid": uuid, "conversation_uuid_from": conversation,
                "conversation_uuid_to": conversation, "timestamp": time}),
            json!({"start_time": time, "end_time": time, "recording_url": "https://api.nexmo.com/v1/files/bbbb",
                "size": 12228, "recording_uuid": "bbbb", "conversation_uuid": conversation, "timestamp": time}),
            json!({"conversation_uuid": conversation, "type": "record", "recording_uuid": "bbbb",
                "status": "transcribed", "transcription_url": "https://api.nexmo.com/v1/files/cccc"}),
            json!({"from": "447700900000", "to": "442079460000", "uuid": uuid, "conversation_uuid": conversation,
                "timestamp": time, "dtmf": {"digits": null, "timed_out": true}, "speech": {"results": []}}),
            json!({"payload": {"a": 1}, "conversation_uuid": conversation, "timestamp": time}),
            json!({"reason": "Syntax error in NCCO. Invalid value type or action.",
                "conversation_uuid": conversation, "timestamp": time}),
        ]
    };
};

fn with(mut event: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        event[key] = value.clone();
    }
    event
}

/// Sends the events of a new call, one after the other; each must be taken.
async fn all_taken(bench: &Bench, events: fn(&Call) -> Vec<Value>) -> Verdict {
    bench.event_url()?;
    let mut slowest = 0;
    for (number, event) in events(&bench.begin()).iter().enumerate() {
        let reply = bench.event(event).await?;
        if !reply.is_taken() {
            let name = event["status"].as_str().or(event["type"].as_str()).unwrap_or("the event");
            return bad(format!("event {}, {name}, got {}: expected 2xx", number + 1, reply.status));
        }
        slowest = slowest.max(reply.took.as_millis());
    }
    Ok(format!("within {slowest} ms"))
}
