//! What the legs say: recordings taken apart into utterances, and who says which of them
//! when, as people do who take turns.
//!
//! All legs share the messages; a leg knows only which comes next.

use std::ops::Range;

use super::draw::Draw;
use super::frame::Messages;
use crate::audio::level::{dbfs, power};
use crate::types::Rate;
use crate::types::rate::FRAME_MS;

/// Frames of a quiet room, played in turn while a leg listens: a line is never digitally
/// silent.
const QUIET_FRAMES: usize = 50;

/// Loudest sample of that room, of 32,767: −66 dBFS.
const QUIET_PEAK: f64 = 16.0;

/// Below the loudest frames by so much it is no speech, in dB.
const SPEECH_RANGE_DB: f32 = 35.0;

/// A pause shorter than this does not end an utterance, in frames.
const PAUSE: usize = 20;

/// Kept before and after an utterance, in frames: the ends of words are quiet.
const EDGE: usize = 5;

/// What is shorter is a click, in frames.
const UTTERANCE_MIN: usize = 15;

/// What is longer becomes several, in frames.
const UTTERANCE_MAX: usize = 750;

/// Most recorded audio, in seconds; messages are kept in memory.
pub const SPEECH_S_MAX: usize = 1_800;

/// Messages and where utterances lie in them. The first [`QUIET_FRAMES`] are the quiet room.
#[derive(Debug)]
pub struct Speech {
    /// Every frame that may be sent.
    pub messages: Messages,
    utterances: Vec<Range<u32>>,
}

impl Speech {
    /// Takes recordings apart, each mono at `rate`.
    ///
    /// # Errors
    /// When there is no speech in them, or too much audio.
    pub fn new(recordings: &[Vec<i16>], rate: Rate) -> Result<Self, String> {
        let samples = rate.frame_samples();
        let seconds = recordings.iter().map(Vec::len).sum::<usize>() / rate.hz() as usize;
        if seconds > SPEECH_S_MAX {
            return Err(format!("{seconds} s of audio; expected at most {SPEECH_S_MAX} s over all files"));
        }
        let mut draw = Draw::new(0, 0);
        let quiet = || ((draw.unit() - draw.unit()) * QUIET_PEAK) as i16;
        let mut audio: Vec<i16> = std::iter::repeat_with(quiet).take(QUIET_FRAMES * samples).collect();
        let mut utterances = Vec::new();
        for recording in recordings {
            let base = audio.len() / samples;
            let found = utterances_in(recording, samples).into_iter();
            utterances.extend(found.map(|range| (base + range.start) as u32..(base + range.end) as u32));
            audio.extend_from_slice(&recording[..recording.len() / samples * samples]);
        }
        if utterances.is_empty() {
            return Err(format!("no speech was found in {seconds} s of audio"));
        }
        Ok(Self { messages: Messages::of(&audio, samples), utterances })
    }

    /// How many utterances there are.
    #[must_use]
    pub fn utterances(&self) -> usize {
        self.utterances.len()
    }

    /// Length of all utterances together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.utterances.iter().map(ExactSizeIterator::len).sum::<usize>() as f64 * FRAME_MS as f64 / 1000.0
    }
}

/// Stretches of speech, in frames: what is within 35 dB of the loudest twentieth.
fn utterances_in(recording: &[i16], samples: usize) -> Vec<Range<usize>> {
    let levels: Vec<f32> = recording.chunks_exact(samples).map(|frame| dbfs(power(frame))).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let Some(loud) = sorted.get(sorted.len() * 19 / 20) else { return Vec::new() };
    // Nothing but a quiet line in it.
    let least = (loud - SPEECH_RANGE_DB).max(-55.0);
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for at in (0..levels.len()).filter(|at| levels[*at] > least) {
        match stretches.last_mut() {
            Some(last) if at - last.end < PAUSE => last.end = at + 1,
            _ => stretches.push(at..at + 1),
        }
    }
    let long_enough = stretches.into_iter().filter(|stretch| stretch.len() >= UTTERANCE_MIN);
    let with_edges = long_enough.map(|s| s.start.saturating_sub(EDGE)..(s.end + EDGE).min(levels.len()));
    with_edges
        .flat_map(|s| s.clone().step_by(UTTERANCE_MAX).map(move |at| at..(at + UTTERANCE_MAX).min(s.end)))
        .collect()
}

/// One leg's share in a conversation: an utterance, a pause in proportion to it, the next.
#[derive(Debug, Clone)]
pub struct Turns {
    draw: Draw,
    talk: f32,
    next: u32,
    left: u32,
    speaking: bool,
    /// Length of the last utterance.
    spoken: u32,
}

impl Turns {
    /// The turns of leg number `leg`. `talk`: the share of time with speech, 0 to 1.
    #[must_use]
    pub fn new(seed: u64, leg: u64, talk: f32, speech: &Speech) -> Self {
        let mut draw = Draw::new(seed, leg);
        // Nobody begins at the same time as all others.
        let mean = speech.seconds() * 1000.0 / FRAME_MS as f64 / speech.utterances() as f64;
        let cycle = if talk > 0.0 { mean / f64::from(talk) } else { 0.0 };
        let left = (cycle * draw.unit()) as u32;
        Self { draw, talk, next: 0, left, speaking: false, spoken: 0 }
    }

    /// The place in [`Speech::messages`] of the frame that comes next.
    pub fn next(&mut self, speech: &Speech) -> u32 {
        while self.left == 0 {
            self.turn(speech);
        }
        self.left -= 1;
        let at = self.next;
        self.next += 1;
        if !self.speaking {
            self.next %= QUIET_FRAMES as u32;
        }
        at
    }

    fn turn(&mut self, speech: &Speech) {
        if self.talk <= 0.0 {
            (self.next, self.left) = (0, QUIET_FRAMES as u32);
        } else if self.speaking {
            let mean = f64::from(self.spoken) * f64::from(1.0 - self.talk) / f64::from(self.talk);
            (self.speaking, self.next, self.left) = (false, 0, (mean * (0.5 + self.draw.unit())).round() as u32);
        } else {
            let utterance = &speech.utterances[self.draw.below(speech.utterances())];
            (self.speaking, self.next, self.left) = (true, utterance.start, utterance.len() as u32);
            self.spoken = self.left;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;
    use crate::audio::wav;

    fn demo() -> Speech {
        let call = include_bytes!("../../models/demo-call/call.wav");
        let call = wav::decode(Cursor::new(call), Path::new("call.wav")).unwrap();
        Speech::new(&call.channels, call.rate).unwrap()
    }

    #[test]
    fn a_recording_is_taken_apart_where_nobody_speaks() {
        let loud = |frames: usize| (0..frames * 160).map(|n| if n % 2 == 0 { 3_000 } else { -3_000 });
        let quiet = |frames: usize| (0..frames * 160).map(|n| (n % 3) as i16);
        let recording: Vec<i16> = quiet(40)
            .chain(loud(50))
            .chain(quiet(10))
            .chain(loud(20))
            .chain(quiet(60))
            .chain(loud(5))
            .chain(quiet(30))
            .collect();
        let found = utterances_in(&recording, 160);
        assert_eq!((found.len(), found[0].clone()), (1, 35..125), "a short pause does not divide, a click is none");
        let long: Vec<i16> = loud(1_600).collect();
        assert_eq!(utterances_in(&long, 160), [0..750, 750..1_500, 1_500..1_600]);
        assert!(utterances_in(&quiet(100).collect::<Vec<_>>(), 160).is_empty());
        assert!(utterances_in(&[], 160).is_empty());
    }

    #[test]
    fn what_has_no_speech_is_refused_in_words() {
        let error = |audio: Vec<i16>| Speech::new(&[audio], Rate::Hz8000).unwrap_err();
        assert_eq!(error(vec![0; 80_000]), "no speech was found in 10 s of audio");
        assert_eq!(error(vec![0; 8_000 * 2_000]), "2000 s of audio; expected at most 1800 s over all files");
    }

    #[test]
    fn a_leg_speaks_as_much_as_it_is_told() {
        let speech = demo();
        assert!(speech.utterances() > 10, "{} utterances", speech.utterances());
        for talk in [0.0, 0.2, 0.45, 0.8, 1.0] {
            let (mut spoken, mut all) = (0_u32, 0_u32);
            for leg in 0..40 {
                let mut turns = Turns::new(9, leg, talk, &speech);
                for _ in 0..6_000 {
                    spoken += u32::from(turns.next(&speech) >= QUIET_FRAMES as u32);
                    all += 1;
                }
            }
            let share = spoken as f32 / all as f32;
            assert!((share - talk).abs() < 0.04, "asked for {talk}, got {share}");
        }
    }

    #[test]
    fn every_frame_is_one_there_is_and_a_seed_repeats_them() {
        let speech = demo();
        let frames = |seed, leg| {
            let mut turns = Turns::new(seed, leg, 0.5, &speech);
            (0..3_000).map(|_| turns.next(&speech)).collect::<Vec<_>>()
        };
        assert_eq!(frames(1, 2), frames(1, 2));
        assert!(frames(1, 2) != frames(2, 2) && frames(1, 2) != frames(1, 3));
        assert!(frames(1, 2).iter().all(|at| (*at as usize) < speech.messages.count()));
    }
}
