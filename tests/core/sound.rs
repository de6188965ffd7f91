//! Sounds made of arithmetic, and a detector that hears nothing but their level.

use std::sync::Arc;

use sidetone::types::Rate;
use sidetone::types::rate::{FRAME_SAMPLES, Frame};
use sidetone::vad;

/// How loud a stretch of sound is, in the three ways that matter to an endpointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Scores 0.9.
    Speech,
    /// Scores 0.4: not enough to open speech, enough to keep it open.
    Doubt,
    /// Scores 0.1.
    Silence,
}

/// Writes sound, sample after sample, at one rate.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    rate: Rate,
    at: u64,
}

impl Voice {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, at: 0 }
    }

    /// The next `ms` of sound as bytes: a 250 Hz square wave whose strength changes
    /// every 20 ms, so that every frame of speech is a different one.
    pub(crate) fn bytes(&mut self, level: Level, ms: u64) -> Vec<u8> {
        let hz = u64::from(self.rate.hz());
        let end = self.at + ms * hz / 1000;
        let half_wave = hz / 500;
        let mut bytes = Vec::with_capacity((end - self.at) as usize * 2);
        while self.at < end {
            let variety = (((self.at * 50 / hz) * 7919) % 97) as i16;
            let strength = match level {
                Level::Speech => 4000 + 20 * variety,
                Level::Doubt => 400 + variety,
                Level::Silence => variety / 16,
            };
            let up = (self.at / half_wave).is_multiple_of(2);
            let sample = if up { strength } else { -strength };
            // A frame ends where a half wave does, too.
            let next = end.min((self.at / half_wave + 1) * half_wave);
            bytes.extend_from_slice(&sample.to_le_bytes().repeat((next - self.at) as usize));
            self.at = next;
        }
        bytes
    }
}

/// The detector: mean magnitude over 1000 is speech, over 100 is doubt.
struct Loudness;

impl vad::Vad for Loudness {
    fn score(&mut self, frame: &Frame) -> f32 {
        let sum: u32 = frame.iter().map(|s| u32::from(s.unsigned_abs())).sum();
        match sum / FRAME_SAMPLES as u32 {
            1000.. => 0.9,
            100.. => 0.4,
            _ => 0.1,
        }
    }

    fn reset(&mut self) {}
}

pub(crate) fn loudness() -> vad::Factory {
    Arc::new(|| Box::new(Loudness))
}

/// Something a real detector takes for speech: a 120 Hz buzz with two formants whose
/// level moves as syllables do, in utterances of 0.9 to 2.1 s with pauses between.
pub(crate) fn speech_like(rate: Rate, seconds: u32) -> Vec<u8> {
    use std::f32::consts::TAU;
    let hz = rate.hz();
    // One period of the buzz, since every harmonic repeats with it.
    let period = hz / 120;
    let buzz: Vec<f32> = (0..period)
        .map(|i| {
            (1..30)
                .map(|k| {
                    let at = 120.0 * k as f32;
                    let formants =
                        (-((at - 600.0) / 250.0).powi(2)).exp() + 0.5 * (-((at - 1700.0) / 300.0).powi(2)).exp();
                    formants * (i as f32 / period as f32 * k as f32 * TAU).sin()
                })
                .sum()
        })
        .collect();
    let mut noise = 1_u32;
    (0..hz * seconds)
        .flat_map(|n| {
            let t = n as f32 / hz as f32;
            // Three utterances in 7 s, of different length.
            let speaking =
                matches!(t % 7.0, t if (0.5..2.6).contains(&t) || (3.5..4.4).contains(&t) || (5.1..6.3).contains(&t));
            let syllable = if speaking { (0.5 + 0.5 * (t * TAU * 4.0).sin()).powi(2) } else { 0.0 };
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (noise >> 28) as f32 - 8.0;
            ((6000.0 * syllable * buzz[(n % period) as usize] + hiss) as i16).to_le_bytes()
        })
        .collect()
}
