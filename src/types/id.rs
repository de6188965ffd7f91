//! Identities. Opaque strings to us: Vonage uses dashed and undashed UUIDs and
//! `CON-…` forms side by side, and an application may bring its own.

use std::fmt;
use std::sync::Arc;

/// Longest id accepted from a peer, in bytes.
pub const ID_LEN_MAX: usize = 128;

/// An id that a peer sent and that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id must be 1 to {ID_LEN_MAX} visible ASCII characters; this one has {len} bytes{why}")]
pub struct BadId {
    len: usize,
    why: &'static str,
}

fn parse(text: &str) -> Result<Arc<str>, BadId> {
    let bad = |why| Err(BadId { len: text.len(), why });
    if text.is_empty() || text.len() > ID_LEN_MAX {
        return bad("");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return bad(", some of them spaces, control characters or not ASCII");
    }
    Ok(Arc::from(text))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes an id; cloning it later does not allocate.
            ///
            /// # Errors
            /// [`BadId`] when empty, longer than [`ID_LEN_MAX`] or not visible ASCII.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                parse(text).map(Self)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id! {
    /// A conversation: the mixer that legs sit in. The record key on Kafka.
    ConversationId
}
id! {
    /// One media leg: one WebSocket, one participant heard.
    LegId
}

/// A segment's number within its leg, counted from 1 in speech order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_visible_ascii() {
        let longest = "x".repeat(ID_LEN_MAX);
        for good in ["CON-0a1b", "63f61863-4a51-4f6b-86e1-46edebcf9356", &longest] {
            assert_eq!(LegId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(ID_LEN_MAX + 1);
        for bad in ["", "two words", "new\nline", "naïve", &too_long] {
            assert!(LegId::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
