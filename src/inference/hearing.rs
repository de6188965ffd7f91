//! What is kept for one leg on this side: how its texts are redacted, who hears it too, what its
//! speaker said last.

use super::neighbour::Last;
use super::{Overhearing, Redaction};
use crate::redact::Policy;

/// See the module's documentation. To be held as long as the leg is there.
#[derive(Clone)]
pub struct Hearing {
    pub(super) redaction: Redaction,
    /// Where a second transcriber is to hear it too.
    pub(super) overhearing: Option<Overhearing>,
    pub(super) last: Last,
}

impl Hearing {
    /// What is taken out of its texts, and how readily.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.redaction.policy()
    }
}

#[cfg(test)]
impl Default for Hearing {
    fn default() -> Self {
        let redaction = Redaction::new(Policy::default(), std::sync::Arc::default());
        Self { redaction, overhearing: None, last: Last::default() }
    }
}
