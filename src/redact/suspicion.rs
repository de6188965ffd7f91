//! Digits that are no entity by themselves, and may be part of one: pieces of a number that
//! other words, a pause or a recogniser's mistake took apart.

use super::card::{self, luhn};
use super::lex::Class;
use super::run::Run;
use super::scene::{Scene, is_polite};
use super::{Placed, Policy, email, overlaps, phone};
use crate::types::{EntityKind, RedactionMode};

/// Digits in a piece that is taken out on suspicion.
const PIECE_MIN: usize = 4;
/// Digits in each of several pieces of a text that make one number.
const BROKEN_MIN: usize = 3;
/// Tokens between two pieces of a number, at most: "hang on a second".
const BREAK_MAX: usize = 6;
/// Digits that are suspect whatever was asked for: one more than tell of the issuer.
const SUSPECT_LEN: usize = 9;
/// Digits in a security code.
const CODE_MAX: usize = 4;
/// Digits at the end of a partial that are held back, where nothing says what they are.
const HELD_BACK_MIN: usize = 3;
/// Tokens before digits that go on, at most: "yes, okay, and then it's".
const LEAD_MAX: usize = 5;
/// Tokens after digits that may go on, at most.
const TRAIL_MAX: usize = 3;

/// What is known of the same leg's speech before a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    /// Digits at its end that may go on.
    pub(super) open: Option<&'a [u8]>,
    /// Whether segments between were lost or are not decoded yet.
    pub(super) gap: bool,
}

/// Adds digits that may be part of an entity.
pub(super) fn suspect(policy: Policy, before: Before<'_>, scene: &Scene<'_>, spans: &mut Vec<Placed>) {
    // What was asked last comes first.
    let code_asked = policy.kinds.has(EntityKind::Cvv) && scene.expected.last() == Some(&EntityKind::Cvv);
    if policy.kinds.has(EntityKind::Card) {
        for chain in chains(scene, spans) {
            broken(scene, &chain, spans);
        }
    }
    for run in &scene.runs {
        let span = (run.first, run.last);
        if overlaps(spans, span) || run.amount {
            continue;
        }
        // A code in pieces has no name, so that the rest of it is still expected.
        let code = code_asked && run.len() <= CODE_MAX && scene.is_whole_answer(span.0, span.1);
        let kind = match (code, policy.kinds.has(EntityKind::Card)) {
            (true, _) => Some(EntityKind::Digits),
            (_, true) => piece(policy.mode, before, scene, run),
            _ => None,
        };
        spans.extend(kind.map(|kind| (kind, span)));
    }
    spans.sort_by_key(|(_, span)| *span);
}

/// What a run may be a piece of.
fn piece(mode: RedactionMode, before: Before<'_>, scene: &Scene<'_>, run: &Run) -> Option<EntityKind> {
    let strict = mode == RedactionMode::Strict;
    let card_asked = [EntityKind::Card, EntityKind::Cvv].iter().any(|kind| scene.expected.contains(kind));
    let card_here = scene.cues.iter().any(|cue| cue.kind == EntityKind::Card);
    let begins = begins_text(scene, run);
    let digits = before.open.filter(|_| begins).map(|open| joined(open, run));
    let whole = digits.as_ref().is_some_and(|digits| card::LEN.contains(&digits.len()) && luhn(digits));
    let alone = scene.is_whole_answer(run.first, run.last);
    // "One moment" goes on with nothing.
    let goes_on = (run.len() > 1 || alone) && digits.as_ref().is_some_and(|digits| digits.len() >= SUSPECT_LEN);
    let answer = scene.expected.contains(&EntityKind::Card) && alone;
    let is_piece = run.len() >= PIECE_MIN;
    let misheard = strict && card::LEN.contains(&run.len()) && card::is_issued(&run.values());
    if whole || answer {
        return Some(EntityKind::Card);
    }
    let suspected = goes_on || misheard || is_piece && (before.gap && begins || strict && (card_asked || card_here));
    (suspected || strict && is_piece && before.gap).then_some(EntityKind::Digits)
}

/// Runs that may be pieces of one number: a few words at most stand between each two.
fn chains<'s>(scene: &'s Scene<'_>, spans: &[Placed]) -> Vec<Vec<&'s Run>> {
    let mut chains: Vec<Vec<&Run>> = Vec::new();
    let free = |run: &&Run| run.len() >= BROKEN_MIN && !run.amount && !overlaps(spans, (run.first, run.last));
    for run in scene.runs.iter().filter(free) {
        match chains.last_mut() {
            Some(chain) if chain.last().is_some_and(|last| is_near(scene, last, run)) => chain.push(run),
            _ => chains.push(vec![run]),
        }
    }
    chains
}

fn is_near(scene: &Scene<'_>, one: &Run, next: &Run) -> bool {
    let between = &scene.tokens[one.last + 1..next.first];
    between.len() <= BREAK_MAX && between.iter().all(|token| token.class == Class::Word)
}

/// Adds the pieces of a number that words stand in, or that is a card's but for a digit.
fn broken(scene: &Scene<'_>, chain: &[&Run], spans: &mut Vec<Placed>) {
    let whole = (0..chain.len()).find_map(|from| {
        let mut digits = Vec::new();
        let mut to = from;
        // A piece has three digits at least, so few are looked at.
        while to < chain.len() && digits.len() <= *card::LEN.end() {
            digits.extend(chain[to].values());
            to += 1;
            if to - from > 1 && card::is_issued(&digits) && luhn(&digits) {
                return Some(from..to);
            }
        }
        None
    });
    let (kind, pieces) = match whole {
        Some(pieces) => (EntityKind::Card, pieces),
        None if is_likely(scene, chain) => (EntityKind::Digits, 0..chain.len()),
        None => return,
    };
    spans.extend(chain[pieces].iter().map(|run| (kind, (run.first, run.last))));
}

/// Whether digits are so many, and begin so, that they are a card's or may become one.
fn is_likely(scene: &Scene<'_>, chain: &[&Run]) -> bool {
    let (first, last) = (chain[0], chain[chain.len() - 1]);
    let digits: Vec<_> = chain.iter().flat_map(|run| run.values()).collect();
    let long = match digits.len() {
        len if card::LEN.contains(&len) => chain.len() == 1 || ends_text(scene, last),
        len => len >= SUSPECT_LEN && len < *card::LEN.start() && ends_text(scene, last),
    };
    long && card::is_issuers(&digits) && !phone::is_other(scene, first)
}

/// Takes out what stands at the end of a partial and may grow into an entity: what was
/// shown once cannot be taken back.
pub(super) fn hold_back(before: Before<'_>, scene: &Scene<'_>, spans: &mut Vec<Placed>) {
    let announced = !scene.expected.is_empty() || !scene.cues.is_empty() || before.open.is_some();
    let polite = |run: &Run| scene.tokens[run.last + 1..].iter().all(|token| is_polite(token.text));
    let enough = |run: &Run| run.len() >= HELD_BACK_MIN || announced && polite(run);
    if let Some(run) = scene.runs.last().filter(|run| ends_text(scene, run) && enough(run) && !run.amount)
        && !overlaps(spans, (run.first, run.last))
    {
        spans.push((EntityKind::Digits, (run.first, run.last)));
    }
    if let Some(first) = email::unfinished(scene)
        && !overlaps(spans, (first, scene.tokens.len() - 1))
    {
        spans.push((EntityKind::Email, (first, scene.tokens.len() - 1)));
    }
    spans.sort_by_key(|(_, span)| *span);
}

/// The digits at the end of a text that may go on in the next; those before it where it
/// only goes on with them. None where it ends with other words.
pub(super) fn open_end(scene: &Scene<'_>, earlier: Option<&[u8]>) -> Option<Vec<u8>> {
    let chain = match chains(scene, &[]).pop() {
        Some(chain) if chain.last().is_some_and(|run| ends_text(scene, run)) => chain,
        // Fewer digits than make a piece: "4", or "double one".
        _ => vec![scene.runs.last().filter(|run| ends_text(scene, run))?],
    };
    let digits = chain.iter().flat_map(|run| run.values());
    Some(match earlier {
        Some(earlier) if begins_text(scene, chain[0]) => earlier.iter().copied().chain(digits).collect(),
        _ => digits.collect(),
    })
}

fn joined(digits: &[u8], run: &Run) -> Vec<u8> {
    digits.iter().copied().chain(run.values()).collect()
}

fn begins_text(scene: &Scene<'_>, run: &Run) -> bool {
    run.first <= LEAD_MAX && scene.tokens[..run.first].iter().all(|token| token.class == Class::Word)
}

fn ends_text(scene: &Scene<'_>, run: &Run) -> bool {
    let after = &scene.tokens[run.last + 1..];
    after.len() <= TRAIL_MAX && after.iter().all(|token| token.class == Class::Word)
}
