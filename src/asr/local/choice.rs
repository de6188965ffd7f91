//! What decoding makes of a network's figures: the likeliest tokens, and whether the text of
//! them all is one.

/// The token with the highest of `logits` and its log-probability; none if there
/// is no logit or they are not numbers.
pub(in crate::asr) fn likeliest(logits: &[f32]) -> Option<(u32, f32)> {
    likeliest_few(logits, 1).pop()
}

/// The tokens with the `few` highest of `logits` and their log-probabilities, the highest first;
/// fewer where there are not so many, none if they are not numbers.
pub(in crate::asr) fn likeliest_few(logits: &[f32], few: usize) -> Vec<(u32, f32)> {
    /// Logits are looked at in chunks; within one, so many at once.
    const CHUNK: usize = 128;
    const LANES: usize = 16;
    /// Terms this far below the highest would add less than half a per cent if all
    /// the vocabulary were there.
    const NEGLIGIBLE: f32 = 16.0;

    let peak_of = |chunk: &[f32]| {
        let mut peaks = [f32::NEG_INFINITY; LANES];
        for values in chunk.chunks(LANES) {
            for (peak, &value) in peaks.iter_mut().zip(values) {
                // Compiles to one instruction, unlike `f32::max`.
                *peak = if value > *peak { value } else { *peak };
            }
        }
        peaks.into_iter().fold(f32::NEG_INFINITY, f32::max)
    };
    let peaks: Vec<f32> = logits.chunks(CHUNK).map(peak_of).collect();
    let highest = peaks.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits
        .chunks(CHUNK)
        .zip(&peaks)
        .filter(|&(_, &peak)| peak > highest - NEGLIGIBLE)
        .flat_map(|(values, _)| values)
        .map(|value| (value - highest).exp())
        .sum();
    let rest = highest + sum.ln();
    if !rest.is_finite() {
        return Vec::new();
    }
    // The highest are in the chunks with the highest peaks.
    let mut chunks: Vec<usize> = (0..peaks.len()).collect();
    if few < chunks.len() {
        chunks.select_nth_unstable_by(few, |&one, &other| peaks[other].total_cmp(&peaks[one]).then(one.cmp(&other)));
        chunks.truncate(few);
    }
    let mut found: Vec<(u32, f32)> = Vec::new();
    for chunk in chunks {
        let first = chunk * CHUNK;
        let values = logits[first..].iter().take(CHUNK).enumerate().filter(|(_, value)| !value.is_nan());
        found.extend(values.filter_map(|(n, value)| Some((u32::try_from(first + n).ok()?, value - rest))));
    }
    found.sort_unstable_by(|(token, one), (other_token, other)| other.total_cmp(one).then(token.cmp(other_token)));
    found.truncate(few);
    found
}

/// `text`, or none of it where it has no words: notes (♪), dashes and dots are what
/// the model writes of music and noise.
pub(super) fn worded(text: String) -> String {
    if text.contains(char::is_alphanumeric) { text } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_token_and_its_probability_are_found() {
        for n in [1, 15, 128, 129, 5000] {
            let logits: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
            let highest = logits.iter().copied().fold(f32::MIN, f32::max);
            let log_sum = logits.iter().map(|value| (value - highest).exp()).sum::<f32>().ln();
            let (token, log_prob) = likeliest(&logits).unwrap();
            assert_eq!(Some(token as usize), logits.iter().position(|&value| value == highest));
            assert!((log_prob + log_sum).abs() < 1e-2, "{log_prob} {log_sum}");
        }
    }

    #[test]
    fn the_few_likeliest_come_in_order_wherever_they_are() {
        let logits: Vec<f32> = (0..1000).map(|i| if i % 100 == 7 { i as f32 / 100.0 } else { -3.0 }).collect();
        for few in [0, 1, 3, 10, 11, 2000] {
            let found = likeliest_few(&logits, few);
            assert_eq!(found.len(), few.min(1000));
            let tokens: Vec<u32> = found.iter().take(10).map(|(token, _)| *token).collect();
            let expected: Vec<u32> = (0..10).rev().map(|n| n * 100 + 7).take(few).collect();
            assert_eq!(tokens, expected);
            assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
        let all: f32 = likeliest_few(&logits, 1000).iter().map(|(_, log_prob)| log_prob.exp()).sum();
        assert!((all - 1.0).abs() < 1e-2, "{all}");
    }

    #[test]
    fn figures_that_are_no_numbers_choose_nothing() {
        for logits in [&[][..], &[f32::NAN; 200], &[f32::INFINITY; 3], &[f32::NEG_INFINITY; 3]] {
            assert_eq!(likeliest(logits), None, "{logits:?}");
        }
    }

    #[test]
    fn signs_without_words_are_no_text() {
        for (text, words) in [("", ""), ("♪♪", ""), ("... -", ""), ("No.", "No."), ("♪ 4", "♪ 4")] {
            assert_eq!(worded(text.to_owned()), words);
        }
    }
}
