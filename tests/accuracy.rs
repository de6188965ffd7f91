//! The default transcriber, and the quick one beside it, on the demonstration call: real
//! decoding of telephone audio against the words that were said.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use sidetone::asr::{Backend, Before, Transcriber};
use sidetone::audio::resample::Resampler;
use sidetone::audio::{level, wav};
use sidetone::models::{Store, default_root};
use sidetone::types::SegmentKind;
use sidetone::types::rate::FRAME_SAMPLES;

/// Fewest words of each hundred that must be heard right. 99 are at the time of writing.
const RIGHT_MIN: usize = 95;

/// Lower case, without punctuation.
fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace(|c: char| !c.is_alphanumeric() && c != ' ', "");
    plain.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Fewest words put in, left out or changed that make `heard` of `said`.
fn errors(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let best = (corner + usize::from(word != other)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[heard.len()]
}

#[test]
fn the_demonstration_call_is_understood() {
    let default = sidetone::asr::BACKENDS[0];
    if let Some(ways) = is_understood(default) {
        assert!(ways.joined > 0, "no turn was heard with the one before");
    }
    if let Some(ways) = is_understood(sidetone::asr::find(default.quicker().unwrap()).unwrap()) {
        // It is what an overloaded gateway is saved by.
        assert!(ways.together > 1, "nothing to gain from waiting together");
    }
}

/// A transcriber ready to be asked, if it can be had here.
fn open(backend: &dyn Backend) -> Option<Box<dyn Transcriber>> {
    let store = Store::new(default_root(|name| std::env::var_os(name)).unwrap_or_else(std::env::temp_dir));
    let fetch = |name: &&str| store.fetch(name, false, &mut |_| {});
    let models = match backend.models(&toml::Table::new()).iter().map(fetch).collect::<Result<Vec<_>, _>>() {
        Ok(models) => models,
        Err(error) => {
            // Past the test harness's capture: a skipped test must show.
            let skipped = format!("SKIPPED the demonstration call, {}: {error}\n", backend.name());
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            return None;
        }
    };
    Some(backend.build(&toml::Table::new(), &models).unwrap().open().unwrap())
}

/// The ways in which turns were heard, besides each alone.
struct Ways {
    /// How many are decoded together.
    together: usize,
    /// How many were heard after another of the same speaker.
    joined: usize,
}

/// None where it cannot be had here.
fn is_understood(backend: &dyn Backend) -> Option<Ways> {
    let mut transcriber = open(backend)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-call");
    let call = wav::read(&folder.join("call.wav")).unwrap();
    let reference = std::fs::read_to_string(folder.join("reference.tsv")).unwrap();
    let (mut said_in_all, mut wrong, mut wrong_together) = (0, 0, 0);
    let (mut joined, mut said_joined, mut wrong_joined) = (0, 0, 0);
    let mut last: HashMap<String, (Vec<f32>, String)> = HashMap::new();
    let mut turns = Vec::new();
    for turn in reference.lines().skip(1) {
        let [start, end, speaker, text] = turn.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let at = |seconds: &str| (seconds.parse::<f64>().unwrap() * f64::from(call.rate.hz())) as usize;
        let channel = &call.channels[usize::from(speaker == "caller")][at(start)..at(end)];
        let mut resampler = Resampler::new(call.rate).unwrap();
        let mut wide = Vec::new();
        for frame in channel.chunks_exact(call.rate.frame_samples()) {
            let mut out = [0; FRAME_SAMPLES];
            resampler.process(frame, &mut out);
            wide.extend(out);
        }
        let mut audio = Vec::new();
        level::to_speech_level(&wide, &mut audio);
        let answer = transcriber.transcribe(&audio, SegmentKind::Final).unwrap();
        assert!(answer.confidence.is_some_and(|it| it > 0.5), "{turn}: {answer:?}");
        let said = words(text);
        wrong += errors(&said, &words(&answer.text.0));
        said_in_all += said.len();
        // As though the same speaker had paused for a moment only.
        if let Some((samples, text)) =
            last.get(speaker).filter(|(before, _)| before.len() + audio.len() <= transcriber.joined_max())
        {
            let answer = transcriber.transcribe_after(Before { samples, text }, &audio).unwrap();
            joined += 1;
            said_joined += said.len();
            wrong_joined += errors(&said, &words(&answer.text.0));
        }
        last.insert(speaker.to_owned(), (audio.clone(), answer.text.0));
        turns.push((said, audio));
    }
    // As they are decoded when they have to wait: turns of several lengths at a time.
    let together = transcriber.together();
    for turns in turns.chunks(together).filter(|_| together > 1) {
        let audio: Vec<_> = turns.iter().map(|(_, audio)| audio.clone()).collect();
        let mut answers = vec![None; turns.len()];
        transcriber.transcribe_together(&audio, &mut |place, answer| {
            assert!(answers[place].replace(answer.unwrap()).is_none(), "answered twice");
        });
        for ((said, _), answer) in turns.iter().zip(answers) {
            wrong_together += errors(said, &words(&answer.expect("not answered").text.0));
        }
    }
    let name = backend.name();
    let several = if together > 1 { format!(", {wrong_together} where they waited together") } else { String::new() };
    let after =
        if joined > 0 { format!(", {wrong_joined} of {said_joined} after the turn before") } else { String::new() };
    let _ =
        writeln!(std::io::stderr(), "demonstration call, {name}: of {said_in_all} words {wrong} wrong{several}{after}");
    assert!(said_in_all > 100);
    for (wrong, said) in [(wrong, said_in_all), (wrong_together, said_in_all), (wrong_joined, said_joined)] {
        assert!((said - wrong) * 100 >= said * RIGHT_MIN, "{wrong} of {said} words are wrong");
    }
    Some(Ways { together, joined })
}
