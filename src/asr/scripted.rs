//! A transcriber without a model, for tests and demonstrations: it answers from a list.
//!
//! What it does depends on the audio of the utterance and on its settings, on
//! nothing else: not on the thread, not on what was asked before. So a test gets
//! the same answers with any number of threads, in any order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Backend, Engine, Local, Transcriber};
use crate::types::rate::{FRAME_SAMPLES, PIPELINE_HZ};
use crate::types::{BuildError, Fault, Private, SegmentKind, Transcript, Word, settings};

const NAME: &str = "asr.scripted";

/// Longest delay that a test could want, in ms.
const DELAY_MAX: u64 = 60_000;

/// See the module's documentation.
pub(super) struct Scripted;

/// The table `[asr.scripted]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The answers, one or more. An utterance of n whole 20 ms frames gets the one
    /// at n modulo their number; "" says that no words were heard.
    texts: Vec<String>,
    /// How long each answer takes, in ms: 0 to 60,000.
    delay_ms: u64,
    /// About one utterance in this many fails: 1 for all, 0 for none. Which ones is
    /// decided by their samples.
    fail_every: u64,
    /// About one utterance in this many makes the transcriber panic, chosen likewise.
    panic_every: u64,
    /// About one utterance in this many has no words, chosen likewise.
    empty_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let texts = [
            "Good morning, how can I help you?",
            "My last bill was higher than I expected.",
            "Let me look at your account.",
            "Thank you, that is very kind.",
            "Could you spell your name for me, please?",
        ];
        Self { texts: texts.map(str::to_owned).into(), delay_ms: 0, fail_every: 0, panic_every: 0, empty_every: 0 }
    }
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn about(&self) -> &'static str {
        "answers from a list, whatever was said; for tests and demonstrations"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let settings: Settings = settings(NAME, table)?;
        if settings.texts.is_empty() {
            return Err(BuildError::new(NAME, "texts = []", "expected one text or more"));
        }
        if settings.delay_ms > DELAY_MAX {
            return Err(BuildError::new(
                NAME,
                format!("delay_ms = {}", settings.delay_ms),
                format!("expected 0 to {DELAY_MAX}"),
            ));
        }
        Ok(Engine::Local(Arc::new(Script(Arc::new(settings)))))
    }
}

struct Script(Arc<Settings>);

impl Local for Script {
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl Transcriber for Script {
    /// Panics where `panic_every` says so; that is what it is for.
    fn transcribe(&mut self, samples: &[f32], _: SegmentKind) -> Result<Transcript, Fault> {
        let script = &*self.0;
        std::thread::sleep(Duration::from_millis(script.delay_ms));
        let print = fingerprint(samples);
        // Each kind of trouble looks at other bits, so that one does not hide another.
        let chosen = |one_in: u64, turn: u32| one_in > 0 && print.rotate_right(turn).is_multiple_of(one_in);
        assert!(!chosen(script.panic_every, 0), "the script says to panic here");
        if chosen(script.fail_every, 21) {
            return Err(Fault::Backend("the script says to fail here".to_owned()));
        }
        let text = match script.texts.get(samples.len() / FRAME_SAMPLES % script.texts.len()) {
            Some(text) if !chosen(script.empty_every, 42) => text.trim(),
            _ => "",
        };
        let words = words(text, samples.len());
        let confidence = (!text.is_empty()).then_some(0.9);
        Ok(Transcript { text: Private(text.to_owned()), words, confidence, language: "en" })
    }
}

/// The words of `text`, each as long as the next, over `samples` samples.
fn words(text: &str, samples: usize) -> Vec<Word> {
    let texts: Vec<_> = text.split_whitespace().collect();
    let ms = samples as u64 * 1000 / u64::from(PIPELINE_HZ);
    let place = |word: usize| ms * word as u64 / texts.len() as u64;
    let word = |(at, text): (usize, &&str)| Word {
        text: Private((*text).to_owned()),
        start_ms: place(at),
        end_ms: place(at + 1),
        confidence: Some(0.9),
    };
    texts.iter().enumerate().map(word).collect()
}

/// A number that depends on every sample (FNV-1a, its bits stirred at the end).
fn fingerprint(samples: &[f32]) -> u64 {
    let sum = samples.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, sample| {
        (sum ^ u64::from(sample.to_bits())).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (sum ^ (sum >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (sum >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(settings: &str) -> Box<dyn Transcriber> {
        Scripted.build(&settings.parse().unwrap(), &[]).unwrap().open().unwrap()
    }

    /// The nth of a number of utterances that are all different.
    fn utterance(n: usize) -> Vec<f32> {
        (0..800).map(|i| ((n * 1009 + i * 31) % 2000) as f32 / 1000.0 - 1.0).collect()
    }

    #[test]
    fn the_text_is_chosen_by_duration() {
        let mut script = open(r#"texts = ["zero", "one", "two words"]"#);
        for (frames, text) in [(0, "zero"), (1, "one"), (2, "two words"), (3, "zero"), (7, "one")] {
            let answer = script.transcribe(&vec![0.5; frames * FRAME_SAMPLES + 5], SegmentKind::Final).unwrap();
            assert_eq!(answer.text.0, text, "{frames} frames");
        }
    }

    #[test]
    fn words_share_the_duration() {
        let answer = open(r#"texts = ["a bc d"]"#).transcribe(&[0.0; 4800], SegmentKind::Final).unwrap();
        let times: Vec<_> =
            answer.words.iter().map(|word| (word.text.0.as_str(), word.start_ms, word.end_ms)).collect();
        assert_eq!(times, [("a", 0, 100), ("bc", 100, 200), ("d", 200, 300)]);
    }

    #[test]
    fn trouble_strikes_about_as_often_as_asked_and_always_the_same_utterances() {
        let mut script = open("fail_every = 4\nempty_every = 3");
        let mut answers =
            || -> Vec<_> { (0..600).map(|n| script.transcribe(&utterance(n), SegmentKind::Final)).collect() };
        let first = answers();
        assert_eq!(first, answers());
        let failed = first.iter().filter(|answer| answer.is_err()).count();
        let empty = first.iter().flatten().filter(|answer| answer.text.0.is_empty()).count();
        assert!((90..=210).contains(&failed), "{failed} of 600 failed");
        assert!((90..=210).contains(&empty), "{empty} of 600 were empty");
    }

    #[test]
    fn one_in_one_is_every_one_and_zero_is_none() {
        for n in 0..50 {
            assert!(open("fail_every = 1").transcribe(&utterance(n), SegmentKind::Final).is_err());
            assert_eq!(open("empty_every = 1").transcribe(&utterance(n), SegmentKind::Final).unwrap().text.0, "");
            assert!(open("fail_every = 0").transcribe(&utterance(n), SegmentKind::Final).is_ok());
            let mut panics = open("panic_every = 1");
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                panics.transcribe(&utterance(n), SegmentKind::Final).is_ok()
            }));
            assert!(outcome.is_err());
        }
    }

    #[test]
    fn settings_out_of_range_name_the_key() {
        for (settings, key) in
            [("texts = []", "texts"), ("delay_ms = 60001", "delay_ms = 60001"), ("fail_every = -1", "fail_every")]
        {
            let text = Scripted.build(&settings.parse().unwrap(), &[]).err().unwrap().to_string();
            assert!(text.contains(key) && text.contains("expected"), "{text}");
        }
    }
}
