//! From a leg to every sink, without the leg waiting.
//!
//! ```text
//! leg task ──publish──► Outbox ──┬──► Lane ──► thread ──► sink (Kafka)
//!                                ├──► Lane ──► thread ──► sink (file)
//!                                └──► live readers (SSE), newest wins
//! ```
//!
//! Each sink has two bounded queues. The durable one is never dropped from
//! silently: when it is three quarters full new legs are refused, and an event
//! that finds it full is counted and logged as lost. In the ephemeral one the
//! newest wins.

mod lane;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;

use self::lane::Lane;
use crate::event::Event;
use crate::sink::Sink;

/// Bounds of each sink's queues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Durable events that wait.
    pub durable_max: usize,
    /// Ephemeral events that wait.
    pub ephemeral_max: usize,
    /// Events a live reader may fall behind.
    pub live_max: usize,
}

/// Takes events from every leg.
pub struct Outbox {
    lanes: Vec<Lane>,
    /// Gone once there will be no more events.
    live: RwLock<Option<broadcast::Sender<Arc<Event>>>>,
}

impl Outbox {
    /// Starts one thread for each sink.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(sinks: Vec<Box<dyn Sink>>, limits: Limits) -> std::io::Result<Self> {
        let lanes = sinks.into_iter().map(|sink| Lane::start(sink, limits)).collect::<Result<_, _>>()?;
        Ok(Self { lanes, live: RwLock::new(Some(broadcast::channel(limits.live_max).0)) })
    }

    /// Hands an event to every sink. Never waits.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        for lane in &self.lanes {
            lane.push(&event);
        }
        if let Some(live) = &*self.live.read().unwrap_or_else(PoisonError::into_inner) {
            // No reader is no error.
            let _ = live.send(event);
        }
    }

    /// Follows the events from now on. A reader that falls behind skips some and is told how many.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        // The receiver of a sender that is gone ends at once.
        live.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    /// Ends the live streams, once they have given all there is.
    pub fn end_live(&self) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether a durable queue is nearly full: time to take no more calls.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.lanes.iter().any(Lane::is_pressed)
    }

    /// The trouble each sink is in, by name; empty when all is well.
    #[must_use]
    pub fn troubles(&self) -> Vec<(&'static str, String)> {
        self.lanes.iter().filter_map(|lane| Some((lane.name(), lane.trouble()?))).collect()
    }

    /// Delivers what waits, for at most `wait` a sink, and stops. Gives the number of
    /// durable events that are not safe, by sink.
    pub fn stop(&self, wait: Duration) -> Vec<(&'static str, usize)> {
        self.lanes.iter().for_each(|lane| lane.close(wait));
        self.lanes
            .iter()
            .map(|lane| (lane.name(), lane.join()))
            .filter(|(_, unsafe_events)| *unsafe_events > 0)
            .collect()
    }
}
