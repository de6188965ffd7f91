//! Telephone numbers: E.164, British and North American ones by their form; any of a
//! fitting length after words that announce one.

use super::run::Run;
use super::scene::Scene;
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Phone;

/// What a number is that has a phone's length and is none.
const OTHERS: [&str; 26] = [
    "order",
    "order number",
    "tracking",
    "tracking number",
    "reference",
    "reference number",
    "ref",
    "policy number",
    "case number",
    "ticket",
    "invoice",
    "invoice number",
    "confirmation",
    "serial number",
    "model",
    "claim number",
    "booking",
    "account",
    "account number",
    "policy",
    "claim",
    "part number",
    "meter",
    "customer number",
    "member id",
    "case",
];

impl Detector for Phone {
    fn kind(&self) -> EntityKind {
        EntityKind::Phone
    }

    fn cues(&self) -> &'static [&'static str] {
        &[
            "phone",
            "phone number",
            "telephone",
            "telephone number",
            "mobile",
            "mobile number",
            "cell",
            "cell number",
            "cell phone",
            "landline",
            "call me on",
            "call me at",
            "call me back on",
            "call me back at",
            "call back on",
            "reach me on",
            "reach me at",
            "reach her at",
            "reach him at",
            "ring me on",
            "text me on",
            "text me at",
            "contact number",
            "callback number",
            "call back number",
            "my number is",
            "my number's",
            "number to call",
            "number to reach",
            "home number",
            "work number",
            "fax",
            "fax number",
            "dial",
            "whatsapp",
            "calling from",
            "best number",
            "on my cell",
            "number is",
            "call us on",
            "call us at",
            "ring us on",
            "contact me on",
            "daytime number",
            "number here is",
            "extension",
        ]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        for run in &scene.runs {
            let other = is_other(scene, run);
            let plus = scene.gap_before(run.first).ends_with('+') || scene.preceded(run.first, 1, &["plus"]);
            let announced = !other
                && (scene.announced(EntityKind::Phone, run.first) || scene.explained(EntityKind::Phone, run.last));
            let fits = (plus && (8..=15).contains(&run.len()))
                || (announced && (7..=15).contains(&run.len()))
                || (!other && has_form(run));
            if fits && !run.amount {
                let first = if scene.preceded(run.first, 1, &["plus"]) { run.first - 1 } else { run.first };
                found.push((first, run.last));
            }
        }
    }
}

/// Whether words before a run say that it is a number of another sort.
pub(super) fn is_other(scene: &Scene<'_>, run: &Run) -> bool {
    scene.preceded(run.first, 5, &OTHERS)
}

/// Whether a run is a number by its form alone.
fn has_form(run: &Run) -> bool {
    let digits = run.values();
    let set_apart = run.spoken || run.groups.len() > 1;
    match (digits.len(), &digits[..]) {
        // British, with the trunk prefix; 00 begins a foreign one.
        (10 | 11, [0, 1..=9, ..]) => true,
        (12..=15, [0, 0, 1..=9, ..]) => true,
        (12 | 13, [4, 4, 0 | 1 | 2 | 3 | 7, ..]) => true,
        // North American: area and exchange begin with 2 to 9.
        (10, [2..=9, _, _, 2..=9, ..]) => set_apart,
        (11, [1, 2..=9, _, _, 2..=9, ..]) => set_apart,
        (7, _) => run.groups == [3, 4] && !run.spoken,
        _ => false,
    }
}
