//! Moonshine for English, through ONNX Runtime: its tiny model is the quick one beside the default.
//!
//! Its networks and vocabulary are the files of one model folder, `encoder.ort`,
//! `decoder.ort` and `tokenizer.bin`. Must never look at the configuration's environment or at the network,
//! never keep audio or text after an answer, never panic on any audio.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::local::{self, Heard, Network};
use super::{Backend, Engine};
use crate::onnx::{self, Provider, Running};
use crate::types::{BuildError, settings};
use decoder::{Decoder, VOCABULARY};
use tokenizer::Tokenizer;

mod decoder;
mod tokenizer;

const NAME: &str = "asr.moonshine";

/// What the setting calls the model that can be fetched.
const FETCHED: &str = "tiny";

/// Shorter audio is filled up with silence to this, in samples: 250 ms.
const SAMPLES_MIN: usize = 4_000;

/// Most finals decoded together; beyond eight or so there is nothing to gain.
const TOGETHER_MAX: usize = 16;

/// See the module's documentation.
pub(super) struct Moonshine;

/// The table `[asr.moonshine]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The one that can be fetched, or the path of a folder with another of the family.
    model: String,
    /// Threads within one transcription. More than 1 answers one caller sooner but
    /// serves fewer callers a core.
    threads: usize,
    /// What the networks run on.
    provider: Provider,
    /// Finals that wait are decoded together, at most as many at a time.
    together: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { model: FETCHED.to_owned(), threads: 1, provider: Provider::Cpu, together: 6 }
    }
}

impl Backend for Moonshine {
    fn name(&self) -> &'static str {
        "moonshine"
    }

    fn about(&self) -> &'static str {
        "English, on the CPU, 50 times faster than speech on one core; 70 MB once and 70 MB a thread"
    }

    fn models(&self, _: &toml::Table) -> Vec<&'static str> {
        vec![onnx::RUNTIME_MODEL]
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings { model, threads, provider, together } = settings(NAME, table)?;
        let running = Running::of(NAME, threads, provider)?;
        if !(1..=TOGETHER_MAX).contains(&together) {
            return Err(BuildError::new(
                NAME,
                format!("together = {together}"),
                format!("expected 1 (each final alone) to {TOGETHER_MAX}"),
            ));
        }
        let Some(fetched) = models.first() else {
            return Err(BuildError::new(NAME, "its model is not here", "fetch it with `sidetone models fetch`"));
        };
        let folder = match model.as_str() {
            FETCHED => fetched.clone(),
            path if Path::new(path).is_dir() => PathBuf::from(path),
            _ => {
                let expected = format!("expected {FETCHED:?}, or the path of a folder with a model");
                return Err(BuildError::new(NAME, format!("model = {model:?}"), expected));
            }
        };
        let vocabulary = folder.join("tokenizer.bin");
        let tokenizer = Tokenizer::parse(&onnx::read_file(NAME, &vocabulary)?, VOCABULARY).map_err(|reason| {
            BuildError::new(
                NAME,
                format!("{} {reason}", vocabulary.display()),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        let (tokenizer, library) = (Arc::new(tokenizer), fetched.join(onnx::LIBRARY));
        local::engine(NAME, move || {
            let decoder = Decoder::open(NAME, &library, &folder, running)?;
            Ok(Session { decoder, together, tokenizer: Arc::clone(&tokenizer) })
        })
    }
}

/// One thread's networks.
struct Session {
    decoder: Decoder,
    together: usize,
    tokenizer: Arc<Tokenizer>,
}

impl Network for Session {
    fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        let mut all = Heard::default();
        self.decoder.hear(&[&at_least_min(samples)], &mut |_, heard| all = heard)?;
        Ok(all)
    }

    fn together(&self) -> usize {
        self.together
    }

    fn hear_together(
        &mut self,
        utterances: &[&[f32]],
        heard: &mut dyn FnMut(usize, &Heard, String),
    ) -> ort::Result<()> {
        let filled: Vec<_> = utterances.iter().map(|samples| at_least_min(samples)).collect();
        let filled: Vec<_> = filled.iter().map(|samples| &**samples).collect();
        self.decoder.hear(&filled, &mut |row, one| heard(row, &one, self.tokenizer.text(&one.tokens)))
    }

    fn text(&self, tokens: &[u32]) -> String {
        self.tokenizer.text(tokens)
    }

    fn language(&self) -> &'static str {
        "en"
    }
}

fn at_least_min(piece: &[f32]) -> Cow<'_, [f32]> {
    if piece.len() >= SAMPLES_MIN {
        return Cow::Borrowed(piece);
    }
    let mut padded = piece.to_vec();
    padded.resize(SAMPLES_MIN, 0.0);
    Cow::Owned(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_count_out_of_range_names_key_value_and_range() {
        for threads in ["0", "65"] {
            let table = format!("threads = {threads}").parse().unwrap();
            let text = Moonshine.build(&table, &[]).err().unwrap().to_string();
            assert!(
                text.contains(&format!("threads = {threads}")) && text.contains("1") && text.contains("64"),
                "{text}"
            );
        }
        let text = Moonshine.build(&"threads = \"two\"".parse().unwrap(), &[]).err().unwrap().to_string();
        assert!(text.contains("threads") && text.contains("two"), "{text}");
    }

    #[test]
    fn a_missing_or_damaged_model_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let build = |models: &[PathBuf]| Moonshine.build(&toml::Table::new(), models).err().unwrap().to_string();
        let here = [folder.path().to_owned()];
        assert!(build(&[]).contains("sidetone models fetch"));
        assert!(build(&here).contains("tokenizer.bin"));
        std::fs::write(folder.path().join("tokenizer.bin"), [200]).unwrap();
        let text = build(&here);
        assert!(text.contains("tokenizer.bin") && text.contains("--force"), "{text}");
    }
}
