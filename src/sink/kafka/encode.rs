//! The form of a record's value.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use super::registry::Registry;
use crate::config::{Format, KafkaSink as Settings};
use crate::event::{Event, avro, envelope};

/// Content type of values in Avro.
pub(super) const AVRO: &str = "application/avro";

/// First byte of Confluent's wire format; the schema's id in four more follows, big end first.
const MAGIC: u8 = 0;

/// Bytes before the value.
const PREFIX: usize = 5;

/// How values are written.
pub(super) enum Encoding {
    /// As JSON.
    Json,
    /// As Avro; by event type the schema and its id, once the registry told.
    Avro(Box<Registry>, HashMap<&'static str, (u32, Value)>),
}

impl Encoding {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        match settings.format {
            Format::Json => Ok(Self::Json),
            Format::Avro => Ok(Self::Avro(Box::new(Registry::new(settings)?), HashMap::new())),
        }
    }

    /// Asks the registry for the ids.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let Self::Avro(registry, known) = self else { return Ok(()) };
        for (kind, schema) in avro::all() {
            let id = registry.find(kind, &schema)?.ok_or_else(|| {
                let name = avro::record_name(kind);
                format!("the schema registry does not know {name} as it is here; make it known: sidetone kafka init")
            })?;
            known.insert(kind, (id, schema));
        }
        Ok(())
    }

    /// Writes the value into `out`, which is empty; gives its content type.
    pub(super) fn encode(&self, event: &Event, out: &mut Vec<u8>) -> Result<&'static str, String> {
        match self {
            Self::Json => {
                event.write_value(out);
                Ok(envelope::CONTENT_TYPE)
            }
            Self::Avro(_, known) => {
                let (id, schema) = known.get(event.body.kind()).ok_or("its type has no schema")?;
                out.push(MAGIC);
                out.extend_from_slice(&id.to_be_bytes());
                avro::encode(schema, event, out)?;
                Ok(AVRO)
            }
        }
    }
}

/// Reads values of either form.
pub struct Decoder {
    registry: Option<Registry>,
    schemas: HashMap<u32, Value>,
}

impl Decoder {
    /// One that knows no schema yet.
    ///
    /// # Errors
    /// That the registry's password cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let registry = (!settings.registry.url.is_empty()).then(|| Registry::new(settings)).transpose()?;
        Ok(Self { registry, schemas: HashMap::new() })
    }

    /// The data of an event. JSON never begins with the byte 0 that Confluent's format begins with.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn decode(&mut self, value: &[u8]) -> Result<Value, String> {
        let Some((&MAGIC, _)) = value.split_first() else {
            return serde_json::from_slice(value).map_err(|_| "the value is not JSON".to_owned());
        };
        let (prefix, data) = value.split_at_checked(PREFIX).ok_or("the value is too short for Avro")?;
        let id = prefix[1..].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let schema = match self.schemas.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let registry = self.registry.as_ref().ok_or("the value is Avro; set sink.kafka.registry.url")?;
                vacant.insert(registry.schema(id)?)
            }
        };
        avro::decode(schema, data)
    }
}
