//! Numbers events: the one place where `seq` and `sub` are counted.

use std::sync::Arc;

use super::{Body, Event, Lane, Origin};
use crate::types::WallTime;

/// Writes the events of one stream.
#[derive(Debug)]
pub struct Author {
    origin: Arc<Origin>,
    seq: u64,
    sub: u64,
}

impl Author {
    /// Of a stream that has no events yet.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { origin: Arc::new(origin), seq: 0, sub: 0 }
    }

    /// Makes the next event of the stream.
    pub fn write(&mut self, time: WallTime, body: Body) -> Event {
        match body.lane() {
            Lane::Durable => (self.seq, self.sub) = (self.seq + 1, 0),
            Lane::Ephemeral => self.sub += 1,
        }
        Event { origin: Arc::clone(&self.origin), seq: self.seq, sub: self.sub, time, body }
    }
}
