//! Sinks: where events go. One file here for each kind, one line in [`KINDS`].
//!
//! A sink runs on a thread of its own (see `publish`), may block there, and is
//! given one event at a time. What it cannot take now is offered again, in order.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;

pub mod file;
pub mod kafka;

/// Every kind of sink: name and one line for people.
pub static KINDS: &[(&str, &str)] = &[
    (file::NAME, "a local file of JSON lines, one CloudEvents object (structured mode) a line"),
    (kafka::NAME, "Apache Kafka: idempotent, acks=all, key = conversation, CloudEvents in binary mode"),
];

/// Why a sink did not take an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No room or no connection: offer it again later.
    Busy,
    /// Never: it was set aside with this reason.
    Rejected(String),
}

/// What became of a durable event that a sink took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is where it should be, or was set aside for good with the reason.
    Settled,
    /// It is not there, for a reason that may pass: send it again.
    Returned,
}

/// Events, the very `Arc`s that a sink took, and what became of each.
pub type Outcomes = Vec<(Arc<Event>, Outcome)>;

/// A destination of events.
pub trait Sink: Send {
    /// The name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Makes it ready: opens the file, finds the topic. Called again, at intervals,
    /// until it succeeds; events wait meanwhile.
    ///
    /// # Errors
    /// What is wrong and the remedy, in one line.
    fn open(&mut self) -> Result<(), String>;

    /// Takes one event.
    ///
    /// # Errors
    /// [`Refusal`].
    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal>;

    /// Lets the sink do its own work, such as handling acknowledgements. Where some are due it
    /// waits for them, for as long as `wait`, and gives `true`.
    fn poll(&mut self, wait: Duration) -> bool {
        let _ = wait;
        false
    }

    /// What keeps it from delivering at the moment, and the remedy; `None` when all is well.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Asked once, before all else, where a spool could keep what is not delivered. A sink
    /// that says yes tells what became of each durable event by [`Sink::outcomes`], and
    /// sets aside only what can never be delivered.
    fn acknowledge(&mut self) -> bool {
        false
    }

    /// Adds what became of durable events since the last call.
    fn outcomes(&mut self, outcomes: &mut Outcomes) {
        let _ = outcomes;
    }

    /// Keeps an event that it will not get to deliver, if it has a place for such.
    fn set_aside(&mut self, event: &Event, reason: &str) {
        let _ = (event, reason);
    }

    /// Brings everything taken to where it is safe.
    ///
    /// # Errors
    /// How many events are not safe when `wait` has passed.
    fn flush(&mut self, wait: Duration) -> Result<(), usize>;
}
