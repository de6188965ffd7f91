//! Level above an adaptive noise floor: minimum statistics (Martin 2001, "Noise power
//! spectral density estimation based on optimal smoothing and minimum statistics",
//! IEEE Trans. Speech Audio Process. 9(5)), taken over the whole band.
//!
//! The floor is the lowest smoothed level of the last two seconds, so it follows a
//! line's noise, and a steady tone becomes the floor by itself. Music and voices in the
//! background it cannot tell from speech. Pure arithmetic: no table, no crate.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{Backend, Factory, Frame, Vad};
use crate::types::{BuildError, settings};

/// The floor's memory: eight stretches of 12 frames, 1.92 s in all. A stretch is dropped
/// as a whole when it is too old.
const STRETCHES: usize = 8;
const STRETCH_FRAMES: u32 = 12;

/// Floor assumed before anything was heard, in dBFS: that of a good line.
const FLOOR_AT_FIRST: f32 = -60.0;

/// Share of the newest frame in the smoothed level that the floor is the minimum of.
const NEWEST: f32 = 0.4;

/// The minimum of a fluctuating level lies below its mean by about this much, in dB.
const BIAS_DB: f32 = 2.0;

/// How fast likelihood grows with the level, in dB: at the margin it is a half, one
/// such step above it 0.73, two 0.88.
const STEP_DB: f32 = 1.5;

/// See the module's documentation.
pub(super) struct Energy;

/// The table `[vad.energy]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Level above the floor at which a frame is as likely speech as not, in dB.
    margin_db: f32,
    /// Whatever is softer is not speech, in dBFS.
    quietest_dbfs: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { margin_db: 8.0, quietest_dbfs: -58.0 }
    }
}

impl Backend for Energy {
    fn name(&self) -> &'static str {
        "energy"
    }

    fn about(&self) -> &'static str {
        "level above an adaptive noise floor, under 1 µs a frame; follows noise and steady tones, takes music for speech"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Factory, BuildError> {
        let wanted: Settings = settings("vad.energy", table)?;
        let ranges = [("margin_db", wanted.margin_db, 1.0, 40.0), ("quietest_dbfs", wanted.quietest_dbfs, -100.0, 0.0)];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let problem = format!("{key} = {value}");
                return Err(BuildError::new("vad.energy", problem, format!("expected {least} to {most}")));
            }
        }
        Ok(Arc::new(move || Box::new(Detector::new(wanted)) as Box<dyn Vad>))
    }
}

/// A leg's memory: 64 bytes.
struct Detector {
    settings: Settings,
    smoothed: f32,
    /// Lowest smoothed level of each stretch, in dBFS.
    lowest: [f32; STRETCHES],
    /// The stretch that is being filled, and its frames so far.
    at: usize,
    frames: u32,
}

impl Detector {
    fn new(settings: Settings) -> Self {
        let lowest = [FLOOR_AT_FIRST; STRETCHES];
        Self { settings, smoothed: FLOOR_AT_FIRST, lowest, at: 0, frames: 0 }
    }

    fn floor(&self) -> f32 {
        self.lowest.iter().fold(0.0, |lowest: f32, &level| lowest.min(level)) + BIAS_DB
    }

    fn follow(&mut self, level: f32) {
        self.smoothed += NEWEST * (level - self.smoothed);
        if self.frames == STRETCH_FRAMES {
            self.at = (self.at + 1) % STRETCHES;
            self.frames = 0;
            self.lowest[self.at] = self.smoothed;
        }
        self.frames += 1;
        self.lowest[self.at] = self.lowest[self.at].min(self.smoothed);
    }
}

/// Level of a frame without its direct current, in dBFS, −100 to 0.
fn level(frame: &Frame) -> f32 {
    let n = frame.len() as i64;
    let sum = i64::from(frame.iter().map(|&sample| i32::from(sample)).sum::<i32>());
    // Two squares, of at most 2³⁰, at a time: many of those are done at once.
    let square = |sample: i16| (i32::from(sample) * i32::from(sample)) as u32;
    let pairs = frame.as_chunks::<2>().0.iter().map(|&[a, b]| u64::from(square(a) + square(b)));
    let squares = pairs.sum::<u64>() as i64;
    // n · Σx² − (Σx)² = n² · variance, exact in whole numbers.
    let variance = (n * squares - sum * sum) as f32 / (n * n) as f32;
    10.0 * (variance / (32_768.0 * 32_768.0)).max(1e-10).log10()
}

impl Vad for Detector {
    fn score(&mut self, frame: &Frame) -> f32 {
        let level = level(frame);
        // The floor is that of the frames before: speech must not hide in its own level.
        let above = level - self.floor() - self.settings.margin_db;
        self.follow(level);
        if level < self.settings.quietest_dbfs { 0.0 } else { 1.0 / (1.0 + (-above / STEP_DB).exp()) }
    }

    fn reset(&mut self) {
        *self = Self::new(self.settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rate::FRAME_SAMPLES;

    fn detector() -> Detector {
        Detector::new(Settings::default())
    }

    /// A frame of noise, `level` being its peak.
    fn noise(state: &mut u32, level: f32) -> Frame {
        std::array::from_fn(|_| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((*state >> 8) as f32 / 8_388_608.0 - 1.0).mul_add(level, 0.0) as i16
        })
    }

    #[test]
    fn the_level_knows_no_direct_current() {
        assert!((level(&[12_000; FRAME_SAMPLES]) + 100.0).abs() < 0.01);
        let square = std::array::from_fn(|i| if i % 2 == 0 { 0 } else { 2 * 3_277 });
        assert!((level(&square) + 20.0).abs() < 0.01, "{}", level(&square));
    }

    #[test]
    fn steady_noise_and_tones_become_the_floor_and_what_rises_above_is_speech() {
        let mut state = 1;
        let mut vad = detector();
        let scores: Vec<_> = (0..300).map(|_| vad.score(&noise(&mut state, 2_000.0))).collect();
        assert!(scores[0] > 0.9, "the first frame of loud noise: {}", scores[0]);
        assert!(scores[150..].iter().all(|score| *score < 0.5), "{:?}", &scores[150..]);
        assert!(vad.score(&noise(&mut state, 12_000.0)) > 0.9);
        let tone: Frame = std::array::from_fn(|i| (3_000.0 * (i as f32 * 0.17).sin()) as i16);
        let last = (0..150).map(|_| vad.score(&tone)).last();
        assert!(last < Some(0.1), "{last:?}");
    }

    #[test]
    fn settings_out_of_range_name_key_value_and_range() {
        for (table, said) in [
            ("margin_db = 0.5", "margin_db = 0.5"),
            ("quietest_dbfs = 1", "expected -100 to 0"),
            ("margin_db = nan", "NaN"),
        ] {
            let error = Energy.build(&table.parse().unwrap(), &[]).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
