//! Whether a text goes round in circles, as a recogniser's does on noise.
//!
//! Must not call people's own repetitions a loop: "no, no, no", "bye bye",
//! telephone numbers with zeros.

/// Longest run of tokens looked for as one turn of a loop.
const TURN_MAX: usize = 24;

/// Whether `tokens` end in a loop: the same tokens again and again, more often
/// than a speaker would.
pub(super) fn ends_in_loop(tokens: &[u32]) -> bool {
    (1..=TURN_MAX.min(tokens.len() / 3)).any(|turn| {
        // Short turns must come round more often: one word is said three times in
        // earnest, a clause of eight tokens is not.
        let times = match turn {
            1 => 10,
            2 => 7,
            3 | 4 => 5,
            5..=7 => 4,
            _ => 3,
        };
        let span = turn * times;
        tokens.len() >= span && {
            let tail = &tokens[tokens.len() - span..];
            tail[turn..] == tail[..span - turn]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_told_from_emphasis() {
        let rounds = |turn: &[u32], times| turn.repeat(times);
        for (tokens, looped) in [
            (vec![], false),
            (vec![5], false),
            (rounds(&[7], 9), false),
            (rounds(&[7], 10), true),
            (rounds(&[7, 8], 6), false),
            (rounds(&[7, 8], 7), true),
            // "Thank you." four times, and five.
            (rounds(&[1, 2, 3], 4), false),
            (rounds(&[1, 2, 3], 5), true),
            (rounds(&[1, 2, 3, 4, 5, 6, 7, 8], 2), false),
            (rounds(&[1, 2, 3, 4, 5, 6, 7, 8], 3), true),
            ((0..200).collect(), false),
        ] {
            assert_eq!(ends_in_loop(&tokens), looped, "{tokens:?}");
            let after_text: Vec<u32> = (1000..1020).chain(tokens).collect();
            assert_eq!(ends_in_loop(&after_text), looped, "{after_text:?}");
        }
    }
}
