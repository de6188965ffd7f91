//! Private entities taken out of transcripts before anything leaves the pipeline.
//!
//! ```text
//! text ──► lex ──► run ──► scene ──► detectors ──► spans ──► tags in the text, masked
//!          tokens  digits  cues      one a kind    ▲         words, entities for the event
//!                              ▲              suspicion
//!                              │                  ▲ digits that go on
//!                     memory ──┴──────────────────┘ what was asked for
//!
//! keys ──► the first of an entry is a menu's choice, the others nobody's business
//! ```
//!
//! A detector is one file here plus one line in [`DETECTORS`]. All of it is pure, and
//! linear in the text but for the numbers found in it, which are bounded.
//!
//! Invariants, held by property tests: no text makes it panic; tags do not overlap; words
//! keep their number and their times; what was redacted is not redacted again; every
//! string of digits that Luhn confirms is found, in whatever way it was said.

mod account;
mod birth_date;
mod card;
mod content;
mod cvv;
mod date;
mod email;
mod expiry;
mod iban;
mod keys;
mod letters;
mod lex;
mod memory;
mod nino;
mod phone;
mod policy;
mod run;
mod scene;
mod sort_code;
mod ssn;
mod suspicion;
mod words;

#[cfg(test)]
mod tests;

pub use self::content::hide;
pub use self::keys::{Keys, MASKED_KEY};
pub use self::memory::{Heard, Memory};
pub use self::policy::{Kinds, Policy};
use self::scene::Scene;
use crate::types::EntityKind;

/// Every detector, the surest first: what one has found, those after it cannot.
static DETECTORS: &[&dyn Detector] = &[
    &email::Email,
    &iban::Iban,
    &nino::Nino,
    &card::Card,
    &cvv::Cvv,
    &birth_date::BirthDate,
    &expiry::Expiry,
    &ssn::Ssn,
    &sort_code::SortCode,
    &account::Account,
    &phone::Phone,
];

/// First and last token.
type Span = (usize, usize);
/// What is at a place.
type Placed = (EntityKind, Span);

/// Finds the entities of one kind.
trait Detector: Sync {
    /// What it finds.
    fn kind(&self) -> EntityKind;

    /// Words that announce one, in lower case.
    fn cues(&self) -> &'static [&'static str];

    /// Adds what it finds.
    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>);
}

/// An entity's place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: EntityKind,
    /// First byte, and the one after the last.
    pub bytes: (usize, usize),
}

/// The entities of `scene`, in order, none overlapping another.
fn find(scene: &Scene<'_>, kinds: Kinds) -> Vec<Placed> {
    let mut all: Vec<Placed> = Vec::new();
    let mut found = Vec::new();
    // Most texts have no digits, and then only these can be there.
    let wordy = |kind| matches!(kind, EntityKind::Email | EntityKind::BirthDate);
    let wanted = |kind| kinds.has(kind) && (!scene.runs.is_empty() || wordy(kind));
    for detector in DETECTORS.iter().filter(|detector| wanted(detector.kind())) {
        detector.find(scene, &mut found);
        for (first, last) in found.drain(..) {
            if !overlaps(&all, (first, last)) {
                all.push((detector.kind(), (first, last)));
            }
        }
    }
    all.sort_by_key(|(_, span)| *span);
    all
}

/// What is in either of two accounts of a text. Places that overlap are one, of the longer's kind.
#[must_use]
pub fn united(mut found: Vec<Found>, more: Vec<Found>) -> Vec<Found> {
    found.extend(more);
    found.sort_by_key(|found| found.bytes);
    let mut all: Vec<Found> = Vec::with_capacity(found.len());
    let length = |found: &Found| found.bytes.1 - found.bytes.0;
    for next in found {
        match all.last_mut() {
            Some(last) if next.bytes.0 < last.bytes.1 => {
                let kind = if length(&next) > length(last) { next.kind } else { last.kind };
                *last = Found { kind, bytes: (last.bytes.0, last.bytes.1.max(next.bytes.1)) };
            }
            _ => all.push(next),
        }
    }
    all
}

fn overlaps(spans: &[Placed], (first, last): Span) -> bool {
    spans.iter().any(|(_, (a, b))| first <= *b && last >= *a)
}

/// `text` with a tag for each entity.
#[must_use]
pub fn tagged(text: &str, found: &[Found]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for Found { kind, bytes: (start, end) } in found {
        out.push_str(&text[at..*start]);
        out.push_str(kind.tag());
        at = *end;
    }
    out.push_str(&text[at..]);
    out
}
