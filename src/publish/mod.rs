//! From a leg to every sink, without the leg waiting.
//!
//! ```text
//! leg task ──publish──► Outbox ──┬──► Lane ──► thread ──► sink (Kafka)
//!                                │     └────► spool (disk)
//!                                ├──► Lane ──► thread ──► sink (file)
//!                                └──► live readers (SSE), newest wins
//! ```
//!
//! Each lane has two bounded queues. In the ephemeral one the newest wins. The durable
//! one is never dropped from silently: an event that finds no room is counted, logged,
//! and told to consumers (`gateway.loss.v1`) as soon as events go through again; before
//! that, at three quarters, new legs are refused.
//!
//! # What the spool promises
//!
//! A sink that acknowledges events can have a [`spool`]. An event is *accepted* when it
//! has been written there, which is before the sink gets it ([`Mode::Always`]).
//!
//! - No accepted event is lost by a sink that is away, however it is away, nor by our
//!   own end, SIGKILL included. It is removed once the sink has acknowledged it, or has
//!   set it aside for good.
//! - Between [`Outbox::publish`] and acceptance an event is in a queue in memory, empty
//!   but for the moment it takes to write it. A SIGKILL in that moment loses it and all
//!   that came after it, hence the end of a subject's events, never one in the middle.
//! - Loss of power can also lose what was written since the last fsync and not
//!   acknowledged: nothing with `always`, the last interval with `interval`, what the
//!   system had not written by itself with `never`.
//! - After a restart what was not known to be acknowledged is sent again, in order, with
//!   the same ids and bytes: a consumer that drops repeated ids sees each event once.
//!
//! With [`Mode::Overflow`] the same holds from the moment the sink is in trouble or
//! behind; before it a SIGKILL loses what the sink had not acknowledged.

mod accept;
mod lane;
mod losses;
mod order;
mod queue;
mod send;
pub mod spool;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;

use self::lane::Lane;
pub use self::spool::{Fsync, Mode};
use crate::event::Event;
use crate::sink::Sink;

/// Why an outbox cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A spool cannot be used.
    #[error(transparent)]
    Spool(spool::SpoolError),
}

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
    /// Starts a lane for each sink; those that acknowledge events get a spool, if there is
    /// to be one, and begin with what waits in it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        sinks: Vec<Box<dyn Sink>>,
        limits: Limits,
        spool: Option<&spool::Settings>,
    ) -> Result<Self, StartError> {
        let lanes = sinks.into_iter().map(|sink| Lane::start(sink, limits, spool)).collect::<Result<_, _>>()?;
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

    /// Whether durable events are running out of room, in memory or on disk: time to take
    /// no more calls.
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
    /// durable events that are not safe, by sink; those in a spool are.
    pub fn stop(&self, wait: Duration) -> Vec<(&'static str, usize)> {
        self.lanes.iter().for_each(|lane| lane.close(wait));
        self.lanes
            .iter()
            .map(|lane| (lane.name(), lane.join()))
            .filter(|(_, unsafe_events)| *unsafe_events > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests;
