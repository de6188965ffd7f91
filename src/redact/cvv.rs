//! A card's security code: three or four digits beside words that say so.

use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Cvv;

impl Detector for Cvv {
    fn kind(&self) -> EntityKind {
        EntityKind::Cvv
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "cvv",
            "cvc",
            "csc",
            "cvn",
            "cvv number",
            "cvc number",
            "cv",
            "c v v",
            "c v c",
            "c v",
            "security code",
            "security number",
            "security digits",
            "security is",
            "verification code",
            "verification number",
            "verification value",
            "back of the card",
            "back of my card",
            "back of your card",
            "on the back",
            "three digits on",
            "three digit code",
            "three digits",
            "last three",
            "four digits on the front",
            "signature strip",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            // "CV two" is the code's name.
            let (from, len) = match run.values()[..] {
                [2, _, _, _] if scene.preceded(run.first, 1, &["cv"]) && run.divides_at(1) => (1, 3),
                _ => (0, run.len()),
            };
            if !(3..=4).contains(&len) || run.amount {
                continue;
            }
            let (first, last) = run.span(from, run.len());
            if scene.announced(EntityKind::Cvv, first) || scene.explained(EntityKind::Cvv, last) {
                found.push((first, last));
            }
        }
    }
}
