//! A card's expiry date: a month and a year beside words that say so, and not those of
//! something else that expires.

use super::date;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Expiry;

/// Cues that say "card" by themselves; the others need one to be mentioned.
const OTHERS: [&str; 24] = [
    "passport",
    "policy",
    "licence",
    "license",
    "warranty",
    "contract",
    "offer",
    "lease",
    "membership",
    "subscription",
    "coupon",
    "voucher",
    "insurance",
    "permit",
    "deal",
    "quote",
    "ticket",
    "trial",
    "agreement",
    "promotion",
    "code",
    "points",
    "tenancy",
    "certificate",
];

impl Detector for Expiry {
    fn kind(&self) -> EntityKind {
        EntityKind::Expiry
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "expiry",
            "expiry date",
            "expiration",
            "expiration date",
            "exp",
            "exp date",
            "expires",
            "expires end",
            "expire",
            "expiring",
            "valid until",
            "valid thru",
            "valid through",
            "valid to",
            "good through",
            "expires on",
            "end date",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        let other = scene.tokens.iter().any(|token| OTHERS.contains(&token.text) && token.text != "code");
        let card = [EntityKind::Card, EntityKind::Cvv].iter().any(|kind| scene.mentions(*kind))
            || scene.tokens.iter().any(|token| matches!(token.text, "card" | "[card]" | "[cvv]"));
        for cue in scene.cues.iter().filter(|cue| cue.kind == EntityKind::Expiry) {
            let noun = scene.tokens[cue.first].text.starts_with("expi")
                && !matches!(scene.tokens[cue.first].text, "expires" | "expire" | "expiring")
                || scene.tokens[cue.first].is("exp");
            if (noun || card) && !other || noun && card {
                found.extend(first_after(scene, cue.last));
            }
        }
        let asked = scene.expected.contains(&EntityKind::Expiry) && !other;
        if asked && scene.cues.is_empty() {
            found.extend(scene.reach_from(0).find_map(|at| plausible(scene, at)));
        }
        for run in &scene.runs {
            if card && !other && scene.explained(EntityKind::Expiry, run.last) {
                found.extend(plausible(scene, run.first));
            }
        }
    }
}

fn first_after(scene: &Scene<'_>, cue: usize) -> Option<Span> {
    scene.reach_from(cue + 1).find_map(|at| plausible(scene, at))
}

/// A month and a year: three to six digits, or a month's name with a year.
fn plausible(scene: &Scene<'_>, at: usize) -> Option<Span> {
    let date = date::at(scene, at)?;
    let (few, many) = if date.month { (2, 6) } else { (3, 6) };
    let (digits, last) = match scene.runs.iter().find(|run| run.first == at && run.last == date.last) {
        // The code may follow in one breath.
        Some(run) if run.len() > 6 && run.divides_at(4) => (4, run.span(0, 4).1),
        Some(run) => (run.len(), date.last),
        None => (date.digits, date.last),
    };
    let amount = scene.runs.iter().any(|run| run.amount && run.first >= at && run.first <= last);
    ((few..=many).contains(&digits) && !amount).then_some((at, last))
}
