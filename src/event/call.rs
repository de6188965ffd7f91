//! Bodies of the controller's events: what became of a call as Vonage and our own
//! registry know it, told apart from what was said on its media legs.
//!
//! Each call has one stream of these, numbered without gaps like a leg's. They are
//! published when they are learned, and webhooks come late, twice and out of order: `at`
//! says when it happened, `seq` when we knew. Every event here is durable.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{LedgerAccount, SentimentTrend, kind};

kind!(CallStarted, "call.started.v1", Durable, Call, "A call came in, or one of ours went out.");
kind!(CallAnswered, "call.answered.v1", Durable, Call, "A participant answered.");
kind!(CallJoined, "call.joined.v1", Durable, Call, "A participant is in the conversation and can be heard.");
kind!(CallTransferred, "call.transferred.v1", Durable, Call, "A participant moved to another conversation.");
kind!(CallListening, "call.listening.v1", Durable, Call, "What became of the socket that hears a participant.");
kind!(CallCapture, "call.capture.v1", Durable, Call, "Capture of the call was paused, or goes on.");
kind!(CallRecording, "call.recording.v1", Durable, Call, "A recording is there.");
kind!(CallUpdated, "call.updated.v1", Durable, Call, "Vonage told us something else: kept as it came.");
kind!(CallFailed, "call.failed.v1", Durable, Call, "A participant was not reached.");
kind!(CallCompleted, "call.completed.v1", Durable, Call, "A participant's leg is over.");
kind!(CallRecord, "call.record.v1", Durable, Call, "The call is over: its whole record, once.");

/// `call.started.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallStarted {
    /// When, UTC, RFC 3339.
    pub at: String,
    /// `inbound` or `outbound`, where known.
    pub direction: Option<String>,
    /// Number, address or user that calls.
    pub from: Option<String>,
    /// Number or address that is called.
    pub to: Option<String>,
    /// Kind of the first leg: `phone`, `sip`, `app`, `vbc`.
    pub endpoint: Option<String>,
    /// The flow that was chosen for it.
    pub flow: Option<String>,
    /// What the client application or the SIP side sent along.
    pub custom: Map<String, Value>,
}

/// `call.answered.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallAnswered {
    /// The participant's leg at Vonage.
    pub participant: String,
    /// Who it is: `caller`, `agent`, …
    pub role: String,
    /// When, as Vonage says, else when we learned it.
    pub at: String,
}

/// `call.joined.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallJoined {
    /// The participant's leg at Vonage.
    pub participant: String,
    /// Who it is.
    pub role: String,
    /// When.
    pub at: String,
    /// Vonage's id of the conversation, where it told.
    pub vonage_conversation: Option<String>,
}

/// `call.transferred.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallTransferred {
    /// The participant's leg at Vonage.
    pub participant: String,
    /// Who it is.
    pub role: String,
    /// When.
    pub at: String,
    /// Vonage's id of the conversation it left.
    pub from: Option<String>,
    /// Vonage's id of the conversation it is in.
    pub to: Option<String>,
}

/// State of a socket that hears a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Listening {
    /// A socket of its own hears the participant.
    Separate,
    /// One socket hears everybody, because separate ones could not be had.
    Mixed,
    /// Nobody hears the participant, for `reason`.
    None,
    /// The socket is gone: the participant left, or `reason`.
    Ended,
}

/// `call.listening.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallListening {
    /// The participant heard; none where everybody is.
    pub participant: Option<String>,
    /// Who it is; `mixed` where everybody is.
    pub role: String,
    /// The socket's own leg at Vonage, where there is one.
    pub listener: Option<String>,
    /// What is so from now on.
    pub state: Listening,
    /// Why, where it is not as asked for: one word.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

/// `call.capture.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallCapture {
    /// Whether capture is paused from now on: transcription, partials, keys and events of
    /// every leg, and our copy of the recording.
    pub paused: bool,
    /// When.
    pub at: String,
    /// What the application gave as its reason.
    pub reason: Option<String>,
}

/// `call.recording.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallRecording {
    /// Vonage's id of the recording.
    pub recording: Option<String>,
    /// Where Vonage keeps it, for 30 days; wants the application's token.
    pub url: String,
    /// When it began.
    pub start: Option<String>,
    /// When it ended.
    pub end: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Stretches during which capture was paused, on our clock, those of calls in the same
    /// conversation included. Vonage's own recording goes on while capture is paused: mute
    /// these, and a second or two around them.
    pub paused: Vec<PausedSpan>,
    /// What became of our own copy; none where none is kept, and until it is known: then the
    /// event comes once more.
    // Younger than the type: records without it are there.
    #[serde(default)]
    pub copy: Option<Box<RecordingCopy>>,
}

/// Our copy of a recording, silent where capture was paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingCopy {
    /// Whether there is one.
    pub kept: bool,
    /// Why there is none, in one word. Its pauses are not known: `unknown_call`. It cannot be
    /// muted, and there was a pause: `no_start_time`, `times_disagree`, `not_mutable`,
    /// `truncated`. It is none: `not_audio`. There is no room: `too_many`, `busy`, `too_large`,
    /// `disk`. It was not to be had: `no_api`, `untrusted`, `not_found`, `unauthorised`,
    /// `rate_limited`, `rejected`, `failed`, `unreachable`, `broken`, `timed_out`,
    /// `gateway_stopped`.
    pub reason: Option<String>,
    /// Name of the file in the folder of recordings.
    pub path: Option<String>,
    /// Bytes of the file.
    pub bytes: Option<u64>,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Stretches that are silenced in it; those that touch are one.
    pub muted: Option<u64>,
    /// Length of all that is silenced, in ms.
    pub muted_ms: Option<u64>,
}

impl RecordingCopy {
    /// None is kept, for this reason in one word.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let reason = Some(reason.to_owned());
        Self { kept: false, reason, path: None, bytes: None, sha256: None, muted: None, muted_ms: None }
    }
}

/// A stretch of time during which capture was paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PausedSpan {
    /// From when.
    pub from: String,
    /// Until when; none where it lasted to the end.
    pub to: Option<String>,
}

/// `call.updated.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallUpdated {
    /// Kind of webhook: `status`, `input`, `notify`, `transcription`, `error`, `unknown`.
    pub webhook: String,
    /// The participant's leg at Vonage, where it names one.
    pub participant: Option<String>,
    /// Who it is.
    pub role: Option<String>,
    /// Of a status: its word, known to us or not.
    pub status: Option<String>,
    /// When.
    pub at: String,
    /// The webhook as it came, but for what is redacted: keys that are not to be published, and what is private
    /// in words. Without keys and words while capture is paused.
    pub content: Map<String, Value>,
}

/// `call.failed.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallFailed {
    /// The participant's leg at Vonage; none where none was ever made.
    pub participant: Option<String>,
    /// Who it is.
    pub role: String,
    /// When.
    pub at: String,
    /// `busy`, `rejected`, `unanswered`, `timeout`, `cancelled`, `failed`, or why we could not call.
    pub status: String,
    /// Vonage's word for why.
    pub detail: Option<String>,
    /// The SIP answer.
    pub sip_code: Option<u64>,
}

/// `call.completed.v1`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallCompleted {
    /// The participant's leg at Vonage.
    pub participant: String,
    /// Who it is.
    pub role: String,
    /// When.
    pub at: String,
    /// Talk time in s, as billed.
    pub duration_s: Option<f64>,
    /// EUR.
    pub price: Option<f64>,
    /// EUR a minute.
    pub rate: Option<f64>,
    /// The carrier.
    pub network: Option<String>,
    /// `platform` or `user`: who hung up.
    pub disconnected_by: Option<String>,
    /// The SIP answer.
    pub sip_code: Option<u64>,
    /// `webhook`, or `poll` where the webhook did not come and the API said so, or `lost`
    /// where the API did not know the leg any more.
    pub source: String,
}

/// `call.record.v1`: the call detail record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallRecord {
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// Who called.
    pub from: Option<String>,
    /// Who was called.
    pub to: Option<String>,
    /// The flow.
    pub flow: Option<String>,
    /// When it began, as far as known.
    pub started: String,
    /// When the first participant answered.
    pub answered: Option<String>,
    /// When the last participant's leg was over.
    pub ended: String,
    /// From start to end, in s.
    pub duration_s: f64,
    /// EUR, all legs, those of our listeners included.
    pub price: f64,
    /// Every leg at Vonage, in the order we learned of them.
    pub participants: Vec<RecordParticipant>,
    /// Every media leg that heard the call here.
    pub legs: Vec<RecordLeg>,
    /// Recordings that came in time.
    pub recordings: Vec<CallRecording>,
    /// When capture was paused.
    pub paused: Vec<PausedSpan>,
    /// Whether every participant that talked was heard, on separate sockets, and every
    /// segment of speech was answered.
    pub complete: bool,
    /// What is missing or had to be found out, one word each: `no_answer_webhook`,
    /// `polled`, `lost_leg`, `silent`, `unheard`, `mixed`, `leg_incomplete`, `leg_open`,
    /// `no_recording`, `gateway_stopped`.
    pub remarks: Vec<String>,
}

/// A leg at Vonage, in a [`CallRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordParticipant {
    /// The leg at Vonage.
    pub participant: String,
    /// Who it is: `caller`, `agent`, `listener`, …
    pub role: String,
    /// Number, address, user or socket.
    pub address: Option<String>,
    /// Of a listener: the participant it hears; none where it hears all.
    pub hears: Option<String>,
    /// When each state was reached, by its word.
    pub states: BTreeMap<String, String>,
    /// How it ended: `completed`, `busy`, …
    pub outcome: Option<String>,
    /// Talk time in s, as billed.
    pub duration_s: Option<f64>,
    /// EUR.
    pub price: Option<f64>,
    /// Who hung up.
    pub disconnected_by: Option<String>,
}

/// A media leg, in a [`CallRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordLeg {
    /// The media leg: `leg` of its events.
    pub leg: String,
    /// Whom it heard.
    pub speaker: String,
    /// That participant's leg at Vonage.
    pub participant: Option<String>,
    /// Why it ended; none where it was still open.
    pub reason: Option<String>,
    /// Whether every segment of speech was answered.
    pub complete: bool,
    /// Its ledger; none where it was still open.
    pub ledger: Option<LedgerAccount>,
    /// Transcripts published.
    pub finals: u64,
    /// How the sentiment of its texts went; `null` where none was scored.
    pub sentiment: Option<SentimentTrend>,
}
