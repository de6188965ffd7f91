//! The form of a record's value.

use crate::config::{Format, KafkaSink as Settings};
use crate::event::{Event, envelope};

/// How values are written.
pub(super) enum Encoding {
    /// As JSON.
    Json,
}

impl Encoding {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        match settings.format {
            Format::Json => Ok(Self::Json),
            Format::Avro => Err("sink.kafka.format is avro: not yet".to_owned()),
        }
    }

    /// Makes it ready.
    pub(super) fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// The value and its content type.
    pub(super) fn encode(&self, event: &Event) -> Result<(Vec<u8>, &'static str), String> {
        match self {
            Self::Json => Ok((event.value(), envelope::CONTENT_TYPE)),
        }
    }
}
