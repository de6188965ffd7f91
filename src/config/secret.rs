//! A secret in the configuration: read from a string, shown by nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::types::Private;

/// What stands for a secret wherever one is shown.
const MASK: &str = "[secret]";

/// A secret text. `Debug` and serialisation show that it is there, and nothing of it;
/// neither does the error about a value of another type.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text itself, for whoever needs it.
    #[must_use]
    pub fn reveal(&self) -> Private<String> {
        Private(self.0.clone())
    }

    /// Whether it consists of printable ASCII, as an HTTP header's value must.
    pub(super) fn is_printable(&self) -> bool {
        self.0.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(toml::Value::deserialize(deserializer)?)
    }
}

fn secret<E: de::Error>(value: toml::Value) -> Result<Secret, E> {
    match value {
        toml::Value::String(text) => Ok(Secret(text)),
        // Serde's own words would quote the value.
        other => Err(E::custom(format!("is of type {}; expected a string in quotes", other.type_str()))),
    }
}

/// One secret or a list of them, so that one environment variable can set one.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Array(list) => list.into_iter().map(secret).collect(),
        one => Ok(vec![secret(one)?]),
    }
}
