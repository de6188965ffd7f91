//! A secret in the configuration: read from a string, shown by nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::types::Private;

/// What stands for a secret wherever one is shown.
pub(super) const MASK: &str = "[secret]";

/// Marks a value that stands in a file.
pub(super) const FILE: &str = "file:";

/// A secret text: as it stands, or after `file:` the path of the file that holds it.
/// `Debug` and serialisation show that it is there, and nothing of it;
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
        // That there is none is no secret.
        serializer.serialize_str(if self.is_empty() { "" } else { MASK })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(toml::Value::deserialize(deserializer)?)
    }
}

/// A value, or the content of the file that it names, without the line break at the end.
pub(super) fn reveal(value: &str) -> Result<String, String> {
    let Some(path) = value.strip_prefix(FILE) else { return Ok(value.to_owned()) };
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|error| format!("file {path} cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn secret<E: de::Error>(value: toml::Value) -> Result<Secret, E> {
    match value {
        toml::Value::String(text) => reveal(&text).map(Secret).map_err(E::custom),
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
