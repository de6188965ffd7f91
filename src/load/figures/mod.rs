//! What a run came to: the report, as JSON and as a page.

mod book;
mod chart;
mod heard;
mod html;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

pub use self::book::{Book, Costs, Fate, LegPlayed, Terms};
pub use self::heard::{Heard, HeardFinal, Timing, heard};
pub use self::html::page;

/// Longest time a histogram tells apart, in µs: ten minutes.
const MICROS_MAX: u64 = 600_000_000;

/// A histogram of microseconds, to three digits.
#[must_use]
pub fn micros() -> Histogram<u64> {
    // 64 KiB at most; it grows with the largest value.
    let mut histogram = Histogram::new(3).expect("three digits are between none and five");
    histogram.auto(true);
    histogram
}

/// Notes a time; what is longer than ten minutes counts as ten minutes.
pub fn note(histogram: &mut Histogram<u64>, micros: u64) {
    // It grows by itself up to a bound that is far beyond.
    let _ = histogram.record(micros.min(MICROS_MAX));
}

/// Where times lie, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Half are below.
    pub p50: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// Of a histogram of microseconds; nothing of an empty one.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |share: f64| ms(histogram.value_at_quantile(share));
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(histogram.max()),
        }
    }
}

/// The whole report of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of Sidetone that drove.
    pub version: &'static str,
    /// What was asked for.
    pub asked: Asked,
    /// Where it ran.
    pub machine: Machine,
    /// Whether the run went to its end and every leg that was let in gave its account.
    pub complete: bool,
    /// What went wrong; empty when all is well.
    pub problems: Vec<String>,
    /// What to know when the figures are read.
    pub remarks: Vec<String>,
    /// What became of the legs.
    pub legs: Legs,
    /// What became of the frames on their way.
    pub frames: Frames,
    /// What became of the samples in the gateway.
    pub ledger: Ledger,
    /// From the last sample of speech to the event, in ms.
    pub latency: Latency,
    /// What was left out under load.
    pub shed: Shed,
    /// The gateway's own cost, where its process is on this machine.
    pub server: Option<Server>,
    /// What it cost to drive.
    pub driver: Driver,
    /// The figures of each stretch of the run.
    pub phases: Vec<PhaseFigures>,
    /// The figures of each second of the run.
    pub seconds: Vec<Second>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Asked {
    /// The gateway's media socket, without its query.
    pub url: String,
    /// Whether the gateway was started for the run.
    pub own_gateway: bool,
    /// The pattern's name.
    pub pattern: &'static str,
    /// Legs at a time.
    pub legs: usize,
    /// Length of the run.
    pub duration_s: f64,
    /// Rate of the audio.
    pub rate_hz: u32,
    /// Share of time with speech.
    pub talk: f32,
    /// What pauses, utterances and calls are drawn from.
    pub seed: u64,
    /// Transcriber of the gateway that was started.
    pub transcriber: Option<String>,
    /// Detector of the gateway that was started.
    pub detector: Option<String>,
    /// Where events were read: `live` or `kafka`.
    pub events: &'static str,
    /// A final later than this makes its leg one that was not sustained, in ms.
    pub within_ms: u64,
}

/// Where the run took place.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Machine {
    /// Cores that the driver may use.
    pub driver_cores: String,
    /// Cores that the gateway may use; empty where it was not started for the run.
    pub server_cores: String,
    /// Load averages before the run.
    pub load_before: String,
    /// Load averages after it.
    pub load_after: String,
}

/// Legs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Legs {
    /// Dialled.
    pub dialled: u64,
    /// Let in.
    pub connected: u64,
    /// Most at a time.
    pub peak: u64,
    /// Not let in, by what the gateway said.
    pub refused: BTreeMap<String, u64>,
    /// Not reached, by what happened.
    pub failed: BTreeMap<String, u64>,
    /// Let in, and ended before their time, by what happened.
    pub cut: BTreeMap<String, u64>,
    /// Played to their end.
    pub played: u64,
    /// Played from their beginning to their end, with every sample received, nothing lost, and
    /// every final in time.
    pub sustained: u64,
}

/// Frames of 20 ms.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Frames {
    /// That were due on legs that were there.
    pub due: u64,
    /// Written to a socket.
    pub sent: u64,
    /// Due and never written, because the leg was cut or did not take them.
    pub unsent: u64,
    /// Written more than a frame's time late because the driver came late.
    pub late_driver: u64,
    /// Written more than a frame's time late because the gateway had not taken those before.
    pub late_gateway: u64,
    /// How late the driver came to each frame, in ms.
    pub driver_lag: Spread,
    /// How late frames were that the gateway kept waiting, in ms.
    pub held_back: Spread,
}

/// Samples, over all legs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ledger {
    /// Legs that gave their account.
    pub legs: u64,
    /// Legs let in that gave none.
    pub missing: u64,
    /// Sent on legs that gave their account.
    pub sent: u64,
    /// Received.
    pub received: u64,
    /// Inside segments that have a transcript.
    pub transcribed: u64,
    /// Judged not to be speech.
    pub silent: u64,
    /// Received while paused.
    pub paused: u64,
    /// Inside segments without a transcript, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Whether on every leg received = transcribed + silent + paused + dropped.
    pub balanced: bool,
    /// Whether every leg let in gave its account, and on each of them as much was
    /// received as was sent.
    pub accounted: bool,
}

/// From the last sample of speech to the event, in ms.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Latency {
    /// From when that sample was due on the wire until the event was here.
    pub total: Spread,
    /// Of which the gateway waited for more speech; as it says.
    pub endpoint: Spread,
    /// Of which it waited for a thread; as it says.
    pub queue: Spread,
    /// Of which it decoded; as it says.
    pub decode: Spread,
    /// From the event's authoring until it was here; by the clocks of both.
    pub delivery: Spread,
}

/// What was left out under load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Shed {
    /// Partial results asked for and not delivered.
    pub partials: u64,
    /// Finals without sentiment.
    pub finals_without_sentiment: u64,
    /// Finals with sentiment.
    pub finals_with_sentiment: u64,
    /// Segments without a transcript, by reason.
    pub segments: BTreeMap<String, u64>,
}

/// The gateway's cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Server {
    /// Processor time a frame in user mode, in µs, inference included.
    pub user_us_a_frame: f64,
    /// Processor time a frame in the kernel, in µs.
    pub system_us_a_frame: f64,
    /// Of both, on inference threads, in µs.
    pub inference_us_a_frame: f64,
    /// Percent of one core that a leg takes in user mode.
    pub user_percent_a_leg: f64,
    /// Percent of one core that a leg takes in the kernel.
    pub system_percent_a_leg: f64,
    /// Resident before the first leg, in KiB.
    pub rss_idle_kib: u64,
    /// Most resident, in KiB.
    pub rss_peak_kib: u64,
    /// Growth of the resident set, KiB a leg at most legs.
    pub rss_kib_a_leg: f64,
    /// Growth of the proportional set, KiB a leg; where the kernel tells it.
    pub pss_kib_a_leg: Option<f64>,
    /// Threads, at most.
    pub threads: u64,
}

/// What it cost to drive.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Driver {
    /// Processor time of the whole driver, in µs a frame.
    pub us_a_frame: f64,
    /// Of which the thread that sends.
    pub wheel_us_a_frame: f64,
}

/// One stretch of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PhaseFigures {
    /// What happens in it.
    pub name: &'static str,
    /// From when, in s.
    pub from_s: f64,
    /// Until when, in s.
    pub until_s: f64,
    /// Legs, at most.
    pub legs: u64,
    /// Legs refused.
    pub refused: u64,
    /// Frames sent.
    pub frames: u64,
    /// The gateway's processor time in user mode, µs a frame.
    pub user_us_a_frame: Option<f64>,
    /// The gateway's processor time in the kernel, µs a frame.
    pub system_us_a_frame: Option<f64>,
    /// Of both, on inference threads.
    pub inference_us_a_frame: Option<f64>,
    /// Percent of one core that the gateway took.
    pub cpu_percent: Option<f64>,
    /// Finals whose speech ended in it.
    pub finals: u64,
    /// Of which without sentiment.
    pub without_sentiment: u64,
    /// Delay of those finals, in ms.
    pub latency: Spread,
    /// Partial results decoded.
    pub partials: Option<u64>,
    /// Most audio that waited for a transcriber, in s.
    pub behind_s: Option<f64>,
}

/// One second of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Second {
    /// Legs at its end.
    pub legs: u64,
    /// Legs refused.
    pub refused: u64,
    /// Frames sent.
    pub frames: u64,
    /// Of which late by the driver.
    pub late_driver: u64,
    /// Of which late by the gateway.
    pub late_gateway: u64,
    /// How late the driver came, 99 of 100 frames, in ms.
    pub lag_p99: f64,
    /// The gateway's processor time in user mode, percent of one core.
    pub user_percent: Option<f64>,
    /// The gateway's processor time in the kernel, percent of one core.
    pub system_percent: Option<f64>,
    /// The gateway's resident set, in MiB.
    pub rss_mib: Option<f64>,
    /// The gateway's threads.
    pub threads: Option<u64>,
    /// Finals whose speech ended in it.
    pub finals: u64,
    /// Their delay: half, in ms.
    pub latency_p50: Option<f64>,
    /// Their delay: 95 of 100, in ms.
    pub latency_p95: Option<f64>,
    /// Partial results decoded.
    pub partials: Option<u64>,
    /// Audio that waits for a transcriber, in s.
    pub behind_s: Option<f64>,
}

/// What the gateway's process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor time in user mode, in µs.
    pub user_us: f64,
    /// Processor time in the kernel, in µs.
    pub system_us: f64,
    /// Of both, on inference threads, in µs.
    pub inference_us: f64,
    /// Resident set, in KiB.
    pub rss_kib: u64,
    /// Threads.
    pub threads: u64,
}

/// What the gateway says of itself at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Told {
    /// Partial results decoded so far.
    pub partials: f64,
    /// Audio that waits for a transcriber, in s.
    pub behind_s: f64,
}

impl Told {
    /// Reads Prometheus text; what is not there is 0.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        Self {
            partials: value("sidetone_segments_total{kind=\"partial\"}"),
            behind_s: value("sidetone_audio_behind_seconds"),
        }
    }
}

/// A look at the gateway, taken once a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Of its process.
    pub usage: Option<Usage>,
    /// Of its metrics.
    pub told: Option<Told>,
}

/// What the sending thread did in one second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sent {
    /// Legs at its end.
    pub legs: u64,
    /// Frames sent.
    pub frames: u64,
    /// Of which late by the driver.
    pub late_driver: u64,
    /// Of which late by the gateway.
    pub late_gateway: u64,
    /// How late the driver came, 99 of 100 frames, in ms.
    pub lag_p99: f64,
}

/// A report as a run of a few seconds might give it.
#[cfg(test)]
fn sample_report() -> Report {
    use std::time::Duration;

    use crate::load::plan::{Pattern, Plan};
    use crate::types::Rate;

    let plan = Plan::new(Pattern::Overload, 2, Duration::from_secs(10), 1);
    let terms = Terms { rate: Rate::Hz8000, within: Duration::from_secs(3) };
    let mut book = Book::new(terms, plan.dials.len());
    book.looked(Sample::default());
    for leg in 0..3 {
        book.connected(leg);
        let first_due = Duration::from_millis(500);
        book.played(LegPlayed { leg, first_due, due: 400, sent: 400, fate: Fate::Played });
        let example = include_str!("../../../deploy/events/examples.jsonl");
        let ended = example.lines().find(|line| line.contains("\"type\":\"leg.ended.v1\"")).expect("an example");
        let ended: serde_json::Value = serde_json::from_str(ended).expect("an example");
        let mut body: crate::event::body::LegEnded = serde_json::from_value(ended["data"].clone()).expect("an example");
        body.ledger = crate::event::body::LedgerAccount {
            rate_hz: 8_000,
            received: 64_000,
            transcribed: 30_000,
            silent: 34_000,
            paused: 0,
            dropped: BTreeMap::new(),
        };
        (body.complete, body.end_ms, body.characteristics.gap_ms) = (true, 8_010, 0);
        book.heard(Heard::Ended { leg, body: Box::new(body) });
        let timing = Timing { endpoint_ms: 500.0, queue_ms: 5.0, decode_ms: 40.0, total_ms: 545.0 };
        let arrived = Duration::from_millis(2_600 + u64::from(leg) * 4_000);
        let text = HeardFinal { leg, arrived, delivery_us: 1_500, end_ms: 2_030, sentiment: true, timing };
        book.heard(Heard::Final(text));
    }
    book.refused(Duration::from_secs(4), "HTTP 503 <legs_max>".to_owned());
    for second in 1..=10_u32 {
        let usage = Usage {
            user_us: f64::from(second) * 5_000.0,
            system_us: f64::from(second) * 2_500.0,
            inference_us: f64::from(second) * 1_000.0,
            rss_kib: 50_000 + u64::from(second) * 10,
            threads: 5,
        };
        let told = Told { partials: f64::from(second) * 2.0, behind_s: 0.5 };
        book.looked(Sample { usage: Some(usage), told: Some(told) });
    }
    let sent = [Sent { legs: 3, frames: 120, late_driver: 0, late_gateway: 1_234, lag_p99: 1.1 }; 10];
    let asked = Asked {
        url: "ws://127.0.0.1:1/media".to_owned(),
        own_gateway: true,
        pattern: Pattern::Overload.name(),
        legs: 2,
        duration_s: 10.0,
        rate_hz: 8_000,
        talk: 0.45,
        seed: 1,
        transcriber: Some("scripted".to_owned()),
        detector: Some("neural".to_owned()),
        events: "live",
        within_ms: 3_000,
    };
    let (lag, held) = (micros(), micros());
    book.report(&plan, asked, Machine::default(), &sent, (&lag, &held), &Costs::default(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut histogram = micros();
        // In an order that is none.
        (0..10_000_u64).map(|n| n * 7_919 % 10_000).for_each(|n| note(&mut histogram, (n + 1) * 1_000));
        let spread = Spread::of(&histogram);
        let near = |found: f64, exact: f64| (found - exact).abs() <= exact / 1_000.0;
        assert_eq!(spread.count, 10_000);
        for (found, exact) in [
            (spread.p50, 5_000.0),
            (spread.p95, 9_500.0),
            (spread.p99, 9_900.0),
            (spread.p999, 9_990.0),
            (spread.max, 10_000.0),
        ] {
            assert!(near(found, exact), "{found} is not {exact}: {spread:?}");
        }
    }

    #[test]
    fn nothing_has_no_percentiles_and_no_time_is_too_long() {
        assert_eq!(Spread::of(&micros()), Spread::default());
        let mut histogram = micros();
        note(&mut histogram, u64::MAX);
        assert!((Spread::of(&histogram).max - 600_000.0).abs() < 600.0, "{:?}", Spread::of(&histogram));
    }

    #[test]
    fn metrics_are_found_among_others() {
        let text = "# TYPE sidetone_segments_total counter\nsidetone_segments_total{kind=\"final\"} 7\n\
                    sidetone_segments_total{kind=\"partial\"} 12\nsidetone_audio_behind_seconds 3.5\n";
        assert_eq!(Told::read(text), Told { partials: 12.0, behind_s: 3.5 });
        assert_eq!(Told::read(""), Told::default());
    }
}
