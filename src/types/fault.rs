//! What can go wrong, named by who did it and what the reader can do about it.

use std::fmt;
use std::time::Duration;

/// A mistake of the peer on a media socket. Costs that leg at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerFault {
    /// Binary message whose length is not one 20 ms frame. Its audio is used.
    FrameSize,
    /// Binary message with an odd number of bytes. The half sample is joined to the next message.
    OddBytes,
    /// Binary message before the first text message. Kept, up to a bound.
    EarlyAudio,
    /// No `websocket:connected` in time; rate and role were assumed.
    NoHello,
    /// `websocket:connected` came after we had stopped waiting for it.
    LateHello,
    /// A second `websocket:connected`; ignored.
    RepeatedHello,
    /// Text that is not a JSON object, or lacks a field its event needs.
    BadText,
    /// An event this version does not know; ignored.
    UnknownEvent,
    /// A `content-type` whose rate or coding we cannot take. Closes the leg.
    UnsupportedFormat,
    /// A message over the size limit. Closes the leg.
    MessageTooLong,
    /// Text that is not UTF-8. Closes the leg.
    InvalidUtf8,
    /// A breach of RFC 6455 framing. Closes the leg.
    Protocol,
    /// Nothing at all heard for the idle time; half-open. Closes the leg.
    Idle,
    /// The peer stopped reading what we send. Closes the leg.
    NotReading,
    /// The connection broke without a close handshake.
    ConnectionLost,
    /// Audio arrives faster than the configured multiple of real time, or text faster than
    /// frames would. Closes the leg.
    TooFast,
    /// A sent half sample at the very end of the leg.
    HalfSample,
}

impl PeerFault {
    /// Every fault, for metrics and documents.
    pub const ALL: [Self; 17] = [
        Self::FrameSize,
        Self::OddBytes,
        Self::EarlyAudio,
        Self::NoHello,
        Self::LateHello,
        Self::RepeatedHello,
        Self::BadText,
        Self::UnknownEvent,
        Self::UnsupportedFormat,
        Self::MessageTooLong,
        Self::InvalidUtf8,
        Self::Protocol,
        Self::Idle,
        Self::NotReading,
        Self::ConnectionLost,
        Self::TooFast,
        Self::HalfSample,
    ];

    /// The name in metrics, logs and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FrameSize => "frame_size",
            Self::OddBytes => "odd_bytes",
            Self::EarlyAudio => "early_audio",
            Self::NoHello => "no_hello",
            Self::LateHello => "late_hello",
            Self::RepeatedHello => "repeated_hello",
            Self::BadText => "bad_text",
            Self::UnknownEvent => "unknown_event",
            Self::UnsupportedFormat => "unsupported_format",
            Self::MessageTooLong => "message_too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Protocol => "protocol",
            Self::Idle => "idle",
            Self::NotReading => "not_reading",
            Self::ConnectionLost => "connection_lost",
            Self::TooFast => "too_fast",
            Self::HalfSample => "half_sample",
        }
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a backend gave no answer to a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bounded queue had no room.
    #[error("the inference queue was full")]
    Overload,
    /// The gateway is stopping.
    #[error("the gateway is shutting down")]
    Shutdown,
    /// The backend panicked; it was replaced.
    #[error("the backend crashed")]
    Crashed,
    /// The backend said no.
    #[error("the backend failed: {0}")]
    Backend(String),
    /// The text repeats itself in the way recognisers do on noise.
    #[error("the recogniser looped")]
    Looped,
    /// No answer within the deadline.
    #[error("no answer came within the deadline")]
    Timeout,
    /// No connection to a remote backend.
    #[error("the backend cannot be reached")]
    Unreachable,
    /// The certificate of a remote backend is of another host, or of nobody we know.
    #[error("the backend's certificate is not trusted: of another host, expired, or of an authority unknown here")]
    Untrusted,
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer")]
    Disconnected,
    /// A remote backend does not accept our key: 401 or 403.
    #[error("the backend does not accept the key")]
    Unauthorised,
    /// A remote backend wants less of us: 429, or no room for another session.
    #[error("the backend limits us")]
    Limited {
        /// How long it wants to be left alone, where it said.
        retry_after: Option<Duration>,
    },
    /// A remote backend answered with another HTTP status, a redirect included.
    #[error("the backend answered with status {0}")]
    Refused(u16),
    /// An answer that cannot be read.
    #[error("the answer cannot be read: {0}")]
    Garbage(&'static str),
    /// An answer beyond the bound on its size.
    #[error("the answer is too large")]
    Oversized,
    /// A second answer, or one to something else.
    #[error("an answer came out of order")]
    OutOfOrder,
    /// The backend, or every one there is, is being left alone after its failures.
    #[error("no backend is available")]
    Unavailable,
}

impl Fault {
    /// What to write beside audio that this fault cost.
    #[must_use]
    pub fn drop_reason(&self) -> DropReason {
        match self {
            Self::Overload => DropReason::Overload,
            Self::Shutdown => DropReason::Shutdown,
            Self::Looped => DropReason::Looped,
            Self::Timeout => DropReason::Timeout,
            _ => DropReason::BackendFault,
        }
    }

    /// The name in events and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Backend(_) => "failed",
            Self::Looped => "looped",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Disconnected => "disconnected",
            Self::Unauthorised => "unauthorised",
            Self::Limited { .. } => "limited",
            Self::Refused(_) => "refused",
            Self::Garbage(_) => "garbage",
            Self::Oversized => "oversized",
            Self::OutOfOrder => "out_of_order",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why received audio has no transcript. Part of the event contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The recogniser found no words in it.
    NoSpeech,
    /// The recogniser looped, as it does on noise; its text was not believable.
    Looped,
    /// The bounded inference queue, or this leg's share of it, was full.
    Overload,
    /// The transcriber failed or crashed on it.
    BackendFault,
    /// No answer within the reply timeout.
    Timeout,
    /// The leg ended and its bounded tail ran out first.
    TailTimeout,
    /// The gateway was stopping.
    Shutdown,
    /// Audio in a format we cannot take.
    UnsupportedFormat,
}

impl DropReason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::NoSpeech,
        Self::Looped,
        Self::Overload,
        Self::BackendFault,
        Self::Timeout,
        Self::TailTimeout,
        Self::Shutdown,
        Self::UnsupportedFormat,
    ];

    /// The name in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSpeech => "no_speech",
            Self::Looped => "looped",
            Self::Overload => "overload",
            Self::BackendFault => "backend_fault",
            Self::Timeout => "timeout",
            Self::TailTimeout => "tail_timeout",
            Self::Shutdown => "shutdown",
            Self::UnsupportedFormat => "unsupported_format",
        }
    }

    /// Whether speech may have been lost, as opposed to judged to be none.
    #[must_use]
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::NoSpeech | Self::Looped)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A backend that could not be made ready: which, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: {problem}; {remedy}")]
pub struct BuildError {
    /// Family and name, such as `asr.moonshine`.
    pub backend: String,
    /// What is wrong, naming the key, file or value.
    pub problem: String,
    /// What the reader can do about it.
    pub remedy: String,
}

impl BuildError {
    /// A build error for `backend`.
    pub fn new(backend: &str, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { backend: backend.to_owned(), problem: problem.to_string(), remedy: remedy.to_string() }
    }
}
