//! Words with times, masked where their text was redacted, so that a recording can be
//! muted where they were said.

use super::Found;
use crate::types::{Entity, EntityKind, Private, Word};

/// Masks `words`, of which `text` is the whole, where `found` says. Their number and times
/// stay. Without words an entity has its place in `text` alone, and no times.
pub(super) fn mask(text: &str, found: &[Found], words: &mut [Word]) -> Vec<Entity> {
    if words.is_empty() {
        return found.iter().map(|found| in_text(text, found)).collect();
    }
    let Some(places) = places(text, words) else {
        return mask_all(text, found, words);
    };
    let mut entities = Vec::new();
    for &Found { kind, bytes: (start, end) } in found {
        let touched = |(from, to): &(usize, usize)| *from < end && *to > start;
        let Some(first) = places.iter().position(touched) else {
            entities.push(in_text(text, &Found { kind, bytes: (start, end) }));
            continue;
        };
        let count = places[first..].iter().take_while(|place| touched(place) || place.0 == place.1).count();
        let inside = &mut words[first..first + count];
        let span_ms = (inside[0].start_ms, inside[count - 1].end_ms.max(inside[0].start_ms));
        for word in inside {
            word.text = Private(kind.tag().to_owned());
        }
        entities.push(Entity { kind, span_ms: Some(span_ms), first_word: first, words: count });
    }
    entities
}

fn in_text(text: &str, found: &Found) -> Entity {
    let (start, end) = found.bytes;
    let before = text[..start].split_whitespace().count();
    // A bracket or a sign that is glued to the entity belongs to its first word.
    let glued = text[..start].chars().next_back().is_some_and(|c| !c.is_whitespace());
    let words = text[start..end].split_whitespace().count().max(1);
    Entity { kind: found.kind, span_ms: None, first_word: before - usize::from(glued), words }
}

/// Where in `text` each word stands, in bytes; none where they are not its words.
fn places(text: &str, words: &[Word]) -> Option<Vec<(usize, usize)>> {
    let mut letters = text.char_indices().filter(|(_, c)| c.is_alphanumeric()).peekable();
    let mut places = Vec::with_capacity(words.len());
    let mut at = 0;
    for word in words {
        let mut start = None;
        for c in word.text.0.chars().filter(|c| c.is_alphanumeric()) {
            let (place, same) = letters.next()?;
            if !same.to_lowercase().eq(c.to_lowercase()) {
                return None;
            }
            start.get_or_insert(place);
            at = place + same.len_utf8();
        }
        places.push((start.unwrap_or(at), at));
    }
    letters.peek().is_none().then_some(places)
}

/// Words that are not those of the text cannot be told apart from what it says: none of
/// them keeps its text, if anything was redacted.
fn mask_all(text: &str, found: &[Found], words: &mut [Word]) -> Vec<Entity> {
    if !found.is_empty() {
        for word in words {
            word.text = Private(EntityKind::Digits.tag().to_owned());
        }
    }
    found.iter().map(|found| in_text(text, found)).collect()
}
