//! What a transducer of icefall's hears: how loud each of 80 bands is, a hundred times a
//! second, as Kaldi computes it (its `fbank`, with the settings that icefall trains with).
//!
//! Sources: Povey et al., "The Kaldi speech recognition toolkit", 2011; the options are those
//! of sherpa-onnx and lhotse: no dither, frames at the edges mirrored, 20 Hz to 400 Hz below
//! the highest frequency, samples within ±1.

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::super::local::Band;

/// Bands of a frame.
pub(super) const BANDS: usize = 80;
/// Samples from one frame to the next: 10 ms.
pub(super) const HOP: usize = 160;
/// Samples that a frame is made of: 25 ms.
const SPAN: usize = 400;
/// What they are filled up to with zeros: the next power of two.
const FILLED: usize = 512;
/// Samples before the first one that the first frame is made of: frame n is centred in the
/// middle of its 10 ms.
const BEFORE: usize = (SPAN - HOP) / 2;

const HZ: f64 = 16_000.0;
/// Where the lowest band begins and the highest ends, in Hz.
const LOWEST: f64 = 20.0;
const HIGHEST: f64 = HZ / 2.0 - 400.0;
/// How much of a sample is taken from the next one.
const EMPHASIS: f32 = 0.97;
/// The power of a Hann window that Kaldi's own ("povey") is.
const WINDOW_POWER: f64 = 0.85;
/// The lowest power that is told from none.
const FLOOR: f32 = f32::EPSILON;

/// Turns samples into bands.
pub(super) struct Features {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bands: Vec<Band>,
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Features {
    pub(super) fn new() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(FILLED);
        let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f64 / (SPAN - 1) as f64).cos();
        Self {
            window: (0..SPAN).map(|n| hann(n).powf(WINDOW_POWER) as f32).collect(),
            bands: (0..BANDS).map(band).collect(),
            frame: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
        }
    }

    /// How many frames `samples` samples have.
    pub(super) fn frames(samples: usize) -> usize {
        (samples + HOP / 2) / HOP
    }

    /// The bands of `samples` (16 kHz, within ±1) with silence after them: `frames` frames of
    /// 10 ms, one after the other, each of [`BANDS`] natural logarithms of power.
    pub(super) fn of(&mut self, samples: &[f32], frames: usize) -> Vec<f32> {
        let mut all = vec![FLOOR.ln(); frames * BANDS];
        // Later frames are all silence.
        let heard = frames.min((samples.len() + BEFORE).div_ceil(HOP));
        for (n, bands) in all.chunks_exact_mut(BANDS).take(heard).enumerate() {
            self.lay(samples, n);
            if self.transform.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch).is_err() {
                continue;
            }
            for (band, log) in self.bands.iter().zip(bands) {
                *log = band.power(&self.spectrum).max(FLOOR).ln();
            }
        }
        all
    }

    /// Lays out what frame `n` is made of: without its mean, its high frequencies raised,
    /// under the window.
    fn lay(&mut self, samples: &[f32], n: usize) {
        let (frame, filling) = self.frame.split_at_mut(SPAN);
        filling.fill(0.0);
        for (k, value) in frame.iter_mut().enumerate() {
            let at = n * HOP + k;
            // Before the first sample is the mirror image of those after it.
            let at = if at >= BEFORE { at - BEFORE } else { BEFORE - at - 1 };
            *value = samples.get(at).copied().unwrap_or(0.0);
        }
        let mean = frame.iter().sum::<f32>() / SPAN as f32;
        let mut before = frame[0] - mean;
        for (value, window) in frame.iter_mut().zip(&self.window) {
            let here = *value - mean;
            *value = (here - EMPHASIS * before) * window;
            before = here;
        }
    }
}

/// A triangle on the mel scale, from the centre of the band before to that of the band after,
/// of height 1.
fn band(n: usize) -> Band {
    let step = (mel(HIGHEST) - mel(LOWEST)) / (BANDS + 1) as f64;
    let centre = mel(LOWEST) + (n + 1) as f64 * step;
    // The highest frequency of all is above the highest band.
    Band::of(FILLED / 2, |k| (1.0 - (mel(k as f64 * HZ / FILLED as f64) - centre).abs() / step).max(0.0) as f32)
}

/// O'Shaughnessy's scale, with natural logarithms.
fn mel(hz: f64) -> f64 {
    1_127.0 * (1.0 + hz / 700.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second: a tone that rises, and noise.
    fn chirp() -> Vec<f32> {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / 8_388_608.0 - 1.0
        };
        (0..8_000).map(f64::from).map(|n| (0.4 * (n * n * 1e-4).sin() + 0.05 * noise()) as f32).collect()
    }

    /// Figures of the Python package kaldi-native-fbank 1.23.0, which is what sherpa-onnx
    /// computes with, for the same sound and 4,000 zeros after it. Its `FbankOptions` are its
    /// own but for `dither = 0`, `snip_edges = False`, `num_bins = 80`, `low_freq = 20` and
    /// `high_freq = -400`; each row is `OnlineFbank.get_frame(frame)` at the bands of `AT`.
    #[test]
    fn the_bands_are_kaldis() {
        const AT: [usize; 7] = [0, 1, 9, 30, 53, 78, 79];
        const GOLDEN: [(usize, [f32; 7]); 10] = [
            (0, [-1.272, 0.1187, -5.9097, -3.6656, -0.4379, 0.6269, 1.277]),
            (1, [-2.1247, -1.0508, -3.7727, -2.6882, -1.6, 1.3973, 1.4957]),
            (2, [-6.2392, -4.308, 0.6074, -2.8964, -0.3469, 0.9627, 1.4039]),
            (17, [-8.9059, -9.1319, -10.1257, -3.4977, -0.8054, 1.2864, 0.558]),
            (33, [-8.7926, -9.1956, -6.8562, -2.0133, 0.2682, 1.098, 1.4101]),
            (48, [-8.7989, -8.4917, -7.5318, -4.0063, -0.8523, 1.5869, 1.0812]),
            (49, [-8.7217, -7.7916, -6.049, -3.0387, 0.8382, 0.212, 1.1308]),
            (50, [-9.5533, -9.5166, -7.3, -4.0728, 0.1273, -1.1223, -1.0235]),
            (51, [-15.9424; 7]),
            (60, [-15.9424; 7]),
        ];
        let bands = Features::new().of(&chirp(), 61);
        for (frame, golden) in GOLDEN {
            for (band, golden) in AT.into_iter().zip(golden) {
                let got = bands[frame * BANDS + band];
                assert!((got - golden).abs() < 2e-3, "band {band}, frame {frame}: {got}, not {golden}");
            }
        }
        let sum: f64 = bands[..60 * BANDS].iter().copied().map(f64::from).sum();
        assert!((sum + 20_607.41).abs() < 0.1, "{sum}");
    }

    #[test]
    fn any_length_has_bands() {
        let mut features = Features::new();
        for samples in [&[][..], &[0.5], &[0.1; 119], &[0.1; 401], &[1.0; 1_000], &[f32::MIN_POSITIVE / 2.0; 900]] {
            let bands = features.of(samples, 12);
            assert_eq!(bands.len(), 12 * BANDS);
            assert!(bands.iter().all(|value| value.is_finite()), "{samples:?}");
            assert!(bands[11 * BANDS..].iter().all(|value| *value == FLOOR.ln()));
        }
        assert!(features.of(&[0.3; 100], 0).is_empty());
        assert_eq!([0, 79, 80, 240, 16_000].map(Features::frames), [0, 0, 1, 2, 100]);
    }
}
