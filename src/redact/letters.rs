//! Letters and digits spelled out as one code: "q q one two", `GB29 NWBK`, "alpha".

use super::lex::Class;
use super::run;
use super::scene::Scene;

const ALPHABET: [&str; 26] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima",
    "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "xray",
    "yankee", "zulu",
];

/// A character of a code, and the token that said it.
#[derive(Clone, Copy)]
pub(super) struct Char {
    pub(super) value: u8,
    pub(super) token: usize,
}

/// Characters in the longest code looked at.
const CODE_MAX: usize = 40;

/// The code spelled from token `at` on, each letter in lower case.
pub(super) fn code_at(scene: &Scene<'_>, at: usize) -> Vec<Char> {
    let mut code = Vec::new();
    let mut here = at;
    while code.len() < CODE_MAX {
        if let Some(run) = scene.runs.iter().find(|run| run.first == here) {
            let digits = run.digits.iter();
            code.extend(digits.map(|digit| Char { value: b'0' + digit.value, token: digit.item.1 }));
            here = run.last + 1;
            continue;
        }
        let Some(token) = scene.tokens.get(here) else { break };
        if here > at && token.gap.chars().any(|c| !c.is_whitespace() && !"-.,".contains(c)) {
            break;
        }
        let spelled = match (token.class, token.text.as_bytes()) {
            (Class::Word, [letter]) if letter.is_ascii_lowercase() => vec![*letter],
            (Class::Word, b"double") => match scene.tokens.get(here + 1).map(|next| next.text.as_bytes()) {
                Some([letter]) if letter.is_ascii_lowercase() => {
                    here += 1;
                    vec![*letter; 2]
                }
                _ => break,
            },
            (Class::Word, letters) => {
                match ALPHABET.iter().position(|word| *word == token.text || *word == "xray" && token.text == "x-ray") {
                    Some(n) => vec![b'a' + n as u8],
                    // As in `NWBK`, `QQ`: letters that are glued to digits, or stand among them.
                    None if letters.len() <= 4 && letters.iter().all(u8::is_ascii_lowercase) => letters.to_vec(),
                    None => break,
                }
            }
            (Class::Number, digits) => digits.to_vec(),
            (Class::Tag, _) => break,
        };
        code.extend(spelled.into_iter().map(|value| Char { value, token: here }));
        here += 1;
    }
    code
}

/// Whether a word is a spoken digit rather than letters.
pub(super) fn is_digit_word(word: &str) -> bool {
    run::unit(word).is_some() || run::is_tens_or_teen(word)
}

const SHORT_WORDS: [&str; 28] = [
    "am", "an", "as", "at", "be", "by", "do", "go", "he", "hi", "if", "in", "is", "it", "me", "my", "no", "of", "ok",
    "on", "or", "so", "to", "up", "us", "we", "uh", "um",
];

/// Whether two letters are a word rather than the beginning of a code.
pub(super) fn is_short_word(word: &str) -> bool {
    SHORT_WORDS.contains(&word)
}
