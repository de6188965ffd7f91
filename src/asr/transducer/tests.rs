//! The transducer as a whole, with a model that can be understood.

use super::super::Transcriber;
use super::*;
use crate::models::test_store;
use crate::types::{SegmentKind, Transcript};
use toy::{Family, lay_out};

mod onnx;
pub(in crate::asr) mod toy;

/// A tone of so many Hz, 0 for none, and for how many ms.
type Tone = (f32, usize);

/// Tones one after the other, with noise under them; the same on every machine.
fn tones(tones: &[Tone]) -> Vec<f32> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let tone = |&(hz, ms): &Tone| (0..ms * 16).map(move |n| (n as f32 * hz / 16_000.0 * std::f32::consts::TAU).sin());
    tones.iter().flat_map(tone).map(|sample| 0.3 * sample + 0.003 * noise()).collect()
}

const LOW: f32 = 300.0;
const HIGH: f32 = 3_000.0;

fn runtime() -> Vec<PathBuf> {
    vec![test_store().fetch(onnx_runtime(), false, &mut |_| {}).unwrap()]
}

fn onnx_runtime() -> &'static str {
    crate::onnx::RUNTIME_MODEL
}

fn build(folder: &Path) -> Result<Engine, BuildError> {
    let table = toml::Table::from_iter([("model".to_owned(), folder.to_str().unwrap().into())]);
    Transducer.build(&table, &runtime())
}

fn open(family: Family, shift: i64) -> Box<dyn Transcriber> {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), family, shift).unwrap();
    build(folder.path()).unwrap().open().unwrap()
}

fn hear(transcriber: &mut dyn Transcriber, audio: &[f32]) -> Transcript {
    transcriber.transcribe(audio, SegmentKind::Final).unwrap()
}

fn places(transcript: &Transcript) -> Vec<(&str, u64, u64)> {
    transcript.words.iter().map(|word| (word.text.0.as_str(), word.start_ms, word.end_ms)).collect()
}

#[test]
fn prints() {
    for shift in [8, 16, 32] {
    for family in [Family::Lstm, Family::Zipformer2, Family::Conformer] {
        let mut t = open(family, shift);
        let audio = tones(&[(0., 300), (LOW, 300), (0., 300), (HIGH, 200), (0., 250), (LOW, 400), (0., 200), (HIGH, 300), (0., 200), (LOW, 100), (0., 100), (LOW, 100), (0., 500)]);
        let heard = hear(&mut *t, &audio);
        eprintln!("{family:?} {shift} {:?} {:?} {:?}", heard.text.0, places(&heard), heard.confidence);
    }
    }
}
