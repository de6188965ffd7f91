//! BERT's tokens (Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional
//! Transformers", NAACL; uncased): text to numbers.
//!
//! Text is lower-cased, its accents are dropped, words are cut at blanks, signs and
//! ideographs, and a word is cut from the left into the longest pieces that the
//! vocabulary has. Pure. Must never panic, whatever the text.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The vocabulary: a piece a line, its number the line's. A piece within a word begins
/// with two number signs.
const VOCABULARY: &str = include_str!("../../../models/sentiment/vocab.txt");

/// A longer word is not looked at, in characters: the unknown token stands for it.
const WORD_MAX: usize = 100;

/// A vocabulary, ready to look up.
pub(super) struct WordPiece {
    whole: HashMap<&'static str, i64>,
    within: HashMap<&'static str, i64>,
    unknown: i64,
    begin: i64,
    end: i64,
}

impl WordPiece {
    pub(super) fn new() -> Self {
        let (mut whole, mut within) = (HashMap::new(), HashMap::new());
        for (number, piece) in VOCABULARY.lines().enumerate() {
            match piece.strip_prefix("##").filter(|rest| !rest.is_empty()) {
                Some(rest) => within.insert(rest, number as i64),
                None => whole.insert(piece, number as i64),
            };
        }
        let special = |name| whole.get(name).copied().unwrap_or_default();
        let (unknown, begin, end) = (special("[UNK]"), special("[CLS]"), special("[SEP]"));
        Self { whole, within, unknown, begin, end }
    }

    /// The tokens of `text`, begin and end included: 2 to `most`. What is beyond is left out.
    pub(super) fn tokens(&self, text: &str, most: usize) -> Vec<i64> {
        let mut tokens = vec![self.begin];
        let mut word = String::new();
        let flush = |word: &mut String, tokens: &mut Vec<i64>| {
            self.pieces(word, tokens);
            word.clear();
        };
        // Before accents are dropped, as the reference does: ideographs stand alone.
        let lower = text.chars().filter(|&c| !is_dropped(c)).flat_map(char::to_lowercase);
        for c in lower.nfd().filter(|&c| !is_combining_mark(c)) {
            if tokens.len() >= most {
                break;
            }
            if c.is_whitespace() {
                flush(&mut word, &mut tokens);
            } else if stands_alone(c) {
                flush(&mut word, &mut tokens);
                word.push(c);
                flush(&mut word, &mut tokens);
            } else {
                word.push(c);
            }
        }
        flush(&mut word, &mut tokens);
        tokens.truncate(most.saturating_sub(1).max(1));
        tokens.push(self.end);
        tokens
    }

    /// The longest pieces of `word` from the left; the unknown token where there are none.
    fn pieces(&self, word: &str, tokens: &mut Vec<i64>) {
        if word.is_empty() {
            return;
        }
        let before = tokens.len();
        let mut rest = if word.chars().count() > WORD_MAX { None } else { Some(word) };
        while let Some(text) = rest.filter(|text| !text.is_empty()) {
            let known = if tokens.len() == before { &self.whole } else { &self.within };
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let longest = ends.map(|end| text.split_at(end)).find_map(|(piece, rest)| Some((*known.get(piece)?, rest)));
            rest = longest.map(|(number, rest)| {
                tokens.push(number);
                rest
            });
        }
        if rest.is_none() {
            tokens.truncate(before);
            tokens.push(self.unknown);
        }
    }
}

/// Characters that are not there at all: controls but for blanks, marks of direction,
/// joiners, and what stands for bytes that are no text.
fn is_dropped(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}'
    );
    c == '\u{0}' || c == '\u{fffd}' || is_format || (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

/// Signs of ASCII, punctuation of other scripts, and ideographs.
fn stands_alone(c: char) -> bool {
    let is_punctuation = matches!(
        c,
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{37e}' | '\u{387}' | '\u{55a}'..='\u{55f}' | '\u{589}' | '\u{58a}'
            | '\u{5be}' | '\u{60c}' | '\u{61b}' | '\u{61f}' | '\u{66a}'..='\u{66d}' | '\u{6d4}' | '\u{964}' | '\u{965}'
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2043}' | '\u{2045}'..='\u{2051}' | '\u{2053}'..='\u{205e}'
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{30fb}'
            | '\u{ff01}'..='\u{ff03}' | '\u{ff05}'..='\u{ff0a}' | '\u{ff0c}'..='\u{ff0f}' | '\u{ff1a}' | '\u{ff1b}'
            | '\u{ff1f}' | '\u{ff20}'
    );
    let is_ideograph = matches!(
        c,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2ceaf}' | '\u{2f800}'..='\u{2fa1f}'
    );
    c.is_ascii_punctuation() || is_punctuation || is_ideograph
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_those_of_the_reference() {
        let words = WordPiece::new();
        for line in super::super::GOLDEN.lines() {
            let golden: serde_json::Value = serde_json::from_str(line).unwrap();
            let tokens: Vec<i64> = serde_json::from_value(golden["tokens"].clone()).unwrap();
            let text = golden["text"].as_str().unwrap();
            assert_eq!(words.tokens(text, 128), tokens, "{text:?}");
        }
    }

    #[test]
    fn the_end_is_always_there_however_few_tokens_are_wanted() {
        let words = WordPiece::new();
        for most in [0, 1, 2, 3] {
            let tokens = words.tokens("much too long", most);
            assert_eq!((tokens.len(), tokens[0], *tokens.last().unwrap()), (most.max(2), 101, 102));
        }
    }

    proptest! {
        #[test]
        fn any_text_has_tokens_of_the_vocabulary(text in "\\PC{0,200}|.{0,50}", most in 2_usize..200) {
            let tokens = WordPiece::new().tokens(&text, most);
            prop_assert!((2..=most).contains(&tokens.len()));
            prop_assert!(tokens.iter().all(|token| (0..30_522).contains(token)));
        }
    }
}
