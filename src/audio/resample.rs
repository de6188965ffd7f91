//! 8 or 24 kHz to the pipeline's 16 kHz, one 20 ms frame at a time: twice the rate by a
//! filter of our own, all others by FFT (rubato).
//!
//! The filters delay their output, by 3 and 10 ms. Times are published without correcting
//! for it; the pre-roll is many times longer.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use super::double::Double;
use crate::types::Rate;

/// One leg's resampler. Allocates when made, never after.
pub struct Resampler {
    way: Way,
    output: Vec<f32>,
}

enum Way {
    Double(Double),
    Fft { fft: Box<Fft<f32>>, input: Vec<f32> },
}

impl Resampler {
    /// A resampler for `rate`; `None` where there is nothing to do.
    #[must_use]
    pub fn new(rate: Rate) -> Option<Self> {
        Self::between(rate, Rate::Hz16000)
    }

    /// A resampler from one rate to another; `None` where they are the same.
    #[must_use]
    pub fn between(from: Rate, to: Rate) -> Option<Self> {
        if from == to {
            return None;
        }
        let (input, output) = (from.frame_samples(), to.frame_samples());
        let way = if output == 2 * input {
            Way::Double(Double::new(input))
        } else {
            let fft = Fft::new(from.hz() as usize, to.hz() as usize, input, 1, FixedSync::Both)
                .expect("every rate divides into frames of 20 ms");
            debug_assert_eq!((fft.input_frames_next(), fft.output_frames_next()), (input, output));
            Way::Fft { fft: Box::new(fft), input: vec![0.0; input] }
        };
        Some(Self { way, output: vec![0.0; output] })
    }

    /// Output samples by which the output is late.
    fn delay(&self) -> usize {
        match &self.way {
            Way::Double(_) => Double::DELAY,
            Way::Fft { fft, .. } => fft.output_delay(),
        }
    }

    /// Resamples one frame, both sides full-scale 16-bit. From another rate to the
    /// pipeline's: `from` 160 or 480 samples, `to` 320.
    pub fn process(&mut self, from: &[i16], to: &mut [i16]) {
        match &mut self.way {
            Way::Double(double) => double.process(from, &mut self.output),
            Way::Fft { fft, input } => {
                for (float, int) in input.iter_mut().zip(from) {
                    *float = f32::from(*int);
                }
                let samples = (input.len(), self.output.len());
                let (Ok(input), Ok(mut output)) = (
                    SequentialSlice::new(&*input, 1, samples.0),
                    SequentialSlice::new_mut(&mut self.output, 1, samples.1),
                ) else {
                    unreachable!("both buffers were made for exactly these sizes");
                };
                fft.process_into_buffer(&input, &mut output, None).expect("both buffers hold exactly one block");
            }
        }
        for (int, float) in to.iter_mut().zip(&self.output) {
            *int = to_sample(*float);
        }
    }
}

/// The nearest sample, ties to even; what is too loud is clipped. For floats within ±2²¹.
///
/// Added to 1.5 · 2²³, a float has no room for a fraction, and its lowest bits are the whole
/// number: a few additions, done for many samples at once. `round_ties_even` is a call for
/// each, and a saturating `as` does one after the other.
fn to_sample(float: f32) -> i16 {
    const NO_FRACTION: f32 = 12_582_912.0;
    let whole = (float + NO_FRACTION).to_bits() as i32 - NO_FRACTION.to_bits() as i32;
    whole.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Converts a whole recording: 16-bit mono, its length kept to the sample, without the
/// filter's delay. Takes time and memory with its length: not for the path of a frame.
#[must_use]
pub fn convert(samples: &[i16], from: Rate, to: Rate) -> Vec<i16> {
    let Some(mut resampler) = Resampler::between(from, to) else { return samples.to_vec() };
    let wanted = (samples.len() as u64 * u64::from(to.hz())).div_ceil(u64::from(from.hz())) as usize;
    let delay = resampler.delay();
    let (mut input, mut output) = (vec![0; from.frame_samples()], vec![0; to.frame_samples()]);
    let mut converted = Vec::with_capacity(wanted + delay + output.len());
    let mut blocks = samples.chunks(input.len());
    while converted.len() < wanted + delay {
        // Silence after the end drives out what the filter holds.
        let block = blocks.next().unwrap_or_default();
        let (speech, silence) = input.split_at_mut(block.len());
        speech.copy_from_slice(block);
        silence.fill(0);
        resampler.process(&input, &mut output);
        converted.extend_from_slice(&output);
    }
    converted.drain(..delay);
    converted.truncate(wanted);
    converted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rate::FRAME_SAMPLES;

    fn sine(rate: Rate, hz: f32, seconds: f32) -> Vec<i16> {
        let n = (rate.hz() as f32 * seconds) as usize;
        (0..n).map(|i| (8000.0 * (i as f32 * hz * std::f32::consts::TAU / rate.hz() as f32).sin()) as i16).collect()
    }

    fn resampled(rate: Rate, audio: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        let mut frame = [0; FRAME_SAMPLES];
        for chunk in audio.chunks_exact(rate.frame_samples()) {
            resampler.process(chunk, &mut frame);
            out.extend_from_slice(&frame);
        }
        out
    }

    #[test]
    fn samples_are_the_nearest_and_clipped() {
        for n in -300_000..=300_000 {
            let float = n as f32 * 0.25;
            assert_eq!(to_sample(float), float.round_ties_even() as i16, "{float}");
        }
        assert_eq!([to_sample(2e6), to_sample(-2e6)], [i16::MAX, i16::MIN]);
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_level() {
        for rate in [Rate::Hz8000, Rate::Hz24000] {
            let out = resampled(rate, &sine(rate, 1000.0, 1.0));
            assert_eq!(out.len(), 16_000);
            let steady = &out[1600..14_400];
            let crossings = steady.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            assert!((799..=801).contains(&crossings), "{rate}: {crossings} periods in 0.8 s");
            let peak = steady.iter().map(|s| s.unsigned_abs()).max().unwrap();
            assert!((7800..=8200).contains(&peak), "{rate}: peak {peak}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_filtered_out() {
        let out = resampled(Rate::Hz24000, &sine(Rate::Hz24000, 10_500.0, 1.0));
        let peak = out[1600..14_400].iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(peak < 80, "10.5 kHz came through as an alias with peak {peak}");
    }

    #[test]
    fn a_recording_keeps_its_place_and_length_at_any_rate() {
        for from in Rate::ALL {
            for to in Rate::ALL {
                let (recording, expected) = (sine(from, 440.0, 0.505), sine(to, 440.0, 0.505));
                let got = convert(&recording, from, to);
                assert!(got.len().abs_diff(expected.len()) <= 1, "{from} to {to}: {} samples", got.len());
                // Away from the ends, where the filter hears silence before and after.
                let worst = (to.frame_samples()..expected.len() - to.frame_samples())
                    .map(|at| got[at].abs_diff(expected[at]))
                    .max();
                assert!(worst < Some(400), "{from} to {to}: off by {worst:?} of 8000");
            }
        }
        assert!(convert(&[], Rate::Hz8000, Rate::Hz24000).is_empty());
    }

    #[test]
    fn there_and_back_a_tone_keeps_its_level() {
        for rate in [Rate::Hz8000, Rate::Hz24000] {
            let mut back = Resampler::between(Rate::Hz16000, rate).unwrap();
            let mut frame = vec![0; rate.frame_samples()];
            let out: Vec<i16> = resampled(rate, &sine(rate, 1000.0, 1.0))
                .chunks_exact(FRAME_SAMPLES)
                .flat_map(|chunk| {
                    back.process(chunk, &mut frame);
                    frame.clone()
                })
                .collect();
            assert_eq!(out.len(), rate.hz() as usize);
            let peak = out[out.len() / 10..].iter().map(|s| s.unsigned_abs()).max().unwrap();
            assert!((7700..=8300).contains(&peak), "{rate}: peak {peak}");
        }
    }

    #[test]
    fn sixteen_kilohertz_needs_no_resampler() {
        assert!(Resampler::new(Rate::Hz16000).is_none());
    }
}
