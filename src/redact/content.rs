//! What a webhook says of keys and words, redacted where it stands.

use serde_json::{Map, Value};

use super::{Heard, Keys, Memory, Policy, tagged};
use crate::types::{EntityKind, KeyRule, LegId, Moment, SegmentId, SegmentKind};

/// Keys pressed.
const KEYS: [&str; 2] = ["dtmf", "digits"];
/// Words recognised by somebody else.
const SPEECH: &str = "speech";
/// What an application wrote for itself.
const PAYLOAD: &str = "payload";
/// Numbers of the parties and times, which are no content of the call.
const FACTS: [&str; 5] = ["from", "to", "timestamp", "type", "confidence"];

/// Takes out of an event's `content` what must not be published: keys, as the policy's rule
/// for them says, and entities in words. `foreign` says that it is an event of no known kind, of
/// which any field may hold words. `keys` are those of the call so far.
pub fn hide(policy: Policy, keys: &mut Keys, at: Moment, content: &mut Map<String, Value>, foreign: bool) {
    for (name, value) in content.iter_mut() {
        match name.as_str() {
            name if KEYS.contains(&name) => hide_keys(policy.keys, keys, at, value),
            // What was asked is not known here, so what may be an answer to it is held back.
            SPEECH => hide_words(policy, SegmentKind::Partial, value),
            name if name == PAYLOAD || foreign && !is_fact(name) => hide_words(policy, SegmentKind::Final, value),
            _ => {}
        }
    }
}

fn is_fact(name: &str) -> bool {
    FACTS.contains(&name) || name.ends_with("url") || name.ends_with("uuid")
}

fn hide_keys(rule: KeyRule, keys: &mut Keys, at: Moment, value: &mut Value) {
    let pressed = match value {
        Value::Array(values) => return values.iter_mut().for_each(|value| hide_keys(rule, keys, at, value)),
        Value::Object(map) => return map.values_mut().for_each(|value| hide_keys(rule, keys, at, value)),
        Value::String(text) => std::mem::take(text),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) => return,
    };
    if !keys.press(rule, at, &pressed) {
        *value = EntityKind::Digits.tag().into();
    } else if let Value::String(text) = value {
        *text = pressed;
    }
}

fn hide_words(policy: Policy, kind: SegmentKind, value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| hide_words(policy, kind, value)),
        Value::Object(map) => {
            let texts = map.iter_mut().filter(|(name, _)| !is_fact(name));
            texts.for_each(|(_, value)| hide_words(policy, kind, value));
        }
        Value::String(text) => {
            if let Some(hidden) = alone(policy, kind, text) {
                *text = hidden;
            }
        }
        Value::Number(number) => {
            if let Some(hidden) = alone(policy, SegmentKind::Final, &number.to_string()) {
                *value = hidden.into();
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A text of which nothing else is known; none where nothing is taken out.
fn alone(policy: Policy, kind: SegmentKind, text: &str) -> Option<String> {
    let leg = LegId::parse("text").ok()?;
    let heard = Heard { leg: &leg, id: SegmentId(1), kind, at: Moment::default() };
    let found = Memory::default().find(policy, heard, text);
    (!found.is_empty()).then(|| tagged(text, &found))
}
