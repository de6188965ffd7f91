//! Whom a leg lets us hear.

use std::fmt;
use std::sync::Arc;

/// Longest speaker name accepted from a peer, in bytes.
pub const SPEAKER_LEN_MAX: usize = 64;

/// The role of the participant that a leg carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Speaker {
    /// The party that called the centre, or that the centre called.
    Caller,
    /// The centre's side.
    Agent,
    /// More than one party on one socket: Vonage's mix.
    Mixed,
    /// Nobody told us.
    #[default]
    Unknown,
    /// A role of the application's own, such as `supervisor`.
    Other(Arc<str>),
}

impl Speaker {
    /// Takes the name as the application wrote it. Names that no one could have
    /// meant (empty, over [`SPEAKER_LEN_MAX`] bytes, control characters) are `Unknown`.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name.trim() {
            "caller" | "customer" => Self::Caller,
            "agent" => Self::Agent,
            "mixed" => Self::Mixed,
            "" | "unknown" => Self::Unknown,
            other if other.len() > SPEAKER_LEN_MAX || other.chars().any(char::is_control) => Self::Unknown,
            other => Self::Other(Arc::from(other)),
        }
    }

    /// The name as published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Caller => "caller",
            Self::Agent => "agent",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
