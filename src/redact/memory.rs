//! What a conversation must remember so that an entity said in pieces is taken out whole:
//! what was asked for, and the digits of a leg that may go on. Never published, and no
//! longer kept than a moment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::card::{self, luhn};
use super::scene::Scene;
use super::suspicion::{Before, hold_back, open_end, suspect};
use super::words::mask;
use super::{DETECTORS, Found, Placed, Policy, tagged};
use crate::types::{Entity, EntityKind, LegId, Moment, Private, RedactionMode, SegmentId, SegmentKind, Transcript};

/// How long an answer to what was asked for is expected.
const EXPECTED_FOR: Duration = Duration::from_secs(30);
/// How long the digits of one segment wait for those of the next.
const OPEN_FOR: Duration = Duration::from_secs(15);
/// Digits of a run that may go on.
const OPEN_MAX: usize = 32;
/// Times that a text is looked at: after each, with what was found taken out.
const LOOKS_MAX: usize = 4;
/// Legs of a conversation that are remembered; of more, the first is forgotten.
const LEGS_MAX: usize = 32;

/// Which segment a transcript is of.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// The leg.
    pub leg: &'a LegId,
    /// The segment.
    pub id: SegmentId,
    /// Whole or so far.
    pub kind: SegmentKind,
    /// When it was cut: the same clock for all legs of a conversation.
    pub at: Moment,
}

/// What one conversation remembers. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Memory {
    /// What was asked for, and when, by whomever.
    asked: Vec<(EntityKind, Moment)>,
    legs: BTreeMap<LegId, Leg>,
}

#[derive(Clone, Default)]
struct Leg {
    /// The last final that was redacted.
    last: u64,
    /// Digits at its end, and when it was cut.
    open: Option<(Vec<u8>, Moment)>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// Redacts one segment's text and words; gives what was taken out. Only finals are
    /// remembered, as any of a partial may change.
    ///
    /// Finals of a leg should come in their order. One that comes too early lacks what the
    /// ones before it would have said: `strict` then takes the worst for granted.
    pub fn redact(&mut self, policy: Policy, heard: Heard<'_>, transcript: &mut Transcript) -> Vec<Entity> {
        let found = self.find(policy, heard, &transcript.text.0);
        let entities = mask(&transcript.text.0, &found, &mut transcript.words);
        if !found.is_empty() {
            transcript.text = Private(tagged(&transcript.text.0, &found));
        }
        entities
    }

    /// The entities of one segment's text, in order; remembers as [`Memory::redact`] does.
    pub fn find(&mut self, policy: Policy, heard: Heard<'_>, text: &str) -> Vec<Found> {
        if policy.mode == RedactionMode::Off {
            return Vec::new();
        }
        self.asked.retain(|(_, at)| heard.at.since(*at) <= EXPECTED_FOR);
        let lower = text.to_ascii_lowercase();
        let (scene, spans) = self.look(policy, heard, &lower);
        let mut found: Vec<_> = spans.iter().map(|span| place(&scene, span)).collect();
        // What was taken out may have had words that spoke against another entity.
        for _ in 1..LOOKS_MAX {
            if found.is_empty() {
                break;
            }
            let shown = tagged(text, &found).to_ascii_lowercase();
            let (again, spans) = self.look(policy, heard, &shown);
            if spans.is_empty() {
                break;
            }
            let more: Vec<_> = spans.iter().map(|span| unshifted(place(&again, span), &found)).collect();
            found.extend(more);
            found.sort_by_key(|found| found.bytes);
        }
        if heard.kind == SegmentKind::Final {
            self.remember(heard, &scene, &spans);
        }
        found
    }

    /// The entities of a text in lower case, tags in it respected.
    fn look<'a>(&self, policy: Policy, heard: Heard<'_>, lower: &'a str) -> (Scene<'a>, Vec<Placed>) {
        let expected = self.asked.iter().map(|(kind, _)| *kind).collect();
        let scene = Scene::new(lower, DETECTORS, expected);
        let mut spans = super::find(&scene, policy.kinds);
        let leg = self.legs.get(heard.leg);
        let open = leg.and_then(|leg| leg.open.as_ref()).filter(|(_, at)| heard.at.since(*at) <= OPEN_FOR);
        let before = Before {
            open: open.map(|(digits, _)| &digits[..]),
            gap: heard.id.0.saturating_sub(1) > leg.map_or(0, |leg| leg.last),
        };
        suspect(policy, before, &scene, &mut spans);
        if heard.kind == SegmentKind::Partial {
            hold_back(before, &scene, &mut spans);
        }
        (scene, spans)
    }

    fn remember(&mut self, heard: Heard<'_>, scene: &Scene<'_>, spans: &[Placed]) {
        if !self.legs.contains_key(heard.leg) && self.legs.len() >= LEGS_MAX {
            self.legs.pop_first();
        }
        let leg = self.legs.entry(heard.leg.clone()).or_default();
        leg.last = leg.last.max(heard.id.0);
        let earlier = leg.open.take().filter(|(_, at)| heard.at.since(*at) <= OPEN_FOR);
        leg.open = if scene.runs.is_empty() {
            // "Hold on": the digits before it still wait for the next ones.
            earlier
        } else {
            let digits = open_end(scene, earlier.as_ref().map(|(digits, _)| &digits[..]));
            digits.map(|digits| (digits[digits.len().saturating_sub(OPEN_MAX)..].to_vec(), heard.at))
        };
        let done = |kind: EntityKind, found: EntityKind, (first, last): (usize, usize)| {
            kind == found && (kind != EntityKind::Card || last - first > 10 || long(scene, first, last))
        };
        // What was given is expected no more.
        self.asked.retain(|(kind, _)| !spans.iter().any(|(found, span)| done(*kind, *found, *span)));
        if leg.open.as_ref().is_some_and(|(digits, _)| card::LEN.contains(&digits.len()) && luhn(digits)) {
            leg.open = None;
            self.asked.retain(|(kind, _)| *kind != EntityKind::Card);
        }
        for cue in &scene.cues {
            let answered =
                spans.iter().any(|(kind, span)| *kind == cue.kind && span.0 > cue.last && done(*kind, *kind, *span));
            if !answered {
                self.asked.retain(|(kind, _)| *kind != cue.kind);
                self.asked.push((cue.kind, heard.at));
            }
        }
    }
}

fn place(scene: &Scene<'_>, &(kind, (first, last)): &Placed) -> Found {
    Found { kind, bytes: (scene.tokens[first].start, scene.tokens[last].end) }
}

/// A place in the text with tags, as one in the text without.
fn unshifted(found: Found, tags: &[Found]) -> Found {
    let back = |place: usize| {
        let mut shown = place;
        for tag in tags {
            if shown <= tag.bytes.0 {
                break;
            }
            shown = shown - tag.kind.tag().len() + (tag.bytes.1 - tag.bytes.0);
        }
        shown
    };
    Found { kind: found.kind, bytes: (back(found.bytes.0), back(found.bytes.1)) }
}

/// Whether an entity has the digits of a whole card.
fn long(scene: &Scene<'_>, first: usize, last: usize) -> bool {
    scene.runs.iter().any(|run| run.first >= first && run.last <= last && run.len() >= *card::LEN.start())
}
