//! One struct for each thing that happens; `emit` counts it and, where an operator
//! would want to know, logs one line.
//!
//! Invariant: no number, digit, transcript or audio goes into a metric or a line.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::call::Ledger;
use crate::types::{DropReason, Fault, LegId, PeerFault, Rate, SegmentKind};

/// Bucket bounds of every duration, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// Installs the process's one recorder.
///
/// # Errors
/// When one is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}

/// A leg connected.
#[derive(Debug)]
pub struct LegOpened<'a> {
    /// The leg.
    pub leg: &'a LegId,
    /// Legs now.
    pub legs: usize,
}

impl LegOpened<'_> {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_legs_total").increment(1);
        gauge!("sidetone_legs").set(self.legs as f64);
        tracing::info!(leg = %self.leg, "leg opened");
    }
}

/// A leg ended; its ledger is closed.
#[derive(Debug)]
pub struct LegClosed<'a> {
    /// The leg.
    pub leg: &'a LegId,
    /// Legs now.
    pub legs: usize,
    /// Its account.
    pub ledger: Ledger,
    /// The account's unit.
    pub rate: Rate,
}

impl LegClosed<'_> {
    /// Counts and logs it.
    pub fn emit(self) {
        let seconds = |samples: u64| samples as f64 / f64::from(self.rate.hz());
        gauge!("sidetone_legs").set(self.legs as f64);
        let count = |page: &'static str, samples: u64| {
            counter!("sidetone_audio_ms_total", "page" => page).increment(self.rate.ms(samples));
        };
        count("received", self.ledger.received);
        count("transcribed", self.ledger.transcribed);
        count("silent", self.ledger.silent);
        count("paused", self.ledger.paused);
        for reason in DropReason::ALL {
            if self.ledger.dropped(reason) > 0 {
                count(reason.as_str(), self.ledger.dropped(reason));
            }
        }
        tracing::info!(
            leg = %self.leg,
            received_s = seconds(self.ledger.received),
            transcribed_s = seconds(self.ledger.transcribed),
            lost_s = seconds(self.ledger.lost()),
            "leg ended"
        );
    }
}

/// A leg was not let in.
#[derive(Debug)]
pub struct LegRefused {
    /// Why, in one word.
    pub reason: &'static str,
}

impl LegRefused {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_legs_refused_total", "reason" => self.reason).increment(1);
        tracing::warn!(reason = self.reason, "leg refused");
    }
}

/// A media socket was not let in, for what it showed of itself.
#[derive(Debug)]
pub struct MediaDenied {
    /// Why, in one word; nothing of what it showed.
    pub reason: &'static str,
}

impl MediaDenied {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_media_denied_total", "reason" => self.reason).increment(1);
        tracing::warn!(reason = self.reason, "media socket denied");
    }
}

/// A webhook was let in.
#[derive(Debug)]
pub struct WebhookTaken {
    /// `answer`, `event` or `fallback`.
    pub kind: &'static str,
    /// `handled`, `repeated`, `pending`, or `unattributed`: it says of no call.
    pub outcome: &'static str,
}

impl WebhookTaken {
    /// Counts it.
    pub fn emit(self) {
        counter!("sidetone_webhooks_total", "kind" => self.kind, "outcome" => self.outcome).increment(1);
    }
}

/// A webhook was not let in, or could not be read.
#[derive(Debug)]
pub struct WebhookRefused {
    /// `answer`, `event` or `fallback`.
    pub kind: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
}

impl WebhookRefused {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_webhooks_refused_total", "kind" => self.kind, "reason" => self.reason).increment(1);
        tracing::warn!(kind = self.kind, reason = self.reason, "webhook refused");
    }
}

/// Vonage was asked for something.
#[derive(Debug)]
pub struct VonageAsked {
    /// `create`, `hang_up`, `transfer`, `poll`.
    pub request: &'static str,
    /// `done`, or the class of the error.
    pub outcome: &'static str,
    /// How long it took, retries included.
    pub took: Duration,
}

impl VonageAsked {
    /// Counts it, and logs a failure.
    pub fn emit(self) {
        counter!("sidetone_vonage_requests_total", "request" => self.request, "outcome" => self.outcome).increment(1);
        histogram!("sidetone_vonage_request_seconds", "request" => self.request).record(self.took.as_secs_f64());
        if self.outcome != "done" {
            tracing::warn!(request = self.request, outcome = self.outcome, "Vonage did not do it");
        }
    }
}

/// It is known what became of our copy of a recording.
#[derive(Debug)]
pub struct RecordingCopied<'a> {
    /// `kept`, or why not, in one word.
    pub outcome: &'a str,
}

impl RecordingCopied<'_> {
    /// Counts it, and logs one that is not kept.
    pub fn emit(self) {
        counter!("sidetone_recordings_total", "outcome" => self.outcome.to_owned()).increment(1);
        if self.outcome != "kept" {
            tracing::warn!(outcome = self.outcome, "no copy of a recording is kept");
        }
    }
}

/// A request to our API was not let in.
#[derive(Debug)]
pub struct ApiRefused {
    /// Why, in one word.
    pub reason: &'static str,
}

impl ApiRefused {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_api_refused_total", "reason" => self.reason).increment(1);
        tracing::warn!(reason = self.reason, "API request refused");
    }
}

/// A peer made a mistake.
#[derive(Debug)]
pub struct PeerErred<'a> {
    /// The leg.
    pub leg: &'a LegId,
    /// The mistake.
    pub fault: PeerFault,
    /// Whether the leg made the same one before: only the first is logged.
    pub repeated: bool,
}

impl PeerErred<'_> {
    /// Counts it, and logs the first of its kind on a leg.
    pub fn emit(self) {
        counter!("sidetone_peer_faults_total", "fault" => self.fault.as_str()).increment(1);
        if !self.repeated {
            tracing::warn!(leg = %self.leg, fault = self.fault.as_str(), "peer fault (further ones of this kind on this leg are only counted)");
        }
    }
}

/// A segment was answered by a worker.
#[derive(Debug)]
pub struct SegmentServed<'a> {
    /// Final or partial.
    pub kind: SegmentKind,
    /// Length of its audio.
    pub audio: Duration,
    /// Time spent waiting.
    pub queued: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
    /// What went wrong, if anything.
    pub fault: Option<&'a Fault>,
}

impl SegmentServed<'_> {
    /// Counts it, and logs a fault.
    pub fn emit(self) {
        let kind = match self.kind {
            SegmentKind::Final => "final",
            SegmentKind::Partial => "partial",
        };
        counter!("sidetone_segments_total", "kind" => kind).increment(1);
        counter!("sidetone_decoded_audio_ms_total", "kind" => kind).increment(self.audio.as_millis() as u64);
        histogram!("sidetone_queue_seconds", "kind" => kind).record(self.queued.as_secs_f64());
        histogram!("sidetone_decode_seconds", "kind" => kind).record(self.decoded.as_secs_f64());
        if let Some(fault) = self.fault {
            counter!("sidetone_segment_faults_total", "reason" => fault.drop_reason().as_str()).increment(1);
            // A backend's own message may quote what it was given; it is not logged.
            tracing::warn!(reason = fault.drop_reason().as_str(), "segment without transcript");
        }
    }
}

/// A transcriber was asked, where there are several or a remote one.
#[derive(Debug)]
pub struct TranscriberAsked {
    /// Its name.
    pub backend: &'static str,
    /// `answered`, or the name of the fault.
    pub outcome: &'static str,
    /// How long it took, the wait for a place included.
    pub took: Duration,
}

impl TranscriberAsked {
    /// Counts it.
    pub fn emit(self) {
        counter!("sidetone_asr_requests_total", "backend" => self.backend, "outcome" => self.outcome).increment(1);
        histogram!("sidetone_asr_request_seconds", "backend" => self.backend).record(self.took.as_secs_f64());
    }
}

/// A text was given to the scorer.
#[derive(Debug)]
pub struct TextScored {
    /// The scorer.
    pub backend: &'static str,
    /// `answered`, or the name of the fault for which the text has no score.
    pub outcome: &'static str,
    /// How long it took, the wait for a place included.
    pub took: Duration,
}

impl TextScored {
    /// Counts it.
    pub fn emit(self) {
        counter!("sidetone_sentiment_requests_total", "backend" => self.backend, "outcome" => self.outcome)
            .increment(1);
        histogram!("sidetone_sentiment_request_seconds", "backend" => self.backend).record(self.took.as_secs_f64());
    }
}

/// A segment was offered to the second transcriber.
#[derive(Debug)]
pub struct ShadowAsked {
    /// Its name.
    pub backend: &'static str,
    /// `answered`, `gone` (its leg was), or the name of the fault; `overload` is one that was shed.
    pub outcome: &'static str,
    /// How long it took, where it was asked.
    pub took: Option<Duration>,
}

impl ShadowAsked {
    /// Counts it.
    pub fn emit(self) {
        counter!("sidetone_shadow_segments_total", "backend" => self.backend, "outcome" => self.outcome).increment(1);
        if let Some(took) = self.took {
            histogram!("sidetone_shadow_request_seconds", "backend" => self.backend).record(took.as_secs_f64());
        }
    }
}

/// What the second transcriber heard was held against what the first did.
#[derive(Debug)]
pub struct ShadowCompared {
    /// The second.
    pub backend: &'static str,
    /// The first.
    pub first: &'static str,
    /// Words that the first heard.
    pub words: u64,
    /// Words that differ.
    pub errors: u64,
}

impl ShadowCompared {
    /// Counts them.
    pub fn emit(self) {
        let Self { backend, first, words, errors } = self;
        counter!("sidetone_shadow_words_total", "first" => first, "backend" => backend).increment(words);
        counter!("sidetone_shadow_word_errors_total", "first" => first, "backend" => backend).increment(errors);
    }
}

/// A backend's circuit breaker moved.
#[derive(Debug)]
pub struct BreakerMoved {
    /// `asr`, `sentiment`, `shadow`.
    pub family: &'static str,
    /// The backend.
    pub backend: &'static str,
    /// `closed`, `half_open`, `open` or `refused`.
    pub standing: &'static str,
    /// The same as a number: 0, 1, 2, 3.
    pub level: f64,
}

impl BreakerMoved {
    /// Notes it, and logs what an operator would want to know.
    pub fn emit(self) {
        let Self { family, backend, standing, level } = self;
        gauge!(format!("sidetone_{family}_breaker"), "backend" => backend).set(level);
        match standing {
            "refused" => tracing::error!(family, backend, "the backend does not accept our key"),
            "open" => tracing::warn!(family, backend, "the backend fails; it is left alone for a while"),
            _ => tracing::debug!(family, backend, standing, "circuit breaker"),
        }
    }
}

/// What became of an event at a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged, or written.
    Delivered,
    /// An ephemeral event gave way.
    Shed,
    /// A durable event found the lane full. Never silent.
    Lost,
    /// Refused for good and set aside with the reason.
    DeadLetter,
}

/// An event reached its end at a sink.
#[derive(Debug)]
pub struct EventSettled {
    /// The sink.
    pub sink: &'static str,
    /// What became of it.
    pub delivery: Delivery,
}

impl EventSettled {
    /// The counter of such events, for one who counts many.
    pub fn counter(&self) -> metrics::Counter {
        let outcome = match self.delivery {
            Delivery::Delivered => "delivered",
            Delivery::Shed => "shed",
            Delivery::Lost => "lost",
            Delivery::DeadLetter => "dead_letter",
        };
        counter!("sidetone_events_total", "sink" => self.sink, "outcome" => outcome)
    }

    /// Counts it. A loss is logged by [`EventsLost`].
    pub fn emit(self) {
        self.counter().increment(1);
    }
}

/// A sink cannot be used at the moment.
#[derive(Debug)]
pub struct SinkTrouble<'a> {
    /// The sink.
    pub sink: &'static str,
    /// What is wrong and the remedy.
    pub problem: &'a str,
}

impl SinkTrouble<'_> {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_sink_troubles_total", "sink" => self.sink).increment(1);
        tracing::warn!(sink = self.sink, problem = self.problem, "sink in trouble; events wait");
    }
}

/// Durable events were lost, for want of room.
#[derive(Debug)]
pub struct EventsLost {
    /// The sink.
    pub sink: &'static str,
    /// How many since the last time it was said, this one included.
    pub events: u64,
}

impl EventsLost {
    /// Logs it; counted they are already.
    pub fn emit(self) {
        tracing::error!(sink = self.sink, events = self.events, "durable events lost: there was no room for them");
    }
}

/// A spool was opened.
#[derive(Debug)]
pub struct SpoolFound {
    /// The sink.
    pub sink: &'static str,
    /// Events that wait in it.
    pub events: usize,
    /// Bytes of its files.
    pub bytes: u64,
}

impl SpoolFound {
    /// Counts them, and logs if there are any.
    pub fn emit(self) {
        counter!("sidetone_spool_recovered_total", "sink" => self.sink).increment(self.events as u64);
        if self.events > 0 {
            tracing::info!(sink = self.sink, events = self.events, bytes = self.bytes, "the spool replays");
        }
    }
}

/// A spool file cannot be read whole.
#[derive(Debug)]
pub struct SpoolQuarantined<'a> {
    /// The sink.
    pub sink: &'static str,
    /// Where it was set aside.
    pub file: &'a std::path::Path,
    /// Why, in one word.
    pub reason: &'static str,
}

impl SpoolQuarantined<'_> {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_spool_quarantined_total", "sink" => self.sink, "reason" => self.reason).increment(1);
        let file = self.file.display();
        tracing::error!(sink = self.sink, %file, reason = self.reason, "a spool file was set aside; the rest replays");
    }
}

/// An event on disk cannot be read after all.
#[derive(Debug)]
pub struct SpoolUnreadable {
    /// The sink.
    pub sink: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
}

impl SpoolUnreadable {
    /// Counts and logs it.
    pub fn emit(self) {
        counter!("sidetone_spool_unreadable_total", "sink" => self.sink, "reason" => self.reason).increment(1);
        tracing::error!(sink = self.sink, reason = self.reason, "an event cannot be read back; its file was set aside");
    }
}

/// How much is in a spool.
#[derive(Debug)]
pub struct SpoolLevel {
    /// The sink.
    pub sink: &'static str,
    /// Bytes of its files.
    pub bytes: u64,
    /// Events that are not acknowledged yet.
    pub events: u64,
}

impl SpoolLevel {
    /// Notes it.
    pub fn emit(self) {
        gauge!("sidetone_spool_bytes", "sink" => self.sink).set(self.bytes as f64);
        gauge!("sidetone_spool_events", "sink" => self.sink).set(self.events as f64);
    }
}

/// The gateway stops and the spool is not empty.
#[derive(Debug)]
pub struct SpoolKept {
    /// The sink.
    pub sink: &'static str,
    /// Events that wait in it.
    pub events: u64,
}

impl SpoolKept {
    /// Logs it.
    pub fn emit(self) {
        tracing::warn!(
            sink = self.sink,
            events = self.events,
            "events wait in the spool for the next start; see sidetone spool inspect"
        );
    }
}
