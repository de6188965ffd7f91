//! One type for each kind of event. This file *is* the contract: a change here
//! shows in the generated schemas under `deploy/events/`, hence in review.
//!
//! Times named `_ms` without further word are positions on the call clock:
//! milliseconds since the first leg of the conversation connected, the same for
//! all its legs. Durations say so.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Lane;
use super::call::{
    CallAnswered, CallCapture, CallCompleted, CallFailed, CallJoined, CallListening, CallRecord, CallRecording,
    CallStarted, CallTransferred, CallUpdated,
};
use super::loss::GatewayLoss;

/// Any event's data.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Body {
    /// A media leg connected and said what it carries.
    LegStarted(LegStarted),
    /// Speech was noticed. Ephemeral.
    SpeechStarted(SpeechStarted),
    /// Speech ended. Ephemeral.
    SpeechEnded(SpeechEnded),
    /// Text so far of speech that goes on. Ephemeral.
    TranscriptPartial(TranscriptPartial),
    /// Text of a segment of speech.
    TranscriptFinal(TranscriptFinal),
    /// A segment of speech that has no text, and why.
    TranscriptDropped(TranscriptDropped),
    /// What a second transcriber heard in a segment.
    TranscriptShadow(TranscriptShadow),
    /// A key was pressed.
    Dtmf(Dtmf),
    /// From here on nothing is listened to.
    CapturePaused(CapturePaused),
    /// The leg is listened to again.
    CaptureResumed(CaptureResumed),
    /// What was played to the leg is over.
    PlaybackEnded(PlaybackEnded),
    /// The leg is over; where each of its samples went.
    LegEnded(LegEnded),
    /// A call came in, or one of ours went out.
    CallStarted(CallStarted),
    /// A participant answered.
    CallAnswered(CallAnswered),
    /// A participant is in the conversation.
    CallJoined(CallJoined),
    /// A participant moved to another conversation.
    CallTransferred(CallTransferred),
    /// What became of the socket that hears a participant.
    CallListening(CallListening),
    /// Capture was paused, or goes on.
    CallCapture(CallCapture),
    /// A recording is there.
    CallRecording(CallRecording),
    /// Something else that Vonage told us.
    CallUpdated(CallUpdated),
    /// A participant was not reached.
    CallFailed(CallFailed),
    /// A participant's leg is over.
    CallCompleted(CallCompleted),
    /// The call is over: its whole record.
    CallRecord(Box<CallRecord>),
    /// Durable events were lost; which ones.
    GatewayLoss(GatewayLoss),
}

/// What the contract says of a kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// CloudEvents `type`.
    pub kind: &'static str,
    /// The lane it travels in.
    pub lane: Lane,
    /// Whose stream it belongs to.
    pub stream: Stream,
}

/// Whose stream an event belongs to: `seq` counts within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// A media leg's.
    Leg,
    /// The controller's own, one for each call.
    Call,
    /// The gateway's word about another subject.
    Gateway,
}

impl Body {
    /// What the contract says of this kind of event.
    #[must_use]
    pub fn traits(&self) -> Traits {
        const fn of<T: Kind>(_: &T) -> Traits {
            Traits { kind: T::TYPE, lane: T::LANE, stream: T::STREAM }
        }
        match self {
            Self::LegStarted(body) => of(body),
            Self::SpeechStarted(body) => of(body),
            Self::SpeechEnded(body) => of(body),
            Self::TranscriptPartial(body) => of(body),
            Self::TranscriptFinal(body) => of(body),
            Self::TranscriptDropped(body) => of(body),
            Self::TranscriptShadow(body) => of(body),
            Self::Dtmf(body) => of(body),
            Self::CapturePaused(body) => of(body),
            Self::CaptureResumed(body) => of(body),
            Self::PlaybackEnded(body) => of(body),
            Self::LegEnded(body) => of(body),
            Self::CallStarted(body) => of(body),
            Self::CallAnswered(body) => of(body),
            Self::CallJoined(body) => of(body),
            Self::CallTransferred(body) => of(body),
            Self::CallListening(body) => of(body),
            Self::CallCapture(body) => of(body),
            Self::CallRecording(body) => of(body),
            Self::CallUpdated(body) => of(body),
            Self::CallFailed(body) => of(body),
            Self::CallCompleted(body) => of(body),
            Self::CallRecord(body) => of(&**body),
            Self::GatewayLoss(body) => of(body),
        }
    }

    /// CloudEvents `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.traits().kind
    }

    /// The lane this kind of event travels in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.traits().lane
    }
}

/// A kind of event: its name on the wire and what it means.
pub trait Kind: JsonSchema {
    /// CloudEvents `type`, version included.
    const TYPE: &'static str;
    /// The lane it travels in.
    const LANE: Lane;
    /// Whose stream it belongs to.
    const STREAM: Stream;
    /// One line for the generated documents.
    const ABOUT: &'static str;
}

macro_rules! kind {
    ($type:ident, $name:literal, $lane:ident, $stream:ident, $about:literal) => {
        impl $crate::event::body::Kind for $type {
            const TYPE: &'static str = $name;
            const LANE: $crate::event::Lane = $crate::event::Lane::$lane;
            const STREAM: $crate::event::body::Stream = $crate::event::body::Stream::$stream;
            const ABOUT: &'static str = $about;
        }
    };
}

pub(super) use kind;

kind!(LegStarted, "leg.started.v1", Durable, Leg, "A media leg connected and said what it carries.");
kind!(SpeechStarted, "speech.started.v1", Ephemeral, Leg, "Speech was noticed.");
kind!(SpeechEnded, "speech.ended.v1", Ephemeral, Leg, "Speech ended.");
kind!(TranscriptPartial, "transcript.partial.v1", Ephemeral, Leg, "Text so far of speech that goes on.");
kind!(TranscriptFinal, "transcript.final.v1", Durable, Leg, "Text of a segment of speech.");
kind!(TranscriptDropped, "transcript.dropped.v1", Durable, Leg, "A segment of speech that has no text, and why.");
kind!(TranscriptShadow, "transcript.shadow.v1", Durable, Leg, "What a second transcriber heard in a segment.");
kind!(Dtmf, "dtmf.v1", Durable, Leg, "A key was pressed.");
kind!(CapturePaused, "capture.paused.v1", Durable, Leg, "From here on the leg is not listened to.");
kind!(CaptureResumed, "capture.resumed.v1", Durable, Leg, "The leg is listened to again.");
kind!(PlaybackEnded, "playback.ended.v1", Durable, Leg, "What was played to the leg is over, and how.");
kind!(LegEnded, "leg.ended.v1", Durable, Leg, "The leg is over; where each of its samples went.");

/// `leg.started.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LegStarted {
    /// When the socket connected, UTC, RFC 3339.
    pub connected_at: String,
    /// The same moment on the call clock.
    pub at_ms: u64,
    /// Rate of the incoming audio in Hz: 8000, 16000 or 24000.
    pub rate_hz: u32,
    /// Whether Vonage's first text message came, or its content had to be assumed.
    pub hello: Hello,
    /// The NCCO's custom headers, as Vonage repeated them.
    pub headers: serde_json::Map<String, serde_json::Value>,
    /// Voice activity detector in use.
    pub vad: String,
    /// Transcriber in use.
    pub asr: String,
    /// Sentiment backend in use, if any.
    pub sentiment: Option<String>,
    /// The participant's own leg at the platform; `null` where it is not known, or the leg
    /// hears the mix.
    pub participant: Option<String>,
    /// Whether nothing may be played to this leg.
    pub listen_only: bool,
}

/// What became of Vonage's first text message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hello {
    /// It came; rate and headers are from it.
    Received,
    /// It did not come in time; rate and role were assumed.
    Assumed,
}

/// `speech.started.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechStarted {
    /// Number of the segment on this leg, from 1.
    pub segment: u64,
    /// Start, pre-roll included.
    pub start_ms: u64,
}

/// `speech.ended.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechEnded {
    /// Number of the segment on this leg.
    pub segment: u64,
    /// Start, pre-roll included.
    pub start_ms: u64,
    /// End of the last frame judged speech.
    pub end_ms: u64,
}

/// `transcript.partial.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptPartial {
    /// Number of the segment that goes on.
    pub segment: u64,
    /// Start of the segment.
    pub start_ms: u64,
    /// End of the audio this text was made from.
    pub end_ms: u64,
    /// Text so far; any of it may change.
    pub text: String,
    /// Transcriber that made it.
    pub asr: String,
}

/// `transcript.final.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptFinal {
    /// Number of the segment on this leg, from 1, in speech order.
    pub segment: u64,
    /// Start, pre-roll included.
    pub start_ms: u64,
    /// End, hangover included.
    pub end_ms: u64,
    /// The text, with a tag such as `[CARD]` for each entity. Never empty.
    pub text: String,
    /// Words with times, where the transcriber gives them; those of an entity have its tag for a text.
    pub words: Vec<TimedWord>,
    /// Private entities that were taken out of the text, in its order.
    // Younger than the type: records without it are there, and are read as having none.
    #[serde(default)]
    pub entities: Vec<RedactedEntity>,
    /// 0 to 1, where the transcriber gives one.
    pub confidence: Option<f32>,
    /// BCP 47 tag.
    pub language: String,
    /// Transcriber that made it.
    pub asr: String,
    /// Sentiment of the text; `null` where none was asked for, or none could be had.
    pub sentiment: Option<SentimentScore>,
    /// Why there is no sentiment although it was asked for, by the fault's name: `timeout`,
    /// `unavailable`, `overload` and the like.
    // Younger than the type, as `entities` is.
    #[serde(default)]
    pub sentiment_fault: Option<Box<str>>,
    /// Mean level of the segment in dBFS, −100 to 0.
    pub level_dbfs: f32,
    /// Where the time went between the speech and this event.
    pub timing: Timing,
}

/// A word and its place on the call clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimedWord {
    /// The word.
    pub text: String,
    /// Start.
    pub start_ms: u64,
    /// End.
    pub end_ms: u64,
    /// 0 to 1, where the transcriber gives one.
    pub confidence: Option<f32>,
}

/// A private entity that was taken out of a text: what it was and where it was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedactedEntity {
    /// `card`, `cvv`, `expiry`, `ssn`, `nino`, `phone`, `email`, `account`, `sort_code`, `iban`, `birth_date`, or
    /// `digits` that may be part of one.
    pub kind: String,
    /// Start: mute from here.
    pub start_ms: u64,
    /// End: to here.
    pub end_ms: u64,
    /// What the times are those of.
    pub timed_by: TimedBy,
    /// Its first word, from 0, among the words as they were said.
    pub first_word: u64,
    /// How many words it has; one tag stands for them all.
    pub words: u64,
}

/// What an entity's times are those of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimedBy {
    /// Its own words'.
    Words,
    /// The whole segment's, as the transcriber gives no times of words.
    Segment,
}

/// A sentiment score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SentimentScore {
    /// The verdict.
    pub label: Label,
    /// −1 (worst) to 1 (best).
    pub compound: f32,
    /// Weight of each class, 0 to 1; they sum to 1 up to rounding, or to 0 when the text has no words.
    pub weights: Weights,
    /// Backend that scored.
    pub backend: String,
}

/// A sentiment verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Compound at or below −0.05.
    Negative,
    /// In between.
    Neutral,
    /// Compound at or above 0.05.
    Positive,
}

/// Weight of each sentiment class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Weights {
    /// 0 to 1.
    pub negative: f32,
    /// 0 to 1.
    pub neutral: f32,
    /// 0 to 1.
    pub positive: f32,
}

/// Durations that add up to the delay between speech and text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// From the last speech sample's arrival to the cut of the segment: the hangover, mostly.
    pub endpoint_ms: f32,
    /// Waiting for an inference thread.
    pub queue_ms: f32,
    /// Decoding and scoring.
    pub decode_ms: f32,
    /// From the last speech sample's arrival to the authoring of this event.
    pub total_ms: f32,
}

/// `transcript.dropped.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptDropped {
    /// Number of the segment on this leg.
    pub segment: u64,
    /// Start, pre-roll included.
    pub start_ms: u64,
    /// End, hangover included.
    pub end_ms: u64,
    /// `no_speech` and `looped` are judgements; every other reason is a loss.
    pub reason: String,
    /// What went wrong with the last transcriber that was asked, by its name, where one was:
    /// `timeout`, `unauthorised`, `limited`, `garbage` and the like.
    pub fault: Option<String>,
}

/// `transcript.shadow.v1`: what a second transcriber heard in a segment that the first has
/// answered, on a share of conversations. It comes after the segment's terminal event, whenever
/// it is ready, and only while the leg goes on: nothing waits for it. Summed over segments,
/// `substitutions + deletions + insertions` by `words` is the rate at which the two disagree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptShadow {
    /// Number of the segment on this leg.
    pub segment: u64,
    /// What it heard, with tags as strict as the final's; empty where it heard no words.
    pub text: String,
    /// 0 to 1, where it gives one.
    pub confidence: Option<f32>,
    /// The second transcriber.
    pub asr: String,
    /// The first: whose answer the segment's terminal event has.
    pub first: String,
    /// Words that the first heard. These and the following are counted before anything is
    /// taken out of the texts, case, punctuation and ways to write numbers made alike.
    pub words: u64,
    /// Words that are others in the second's text.
    pub substitutions: u64,
    /// Words that are not in it.
    pub deletions: u64,
    /// Words that are in it alone.
    pub insertions: u64,
}

/// `dtmf.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dtmf {
    /// One of `0123456789*#`, or another short string the platform sent; `[DIGIT]` where it is
    /// masked.
    pub digit: String,
    /// How long it was pressed, as a duration in ms, where the platform said.
    pub duration_ms: Option<u64>,
    /// When it reached us.
    pub at_ms: u64,
}

/// `capture.paused.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapturePaused {
    /// When.
    pub at_ms: u64,
    /// Why, in the words of whoever asked for it; up to 64 bytes.
    pub reason: String,
}

/// `capture.resumed.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptureResumed {
    /// When.
    pub at_ms: u64,
    /// Why, in the words of whoever asked for it; up to 64 bytes.
    pub reason: String,
}

/// `playback.ended.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlaybackEnded {
    /// The playback's id, as whoever asked for it called it.
    pub playback: String,
    /// How it ended.
    pub outcome: PlaybackOutcome,
    /// How much of it was heard, as a duration in ms; an estimate where it was cut short.
    pub played_ms: u64,
    /// How long it is, as a duration in ms.
    pub length_ms: u64,
    /// Whether the platform said so; else it did not answer in time.
    pub confirmed: bool,
    /// When.
    pub at_ms: u64,
}

/// How a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaybackOutcome {
    /// It was played to its end.
    Played,
    /// The other party began to speak.
    BargedIn,
    /// Whoever asked for it took it back.
    Stopped,
    /// The leg ended first.
    HungUp,
}

/// `leg.ended.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LegEnded {
    /// `hangup`, `drained`, `closed` by whoever runs the call, or the name of the fault that ended it.
    pub reason: String,
    /// Whether every segment of speech was answered: nothing was lost.
    pub complete: bool,
    /// End of the leg's audio.
    pub end_ms: u64,
    /// Where each received sample went.
    pub ledger: LedgerAccount,
    /// What the call was like on this leg, from voice activity alone.
    pub characteristics: Characteristics,
    /// How the sentiment of the leg's texts went; `null` where none was scored.
    pub sentiment: Option<SentimentTrend>,
}

/// How sentiment went over a leg. Every text counts by the length of its speech.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SentimentTrend {
    /// Mean compound score, −1 (worst) to 1 (best).
    pub compound: f32,
    /// Speech whose text has a score, as a duration in ms.
    pub scored_ms: u64,
    /// The same of each quarter of the leg's audio, first to last: always four.
    pub quarters: Vec<SentimentQuarter>,
}

/// A quarter of a leg, in a [`SentimentTrend`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SentimentQuarter {
    /// Mean compound score, −1 (worst) to 1 (best); `null` where nothing was scored.
    pub compound: Option<f32>,
    /// Speech whose text has a score, as a duration in ms.
    pub scored_ms: u64,
}

/// The audio ledger: `received = transcribed + silent + paused + the sum of dropped`, to the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerAccount {
    /// Samples a second of the incoming audio: the unit of every figure below.
    pub rate_hz: u32,
    /// Samples received.
    pub received: u64,
    /// Samples inside segments that have a transcript.
    pub transcribed: u64,
    /// Samples judged not to be speech.
    pub silent: u64,
    /// Samples received while capture was paused.
    pub paused: u64,
    /// Samples inside segments without a transcript, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// Figures about one leg. All durations in ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Characteristics {
    /// Audio received.
    pub audio_ms: u64,
    /// Frames judged speech.
    pub speech_ms: u64,
    /// Silence the platform did not send, filled in on the clock.
    pub gap_ms: u64,
    /// Segments of speech opened.
    pub segments: u64,
    /// Segments with a transcript.
    pub finals: u64,
    /// Segments without, judgements included.
    pub dropped: u64,
    /// Partial results asked for and not delivered.
    pub partials_shed: u64,
    /// Words in the finals, as separated by spaces.
    pub words: u64,
    /// Words a minute of speech.
    pub words_per_minute: Option<f32>,
    /// Mean level of the speech in dBFS.
    pub speech_dbfs: Option<f32>,
    /// Keys pressed.
    pub dtmf: u64,
}
