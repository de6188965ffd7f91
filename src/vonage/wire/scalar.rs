//! Values that senders write in more than one form: numbers, texts and URLs.
//!
//! Each remembers the form it came in, and is written again in that form.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Number, Value};

use super::{Field, Wire};

/// A number, written as a number or as a string of one: `0`, `"0"`, `".91"`.
#[derive(Clone, PartialEq)]
pub enum Num {
    /// A JSON number.
    Number(Number),
    /// A string that holds a finite decimal number.
    Text(String),
}

impl Num {
    /// The number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// The number, where it is whole and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        let exact = match self {
            Self::Number(number) => number.as_u64(),
            Self::Text(text) => text.parse().ok(),
        };
        // Whole numbers may come as 60.0; beyond 2^53 they would no longer be exact.
        exact.or_else(|| {
            self.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(n)).map(|n| n as u64)
        })
    }
}

impl fmt::Debug for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl<N: Into<Number>> From<N> for Num {
    fn from(number: N) -> Self {
        Self::Number(number.into())
    }
}

impl Wire for Num {
    fn expected() -> Cow<'static, str> {
        "a number".into()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        let decimal = |text: &str| {
            text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
                && text.parse::<f64>().is_ok_and(f64::is_finite)
        };
        match value {
            Value::Number(number) => Ok(Self::Number(number)),
            Value::String(text) if decimal(&text) => Ok(Self::Text(text)),
            other => Err(other),
        }
    }

    fn to_wire(&self) -> Value {
        match self {
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
        }
    }
}

/// A text that some senders write as a JSON number: `"447700900000"`, `447700900000`.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// A string.
    Text(String),
    /// A number that stands for its decimal text.
    Number(Number),
}

impl Text {
    /// The text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Wire for Text {
    fn expected() -> Cow<'static, str> {
        String::expected()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Number(number) => Ok(Self::Number(number)),
            other => Err(other),
        }
    }

    fn to_wire(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::Number(number.clone()),
        }
    }
}

/// URLs: an array, of one element where the reference is followed, or a bare string.
#[derive(Debug, Clone, PartialEq)]
pub enum Urls {
    /// `["https://…"]`
    Many(Vec<String>),
    /// `"https://…"`, tolerated.
    Bare(String),
}

impl Urls {
    /// Every URL, in order.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::Many(urls) => urls,
            Self::Bare(url) => std::slice::from_ref(url),
        }
    }
}

impl From<&str> for Field<Urls> {
    /// One URL in its array, as the reference asks for.
    fn from(url: &str) -> Self {
        Self::Is(Urls::Many(vec![url.to_owned()]))
    }
}

impl Wire for Urls {
    fn expected() -> Cow<'static, str> {
        "an array of one URL".into()
    }

    fn from_wire(value: Value) -> Result<Self, Value> {
        match value {
            Value::String(url) => Ok(Self::Bare(url)),
            other => Vec::from_wire(other).map(Self::Many),
        }
    }

    fn to_wire(&self) -> Value {
        match self {
            Self::Many(urls) => urls.to_wire(),
            Self::Bare(url) => url.to_wire(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_what_only_looks_like_one() {
        for (value, float, whole) in [
            (json!(0), Some(0.0), Some(0)),
            (json!("0"), Some(0.0), Some(0)),
            (json!(".91"), Some(0.91), None),
            (json!("+2"), Some(2.0), Some(2)),
            (json!(60.0), Some(60.0), Some(60)),
            (json!("1e3"), Some(1000.0), Some(1000)),
            (json!(-1), Some(-1.0), None),
            (json!(1e300), Some(1e300), None),
            (json!(u64::MAX), Some(18_446_744_073_709_551_615.0), Some(u64::MAX)),
        ] {
            let num = Num::from_wire(value.clone()).unwrap();
            assert_eq!((num.as_f64(), num.as_u64(), num.to_wire()), (float, whole, value));
        }
        for value in [
            json!(""),
            json!(" 1"),
            json!("1,5"),
            json!("inf"),
            json!("NaN"),
            json!("1e999"),
            json!("0x1"),
            json!(null),
            json!([1]),
        ] {
            assert_eq!(Num::from_wire(value.clone()), Err(value));
        }
    }

    #[test]
    fn texts_and_urls() {
        assert_eq!(Text::from_wire(json!(447_700_900_000_u64)).unwrap().text(), "447700900000");
        assert_eq!(Text::from_wire(json!(true)), Err(json!(true)));
        for value in [json!("https://a"), json!(["https://a"])] {
            let urls = Urls::from_wire(value.clone()).unwrap();
            assert_eq!((urls.all(), urls.to_wire()), (&["https://a".to_owned()][..], value));
        }
        assert_eq!(Urls::from_wire(json!(["https://a", 1, "b"])), Err(json!(["https://a", 1, "b"])));
    }
}
