//! Dates as they are said and written: the stretch of a text that could be one.

use super::lex::Class;
use super::run;
use super::scene::Scene;

const MONTHS: [&str; 24] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
];
const ORDINALS: [&str; 25] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "thirtieth",
    "st",
    "nd",
    "rd",
    "th",
];
const JOINS: [&str; 9] = ["of", "the", "slash", "dash", "and", "day", "in", "stroke", "forward"];

/// A stretch that could be a date.
pub(super) struct Date {
    /// Its last token.
    pub(super) last: usize,
    /// Whether a month is named.
    pub(super) month: bool,
    /// Digits in its numbers, those of ordinals not counted.
    pub(super) digits: usize,
    /// Ordinals by word.
    pub(super) ordinals: usize,
}

/// Tokens in the longest date looked at.
const TOKENS_MAX: usize = 14;

/// The stretch of date-like tokens that begins at token `at`, if one does.
pub(super) fn at(scene: &Scene<'_>, at: usize) -> Option<Date> {
    let tokens = &scene.tokens;
    // Not from the middle of what is one number.
    let within = scene.runs.iter().any(|run| run.first < at && at <= run.last);
    if within || matches!(tokens[at].text, "hundred" | "thousand") {
        return None;
    }
    let mut date = Date { last: at, month: false, digits: 0, ordinals: 0 };
    let mut any = false;
    for (here, token) in tokens.iter().enumerate().skip(at).take(TOKENS_MAX) {
        if here > at && token.gap.chars().any(|c| !c.is_whitespace() && !"-/.,".contains(c)) {
            break;
        }
        if here > at && token.gap.starts_with(['.', '?', '!']) && token.gap.len() > 1 {
            break;
        }
        match token.class {
            Class::Tag => break,
            Class::Number if token.text.len() > 8 => break,
            Class::Number => date.digits += token.text.len(),
            Class::Word if MONTHS.contains(&token.text) => date.month = true,
            Class::Word if is_ordinal(token.text) => date.ordinals += 1,
            Class::Word if is_number_word(token.text) => date.digits += digits_of(token.text),
            Class::Word if any && JOINS.contains(&token.text) => continue,
            Class::Word => break,
        }
        any = true;
        date.last = here;
    }
    any.then_some(date)
}

fn is_ordinal(word: &str) -> bool {
    ORDINALS.contains(&word)
}

fn is_number_word(word: &str) -> bool {
    digits_of(word) > 0
}

fn digits_of(word: &str) -> usize {
    match word {
        "hundred" => 2,
        "thousand" => 3,
        "double" | "triple" => 1,
        _ if run::unit(word).is_some() => 1,
        _ if word.ends_with("teen") || word.ends_with("ty") || matches!(word, "ten" | "eleven" | "twelve") => {
            usize::from(run::is_tens_or_teen(word)) * 2
        }
        _ => 0,
    }
}
