//! Twice the sample rate: between each two samples comes a new one, by a half-band filter.
//!
//! Such a filter leaves the samples that are there as they are, so that half of the work
//! falls away. A windowed sinc (Kaiser): from 8 kHz, tones below 3.6 kHz keep their level,
//! and their mirror images above 4.4 kHz are 60 dB down.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Old samples on either side that a new one is made of.
const REACH: usize = 24;

/// Shape of the window; 5.65 is good for 60 dB.
const BETA: f64 = 5.65;

/// Samples made at a time: as many as fit a processor's registers.
const LANES: usize = 16;

/// What the old samples count for, by their distance: ½, 1½, 2½, …
static TAPS: LazyLock<[f32; REACH]> = LazyLock::new(|| {
    let tap = |n: usize| {
        let distance = n as f64 + 0.5;
        let window = bessel(BETA * (1.0 - (distance / REACH as f64).powi(2)).sqrt()) / bessel(BETA);
        window * (PI * distance).sin() / (PI * distance)
    };
    let taps: [f64; REACH] = std::array::from_fn(tap);
    // A constant stays what it is.
    let sum = 2.0 * taps.iter().sum::<f64>();
    taps.map(|tap| (tap / sum) as f32)
});

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    (1..32).fold(1.0, |sum, n| {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum + term
    })
}

/// One stream's memory. Allocates when made, never after.
pub(super) struct Double {
    taps: &'static [f32; REACH],
    /// The last samples of the block before, and then the block.
    line: Vec<f32>,
}

/// How many samples of the blocks before are needed.
const BEFORE: usize = 2 * REACH - 1;

impl Double {
    /// Output samples by which the output is late.
    pub(super) const DELAY: usize = 2 * REACH;

    /// For blocks of `samples`, a multiple of 16.
    pub(super) fn new(samples: usize) -> Self {
        debug_assert!(samples.is_multiple_of(LANES), "{samples}");
        Self { taps: &TAPS, line: vec![0.0; BEFORE + samples] }
    }

    /// Takes a block, and writes twice as many samples to `to`, both full-scale 16-bit.
    pub(super) fn process(&mut self, from: &[i16], to: &mut [f32]) {
        let block = self.line.len() - BEFORE;
        self.line.copy_within(block.., 0);
        for (float, int) in self.line[BEFORE..].iter_mut().zip(from) {
            *float = f32::from(*int);
        }
        let (pairs, _) = to.as_chunks_mut::<2>();
        for (first, pairs) in (0..block).step_by(LANES).zip(pairs.chunks_exact_mut(LANES)) {
            let near = &self.line[first..first + LANES + BEFORE];
            let mut between = [0.0; LANES];
            for (n, tap) in self.taps.iter().enumerate() {
                let (left, right) = (&near[REACH - 1 - n..], &near[REACH + n..]);
                for ((sum, left), right) in between.iter_mut().zip(left).zip(right) {
                    *sum += tap * (left + right);
                }
            }
            for ((pair, there), between) in pairs.iter_mut().zip(&near[REACH - 1..]).zip(between) {
                *pair = [*there, between];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How strong a tone of so many parts of the old rate comes out, and how strong its mirror
    /// image is.
    fn response(cycles: f64) -> (f64, f64) {
        let mut double = Double::new(160);
        let mut out = Vec::new();
        for block in 0..50 {
            let tone = |n: usize| (10_000.0 * (2.0 * PI * cycles * (block * 160 + n) as f64).cos()).round() as i16;
            let mut to = [0.0; 320];
            double.process(&std::array::from_fn::<_, 160, _>(tone), &mut to);
            out.extend(to);
        }
        let heard = &out[3_200..12_800];
        let strength = |cycles: f64| {
            let part = |f: fn(f64) -> f64| {
                let sum = (0_u32..).zip(heard).map(|(n, x)| f(2.0 * PI * cycles * f64::from(n)) * f64::from(*x));
                sum.sum::<f64>() * 2.0 / heard.len() as f64 / 10_000.0
            };
            part(f64::cos).hypot(part(f64::sin))
        };
        (strength(cycles / 2.0), strength((1.0 - cycles) / 2.0))
    }

    #[test]
    fn tones_come_through_and_their_images_do_not() {
        for hz in [100.0, 1_000.0, 2_500.0, 3_400.0, 3_600.0] {
            let (tone, image) = response(hz / 8_000.0);
            assert!((tone - 1.0).abs() < 0.002 && image < 0.001, "{hz} Hz: {tone} and {image}");
        }
    }

    #[test]
    fn a_constant_stays_and_comes_in_time() {
        let mut double = Double::new(160);
        let mut to = [0.0; 320];
        double.process(&[1_000; 160], &mut to);
        let risen = to.iter().position(|sample| *sample >= 500.0);
        assert!(risen.is_some_and(|at| at.abs_diff(Double::DELAY) <= 1), "{risen:?}");
        double.process(&[1_000; 160], &mut to);
        assert!(to.iter().all(|sample| (sample - 1_000.0).abs() < 0.01), "{to:?}");
    }
}
