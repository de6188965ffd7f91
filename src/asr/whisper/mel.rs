//! What Whisper hears: how loud each of its bands is, a hundred times a second, on a
//! logarithmic scale, as its authors computed it for training.

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::super::local::Band;

/// Samples from one frame to the next: 10 ms.
const HOP: usize = 160;
/// Samples that a frame is made of: 25 ms.
const SPAN: usize = 400;
const FREQUENCIES: usize = SPAN / 2 + 1;
const HZ: f64 = 16_000.0;

/// The lowest power that is told from none.
const FLOOR: f32 = 1e-10;
/// How far below the loudest a band may be, in powers of ten.
const RANGE: f32 = 8.0;

/// Turns samples into bands.
pub(super) struct Mel {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bands: Vec<Band>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Mel {
    /// With so many `bands`: 80, or 128 for the large models of the third version.
    pub(super) fn new(bands: usize) -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(SPAN);
        let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f64 / SPAN as f64).cos();
        Self {
            window: (0..SPAN).map(|n| hann(n) as f32).collect(),
            bands: (0..bands).map(|n| band(n, bands)).collect(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
        }
    }

    /// The bands of `samples` (16 kHz, within ±1) with silence after them, in `frames` frames
    /// of 10 ms: all frames of the first band, then of the second, and so on.
    pub(super) fn of(&mut self, samples: &[f32], frames: usize) -> Vec<f32> {
        let mut all = vec![FLOOR.log10(); self.bands.len() * frames];
        let mut frame = [0.0; SPAN];
        // Later ones are all silence.
        for n in 0..frames.min((samples.len() + SPAN / 2).div_ceil(HOP)) {
            for (k, value) in frame.iter_mut().enumerate() {
                // The first frame is centred on the first sample; before it is its mirror image.
                let at = (n * HOP + k).abs_diff(SPAN / 2);
                *value = samples.get(at).copied().unwrap_or(0.0) * self.window[k];
            }
            if self.transform.process_with_scratch(&mut frame, &mut self.spectrum, &mut self.scratch).is_err() {
                continue;
            }
            for (band, log) in self.bands.iter().zip(all[n..].iter_mut().step_by(frames)) {
                *log = band.power(&self.spectrum).max(FLOOR).log10();
            }
        }
        let loudest = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        all.iter_mut().for_each(|log| *log = (log.max(loudest - RANGE) + 4.0) / 4.0);
        all
    }
}

/// A triangle, from the centre of the band before to that of the band after, of area 1.
fn band(n: usize, bands: usize) -> Band {
    let corner = |n: usize| hz(n as f64 * mel(HZ / 2.0) / (bands + 1) as f64);
    let (low, centre, high) = (corner(n), corner(n + 1), corner(n + 2));
    Band::of(FREQUENCIES, |k| {
        let f = k as f64 * HZ / SPAN as f64;
        let height = ((f - low) / (centre - low)).min((high - f) / (high - centre)).max(0.0);
        (height * 2.0 / (high - low)) as f32
    })
}

/// Slaney's scale: straight to 1 kHz, logarithmic above.
const STRAIGHT_TO: f64 = 1_000.0;
const MELS_PER_HZ: f64 = 3.0 / 200.0;
const MELS_PER_LOG: f64 = 27.0 / 1.856_297_990_365_626; // ln 6.4

fn mel(hz: f64) -> f64 {
    if hz < STRAIGHT_TO {
        return hz * MELS_PER_HZ;
    }
    STRAIGHT_TO * MELS_PER_HZ + (hz / STRAIGHT_TO).ln() * MELS_PER_LOG
}

fn hz(mel: f64) -> f64 {
    let knee = STRAIGHT_TO * MELS_PER_HZ;
    if mel < knee { mel / MELS_PER_HZ } else { STRAIGHT_TO * ((mel - knee) / MELS_PER_LOG).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second: a tone that rises, and one beside it that does not.
    fn chirp() -> Vec<f32> {
        (0..8_000).map(f64::from).map(|n| (0.4 * (n * n * 1e-4).sin() + 0.05 * (n * 0.9).sin()) as f32).collect()
    }

    /// Figures of the extractor in faster-whisper 1.2, written in Python, for the same sound.
    #[test]
    fn the_bands_are_those_that_the_model_was_trained_with() {
        const AT: [usize; 8] = [0, 1, 17, 33, 49, 50, 51, 69];
        type Golden = (usize, usize, [f32; 8]);
        const GOLDEN: [Golden; 11] = [
            (80, 0, [0.8373, 1.2933, -0.6397, -0.6397, -0.2152, 0.2889, -0.2273, -0.6397]),
            (80, 1, [1.2054, 1.3522, -0.6397, -0.6397, -0.2152, 0.2889, -0.2273, -0.6397]),
            (80, 7, [0.111, 0.3417, -0.6397, -0.6397, -0.2143, 0.2896, -0.2268, -0.6397]),
            (80, 20, [0.1352, -0.407, -0.5894, -0.6397, -0.2095, 0.2939, -0.223, -0.6397]),
            (80, 41, [0.3214, -0.186, -0.2716, -0.6397, -0.18, 0.3041, -0.2295, -0.6397]),
            (80, 60, [0.0436, -0.4666, -0.6397, -0.6397, 0.3696, 0.7023, 0.1963, -0.6397]),
            (80, 79, [-0.2083, -0.6397, -0.6397, -0.6397, -0.6115, -0.0749, -0.5612, -0.6397]),
            (128, 0, [0.7615, 1.2176, -0.5907, -0.5907, -0.291, 0.2131, -0.3031, -0.5907]),
            (128, 41, [0.0802, -0.4199, -0.33, -0.5907, -0.2798, 0.2228, -0.2947, -0.5907]),
            (128, 60, [0.2468, -0.2652, 0.6045, -0.5907, -0.1918, 0.3042, -0.2206, -0.5907]),
            (128, 127, [-0.2089, -0.5907, -0.5907, -0.5907, -0.5907, -0.0867, -0.5707, -0.5907]),
        ];
        let bands = |count| Mel::new(count).of(&chirp(), 70);
        let (few, many) = (bands(80), bands(128));
        for (count, band, golden) in GOLDEN {
            let all = if count == 80 { &few } else { &many };
            for (frame, golden) in AT.into_iter().zip(golden) {
                let got = all[band * 70 + frame];
                assert!((got - golden).abs() < 2e-3, "band {band} of {count}, frame {frame}: {got}, not {golden}");
            }
        }
        let sum: f32 = few.iter().sum();
        assert!((sum + 2_389.97).abs() < 0.5, "{sum}");
    }

    #[test]
    fn silence_and_nothing_are_bands_too() {
        for samples in [&[][..], &[0.0; 1_000], &[0.1; 1]] {
            let bands = Mel::new(80).of(samples, 20);
            assert_eq!(bands.len(), 1_600);
            assert!(bands.iter().all(|value| value.is_finite()), "{samples:?}");
        }
    }
}
