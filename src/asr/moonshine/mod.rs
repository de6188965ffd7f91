//! Moonshine tiny for English, through ONNX Runtime: the default transcriber.
//!
//! Its networks, vocabulary and the runtime's library are the files of one model
//! folder. Must never look at the configuration's environment or at the network,
//! never keep audio or text after an answer, never panic on any audio.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::{Backend, Engine, Local, Transcriber};
use crate::onnx;
use crate::types::{BuildError, Fault, Private, SegmentKind, Transcript, settings};
use decoder::{Decoder, Heard, VOCABULARY};
use tokenizer::Tokenizer;

mod decoder;
mod repeat;
mod rows;
mod tokenizer;

const NAME: &str = "asr.moonshine";

/// Shorter audio is filled up with silence to this, in samples: 250 ms.
const SAMPLES_MIN: usize = 4_000;

/// Longer audio is cut into pieces at a quiet place between these two lengths, in
/// samples: 12 and 24 s. The cost of a second of audio grows with the length of
/// the piece, and the model was made for less than 30 s.
const PIECE_MIN: usize = 192_000;
const PIECE_MAX: usize = 384_000;

/// Silence put before audio that looped, in samples: 200 ms.
const PAUSE: usize = 3_200;

/// Audio that stays below this, of full scale 1, is silence: no words in it.
const SILENCE: f32 = 1e-4;

/// Most threads within an operation that a machine could make use of.
const THREADS_MAX: usize = 64;

/// Most finals decoded together; beyond eight or so there is nothing to gain.
const TOGETHER_MAX: usize = 16;

/// See the module's documentation.
pub(super) struct Moonshine;

/// The table `[asr.moonshine]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Threads within one transcription. More than 1 answers one caller sooner but
    /// serves fewer callers a core.
    threads: usize,
    /// Finals that wait are decoded together, at most as many at a time.
    together: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threads: 1, together: 6 }
    }
}

impl Backend for Moonshine {
    fn name(&self) -> &'static str {
        "moonshine"
    }

    fn about(&self) -> &'static str {
        "English, on the CPU, 50 times faster than speech on one core; 70 MB once and 70 MB a thread"
    }

    fn model(&self) -> Option<&'static str> {
        Some("moonshine-tiny-en")
    }

    fn build(&self, table: &toml::Table, model: Option<&Path>) -> Result<Engine, BuildError> {
        let Settings { threads, together } = settings(NAME, table)?;
        if !(1..=THREADS_MAX).contains(&threads) {
            return Err(BuildError::new(
                NAME,
                format!("threads = {threads}"),
                format!("expected 1 (best for many calls) to {THREADS_MAX}"),
            ));
        }
        if !(1..=TOGETHER_MAX).contains(&together) {
            return Err(BuildError::new(
                NAME,
                format!("together = {together}"),
                format!("expected 1 (each final alone) to {TOGETHER_MAX}"),
            ));
        }
        let Some(folder) = model else {
            return Err(BuildError::new(NAME, "its model is not here", "fetch it with `sidetone models fetch`"));
        };
        let vocabulary = folder.join("tokenizer.bin");
        let tokenizer = Tokenizer::parse(&onnx::read_file(NAME, &vocabulary)?, VOCABULARY).map_err(|reason| {
            BuildError::new(
                NAME,
                format!("{} {reason}", vocabulary.display()),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        let shared = Shared {
            folder: folder.to_owned(),
            threads,
            together,
            tokenizer: Arc::new(tokenizer),
            first: Mutex::default(),
        };
        // A model that cannot be used must show when it is built, not on the first call.
        *shared.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(shared.load()?);
        Ok(Engine::Local(Arc::new(shared)))
    }
}

/// What all threads share; the weights' bytes are kept by [`onnx::weights`].
struct Shared {
    folder: PathBuf,
    threads: usize,
    together: usize,
    tokenizer: Arc<Tokenizer>,
    /// Opened to try the model; the first thread to ask has it.
    first: Mutex<Option<Session>>,
}

impl Local for Shared {
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(first.map_or_else(|| self.load(), Ok)?))
    }
}

impl Shared {
    fn load(&self) -> Result<Session, BuildError> {
        let mut decoder = Decoder::open(NAME, &self.folder, self.threads)?;
        // The first run is slow: the runtime allocates as it goes.
        decoder.hear(&[&[0.0; 2 * SAMPLES_MIN]], &mut |_, _| {}).map_err(|error| {
            BuildError::new(
                NAME,
                format!("does not run: {error}"),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        Ok(Session { decoder, together: self.together, tokenizer: Arc::clone(&self.tokenizer) })
    }
}

/// One thread's transcriber.
struct Session {
    decoder: Decoder,
    together: usize,
    tokenizer: Arc<Tokenizer>,
}

impl Transcriber for Session {
    /// Audio over 24 s is transcribed in pieces of 12 to 24 s, cut where it is quietest.
    fn transcribe(&mut self, samples: &[f32], kind: SegmentKind) -> Result<Transcript, Fault> {
        let samples = &*playable(samples);
        let mut all = Heard::default();
        for piece in pieces(samples) {
            let piece = &samples[piece];
            if piece.iter().all(|sample| sample.abs() < SILENCE) {
                continue;
            }
            let mut heard = self.hear(&at_least_min(piece))?;
            if heard.looped && kind == SegmentKind::Final {
                heard = self.hear(&after_a_pause(piece))?;
            }
            if heard.looped {
                return Err(Fault::Looped);
            }
            all.tokens.extend(heard.tokens);
            all.log_prob += heard.log_prob;
            all.scored += heard.scored;
        }
        Ok(transcript(&self.tokenizer, &all))
    }

    fn together(&self) -> usize {
        self.together
    }

    fn transcribe_together(
        &mut self,
        utterances: &[Vec<f32>],
        answer: &mut dyn FnMut(usize, Result<Transcript, Fault>),
    ) {
        // Whatever is long, silent or not quite audio is for `transcribe`, alone.
        let plain = |samples: &[f32]| {
            (SAMPLES_MIN..=PIECE_MIN).contains(&samples.len())
                && samples.iter().all(|sample| sample.abs() <= 1.0)
                && samples.iter().any(|sample| sample.abs() >= SILENCE)
        };
        let (places, audio): (Vec<usize>, Vec<&[f32]>) =
            utterances.iter().map(Vec::as_slice).enumerate().filter(|(_, samples)| plain(samples)).unzip();
        // Those that loop, and all that are left when the networks fail, are asked about again.
        let _ = self.decoder.hear(&audio, &mut |row, heard| {
            if !heard.looped {
                answer(places[row], Ok(transcript(&self.tokenizer, &heard)));
            }
        });
    }
}

fn transcript(tokenizer: &Tokenizer, heard: &Heard) -> Transcript {
    let text = worded(tokenizer.text(&heard.tokens));
    let confidence = (!text.is_empty()).then(|| (heard.log_prob / heard.scored as f32).exp());
    Transcript { text: Private(text), words: Vec::new(), confidence, language: "en" }
}

/// `text`, or none of it where it has no words: notes (♪), dashes and dots are what
/// the model writes of music and noise.
fn worded(text: String) -> String {
    if text.contains(char::is_alphanumeric) { text } else { String::new() }
}

impl Session {
    fn hear(&mut self, samples: &[f32]) -> Result<Heard, Fault> {
        let mut all = Heard::default();
        let ended = self.decoder.hear(&[samples], &mut |_, heard| all = heard);
        ended.map(|()| all).map_err(|error| Fault::Backend(error.to_string()))
    }
}

/// The same audio a little later. Greedy decoding loops by an accident of where the
/// networks' windows fall; on speech another place often gives the words, on noise
/// it loops again.
fn after_a_pause(piece: &[f32]) -> Vec<f32> {
    let mut later = vec![0.0; PAUSE];
    later.extend_from_slice(piece);
    later
}

/// The samples as the networks can take them: numbers within ±1.
fn playable(samples: &[f32]) -> Cow<'_, [f32]> {
    if samples.iter().all(|sample| sample.abs() <= 1.0) {
        return Cow::Borrowed(samples);
    }
    samples.iter().map(|sample| if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }).collect()
}

fn at_least_min(piece: &[f32]) -> Cow<'_, [f32]> {
    if piece.len() >= SAMPLES_MIN {
        return Cow::Borrowed(piece);
    }
    let mut padded = piece.to_vec();
    padded.resize(SAMPLES_MIN, 0.0);
    Cow::Owned(padded)
}

/// Where to cut `samples` so that no piece is longer than [`PIECE_MAX`].
fn pieces(samples: &[f32]) -> Vec<Range<usize>> {
    /// Quiet is looked for in steps of 100 ms.
    const STEP: usize = 1_600;
    let mut pieces = Vec::new();
    let mut start = 0;
    while samples.len() - start > PIECE_MAX {
        let energy = |at: &usize| samples[*at..*at + STEP].iter().map(|sample| sample * sample).sum::<f32>();
        let places = (start + PIECE_MIN..start + PIECE_MAX).step_by(STEP);
        let quietest = places.min_by(|a, b| energy(a).total_cmp(&energy(b))).unwrap_or(start + PIECE_MIN);
        pieces.push(start..quietest + STEP / 2);
        start = quietest + STEP / 2;
    }
    pieces.push(start..samples.len());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once_and_stay_short() {
        for n in [0, 1, PIECE_MIN, PIECE_MAX, PIECE_MAX + 1, 5 * PIECE_MAX + 77] {
            let samples: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * (i as f32 * 1e-4).cos()).collect();
            let pieces = pieces(&samples);
            assert_eq!(pieces[0].start, 0);
            assert_eq!(pieces[pieces.len() - 1].end, n);
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_MAX), "{pieces:?}");
        }
    }

    #[test]
    fn long_audio_is_cut_where_it_is_quiet() {
        let mut samples = vec![0.3; PIECE_MAX + 16_000];
        samples[250_000..254_000].fill(0.0);
        let pieces = pieces(&samples);
        assert_eq!(pieces.len(), 2);
        assert!((250_000..254_000).contains(&pieces[0].end), "{pieces:?}");
    }

    #[test]
    fn signs_without_words_are_no_text() {
        for (text, words) in [("", ""), ("♪♪", ""), ("... -", ""), ("No.", "No."), ("♪ 4", "♪ 4")] {
            assert_eq!(worded(text.to_owned()), words);
        }
    }

    #[test]
    fn samples_that_are_not_samples_are_mended() {
        assert!(matches!(playable(&[0.0, -1.0, 1.0]), Cow::Borrowed(_)));
        assert_eq!(*playable(&[f32::NAN, f32::INFINITY, -3.0, 0.5]), [0.0, 1.0, -1.0, 0.5]);
    }

    #[test]
    fn a_thread_count_out_of_range_names_key_value_and_range() {
        for threads in ["0", "65"] {
            let table = format!("threads = {threads}").parse().unwrap();
            let text = Moonshine.build(&table, None).err().unwrap().to_string();
            assert!(
                text.contains(&format!("threads = {threads}")) && text.contains("1") && text.contains("64"),
                "{text}"
            );
        }
        let text = Moonshine.build(&"threads = \"two\"".parse().unwrap(), None).err().unwrap().to_string();
        assert!(text.contains("threads") && text.contains("two"), "{text}");
    }

    #[test]
    fn a_missing_or_damaged_model_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let build = |model| Moonshine.build(&toml::Table::new(), model).err().unwrap().to_string();
        assert!(build(None).contains("sidetone models fetch"));
        assert!(build(Some(folder.path())).contains("tokenizer.bin"));
        std::fs::write(folder.path().join("tokenizer.bin"), [200]).unwrap();
        let text = build(Some(folder.path()));
        assert!(text.contains("tokenizer.bin") && text.contains("--force"), "{text}");
    }
}
