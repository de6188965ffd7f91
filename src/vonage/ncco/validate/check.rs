//! The tools of validation: where we are, and the rules that many fields share.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::limits::{E164_DIGITS, SHOWN_CHARS};
use super::{Problem, Severity};
use crate::types::Private;
use crate::vonage::ncco::Method;
use crate::vonage::wire::{Extra, Field, Num, Text, Urls, Wire, kind};

/// Collects problems on a walk through a document.
#[derive(Default)]
pub(super) struct Checker {
    problems: Vec<Problem>,
    path: String,
}

impl Checker {
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Walks into the value of `key`.
    pub(super) fn inside(&mut self, key: &str, walk: impl FnOnce(&mut Self)) {
        let back = self.path.len();
        push_key(&mut self.path, key);
        walk(self);
        self.path.truncate(back);
    }

    /// Walks into an element of the array at `key`; of this array where `key` is empty.
    pub(super) fn element(&mut self, key: &str, index: usize, walk: impl FnOnce(&mut Self)) {
        let back = self.path.len();
        push_key(&mut self.path, key);
        self.path += &format!("[{index}]");
        walk(self);
        self.path.truncate(back);
    }

    fn add(&mut self, key: &str, severity: Severity, rule: Cow<'static, str>, value: &dyn fmt::Display) {
        let mut path = self.path.clone();
        push_key(&mut path, key);
        self.problems.push(Problem { path, rule, value: value.to_string(), severity });
    }

    pub(super) fn error(&mut self, key: &str, rule: impl Into<Cow<'static, str>>, value: impl fmt::Display) {
        self.add(key, Severity::Error, rule.into(), &value);
    }

    pub(super) fn warning(&mut self, key: &str, rule: impl Into<Cow<'static, str>>, value: impl fmt::Display) {
        self.add(key, Severity::Warning, rule.into(), &value);
    }

    /// The field's value; reports one of the wrong kind.
    pub(super) fn typed<'a, T: Wire>(&mut self, key: &str, field: &'a Field<T>) -> Option<&'a T> {
        match field {
            Field::Absent => {}
            Field::Is(value) => return Some(value),
            Field::Odd(odd) => match &**odd {
                Value::Null => self.warning(key, "should be left out rather than null", "null"),
                Value::String(word)
                    if T::expected() == bool::expected() && matches!(word.as_str(), "true" | "false") =>
                {
                    self.warning(key, "should be true or false, not a string", shown(odd));
                }
                Value::String(word)
                    if T::expected() == Method::expected()
                        && Method::from_word(&word.to_ascii_uppercase()).is_some() =>
                {
                    self.warning(key, "should be in capitals", shown(odd));
                }
                odd if T::PRIVATE => self.error(key, format!("must be {}", T::expected()), kind(odd)),
                odd => self.error(key, format!("must be {}", T::expected()), shown(odd)),
            },
        }
        None
    }

    /// The field's value; reports that it is missing or of the wrong kind.
    pub(super) fn required<'a, T: Wire>(&mut self, key: &str, field: &'a Field<T>) -> Option<&'a T> {
        if !field.is_given() {
            self.error(key, "is required", if field.is_absent() { "absent" } else { "null" });
            return None;
        }
        self.typed(key, field)
    }

    /// A required string that is not empty.
    pub(super) fn required_text<'a>(&mut self, key: &str, field: &'a Field<String>) -> Option<&'a str> {
        let text = self.required(key, field)?;
        if text.is_empty() {
            self.error(key, "must not be empty", "\"\"");
            return None;
        }
        Some(text)
    }

    /// A number within a range, both ends in.
    pub(super) fn range(&mut self, key: &str, field: &Field<Num>, range: &RangeInclusive<f64>) {
        self.ranged(key, field, range, Severity::Error, false);
    }

    /// A number that should be within a range the reference is not sure of.
    pub(super) fn loose_range(&mut self, key: &str, field: &Field<Num>, range: &RangeInclusive<f64>) {
        self.ranged(key, field, range, Severity::Warning, false);
    }

    /// A whole number within a range.
    pub(super) fn count(&mut self, key: &str, field: &Field<Num>, range: &RangeInclusive<f64>, severity: Severity) {
        self.ranged(key, field, range, severity, true);
    }

    fn ranged(&mut self, key: &str, field: &Field<Num>, range: &RangeInclusive<f64>, severity: Severity, whole: bool) {
        let Some(num) = self.typed(key, field) else { return };
        let fits = num.as_f64().is_some_and(|n| range.contains(&n) && (!whole || n.fract() == 0.0));
        if fits {
            return;
        }
        let must = if severity == Severity::Error { "must" } else { "should" };
        let what = if whole { "be a whole number from" } else { "be from" };
        let to = if range.end().is_finite() { format!(" to {}", range.end()) } else { String::new() };
        let rule = format!("{must} {what} {}{to}", range.start());
        self.add(key, severity, rule.into(), &shown(&num.to_wire()));
    }

    /// An `http` or `https` URL.
    pub(super) fn url(&mut self, key: &str, field: &Field<String>) {
        if let Some(url) = self.typed(key, field) {
            self.url_text(key, url);
        }
    }

    pub(super) fn url_text(&mut self, key: &str, url: &str) {
        if !has_scheme_and_host(url, &["http", "https"]) {
            self.error(key, "must be an http:// or https:// URL", shown(&url.into()));
        }
    }

    /// An array of one URL; a bare string is tolerated.
    pub(super) fn urls(&mut self, key: &str, field: &Field<Urls>) {
        match self.typed(key, field) {
            None => {}
            Some(Urls::Bare(url)) => {
                self.warning(key, "should be an array of one URL", shown(&url.as_str().into()));
                self.url_text(key, url);
            }
            Some(Urls::Many(urls)) => {
                match urls.len() {
                    0 => self.error(key, "must hold one URL", "[]"),
                    1 => {}
                    n => self.warning(key, "should hold one URL", format_args!("{n} elements")),
                }
                for (index, url) in urls.iter().enumerate() {
                    self.element(key, index, |c| c.url_text("", url));
                }
            }
        }
    }

    /// Ids of legs: strings, none empty.
    pub(super) fn legs(&mut self, key: &str, field: &Field<Vec<String>>) {
        for (index, leg) in self.typed(key, field).into_iter().flatten().enumerate() {
            if leg.is_empty() {
                self.element(key, index, |c| c.error("", "must not be empty", "\"\""));
            }
        }
    }

    /// A telephone number: E.164 without `+`. Shown by its shape only.
    pub(super) fn e164(&mut self, key: &str, number: &Private<Text>) {
        let number = number.0.text();
        let bad = number.chars().position(|c| !c.is_ascii_digit());
        if bad.is_some() || !E164_DIGITS.contains(&number.len()) {
            let rule = format!("must be E.164 without +: {} to {} digits", E164_DIGITS.start(), E164_DIGITS.end());
            self.error(key, rule, shape(&number, bad));
        } else if number.starts_with('0') {
            self.warning(key, "should start with a country code, not 0", shape(&number, None));
        }
    }

    /// A text of these characters only, not empty. Shown by its shape only.
    pub(super) fn alphabet(&mut self, key: &str, text: &str, alphabet: &str, name: &str) {
        let bad = text.chars().position(|c| !alphabet.contains(c));
        if bad.is_some() || text.is_empty() {
            self.error(key, format!("must hold only {name}"), shape(text, bad));
        }
    }

    /// Keys that the reference does not have, where values may be numbers or secrets.
    pub(super) fn unknown_private(&mut self, extra: &Extra, owner: &str) {
        for (key, value) in &extra.0 {
            self.warning(key, format!("is not a known field of {owner}"), kind(value));
        }
    }

    /// Keys that the reference does not have.
    pub(super) fn unknown(&mut self, extra: &Extra, owner: &str) {
        for (key, value) in &extra.0 {
            self.warning(key, format!("is not a known field of {owner}"), shown(value));
        }
    }
}

/// Whether this is `scheme://host…` with one of these schemes.
pub(super) fn has_scheme_and_host(url: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && !host.is_empty()
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A value as JSON, cut; of an endpoint only that it is an object.
pub(super) fn shown(value: &Value) -> String {
    if matches!(value, Value::Object(map) if map.contains_key("type")) {
        // An endpoint: it holds numbers and secrets.
        return kind(value).to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A text that must not be shown: its length, and its first bad character.
pub(super) fn shape(text: &str, bad: Option<usize>) -> String {
    let count = text.chars().count();
    match bad.and_then(|at| Some((at, text.chars().nth(at)?))) {
        Some((at, c)) => format!("{count} characters, {c:?} at {}", at + 1),
        None => format!("{count} characters"),
    }
}

fn push_key(path: &mut String, key: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if key.is_empty() {
    } else if key.bytes().all(plain) {
        *path += ".";
        *path += key;
    } else {
        *path += &format!("[{}]", Value::from(key));
    }
}
