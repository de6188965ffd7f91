//! Sound as numbers: PCM, resampling, pre-roll, levels, WAV.
//!
//! Invariant: pure. No socket, no clock, no task; files are touched only by
//! [`wav`], which the command line uses and the media path does not.

mod double;
pub mod level;
pub mod mute;
pub mod pcm;
pub mod pre_roll;
pub mod resample;
pub mod wav;
