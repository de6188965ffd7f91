//! E-mail addresses, written ("j.smith@example.com") and spoken ("j dot smith at example
//! dot com").

use super::letters::is_digit_word;
use super::lex::{Class, Token};
use super::scene::{Scene, is_polite, phrase_at};
use super::{Detector, Span};
use crate::types::EntityKind;

/// See the module's documentation.
pub(super) struct Email;

const TOP: [&str; 40] = [
    "com", "org", "net", "uk", "co", "edu", "gov", "io", "de", "fr", "info", "biz", "me", "us", "ca", "ie", "eu", "au",
    "nz", "in", "nl", "es", "it", "ch", "at", "be", "se", "no", "dk", "fi", "pl", "pt", "app", "dev", "ai", "tv",
    "coop", "online", "email", "ac",
];
const JOINS: [&str; 9] = ["dot", "underscore", "dash", "hyphen", "minus", "plus", "period", "point", "score"];
/// What stands before "at" where a website is named, or nothing of an address.
const NOT_LOCAL: [&str; 26] = [
    "me",
    "us",
    "it",
    "him",
    "her",
    "them",
    "look",
    "visit",
    "shop",
    "online",
    "website",
    "site",
    "store",
    "available",
    "out",
    "up",
    "is",
    "are",
    "be",
    "order",
    "page",
    "find",
    "more",
    "here",
    "there",
    "or",
];
/// Words after which an address begins.
const OPENERS: [&str; 6] = ["is", "it's", "its", "to", "at", "on"];
/// Tokens in a name or host's name, at most.
const PART_MAX: usize = 24;
/// Tokens before the "at" of an answer, at most.
const ANSWER_MAX: usize = 8;
/// Words of a host's name before its "dot".
const LABEL_WORDS_MAX: usize = 4;

impl Detector for Email {
    fn kind(&self) -> EntityKind {
        EntityKind::Email
    }

    fn cues(&self) -> &'static [&'static str] {
        &["email", "e mail", "email address", "mail address", "mail is"]
    }

    fn find(&self, scene: &Scene<'_>, found: &mut Vec<Span>) {
        let tokens = &scene.tokens;
        for at in 1..tokens.len() {
            let word = tokens[at].is("at") && !tokens[at].gap.contains(['.', ',', '@']);
            let mark = tokens[at].gap.contains('@');
            let host = if mark { at } else { at + 1 };
            if !word && !mark {
                continue;
            }
            let Some(last) = host_end(tokens, host) else { continue };

            if let Some(first) = name_start(scene, at - 1)
                && found.last().is_none_or(|(_, end)| first > *end)
            {
                found.push((first, last));
            }
        }
    }
}

/// Whether a dot, spoken or written, stands before token `at`; gives where what follows it stands.
fn after_dot(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let token = tokens.get(at)?;
    if token.gap.trim() == "." && !token.gap.ends_with(char::is_whitespace) {
        return Some(at);
    }
    (matches!(token.text, "dot" | "period" | "point")).then_some(at + 1)
}

/// The last token of the host's name that begins at token `at`.
fn host_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut here = at;
    let mut end = None;
    let (mut words, mut letters) = (0, 0);
    tokens.get(at)?;
    while here < tokens.len().min(at + PART_MAX) {
        if here > at
            && let Some(next) = after_dot(tokens, here)
        {
            let label = tokens.get(next)?;
            if TOP.contains(&label.text) {
                end = Some(next);
                here = next + 1;
                (words, letters) = (0, 0);
                // Only a country's label goes on: "dot co dot uk".
                if after_dot(tokens, here).is_none() {
                    break;
                }
                continue;
            }
            here = next;
            (words, letters) = (0, 0);
        }
        let token = tokens.get(here)?;
        if token.class == Class::Tag
            || here > at && token.gap.contains(['@', '?', '!', ',', '.']) && after_dot(tokens, here).is_none()
        {
            break;
        }
        if token.text.len() == 1 {
            letters += 1
        } else {
            words += 1
        }
        if words > LABEL_WORDS_MAX || letters > PART_MAX {
            break;
        }
        here += 1;
    }
    end
}

/// The first token of the name that ends at token `end`.
fn name_start(scene: &Scene<'_>, end: usize) -> Option<usize> {
    let tokens = &scene.tokens;
    if NOT_LOCAL.contains(&tokens[end].text) || tokens[end].class == Class::Tag {
        return None;
    }
    let floor = end.saturating_sub(PART_MAX);
    // After "my email is" all is part of it.
    let cue = scene.cues.iter().rev().find(|cue| cue.kind == EntityKind::Email && cue.last < end && cue.last >= floor);
    if let Some(cue) = cue {
        let opener =
            (cue.last + 1..end).find(|at| OPENERS.contains(&tokens[*at].text) || tokens[*at].gap.contains(':'));
        let first = opener.map_or(cue.last + 1, |at| if tokens[at].gap.contains(':') { at } else { at + 1 });
        if end - first < 8 && first <= end && tokens[first..=end].iter().all(|token| token.class != Class::Tag) {
            return Some(first);
        }
    }
    // So is all of an answer that was asked for.
    if scene.expected.contains(&EntityKind::Email) && cue.is_none() && end <= ANSWER_MAX {
        let polite =
            |token: &&Token<'_>| is_polite(token.text) || matches!(token.text, "should" | "be" | "would" | "think");
        let first = scene.tokens[..end].iter().take_while(polite).count();
        if scene.tokens[first..=end].iter().all(|token| token.class != Class::Tag) {
            return Some(first);
        }
    }
    let mut first = end;
    while first > floor {
        let (token, before) = (&tokens[first], &tokens[first - 1]);
        if before.class == Class::Tag || token.gap.contains([',', '?', '!', ':', '@']) {
            break;
        }
        let glued = !token.gap.is_empty() && token.gap.chars().all(|c| "._-+".contains(c)) || token.gap.is_empty();
        let joined = JOINS.contains(&before.text) || JOINS.contains(&token.text);
        let article = matches!(before.text, "a" | "i") && first > 1 && tokens[first - 2].text.len() == 1;
        let spelled = token.text.len() == 1 && article || is_bit(before) && (is_bit(token) || before.text.len() == 1);
        // "Rob ninety nine": a name before its number.
        let numbered = tokens[first..=end].iter().all(is_number) && !NOT_LOCAL.contains(&before.text);
        if !(glued || joined || spelled || numbered) {
            break;
        }
        first -= 1;
    }
    Some(first)
}

fn is_number(token: &Token<'_>) -> bool {
    token.class == Class::Number || is_digit_word(token.text)
}

/// One letter, or a number, but not the words that are letters too.
fn is_bit(token: &Token<'_>) -> bool {
    let letter = token.text.len() == 1 && !matches!(token.text, "i" | "a");
    letter || token.class == Class::Number || is_digit_word(token.text)
}

/// Whether the text ends in what may become an address: "john dot smith at". For a
/// partial, of which more is to come; gives its first token.
pub(super) fn unfinished(scene: &Scene<'_>) -> Option<usize> {
    let last = scene.tokens.len().checked_sub(1)?;
    let announced = scene.cues.iter().rev().find(|cue| cue.kind == EntityKind::Email && cue.last < last);
    if let Some(cue) = announced {
        let opener = phrase_at(&scene.tokens, cue.last + 1, "is").map_or(cue.last + 1, |at| at + 1);
        return (opener <= last && scene.tokens[opener..].iter().all(|token| token.class != Class::Tag))
            .then_some(opener);
    }
    let join = |at: usize| JOINS[..2].contains(&scene.tokens[at].text);
    let from = last.saturating_sub(2);
    let first = (from..=last).find(|at| join(*at)).map(|at| at.saturating_sub(1))?;
    scene.tokens[first..].iter().all(|token| token.class != Class::Tag).then_some(first)
}
