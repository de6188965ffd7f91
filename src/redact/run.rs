//! Digits as people say them and engines write them, read as one run.
//!
//! `4111 1111`, "four one one one", "double four", "triple oh", "forty one eleven",
//! "nine hundred": a run is as many of these as follow one another with nothing but
//! spaces, light marks and hesitation between them.

use super::lex::{Class, Token};

/// One digit of a run, and the tokens that said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digit {
    pub(super) value: u8,
    /// First and last token of the item that it is part of.
    pub(super) item: (usize, usize),
}

/// Digits that follow one another.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// First and last token.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) digits: Vec<Digit>,
    /// Where "twenty five" was read as 25, and could be 20, 5: the 5's place.
    pub(super) unsure: Vec<usize>,
    /// Digits in each group that the text sets apart.
    pub(super) groups: Vec<usize>,
    /// Whether words said any of it.
    pub(super) spoken: bool,
    /// Whether it is an amount: money, a decimal, a percentage, so and so many of something.
    pub(super) amount: bool,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.digits.len()
    }

    pub(super) fn values(&self) -> Vec<u8> {
        self.digits.iter().map(|digit| digit.value).collect()
    }

    /// Whether an item ends before digit `at`.
    pub(super) fn divides_at(&self, at: usize) -> bool {
        at == 0 || at >= self.len() || self.digits[at - 1].item != self.digits[at].item
    }

    /// First and last token of the digits `from..to`.
    pub(super) fn span(&self, from: usize, to: usize) -> (usize, usize) {
        (self.digits[from].item.0, self.digits[to - 1].item.1)
    }
}

/// Digits in the longest run looked at; what follows begins another one.
const DIGITS_MAX: usize = 64;

const UNITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const TEENS: [&str; 10] =
    ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const FILLERS: [&str; 13] =
    ["uh", "um", "umm", "er", "erm", "ah", "mm", "hmm", "dash", "hyphen", "then", "space", "slash"];
const UNITS_OF_AMOUNT: [&str; 41] = [
    "dollars",
    "dollar",
    "pounds",
    "euros",
    "quid",
    "cents",
    "pence",
    "percent",
    "minutes",
    "minute",
    "hours",
    "hour",
    "days",
    "day",
    "weeks",
    "week",
    "months",
    "month",
    "years",
    "year",
    "times",
    "items",
    "people",
    "miles",
    "degrees",
    "points",
    "kilometres",
    "kilometers",
    "megabytes",
    "gigabytes",
    "am",
    "pm",
    "o'clock",
    "grams",
    "units",
    "pieces",
    "bucks",
    "rupees",
    "kilos",
    "seconds",
    "grand",
];

fn position(list: &[&str], word: &str) -> Option<u8> {
    list.iter().position(|entry| *entry == word).map(|at| at as u8)
}

/// One spoken digit.
pub(super) fn unit(word: &str) -> Option<u8> {
    match word {
        "oh" | "o" | "nought" | "naught" | "nil" => Some(0),
        _ => position(&UNITS, word),
    }
}

/// Whether a word says two digits: "ten" to "ninety".
pub(super) fn is_tens_or_teen(word: &str) -> bool {
    position(&TEENS, word).or_else(|| position(&TENS, word)).is_some()
}

/// What the tokens from `at` on say in one item: its digits, how many tokens, and
/// whether its last digit could be one of its own.
fn item(tokens: &[Token<'_>], at: usize) -> Option<(Vec<u8>, usize, bool)> {
    let token = tokens[at];
    let next = tokens.get(at + 1).filter(|next| next.gap.chars().all(|c| c.is_whitespace() || c == '-'));
    match token.class {
        Class::Tag => None,
        Class::Number => Some((token.text.bytes().map(|b| b - b'0').collect(), 1, false)),
        Class::Word => {
            let word = token.text;
            let times = match word {
                "double" => 2,
                "triple" | "treble" => 3,
                "quadruple" => 4,
                _ => 0,
            };
            if times > 0 {
                let next = next?;
                let digit = match next.class {
                    Class::Number if next.text.len() == 1 => next.text.bytes().next().map(|b| b - b'0'),
                    Class::Word => unit(next.text),
                    _ => None,
                }?;
                return Some((vec![digit; times], 2, false));
            }
            if let Some(digit) = unit(word) {
                return Some((vec![digit], 1, false));
            }
            if let Some(teen) = position(&TEENS, word) {
                return Some((vec![1, teen], 1, false));
            }
            let tens = position(&TENS, word)? + 2;
            match next.filter(|next| next.class == Class::Word).and_then(|next| position(&UNITS, next.text)) {
                Some(unit) if unit > 0 => Some((vec![tens, unit], 2, true)),
                _ => Some((vec![tens, 0], 1, false)),
            }
        }
    }
}

/// Whether digits may go on over this gap.
fn is_light(gap: &str) -> bool {
    gap.len() <= 12 && gap.chars().all(|c| c.is_whitespace() || "-.,()/–—·_;…".contains(c))
}

/// A zero that is a letter or a sigh elsewhere.
fn is_weak(token: &Token<'_>) -> bool {
    matches!(token.text, "oh" | "o")
}

/// Every run of a text, in order; none overlaps another.
pub(super) fn runs(tokens: &[Token<'_>]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if item(tokens, at).is_none() {
            at += 1;
            continue;
        }
        let run = read(tokens, at);
        at = run.last + 1;
        let only_weak = run.digits.iter().all(|digit| is_weak(&tokens[digit.item.0]));
        if !only_weak || run.len() > 1 {
            runs.push(run);
        }
    }
    runs
}

fn read(tokens: &[Token<'_>], first: usize) -> Run {
    let mut run = Run { first, last: first, ..Run::default() };
    let mut at = first;
    while run.len() < DIGITS_MAX {
        let Some((digits, used, unsure)) = tokens.get(at).and_then(|_| item(tokens, at)) else {
            match magnitude(tokens, at, &run) {
                Some(zeros) => {
                    let item = (run.digits[run.len() - 1].item.0, at);
                    run.digits.extend((0..zeros).map(|_| Digit { value: 0, item }));
                    for digit in run.digits.iter_mut().rev().take_while(|digit| digit.item.0 == item.0) {
                        digit.item = item;
                    }
                    run.last = at;
                    at += 1;
                    if tokens.get(at).is_some_and(|next| next.is("and")) {
                        run.amount = true;
                        break;
                    }
                    match onward(tokens, at) {
                        Some(next) => at = next,
                        None => break,
                    }
                    continue;
                }
                None => break,
            }
        };
        let last = at + used - 1;
        let gap = tokens[at].gap;
        let grown = run.len();
        if grown == 0 || !gap.chars().all(char::is_whitespace) || tokens[at].class == Class::Number {
            run.groups.push(0);
        }
        if grown > 0 && gap == "." && tokens[at].class == Class::Number && digits.len() <= 2 && grown <= 6 {
            run.amount = true;
        }
        if let Some(group) = run.groups.last_mut() {
            *group += digits.len();
        }
        if unsure {
            run.unsure.push(grown + 1);
        }
        run.spoken |= tokens[at].class == Class::Word;
        run.digits.extend(digits.iter().map(|value| Digit { value: *value, item: (at, last) }));
        run.last = last;
        match onward(tokens, last + 1) {
            Some(next) => at = next,
            None => break,
        }
    }
    run.amount |= is_amount(tokens, &run);
    run
}

/// Where the run goes on after its last item, hesitation skipped.
fn onward(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        if !is_light(token.gap) {
            return None;
        }
        if item(tokens, at).is_some() || matches!(token.text, "hundred" | "thousand") && at == from {
            return Some(at);
        }
        let and_then = token.is("and") && tokens.get(at + 1).is_some_and(|next| next.is("then"));
        if !(FILLERS.contains(&token.text) || and_then) || at > from + 2 {
            return None;
        }
        at += 1;
    }
    None
}

/// Zeros that "hundred" or "thousand" adds to the item before it.
fn magnitude(tokens: &[Token<'_>], at: usize, run: &Run) -> Option<usize> {
    if run.len() == 0 || run.digits[run.len() - 1].item.1 + 1 != at {
        return None;
    }
    match tokens.get(at)?.text {
        "hundred" => Some(2),
        "thousand" => Some(3),
        _ => None,
    }
}

fn is_amount(tokens: &[Token<'_>], run: &Run) -> bool {
    let before = tokens[run.first].gap;
    let after = tokens.get(run.last + 1);
    let money = before.ends_with(['$', '£', '€']);
    let percent = after.is_some_and(|next| next.gap.starts_with('%'));
    let unit = after.is_some_and(|next| {
        is_light(next.gap) && (UNITS_OF_AMOUNT.contains(&next.text) || matches!(next.text, "million" | "point"))
    });
    money || percent || unit
}

#[cfg(test)]
mod tests {
    use super::super::lex;
    use super::*;

    fn read_all(text: &str) -> Vec<String> {
        let lower = text.to_ascii_lowercase();
        let tokens = lex::tokens(&lower);
        runs(&tokens).iter().map(|run| run.values().iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn every_way_of_saying_digits() {
        for (text, digits) in [
            ("4111 1111-1111 1111", "4111111111111111"),
            ("four one one one", "4111"),
            ("double four triple oh quadruple 7", "440007777"),
            ("forty one eleven twenty-five thirty", "41112530"),
            ("oh seven seven double o nine hundred one", "077009001"),
            ("fifteen hundred", "1500"),
            ("4111, um, one one. Then 5", "4111115"),
            ("zero nought naught", "000"),
        ] {
            assert_eq!(read_all(text), [digits], "{text}");
        }
        assert_eq!(read_all("oh no, 12 and 34 [CARD] 5"), ["12", "34", "5"]);
        assert_eq!(read_all("at 10:30 on 4/5"), ["10", "30", "45"]);
        assert_eq!(read_all("double trouble"), [""; 0]);
    }
}
