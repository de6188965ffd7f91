//! What is taken out, and how readily.

use crate::types::{EntityKind, KeyRule, RedactionMode, RedactionTerms};

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
    /// How much of texts.
    pub mode: RedactionMode,
    /// Which kinds.
    pub kinds: Kinds,
    /// Which keys are published. Not a matter of `kinds`, as nobody can say what is keyed in.
    pub keys: KeyRule,
}

impl Policy {
    /// This policy, but for what `terms` say.
    #[must_use]
    pub fn under(self, terms: RedactionTerms) -> Self {
        Self { mode: terms.mode.unwrap_or(self.mode), keys: terms.keys.unwrap_or(self.keys), ..self }
    }

    /// What of it terms can say, said.
    #[must_use]
    pub fn terms(self) -> RedactionTerms {
        RedactionTerms { mode: Some(self.mode), keys: Some(self.keys) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { mode: RedactionMode::default(), kinds: Kinds::ALL, keys: KeyRule::default() }
    }
}
