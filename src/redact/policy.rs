//! What is taken out, and how readily.

use crate::types::{EntityKind, RedactionMode};

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self(u16::MAX);

    /// Whether the kind is one of them.
    #[must_use]
    pub fn has(self, kind: EntityKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

impl FromIterator<EntityKind> for Kinds {
    fn from_iter<I: IntoIterator<Item = EntityKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u16))
    }
}

/// What one leg is redacted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How much.
    pub mode: RedactionMode,
    /// Which kinds.
    pub kinds: Kinds,
}

impl Policy {
    /// Whether a string of digits, of which nothing is known, may be of a kind to be taken out.
    pub(super) fn has_numbers(self) -> bool {
        let numbers = [EntityKind::Card, EntityKind::Cvv, EntityKind::Expiry, EntityKind::Ssn, EntityKind::Account];
        numbers.iter().any(|kind| self.kinds.has(*kind))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { mode: RedactionMode::default(), kinds: Kinds::ALL }
    }
}
