//! `[redaction]`: what is taken out of transcripts before they go anywhere.

use serde::{Deserialize, Serialize};

use crate::redact::{Kinds, Policy};
use crate::types::{EntityKind, KeyRule, RedactionMode};

/// `[redaction]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redaction {
    /// `off`; `tags`: what is known to be private is replaced by a tag such as `[CARD]`;
    /// `strict`: so are digits that may be. A flow may say otherwise.
    pub policy: PolicyRule,
    /// Kinds that are taken out, such as `card`; none is all.
    pub kinds: Vec<String>,
    /// Keys that are published: `choices`, the first of an entry; `publish`, all; `mask`,
    /// none. A flow may say otherwise.
    pub keys: KeysRule,
}

/// How much is taken out of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyRule {
    /// Nothing.
    Off,
    /// What is known to be private.
    #[default]
    Tags,
    /// What may be, too.
    Strict,
}

impl PolicyRule {
    /// As the pipeline knows it.
    #[must_use]
    pub fn mode(self) -> RedactionMode {
        match self {
            Self::Off => RedactionMode::Off,
            Self::Tags => RedactionMode::Tags,
            Self::Strict => RedactionMode::Strict,
        }
    }
}

/// Which keys are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysRule {
    /// All.
    Publish,
    /// The first of an entry.
    #[default]
    Choices,
    /// None.
    Mask,
}

impl KeysRule {
    /// As the pipeline knows it.
    #[must_use]
    pub fn rule(self) -> KeyRule {
        match self {
            Self::Publish => KeyRule::Publish,
            Self::Choices => KeyRule::Choices,
            Self::Mask => KeyRule::Mask,
        }
    }
}

impl Redaction {
    /// What the workers are told.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let kinds = self.kinds.iter().filter_map(|name| EntityKind::parse(name));
        let kinds = if self.kinds.is_empty() { Kinds::ALL } else { kinds.collect() };
        Policy { mode: self.policy.mode(), kinds, keys: self.keys.rule() }
    }
}

/// What is wrong with the section: key, value, and what was expected.
pub(super) fn check(redaction: &Redaction) -> Vec<(String, String)> {
    let names: Vec<_> =
        EntityKind::ALL.iter().filter(|kind| **kind != EntityKind::Digits).map(|k| k.as_str()).collect();
    let unknown = redaction.kinds.iter().enumerate().filter(|(_, name)| !names.contains(&name.as_str()));
    unknown
        .map(|(n, name)| {
            (format!("redaction.kinds[{n}]"), format!("is {name:?}; expected one of {}", names.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_names_and_none_is_all() {
        let read = |toml: &str| toml::from_str::<Redaction>(toml).unwrap();
        let some = read("policy = \"strict\"\nkinds = [\"card\", \"cvv\"]");
        assert_eq!((some.policy().mode, check(&some).len()), (RedactionMode::Strict, 0));
        assert!(some.policy().kinds.has(EntityKind::Cvv) && !some.policy().kinds.has(EntityKind::Phone));
        assert_eq!(read("").policy(), Policy::default());
        for rule in KeyRule::ALL {
            assert_eq!(read(&format!("keys = {:?}", rule.as_str())).policy().keys, rule);
        }
        let wrong = check(&read("kinds = [\"card\", \"pan\"]"));
        assert!(wrong[0].0 == "redaction.kinds[1]" && wrong[0].1.contains("\"pan\"") && wrong[0].1.contains("iban"));
    }
}
