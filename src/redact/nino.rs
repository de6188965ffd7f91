//! UK national insurance numbers: two letters, six digits, a letter from A to D.

use super::letters::{code_at, is_digit_word, is_short_word};
use super::lex::Class;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Nino;

impl Detector for Nino {
    fn kind(&self) -> EntityKind {
        EntityKind::Nino
    }

    fn cues(&self) -> &'static [&'static str] {
        &["national insurance", "national insurance number", "ni number", "n i number", "nino"]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        let mut at = 0;
        while at < scene.tokens.len() {
            let token = &scene.tokens[at];
            let may_begin = token.class == Class::Word && !is_digit_word(token.text);
            let last = if may_begin { number_at(scene, at) } else { None };
            if let Some(last) = last {
                found.push((at, last));
                at = last;
            }
            at += 1;
        }
    }
}

/// The last token of a number that begins at token `at`.
fn number_at(scene: &Scene<'_>, at: usize) -> Option<usize> {
    let code = code_at(scene, at);
    let prefix = code.get(..2)?.iter().all(|c| c.value.is_ascii_lowercase()) && !is_short_word(scene.tokens[at].text);
    let digits = code.get(2..8)?.iter().all(|c| c.value.is_ascii_digit());
    if !prefix || !digits || code.get(8).is_some_and(|c| c.value.is_ascii_digit()) {
        return None;
    }
    let alone = code.get(9).is_none_or(|next| next.token != code[8].token);
    match code.get(8) {
        Some(suffix) if matches!(suffix.value, b'a'..=b'd') && alone => Some(suffix.token),
        _ if scene.announced(EntityKind::Nino, at) => Some(code[7].token),
        _ => None,
    }
}
