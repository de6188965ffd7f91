//! Sample rates Vonage can send, and the one the pipeline works at.

use std::fmt;

/// Length of one Vonage frame and of one pipeline frame, in milliseconds.
pub const FRAME_MS: u64 = 20;

/// Sample rate of everything after the resampler, in Hz.
pub const PIPELINE_HZ: u32 = 16_000;

/// Samples in one pipeline frame: 20 ms at 16 kHz, mono.
pub const FRAME_SAMPLES: usize = 320;

/// One pipeline frame: 20 ms, 16 kHz, mono.
pub type Frame = [i16; FRAME_SAMPLES];

/// A rate of incoming linear PCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// 8 kHz: telephone band.
    Hz8000,
    /// 16 kHz: the pipeline's own rate.
    Hz16000,
    /// 24 kHz: named by vendor SDKs since 2026, live use unconfirmed.
    Hz24000,
}

impl Rate {
    /// Every rate, slowest first.
    pub const ALL: [Self; 3] = [Self::Hz8000, Self::Hz16000, Self::Hz24000];

    /// The rate with this many samples a second, if we take it.
    #[must_use]
    pub fn from_hz(hz: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rate| rate.hz() == hz)
    }

    /// Samples a second.
    #[must_use]
    pub fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => PIPELINE_HZ,
            Self::Hz24000 => 24_000,
        }
    }

    /// Samples in one 20 ms frame: 160, 320 or 480.
    #[must_use]
    pub fn frame_samples(self) -> usize {
        (u64::from(self.hz()) * FRAME_MS / 1000) as usize
    }

    /// Bytes in one 20 ms frame of 16-bit mono: 320, 640 or 960.
    #[must_use]
    pub fn frame_bytes(self) -> usize {
        self.frame_samples() * 2
    }

    /// Milliseconds, rounded down, that `samples` last.
    #[must_use]
    pub fn ms(self, samples: u64) -> u64 {
        samples * 1000 / u64::from(self.hz())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hz())
    }
}
