//! What greedy decoding makes of a network's figures: the likeliest token, and whether the
//! text of them all is one.

/// The token with the highest of `logits` and its log-probability; none if there
/// is no logit or they are not numbers.
pub(in crate::asr) fn likeliest(logits: &[f32]) -> Option<(u32, f32)> {
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
    let chunk = peaks.iter().position(|&peak| peak == highest)?;
    let within = logits.chunks(CHUNK).nth(chunk)?.iter().position(|&value| value == highest)?;
    let sum: f32 = logits
        .chunks(CHUNK)
        .zip(&peaks)
        .filter(|&(_, &peak)| peak > highest - NEGLIGIBLE)
        .flat_map(|(values, _)| values)
        .map(|value| (value - highest).exp())
        .sum();
    let log_prob = -sum.ln();
    log_prob.is_finite().then_some((u32::try_from(chunk * CHUNK + within).ok()?, log_prob))
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
