//! `[asr.shadow]`: who hears again what the transcriber in use has answered, and how much of it.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::Tables;
use super::asr::Asr;

/// `[asr.shadow]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shadow {
    /// Name of a second transcriber; empty for none.
    pub backend: String,
    /// Share of conversations that it hears, 0 to 1. All legs of a conversation go the same way.
    pub share: f64,
    /// Segments waiting for it; one more is shed.
    pub waiting_max: usize,
    /// Settings by backend name, in place of those in `[asr]`.
    #[serde(flatten)]
    pub tables: Tables,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { backend: String::new(), share: 0.05, waiting_max: 4, tables: Tables::default() }
    }
}

impl Shadow {
    /// The second transcriber, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.backend.is_empty()).then_some(self.backend.as_str())
    }
}

impl Asr {
    /// The second transcriber's settings.
    #[must_use]
    pub fn shadow_table(&self) -> Table {
        let Shadow { backend, tables, .. } = &self.shadow;
        if tables.has(backend) { tables.table(backend) } else { self.table(backend) }
    }
}

/// Key and what is wrong with its value.
pub(super) fn check(asr: &Asr) -> Vec<(String, String)> {
    let Shadow { backend, share, waiting_max, .. } = &asr.shadow;
    let names: Vec<_> = crate::asr::BACKENDS.iter().map(|backend| backend.name()).collect();
    let mut problems = Vec::new();
    let mut expect = |key: &str, holds: bool, value: String, expected: &str| {
        if !holds {
            problems.push((format!("asr.shadow.{key}"), format!("is {value}; expected {expected}")));
        }
    };
    let known = backend.is_empty() || names.contains(&backend.as_str());
    let expected = format!("\"\" for none, or one of {}", names.join(", "));
    expect("backend", known, format!("{backend:?}"), &expected);
    expect("share", (0.0..=1.0).contains(share), share.to_string(), "0 to 1");
    expect("waiting_max", (1..=1_000).contains(waiting_max), waiting_max.to_string(), "1 to 1000");
    let same = *backend == asr.backend && asr.shadow_table() == asr.table(backend);
    let value = format!("{backend:?} with the settings of asr.backend");
    let expected = format!("another transcriber, or other settings in [asr.shadow.{backend}]");
    expect("backend", !same, value, &expected);
    problems
}
