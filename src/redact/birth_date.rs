//! Dates of birth: a date after words that say so.

use super::date;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct BirthDate;

impl Detector for BirthDate {
    fn kind(&self) -> EntityKind {
        EntityKind::BirthDate
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "dob",
            "d o b",
            "born",
            "born on",
            "day of birth",
            "date-of-birth",
            "date of my birth",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        if !scene.mentions(EntityKind::BirthDate) {
            return;
        }
        let cues = scene.cues.iter().filter(|cue| cue.kind == EntityKind::BirthDate).map(|cue| cue.last + 1);
        let asked = (scene.expected.contains(&EntityKind::BirthDate) && scene.cues.is_empty()).then_some(0);
        for from in cues.chain(asked) {
            found.extend(scene.reach_from(from).find_map(|at| plausible(scene, at)));
        }
        for at in 0..scene.tokens.len() {
            if let Some((first, last)) = plausible(scene, at)
                && scene.explained(EntityKind::BirthDate, last)
                && found.iter().all(|(from, to)| first > *to || last < *from)
            {
                found.push((first, last));
            }
        }
    }
}

/// A day and a month at least, or digits enough for both and a year.
fn plausible(scene: &Scene<'_>, at: usize) -> Option<Span> {
    let date = date::at(scene, at)?;
    let named = date.month && (date.digits > 0 || date.ordinals > 0);
    let numbered = (4..=8).contains(&date.digits) || date.ordinals > 0 && date.digits >= 2 || date.ordinals > 1;
    let amount = scene.runs.iter().any(|run| run.amount && run.first >= at && run.last <= date.last);
    let article = at > 0 && scene.tokens[at - 1].is("the");
    ((named || numbered) && !amount).then_some((at - usize::from(article), date.last))
}
