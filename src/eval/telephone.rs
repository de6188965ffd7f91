//! What becomes of a recording on a telephone: 8 kHz and μ-law (ITU-T G.711).
//!
//! The upper edge of the band is the resampler's, near 3.7 kHz. The lower edge of
//! 300 Hz that old exchanges had is left out: calls over IP do not have it.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// Samples a second on a telephone.
pub const TELEPHONE_HZ: u32 = 8_000;

/// The recording, taken at `hz`, as it arrives over a telephone at 8 kHz.
#[must_use]
pub fn telephone(samples: &[i16], hz: u32) -> Vec<i16> {
    resampled(samples, hz, TELEPHONE_HZ).into_iter().map(|sample| mu_law_decoded(mu_law_encoded(sample))).collect()
}

/// The recording at another rate, as long as it was and without delay.
///
/// # Panics
/// When a rate is zero.
#[must_use]
pub fn resampled(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    /// A block of the transform, in samples: any long one will do.
    const BLOCK: usize = 1_024;
    if from_hz == to_hz || samples.is_empty() {
        return samples.to_vec();
    }
    let input: Vec<f32> = samples.iter().map(|&sample| f32::from(sample)).collect();
    let fft = Fft::<f32>::new(from_hz as usize, to_hz as usize, BLOCK, 1, FixedSync::Both);
    let mut fft = fft.expect("rates of more than zero can be resampled");
    let input = SequentialSlice::new(&input, 1, input.len()).expect("one channel as long as itself");
    let output = fft.process_all(&input, samples.len(), None).expect("the input is as long as it says");
    // `as` saturates, which is what clipping is.
    output.take_data().into_iter().map(|sample| sample.round_ties_even() as i16).collect()
}

/// What G.711 adds before it takes the logarithm, at 16 bits.
const BIAS: i32 = 0x84;

/// A sample as μ-law: sign, three bits of exponent, four of mantissa, all inverted.
#[must_use]
pub fn mu_law_encoded(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + BIAS).min(0x7fff);
    // Between 7 and 14 by the bias and the limit.
    let top_bit = magnitude.ilog2();
    let mantissa = (magnitude >> (top_bit - 4)) & 0x0f;
    !(sign | ((top_bit - 7) as u8) << 4 | mantissa as u8)
}

/// The sample that a byte of μ-law stands for.
#[must_use]
pub fn mu_law_decoded(byte: u8) -> i16 {
    let bits = !byte;
    let exponent = (bits >> 4) & 7;
    let magnitude = (((i32::from(bits & 0x0f) << 3) + BIAS) << exponent) - BIAS;
    // At most 32124.
    let magnitude = magnitude as i16;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f32, rate: u32, seconds: f32) -> Vec<i16> {
        let n = (rate as f32 * seconds) as usize;
        (0..n).map(|i| (8000.0 * (i as f32 * hz * std::f32::consts::TAU / rate as f32).sin()) as i16).collect()
    }

    fn rms(samples: &[i16]) -> f32 {
        (crate::audio::level::power(samples)).sqrt() * 32_768.0
    }

    #[test]
    fn mu_law_is_that_of_the_standard() {
        // Known pairs of G.711's table 2a, at 16 bits: the ends, zero, the first steps.
        for (sample, byte) in [(0, 0xff), (32_124, 0x80), (-32_124, 0x00), (8, 0xfe), (-8, 0x7e), (i16::MAX, 0x80)] {
            assert_eq!(mu_law_encoded(sample), byte, "{sample}");
        }
        assert_eq!((mu_law_decoded(0xff), mu_law_decoded(0x80), mu_law_decoded(0x00)), (0, 32_124, -32_124));
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=u8::MAX {
            let again = mu_law_encoded(mu_law_decoded(byte));
            // 0x7f is minus zero; it comes back as zero.
            assert!(again == byte || byte == 0x7f, "{byte:#x} became {again:#x}");
        }
    }

    #[test]
    fn every_sample_stays_within_the_step_of_its_size() {
        for sample in i16::MIN..=i16::MAX {
            let error = (i32::from(mu_law_decoded(mu_law_encoded(sample))) - i32::from(sample)).abs();
            let step = ((i32::from(sample).abs() + BIAS) / 16).max(8);
            assert!(error <= step / 2 + 644 * i32::from(sample.unsigned_abs() > 32_124) + 4, "{sample}: {error}");
        }
    }

    #[test]
    fn a_telephone_carries_speech_and_nothing_above_it() {
        let kept = telephone(&sine(1_000.0, 16_000, 1.0), 16_000);
        assert_eq!(kept.len(), 8_000);
        assert!((rms(&kept) / 5_657.0 - 1.0).abs() < 0.05, "{}", rms(&kept));
        let gone = telephone(&sine(5_000.0, 16_000, 1.0), 16_000);
        assert!(rms(&gone[800..7_200]) < 30.0, "{}", rms(&gone[800..7_200]));
    }

    #[test]
    fn resampling_neither_delays_nor_shortens() {
        for (from, to) in [(48_000, 16_000), (44_100, 16_000), (16_000, 8_000), (8_000, 8_000)] {
            let audio = resampled(&sine(400.0, from, 0.5), from, to);
            assert_eq!(audio.len(), to as usize / 2, "{from} to {to}");
            let expected = sine(400.0, to, 0.5);
            let middle = to as usize / 8..to as usize / 4;
            let worst = audio[middle.clone()].iter().zip(&expected[middle]).map(|(a, b)| (a - b).abs()).max();
            // Half a sample's worth of the steepest place: some ratios cannot be met better.
            let half_sample = (8_000.0 * 400.0 * std::f32::consts::PI / to as f32) as i16;
            assert!(worst <= Some(half_sample), "{from} to {to}: {worst:?} of {half_sample}");
        }
        assert!(resampled(&[], 16_000, 8_000).is_empty());
    }
}
