//! Text cut into words, numbers and tags, each with its place.

use crate::types::EntityKind;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters, an apostrophe between them included.
    Word,
    /// ASCII digits.
    Number,
    /// One of our own tags: what was there has been taken out already.
    Tag,
}

/// A word, number or tag of a text.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    /// In lower case.
    pub(super) text: &'a str,
    pub(super) class: Class,
    /// First byte, and the one after the last.
    pub(super) start: usize,
    pub(super) end: usize,
    /// What stands between the token before and this one.
    pub(super) gap: &'a str,
}

impl Token<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        self.text == word
    }
}

/// Cuts `lower`, a text in lower case, into tokens. Marks and spaces become gaps.
pub(super) fn tokens(lower: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(lower.len() / 5 + 1);
    let (mut at, mut gap_start) = (0, 0);
    while let Some(first) = lower[at..].chars().next() {
        let rest = &lower[at..];
        let (class, len) = if first.is_ascii_digit() {
            (Class::Number, rest.bytes().take_while(u8::is_ascii_digit).count())
        } else if first.is_alphabetic() {
            (Class::Word, word_len(rest))
        } else if let Some(len) = tag_len(rest) {
            (Class::Tag, len)
        } else {
            at += first.len_utf8();
            continue;
        };
        let end = at + len;
        tokens.push(Token { text: &lower[at..end], class, start: at, end, gap: &lower[gap_start..at] });
        (at, gap_start) = (end, end);
    }
    tokens
}

fn word_len(text: &str) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let joins = (c == '\'' || c == '’') && text[at + c.len_utf8()..].starts_with(char::is_alphabetic);
        if !c.is_alphabetic() && !joins {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// Length of the tag that `lower` begins with.
fn tag_len(lower: &str) -> Option<usize> {
    let inner = lower.strip_prefix('[')?;
    let end = inner.find(']').filter(|end| *end <= LONGEST_TAG)?;
    EntityKind::parse(&inner[..end]).map(|_| end + 2)
}

/// Letters in the longest name of a kind, at least.
const LONGEST_TAG: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_tags_with_their_gaps() {
        let found: Vec<_> = tokens("it's 41-12b, [card]. [x] é").iter().map(|t| (t.text, t.class, t.gap)).collect();
        use Class::{Number, Tag, Word};
        assert_eq!(
            found,
            [
                ("it's", Word, ""),
                ("41", Number, " "),
                ("12", Number, "-"),
                ("b", Word, ""),
                ("[card]", Tag, ", "),
                ("x", Word, ". ["),
                ("é", Word, "] "),
            ]
        );
    }
}
