//! The event contract: what every consumer, on Kafka or elsewhere, is promised.
//!
//! - One [CloudEvents 1.0](https://cloudevents.io) envelope ([`envelope`]).
//! - [`body`] has one type for each kind of event; the JSON Schemas and the
//!   AsyncAPI document under `deploy/events/` are generated from them ([`schema`]).
//! - `id` is `<subject>:<seq>`; the subject is a media leg, or the controller's record of
//!   a call. `seq` counts a subject's durable events from 1 without gaps; so a consumer that drops ids it has seen gets each event once, and one
//!   that checks `seq` can prove that it missed nothing.
//! - Ephemeral events (partials, speech marks) may be shed. So as not to leave
//!   holes, they do not advance `seq`: they carry that of the durable event
//!   before them and are told apart by `sub`, counted from 1.
//!
//! Invariant: pure. A leg's events are authored by `call` alone, a call's
//! by `control` alone; all are serialised here alone.

mod author;
pub mod avro;
pub mod body;
pub mod call;
pub mod decode;
pub mod envelope;
pub mod follow;
pub mod loss;
pub mod read;
pub mod schema;

use std::sync::Arc;

pub use author::Author;
pub use body::Body;

use crate::types::{ConversationId, LegId, Speaker, WallTime};

/// Which of the outbox's two lanes an event travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Never dropped silently.
    Durable,
    /// Newest wins.
    Ephemeral,
}

/// What all events of one stream share: those of a media leg, or of a call's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The record key: all legs of a conversation are in one partition.
    pub conversation: ConversationId,
    /// The stream's own id, never used before: the media leg, or the record of a call.
    pub leg: LegId,
    /// Whom a media leg lets us hear.
    pub speaker: Speaker,
    /// CloudEvents `source`: which gateway speaks.
    pub source: Arc<str>,
}

/// One event, not yet serialised. Cloning does not copy text of the origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who it is about.
    pub origin: Arc<Origin>,
    /// Number among the leg's durable events, from 1; see the module's documentation.
    pub seq: u64,
    /// 0 for a durable event, else the number among the ephemeral events since.
    pub sub: u64,
    /// When it was authored.
    pub time: WallTime,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The lane this kind of event travels in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.body.lane()
    }
}
