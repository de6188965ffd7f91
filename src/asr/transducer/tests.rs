//! The transducer as a whole, with a model that can be understood.

use super::super::Transcriber;
use super::*;
use crate::models::test_store;
use crate::types::{Fault, Private, SegmentKind, Transcript, Word};
use toy::{DEAF_AFTER, Family, lay_out};

pub(super) mod onnx;
pub(in crate::asr) mod toy;

/// A tone of so many Hz, 0 for none, and for how many ms.
type Tone = (f32, usize);

const LOW: f32 = 300.0;
const HIGH: f32 = 3_000.0;

/// Tones one after the other, with noise under them; the same on every machine.
fn sound(tones: &[Tone]) -> Vec<f32> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let tone = |&(hz, ms): &Tone| (0..ms * 16).map(move |n| (n as f32 * hz / 16_000.0 * std::f32::consts::TAU).sin());
    tones.iter().flat_map(tone).map(|sample| 0.3 * sample + 0.003 * noise()).collect()
}

/// The folder of the runtime; none where it cannot be had, which is told.
pub(super) fn runtime() -> Option<Vec<PathBuf>> {
    match test_store().fetch(crate::onnx::RUNTIME_MODEL, false, &mut |_| {}) {
        Ok(folder) => Some(vec![folder]),
        Err(reason) => {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "SKIPPED a test of the transducer: {reason}").unwrap();
            None
        }
    }
}

pub(super) fn build(folder: &Path, runtime: &[PathBuf]) -> Result<Engine, BuildError> {
    let table = toml::Table::from_iter([("model".to_owned(), folder.to_str().unwrap().into())]);
    Transducer.build(&table, runtime)
}

fn open(family: Family, shift: i64) -> Option<Box<dyn Transcriber>> {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), family, shift).unwrap();
    Some(build(folder.path(), &runtime()?).unwrap().open().unwrap())
}

fn hear(transcriber: &mut dyn Transcriber, audio: &[f32]) -> Transcript {
    transcriber.transcribe(audio, SegmentKind::Final).unwrap()
}

/// Every word with its begin and end.
fn places(transcript: &Transcript) -> Vec<(&str, u64, u64)> {
    transcript.words.iter().map(|word| (word.text.0.as_str(), word.start_ms, word.end_ms)).collect()
}

/// A sound, and what sherpa-onnx makes of it: the tokens it says, when each begins, in ms, and
/// with what log-probability.
struct Agreed {
    name: &'static str,
    sound: &'static [Tone],
    text: &'static str,
    tokens: &'static [(&'static str, u64, f32)],
}

/// What the Python package sherpa-onnx 2.0.1 gives, by `tests/agree.py`, of these sounds with
/// the toys of [`MODELS`]: each of them gives the same tokens at the same times, as likely to
/// four places. What was compared besides, with networks that are too large to keep here, is in
/// `models/README.md`.
const AGREED: [Agreed; 5] = [
    Agreed {
        name: "all",
        sound: &[
            (0.0, 300),
            (LOW, 300),
            (0.0, 300),
            (HIGH, 200),
            (0.0, 250),
            (LOW, 400),
            (0.0, 200),
            (HIGH, 300),
            (0.0, 200),
            (LOW, 107),
            (0.0, 103),
            (LOW, 100),
            (0.0, 500),
        ],
        text: "LOW HIGH THIRD HIGH LOW THIRD",
        tokens: &[
            (" LOW", 280, -0.127),
            (" HIGH", 840, -0.1553),
            (" THIRD", 1320, -0.1035),
            (" HIGH", 1880, -0.127),
            (" LOW", 2440, -0.127),
            (" THIRD", 2640, -0.1035),
        ],
    },
    Agreed {
        name: "lower",
        sound: &[
            (0.0, 411),
            (LOW, 205),
            (0.0, 133),
            (LOW, 300),
            (0.0, 200),
            (LOW, 171),
            (0.0, 200),
            (LOW, 150),
            (0.0, 150),
            (LOW, 200),
            (0.0, 90),
        ],
        text: "LOWER THIRD LOWER",
        tokens: &[
            (" LOW", 400, -0.127),
            ("ER", 720, -0.1553),
            (" THIRD", 1240, -0.1035),
            (" LOW", 1600, -0.127),
            ("ER", 1920, -0.1553),
        ],
    },
    Agreed {
        name: "unknown",
        sound: &[(HIGH, 150), (0.0, 250), (HIGH, 250), (0.0, 333), (HIGH, 250), (0.0, 200), (HIGH, 250)],
        text: "HIGH THIRD HIGH",
        tokens: &[(" HIGH", 0, -0.127), (" THIRD", 920, -0.1269), (" HIGH", 1400, -0.127)],
    },
    Agreed { name: "late", sound: &[(0.0, 1_303), (HIGH, 55)], text: "HIGH", tokens: &[(" HIGH", 1240, -0.127)] },
    Agreed { name: "none", sound: &[(0.0, 700)], text: "", tokens: &[] },
];

/// Families and chunks that sherpa-onnx was given.
const MODELS: [(Family, i64); 5] = [
    (Family::Lstm, 4),
    (Family::Lstm, 32),
    (Family::Zipformer2, 16),
    (Family::Zipformer2, 32),
    (Family::Zipformer2, 64),
];

/// Lays out models and sounds for `tests/agree.py`.
#[test]
#[ignore = "for a comparison with sherpa-onnx by hand"]
fn lays_out_what_sherpa_onnx_is_given() {
    let folder = std::env::temp_dir().join("sidetone-transducers");
    for (family, shift) in MODELS {
        let model = folder.join(format!("{family:?}-{shift}"));
        std::fs::create_dir_all(&model).unwrap();
        lay_out(&model, family, shift).unwrap();
    }
    for Agreed { name, sound: tones, .. } in AGREED {
        let bytes: Vec<u8> = sound(tones).iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{name}.f32")), bytes).unwrap();
    }
    use std::io::Write as _;
    writeln!(std::io::stderr(), "laid out in {}", folder.display()).unwrap();
}

/// However the audio falls into chunks, and whatever keeps the states between them.
#[test]
fn text_times_and_confidence_are_sherpas_with_every_chunk_and_family() {
    for (family, shift) in MODELS.into_iter().chain([(Family::Conformer, 8), (Family::Conformer, 32)]) {
        let Some(mut transcriber) = open(family, shift) else { return };
        for Agreed { name, sound: tones, text, tokens } in AGREED {
            let audio = sound(tones);
            let heard = hear(&mut *transcriber, &audio);
            let what = format!("{family:?} in chunks of {shift}, {name}: {heard:?}");
            assert_eq!(heard.text.0, text, "{what}");
            // sherpa-onnx knows tokens, not words: a word is those from one with a space on.
            let mut words: Vec<Vec<(u64, f32)>> = Vec::new();
            for &(token, start_ms, log_prob) in tokens {
                match words.last_mut() {
                    Some(word) if !token.starts_with(' ') => word.push((start_ms, log_prob)),
                    _ => words.push(vec![(start_ms, log_prob)]),
                }
            }
            let end = |ms: u64| (ms + 40).min(audio.len() as u64 / 16);
            let expected: Vec<_> = text
                .split_whitespace()
                .zip(&words)
                .map(|(text, word)| (text, word[0].0, end(word[word.len() - 1].0)))
                .collect();
            assert_eq!(places(&heard), expected, "{what}");
            let sure = |log_probs: &[f32]| (log_probs.iter().sum::<f32>() / log_probs.len() as f32).exp();
            for (word, expected) in heard.words.iter().zip(&words) {
                let expected = sure(&expected.iter().map(|token| token.1).collect::<Vec<_>>());
                assert!((word.confidence.unwrap() - expected).abs() < 1e-3, "{what}: {expected}");
            }
            let expected = sure(&tokens.iter().map(|token| token.2).collect::<Vec<_>>());
            assert!(heard.confidence.is_none_or(|it| (it - expected).abs() < 1e-3), "{what}: {expected}");
            assert_eq!(heard.confidence.is_none(), text.is_empty(), "{what}");
        }
    }
}

#[test]
fn a_conformer_is_told_how_many_of_its_frames_it_has_given() {
    let Some(mut transcriber) = open(Family::Conformer, 16) else { return };
    let deaf_ms = DEAF_AFTER as usize * 40;
    let before = [(0.0, 300), (LOW, 300), (0.0, deaf_ms - 900), (HIGH, 200)];
    let after = [(0.0, 300), (LOW, 300), (0.0, deaf_ms - 500), (HIGH, 200)];
    assert_eq!(hear(&mut *transcriber, &sound(&before)).text.0, "LOW HIGH");
    assert_eq!(hear(&mut *transcriber, &sound(&after)).text.0, "LOW");
}

#[test]
fn words_of_long_audio_are_placed_within_all_of_it() {
    let Some(mut transcriber) = open(Family::Lstm, 32) else { return };
    let heard = hear(&mut *transcriber, &sound(&[(0.0, 2_000), (LOW, 300), (0.0, 27_700), (HIGH, 300), (0.0, 300)]));
    let [(low, first, _), (high, second, end)] = places(&heard)[..] else { panic!("{heard:?}") };
    assert_eq!((low, high), ("LOW", "HIGH"));
    assert!(first.abs_diff(2_000) <= 60 && second.abs_diff(30_000) <= 60 && end == second + 40, "{heard:?}");
}

#[test]
fn text_that_goes_round_in_circles_is_a_fault() {
    let Some(mut transcriber) = open(Family::Lstm, 32) else { return };
    // LOWER THIRD, again and again.
    let rounds = |n: usize| sound(&[(LOW, 120), (0.0, 160)].repeat(3 * n));
    assert_eq!(hear(&mut *transcriber, &rounds(4)).text.0, ["LOWER THIRD"; 4].join(" "));
    for kind in [SegmentKind::Final, SegmentKind::Partial] {
        assert_eq!(transcriber.transcribe(&rounds(5), kind), Err(Fault::Looped));
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    for (table, said) in [
        ("", "model is empty"),
        ("model = \"/nowhere\"", "/nowhere"),
        ("model = \"/\"\nlanguage = \"\"", "language = \"\""),
        ("model = \"/\"\nlanguage = \"en GB\"", "language = \"en GB\""),
        ("model = \"/\"\nthreads = 0", "threads = 0"),
        ("model = \"/\"\nprovider = \"tpu\"", "tpu"),
    ] {
        let error = Transducer.build(&table.parse().unwrap(), &[PathBuf::from("/")]).err().unwrap().to_string();
        assert!(error.contains(said), "{error}, not {said}");
    }
    let error = Transducer.build(&"model = \"/\"".parse().unwrap(), &[]).err().unwrap().to_string();
    assert!(error.contains("sidetone models fetch"), "{error}");
}

#[test]
fn the_language_of_the_setting_is_that_of_transcripts() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    toy::lay(folder.path()).unwrap();
    let model = folder.path().to_str().unwrap().into();
    let table = toml::Table::from_iter([("model".to_owned(), model), ("language".to_owned(), "pt-BR".into())]);
    let mut transcriber = Transducer.build(&table, &runtime).unwrap().open().unwrap();
    assert_eq!(hear(&mut *transcriber, &sound(&[(LOW, 300)])).language, "pt-BR");
}

/// Goes round in circles unless there is a pause before the audio; then hears one word, from
/// 250 ms on.
struct Circling;

impl Network for Circling {
    fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        let looped = samples.iter().take(3_200).any(|sample| *sample != 0.0);
        let word = |text: &str| Word { text: Private(text.to_owned()), start_ms: 250, end_ms: 300, confidence: None };
        let words = if looped { Vec::new() } else { vec![word("once")] };
        Ok(Heard { tokens: vec![1], log_prob: -0.1, scored: 1, looped, words })
    }

    fn text(&self, tokens: &[u32]) -> String {
        vec!["once"; tokens.len()].join(" ")
    }

    fn language(&self) -> &'static str {
        "en"
    }
}

#[test]
fn words_heard_after_a_pause_that_is_not_in_the_audio_are_where_they_are_in_it() {
    let mut transcriber = local::engine(NAME, || Ok(Circling)).unwrap().open().unwrap();
    assert_eq!(places(&hear(&mut *transcriber, &[0.5; 16_000])), [("once", 50, 100)]);
}
