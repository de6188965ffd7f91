//! Voice activity detectors: one 20 ms frame in, the likelihood of speech out.
//!
//! A backend is one file here plus one line in [`BACKENDS`]. Detectors run inside
//! the leg's task, on every frame, so they must be fast (a few µs), must not
//! allocate (one that must says so, [`Backend::allocates`]), and must not look at anything but the audio they are given.

use std::path::PathBuf;
use std::sync::Arc;

use crate::types::BuildError;
pub use crate::types::rate::Frame;

mod cascade;
mod energy;
mod neural;
mod silero;
mod webrtc;

/// Every detector, in the order it is listed to people. The first is the default.
pub static BACKENDS: &[&dyn Backend] =
    &[&cascade::Cascade, &neural::Neural, &webrtc::Webrtc, &energy::Energy, &silero::Silero];

/// Makes one detector per leg.
pub type Factory = Arc<dyn Fn() -> Box<dyn Vad> + Send + Sync>;

/// The entry of one detector in [`BACKENDS`].
pub trait Backend: Sync {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// One line for people: what it is and what it costs.
    fn about(&self) -> &'static str;

    /// The models of `models/manifest.toml` it needs with these settings.
    fn models(&self, _settings: &toml::Table) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether scoring a frame allocates memory, with its defaults. Those that do are said to in their own
    /// documentation, and `tests/allocation.rs` leaves them out.
    fn allocates(&self) -> bool {
        false
    }

    /// Reads `settings` (the table `[vad.<name>]`). `models` are the folders of
    /// [`Backend::models`], verified and in that order; none where they are not here.
    ///
    /// # Errors
    /// Names the key, file or value that is wrong and what was expected.
    fn build(&self, settings: &toml::Table, models: &[PathBuf]) -> Result<Factory, BuildError>;
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
    use std::io::Write as _;

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

    /// The three loudest seconds of the demo call's first party: a networks' judgement of a
    /// synthetic buzz is its own affair, of a voice it is not.
    fn voice() -> Vec<Frame> {
        let call = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-call/call.wav");
        let (hz, channels) = crate::audio::wav::read_any_rate(&call).unwrap();
        let samples = crate::eval::telephone::resampled(&channels[0], hz, crate::types::rate::PIPELINE_HZ);
        let frames = samples.as_chunks::<FRAME_SAMPLES>().0;
        let power = |frames: &[Frame]| frames.as_flattened().iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
        frames.windows(150).step_by(25).max_by(|a, b| power(a).total_cmp(&power(b))).unwrap().to_vec()
    }

    /// Each backend that can run here, made ready with its defaults. Those whose model
    /// cannot be had are told on standard error itself, past the test harness's capture.
    fn each_backend(check: impl Fn(&str, Factory)) {
        assert!(!BACKENDS.is_empty());
        for backend in BACKENDS {
            let fetch = |name: &&str| crate::models::test_store().fetch(name, false, &mut |_| {});
            match backend.models(&toml::Table::new()).iter().map(fetch).collect::<Result<Vec<_>, _>>() {
                Ok(models) => check(backend.name(), backend.build(&toml::Table::new(), &models).unwrap()),
                Err(reason) => {
                    let name = backend.name();
                    writeln!(std::io::stderr(), "SKIPPED the detector {name}: {reason}").unwrap();
                }
            }
        }
    }

    #[test]
    fn the_models_that_backends_need_are_in_the_manifest_and_missing_ones_are_told() {
        for backend in BACKENDS.iter().filter(|backend| !backend.models(&toml::Table::new()).is_empty()) {
            for name in backend.models(&toml::Table::new()) {
                assert!(crate::models::all().iter().any(|model| model.name == name), "{name}");
            }
            let error = backend.build(&toml::Table::new(), &[]).err().unwrap().to_string();
            assert!(error.contains("sidetone models fetch"), "{error}");
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
            let error = backend.build(&table, &[]).err().expect("an unknown key was taken").to_string();
            assert!(error.contains("loudnes"), "{error}");
        }
    }

    #[test]
    fn aggressiveness_out_of_range_names_the_value() {
        let error = find("webrtc").unwrap().build(&"aggressiveness = 4".parse().unwrap(), &[]).err().unwrap();
        assert!(error.to_string().contains("aggressiveness = 4"), "{error}");
    }

    #[test]
    fn silence_is_silent_and_a_voice_is_heard() {
        each_backend(|name, make| {
            let mut vad = make();
            assert!((0..100).all(|_| vad.score(&[0; FRAME_SAMPLES]) < 0.35), "{name} heard speech in silence");
            let voice = voice();
            let heard = voice.iter().filter(|frame| vad.score(frame) >= 0.5).count();
            assert!(heard > voice.len() / 2, "{name} heard a voice in only {heard} of {} frames", voice.len());
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
