//! Where speech is in a recording, and how well a detector found it.
//!
//! The truth about a clean recording is a rule, for nobody marked these by hand: a frame of
//! 20 ms is speech when it is within [`BELOW_LOUD_DB`] of the recording's loud frames (their
//! 95th percentile) and [`ABOVE_FLOOR_DB`] above its quiet ones (their 5th percentile). A
//! pause shorter than [`PAUSE_MIN_MS`] belongs to the speech around it, speech shorter than
//! [`SPEECH_MIN_MS`] is a click. The rule looks at levels, so it favours detectors that do.

use crate::audio::level::{dbfs, power};
use crate::types::rate::{FRAME_MS, FRAME_SAMPLES, Frame};

/// Speech is at most so much softer than the loud frames, in dB.
pub const BELOW_LOUD_DB: f32 = 30.0;

/// Speech is at least so much louder than the quiet frames, in dB.
pub const ABOVE_FLOOR_DB: f32 = 9.0;

/// What is this close to the loud frames is speech whatever the quiet ones are, in dB.
const NO_PAUSE_DB: f32 = 6.0;

/// A shorter pause is speech, in ms.
pub const PAUSE_MIN_MS: u64 = 300;

/// Shorter speech is none, in ms.
pub const SPEECH_MIN_MS: u64 = 60;

/// For how long a detector may be early at an onset, or late at an offset, and still mean
/// that one, in ms.
const NEAR_MS: u64 = 1_000;

/// Whether each 20 ms frame of a clean recording, 16 kHz, is speech.
#[must_use]
pub fn truth(samples: &[i16]) -> Vec<bool> {
    let levels: Vec<f32> = samples.as_chunks::<FRAME_SAMPLES>().0.iter().map(|frame| dbfs(power(frame))).collect();
    let mut sorted = levels.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: f32| sorted.get((sorted.len() as f32 * share) as usize).copied().unwrap_or(-100.0);
    let (floor, loud) = (at(0.05), at(0.95));
    // Where there is hardly a pause, the quiet frames are speech too.
    let least = (loud - BELOW_LOUD_DB).max((floor + ABOVE_FLOOR_DB).min(loud - NO_PAUSE_DB));
    let mut speech: Vec<bool> = levels.iter().map(|&level| level >= least).collect();
    for (start, end) in stretches(&speech.iter().map(|&is| !is).collect::<Vec<_>>()) {
        let inside = start > 0 && end < speech.len();
        if inside && ((end - start) as u64) * FRAME_MS < PAUSE_MIN_MS {
            speech[start..end].fill(true);
        }
    }
    for (start, end) in stretches(&speech) {
        if ((end - start) as u64) * FRAME_MS < SPEECH_MIN_MS {
            speech[start..end].fill(false);
        }
    }
    speech
}

/// First and one past the last frame of each run of `true`.
fn stretches(frames: &[bool]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = None;
    for (n, &is) in frames.iter().chain([&false]).enumerate() {
        match (is, from) {
            (true, None) => from = Some(n),
            (false, Some(start)) => {
                found.push((start, n));
                from = None;
            }
            _ => {}
        }
    }
    found
}

/// Scores as decisions, the way the endpointer takes them: speech begins at a score of
/// `open` and lasts as long as scores are at least `close`.
pub fn decided(scores: impl Iterator<Item = f32>, open: f32, close: f32) -> Vec<bool> {
    let mut speaking = false;
    let decide = |score| {
        speaking = score >= if speaking { close } else { open };
        speaking
    };
    scores.map(decide).collect()
}

/// How decisions compare with the truth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Frames of speech that were found.
    pub hits: u64,
    /// Frames of speech that were not.
    pub misses: u64,
    /// Frames without speech that were taken for it.
    pub false_alarms: u64,
    /// Frames without speech that were left alone.
    pub quiet: u64,
    /// For each stretch of speech that was found: how late its beginning was, in ms; below
    /// zero for early.
    pub onsets_ms: Vec<f32>,
    /// How late its end was, in ms; below zero for early.
    pub offsets_ms: Vec<f32>,
    /// Stretches of speech in which nothing was found.
    pub unheard: u64,
}

impl Outcome {
    /// Compares decisions about frames with the truth about them.
    #[must_use]
    pub fn of(truth: &[bool], decided: &[bool]) -> Self {
        let mut outcome = Self::default();
        for (truth, decided) in truth.iter().zip(decided) {
            match (truth, decided) {
                (true, true) => outcome.hits += 1,
                (true, false) => outcome.misses += 1,
                (false, true) => outcome.false_alarms += 1,
                (false, false) => outcome.quiet += 1,
            }
        }
        let near = (NEAR_MS / FRAME_MS) as usize;
        let n = truth.len().min(decided.len());
        let spoken = stretches(&truth[..n]);
        for (place, &(start, end)) in spoken.iter().enumerate() {
            let after_last = place.checked_sub(1).map_or(0, |before| spoken[before].1);
            let before_next = spoken.get(place + 1).map_or(n, |next| next.0);
            let Some(found) = decided[start..end].iter().position(|&is| is) else {
                outcome.unheard += 1;
                continue;
            };
            let mut first = start + found;
            let earliest = start.saturating_sub(near).max(after_last);
            while first > earliest && first <= start && decided[first - 1] {
                first -= 1;
            }
            let mut last = end - decided[start..end].iter().rev().position(|&is| is).unwrap_or_default();
            let latest = (end + near).min(before_next);
            while last < latest && last >= end && decided[last] {
                last += 1;
            }
            let ms = |from: usize, to: usize| (to as f32 - from as f32) * FRAME_MS as f32;
            outcome.onsets_ms.push(ms(start, first));
            outcome.offsets_ms.push(ms(end, last));
        }
        outcome
    }

    /// Adds another scene's.
    pub fn add(&mut self, more: Self) {
        self.hits += more.hits;
        self.misses += more.misses;
        self.false_alarms += more.false_alarms;
        self.quiet += more.quiet;
        self.onsets_ms.extend(more.onsets_ms);
        self.offsets_ms.extend(more.offsets_ms);
        self.unheard += more.unheard;
    }

    /// Of the frames taken for speech, the share that is; 0 to 1.
    #[must_use]
    pub fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.false_alarms).max(1) as f64
    }

    /// Of the frames of speech, the share that was found; 0 to 1.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }

    /// Harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        2.0 * self.hits as f64 / (2 * self.hits + self.misses + self.false_alarms).max(1) as f64
    }

    /// Seconds without speech taken for it.
    #[must_use]
    pub fn false_alarm_s(&self) -> f64 {
        (self.false_alarms * FRAME_MS) as f64 / 1_000.0
    }
}

/// The value below which `share` (0 to 1) of `values` lie; none of none.
#[must_use]
pub fn quantile(values: &[f32], share: f64) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied()
}

/// Frames of a recording, 16 kHz; a rest shorter than a frame is left out.
#[must_use]
pub fn frames(samples: &[i16]) -> &[Frame] {
    samples.as_chunks::<FRAME_SAMPLES>().0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of a square wave, `#` loud, `-` 20 dB below, `.` all but silent.
    fn audio(pattern: &str) -> Vec<i16> {
        let level = |c| match c {
            '#' => 8_000,
            '-' => 800,
            _ => 4_i16,
        };
        pattern
            .chars()
            .flat_map(|c| (0..FRAME_SAMPLES).map(move |i| if i % 2 == 0 { level(c) } else { -level(c) }))
            .collect()
    }

    fn marks(frames: &[bool]) -> String {
        frames.iter().map(|&is| if is { '#' } else { '.' }).collect()
    }

    fn unmarked(marks: &str) -> Vec<bool> {
        marks.chars().map(|c| c == '#').collect()
    }

    #[test]
    fn short_pauses_are_speech_and_clicks_are_not() {
        let long = ".".repeat(15);
        let pattern = format!("{long}####-----##......####{long}##{long}###{long}");
        let expected = format!("{long}#####################{long}..{long}###{long}");
        assert_eq!(marks(&truth(&audio(&pattern))), expected);
    }

    #[test]
    fn a_recording_that_is_all_speech_or_nothing_has_its_truth() {
        assert_eq!(marks(&truth(&audio("##########"))), "##########");
        assert_eq!(truth(&[]), Vec::<bool>::new());
    }

    #[test]
    fn decisions_have_the_endpointers_hysteresis() {
        let scores = [0.4, 0.6, 0.4, 0.34, 0.4, 0.5];
        assert_eq!(marks(&decided(scores.into_iter(), 0.5, 0.35)), ".##..#");
    }

    #[test]
    fn frames_and_edges_are_counted() {
        let truth = unmarked("....#####.....####....##..");
        let found = unmarked("..#######.......##.#......");
        let outcome = Outcome::of(&truth, &found);
        assert_eq!((outcome.hits, outcome.misses, outcome.false_alarms, outcome.quiet), (7, 4, 3, 12));
        assert_eq!(
            (outcome.onsets_ms.as_slice(), outcome.offsets_ms.as_slice()),
            (&[-40.0, 40.0][..], &[0.0, 0.0][..])
        );
        assert_eq!(outcome.unheard, 1);
        assert!((outcome.precision() - 0.7).abs() < 1e-9 && (outcome.recall() - 7.0 / 11.0).abs() < 1e-9);
        assert!((outcome.false_alarm_s() - 0.06).abs() < 1e-9);
    }

    #[test]
    fn an_end_that_is_late_or_early_is_told_and_never_reaches_the_next_speech() {
        let outcome = Outcome::of(&unmarked("..###..##.."), &unmarked("..#######.."));
        assert_eq!(outcome.offsets_ms, [40.0, 0.0]);
        assert_eq!(outcome.onsets_ms, [0.0, -40.0]);
        assert_eq!(Outcome::of(&unmarked(".####."), &unmarked("..##..")).offsets_ms, [-20.0]);
    }

    #[test]
    fn quantiles_are_of_what_there_is() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), Some(3.0));
    }
}
