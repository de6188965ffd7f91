//! Payment card numbers: 13 to 19 digits whose check digit is right (Luhn), or, where a
//! card's number was asked for, as many digits as a card has though one was misheard.

use super::run::Run;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Card;

/// Digits in a card's number.
pub(super) const LEN: std::ops::RangeInclusive<usize> = 13..=19;
/// With a cue, a recogniser may have lost some of them.
const HEARD_MIN: usize = 11;
/// Digits beyond a card in one run that are taken with it: its expiry date and code.
const REST_MAX: usize = 8;
/// "Twenty five" can be 25 and 20, 5: so many such places are tried both ways.
const UNSURE_MAX: usize = 8;

impl Detector for Card {
    fn kind(&self) -> EntityKind {
        EntityKind::Card
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "card number",
            "card no",
            "card details",
            "long number",
            "number on the card",
            "number on your card",
            "number on my card",
            "credit card",
            "debit card",
            "visa card",
            "sixteen digit",
            "sixteen digits",
            "digits of your card",
            "digits of the card",
            "visa",
            "mastercard",
            "master card",
            "amex",
            "american express",
            "my card",
            "your card",
            "the card",
            "card is",
            "front of the card",
            "front of your card",
            "card ending",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            if let Some((from, to)) = card_in(run) {
                let end = if run.len() - to <= REST_MAX { run.len() } else { to };
                found.push(run.span(from, end));
            } else if run.len() >= HEARD_MIN
                && run.len() <= *LEN.end() + REST_MAX
                && run.values().first() != Some(&0)
                && scene.gap_before(run.first).chars().all(|c| c != '+')
                && (scene.announced(EntityKind::Card, run.first) || scene.explained(EntityKind::Card, run.last))
            {
                found.push((run.first, run.last));
            }
        }
    }
}

/// Where in a run a card's number stands that Luhn confirms.
fn card_in(run: &Run) -> Option<(usize, usize)> {
    let digits = run.values();
    if digits.len() + run.unsure.len().min(UNSURE_MAX) < *LEN.start() {
        return None;
    }
    if LEN.contains(&digits.len()) && luhn(&digits) || run.spoken && other_readings_pass(run, &digits) {
        return Some((0, digits.len()));
    }
    // Within a longer run only what an issuer could have given out, as chance alone
    // confirms one number in ten.
    let windows =
        [16, 15].into_iter().flat_map(|len| (0..digits.len().saturating_sub(len - 1)).map(move |at| (at, at + len)));
    windows
        .filter(|(from, to)| run.divides_at(*from) && run.divides_at(*to))
        .find(|(from, to)| is_issued(&digits[*from..*to]) && luhn(&digits[*from..*to]))
}

/// Tries "twenty five" as 20, 5, alone at each of its places.
fn other_readings_pass(run: &Run, digits: &[u8]) -> bool {
    run.unsure.iter().take(UNSURE_MAX).any(|at| {
        let mut other = digits.to_vec();
        other.insert(*at, 0);
        LEN.contains(&other.len()) && luhn(&other)
    })
}

/// Whether the number begins as those of the large networks do, at their length.
pub(super) fn is_issued(digits: &[u8]) -> bool {
    let len = if matches!(digits, [3, 4 | 7, ..]) { 15 } else { 16 };
    digits.len() == len && is_issuers(digits)
}

/// Whether digits begin as the numbers of the large networks do.
pub(super) fn is_issuers(digits: &[u8]) -> bool {
    matches!(digits, [3, 4 | 5 | 7, ..] | [4, _, ..] | [5, 1..=5, ..] | [2, 2..=7, ..] | [6, 0 | 4 | 5, ..])
}

/// The check of ISO/IEC 7812-1, annex B.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let doubled = u32::from(*digit) << (n % 2);
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits() {
        let check = |text: &str| luhn(&text.bytes().map(|b| b - b'0').collect::<Vec<_>>());
        for good in ["4111111111111111", "378282246310005", "5555555555554444", "4222222222222", "6011000990139424"] {
            assert!(check(good), "{good}");
        }
        assert!(!check("4111111111111112") && !check("1411111111111111"));
    }
}
