//! The voices of a script, read from their files; and the script that a bare recording is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::person::Voice;
use super::script::{self, Address, AudioOffset, Party, Script};
use crate::audio::resample::Resampler;
use crate::audio::wav::{self, Wav, WavError};
use crate::types::Private;
use crate::types::rate::{FRAME_SAMPLES, PIPELINE_HZ};

/// Longest voice: two hours, 230 MB.
pub const VOICE_SAMPLES_MAX: usize = 2 * 60 * 60 * PIPELINE_HZ as usize;
/// Most voices of a script.
pub const VOICES_MAX: usize = 64;
/// The caller's number where only a recording is given: one that is kept for fiction.
pub const CALLER_NUMBER: &str = "447700900000";
/// The number dialled there.
pub const APPLICATION_NUMBER: &str = "442079460000";

/// Why a script's voices cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file is no WAV file that we take.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// A file has no such channel.
    #[error("{}: channel is {channel}; expected 0 to {} in this file", path.display(), channels - 1)]
    Channel {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        channel: usize,
        /// How many there are.
        channels: usize,
    },
    /// A voice is too long.
    #[error("{}: is longer than two hours", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There are too many voices.
    #[error("the script has more than {VOICES_MAX} different voices")]
    TooMany,
    /// A recording that has no caller, or more than two sides.
    #[error("the recording has the speakers {0:?}; expected caller, or agent and caller")]
    Speakers(Vec<String>),
}

/// Voices by file and channel.
#[derive(Debug, Clone, Default)]
pub struct Voices(HashMap<(PathBuf, usize), Voice>);

impl Voices {
    /// Reads every voice that the script names; relative paths are below `base`.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn read(script: &Script, base: &Path) -> Result<Self, StageError> {
        let callers = script.calls.iter().map(|call| &call.caller);
        let parties = script.parties.iter().map(|party| &party.person);
        let mut voices = Self::default();
        for person in callers.chain(parties) {
            let Some(path) = &person.wav else { continue };
            if !voices.0.contains_key(&(path.clone(), person.channel)) {
                voices.add(path, wav::read(&base.join(path))?, person.channel)?;
            }
        }
        Ok(voices)
    }

    /// Takes the channels of a recording in under a name.
    ///
    /// # Errors
    /// [`StageError`], where it has no such channel, or too much.
    pub fn add(&mut self, path: &Path, wav: Wav, channel: usize) -> Result<(), StageError> {
        let channels = wav.channels.len();
        let samples = wav.channels.get(channel).ok_or_else(|| {
            let path = path.to_owned();
            StageError::Channel { path, channel, channels }
        })?;
        if samples.len() / wav.rate.frame_samples() > VOICE_SAMPLES_MAX / FRAME_SAMPLES {
            return Err(StageError::TooLong { path: path.to_owned() });
        }
        if self.0.len() == VOICES_MAX {
            return Err(StageError::TooMany);
        }
        self.0.insert((path.to_owned(), channel), voice(samples, wav.rate));
        Ok(())
    }

    /// The voice of a person; an empty one where it has none.
    #[must_use]
    pub fn of(&self, person: &script::Person) -> Voice {
        let named = |path: &PathBuf| self.0.get(&(path.clone(), person.channel)).cloned();
        person.wav.as_ref().and_then(named).unwrap_or_else(|| Voice::from([]))
    }
}

/// A voice at 16 kHz, whole frames, silence at the end.
#[must_use]
pub fn voice(samples: &[i16], rate: crate::types::Rate) -> Voice {
    let mut resampler = Resampler::new(rate);
    let mut out = Vec::with_capacity(samples.len() / rate.frame_samples() * FRAME_SAMPLES + FRAME_SAMPLES);
    let mut input = vec![0; rate.frame_samples()];
    let mut frame = [0; FRAME_SAMPLES];
    for chunk in samples.chunks(rate.frame_samples()) {
        input.fill(0);
        input[..chunk.len()].copy_from_slice(chunk);
        match &mut resampler {
            Some(resampler) => resampler.process(&input, &mut frame),
            None => frame.copy_from_slice(&input),
        }
        out.extend_from_slice(&frame);
    }
    out.into()
}

/// The call that a recording is: its caller calls, and whoever is called or connected is
/// its agent, both in step from when they are together. `speakers` names the channels.
///
/// # Errors
/// [`StageError`].
pub fn recorded_call(name: &Path, wav: Wav, speakers: &[String]) -> Result<(Script, Voices), StageError> {
    let refused = || StageError::Speakers(speakers.to_vec());
    let caller = speakers.iter().position(|speaker| speaker == "caller").ok_or_else(refused)?;
    if speakers.len() > 2 || speakers.len() != wav.channels.len() {
        return Err(refused());
    }
    let agent = (0..speakers.len()).find(|channel| *channel != caller);
    let person = |channel: Option<usize>, audio_offset| script::Person {
        wav: channel.map(|_| name.to_owned()),
        channel: channel.unwrap_or_default(),
        audio_offset,
        ..Default::default()
    };
    let starts = if agent.is_some() { AudioOffset::Joined } else { AudioOffset::Answer };
    let party = |address: fn(Private<String>) -> Address| Party {
        address: address(Private(script::ANY.to_owned())),
        answer_after_ms: 500,
        busy: false,
        reject: false,
        no_answer: false,
        unreachable: false,
        machine: false,
        person: person(agent, AudioOffset::Call),
    };
    let script = Script {
        seed: None,
        calls: vec![script::Call {
            at_ms: 0,
            from: Private(CALLER_NUMBER.to_owned()),
            to: Private(APPLICATION_NUMBER.to_owned()),
            caller: person(Some(caller), starts),
        }],
        parties: [Address::Phone, Address::Sip, Address::App, Address::Vbc].map(party).into(),
    };
    let mut voices = Voices::default();
    for channel in 0..wav.channels.len() {
        voices.add(name, wav.clone(), channel)?;
    }
    Ok((script, voices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Rate;

    fn stereo() -> Wav {
        Wav { rate: Rate::Hz8000, channels: vec![vec![1000; 8_001], vec![-1000; 8_001]] }
    }

    #[test]
    fn a_stereo_recording_is_a_call_of_two() {
        let speakers = ["agent".to_owned(), "caller".to_owned()];
        let (script, voices) = recorded_call(Path::new("x.wav"), stereo(), &speakers).unwrap();
        assert_eq!(script.problems(), [] as [String; 0]);
        let caller = voices.of(&script.calls[0].caller);
        let agent = voices.of(&script.parties[0].person);
        assert_eq!((caller.len(), agent.len()), (51 * 320, 51 * 320), "whole frames at 16 kHz");
        assert!(caller[8_000] < -900 && agent[8_000] > 900, "{} {}", caller[8_000], agent[8_000]);
        assert_eq!(script.calls[0].caller.audio_offset, AudioOffset::Joined);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let text = |error: StageError| error.to_string();
        let three = Wav { rate: Rate::Hz8000, channels: vec![vec![0; 160]; 3] };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            text(recorded_call(Path::new("x"), three, &names(&["a", "b", "caller"])).unwrap_err()),
            r#"the recording has the speakers ["a", "b", "caller"]; expected caller, or agent and caller"#
        );
        assert_eq!(
            text(Voices::default().add(Path::new("x"), stereo(), 2).unwrap_err()),
            "x: channel is 2; expected 0 to 1 in this file"
        );
    }
}
