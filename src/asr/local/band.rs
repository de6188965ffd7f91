//! One band of those that a network hears: a weighted sum of neighbouring frequencies.

use realfft::num_complex::Complex;

/// The weights of one band, from the frequency `first` on.
pub(in crate::asr) struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl Band {
    /// The band in which frequency `k`, of 0 to `frequencies`, has the weight `weight(k)`: a
    /// hill, with nothing before it and nothing after it.
    pub(in crate::asr) fn of(frequencies: usize, weight: impl Fn(usize) -> f32) -> Self {
        let first = (0..frequencies).find(|&k| weight(k) > 0.0).unwrap_or(frequencies);
        Self { first, weights: (first..frequencies).map(weight).take_while(|weight| *weight > 0.0).collect() }
    }

    /// Its power in a `spectrum` of no fewer frequencies.
    pub(in crate::asr) fn power(&self, spectrum: &[Complex<f32>]) -> f32 {
        let values = spectrum[self.first..].iter().zip(&self.weights);
        values.map(|(value, weight)| value.norm_sqr() * weight).sum()
    }
}
