//! A small recurrent network (the `earshot` crate, pure Rust).
//!
//! Surer of speech in noise than the sub-band detector; tones and music it takes for
//! speech as that one does (`sidetone eval vad`).
//! It works in windows of 16 ms; the pipeline's frames are 20 ms. The windows are
//! cut from the stream of frames, and a frame's score is the highest of the
//! windows that it completed: one, or every fourth time two.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Backend, Factory, Frame, Vad};
use crate::types::{BuildError, settings};

/// Samples in one window: 16 ms at 16 kHz.
const WINDOW: usize = 256;

/// See the module's documentation.
pub(super) struct Neural;

/// The table `[vad.neural]`: nothing to set yet.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Backend for Neural {
    fn name(&self) -> &'static str {
        "neural"
    }

    fn about(&self) -> &'static str {
        "small recurrent network, about 9 µs a frame and 10 KiB a leg; misses little, takes tones and music for speech"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Factory, BuildError> {
        let Settings {} = settings("vad.neural", table)?;
        Ok(Arc::new(|| {
            let detector = earshot::Detector::default_boxed();
            Box::new(Detector { detector, window: [0; WINDOW], filled: 0 }) as Box<dyn Vad>
        }))
    }
}

struct Detector {
    detector: Box<earshot::Detector>,
    window: [i16; WINDOW],
    filled: usize,
}

impl Vad for Detector {
    fn score(&mut self, frame: &Frame) -> f32 {
        let mut rest = &frame[..];
        let mut best = 0.0_f32;
        while !rest.is_empty() {
            let take = rest.len().min(WINDOW - self.filled);
            self.window[self.filled..self.filled + take].copy_from_slice(&rest[..take]);
            self.filled += take;
            rest = &rest[take..];
            if self.filled == WINDOW {
                best = best.max(self.detector.predict_i16(&self.window));
                self.filled = 0;
            }
        }
        best
    }

    fn reset(&mut self) {
        self.detector.reset();
        self.filled = 0;
    }
}
