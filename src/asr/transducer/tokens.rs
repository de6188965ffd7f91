//! A transducer's vocabulary, `tokens.txt`: a token and its number a line.
//!
//! A token is a piece of a word; `▁` at its beginning is the space before it, `<0xC3>` a byte.

use crate::types::{Private, Word};

/// What stands for a space.
const SPACE: char = '\u{2581}';

/// The token that is none, in every model.
pub(super) const BLANK: u32 = 0;

/// A token that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placed {
    pub(super) token: u32,
    pub(super) log_prob: f32,
    /// When the encoder's frame it came with begins and ends, in ms from the beginning of
    /// what was heard.
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
}

/// A vocabulary.
#[derive(Debug)]
pub(super) struct Tokens {
    /// The bytes of each, its spaces as spaces.
    tokens: Vec<Vec<u8>>,
    unknown: Option<u32>,
}

impl Tokens {
    /// Reads the contents of a `tokens.txt` for a model of `vocabulary` tokens. Tokens beyond
    /// those are of other parts of its training and never heard.
    ///
    /// # Errors
    /// Says what is not as it should be, and on which line.
    pub(super) fn parse(file: &[u8], vocabulary: usize) -> Result<Self, String> {
        let text = std::str::from_utf8(file).map_err(|error| format!("is no text: {error}"))?;
        let mut found: Vec<Option<&str>> = vec![None; vocabulary];
        for (line, content) in text.lines().enumerate() {
            let line = line + 1;
            if content.trim().is_empty() {
                continue;
            }
            let wrong = || format!("has {content:?} on line {line}; expected a token and its number");
            let fields: Vec<_> = content.split_ascii_whitespace().collect();
            let (token, id) = match fields[..] {
                [token, id] => (token, id),
                // The token is a space itself.
                [id] => (" ", id),
                _ => return Err(wrong()),
            };
            let id: usize = id.parse().map_err(|_| wrong())?;
            let Some(place) = found.get_mut(id) else { continue };
            if let Some(before) = place.replace(token) {
                return Err(format!("gives number {id} to {before:?} and, on line {line}, to {token:?}"));
            }
        }
        let whole: Option<Vec<_>> = found.iter().copied().collect();
        let Some(whole) = whole else {
            let missing = found.iter().position(Option::is_none).unwrap_or_default();
            return Err(format!("has no token of number {missing}; the model has {vocabulary}"));
        };
        if byte_level(&whole) {
            return Err("is of byte-level pieces, which are not supported".to_owned());
        }
        let unknown = whole.iter().position(|token| *token == "<unk>").and_then(|id| u32::try_from(id).ok());
        Ok(Self { tokens: whole.into_iter().map(bytes).collect(), unknown })
    }

    /// Whether `token` stands for something the vocabulary has no piece for.
    pub(super) fn is_unknown(&self, token: u32) -> bool {
        self.unknown == Some(token)
    }

    /// The text of `tokens`: its words with one space between them. Numbers outside the
    /// vocabulary have none; bytes that are not UTF-8 become U+FFFD.
    pub(super) fn text(&self, tokens: &[u32]) -> String {
        let placed = |&token: &u32| Placed { token, log_prob: 0.0, start_ms: 0, end_ms: 0 };
        let placed: Vec<_> = tokens.iter().map(placed).collect();
        let words: Vec<_> = self.words(&placed).into_iter().map(|word| word.text.0).collect();
        words.join(" ")
    }

    /// The words that `placed` make up, each from its first token to its last; as sure as its
    /// tokens are on average.
    pub(super) fn words(&self, placed: &[Placed]) -> Vec<Word> {
        let mut words = Vec::new();
        let mut bytes: Vec<u8> = Vec::new();
        let mut of: Vec<Placed> = Vec::new();
        for one in placed {
            let token = self.tokens.get(one.token as usize).map_or(&[][..], Vec::as_slice);
            for (n, part) in token.split(|byte| *byte == b' ').enumerate() {
                if n > 0 {
                    words.extend(word(&std::mem::take(&mut bytes), &std::mem::take(&mut of)));
                }
                if !part.is_empty() {
                    bytes.extend_from_slice(part);
                    of.push(*one);
                }
            }
        }
        words.extend(word(&bytes, &of));
        words
    }
}

/// The word that `bytes` are, which came with the tokens `of`; none where there are none.
fn word(bytes: &[u8], of: &[Placed]) -> Option<Word> {
    let (first, last) = (of.first()?, of.last()?);
    let log_prob: f32 = of.iter().map(|one| one.log_prob).sum();
    Some(Word {
        text: Private(String::from_utf8_lossy(bytes).into_owned()),
        start_ms: first.start_ms,
        end_ms: last.end_ms,
        confidence: Some((log_prob / of.len() as f32).exp()),
    })
}

/// What `token` adds to a text: `<0xC3>` that byte, others in angle brackets (`<blk>`,
/// `<sos/eos>`, `<unk>`) nothing.
fn bytes(token: &str) -> Vec<u8> {
    let inside = token.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).filter(|inside| !inside.is_empty());
    match inside {
        Some(inside) => {
            let byte = inside.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok());
            byte.into_iter().collect()
        }
        None => token.replace(SPACE, " ").into_bytes(),
    }
}

/// Whether `tokens` are pieces of bytes, each shown as a letter: icefall's byte-level pieces,
/// of ASCII and of U+0100 to U+01A6 alone. They would be read as letters and make no sense.
fn byte_level(tokens: &[&str]) -> bool {
    let letters = || tokens.iter().flat_map(|token| token.chars()).filter(|letter| *letter != SPACE);
    letters().all(|letter| letter.is_ascii() || ('\u{100}'..='\u{1A6}').contains(&letter))
        && letters().any(|letter| letter >= '\u{180}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "<blk> 0\n<sos/eos> 1\n<unk> 2\n▁HELLO 3\n, 4\n▁CAF 5\n<0xC3> 6\n<0xA9> 7\n▁ 8\nS 9\n";

    #[test]
    fn tokens_join_to_text() {
        let tokens = Tokens::parse(FILE.as_bytes(), 10).unwrap();
        for (of, text) in [
            (&[][..], ""),
            (&[3, 4, 5, 6, 7], "HELLO, CAFé"),
            (&[3, 8, 3, 9], "HELLO HELLOS"),
            (&[9, 8, 8, 9, 8], "S S"),
            (&[0, 1, 2, 3, 2], "HELLO"),
            (&[6], "\u{FFFD}"),
            (&[10, u32::MAX], ""),
        ] {
            assert_eq!(tokens.text(of), text, "{of:?}");
        }
        assert!(tokens.is_unknown(2) && !tokens.is_unknown(0));
    }

    #[test]
    fn a_word_lasts_from_its_first_token_to_its_last() {
        let tokens = Tokens::parse(FILE.as_bytes(), 10).unwrap();
        let placed = [(8, 0), (9, 40), (3, 200), (9, 320)].map(|(token, start_ms)| Placed {
            token,
            log_prob: -0.5,
            start_ms,
            end_ms: start_ms + 40,
        });
        let words: Vec<_> =
            tokens.words(&placed).into_iter().map(|word| (word.text.0, word.start_ms, word.end_ms)).collect();
        assert_eq!(words, [("S".to_owned(), 40, 80), ("HELLOS".to_owned(), 200, 360)]);
        assert!(tokens.words(&placed).iter().all(|word| word.confidence == Some((-0.5_f32).exp())));
    }

    #[test]
    fn a_space_may_be_a_token_and_further_tokens_are_left_out() {
        let tokens = Tokens::parse("<blk> 0\r\na 1\r\n 2\r\n\r\n#0 3\r\n".as_bytes(), 3).unwrap();
        assert_eq!(tokens.text(&[1, 2, 1, 3]), "a a");
    }

    #[test]
    fn what_is_no_list_of_tokens_is_refused_by_line() {
        for (file, reason) in [
            (&b"\xFF\xFE"[..], "is no text"),
            (b"", "no token of number 0"),
            (b"<blk> 0\na\nb 2", "\"a\" on line 2"),
            (b"<blk> 0\na b 1", "\"a b 1\" on line 2"),
            (b"<blk> 0\na -1\nb 2", "\"a -1\" on line 2"),
            (b"<blk> 0\na 1\nb 1", "number 1 to \"a\" and, on line 3, to \"b\""),
            (b"<blk> 0\nb 2", "no token of number 1; the model has 3"),
            ("<blk> 0\n▁ƌ 1\nŗ 2".as_bytes(), "byte-level"),
        ] {
            let error = Tokens::parse(file, 3).unwrap_err();
            assert!(error.contains(reason), "{error}, not {reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tokens: Vec<u32>, count in 0_usize..8) {
            if let Ok(vocabulary) = Tokens::parse(&bytes, count) {
                vocabulary.text(&tokens);
            }
        }
    }
}
