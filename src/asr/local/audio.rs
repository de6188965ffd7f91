//! What networks are given of an utterance: samples that are numbers, in pieces that are
//! not too long.

use std::borrow::Cow;
use std::ops::Range;

/// Longer audio is cut into pieces at a quiet place between these two lengths, in
/// samples: 12 and 24 s. The cost of a second of audio grows with the length of
/// the piece, and the models were made for less than 30 s.
pub(super) const PIECE_MIN: usize = 192_000;
pub(super) const PIECE_MAX: usize = 384_000;

/// Silence put before audio that looped, in samples: 200 ms.
pub(super) const PAUSE: usize = 3_200;

/// Audio that stays below this, of full scale 1, is silence: no words in it.
pub(super) const SILENCE: f32 = 1e-4;

/// How long `samples` samples last, in ms.
pub(in crate::asr) fn ms(samples: usize) -> u64 {
    samples as u64 / 16
}

/// The samples as the networks can take them: numbers within ±1.
pub(super) fn playable(samples: &[f32]) -> Cow<'_, [f32]> {
    if samples.iter().all(|sample| sample.abs() <= 1.0) {
        return Cow::Borrowed(samples);
    }
    samples.iter().map(|sample| if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }).collect()
}

/// The same audio a little later. Greedy decoding loops by an accident of where the
/// networks' windows fall; on speech another place often gives the words, on noise
/// it loops again.
pub(super) fn after_a_pause(piece: &[f32]) -> Vec<f32> {
    let mut later = vec![0.0; PAUSE];
    later.extend_from_slice(piece);
    later
}

/// Where to cut `samples` so that no piece is longer than [`PIECE_MAX`].
pub(super) fn pieces(samples: &[f32]) -> Vec<Range<usize>> {
    /// Quiet is looked for in steps of 100 ms.
    const STEP: usize = 1_600;
    let mut pieces = Vec::new();
    let mut start = 0;
    while samples.len() - start > PIECE_MAX {
        let energy = |at: &usize| samples[*at..*at + STEP].iter().map(|sample| sample * sample).sum::<f32>();
        let places = (start + PIECE_MIN..start + PIECE_MAX).step_by(STEP);
        let quietest = places.min_by(|a, b| energy(a).total_cmp(&energy(b))).unwrap_or(start + PIECE_MIN);
        pieces.push(start..quietest + STEP / 2);
        start = quietest + STEP / 2;
    }
    pieces.push(start..samples.len());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once_and_stay_short() {
        for n in [0, 1, PIECE_MIN, PIECE_MAX, PIECE_MAX + 1, 5 * PIECE_MAX + 77] {
            let samples: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * (i as f32 * 1e-4).cos()).collect();
            let pieces = pieces(&samples);
            assert_eq!(pieces[0].start, 0);
            assert_eq!(pieces[pieces.len() - 1].end, n);
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_MAX), "{pieces:?}");
        }
    }

    #[test]
    fn long_audio_is_cut_where_it_is_quiet() {
        let mut samples = vec![0.3; PIECE_MAX + 16_000];
        samples[250_000..254_000].fill(0.0);
        let pieces = pieces(&samples);
        assert_eq!(pieces.len(), 2);
        assert!((250_000..254_000).contains(&pieces[0].end), "{pieces:?}");
    }

    #[test]
    fn samples_that_are_not_samples_are_mended() {
        assert!(matches!(playable(&[0.0, -1.0, 1.0]), Cow::Borrowed(_)));
        assert_eq!(*playable(&[f32::NAN, f32::INFINITY, -3.0, 0.5]), [0.0, 1.0, -1.0, 0.5]);
    }
}
