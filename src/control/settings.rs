//! What the controller is told once, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use super::flow::Flow;
use super::plan::MediaPass;
use crate::redact::Policy;

/// What the controller is told once.
#[derive(Debug)]
pub struct Settings {
    /// In the order in which they are tried.
    pub flows: Vec<Arc<Flow>>,
    /// How Vonage reaches us: `https://host`, without a slash at the end.
    pub public_url: String,
    /// How our media sockets are reached and entered.
    pub pass: MediaPass,
    /// CloudEvents `source`.
    pub source: Arc<str>,
    /// Whether there is a Voice API to ask: without, no leg is made, hung up or polled.
    pub has_api: bool,
    /// Whether copies of recordings are kept, and then how far Vonage's clock and ours may
    /// differ.
    pub recordings: Option<Duration>,
    /// What is taken out of what webhooks say, where a flow does not say otherwise.
    pub redaction: Policy,
    /// Bounds.
    pub limits: Limits,
}

/// The controller's bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Calls followed at a time, those that are over but remembered included.
    pub calls_max: usize,
    /// Legs at Vonage in one call; more are not listened to.
    pub participants_max: usize,
    /// Legs that may wait to be created.
    pub creations_max: usize,
    /// Legs created in a second: Vonage's own limit, 3.
    pub creations_per_second: u32,
    /// Other requests in a second that the sweep may make, below Vonage's 15.
    pub polls_per_second: u32,
    /// Longest wait until a participant that joined is heard.
    pub listener_timeout: Duration,
    /// Attempts at a socket before that.
    pub listener_attempts: u32,
    /// Before a socket that failed or was lost is asked for again; doubles with each failure.
    pub listener_pause: Duration,
    /// A leg of which nothing was heard for so long is asked after.
    pub sweep_after: Duration,
    /// Longest wait for late news after the last participant left.
    pub linger_max: Duration,
    /// Quiet that ends that wait when nothing is missing.
    pub linger: Duration,
    /// How long a call that is over is remembered, for late webhooks and questions.
    pub remember: Duration,
    /// A call of which nothing was heard for so long, and that nobody can ask after, is over.
    pub silent_max: Duration,
    /// Webhooks of one call that are remembered to know a repetition.
    pub seen_max: usize,
    /// Recordings and pauses kept for the record of one call, each.
    pub items_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 5_000,
            participants_max: 50,
            creations_max: 1_000,
            creations_per_second: crate::vonage::rest_types::CALLS_PER_SECOND,
            polls_per_second: 10,
            listener_timeout: Duration::from_secs(10),
            listener_attempts: 3,
            listener_pause: Duration::from_secs(1),
            sweep_after: Duration::from_secs(30),
            linger_max: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            remember: Duration::from_secs(600),
            silent_max: Duration::from_secs(7_500),
            seen_max: 512,
            items_max: 64,
        }
    }
}
