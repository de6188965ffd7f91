//! Whisper, through ONNX Runtime. Its larger models are slower and know other languages than
//! English.
//!
//! A model is a folder as CTranslate2 and faster-whisper have it: `model.bin` (float16 or
//! float32; also in parts, `model.bin.part1` and so on), `vocabulary.txt` or
//! `vocabulary.json`, `config.json`. Must never keep audio or text after an answer, never
//! panic on any audio or file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::local::{self, Heard, Network};
use super::{Backend, Before, Engine};
use crate::onnx::{self, Provider, Running};
use crate::types::{BuildError, settings};
use decoder::{Decoder, Script};
use network::{Precision, Size};
use vocabulary::Vocabulary;
use weights::Weights;

mod beam;
mod decoder;
mod mel;
mod network;
mod vocabulary;
mod weights;

const NAME: &str = "asr.whisper";

/// The models that can be fetched: what the setting calls them, and the manifest.
const FETCHED: [(&str, &str); 2] = [("tiny.en", "whisper-tiny-en"), ("base", "whisper-base")];

/// Tokens of a vocabulary that knows no language but English.
const ENGLISH_ONLY: usize = 51_864;

/// Speech has three tokens a second or four. A text with less than one for so many samples (1 s),
/// in audio of so many at least (3 s), may have been ended before all was said, as happens where
/// digits are said one by one. No token at all is silence, which costs nothing more.
const SAMPLES_PER_TOKEN: usize = 16_000;
const SPARSE_FROM: usize = 48_000;

/// More texts side by side make nothing better.
const BEAM_MAX: usize = 8;

/// See the module's documentation.
pub(super) struct Whisper;

/// The table `[asr.whisper]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// One of those that can be fetched, or the path of a folder with another.
    model: String,
    /// What is spoken, for a model that knows more than English.
    language: String,
    /// Texts that go on side by side before one is chosen, 1 to 8.
    beam: usize,
    /// Threads within one transcription.
    threads: usize,
    /// What the networks run on: as bytes on `cpu`, as floats on `cuda`.
    provider: Provider,
}

impl Default for Settings {
    fn default() -> Self {
        Self { model: FETCHED[0].0.to_owned(), language: "en".to_owned(), beam: 3, threads: 1, provider: Provider::Cpu }
    }
}

/// The model of the manifest that the setting names.
fn fetched(model: &str) -> Option<&'static str> {
    FETCHED.iter().find(|(name, _)| *name == model).map(|(_, fetched)| *fetched)
}

impl Backend for Whisper {
    fn name(&self) -> &'static str {
        "whisper"
    }

    fn about(&self) -> &'static str {
        "on the CPU: a third fewer wrong words than moonshine, and none where nobody speaks; base and larger are slower"
    }

    fn quicker(&self) -> Option<&'static str> {
        Some("moonshine")
    }

    fn models(&self, table: &toml::Table) -> Vec<&'static str> {
        // What is wrong with the table is told when it is built.
        let model = settings::<Settings>(NAME, table).unwrap_or_default().model;
        std::iter::once(onnx::RUNTIME_MODEL).chain(fetched(&model)).collect()
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings { model, language, beam, threads, provider } = settings(NAME, table)?;
        if !(1..=BEAM_MAX).contains(&beam) {
            return Err(BuildError::new(NAME, format!("beam = {beam}"), format!("expected 1 to {BEAM_MAX}")));
        }
        let running = Running::of(NAME, threads, provider)?;
        let missing = || BuildError::new(NAME, "its models are not here", "fetch them with `sidetone models fetch`");
        let runtime = models.first().ok_or_else(missing)?;
        let folder = match fetched(&model) {
            Some(_) => models.get(1).ok_or_else(missing)?.clone(),
            None if Path::new(&model).is_dir() => PathBuf::from(model),
            None => {
                let names: Vec<_> = FETCHED.iter().map(|(name, _)| *name).collect();
                return Err(BuildError::new(
                    NAME,
                    format!("model = {model:?}"),
                    format!("expected one of {}, or the path of a folder with a model", names.join(", ")),
                ));
            }
        };
        let precision = match provider {
            Provider::Cpu => Precision::Int8,
            Provider::Cuda => Precision::Float32,
        };
        let library = runtime.join(onnx::LIBRARY);
        let vocabulary = Arc::new(vocabulary(&folder)?);
        let language = local::tag(language);
        let script = Arc::new(script(&folder, &vocabulary, language)?);
        local::engine(NAME, move || {
            let runtime = onnx::runtime(NAME, &library)?;
            let weights = weights(&folder)?;
            let size = Size::of(&weights).map_err(|problem| unusable(&folder.join(MODEL), &problem))?;
            let options = running.options(NAME, &runtime)?;
            let lay = |lay: fn(&_, _, _, &_) -> Result<_, network::Unusable>| {
                lay(&weights, size, precision, &options)
                    .map_err(|problem| unusable(&folder.join(MODEL), &problem.to_string()))
            };
            let decoder = Decoder::new(size, beam, Arc::clone(&script), lay(network::encoder)?, lay(network::decoder)?)
                .map_err(|problem| unusable(&folder.join(MODEL), &problem.to_string()))?;
            Ok(Session { decoder, vocabulary: Arc::clone(&vocabulary), language })
        })
    }
}

const MODEL: &str = "model.bin";

fn unusable(file: &Path, problem: &str) -> BuildError {
    BuildError::new(
        NAME,
        format!("{} {problem}", file.display()),
        "fetch the model anew with `sidetone models fetch --force`, or name a folder with one in asr.whisper.model",
    )
}

/// The weights in `folder`, whole or in parts.
fn weights(folder: &Path) -> Result<Weights, BuildError> {
    let whole = folder.join(MODEL);
    let part = |n: usize| folder.join(format!("{MODEL}.part{n}"));
    let mut file = Vec::new();
    if part(1).is_file() {
        for part in (1..).map(part).take_while(|part| part.is_file()) {
            file.append(&mut onnx::read_file(NAME, &part)?);
        }
    } else {
        file = onnx::read_file(NAME, &whole)?;
    }
    Weights::parse(file).map_err(|problem| unusable(&whole, &problem))
}

fn vocabulary(folder: &Path) -> Result<Vocabulary, BuildError> {
    let list = folder.join("vocabulary.json");
    let file = if list.is_file() { list } else { folder.join("vocabulary.txt") };
    Vocabulary::parse(&onnx::read_file(NAME, &file)?).map_err(|problem| unusable(&file, &problem))
}

/// What the texts of the model in `folder` begin and end with, and have not in them.
fn script(folder: &Path, vocabulary: &Vocabulary, language: &str) -> Result<Script, BuildError> {
    #[derive(Deserialize)]
    struct Config {
        suppress_ids: Vec<u32>,
        suppress_ids_begin: Vec<u32>,
    }
    let file = folder.join("config.json");
    let Config { suppress_ids, suppress_ids_begin } =
        serde_json::from_slice(&onnx::read_file(NAME, &file)?).map_err(|error| unusable(&file, &error.to_string()))?;
    let special = |name: &str| {
        let none = || format!("there is no <|{name}|> in the vocabulary of {}", folder.display());
        vocabulary.special(name).ok_or_else(|| {
            BuildError::new(NAME, none(), "expected a Whisper model, and in asr.whisper.language one it knows")
        })
    };
    let english_only = vocabulary.len() <= ENGLISH_ONLY;
    if english_only && language != "en" {
        return Err(BuildError::new(
            NAME,
            format!("language = {language:?}"),
            "this model knows English only; expected \"en\", or another model",
        ));
    }
    let begin: &[&str] = match english_only {
        true => &["startoftranscript", "notimestamps"],
        false => &["startoftranscript", language, "transcribe", "notimestamps"],
    };
    let prompt = begin.iter().map(|name| special(name)).collect::<Result<_, _>>()?;
    let weights = weights(folder)?;
    let values = |name: &str| weights.floats(name).map(|values| values.values);
    let broken = |problem: String| unusable(&folder.join(MODEL), &problem);
    let tokens = values("decoder/embeddings/weight").map_err(broken)?;
    let script = Script {
        prompt,
        end: special("endoftext")?,
        no_speech: vocabulary.special("nospeech").or_else(|| vocabulary.special("nocaptions")),
        never: suppress_ids,
        never_first: suppress_ids_begin,
        tokens: tokens.into_iter().map(half::f16::from_f32).collect(),
        places: values("decoder/position_encodings/encodings").map_err(broken)?,
    };
    let size = Size::of(&weights).map_err(broken)?;
    // So that the end is among the logits.
    if script.end as usize >= script.tokens.len() / size.figures {
        return Err(broken("has fewer tokens than its vocabulary".to_owned()));
    }
    Ok(script)
}

/// Whether so many tokens are less than is said in so many samples.
fn is_sparse(tokens: usize, samples: usize) -> bool {
    samples >= SPARSE_FROM && (1..samples / SAMPLES_PER_TOKEN).contains(&tokens)
}

/// One thread's networks.
struct Session {
    decoder: Decoder,
    vocabulary: Arc<Vocabulary>,
    language: &'static str,
}

impl Network for Session {
    fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        self.decoder.hear(samples)
    }

    fn may_lack(&self, heard: &Heard, samples: usize) -> bool {
        is_sparse(heard.tokens.len(), samples)
    }

    fn hear_again(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        self.decoder.hear_in_whole_window(samples)
    }

    fn joined_max(&self) -> usize {
        self.decoder.joined_max()
    }

    fn hear_after(&mut self, before: Before<'_>, samples: &[f32]) -> ort::Result<Heard> {
        // In a text every word has the space before it.
        let said = self.vocabulary.tokens(&format!(" {}", before.text));
        self.decoder.hear_after(before.samples, &said, samples)
    }

    fn text(&self, tokens: &[u32]) -> String {
        self.vocabulary.text(tokens)
    }

    fn language(&self) -> &'static str {
        self.language
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sparse_from_three_seconds_and_below_a_token_a_second() {
        for (tokens, samples, expected) in
            [(2, 48_000, true), (2, 47_999, false), (3, 48_000, false), (3, 64_000, true), (0, 480_000, false)]
        {
            assert_eq!(is_sparse(tokens, samples), expected, "{tokens} tokens, {samples} samples");
        }
    }

    #[test]
    fn a_beam_out_of_bounds_is_named() {
        for beam in [0, BEAM_MAX + 1] {
            let table = toml::from_str(&format!("beam = {beam}")).unwrap();
            let said = Whisper.build(&table, &[]).err().unwrap().to_string();
            assert!(said.contains(&format!("beam = {beam}")) && said.contains("1 to 8"), "{said}");
        }
    }
}
