//! What was sent and what came of it, for a report.

use std::time::Duration;

use serde::Serialize;

use super::attempt::Outcome;

/// Counts of webhooks, attempts and replies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Answer webhooks.
    pub answers: u64,
    /// Events.
    pub events: u64,
    /// Requests sent, repetitions and fallbacks included.
    pub attempts: u64,
    /// Second attempts.
    pub retried: u64,
    /// Times the fallback URL was turned to.
    pub fallbacks: u64,
    /// Webhooks that nobody took in the end.
    pub failed: u64,
    /// Replies from 200 to 205.
    pub taken: u64,
    /// Replies from 400 to 499.
    pub refused_4xx: u64,
    /// Replies from 500 to 599.
    pub refused_5xx: u64,
    /// Replies with another status.
    pub refused_other: u64,
    /// Attempts without a reply in time.
    pub timed_out: u64,
    /// Attempts whose connection was refused, closed or reset, or that could not be made.
    pub broken: u64,
    /// Replies that had to be an NCCO and were none.
    pub bad_ncco: u64,
    /// By fault: sent twice.
    pub duplicated: u64,
    /// By fault: sent late.
    pub delayed: u64,
    /// By fault: overtaken.
    pub reordered: u64,
    /// By fault: never sent.
    pub lost: u64,
    /// Longest wait for a reply that came, in ms of real time.
    pub slowest_reply_ms: u64,
}

impl Tally {
    /// Counts an attempt and how long it took.
    pub(super) fn attempt(&mut self, outcome: &Outcome, took: Duration) {
        self.attempts += 1;
        match outcome {
            Outcome::Taken(_) => self.taken += 1,
            Outcome::Refused(400..=499) => self.refused_4xx += 1,
            Outcome::Refused(500..=599) => self.refused_5xx += 1,
            Outcome::Refused(_) => self.refused_other += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Broken | Outcome::Unsendable => self.broken += 1,
        }
        if matches!(outcome, Outcome::Taken(_) | Outcome::Refused(_)) {
            self.slowest_reply_ms = self.slowest_reply_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
    }
}
