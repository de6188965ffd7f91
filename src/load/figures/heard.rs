//! The events that a run is measured by, as they reach a consumer.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::event::body::LegEnded;

/// An event of one of our legs.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Text.
    Final(HeardFinal),
    /// A segment without text, and why.
    Dropped {
        /// Number of the leg in the plan.
        leg: u32,
        /// As the event says.
        reason: String,
    },
    /// A leg's account.
    Ended {
        /// Number of the leg in the plan.
        leg: u32,
        /// The account.
        body: Box<LegEnded>,
    },
    /// The stream left so many events out.
    Missed(u64),
}

/// A final, without its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeardFinal {
    /// Number of the leg in the plan.
    pub leg: u32,
    /// When it reached us, since the run's start.
    pub arrived: Duration,
    /// From its authoring to its arrival, by both clocks, in µs; negative where they disagree.
    pub delivery_us: i64,
    /// End of the segment on the call's clock, in ms.
    pub end_ms: u64,
    /// Whether it has a sentiment score.
    pub sentiment: bool,
    /// Where the time went, as the gateway says.
    pub timing: Timing,
}

/// The gateway's own account of a final's delay, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct Timing {
    /// See `transcript.final.v1`.
    pub endpoint_ms: f32,
    /// See there.
    pub queue_ms: f32,
    /// See there.
    pub decode_ms: f32,
    /// See there.
    pub total_ms: f32,
}

/// Reads an event: its type, its time in µs since 1970, its data; `arrived` and `wall_us`
/// say when it was here. `None` for what is not ours, or is of no interest.
#[must_use]
pub fn heard(run: &str, kind: &str, time_us: i64, data: Value, arrived: Duration, wall_us: i64) -> Option<Heard> {
    let number = |conversation: &str| conversation.strip_prefix(run)?.strip_prefix('-')?.parse().ok();
    let leg: u32 = number(data.get("conversation")?.as_str()?)?;
    match kind {
        "transcript.final.v1" => Some(Heard::Final(HeardFinal {
            leg,
            arrived,
            delivery_us: wall_us - time_us,
            end_ms: data.get("end_ms")?.as_u64()?,
            sentiment: data.get("sentiment").is_some_and(|score| !score.is_null()),
            timing: Timing::deserialize(data.get("timing")?).ok()?,
        })),
        "transcript.dropped.v1" => Some(Heard::Dropped { leg, reason: data.get("reason")?.as_str()?.to_owned() }),
        "leg.ended.v1" => Some(Heard::Ended { leg, body: Box::new(serde_json::from_value(data).ok()?) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's own examples, as if they were of leg 7 of our run.
    fn examples(run: &str) -> Vec<Heard> {
        let lines = include_str!("../../../deploy/events/examples.jsonl").lines().filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter_map(|mut event| {
                event["data"]["conversation"] = format!("{run}-7").into();
                let kind = event["type"].as_str().unwrap().to_owned();
                heard("load-1", &kind, 1_000, event["data"].take(), Duration::from_secs(1), 4_000)
            })
            .collect()
    }

    #[test]
    fn the_contracts_examples_are_understood() {
        let found = examples("load-1");
        let count = |what: fn(&Heard) -> bool| found.iter().filter(|heard| what(heard)).count();
        assert!(count(|heard| matches!(heard, Heard::Final(text) if text.leg == 7 && text.delivery_us == 3_000)) > 0);
        assert!(count(|heard| matches!(heard, Heard::Dropped { leg: 7, .. })) > 0);
        assert!(count(|heard| matches!(heard, Heard::Ended { leg: 7, .. })) > 0);
        assert!(examples("load-2").is_empty(), "another run's legs are not ours");
    }
}
