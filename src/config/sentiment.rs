//! `[sentiment]`: who scores texts, and when one that is elsewhere is left alone.

use serde::{Deserialize, Serialize};

use super::{BreakerSection, Tables};

/// `[sentiment]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sentiment {
    /// Name of the backend in use, or `none`; `sidetone backends` lists them.
    pub backend: String,
    /// When one that is elsewhere and fails is left alone.
    pub breaker: BreakerSection,
    /// Settings by backend name.
    #[serde(flatten)]
    pub tables: Tables,
}

impl Default for Sentiment {
    fn default() -> Self {
        let backend = crate::sentiment::BACKENDS[0].name().to_owned();
        Self { backend, breaker: BreakerSection::default(), tables: Tables::default() }
    }
}

impl Sentiment {
    /// The table of one backend; empty where there is none.
    #[must_use]
    pub fn table(&self, name: &str) -> toml::Table {
        self.tables.table(name)
    }
}
