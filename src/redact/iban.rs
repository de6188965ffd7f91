//! International bank account numbers: a country, two check digits, 11 to 30 letters and
//! digits whose remainder is right (ISO 13616), or less where one was asked for.

use super::letters::{Char, code_at, is_digit_word, is_short_word};
use super::lex::Class;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Iban;

/// Characters in an IBAN.
const LEN: std::ops::RangeInclusive<usize> = 15..=34;

impl Detector for Iban {
    fn kind(&self) -> EntityKind {
        EntityKind::Iban
    }

    fn cues(&self) -> &'static [&'static str] {
        &["iban", "i b a n", "iban number", "international bank account number", "i ban"]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        let mut at = 0;
        while at < scene.tokens.len() {
            let token = &scene.tokens[at];
            let may_begin = token.class == Class::Word
                && token.text.len() <= 2
                && !is_digit_word(token.text)
                && !is_short_word(token.text);
            if let Some(last) = may_begin.then(|| number_at(scene, at)).flatten() {
                found.push((at, last));
                at = last;
            }
            at += 1;
        }
    }
}

fn number_at(scene: &Scene<'_>, at: usize) -> Option<usize> {
    let code = code_at(scene, at);
    let country = code.get(..2)?.iter().all(|c| c.value.is_ascii_lowercase());
    let check = code.get(2..4)?.iter().all(|c| c.value.is_ascii_digit());
    if !country || !check {
        return None;
    }
    let whole = |len: &usize| code.get(*len).is_none_or(|next| next.token != code[len - 1].token);
    let longest = code.len().min(*LEN.end());
    let confirmed = LEN.rev().filter(|len| *len <= longest).filter(whole).find(|len| remainder(&code[..*len]) == 1);
    let heard = (scene.announced(EntityKind::Iban, at) && code.len() >= *LEN.start()).then_some(longest);
    confirmed.or(heard).map(|len| code[len - 1].token)
}

/// ISO 7064, modulo 97: 1 for a number that is right.
fn remainder(code: &[Char]) -> u32 {
    code[4..].iter().chain(&code[..4]).fold(0, |sum, c| match c.value {
        digit @ b'0'..=b'9' => (sum * 10 + u32::from(digit - b'0')) % 97,
        letter => (sum * 100 + u32::from(letter - b'a') + 10) % 97,
    })
}
