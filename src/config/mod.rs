//! Configuration: a TOML file, then the environment, then the command line, checked
//! once. This is the only module that reads the environment.
//!
//! Every key has a default that works on a laptop. `SIDETONE_SERVER__LISTEN` sets
//! `server.listen`, and so on: sections and keys are separated by two underscores.
//! Every error names the key, the value where there is one, and what was expected.

mod api;
mod asr;
mod breaker;
mod checks;
mod flow;
mod kafka;
mod load;
mod media;
mod recordings;
mod redaction;
mod secret;
mod sentiment;
mod shadow;
mod spool;
mod vonage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use api::{Api, BadToken, Scope, TOKEN_LEN_MIN, TokenSettings, Tokens};
pub use asr::{Asr, Tables};
pub use breaker::BreakerSection;
pub use flow::{FlowSection, ListenRule, To};
pub use kafka::{Format, KafkaSink, Properties, Registry, is_secret};
pub use load::{ConfigError, Source, load};
pub use media::{Media, Playback};
pub use recordings::Recordings;
pub use redaction::{KeysRule, PolicyRule, Redaction};
pub use secret::Secret;
pub use sentiment::Sentiment;
use serde::{Deserialize, Serialize};
pub use shadow::Shadow;
pub use spool::{SpoolFsync, SpoolMode, SpoolSection};
pub use vonage::{Account, Control, QueryHashRule, Vonage, is_loopback_url};

use crate::call::{CallConfig, Endpointing};
use crate::types::Rate;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The network side.
    pub server: Server,
    /// Our application at Vonage.
    pub vonage: Vonage,
    /// What becomes of calls: `[[flow]]`, the first that applies; without any, every call
    /// goes to our media socket.
    pub flow: Vec<FlowSection>,
    /// The controller's bounds.
    pub control: Control,
    /// Who may use our API.
    pub api: Api,
    /// Who may open a media socket.
    pub media: Media,
    /// How a media socket is spoken to.
    pub playback: Playback,
    /// One leg: waits, bounds.
    pub call: Call,
    /// Where speech starts and ends.
    pub endpointing: EndpointingSection,
    /// Voice activity detection: `backend`, and a table for each backend.
    pub vad: Family,
    /// Transcription: `backend`, who takes over when it fails, and a table for each backend.
    pub asr: Asr,
    /// Sentiment: `backend` (or `none`), and a table for each backend.
    pub sentiment: Sentiment,
    /// The threads that transcribe.
    pub inference: Inference,
    /// What is taken out of transcripts.
    pub redaction: Redaction,
    /// Where models are kept.
    pub models: Models,
    /// Where events go.
    pub sink: Sinks,
    /// What is written to standard error.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            vonage: Vonage::default(),
            flow: Vec::new(),
            control: Control::default(),
            api: Api::default(),
            media: Media::default(),
            playback: Playback::default(),
            call: Call::default(),
            endpointing: EndpointingSection::default(),
            vad: Family { backend: crate::vad::BACKENDS[0].name().to_owned(), tables: Tables::default() },
            asr: Asr::default(),
            sentiment: Sentiment::default(),
            inference: Inference::default(),
            redaction: Redaction::default(),
            models: Models::default(),
            sink: Sinks::default(),
            log: Log::default(),
        }
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port for everything: media sockets, events, health, metrics.
    pub listen: SocketAddr,
    /// How Vonage reaches us: `https://host`; empty for `http://` and `server.listen`.
    pub public_url: String,
    /// Name of this gateway in the `source` of its events.
    pub name: String,
    /// Legs at once; one more is refused with 503. Each costs under 64 KiB.
    pub legs_max: usize,
    /// How long a call that was answered is promised a place for its socket, in ms.
    pub promise_ms: u64,
    /// Longest WebSocket message taken, in bytes. A Vonage frame has 320 to 960.
    pub message_bytes_max: usize,
    /// Longest a connection may stay without having asked for anything, in ms.
    pub request_timeout_ms: u64,
    /// Longest wait for a peer to take what we send it, in ms.
    pub send_timeout_ms: u64,
    /// Longest wait for legs to end after a stop was asked for, in ms.
    pub drain_timeout_ms: u64,
    /// Events that a slow reader of `/v1/events` may fall behind before it skips some.
    pub live_backlog_max: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: String::new(),
            name: "gateway".to_owned(),
            legs_max: 500,
            promise_ms: 10_000,
            message_bytes_max: 65_536,
            request_timeout_ms: 10_000,
            send_timeout_ms: 5_000,
            drain_timeout_ms: 30_000,
            live_backlog_max: 4_096,
        }
    }
}

/// `[call]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// New speech between two partial results, in ms; 0 for none. Each partial decodes
    /// the speech so far again.
    pub partial_interval_ms: u64,
    /// Longest wait for Vonage's first text message, in ms.
    pub hello_timeout_ms: u64,
    /// Most audio kept during that wait, in bytes.
    pub hello_bytes_max: usize,
    /// Rate assumed where no message told it: 8000, 16000 or 24000 Hz.
    pub assumed_rate_hz: u32,
    /// Longest wait for the text of a segment, in ms.
    pub reply_timeout_ms: u64,
    /// Longest a leg stays, after its hang-up, for its last words, in ms.
    pub tail_timeout_ms: u64,
    /// A pause in arrival this long ends speech and moves the media clock on, in ms.
    pub gap_timeout_ms: u64,
    /// Longest that audio waits in its socket while nothing can come of it, in ms; 0 for not at
    /// all. Fewer wake-ups cost less. At most a quarter of `gap_timeout_ms`.
    pub batch_ms: u64,
    /// A silent peer is pinged after this long, in ms.
    pub ping_after_ms: u64,
    /// A silent peer is given up after this long, in ms.
    pub idle_timeout_ms: u64,
    /// Segments of one leg awaiting their text; further speech is dropped as overload.
    pub pending_max: usize,
    /// Audio may arrive this many times faster than real time.
    pub speed_max: u64,
}

impl Default for Call {
    fn default() -> Self {
        let call = CallConfig::default();
        let ms = |span: Duration| span.as_millis() as u64;
        Self {
            partial_interval_ms: call.partial_interval_ms,
            hello_timeout_ms: ms(call.hello_timeout),
            hello_bytes_max: call.hello_bytes_max,
            assumed_rate_hz: call.assumed_rate.hz(),
            reply_timeout_ms: ms(call.reply_timeout),
            tail_timeout_ms: ms(call.tail_timeout),
            gap_timeout_ms: ms(call.gap_timeout),
            batch_ms: ms(call.batch),
            ping_after_ms: ms(call.ping_after),
            idle_timeout_ms: ms(call.idle_timeout),
            pending_max: call.pending_max,
            speed_max: call.speed_max,
        }
    }
}

/// `[endpointing]`; effective in steps of 20 ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointingSection {
    /// A frame scoring at least this much is evidence that speech begins, 0 to 1.
    pub open_threshold: f32,
    /// A frame of speech scoring less than this is a pause, 0 to `open_threshold`.
    pub close_threshold: f32,
    /// Speech is opened after this much of it, in ms.
    pub min_speech_ms: u64,
    /// Speech is closed after this much without any, in ms.
    pub hangover_ms: u64,
    /// Audio kept from before the speech was noticed, in ms.
    pub pre_roll_ms: u64,
    /// From this length on, `long_hangover_ms` closes a segment, in ms.
    pub long_segment_ms: u64,
    /// The shorter hangover of a long segment, in ms.
    pub long_hangover_ms: u64,
    /// A segment never gets longer, in ms; it is cut at its quietest place near the end.
    pub max_segment_ms: u64,
}

impl Default for EndpointingSection {
    fn default() -> Self {
        let Endpointing {
            open_threshold,
            close_threshold,
            min_speech_ms,
            hangover_ms,
            pre_roll_ms,
            long_segment_ms,
            long_hangover_ms,
            max_segment_ms,
        } = Endpointing::default();
        Self {
            open_threshold,
            close_threshold,
            min_speech_ms,
            hangover_ms,
            pre_roll_ms,
            long_segment_ms,
            long_hangover_ms,
            max_segment_ms,
        }
    }
}

/// A family of backends: which one, and a table of settings for any of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Family {
    /// Name of the backend in use; `sidetone backends` lists them.
    #[serde(default)]
    pub backend: String,
    /// Settings by backend name.
    #[serde(flatten)]
    pub tables: Tables,
}

impl Family {
    /// The table of one backend; empty where there is none.
    #[must_use]
    pub fn table(&self, name: &str) -> toml::Table {
        self.tables.table(name)
    }
}

/// `[inference]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inference {
    /// Threads that transcribe; 0 for one a core.
    pub threads: usize,
    /// Finals waiting for a thread, in seconds of audio; more is refused as overload.
    pub queue_audio_max_s: u64,
    /// Partials waiting for a thread; more are shed.
    pub queue_partials_max: usize,
    /// Finals waiting for a thread, in seconds of audio, beyond which no thread scores sentiment
    /// with a scorer that takes time (`neural`).
    pub queue_scores_audio_max_s: u64,
}

impl Default for Inference {
    fn default() -> Self {
        Self { threads: 0, queue_audio_max_s: 600, queue_partials_max: 4, queue_scores_audio_max_s: 30 }
    }
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Folder of the models; empty for `sidetone/models` in the user's cache folder, or
    /// `sidetone-models` here where there is none.
    pub dir: PathBuf,
    /// A `libonnxruntime.so` to run networks with in place of the one that comes with the
    /// default transcriber, such as one built with CUDA; empty for that one.
    pub onnxruntime: PathBuf,
}

/// `[sink]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinks {
    /// A local file of JSON lines.
    pub file: FileSink,
    /// Apache Kafka.
    pub kafka: KafkaSink,
    /// What waits for each sink.
    pub outbox: OutboxSection,
    /// What waits on disk.
    pub spool: SpoolSection,
}

/// `[sink.file]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSink {
    /// File that events are appended to, one JSON object a line; empty for none.
    pub path: PathBuf,
}

impl Default for FileSink {
    fn default() -> Self {
        Self { path: PathBuf::from("sidetone-events.jsonl") }
    }
}

/// `[sink.outbox]`: queues in memory, one pair for each sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxSection {
    /// Durable events that wait; with a spool, for it. At three quarters new legs are refused.
    pub durable_max: usize,
    /// Ephemeral events that wait; beyond it the oldest goes.
    pub ephemeral_max: usize,
}

impl Default for OutboxSection {
    fn default() -> Self {
        Self { durable_max: 100_000, ephemeral_max: 1_000 }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is shown, as in `info` or `sidetone=debug,warn`.
    pub filter: String,
    /// Lines for people or for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What each leg's `Call` is told.
    #[must_use]
    pub fn call_config(&self) -> CallConfig {
        let call = &self.call;
        let e = &self.endpointing;
        CallConfig {
            endpointing: Endpointing {
                open_threshold: e.open_threshold,
                close_threshold: e.close_threshold,
                min_speech_ms: e.min_speech_ms,
                hangover_ms: e.hangover_ms,
                pre_roll_ms: e.pre_roll_ms,
                long_segment_ms: e.long_segment_ms,
                long_hangover_ms: e.long_hangover_ms,
                max_segment_ms: e.max_segment_ms,
            },
            speaking: self.playback.speaking(),
            partial_interval_ms: call.partial_interval_ms,
            hello_timeout: Duration::from_millis(call.hello_timeout_ms),
            hello_bytes_max: call.hello_bytes_max,
            assumed_rate: Rate::from_hz(call.assumed_rate_hz).unwrap_or(Rate::Hz16000),
            reply_timeout: Duration::from_millis(call.reply_timeout_ms),
            tail_timeout: Duration::from_millis(call.tail_timeout_ms),
            gap_timeout: Duration::from_millis(call.gap_timeout_ms),
            batch: Duration::from_millis(call.batch_ms),
            ping_after: Duration::from_millis(call.ping_after_ms),
            idle_timeout: Duration::from_millis(call.idle_timeout_ms),
            pending_max: call.pending_max,
            speed_max: call.speed_max,
        }
    }

    /// What becomes of calls, checked.
    #[must_use]
    pub fn flows(&self) -> Vec<Arc<crate::control::Flow>> {
        // What could be wrong was refused when the configuration was checked.
        flow::flows(&self.flow, self.vonage.has_api()).unwrap_or_default()
    }

    /// Inference threads: as configured, or one a core.
    #[must_use]
    pub fn inference_threads(&self) -> usize {
        match self.inference.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
