//! Voice activity detectors: one 20 ms frame in, the likelihood of speech out.
//!
//! A backend is one file here plus one line in [`BACKENDS`]. Detectors run inside
//! the leg's task, on every frame, so they must be fast (a few µs), must not
//! allocate, and must not look at anything but the audio they are given.

use std::sync::Arc;

use crate::types::BuildError;
pub use crate::types::rate::Frame;

mod neural;
mod webrtc;

/// Every detector, in the order it is listed to people. The first is the default.
pub static BACKENDS: &[&dyn Backend] = &[&neural::Neural, &webrtc::Webrtc];

/// Makes one detector per leg.
pub type Factory = Arc<dyn Fn() -> Box<dyn Vad> + Send + Sync>;

/// The entry of one detector in [`BACKENDS`].
pub trait Backend: Sync {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// One line for people: what it is and what it costs.
    fn about(&self) -> &'static str;

    /// Reads `settings` (the table `[vad.<name>]`).
    ///
    /// # Errors
    /// Names the key or value that is wrong and what was expected.
    fn build(&self, settings: &toml::Table) -> Result<Factory, BuildError>;
}

/// One leg's detector, with its memory of the frames before.
pub trait Vad: Send {
    /// Likelihood that the newest frame holds speech, 0 to 1. Deterministic.
    fn score(&mut self, frame: &Frame) -> f32;

    /// Forgets all audio heard so far, as when the audio has a hole.
    fn reset(&mut self);
}

/// Finds a backend by its name in the configuration.
///
/// # Errors
/// Lists the names there are.
pub fn find(name: &str) -> Result<&'static dyn Backend, BuildError> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name()).collect();
        BuildError::new("vad", format!("no detector is called {name:?}"), format!("use one of: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rate::FRAME_SAMPLES;

    /// A voice-like sound: a 120 Hz buzz with formants, its level moving as syllables do.
    fn speech_like(frames: usize) -> Vec<Frame> {
        let mut n = 0_u32;
        (0..frames)
            .map(|_| {
                std::array::from_fn(|_| {
                    let t = n as f32 / 16_000.0;
                    n += 1;
                    let syllable = (0.5 + 0.5 * (t * std::f32::consts::TAU * 4.0).sin()).powi(2);
                    let voice: f32 = (1..25)
                        .map(|k| {
                            let hz = 120.0 * k as f32;
                            let formants = (-((hz - 600.0) / 250.0).powi(2)).exp()
                                + 0.5 * (-((hz - 1700.0) / 300.0).powi(2)).exp();
                            formants * (t * std::f32::consts::TAU * hz).sin()
                        })
                        .sum();
                    (6000.0 * syllable * voice) as i16
                })
            })
            .collect()
    }

    fn each_backend(check: impl Fn(&str, Factory)) {
        assert!(!BACKENDS.is_empty());
        for backend in BACKENDS {
            check(backend.name(), backend.build(&toml::Table::new()).unwrap());
        }
    }

    #[test]
    fn names_are_unique_and_default_is_first() {
        let mut names: Vec<_> = BACKENDS.iter().map(|b| b.name()).collect();
        assert_eq!(find(names[0]).unwrap().name(), names[0]);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BACKENDS.len());
        assert!(find("nope").err().unwrap().to_string().contains("webrtc"));
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        for backend in BACKENDS {
            let table: toml::Table = "loudnes = 3".parse().unwrap();
            let error = backend.build(&table).err().expect("an unknown key was taken").to_string();
            assert!(error.contains("loudnes"), "{error}");
        }
    }

    #[test]
    fn aggressiveness_out_of_range_names_the_value() {
        let error = find("webrtc").unwrap().build(&"aggressiveness = 4".parse().unwrap()).err().unwrap();
        assert!(error.to_string().contains("aggressiveness = 4"), "{error}");
    }

    #[test]
    fn silence_is_silent_and_a_voice_is_heard() {
        each_backend(|name, make| {
            let mut vad = make();
            assert!((0..100).all(|_| vad.score(&[0; FRAME_SAMPLES]) < 0.35), "{name} heard speech in silence");
            let heard = speech_like(150).iter().filter(|frame| vad.score(frame) >= 0.5).count();
            assert!(heard > 75, "{name} heard a voice in only {heard} of 150 frames");
        });
    }

    #[test]
    fn scores_are_likelihoods_whatever_the_audio() {
        each_backend(|name, make| {
            let mut vad = make();
            let extremes = [
                [i16::MAX; FRAME_SAMPLES],
                [i16::MIN; FRAME_SAMPLES],
                std::array::from_fn(|i| if i % 2 == 0 { i16::MIN } else { i16::MAX }),
            ];
            for frame in extremes.iter().cycle().take(50) {
                let score = vad.score(frame);
                assert!((0.0..=1.0).contains(&score), "{name} scored {score}");
            }
        });
    }

    #[test]
    fn the_same_audio_scores_the_same_also_after_a_reset() {
        each_backend(|name, make| {
            let audio = speech_like(80);
            let mut vad = make();
            let first: Vec<_> = audio.iter().map(|frame| vad.score(frame)).collect();
            vad.reset();
            let again: Vec<_> = audio.iter().map(|frame| vad.score(frame)).collect();
            assert_eq!(first, again, "{name} remembers what it should have forgotten");
        });
    }
}
