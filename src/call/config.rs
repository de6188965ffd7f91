//! What one leg's [`Call`](super::Call) can be told, with defaults that work.

use std::time::Duration;

use crate::types::Rate;

/// Where speech starts and ends. All times in ms, effective in steps of 20 ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpointing {
    /// A frame scoring at least this much is evidence that speech begins. 0 to 1.
    pub open_threshold: f32,
    /// A frame of speech scoring less than this is a pause. 0 to `open_threshold`.
    pub close_threshold: f32,
    /// Speech is opened after this much of it.
    pub min_speech_ms: u64,
    /// Speech is closed after this much without any. Shorter is faster, and cuts sentences.
    pub hangover_ms: u64,
    /// Audio kept from before the speech was noticed.
    pub pre_roll_ms: u64,
    /// From this length on, `long_hangover_ms` closes a segment.
    pub long_segment_ms: u64,
    /// The shorter hangover of a long segment.
    pub long_hangover_ms: u64,
    /// A segment never gets longer; it is cut at the quietest place near its end.
    pub max_segment_ms: u64,
}

impl Default for Endpointing {
    fn default() -> Self {
        Self {
            open_threshold: 0.5,
            close_threshold: 0.35,
            min_speech_ms: 100,
            hangover_ms: 500,
            pre_roll_ms: 300,
            long_segment_ms: 10_000,
            long_hangover_ms: 200,
            max_segment_ms: 15_000,
        }
    }
}

/// How a leg is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Speaking {
    /// How far ahead of its being heard audio is sent; at least one frame.
    pub lead: Duration,
    /// Playbacks that are not over yet; one more is refused.
    pub queue_max: usize,
    /// Longest wait, after a playback's end, for the platform to say that it was heard.
    pub echo_timeout: Duration,
    /// Longest wait for the platform to say that it stopped playing.
    pub clear_timeout: Duration,
}

impl Default for Speaking {
    fn default() -> Self {
        Self {
            lead: Duration::from_millis(120),
            queue_max: 8,
            echo_timeout: Duration::from_secs(2),
            clear_timeout: Duration::from_secs(1),
        }
    }
}

/// Everything one leg's `Call` can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct CallConfig {
    /// Where speech starts and ends.
    pub endpointing: Endpointing,
    /// How it is spoken to.
    pub speaking: Speaking,
    /// New speech between two partial results, in ms; 0 for none.
    pub partial_interval_ms: u64,
    /// Longest wait for Vonage's first text message.
    pub hello_timeout: Duration,
    /// Most audio kept during that wait, in bytes.
    pub hello_bytes_max: usize,
    /// Rate to assume where no message told it.
    pub assumed_rate: Rate,
    /// Longest wait for the answer to a segment.
    pub reply_timeout: Duration,
    /// Longest a leg stays, after its hang-up, for its last answers.
    pub tail_timeout: Duration,
    /// A pause in arrival this long closes open speech and moves the media clock on.
    pub gap_timeout: Duration,
    /// Longest that audio may wait before it is handed in, while nothing can come of it;
    /// at most a quarter of `gap_timeout`.
    pub batch: Duration,
    /// The peer is pinged after this long without a message.
    pub ping_after: Duration,
    /// The peer is given up after this long without a message.
    pub idle_timeout: Duration,
    /// Most segments of one leg awaiting an answer; further speech is dropped as overload.
    pub pending_max: usize,
    /// Audio may arrive this many times faster than real time, after a first minute's worth.
    pub speed_max: u64,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            endpointing: Endpointing::default(),
            speaking: Speaking::default(),
            partial_interval_ms: 1_000,
            hello_timeout: Duration::from_secs(1),
            hello_bytes_max: 96_000,
            assumed_rate: Rate::Hz16000,
            reply_timeout: Duration::from_secs(30),
            tail_timeout: Duration::from_secs(15),
            gap_timeout: Duration::from_millis(1_000),
            batch: Duration::from_millis(200),
            ping_after: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            pending_max: 32,
            speed_max: 32,
        }
    }
}
