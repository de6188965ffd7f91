//! What the detectors look at: a text's tokens, its runs of digits, and the cues that
//! say what is to come.

use super::Detector;
use super::lex::{self, Class, Token};
use super::run::{self, Run};
use crate::types::EntityKind;

/// Words that announce an entity: "security code".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cue {
    pub(super) kind: EntityKind,
    /// First and last token.
    pub(super) first: usize,
    pub(super) last: usize,
}

/// A text made ready for the detectors.
pub(super) struct Scene<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) runs: Vec<Run>,
    pub(super) cues: Vec<Cue>,
    /// What was asked for before this text.
    pub(super) expected: Vec<EntityKind>,
}

/// Tokens between a cue and what it announces, at most.
const REACH: usize = 9;
/// Tokens between an entity and a cue after it, at most.
const REACH_BACK: usize = 4;
/// Tokens before an answer to what was asked, at most: "yes it is".
const ANSWER_REACH: usize = 7;

impl<'a> Scene<'a> {
    pub(super) fn new(lower: &'a str, detectors: &[&dyn Detector], expected: Vec<EntityKind>) -> Self {
        let tokens = lex::tokens(lower);
        let mut cues = Vec::new();
        for at in 0..tokens.len() {
            if tokens[at].class != Class::Word {
                continue;
            }
            for detector in detectors {
                let longest = detector.cues().iter().filter_map(|phrase| phrase_at(&tokens, at, phrase)).max();
                cues.extend(longest.map(|last| Cue { kind: detector.kind(), first: at, last }));
            }
        }
        let runs = run::runs(&tokens);
        Self { tokens, runs, cues, expected }
    }

    /// Whether `kind` was announced before token `at`, and nothing else came between.
    pub(super) fn announced(&self, kind: EntityKind, at: usize) -> bool {
        let clear = self.clear_from(at);
        let before = |cue: &&Cue| cue.kind == kind && cue.last < at && cue.last + 1 >= clear && at - cue.last <= REACH;
        self.cues.iter().rev().any(|cue| before(&cue))
            || (self.expected.contains(&kind)
                && clear == 0
                && at <= ANSWER_REACH
                && !self.cues.iter().any(|cue| cue.last < at && cue.kind != kind))
    }

    /// Whether `kind` is named right after token `last`: "… is my sort code".
    pub(super) fn explained(&self, kind: EntityKind, last: usize) -> bool {
        let next = |cue: &Cue| cue.kind == kind && cue.first > last && cue.first - last <= REACH_BACK;
        let clear = |cue: &Cue| {
            self.tokens[last + 1..cue.first].iter().all(|token| token.class == Class::Word && !token.gap.contains('.'))
        };
        // Words that digits or a tag follow announce those.
        let near = |cue: &Cue, at: usize| at > cue.last && at - cue.last <= 3;
        let announces = |cue: &Cue| {
            self.runs.iter().any(|run| run.len() > 2 && near(cue, run.first))
                || (cue.last + 1..self.tokens.len().min(cue.last + 4)).any(|at| self.tokens[at].class == Class::Tag)
        };
        self.cues.iter().any(|cue| next(cue) && clear(cue) && !announces(cue))
    }

    /// Tokens from `from` on that what was announced before them may begin at.
    pub(super) fn reach_from(&self, from: usize) -> std::ops::Range<usize> {
        let near = self.tokens.len().min(from + REACH);
        let tag = (from..near).find(|at| self.tokens[*at].class == Class::Tag);
        from..tag.unwrap_or(near)
    }

    /// Whether `kind` is named anywhere.
    pub(super) fn mentions(&self, kind: EntityKind) -> bool {
        self.expected.contains(&kind) || self.cues.iter().any(|cue| cue.kind == kind)
    }

    /// First token of what lies before `at` without other digits of weight: a cue's words
    /// are spent once digits or a tag have followed them.
    fn clear_from(&self, at: usize) -> usize {
        let run = self.runs.iter().rev().find(|run| run.last < at && run.len() > 2).map_or(0, |run| run.last + 1);
        let tag = self.tokens[..at].iter().rposition(|token| token.class == Class::Tag).map_or(0, |tag| tag + 1);
        run.max(tag)
    }

    /// Whether any of these phrases ends within `reach` tokens before token `at`.
    pub(super) fn preceded(&self, at: usize, reach: usize, phrases: &[&str]) -> bool {
        let from = at.saturating_sub(reach).max(self.clear_from(at));
        (from..at).any(|start| {
            phrases.iter().any(|phrase| phrase_at(&self.tokens, start, phrase).is_some_and(|last| last < at))
        })
    }

    /// What stands right before token `at`.
    pub(super) fn gap_before(&self, at: usize) -> &str {
        self.tokens[at].gap
    }

    /// Whether nothing is said before `first` and after `last` but polite words.
    pub(super) fn is_whole_answer(&self, first: usize, last: usize) -> bool {
        let others = self.tokens[..first].iter().chain(&self.tokens[last + 1..]);
        others.into_iter().all(|token| token.class == Class::Tag || POLITE.contains(&token.text))
    }
}

const POLITE: [&str; 32] = [
    "yes", "yeah", "yep", "ok", "okay", "sure", "it's", "its", "it", "is", "that's", "so", "uh", "um", "er", "erm",
    "and", "then", "the", "please", "thanks", "thank", "you", "right", "of", "course", "well", "oh", "that", "next",
    "number", "finally",
];

/// The last token of `phrase`, if it begins at token `at`.
pub(super) fn phrase_at(tokens: &[Token<'_>], at: usize, phrase: &str) -> Option<usize> {
    // Most tokens begin no phrase: one byte tells.
    if tokens.get(at)?.text.as_bytes().first() != phrase.as_bytes().first() {
        return None;
    }
    let mut here = at;
    for (n, word) in phrase.split(' ').enumerate() {
        here = at + n;
        // "My sort code's" is "my sort code is".
        let token = tokens.get(here)?;
        let bare = token.text.strip_suffix("'s").or_else(|| token.text.strip_suffix("’s")).unwrap_or(token.text);
        if !token.is(word) && bare != word {
            return None;
        }
    }
    Some(here)
}

/// Whether a word says nothing by itself.
pub(super) fn is_polite(word: &str) -> bool {
    POLITE.contains(&word)
}
