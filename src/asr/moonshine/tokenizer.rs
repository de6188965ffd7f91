//! Moonshine's vocabulary, `tokenizer.bin`: token numbers to text.
//!
//! The file is the tokens one after the other, each its length and its bytes. The
//! length is one byte below 128, or two: the low seven bits (with the top bit set),
//! then the rest. Must never read past the end of what the file holds, whatever it
//! says.

/// Stands for a space at the start of a word.
const SPACE: &str = "\u{2581}";

/// Tokens 0 to 2 are unknown, begin and end; those named so are places in a prompt.
const FIRST_TEXT: u32 = 3;
const PLACE: &[u8] = b"<<ST_";

/// A vocabulary.
pub(super) struct Tokenizer {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`; it begins where the one before ends.
    ends: Vec<usize>,
}

impl Tokenizer {
    /// Reads the contents of a `tokenizer.bin` that has `count` tokens.
    ///
    /// # Errors
    /// Says where the file stops making sense.
    pub(super) fn parse(file: &[u8], count: usize) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(file.len());
        let mut ends = Vec::with_capacity(count);
        let mut rest = file;
        while let Some((&low, after)) = rest.split_first() {
            let (length, after) = match (low, after.split_first()) {
                (0..128, _) => (usize::from(low), after),
                (_, Some((&high, after))) => (usize::from(high) * 128 + usize::from(low) - 128, after),
                (_, None) => return Err(format!("ends within the length of token {}", ends.len())),
            };
            let Some((token, after)) = after.split_at_checked(length) else {
                return Err(format!("token {} says {length} bytes, {} are left", ends.len(), after.len()));
            };
            bytes.extend_from_slice(token);
            ends.push(bytes.len());
            rest = after;
        }
        if ends.len() != count {
            return Err(format!("holds {} tokens in place of {count}", ends.len()));
        }
        Ok(Self { bytes, ends })
    }

    /// The text of `tokens`, trimmed. Control tokens and numbers outside the
    /// vocabulary have none; bytes that are not UTF-8 become U+FFFD.
    pub(super) fn text(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.token(token)).copied().collect();
        String::from_utf8_lossy(&bytes).replace(SPACE, " ").trim().to_owned()
    }

    fn token(&self, token: u32) -> &[u8] {
        let index = token as usize;
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let bytes = &self.bytes[start..end];
        if token < FIRST_TEXT || bytes.starts_with(PLACE) { &[] } else { bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tokens: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for token in tokens {
            match token.len() {
                short @ 0..128 => file.push(short as u8),
                long => file.extend([(long % 128 + 128) as u8, (long / 128) as u8]),
            }
            file.extend_from_slice(token);
        }
        file
    }

    #[test]
    fn tokens_join_to_text() {
        let long = "x".repeat(300);
        let words: [&[u8]; 9] = [
            b"<unk>",
            b"<s>",
            b"</s>",
            "▁Hello".as_bytes(),
            b",",
            "▁caf".as_bytes(),
            b"\xC3",
            b"\xA9",
            long.as_bytes(),
        ];
        let tokenizer = Tokenizer::parse(&file(&words), words.len()).unwrap();
        for (tokens, text) in [
            (&[][..], ""),
            (&[1, 3, 4, 5, 6, 7, 2], "Hello, café"),
            (&[3, 3], "Hello Hello"),
            (&[6], "\u{FFFD}"),
            (&[8], long.as_str()),
            (&[9, 70_000, u32::MAX], ""),
        ] {
            assert_eq!(tokenizer.text(tokens), text, "{tokens:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_it_is_cut() {
        let long = [b'y'; 200];
        let whole = file(&[b"<unk>", b"<s>", b"</s>", &long, b"end"]);
        assert!(Tokenizer::parse(&whole, 5).is_ok());
        for cut in 0..whole.len() {
            assert!(Tokenizer::parse(&whole[..cut], 5).is_err(), "cut at {cut}");
        }
        assert!(Tokenizer::parse(&[0xFF; 64], 5).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tokens: Vec<u32>, count in 0_usize..8) {
            if let Ok(tokenizer) = Tokenizer::parse(&bytes, count) {
                tokenizer.text(&tokens);
            }
        }
    }
}
