//! `[asr]`: which transcribers, in which order, and when one is left alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::{Table, Value};

use super::secret::{MASK, reveal};
use super::{BreakerSection, Config, Shadow, shadow};
use crate::inference::FailOver;
use crate::inference::course::Bounds;

/// The key of a backend's table that is a secret.
const SECRET: &str = "key";

/// Settings by backend name. What is secret among them stands in the file, in a variable, or
/// after `file:` in a file of its own, and is shown by nothing.
#[derive(Clone, PartialEq, Default)]
pub struct Tables(BTreeMap<String, Value>);

impl Tables {
    /// The table of one backend; empty where there is none.
    #[must_use]
    pub fn table(&self, name: &str) -> Table {
        self.0.get(name).and_then(Value::as_table).cloned().unwrap_or_default()
    }

    /// Sets a key of one backend's table.
    pub fn set(&mut self, name: &str, key: &str, value: Value) {
        let table = self.0.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        if let Some(table) = table.as_table_mut() {
            table.insert(key.to_owned(), value);
        }
    }

    /// Whether there is a table of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names and values, as they were written.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    fn masked(&self) -> BTreeMap<String, Value> {
        let mut tables = self.0.clone();
        for table in tables.values_mut().filter_map(Value::as_table_mut) {
            if let Some(secret) = table.get_mut(SECRET).filter(|secret| secret.as_str() != Some("")) {
                *secret = MASK.into();
            }
        }
        tables
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.masked().fmt(f)
    }
}

impl Serialize for Tables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.masked().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tables = BTreeMap::<String, Value>::deserialize(deserializer)?;
        for (name, table) in &mut tables {
            if let Some(Value::String(secret)) = table.as_table_mut().and_then(|table| table.get_mut(SECRET)) {
                *secret = reveal(secret).map_err(|problem| de::Error::custom(format!("{name}.{SECRET}: {problem}")))?;
            }
        }
        Ok(Self(tables))
    }
}

/// `[asr]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asr {
    /// Name of the transcriber in use; `sidetone backends` lists them.
    pub backend: String,
    /// Name of one on this machine that hears in its place, if that is on this machine too,
    /// what is not worth its time: interims, and finals while much audio waits; empty for none.
    /// Where it is not given, the one that the backend itself knows of, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quick: Option<String>,
    /// That one hears finals while more seconds of audio than this wait for an inference thread.
    pub quick_above_s: f64,
    /// A final that begins so soon after the same speaker's last one, in ms, is heard together
    /// with it by a transcriber that gains by that; 0 for never.
    pub join_within_ms: u64,
    /// Names of those that are asked, in this order, for a segment that it fails on.
    pub fall_back: Vec<String>,
    /// Longest wait for one of several, or a remote one, that names no time of its own, in ms.
    pub attempt_timeout_ms: u64,
    /// Longest wait for all of them together, in ms; never longer than `call.reply_timeout_ms`.
    pub total_timeout_ms: u64,
    /// How often each is asked for one segment at most.
    pub attempts_max: u32,
    /// The next is asked beside one that has not answered for so long, in ms, and the first
    /// answer counts; 0 for never. It costs both.
    pub hedge_after_ms: u64,
    /// When a transcriber that fails is left alone.
    pub breaker: BreakerSection,
    /// Who hears again what they have answered.
    pub shadow: Shadow,
    /// Settings by backend name.
    #[serde(flatten)]
    pub tables: Tables,
}

impl Default for Asr {
    fn default() -> Self {
        let FailOver { attempt_timeout, bounds, .. } = FailOver::default();
        Self {
            backend: crate::asr::BACKENDS[0].name().to_owned(),
            quick: None,
            quick_above_s: 10.0,
            join_within_ms: 2_000,
            fall_back: Vec::new(),
            attempt_timeout_ms: ms(attempt_timeout),
            total_timeout_ms: ms(bounds.total),
            attempts_max: bounds.rounds_max,
            hedge_after_ms: bounds.hedge_after.map_or(0, ms),
            breaker: BreakerSection::default(),
            shadow: Shadow::default(),
            tables: Tables::default(),
        }
    }
}

fn ms(span: Duration) -> u64 {
    span.as_millis() as u64
}

impl Asr {
    /// The table of one backend; empty where there is none.
    #[must_use]
    pub fn table(&self, name: &str) -> Table {
        self.tables.table(name)
    }

    /// The names of those that are asked, in their order.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.backend).chain(&self.fall_back).map(String::as_str)
    }

    /// The name of the quick one, if there is one.
    #[must_use]
    pub fn quick(&self) -> Option<&str> {
        let Some(name) = &self.quick else {
            let backend = crate::asr::find(&self.backend).ok()?;
            return backend.quicker().filter(|quick| self.chain().all(|name| name != *quick));
        };
        (!name.is_empty()).then_some(name)
    }

    /// The names of all that are in use, that one included.
    pub fn used(&self) -> impl Iterator<Item = &str> {
        self.chain().chain(self.quick())
    }

    /// How transcribers that fail are treated, where a leg waits `reply_timeout` at most.
    #[must_use]
    pub fn fail_over(&self, reply_timeout: Duration) -> FailOver {
        let span = Duration::from_millis;
        let patience = self.breaker.patience();
        FailOver {
            attempt_timeout: span(self.attempt_timeout_ms),
            bounds: Bounds {
                total: span(self.total_timeout_ms).min(reply_timeout),
                rounds_max: self.attempts_max,
                pause: patience.cool_down,
                hedge_after: (self.hedge_after_ms > 0).then(|| span(self.hedge_after_ms)),
            },
            patience,
        }
    }
}

/// Key and what is wrong with its value.
pub(super) fn check(config: &Config) -> Vec<(String, String)> {
    let asr = &config.asr;
    let mut problems = Vec::new();
    let mut expect = |key: &str, holds: bool, value: String, expected: &str| {
        if !holds {
            problems.push((format!("asr.{key}"), format!("is {value}; expected {expected}")));
        }
    };
    let names: Vec<_> = crate::asr::BACKENDS.iter().map(|backend| backend.name()).collect();
    for (place, name) in asr.fall_back.iter().enumerate() {
        let known = format!("one of {}", names.join(", "));
        expect(&format!("fall_back[{place}]"), names.contains(&name.as_str()), format!("{name:?}"), &known);
        let new = *name != asr.backend && !asr.fall_back[..place].contains(name);
        expect(&format!("fall_back[{place}]"), new, format!("{name:?}"), "each transcriber once, and not asr.backend");
    }
    if let Some(quick) = asr.quick() {
        expect("quick", names.contains(&quick), format!("{quick:?}"), &format!("one of {}", names.join(", ")));
        let new = asr.chain().all(|name| name != quick);
        expect("quick", new, format!("{quick:?}"), "another than asr.backend and those in asr.fall_back");
    }
    let above = asr.quick_above_s;
    expect("quick_above_s", (0.0..=3_600.0).contains(&above), above.to_string(), "0 to 3600");
    let join = asr.join_within_ms;
    expect("join_within_ms", join <= 60_000, join.to_string(), "0 (never) to 60000");
    let (attempt, total) = (asr.attempt_timeout_ms, asr.total_timeout_ms);
    expect("attempt_timeout_ms", (100..=total).contains(&attempt), attempt.to_string(), "100 to asr.total_timeout_ms");
    expect("total_timeout_ms", (100..=120_000).contains(&total), total.to_string(), "100 to 120000");
    expect("attempts_max", (1..=10).contains(&asr.attempts_max), asr.attempts_max.to_string(), "1 to 10");
    let hedge = asr.hedge_after_ms;
    expect(
        "hedge_after_ms",
        hedge == 0 || hedge < total,
        hedge.to_string(),
        "0 (never) or less than asr.total_timeout_ms",
    );
    problems.extend(asr.breaker.check("asr.breaker"));
    problems.extend(shadow::check(asr));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_brings_its_quick_one_unless_it_is_told_otherwise() {
        let quick = |table: &str| toml::from_str::<Asr>(table).unwrap().quick().map(str::to_owned);
        for (table, expected) in [
            ("", Some("moonshine")),
            ("backend = 'whisper'", Some("moonshine")),
            ("quick = ''", None),
            ("quick = 'scripted'", Some("scripted")),
            ("fall_back = ['moonshine']", None),
            ("backend = 'moonshine'", None),
            ("backend = 'deepgram'\nfall_back = ['whisper']", None),
        ] {
            assert_eq!(quick(table).as_deref(), expected, "{table}");
        }
    }
}
