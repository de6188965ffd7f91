//! How loud: dBFS, and bringing speech to a level recognisers are used to.

/// Level a recogniser is given speech at, in dBFS.
pub const SPEECH_DBFS: f32 = -20.0;

/// Most that [`to_speech_level`] amplifies, in dB. Beyond it there is mostly noise to raise.
const GAIN_DB_MAX: f32 = 40.0;

/// Mean power of `samples`, relative to full scale squared: 0 to 1. Zero for none.
#[must_use]
pub fn power(samples: &[i16]) -> f32 {
    mean(energy(samples), samples.len())
}

/// Mean power of so many samples whose [`energy`] is known, as [`power`] has it.
#[must_use]
pub fn mean(energy: u64, samples: usize) -> f32 {
    if samples == 0 {
        return 0.0;
    }
    (energy as f64 / samples as f64 / (32_768.0 * 32_768.0)) as f32
}

/// Sum of the squares of `samples`, exact. In whole numbers and two at a time: for that,
/// processors have an instruction that does many at once.
#[must_use]
pub fn energy(samples: &[i16]) -> u64 {
    // Two of the largest, 2³⁰ each, just fit.
    let square = |sample: i16| (i32::from(sample) * i32::from(sample)) as u32;
    let (pairs, last) = samples.as_chunks::<2>();
    let pairs: u64 = pairs.iter().map(|&[a, b]| u64::from(square(a) + square(b))).sum();
    pairs + last.iter().map(|&sample| u64::from(square(sample))).sum::<u64>()
}

/// Power as a level in dBFS, never below −100.
#[must_use]
pub fn dbfs(power: f32) -> f32 {
    10.0 * power.max(1e-10).log10()
}

/// Converts to floats of full scale ±1 and brings the speech to [`SPEECH_DBFS`].
///
/// The level of the speech is taken from the louder half of the 20 ms frames, so
/// that pauses do not count. Quiet telephone audio decodes with half the errors
/// this way. Peaks are clipped at full scale. Digital silence stays silent.
pub fn to_speech_level(samples: &[i16], out: &mut Vec<f32>) {
    out.clear();
    let mut powers: Vec<f32> = samples.chunks(crate::types::rate::FRAME_SAMPLES).map(power).collect();
    powers.sort_unstable_by(|a, b| b.total_cmp(a));
    powers.truncate(powers.len().div_ceil(2));
    let loud = powers.iter().sum::<f32>() / powers.len().max(1) as f32;
    let gain_db = (SPEECH_DBFS - dbfs(loud)).min(GAIN_DB_MAX);
    let gain = 10_f32.powf(gain_db / 20.0) / 32_768.0;
    out.extend(samples.iter().map(|&s| (f32::from(s) * gain).clamp(-1.0, 1.0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_zero_dbfs_and_silence_is_the_floor() {
        assert!(dbfs(power(&[i16::MIN; 320])).abs() < 0.01);
        assert!((dbfs(power(&[0; 320])) + 100.0).abs() < 0.01);
        assert!((dbfs(power(&[])) + 100.0).abs() < 0.01);
    }

    #[test]
    fn quiet_and_loud_speech_come_out_alike() {
        for peak in [100_i16, 1000, 30_000] {
            // Half the frames are pauses.
            let samples: Vec<i16> =
                (0..6400).map(|i| if (i / 320) % 2 == 0 { if i % 2 == 0 { peak } else { -peak } } else { 0 }).collect();
            let mut out = Vec::new();
            to_speech_level(&samples, &mut out);
            assert_eq!(out.len(), samples.len());
            assert!((20.0 * out[0].log10() - SPEECH_DBFS).abs() < 0.1, "peak {peak} became {}", out[0]);
        }
    }

    #[test]
    fn noise_floors_are_not_raised_without_bound() {
        let mut out = Vec::new();
        to_speech_level(&[1, -1, 1, -1], &mut out);
        assert!(out[0] < 0.01, "{}", out[0]);
        to_speech_level(&[0; 4], &mut out);
        assert_eq!(out, [0.0; 4]);
    }
}
