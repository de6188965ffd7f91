//! What became of a run: calls, legs, webhooks, frames. Holds no number and no text.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::Exchange;
use super::leg::Leg;
use crate::simulator::webhook::Tally;
use crate::vonage::webhook::Status;

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every call came to its end in time.
    pub finished: bool,
    /// Length of the run, in ms of platform time.
    pub duration_ms: u64,
    /// The script's calls.
    pub calls: Vec<CallReport>,
    /// Legs that were never together with one of them.
    pub other_legs: Vec<LegReport>,
    /// Legs that were still there when all calls were over, and had to be ended.
    pub left_over: usize,
    /// What was sent to the application, and what it said.
    pub webhooks: Tally,
    /// Webhooks that were not sent because too many waited.
    pub webhooks_dropped: u64,
    /// Most that a 20 ms tick was late, in ms of real time. Much of it, and the machine
    /// was too slow for the speed.
    pub slowest_tick_ms: u64,
}

/// One call of the script.
#[derive(Debug, Clone, Serialize)]
pub struct CallReport {
    /// Its number, from 1.
    pub number: usize,
    /// Whether the caller was answered and no NCCO was refused.
    pub ok: bool,
    /// How long the caller was connected, in ms of platform time.
    pub duration_ms: u64,
    /// Its legs, the caller's first.
    pub legs: Vec<LegReport>,
}

/// One leg.
#[derive(Debug, Clone, Serialize)]
pub struct LegReport {
    /// Its id.
    pub uuid: String,
    /// `caller`, or the kind of endpoint.
    pub role: String,
    /// Its statuses, in order.
    pub statuses: Vec<String>,
    /// Frames that it was sent: to the application, or into a person's ear.
    pub frames_sent: u64,
    /// Frames that it said: from the application's playback, or a person's mouth.
    pub frames_said: u64,
    /// Messages that were lost because the application did not read fast enough.
    pub congested: u64,
    /// Messages that were lost because playback was full.
    pub playback_overflow: u64,
    /// Messages from the application that were not one frame long.
    pub wrong_size: u64,
    /// Keys pressed.
    pub keys: u64,
    /// What went wrong.
    pub problems: Vec<String>,
}

impl LegReport {
    fn of(leg: &Leg) -> Self {
        Self {
            uuid: leg.id.to_string(),
            role: if leg.caller { "caller" } else { leg.kind.as_str() }.to_owned(),
            statuses: leg.statuses.iter().map(|status| status.as_str().to_owned()).collect(),
            frames_sent: leg.counts.sent,
            frames_said: leg.counts.said,
            congested: leg.counts.congested,
            playback_overflow: leg.counts.overflow,
            wrong_size: leg.counts.wrong_size,
            keys: leg.counts.keys,
            problems: leg.problems.clone(),
        }
    }
}

impl Report {
    /// Whether the run finished and no call failed.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.finished && self.calls.iter().all(|call| call.ok)
    }
}

/// Beginnings of problems that make a call a failed one.
const FATAL: [&str; 2] = ["NCCO: ", "the application did not say"];

impl Exchange {
    /// The report of a run that began with leg number `from`.
    pub(super) fn report(&self, began: Duration, finished: bool, left_over: usize) -> Report {
        let world = self.world();
        let legs = || world.order.iter().filter_map(|id| world.legs.get(id));
        let call = |number: usize| {
            let mut of_call: Vec<_> = legs().filter(|leg| leg.call == Some(number)).collect();
            of_call.sort_by_key(|leg| !leg.caller);
            let caller = of_call.first().filter(|leg| leg.caller);
            let fatal = |leg: &&Leg| leg.problems.iter().any(|text| FATAL.iter().any(|fatal| text.starts_with(fatal)));
            let span = caller.and_then(|leg| Some(leg.ended?.saturating_sub(leg.answered?))).unwrap_or_default();
            CallReport {
                number: number + 1,
                ok: caller.is_some_and(|leg| leg.statuses.contains(&Status::Answered)) && !of_call.iter().any(fatal),
                duration_ms: ms(span),
                legs: of_call.into_iter().map(LegReport::of).collect(),
            }
        };
        Report {
            finished,
            duration_ms: ms(self.clock.now().saturating_sub(began)),
            calls: (0..world.callers.len()).map(call).collect(),
            other_legs: legs().filter(|leg| leg.call.is_none()).map(LegReport::of).collect(),
            left_over,
            webhooks: self.sender.tally(),
            webhooks_dropped: self.posts_lost.load(Ordering::Relaxed),
            slowest_tick_ms: self.lag_us.load(Ordering::Relaxed) / 1000,
        }
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            let verdict = if call.ok { "ok" } else { "FAILED" };
            writeln!(f, "call {}: {verdict}, {:.1} s", call.number, call.duration_ms as f64 / 1000.0)?;
            call.legs.iter().try_for_each(|leg| write!(f, "{leg}"))?;
        }
        if !self.other_legs.is_empty() {
            writeln!(f, "legs of no call:")?;
            self.other_legs.iter().try_for_each(|leg| write!(f, "{leg}"))?;
        }
        let w = &self.webhooks;
        writeln!(
            f,
            "webhooks: {} answers, {} events; {} attempts, {} tried again, {} failed, {} dropped; slowest reply {} ms",
            w.answers, w.events, w.attempts, w.retried, w.failed, self.webhooks_dropped, w.slowest_reply_ms
        )?;
        if self.left_over > 0 {
            writeln!(f, "{} legs were still there when all calls were over", self.left_over)?;
        }
        if !self.finished {
            writeln!(f, "the run was cut off: it took too long")?;
        }
        write!(
            f,
            "{:.1} s of platform time; ticks were at most {} ms late",
            self.duration_ms as f64 / 1000.0,
            self.slowest_tick_ms
        )
    }
}

impl fmt::Display for LegReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, uuid, frames_sent, frames_said, .. } = self;
        write!(f, "  {role:<9} {uuid}  {}  sent {frames_sent}, said {frames_said}", self.statuses.join(" "))?;
        for (count, what) in [
            (self.keys, "keys"),
            (self.congested, "congested"),
            (self.playback_overflow, "overflowed"),
            (self.wrong_size, "of a wrong size"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        writeln!(f)?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "            {problem}"))
    }
}
