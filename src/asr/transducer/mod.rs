//! Streaming transducers, through ONNX Runtime: zipformers, conformers and LSTMs as icefall
//! exports them and sherpa-onnx runs them. They know when each word was said.
//!
//! A model is a folder of one's own: `encoder*.onnx`, `decoder*.onnx`, `joiner*.onnx` and
//! `tokens.txt`. Must never keep audio or text after an answer, never panic on any audio or
//! file.

use std::path::{Path, PathBuf};

use ort::session::Session;
use serde::Deserialize;

use super::local::{self, Heard, Network};
use super::{Backend, Engine};
use crate::onnx::{self, Provider, Running};
use crate::types::{BuildError, settings};
use encoder::Encoder;
use features::{BANDS, Features};
use folder::Folder;
use search::Search;
use tokens::Tokens;

mod encoder;
mod features;
mod folder;
mod search;
mod tokens;

const NAME: &str = "asr.transducer";

/// What to do about a model that cannot be used.
const REMEDY: &str = "name in asr.transducer.model a folder with encoder*.onnx, decoder*.onnx, joiner*.onnx and \
                      tokens.txt of a streaming transducer, as icefall exports it";

/// Silence that follows the audio in what is encoded, in frames of 10 ms: a transducer says a
/// word some time after it was said. Those who made sherpa-onnx let it have 0.66 s.
const SILENCE_AFTER: usize = 66;

/// A frame of bands, in ms.
const FRAME_MS: u64 = 10;

/// See the module's documentation.
pub(super) struct Transducer;

/// The table `[asr.transducer]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The path of a folder with a model; there is none that can be fetched.
    model: String,
    /// What the model hears, as transcripts say it: a tag of BCP 47.
    language: String,
    /// Threads within one transcription.
    threads: usize,
    /// What the networks run on.
    provider: Provider,
}

impl Default for Settings {
    fn default() -> Self {
        Self { model: String::new(), language: "en".to_owned(), threads: 1, provider: Provider::Cpu }
    }
}

impl Backend for Transducer {
    fn name(&self) -> &'static str {
        "transducer"
    }

    fn about(&self) -> &'static str {
        "a streaming zipformer, conformer or LSTM of icefall's from a folder of one's own; tells when each word was said"
    }

    fn models(&self, _: &toml::Table) -> Vec<&'static str> {
        vec![onnx::RUNTIME_MODEL]
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings { model, language, threads, provider } = settings(NAME, table)?;
        let running = Running::of(NAME, threads, provider)?;
        if model.is_empty() {
            return Err(BuildError::new(NAME, "model is empty", REMEDY));
        }
        if language.is_empty() || !language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(BuildError::new(
                NAME,
                format!("language = {language:?}"),
                "expected a tag such as \"en\" or \"en-GB\"",
            ));
        }
        let missing = || BuildError::new(NAME, "ONNX Runtime is not here", "fetch it with `sidetone models fetch`");
        let library = models.first().ok_or_else(missing)?.join(onnx::LIBRARY);
        let folder = Folder::of(Path::new(&model), provider)?;
        let language = local::tag(language);
        local::engine(NAME, move || Hearing::open(&library, &folder, running, language))
    }
}

/// One thread's networks.
struct Hearing {
    features: Features,
    encoder: Encoder,
    search: Search,
    tokens: Tokens,
    language: &'static str,
}

impl Hearing {
    fn open(library: &Path, folder: &Folder, running: Running, language: &'static str) -> Result<Self, BuildError> {
        let runtime = onnx::runtime(NAME, library)?;
        let open = |file: &Path| -> Result<Session, BuildError> {
            // By its path: a large network has its weights in a file beside it.
            let session = running.options(NAME, &runtime)?.commit_from_file(file);
            session.map_err(|error| unusable(file, &error.to_string()))
        };
        let encoder = Encoder::new(open(&folder.encoder)?).map_err(|problem| unusable(&folder.encoder, &problem))?;
        let search = Search::new(open(&folder.decoder)?, open(&folder.joiner)?)
            .map_err(|problem| unusable(&folder.decoder, &problem))?;
        let file = std::fs::read(&folder.tokens).map_err(|error| {
            BuildError::new(NAME, format!("cannot read {}: {error}", folder.tokens.display()), REMEDY)
        })?;
        let tokens = Tokens::parse(&file, search.vocabulary).map_err(|problem| unusable(&folder.tokens, &problem))?;
        let mut hearing = Self { features: Features::new(), encoder, search, tokens, language };
        // What does not show in a network's description shows when it runs.
        hearing.hear(&[0.0]).map_err(|error| unusable(&folder.encoder, &format!("does not run: {error}")))?;
        Ok(hearing)
    }
}

fn unusable(file: &Path, problem: &str) -> BuildError {
    BuildError::new(NAME, format!("{} {problem}", file.display()), REMEDY)
}

impl Network for Hearing {
    fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        let (chunk, shift) = (self.encoder.chunk, self.encoder.shift);
        // The last chunk is filled up with silence.
        let chunks = (Features::frames(samples.len()) + SILENCE_AFTER).div_ceil(shift);
        let features = self.features.of(samples, (chunks - 1) * shift + chunk);
        let audio_ms = local::ms(samples.len());
        let mut memory = self.encoder.memory()?;
        let mut course = self.search.course()?;
        'utterance: for first in (0..chunks).map(|n| n * shift) {
            let features = &features[first * BANDS..(first + chunk) * BANDS];
            let frames = self.encoder.encode(features, &mut memory)?;
            // A word that is said late, in the silence, was said by the end of the audio.
            let place = |n: usize| {
                let within = (n * shift) as u64 * FRAME_MS / frames.count as u64;
                (first as u64 * FRAME_MS + within).min(audio_ms)
            };
            for (n, frame) in frames.each()?.enumerate() {
                if !self.search.take(&mut course, frame, [place(n), place(n + 1)], &self.tokens)? {
                    break 'utterance;
                }
            }
        }
        let words = self.tokens.words(&course.placed);
        Ok(Heard { words, ..course.heard })
    }

    fn text(&self, tokens: &[u32]) -> String {
        self.tokens.text(tokens)
    }

    fn language(&self) -> &'static str {
        self.language
    }
}

#[cfg(test)]
pub(super) mod tests;
