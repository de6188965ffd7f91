//! How the types of this family are declared: objects, words, and objects chosen by a tag.
//!
//! Each macro writes down a shape once, with the wire's own names beside ours, and
//! gives it [`Wire`](super::wire::Wire), serde both ways and a `Debug` that leaves out
//! what is absent.

/// Serde both ways for a type that has [`Wire`](super::wire::Wire).
macro_rules! serde_by_wire {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::vonage::wire::Wire::to_wire(self), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                <Self as $crate::vonage::wire::Wire>::from_wire(value).map_err(|odd| {
                    let (wanted, found) =
                        (<Self as $crate::vonage::wire::Wire>::expected(), $crate::vonage::wire::kind(&odd));
                    serde::de::Error::custom(format_args!("expected {wanted}, found {found}"))
                })
            }
        }
    };
}

/// An object: `Name { field: Type = "key", … }`. Every field is a
/// [`Field`](super::wire::Field); other keys go to `extra`.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $crate::vonage::wire::Field<$type>,)*
            /// Every other key, as it came.
            pub extra: $crate::vonage::wire::Extra,
        }

        impl $name {
            /// The keys this type knows.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            /// Reads an object. There is no object that cannot be read.
            #[must_use]
            pub fn from_map(mut map: $crate::vonage::wire::Map) -> Self {
                Self {
                    $($field: $crate::vonage::wire::Field::take(&mut map, $key),)*
                    extra: $crate::vonage::wire::Extra(map),
                }
            }

            /// Writes the object that was read. A typed field wins over a key of the
            /// same name in `extra`.
            #[must_use]
            pub fn to_map(&self) -> $crate::vonage::wire::Map {
                let mut map = $crate::vonage::wire::Map::new();
                $(self.$field.put(&mut map, $key);)*
                for (key, value) in &self.extra.0 {
                    if !map.contains_key(key) {
                        map.insert(key.clone(), value.clone());
                    }
                }
                map
            }
        }

        impl $crate::vonage::wire::Wire for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                "an object".into()
            }
            fn from_wire(value: serde_json::Value) -> Result<Self, serde_json::Value> {
                match value {
                    serde_json::Value::Object(map) => Ok(Self::from_map(map)),
                    other => Err(other),
                }
            }
            fn to_wire(&self) -> serde_json::Value {
                serde_json::Value::Object(self.to_map())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut out = f.debug_struct(stringify!($name));
                $(if !self.$field.is_absent() {
                    out.field(stringify!($field), &self.$field);
                })*
                if !self.extra.0.is_empty() {
                    out.field("extra", &self.extra);
                }
                out.finish()
            }
        }

        $crate::vonage::shape::serde_by_wire!($name);
    };
}

/// A closed set of words: `Name { Variant = "word", … }`. Another word does not fit
/// and stays odd.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every word, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The variant that this exact word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::vonage::wire::Wire for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                let words: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                words.join(" or ").into()
            }
            fn from_wire(value: serde_json::Value) -> Result<Self, serde_json::Value> {
                value.as_str().and_then(Self::from_word).ok_or(value)
            }
            fn to_wire(&self) -> serde_json::Value {
                self.as_str().into()
            }
        }
    };
}

/// An open set of words: like [`words!`], and any other string is kept as `Other`.
macro_rules! open_words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word this version does not know, as it came.
            Other(String),
        }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl $crate::vonage::wire::Wire for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                "a string".into()
            }
            fn from_wire(value: serde_json::Value) -> Result<Self, serde_json::Value> {
                match value {
                    serde_json::Value::String(word) => Ok(match word.as_str() {
                        $($word => Self::$variant,)+
                        _ => Self::Other(word),
                    }),
                    other => Err(other),
                }
            }
            fn to_wire(&self) -> serde_json::Value {
                self.as_str().into()
            }
        }
    };
}

/// An object whose type is named by one of its keys: `Name by "key" { Type = "word", … }`.
/// Whatever fits no type is kept whole as `Unknown`.
macro_rules! tagged {
    ($(#[$meta:meta])* $name:ident by $tag:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "a handful a call, built once and written out")]
        pub enum $name {
            $($(#[$doc])* $variant($variant),)+
            /// Anything else, as it came: another tag, no tag, or no object at all.
            Unknown($crate::types::Private<serde_json::Value>),
        }

        impl $name {
            /// The key that names the type.
            pub const TAG: &'static str = $tag;
            /// Every known tag.
            pub const TAGS: &'static [&'static str] = &[$($word),+];

            /// The tag, known or not; none where there is no such string.
            #[must_use]
            pub fn tag(&self) -> Option<&str> {
                match self {
                    $(Self::$variant(_) => Some($word),)+
                    Self::Unknown(value) => value.0.get($tag)?.as_str(),
                }
            }
        }

        impl $crate::vonage::wire::Wire for $name {
            fn expected() -> std::borrow::Cow<'static, str> {
                concat!("an object with \"", $tag, "\"").into()
            }
            fn from_wire(value: serde_json::Value) -> Result<Self, serde_json::Value> {
                let serde_json::Value::Object(mut map) = value else {
                    return Ok(Self::Unknown($crate::types::Private(value)));
                };
                match map.get($tag).and_then(serde_json::Value::as_str) {
                    $(Some($word) => {
                        map.shift_remove($tag);
                        Ok(Self::$variant($variant::from_map(map)))
                    })+
                    _ => Ok(Self::Unknown($crate::types::Private(serde_json::Value::Object(map)))),
                }
            }
            fn to_wire(&self) -> serde_json::Value {
                let (word, rest) = match self {
                    $(Self::$variant(inner) => ($word, inner.to_map()),)+
                    Self::Unknown(value) => return value.0.clone(),
                };
                let mut map = $crate::vonage::wire::Map::new();
                map.insert($tag.to_owned(), word.into());
                map.extend(rest.into_iter().filter(|(key, _)| key != $tag));
                serde_json::Value::Object(map)
            }
        }

        $(impl From<$variant> for $name {
            fn from(inner: $variant) -> Self {
                Self::$variant(inner)
            }
        })+

        $crate::vonage::shape::serde_by_wire!($name);
    };
}

pub(super) use {object, open_words, serde_by_wire, tagged, words};
