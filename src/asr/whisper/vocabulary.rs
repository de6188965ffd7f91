//! Whisper's vocabulary, `vocabulary.txt` or `vocabulary.json`: token numbers to text.
//!
//! A token is bytes, each written as a character: itself where it can be seen, else the
//! next one from U+0100 on, as OpenAI's byte-level encodings have it.

use std::collections::HashMap;

/// A vocabulary.
pub(super) struct Vocabulary {
    tokens: Vec<String>,
    bytes: HashMap<char, u8>,
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
        let shown = unseen.into_iter().zip('\u{100}'..).map(|(byte, shown)| (shown, byte));
        let bytes = seen.into_iter().map(|byte| (char::from(byte), byte)).chain(shown).collect();
        Ok(Self { tokens, bytes })
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
    fn what_is_no_vocabulary_is_refused() {
        for file in [&b"\xFF\xFE"[..], b"[1, 2]", b"[\"a\""] {
            assert!(Vocabulary::parse(file).is_err(), "{file:?}");
        }
    }
}
