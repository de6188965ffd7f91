//! Silero's network (snakers4/silero-vad, MIT), 16 kHz, through ONNX Runtime.
//!
//! It works in windows of 32 ms, each with the 4 ms before it, and carries a state from
//! one to the next. A frame of 20 ms has the score of the newest whole window, so it may
//! be 12 ms old. The runtime allocates as it works: this detector is the exception to the
//! family's rule ([`Backend::allocates`]). Legs share sessions, as many as there are
//! threads at work; a leg's own memory is under 4 KiB.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ort::value::TensorRef;

use super::{Backend, Factory, Frame, Vad};
use crate::onnx::{self, Sessions};
use crate::types::{BuildError, settings};

const NAME: &str = "vad.silero";

/// New samples in a window: 32 ms at 16 kHz.
const WINDOW: usize = 512;

/// Samples of the window before that it begins with.
const CONTEXT: usize = 64;

/// Figures in the network's state.
const STATE: usize = 2 * 128;

/// Sessions, of 3 MB each: more than any machine runs threads, so that no leg waits.
const SESSIONS_MAX: usize = 1_024;

/// See the module's documentation.
pub(super) struct Silero;

/// The table `[vad.silero]`: nothing to set yet.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Backend for Silero {
    fn name(&self) -> &'static str {
        "silero"
    }

    fn about(&self) -> &'static str {
        "Silero's network through ONNX Runtime, about 60 µs a frame; quiet on tones, allocates"
    }

    fn models(&self, _: &toml::Table) -> Vec<&'static str> {
        vec!["silero-vad", onnx::RUNTIME_MODEL]
    }

    fn allocates(&self) -> bool {
        true
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Factory, BuildError> {
        let Settings {} = settings(NAME, table)?;
        let [network, runtime] = models else {
            return Err(BuildError::new(NAME, "its models are not here", "fetch them with `sidetone models fetch`"));
        };
        let sessions = Sessions::open(NAME, runtime, &network.join("silero_vad.onnx"), &[], SESSIONS_MAX)?;
        let shared = Arc::new(Shared { sessions, told: AtomicBool::new(false) });
        // A network that cannot be used must show when it is built, not on the first call.
        Window::default().run(&shared.sessions).map_err(|error| {
            BuildError::new(
                NAME,
                format!("does not run: {error}"),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        Ok(Arc::new(move || {
            let shared = Arc::clone(&shared);
            Box::new(Detector { shared, window: Window::default(), score: 0.0 }) as Box<dyn Vad>
        }))
    }
}

/// What all legs share.
struct Shared {
    sessions: Sessions,
    /// Whether a failure was told already.
    told: AtomicBool,
}

/// The network's input for one leg, as far as it has come, and its state.
struct Window {
    samples: [f32; CONTEXT + WINDOW],
    filled: usize,
    state: [f32; STATE],
}

impl Default for Window {
    fn default() -> Self {
        Self { samples: [0.0; CONTEXT + WINDOW], filled: CONTEXT, state: [0.0; STATE] }
    }
}

impl Window {
    /// Runs the network on a full window and begins the next one.
    fn run(&mut self, sessions: &Sessions) -> ort::Result<f32> {
        let score = sessions.with(|session| {
            let audio = TensorRef::from_array_view(([1, CONTEXT + WINDOW], &self.samples[..]))?;
            let state = TensorRef::from_array_view(([2_usize, 1, 128], &self.state[..]))?;
            let values = session.run(ort::inputs!["input" => audio, "state" => state])?;
            let likelihood = values["output"].try_extract_tensor::<f32>()?.1.first().copied();
            let next = values["stateN"].try_extract_tensor::<f32>()?.1;
            match (likelihood, next.len()) {
                (Some(likelihood), STATE) => {
                    self.state.copy_from_slice(next);
                    Ok(likelihood)
                }
                _ => Err(ort::Error::new("its outputs are not Silero's")),
            }
        });
        self.samples.copy_within(WINDOW.., 0);
        self.filled = CONTEXT;
        // A state that is not a number would never be one again.
        score.map(|score| if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) })
    }
}

struct Detector {
    shared: Arc<Shared>,
    window: Window,
    score: f32,
}

impl Vad for Detector {
    fn score(&mut self, frame: &Frame) -> f32 {
        for &sample in frame {
            self.window.samples[self.window.filled] = f32::from(sample) / 32_768.0;
            self.window.filled += 1;
            if self.window.filled == CONTEXT + WINDOW {
                // A leg whose detector fails goes on as it was judged last.
                self.score = self.window.run(&self.shared.sessions).unwrap_or_else(|error| {
                    if !self.shared.told.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "the detector silero failed; its last score stands. Told once");
                    }
                    self.score
                });
            }
        }
        self.score
    }

    fn reset(&mut self) {
        self.window = Window::default();
        self.score = 0.0;
    }
}
