//! The WebRTC project's detector: Gaussian mixtures over six sub-bands.
//!
//! The cheapest detector here, and an eager one: it calls most tones and music
//! speech. It answers yes or no, so its score is 0 or 1.

// The one place in the crate that needs `unsafe`: see `Detector`.
#![allow(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use webrtc_vad::{SampleRate, VadMode};

use super::{Backend, Factory, Frame, Vad};
use crate::types::{BuildError, settings};

/// See the module's documentation.
pub(super) struct Webrtc;

/// The table `[vad.webrtc]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// 0 (takes most for speech) to 3 (takes least).
    aggressiveness: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { aggressiveness: 2 }
    }
}

impl Backend for Webrtc {
    fn name(&self) -> &'static str {
        "webrtc"
    }

    fn about(&self) -> &'static str {
        "sub-band Gaussian mixtures, about 2 µs a frame; cheapest, takes tones and music for speech"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Factory, BuildError> {
        let wanted: Settings = settings("vad.webrtc", table)?;
        let mode = match wanted.aggressiveness {
            0 => || VadMode::Quality,
            1 => || VadMode::LowBitrate,
            2 => || VadMode::Aggressive,
            3 => || VadMode::VeryAggressive,
            other => {
                return Err(BuildError::new(
                    "vad.webrtc",
                    format!("aggressiveness = {other}"),
                    "expected 0 (takes most for speech) to 3 (takes least)",
                ));
            }
        };
        Ok(Arc::new(move || Box::new(Detector::new(mode)) as Box<dyn Vad>))
    }
}

struct Detector {
    vad: webrtc_vad::Vad,
    mode: fn() -> VadMode,
}

// SAFETY: `webrtc_vad::Vad` owns the C state behind its pointer and shares it with
// nobody; that state is plain memory without thread-local parts, and it is used
// only through `&mut self`. The crate leaves `Send` out because a raw pointer
// never has it by itself.
unsafe impl Send for Detector {}

impl Detector {
    fn new(mode: fn() -> VadMode) -> Self {
        Self { vad: webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, mode()), mode }
    }
}

impl Vad for Detector {
    fn score(&mut self, frame: &Frame) -> f32 {
        // A frame is 20 ms by its type, the only thing this call can object to.
        if self.vad.is_voice_segment(frame).unwrap_or(false) { 1.0 } else { 0.0 }
    }

    fn reset(&mut self) {
        self.vad.reset();
        self.vad.set_sample_rate(SampleRate::Rate16kHz);
        self.vad.set_mode((self.mode)());
    }
}
