//! Whisper's vocabulary, `vocabulary.txt` or `vocabulary.json`: token numbers to text, and back.
//!
//! A token is bytes, each written as a character: itself where it can be seen, else the
//! next one from U+0100 on, as OpenAI's byte-level encodings have it.

use std::collections::HashMap;

/// A vocabulary.
pub(super) struct Vocabulary {
    tokens: Vec<String>,
    bytes: HashMap<char, u8>,
    /// The characters of all bytes.
    shown: Vec<char>,
    /// The numbers of all tokens, sorted by what is in them.
    sorted: Vec<u32>,
}

impl Vocabulary {
    /// Reads the contents of a `vocabulary.txt`, a token a line, or of a `vocabulary.json`,
    /// which is a list of them.
    ///
    /// # Errors
    /// Says what is not as it should be.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(file).map_err(|error| format!("is no text: {error}"))?;
        let tokens: Vec<String> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(|error| format!("is no list of tokens: {error}"))?,
            false => text.lines().map(str::to_owned).collect(),
        };
        let seen = |byte: &u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let (seen, unseen): (Vec<u8>, Vec<u8>) = (0..=255).partition(seen);
        let unseen = unseen.into_iter().zip('\u{100}'..).map(|(byte, shown)| (shown, byte));
        let bytes: HashMap<char, u8> = seen.into_iter().map(|byte| (char::from(byte), byte)).chain(unseen).collect();
        let mut shown = vec!['\0'; 256];
        bytes.iter().for_each(|(&char, &byte)| shown[usize::from(byte)] = char);
        let mut sorted: Vec<u32> = (0..).zip(&tokens).map(|(number, _)| number).collect();
        sorted.sort_by(|&a, &b| tokens[a as usize].cmp(&tokens[b as usize]));
        Ok(Self { tokens, bytes, shown, sorted })
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The number of the token `<|name|>`.
    pub(super) fn special(&self, name: &str) -> Option<u32> {
        let name = format!("<|{name}|>");
        self.tokens.iter().rposition(|token| *token == name).and_then(|at| u32::try_from(at).ok())
    }

    /// The text of `tokens`, trimmed. Numbers outside the vocabulary have none; bytes that
    /// are not UTF-8 become U+FFFD.
    pub(super) fn text(&self, tokens: &[u32]) -> String {
        let tokens = tokens.iter().filter_map(|&token| self.tokens.get(token as usize));
        let bytes: Vec<u8> =
            tokens.flat_map(|token| token.chars()).filter_map(|shown| self.bytes.get(&shown).copied()).collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// The tokens of `text`, as byte pairs are joined (Sennrich et al. 2016, "Neural machine
    /// translation of rare words with subword units"): tokens are numbered in the order their
    /// joints were learnt in, so the joint whose token has the lowest number goes first. Words
    /// are joined each for itself, with the space before it. Bytes without a token are left out.
    pub(super) fn tokens(&self, text: &str) -> Vec<u32> {
        words(text).flat_map(|word| self.joined(word)).collect()
    }

    fn joined(&self, word: &str) -> Vec<u32> {
        let mut parts: Vec<String> = word.bytes().map(|byte| self.shown[usize::from(byte)].to_string()).collect();
        loop {
            let joints = parts.windows(2).enumerate();
            let joints = joints.filter_map(|(at, pair)| Some((self.number(&pair.concat())?, at)));
            let Some((_, at)) = joints.min() else { break };
            let second = parts.remove(at + 1);
            parts[at].push_str(&second);
        }
        parts.iter().filter_map(|part| self.number(part)).collect()
    }

    fn number(&self, token: &str) -> Option<u32> {
        let found = self.sorted.binary_search_by(|&number| self.tokens[number as usize].as_str().cmp(token));
        found.ok().map(|at| self.sorted[at])
    }
}

/// `text` in stretches of letters, of digits and of other characters, each with one space
/// before it where there is one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| match c {
        _ if c.is_whitespace() => 0,
        _ if c.is_alphabetic() => 1,
        _ if c.is_numeric() => 2,
        '\'' => 3,
        _ => 4,
    };
    let mut before = None;
    let mut begins = move |c: char| {
        let (was, is) = (before.replace(kind(c)), kind(c));
        match (was, is) {
            (None, _) => false,
            (Some(0), is) => is == 0,
            // As in "I'd".
            (Some(3), 1) => false,
            (Some(was), is) => was != is,
        }
    };
    let mut starts: Vec<usize> = text.char_indices().filter(|(_, c)| begins(*c)).map(|(at, _)| at).collect();
    starts.push(text.len());
    let mut from = 0;
    starts.into_iter().map(move |to| &text[std::mem::replace(&mut from, to)..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_join_to_text_in_both_forms() {
        for file in ["!\nĠHello\n,\nĠcaf\nÃ\n©\n<|en|>\n", r#"["!", "ĠHello", ",", "Ġcaf", "Ã", "©", "<|en|>"]"#]
        {
            let vocabulary = Vocabulary::parse(file.as_bytes()).unwrap();
            assert_eq!((vocabulary.len(), vocabulary.special("en"), vocabulary.special("de")), (7, Some(6), None));
            for (tokens, text) in
                [(&[][..], ""), (&[1, 2, 3, 4, 5], "Hello, café"), (&[5], "\u{FFFD}"), (&[7, u32::MAX], "")]
            {
                assert_eq!(vocabulary.text(tokens), text, "{tokens:?}");
            }
        }
    }

    #[test]
    fn text_is_cut_into_words() {
        for (text, expected) in [
            ("", vec![""]),
            ("Hello, world", vec!["Hello", ",", " world"]),
            (" I'd say 25 a.m.", vec![" I", "'d", " say", " 25", " a", ".", "m", "."]),
            ("two  spaces", vec!["two", " ", " spaces"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn text_becomes_the_tokens_it_was_made_of() {
        // "lo" was learnt first, then "Ġlo", then "low"; so "low" is never joined from "l" and "ow".
        let vocabulary = Vocabulary::parse("l\no\nw\nĠ\nlo\nĠlo\nlow\now\nÃ\n©\nĠlow\n".as_bytes()).unwrap();
        for (text, tokens) in
            [("", &[][..]), ("low", &[6]), (" low", &[10]), (" lo ow", &[5, 3, 7]), ("é", &[8, 9]), ("xlow", &[6])]
        {
            assert_eq!(vocabulary.tokens(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        for file in [&b"\xFF\xFE"[..], b"[1, 2]", b"[\"a\""] {
            assert!(Vocabulary::parse(file).is_err(), "{file:?}");
        }
    }
}
