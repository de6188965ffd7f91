//! Who a leg at Vonage is to the centre.

use std::fmt;
use std::sync::Arc;

use crate::types::Speaker;

/// Longest role name taken from a webhook's tag, in bytes.
const ROLE_LEN_MAX: usize = 64;

/// The part that a leg plays in a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// The party that called the centre, or that the centre called.
    Caller,
    /// The centre's side.
    Agent,
    /// Our own socket: hears one participant.
    Listener,
    /// Our own socket: hears everybody.
    Mixed,
    /// Somebody else who is in the conversation, such as a supervisor.
    Other(Arc<str>),
}

impl Role {
    /// Reads a tag's word; what no one could have meant is none.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "caller" => Self::Caller,
            "agent" => Self::Agent,
            "listener" => Self::Listener,
            "mixed" => Self::Mixed,
            other if other.is_empty() || other.len() > ROLE_LEN_MAX || !other.bytes().all(|b| b.is_ascii_graphic()) => {
                return None;
            }
            other => Self::Other(other.into()),
        })
    }

    /// The word as published and as written into tags.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Caller => "caller",
            Self::Agent => "agent",
            Self::Listener => "listener",
            Self::Mixed => "mixed",
            Self::Other(word) => word,
        }
    }

    /// Whether it is one of our sockets, which is never listened to itself.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Listener | Self::Mixed)
    }

    /// Whom a socket that hears this leg lets us hear.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        Speaker::parse(self.as_str())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
