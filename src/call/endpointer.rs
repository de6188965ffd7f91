//! From a likelihood for each frame to where speech starts and ends.
//!
//! ```text
//!            min_speech frames of speech           hangover frames without
//!  Quiet ───────────────────────────────► Speaking ───────────────────────► Quiet
//!                                          │    ▲
//!                                          └────┘ max_segment: Cut
//! ```

use super::config::Endpointing;
use crate::types::rate::FRAME_MS;

/// What one frame meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Not in speech.
    Quiet,
    /// Speech is now certain; it began up to pre-roll ago.
    Opened,
    /// In speech. `voiced` tells a voiced frame from a pause within the speech.
    Speaking {
        /// Whether this frame itself is speech.
        voiced: bool,
    },
    /// Speech ended with this frame, hangover included.
    Closed,
    /// Speech goes on, but the segment has reached its longest.
    Cut,
}

#[derive(Debug)]
pub(super) struct Endpointer {
    open_at: f32,
    close_at: f32,
    min_speech: u32,
    hangover: u32,
    hangover_long: u32,
    long: u32,
    max: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// `evidence`: voiced frames, less unvoiced ones since.
    Quiet { evidence: u32 },
    /// `quiet`: frames since the last voiced one. `frames`: length of the segment so far.
    Speaking { quiet: u32, frames: u32 },
}

fn frames(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(FRAME_MS)).unwrap_or(u32::MAX).max(1)
}

impl Endpointer {
    pub(super) fn new(config: &Endpointing) -> Self {
        let max = frames(config.max_segment_ms);
        Self {
            open_at: config.open_threshold,
            close_at: config.close_threshold,
            min_speech: frames(config.min_speech_ms),
            hangover: frames(config.hangover_ms),
            hangover_long: frames(config.hangover_ms.min(config.long_hangover_ms)),
            long: frames(config.long_segment_ms).min(max),
            max,
            state: State::Quiet { evidence: 0 },
        }
    }

    /// Frames that the pre-roll must hold beyond what was asked for: those it takes
    /// to become certain.
    pub(super) fn frames_to_open(&self) -> u32 {
        self.min_speech
    }

    /// Takes the score of the next frame.
    pub(super) fn step(&mut self, score: f32) -> Step {
        match &mut self.state {
            // Quiet ⇒ Quiet | Speaking
            State::Quiet { evidence } => {
                *evidence = if score >= self.open_at { *evidence + 1 } else { evidence.saturating_sub(1) };
                if *evidence < self.min_speech {
                    return Step::Quiet;
                }
                self.state = State::Speaking { quiet: 0, frames: 0 };
                Step::Opened
            }
            // Speaking ⇒ Speaking | Quiet
            State::Speaking { quiet, frames } => {
                let voiced = score >= self.close_at;
                *frames += 1;
                *quiet = if voiced { 0 } else { *quiet + 1 };
                // The longer a segment, the shorter a pause may end it: better at a
                // breath than in the middle of a word.
                let hangover = if *frames >= self.long { self.hangover_long } else { self.hangover };
                if *quiet >= hangover {
                    self.state = State::Quiet { evidence: 0 };
                    Step::Closed
                } else if *frames >= self.max {
                    Step::Cut
                } else {
                    Step::Speaking { voiced }
                }
            }
        }
    }

    /// Frames until a step may be more than [`Step::Quiet`] or [`Step::Speaking`], whatever
    /// they hold; at least 1.
    pub(super) fn frames_to_decide(&self) -> u32 {
        let soonest = match self.state {
            State::Quiet { evidence } => self.min_speech.saturating_sub(evidence),
            State::Speaking { quiet, frames } => {
                let long = self.hangover_long.saturating_sub(quiet).max(self.long.saturating_sub(frames));
                self.hangover.saturating_sub(quiet).min(long).min(self.max.saturating_sub(frames))
            }
        };
        soonest.max(1)
    }

    /// Sets the length so far of the segment now open: after it was opened with its
    /// pre-roll, or after a cut.
    pub(super) fn set_open_frames(&mut self, length: u32) {
        if let State::Speaking { frames, .. } = &mut self.state {
            *frames = length;
        }
    }

    /// Back to quiet, as after a hole in the audio.
    pub(super) fn reset(&mut self) {
        self.state = State::Quiet { evidence: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Endpointing {
        Endpointing {
            open_threshold: 0.5,
            close_threshold: 0.3,
            min_speech_ms: 60,
            hangover_ms: 100,
            pre_roll_ms: 200,
            long_segment_ms: 400,
            long_hangover_ms: 40,
            max_segment_ms: 600,
        }
    }

    /// One character a frame: `#` clear speech, `-` doubtful, `.` none. Back comes one a
    /// frame: `.` quiet, `O` opened, `#` voiced, `-` pause, `C` closed, `X` cut.
    fn run(scores: &str) -> String {
        let mut endpointer = Endpointer::new(&config());
        let step = |c| match endpointer.step(match c {
            '#' => 0.9,
            '-' => 0.4,
            _ => 0.1,
        }) {
            Step::Quiet => '.',
            Step::Opened => 'O',
            Step::Speaking { voiced: true } => '#',
            Step::Speaking { voiced: false } => '-',
            Step::Closed => 'C',
            Step::Cut => 'X',
        };
        scores.chars().map(step).collect()
    }

    #[test]
    fn nothing_is_decided_sooner_than_was_told() {
        let endpointer = Endpointer::new(&config());
        assert_eq!(endpointer.frames_to_decide(), 3);
        // All that six frames can be, over and over: for all lengths and all pauses.
        for pattern in 0..64_u32 {
            let mut endpointer = Endpointer::new(&config());
            let mut undecided = endpointer.frames_to_decide();
            for n in 0..120 {
                let score = if pattern >> (n % 6) & 1 == 1 { 0.9 } else { 0.1 };
                let step = endpointer.step(score);
                undecided -= 1;
                if !matches!(step, Step::Quiet | Step::Speaking { .. }) {
                    assert_eq!(undecided, 0, "pattern {pattern:b}, frame {n}: {step:?}");
                }
                undecided = if undecided == 0 { endpointer.frames_to_decide() } else { undecided };
            }
        }
    }

    #[test]
    fn speech_opens_after_min_speech_and_closes_after_hangover() {
        assert_eq!(run("..####........"), "....O#----C...");
    }

    #[test]
    fn a_click_does_not_open() {
        assert_eq!(run("##....##....##...."), "..................");
    }

    #[test]
    fn doubt_keeps_speech_open_but_does_not_open_it() {
        assert_eq!(run("------"), "......");
        assert_eq!(run("###------....."), "..O######----C");
    }

    #[test]
    fn a_pause_shorter_than_the_hangover_is_part_of_the_speech() {
        assert_eq!(run("####....####....."), "..O#----####----C");
    }

    #[test]
    fn a_long_segment_ends_at_a_shorter_pause() {
        assert_eq!(run("######################..."), "..O###################-C.");
    }

    #[test]
    fn speech_without_any_pause_is_cut_at_the_maximum() {
        let got = run(&"#".repeat(40));
        assert_eq!(got.find('X'), Some(2 + 30));
    }
}
