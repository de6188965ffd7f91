//! JSON Schema and AsyncAPI, generated from the types so that they cannot lie.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Lane;
use super::body::{
    CapturePaused, CaptureResumed, Dtmf, Kind, LegEnded, LegStarted, PlaybackEnded, SpeechEnded, SpeechStarted, Stream,
    TranscriptDropped, TranscriptFinal, TranscriptPartial, TranscriptShadow,
};
use super::call::{
    CallAnswered, CallCapture, CallCompleted, CallFailed, CallJoined, CallListening, CallRecord, CallRecording,
    CallStarted, CallTransferred, CallUpdated,
};
use super::loss::GatewayLoss;

/// One kind of event, as the documents need it.
#[derive(Debug, Clone)]
pub struct Documented {
    /// CloudEvents `type`.
    pub kind: &'static str,
    /// The lane it travels in.
    pub lane: Lane,
    /// One line about it.
    pub about: &'static str,
    /// JSON Schema (draft 2020-12) of the data.
    pub schema: Value,
}

/// Every kind of event with its schema, in the order of the contract.
#[must_use]
pub fn all() -> Vec<Documented> {
    vec![
        documented::<LegStarted>(),
        documented::<SpeechStarted>(),
        documented::<SpeechEnded>(),
        documented::<TranscriptPartial>(),
        documented::<TranscriptFinal>(),
        documented::<TranscriptDropped>(),
        documented::<TranscriptShadow>(),
        documented::<Dtmf>(),
        documented::<CapturePaused>(),
        documented::<CaptureResumed>(),
        documented::<PlaybackEnded>(),
        documented::<LegEnded>(),
        documented::<CallStarted>(),
        documented::<CallAnswered>(),
        documented::<CallJoined>(),
        documented::<CallTransferred>(),
        documented::<CallListening>(),
        documented::<CallCapture>(),
        documented::<CallRecording>(),
        documented::<CallUpdated>(),
        documented::<CallFailed>(),
        documented::<CallCompleted>(),
        documented::<CallRecord>(),
        documented::<GatewayLoss>(),
    ]
}

fn documented<T: Kind>() -> Documented {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.for_serialize().into_generator().into_root_schema_for::<T>().to_value();
    with_origin(&mut schema, T::STREAM);
    schema["title"] = T::TYPE.into();
    schema["description"] = T::ABOUT.into();
    Documented { kind: T::TYPE, lane: T::LANE, about: T::ABOUT, schema }
}

/// Adds the properties that the envelope puts into every event's data.
fn with_origin(schema: &mut Value, stream: Stream) {
    let conversation = json!({"type": "string", "description": "The conversation; also the record key."});
    let text = |description: &str| json!({"type": "string", "description": description});
    let seq = |of: &str| json!({"type": "integer", "minimum": 1, "description": format!("Number among the {of}'s durable events.")});
    let common = match stream {
        Stream::Leg => vec![
            ("conversation", conversation),
            ("leg", text("The media leg.")),
            ("speaker", text("`caller`, `agent`, `mixed`, `unknown` or the application's own word.")),
            ("seq", seq("leg")),
        ],
        Stream::Call => vec![
            ("conversation", conversation),
            ("call", text("The controller's record of the call: one for each call that a gateway follows.")),
            ("seq", seq("record")),
        ],
        Stream::Gateway => {
            let seq = json!({"type": "integer", "const": 1, "description": "Each such event is a subject of its own."});
            vec![("conversation", conversation), ("seq", seq)]
        }
    };
    let mut properties = Map::new();
    let mut required: Vec<Value> = Vec::new();
    for (name, property) in common {
        properties.insert(name.to_owned(), property);
        required.push(name.into());
    }
    if let Some(Value::Object(own)) = schema.get_mut("properties").map(Value::take) {
        properties.extend(own);
    }
    if let Some(Value::Array(own)) = schema.get_mut("required").map(Value::take) {
        // What has a default was added later: a record that was written before has it not.
        let added_later = |name: &Value| name.as_str().is_some_and(|name| properties[name].get("default").is_some());
        required.extend(own.into_iter().filter(|name| !added_later(name)));
    }
    schema["properties"] = properties.into();
    schema["required"] = required.into();
}

/// The AsyncAPI 3.0 document of what the gateway publishes to Kafka.
#[must_use]
pub fn asyncapi() -> Value {
    let headers = json!({
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_partitionkey", "ce_seq"],
        "properties": {
            "ce_specversion": {"const": super::envelope::SPEC_VERSION},
            "ce_id": {"type": "string", "description": "`<subject>:<seq>`, or `<subject>:<seq>.<sub>` when ephemeral. Drop ids you have seen."},
            "ce_source": {"type": "string", "description": "Which gateway speaks."},
            "ce_type": {"type": "string"},
            "ce_subject": {"type": "string", "description": "The media leg, the controller's record of the call, or the loss that is told of."},
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_partitionkey": {"type": "string", "description": "The conversation; equal to the record key."},
            "ce_seq": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "Counts the subject's durable events without gaps."},
            "ce_sub": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "Ephemeral events only."},
            "content-type": {"const": super::envelope::CONTENT_TYPE}
        }
    });
    let mut messages = Map::new();
    let mut refs = Map::new();
    for event in all() {
        let lane = match event.lane {
            Lane::Durable => "durable",
            Lane::Ephemeral => "ephemeral",
        };
        refs.insert(event.kind.into(), json!({"$ref": format!("#/components/messages/{}", event.kind)}));
        messages.insert(
            event.kind.into(),
            json!({
                "name": event.kind,
                "summary": event.about,
                "contentType": super::envelope::CONTENT_TYPE,
                "tags": [{"name": lane}],
                "headers": {"$ref": "#/components/schemas/headers"},
                "payload": event.schema
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sidetone events",
            "version": "1",
            "description": "CloudEvents 1.0 in binary mode. Record key: the conversation. One conversation is one partition, in order for each subject."
        },
        "channels": {
            "events": {
                "address": "sidetone.events",
                "messages": refs,
                "bindings": {"kafka": {"key": {"type": "string", "description": "The conversation."}}}
            }
        },
        "operations": {
            "publish": {"action": "send", "channel": {"$ref": "#/channels/events"}}
        },
        "components": {"schemas": {"headers": headers}, "messages": messages}
    })
}
