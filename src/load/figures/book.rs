//! Keeps what is learnt of a run, and draws the report from it.
//!
//! A final's delay is counted from when its last sample of speech was *due on the wire*, not
//! from when the gateway came to read it: a gateway that falls behind its sockets would
//! else look quick. The two clocks are joined leg by leg: `leg.ended` says where the leg's
//! audio lies on the call's clock, and the sending thread when its first frame was due.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{
    Asked, Driver, Frames, Heard, HeardFinal, Latency, Ledger, Legs, Machine, PhaseFigures, Report, Sample, Second,
    Sent, Server, Shed, Spread, micros, note,
};
use crate::event::body::LegEnded;
use crate::load::plan::Plan;
use crate::types::Rate;
use crate::types::rate::FRAME_MS;

/// Finals remembered; those beyond are counted and have no delay.
const FINALS_MAX: usize = 2_000_000;

/// Frames in a second.
const FRAMES_A_SECOND: f64 = 1000.0 / FRAME_MS as f64;

/// Share of frames that the driver may send late before it says that it is at its limit.
const DRIVER_LATE_SHARE: f64 = 0.001;

/// How a leg that was let in ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// By our own close, when its time had come.
    Played,
    /// Before that, and why.
    Cut(String),
}

/// What the sending thread says of a leg that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegPlayed {
    /// Its number in the plan.
    pub leg: u32,
    /// When its first frame was due, since the run's start.
    pub first_due: Duration,
    /// Frames that were due.
    pub due: u64,
    /// Frames written.
    pub sent: u64,
    /// How it ended.
    pub fate: Fate,
}

/// What a leg is judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Rate of its audio.
    pub rate: Rate,
    /// The latest a final may come.
    pub within: Duration,
}

#[derive(Debug, Clone, Default)]
struct Page {
    connected: bool,
    played: Option<LegPlayed>,
    ended: Option<Box<LegEnded>>,
    slow: bool,
}

/// What the sending thread and the process cost, to be put into the report.
#[derive(Debug, Clone, Default)]
pub struct Costs {
    /// Processor time of the whole driver, in µs.
    pub driver_us: f64,
    /// Of which the sending thread's.
    pub wheel_us: f64,
    /// Proportional set of the gateway before the first leg and when all were there, in KiB.
    pub pss_kib: Option<(u64, u64)>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Book {
    terms: Terms,
    legs: Vec<Page>,
    figures: Legs,
    refused_at: Vec<Duration>,
    finals: Vec<HeardFinal>,
    shed: Shed,
    missed: u64,
    samples: Vec<Sample>,
    accounts: u64,
}

impl Book {
    /// An empty book for `dials` legs.
    #[must_use]
    pub fn new(terms: Terms, dials: usize) -> Self {
        Self {
            terms,
            legs: vec![Page::default(); dials],
            figures: Legs::default(),
            refused_at: Vec::new(),
            finals: Vec::new(),
            shed: Shed::default(),
            missed: 0,
            samples: Vec::new(),
            accounts: 0,
        }
    }

    /// A leg was let in.
    pub fn connected(&mut self, leg: u32) {
        self.figures.dialled += 1;
        self.figures.connected += 1;
        if let Some(page) = self.legs.get_mut(leg as usize) {
            page.connected = true;
        }
    }

    /// A leg was not let in.
    pub fn refused(&mut self, at: Duration, why: String) {
        self.figures.dialled += 1;
        self.refused_at.push(at);
        *self.figures.refused.entry(why).or_default() += 1;
    }

    /// A leg did not get so far as to be refused.
    pub fn failed(&mut self, why: String) {
        self.figures.dialled += 1;
        *self.figures.failed.entry(why).or_default() += 1;
    }

    /// A leg is over.
    pub fn played(&mut self, played: LegPlayed) {
        // Where the run was stopped, its dial may not have been told of.
        if self.legs.get(played.leg as usize).is_some_and(|page| !page.connected) {
            self.connected(played.leg);
        }
        match &played.fate {
            Fate::Played => self.figures.played += 1,
            Fate::Cut(why) => *self.figures.cut.entry(why.clone()).or_default() += 1,
        }
        if let Some(page) = self.legs.get_mut(played.leg as usize) {
            page.played = Some(played);
        }
    }

    /// An event came.
    pub fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Final(text) => {
                let counted = if text.sentiment {
                    &mut self.shed.finals_with_sentiment
                } else {
                    &mut self.shed.finals_without_sentiment
                };
                *counted += 1;
                if self.finals.len() < FINALS_MAX {
                    self.finals.push(text);
                }
            }
            Heard::Dropped { reason, .. } => *self.shed.segments.entry(reason).or_default() += 1,
            Heard::Ended { leg, body } => {
                if let Some(page) = self.legs.get_mut(leg as usize).filter(|page| page.ended.is_none()) {
                    self.shed.partials += body.characteristics.partials_shed;
                    page.ended = Some(body);
                    self.accounts += 1;
                }
            }
            Heard::Missed(events) => self.missed += events,
        }
    }

    /// The gateway was looked at: once at the start, and after each second.
    pub fn looked(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Legs let in that have given no account yet.
    #[must_use]
    pub fn unaccounted(&self) -> u64 {
        self.figures.connected.saturating_sub(self.accounts)
    }

    /// Legs refused so far.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused_at.len() as u64
    }

    /// Finals heard so far, and the delay of the newest as the gateway has it, in ms.
    #[must_use]
    pub fn finals(&self) -> (u64, Option<f32>) {
        (
            self.shed.finals_without_sentiment + self.shed.finals_with_sentiment,
            self.finals.last().map(|text| text.timing.total_ms),
        )
    }

    /// From when the last sample of speech was due until the final was here, and when that
    /// sample was due. By the gateway's own figures where its account of the leg is missing
    /// or the leg's audio has holes.
    fn delay(&self, text: &HeardFinal) -> (Duration, Duration) {
        let ms = |ms: f32| Duration::from_secs_f64(f64::from(ms.max(0.0)) / 1000.0);
        let page = self.legs.get(text.leg as usize);
        let known = page.and_then(|page| Some((page.played.as_ref()?, page.ended.as_ref()?)));
        let due = known.filter(|(_, ended)| ended.characteristics.gap_ms == 0).map(|(played, ended)| {
            let before =
                ended.end_ms.saturating_sub(ended.ledger.received * 1000 / u64::from(ended.ledger.rate_hz.max(1)));
            // A frame's samples are due with its beginning: it is sent as a whole.
            let position = text.end_ms.saturating_sub(before).saturating_sub(FRAME_MS);
            (played.first_due + Duration::from_millis(position)).saturating_sub(ms(text.timing.endpoint_ms))
        });
        let by_the_gateway = || {
            let delivery = Duration::from_micros(u64::try_from(text.delivery_us).unwrap_or(0));
            text.arrived.saturating_sub(ms(text.timing.total_ms) + delivery)
        };
        let due = due.unwrap_or_else(by_the_gateway);
        (text.arrived.saturating_sub(due), due)
    }

    /// The report. `sent`: what the sending thread did in each second; `lag` and `held`: how
    /// late frames were by the driver and by the gateway, in µs; `problems`: what ended the
    /// run early, if anything.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "one call, from where the run ends")]
    pub fn report(
        mut self,
        plan: &Plan,
        asked: Asked,
        machine: Machine,
        sent: &[Sent],
        (lag, held): (&Histogram<u64>, &Histogram<u64>),
        costs: &Costs,
        problems: Vec<String>,
    ) -> Report {
        // No more than were run.
        let seconds = sent.len().max(1);
        let second_of = |at: Duration| (at.as_secs() as usize).min(seconds.saturating_sub(1));
        let mut latency = [micros(), micros(), micros(), micros(), micros()];
        let mut by_second: BTreeMap<usize, Vec<(u64, bool)>> = BTreeMap::new();
        for text in std::mem::take(&mut self.finals) {
            let (delay, due) = self.delay(&text);
            let delay_us = delay.as_micros() as u64;
            let us = |ms: f32| (ms.max(0.0) * 1000.0) as u64;
            let t = &text.timing;
            let parts = [
                delay_us,
                us(t.endpoint_ms),
                us(t.queue_ms),
                us(t.decode_ms),
                u64::try_from(text.delivery_us).unwrap_or(0),
            ];
            latency.iter_mut().zip(parts).for_each(|(histogram, part)| note(histogram, part));
            by_second.entry(second_of(due)).or_default().push((delay_us, text.sentiment));
            if delay > self.terms.within
                && let Some(page) = self.legs.get_mut(text.leg as usize)
            {
                page.slow = true;
            }
        }
        let rows = self.rows(seconds, sent, &by_second, &second_of);
        let phases = self.phases(plan, &rows, &by_second);
        let frames = self.frames(sent, lag, held);
        let ledger = self.ledger();
        self.figures.peak = rows.iter().map(|row| row.legs).max().unwrap_or_default();
        self.figures.sustained = self.legs.iter().filter(|page| self.is_sustained(page, plan)).count() as u64;
        let of_driver = |total: f64| if frames.sent > 0 { total / frames.sent as f64 } else { 0.0 };
        let driver = Driver { us_a_frame: of_driver(costs.driver_us), wheel_us_a_frame: of_driver(costs.wheel_us) };
        let server = self.server(phases.get(plan.main), costs);
        let [total, endpoint, queue, decode, delivery] = latency.map(|histogram| Spread::of(&histogram));
        let problems = self.problems(plan, &frames, &ledger, problems);
        let remarks = self.remarks(&asked, &frames, &ledger);
        Report {
            version: env!("CARGO_PKG_VERSION"),
            complete: problems.is_empty(),
            asked,
            machine,
            problems,
            remarks,
            legs: self.figures,
            frames,
            ledger,
            latency: Latency { total, endpoint, queue, decode, delivery },
            shed: self.shed,
            server,
            driver,
            phases,
            seconds: rows,
        }
    }

    fn is_sustained(&self, page: &Page, plan: &Plan) -> bool {
        let (Some(played), Some(ended)) = (&page.played, &page.ended) else { return false };
        // One that was let in so late that it played a part of its time only was not there.
        let planned = plan.dials.get(played.leg as usize).map_or(Duration::ZERO, |dial| dial.until - dial.at);
        let there = Duration::from_millis(played.due * FRAME_MS) + self.terms.within >= planned;
        let whole = ended.ledger.received == played.sent * self.terms.rate.frame_samples() as u64 && ended.complete;
        played.fate == Fate::Played && played.sent == played.due && there && whole && !page.slow
    }

    /// A row for each second, from what the thread sent and the looks before and after.
    fn rows(
        &self,
        seconds: usize,
        sent: &[Sent],
        finals: &BTreeMap<usize, Vec<(u64, bool)>>,
        second_of: &impl Fn(Duration) -> usize,
    ) -> Vec<Second> {
        let mut rows = vec![Second::default(); seconds];
        for (at, row) in rows.iter_mut().enumerate() {
            if let Some(sent) = sent.get(at) {
                let Sent { legs, frames, late_driver, late_gateway, lag_p99 } = *sent;
                *row = Second { legs, frames, late_driver, late_gateway, lag_p99, ..Second::default() };
            }
            if let (Some(before), Some(after)) = (self.samples.get(at), self.samples.get(at + 1)) {
                if let (Some(before), Some(after)) = (before.usage, after.usage) {
                    row.user_percent = Some(((after.user_us - before.user_us) / 1e4).max(0.0));
                    row.system_percent = Some(((after.system_us - before.system_us) / 1e4).max(0.0));
                    row.rss_mib = Some(after.rss_kib as f64 / 1024.0);
                    row.threads = Some(after.threads);
                }
                row.behind_s = after.told.map(|told| told.behind_s);
                let partials =
                    |(before, after): (super::Told, super::Told)| (after.partials - before.partials).max(0.0) as u64;
                row.partials = before.told.zip(after.told).map(partials);
            }
            if let Some(finals) = finals.get(&at) {
                let spread = spread(finals);
                row.finals = spread.count;
                (row.latency_p50, row.latency_p95) = (Some(spread.p50), Some(spread.p95));
            }
        }
        self.refused_at.iter().for_each(|at| rows[second_of(*at)].refused += 1);
        rows
    }

    fn phases(&self, plan: &Plan, rows: &[Second], finals: &BTreeMap<usize, Vec<(u64, bool)>>) -> Vec<PhaseFigures> {
        let figures = |phase: &crate::load::plan::Phase| {
            // Whole seconds only: a row belongs to the phase that it began in.
            let (from, until) = (phase.from.as_secs_f64().ceil() as usize, phase.until.as_secs_f64().ceil() as usize);
            let (from, until) = (from.min(rows.len()), until.min(rows.len()));
            let own = &rows[from..until];
            let frames: u64 = own.iter().map(|row| row.frames).sum();
            let used = self.samples.get(from).zip(self.samples.get(until.min(self.samples.len().saturating_sub(1))));
            let used = used.and_then(|(before, after)| before.usage.zip(after.usage));
            // Of the seconds that were looked at.
            let looked = until.min(self.samples.len().saturating_sub(1)).saturating_sub(from);
            let looked_frames: u64 = own.iter().take(looked).map(|row| row.frames).sum();
            let a_frame = |total: f64| (looked_frames > 0).then(|| total / looked_frames as f64);
            let own_finals: Vec<_> =
                finals.range(from..until.max(from)).flat_map(|(_, finals)| finals.iter().copied()).collect();
            PhaseFigures {
                name: phase.name,
                from_s: phase.from.as_secs_f64(),
                until_s: phase.until.as_secs_f64(),
                legs: own.iter().map(|row| row.legs).max().unwrap_or_default(),
                refused: own.iter().map(|row| row.refused).sum(),
                frames,
                user_us_a_frame: used.and_then(|(before, after)| a_frame(after.user_us - before.user_us)),
                system_us_a_frame: used.and_then(|(before, after)| a_frame(after.system_us - before.system_us)),
                inference_us_a_frame: used
                    .and_then(|(before, after)| a_frame(after.inference_us - before.inference_us)),
                cpu_percent: used.filter(|_| looked > 0).map(|(before, after)| {
                    (after.user_us + after.system_us - before.user_us - before.system_us) / looked as f64 / 1e4
                }),
                finals: own_finals.len() as u64,
                without_sentiment: own_finals.iter().filter(|(_, sentiment)| !sentiment).count() as u64,
                latency: spread(&own_finals),
                partials: own.iter().filter_map(|row| row.partials).reduce(|sum, more| sum + more),
                behind_s: own.iter().filter_map(|row| row.behind_s).reduce(f64::max),
            }
        };
        plan.phases.iter().map(figures).collect()
    }

    fn frames(&self, sent: &[Sent], lag: &Histogram<u64>, held: &Histogram<u64>) -> Frames {
        let played = || self.legs.iter().filter_map(|page| page.played.as_ref());
        let (due, written) = (played().map(|leg| leg.due).sum(), played().map(|leg| leg.sent).sum::<u64>());
        Frames {
            due,
            sent: written,
            unsent: due.saturating_sub(written),
            late_driver: sent.iter().map(|second| second.late_driver).sum(),
            late_gateway: sent.iter().map(|second| second.late_gateway).sum(),
            driver_lag: Spread::of(lag),
            held_back: Spread::of(held),
        }
    }

    fn ledger(&self) -> Ledger {
        let mut sum = Ledger { missing: self.unaccounted(), balanced: true, ..Ledger::default() };
        let mut as_sent = true;
        for page in &self.legs {
            let (Some(ended), Some(played)) = (&page.ended, &page.played) else { continue };
            let own = &ended.ledger;
            let dropped: u64 = own.dropped.values().sum();
            let sent = played.sent * self.terms.rate.frame_samples() as u64;
            sum.legs += 1;
            sum.sent += sent;
            sum.received += own.received;
            sum.transcribed += own.transcribed;
            sum.silent += own.silent;
            sum.paused += own.paused;
            own.dropped.iter().for_each(|(reason, samples)| *sum.dropped.entry(reason.clone()).or_default() += samples);
            sum.balanced &= own.received == own.transcribed + own.silent + own.paused + dropped;
            as_sent &= own.received == sent;
        }
        sum.accounted = sum.legs > 0 && sum.missing == 0 && as_sent && sum.balanced;
        sum
    }

    fn server(&self, main: Option<&PhaseFigures>, costs: &Costs) -> Option<Server> {
        let usages: Vec<_> = self.samples.iter().filter_map(|sample| sample.usage).collect();
        let idle = usages.first()?;
        let peak = usages.iter().map(|usage| usage.rss_kib).max().unwrap_or_default();
        let legs = self.figures.peak.max(1) as f64;
        let figure = |figure: fn(&PhaseFigures) -> Option<f64>| main.and_then(figure).unwrap_or_default();
        let (user, system) = (figure(|phase| phase.user_us_a_frame), figure(|phase| phase.system_us_a_frame));
        let percent = |us: f64| us * FRAMES_A_SECOND / 1e6 * 100.0;
        Some(Server {
            user_us_a_frame: user,
            system_us_a_frame: system,
            inference_us_a_frame: figure(|phase| phase.inference_us_a_frame),
            user_percent_a_leg: percent(user),
            system_percent_a_leg: percent(system),
            rss_idle_kib: idle.rss_kib,
            rss_peak_kib: peak,
            rss_kib_a_leg: peak.saturating_sub(idle.rss_kib) as f64 / legs,
            pss_kib_a_leg: costs.pss_kib.map(|(idle, full)| full.saturating_sub(idle) as f64 / legs),
            threads: usages.iter().map(|usage| usage.threads).max().unwrap_or_default(),
        })
    }

    fn problems(&self, plan: &Plan, frames: &Frames, ledger: &Ledger, mut problems: Vec<String>) -> Vec<String> {
        let legs = &self.figures;
        let list = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(why, count)| format!("{count} × {why}")).collect::<Vec<_>>().join(", ")
        };
        if !legs.refused.is_empty() && !plan.refusals_expected {
            problems.push(format!("legs were refused: {}", list(&legs.refused)));
        }
        if !legs.failed.is_empty() {
            problems.push(format!("legs did not reach the gateway: {}", list(&legs.failed)));
        }
        if !legs.cut.is_empty() {
            problems.push(format!("legs ended before their time: {}", list(&legs.cut)));
        }
        if legs.dialled < plan.dials.len() as u64 {
            problems.push(format!("{} legs were never dialled", plan.dials.len() as u64 - legs.dialled));
        }
        if frames.unsent > 0 {
            problems.push(format!("{} frames were never sent", frames.unsent));
        }
        if ledger.missing > 0 {
            let missed =
                if self.missed > 0 { format!(" (the stream left out {} events)", self.missed) } else { String::new() };
            problems.push(format!("{} legs gave no account of their audio{missed}", ledger.missing));
        } else if ledger.legs > 0 && !ledger.accounted {
            problems.push(format!("{} samples were sent and {} are accounted for", ledger.sent, ledger.received));
        }
        problems
    }

    fn remarks(&self, asked: &Asked, frames: &Frames, ledger: &Ledger) -> Vec<String> {
        let mut remarks = Vec::new();
        if frames.late_driver as f64 > frames.sent as f64 * DRIVER_LATE_SHARE {
            remarks.push(format!(
                "the driver itself sent {} of {} frames more than {FRAME_MS} ms late: its core is busy, or it is at its limit",
                frames.late_driver, frames.sent
            ));
        }
        if frames.late_gateway > 0 {
            remarks.push(format!("the gateway did not take {} frames in time", frames.late_gateway));
        }
        if self.missed > 0 {
            remarks
                .push(format!("the live stream left out {} events: their delays are not in the figures", self.missed));
        }
        if ledger.legs > 0 && self.figures.sustained < self.figures.connected {
            let few = self.figures.connected - self.figures.sustained;
            remarks.push(format!(
                "{few} legs were cut, came late, lost speech, or had a final later than {} ms",
                asked.within_ms
            ));
        }
        remarks
    }
}

fn spread(delays: &[(u64, bool)]) -> Spread {
    let mut histogram = micros();
    delays.iter().for_each(|(delay, _)| note(&mut histogram, *delay));
    Spread::of(&histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::body::{Characteristics, LedgerAccount};
    use crate::load::figures::Timing;
    use crate::load::plan::Pattern;

    fn book() -> Book {
        Book::new(Terms { rate: Rate::Hz16000, within: Duration::from_secs(3) }, 8)
    }

    /// A leg of `frames` frames whose audio began `before_ms` after it connected.
    fn ended(frames: u64, before_ms: u64, complete: bool) -> Box<LegEnded> {
        let received = frames * 320;
        Box::new(LegEnded {
            reason: "hangup".to_owned(),
            complete,
            end_ms: before_ms + frames * 20,
            sentiment: None,
            ledger: LedgerAccount {
                rate_hz: 16_000,
                received,
                transcribed: 320,
                silent: received - 320,
                paused: 0,
                dropped: BTreeMap::new(),
            },
            characteristics: Characteristics {
                audio_ms: frames * 20,
                speech_ms: 20,
                gap_ms: 0,
                segments: 1,
                finals: 1,
                dropped: 0,
                partials_shed: 2,
                words: 1,
                words_per_minute: None,
                speech_dbfs: None,
                dtmf: 0,
            },
        })
    }

    fn played(leg: u32, frames: u64) -> LegPlayed {
        LegPlayed { leg, first_due: Duration::from_millis(1_000), due: frames, sent: frames, fate: Fate::Played }
    }

    fn text(leg: u32, arrived_ms: u64, end_ms: u64) -> HeardFinal {
        let timing = Timing { endpoint_ms: 500.0, queue_ms: 1.0, decode_ms: 99.0, total_ms: 600.0 };
        let arrived = Duration::from_millis(arrived_ms);
        HeardFinal { leg, arrived, delivery_us: 2_000, end_ms, sentiment: true, timing }
    }

    fn whole(book: Book, problems: Vec<String>) -> Report {
        let plan = Plan::new(Pattern::Steady, 2, Duration::from_secs(10), 1);
        let sent = [Sent { legs: 2, frames: 100, ..Sent::default() }; 10];
        let (lag, held) = (micros(), micros());
        let asked = Asked { within_ms: 3_000, ..Asked::default() };
        book.report(&plan, asked, Machine::default(), &sent, (&lag, &held), &Costs::default(), problems)
    }

    #[test]
    fn a_delay_counts_from_when_the_speech_was_due_not_from_when_it_was_read() {
        let mut book = book();
        book.connected(0);
        book.played(played(0, 400));
        // The gateway came to read the leg 300 ms late, and says nothing of it.
        book.heard(Heard::Ended { leg: 0, body: ended(400, 300, true) });
        // Its audio ends at 2,300 ms of the call: the frame before was due 1,980 ms after the first.
        let (delay, due) = book.delay(&text(0, 3_900, 2_300));
        assert_eq!((due.as_millis(), delay.as_millis()), (1_000 + 1_980 - 500, 3_900 - 2_480));
        // Without the leg's account there are the gateway's own figures.
        assert_eq!(book.delay(&text(1, 3_900, 2_300)).0.as_millis(), 602);
    }

    #[test]
    fn what_is_whole_is_complete_and_sustained() {
        let mut book = book();
        for leg in 0..2 {
            book.connected(leg);
            book.played(played(leg, 400));
            book.heard(Heard::Final(text(leg, 3_500, 2_000)));
            book.heard(Heard::Ended { leg, body: ended(400, 0, true) });
        }
        let report = whole(book, Vec::new());
        assert_eq!((report.complete, report.legs.sustained, report.ledger.accounted), (true, 2, true), "{report:?}");
        assert_eq!((report.ledger.sent, report.ledger.received), (256_000, 256_000));
        assert_eq!((report.shed.partials, report.shed.finals_with_sentiment, report.latency.total.count), (4, 2, 2));
        assert_eq!(report.seconds.iter().map(|second| second.finals).sum::<u64>(), 2);
    }

    #[test]
    fn each_thing_that_is_wrong_costs_the_leg_or_the_run() {
        type Change = fn(&mut Book);
        let cases: [(&str, Change, bool, u64); 7] = [
            ("samples", |book| book.heard(Heard::Ended { leg: 1, body: ended(399, 0, true) }), false, 1),
            ("account", |_| {}, false, 1),
            ("lost speech", |book| book.heard(Heard::Ended { leg: 1, body: ended(400, 0, false) }), true, 1),
            (
                "late final",
                |book| {
                    book.heard(Heard::Ended { leg: 1, body: ended(400, 0, true) });
                    book.heard(Heard::Final(text(1, 9_000, 2_000)));
                },
                true,
                1,
            ),
            (
                "let in late",
                |book| {
                    book.heard(Heard::Ended { leg: 1, body: ended(100, 0, true) });
                    book.played(played(1, 100));
                },
                true,
                1,
            ),
            (
                "refused",
                |book| {
                    book.heard(Heard::Ended { leg: 1, body: ended(400, 0, true) });
                    book.refused(Duration::from_secs(1), "HTTP 503".to_owned());
                },
                false,
                2,
            ),
            (
                "cut",
                |book| {
                    book.heard(Heard::Ended { leg: 1, body: ended(400, 0, true) });
                    book.connected(2);
                    book.played(LegPlayed { fate: Fate::Cut("connection lost".to_owned()), ..played(2, 10) });
                    book.heard(Heard::Ended { leg: 2, body: ended(10, 0, true) });
                },
                false,
                2,
            ),
        ];
        for (what, change, complete, sustained) in cases {
            let mut book = book();
            for leg in 0..2 {
                book.connected(leg);
                book.played(played(leg, 400));
            }
            book.heard(Heard::Ended { leg: 0, body: ended(400, 0, true) });
            change(&mut book);
            let report = whole(book, Vec::new());
            assert_eq!(
                (report.complete, report.legs.sustained),
                (complete, sustained),
                "{what}: {:?}",
                report.problems
            );
            assert!(complete || !report.problems.is_empty(), "{what}");
        }
    }

    #[test]
    fn a_run_that_ends_early_says_so_first() {
        let report = whole(book(), vec!["the gateway ended".to_owned()]);
        assert_eq!(report.problems, ["the gateway ended", "2 legs were never dialled"]);
        assert!(!report.complete && !report.ledger.accounted);
    }
}
