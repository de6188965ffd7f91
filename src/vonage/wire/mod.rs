//! JSON objects that lose nothing on their way through our types.
//!
//! Vonage's documents, SDKs and live servers do not agree on every field: a level
//! comes as `0` or `"0"`, a URL as `["…"]` or `"…"`, a field as `null`, and new fields
//! appear without notice. So every field is a [`Field`]: absent, of the type we know,
//! or odd and kept as it came; and every object keeps the keys it does not know in
//! [`Extra`]. What was read is written again with the same meaning, whatever it was.
//!
//! Nothing odd or unknown is ever shown by `Debug`: it may be a caller's number.

mod scalar;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

pub use self::scalar::{Num, Text, Urls};
use crate::types::Private;

/// A JSON object.
pub type Map = serde_json::Map<String, Value>;

/// A type that one kind of JSON value can be read into and written from without loss.
pub trait Wire: Sized {
    /// Whether values may only be shown by their kind.
    const PRIVATE: bool = false;

    /// What a value of this type must be, for messages: `a string`.
    fn expected() -> Cow<'static, str>;

    /// Reads a value.
    ///
    /// # Errors
    /// The value itself, unchanged, when it is of another kind.
    fn from_wire(value: Value) -> Result<Self, Value>;

    /// Writes the value that [`Wire::from_wire`] read.
    fn to_wire(&self) -> Value;
}

/// One field of an object.
#[derive(Clone, PartialEq, Default)]
pub enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// A value of the type we know.
    Is(T),
    /// A value of another type, `null` included, as it came.
    Odd(Box<Value>),
}

impl<T> Field<T> {
    /// The value, where there is one of the type we know.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            _ => None,
        }
    }

    /// The value that is not of the type we know.
    pub fn odd(&self) -> Option<&Value> {
        match self {
            Self::Odd(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the key is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether there is a value other than `null`.
    pub fn is_given(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Is(_) => true,
            Self::Odd(value) => !value.is_null(),
        }
    }
}

impl<T: Wire> Field<T> {
    /// Takes the field out of an object.
    pub fn take(map: &mut Map, key: &str) -> Self {
        map.shift_remove(key)
            .map_or(Self::Absent, |value| T::from_wire(value).map_or_else(|odd| Self::Odd(Box::new(odd)), Self::Is))
    }

    /// Puts the field into an object; does nothing where it is absent.
    pub fn put(&self, map: &mut Map, key: &str) {
        let value = match self {
            Self::Absent => return,
            Self::Is(value) => value.to_wire(),
            Self::Odd(value) => (**value).clone(),
        };
        map.insert(key.to_owned(), value);
    }
}

impl<T> Field<Private<T>> {
    /// The private value itself, for use and never for a log line.
    pub fn reveal(&self) -> Option<&T> {
        self.get().map(|private| &private.0)
    }
}

impl<T> From<T> for Field<T> {
    fn from(value: T) -> Self {
        Self::Is(value)
    }
}

impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Is)
    }
}

impl From<&str> for Field<String> {
    fn from(value: &str) -> Self {
        Self::Is(value.to_owned())
    }
}

impl From<&str> for Field<Text> {
    fn from(value: &str) -> Self {
        Self::Is(value.into())
    }
}

impl From<&str> for Field<Private<Text>> {
    fn from(value: &str) -> Self {
        Self::Is(Private(value.into()))
    }
}

impl From<&str> for Field<Private<String>> {
    fn from(value: &str) -> Self {
        Self::Is(Private(value.to_owned()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Is(value) => value.fmt(f),
            Self::Odd(value) => write!(f, "odd({})", kind(value)),
        }
    }
}

/// The keys of an object that its type does not know. `Debug` shows the keys only.
#[derive(Clone, PartialEq, Default)]
pub struct Extra(pub Map);

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The kind of a JSON value, for messages that must not show the value.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

macro_rules! plain {
    ($type:ty, $expected:literal, $variant:ident) => {
        impl Wire for $type {
            fn expected() -> Cow<'static, str> {
                $expected.into()
            }
            fn from_wire(value: Value) -> Result<Self, Value> {
                match value {
                    Value::$variant(inner) => Ok(inner),
                    other => Err(other),
                }
            }
            fn to_wire(&self) -> Value {
                Value::$variant(self.clone())
            }
        }
    };
}

plain!(String, "a string", String);
plain!(bool, "true or false", Bool);
plain!(Map, "an object", Object);

impl Wire for Value {
    fn expected() -> Cow<'static, str> {
        "any value".into()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        Ok(value)
    }

    fn to_wire(&self) -> Value {
        self.clone()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn expected() -> Cow<'static, str> {
        format!("an array, each element {}", T::expected()).into()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        let Value::Array(items) = value else { return Err(value) };
        let mut read = Self::with_capacity(items.len());
        let mut items = items.into_iter();
        while let Some(item) = items.next() {
            match T::from_wire(item) {
                Ok(item) => read.push(item),
                Err(odd) => {
                    let before = read.iter().map(T::to_wire);
                    return Err(before.chain([odd]).chain(items).collect());
                }
            }
        }
        Ok(read)
    }

    fn to_wire(&self) -> Value {
        self.iter().map(T::to_wire).collect()
    }
}

impl<T: Wire> Wire for Private<T> {
    const PRIVATE: bool = true;

    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        T::from_wire(value).map(Private)
    }

    fn to_wire(&self) -> Value {
        self.0.to_wire()
    }
}
