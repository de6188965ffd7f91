//! The tape of one recording, and the WAV file it becomes.
//!
//! Source: `vonage-voice.md` section 2, `record`: 16 kHz, 16 bits; split, the left
//! channel is what the leg says, the right one what it hears. Whatever container was
//! asked for, this is WAV. Pure.

use std::io::Cursor;

use bytes::Bytes;

use crate::types::rate::{FRAME_MS, Frame, PIPELINE_HZ};

/// Longest recording: half an hour, 115 MB in stereo. What comes later is left out.
pub const FRAMES_MAX: usize = 30 * 60 * 1000 / FRAME_MS as usize;
/// All recordings that are kept, together; the oldest make room.
pub const KEPT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A frame without a sample above this is silence.
const SILENCE_PEAK: u16 = 200;

/// A recording under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tape {
    split: bool,
    samples: Vec<i16>,
    frames: usize,
    silent: u64,
}

impl Tape {
    /// An empty tape: stereo where `split`, else both sides mixed.
    #[must_use]
    pub fn new(split: bool) -> Self {
        Self { split, samples: Vec::new(), frames: 0, silent: 0 }
    }

    /// Records 20 ms. `false` when the tape is full.
    pub fn push(&mut self, said: Option<&Frame>, heard: &Frame) -> bool {
        let said = said.unwrap_or(&[0; _]);
        let loud = |frame: &Frame| frame.iter().any(|sample| sample.unsigned_abs() > SILENCE_PEAK);
        self.silent = if loud(said) || loud(heard) { 0 } else { self.silent + 1 };
        if self.frames == FRAMES_MAX {
            return false;
        }
        self.frames += 1;
        for (said, heard) in said.iter().zip(heard) {
            if self.split {
                self.samples.extend([*said, *heard]);
            } else {
                self.samples.push(said.saturating_add(*heard));
            }
        }
        true
    }

    /// Ms recorded.
    #[must_use]
    pub fn ms(&self) -> u64 {
        self.frames as u64 * FRAME_MS
    }

    /// Ms of silence at the end.
    #[must_use]
    pub fn silent_ms(&self) -> u64 {
        self.silent * FRAME_MS
    }

    /// The WAV file.
    #[must_use]
    pub fn wav(&self) -> Bytes {
        let spec = hound::WavSpec {
            channels: if self.split { 2 } else { 1 },
            sample_rate: PIPELINE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::with_capacity(self.samples.len() * 2 + 64));
        // Memory takes every write, and a tape is far smaller than a WAV file may be.
        let written = hound::WavWriter::new(&mut file, spec).and_then(|mut writer| {
            self.samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
            writer.finalize()
        });
        debug_assert!(written.is_ok());
        file.into_inner().into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::audio::wav;

    #[test]
    fn left_is_what_is_said_and_right_what_is_heard() {
        let mut tape = Tape::new(true);
        assert!(tape.push(Some(&[1000; _]), &[2; _]) && tape.push(None, &[3; _]));
        assert_eq!((tape.ms(), tape.silent_ms()), (40, 20));
        let file = wav::decode(&tape.wav()[..], Path::new("x")).unwrap();
        assert_eq!((file.rate.hz(), file.channels.len(), file.channels[0].len()), (16_000, 2, 640));
        assert_eq!((file.channels[0][319], file.channels[0][320]), (1000, 0));
        assert_eq!((file.channels[1][319], file.channels[1][320]), (2, 3));
    }

    #[test]
    fn not_split_both_are_mixed() {
        let mut tape = Tape::new(false);
        assert!(tape.push(Some(&[30_000; _]), &[10_000; _]));
        let file = wav::decode(&tape.wav()[..], Path::new("x")).unwrap();
        assert_eq!((file.channels.len(), file.channels[0][0]), (1, i16::MAX));
    }
}
