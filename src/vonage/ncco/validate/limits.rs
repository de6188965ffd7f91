//! The numbers of the reference that [`validate`](super::validate()) holds an NCCO to.

use std::ops::RangeInclusive;

/// Characters of a value that a problem shows.
pub const SHOWN_CHARS: usize = 60;
/// `talk.text`: characters, SSML tags not counted.
pub const TALK_CHARS: usize = 1500;
/// `level` of `talk` and `stream`.
pub const LEVEL: RangeInclusive<f64> = -1.0..=1.0;
/// `record.channels`.
pub const RECORD_CHANNELS: RangeInclusive<f64> = 1.0..=32.0;
/// `record.channels` above which `mp3` is not the default.
pub const RECORD_MP3_CHANNELS: u64 = 2;
/// `record.endOnSilence`, s.
pub const RECORD_SILENCE: RangeInclusive<f64> = 3.0..=10.0;
/// `record.timeOut`, s.
pub const RECORD_TIME_OUT: RangeInclusive<f64> = 3.0..=7200.0;
/// `connect.timeout`, s: one SDK's range, unconfirmed.
pub const CONNECT_TIMEOUT: RangeInclusive<f64> = 3.0..=7200.0;
/// `connect.limit`, s.
pub const CONNECT_LIMIT: RangeInclusive<f64> = 1.0..=7200.0;
/// `advancedMachineDetection.beep_timeout`, s.
pub const BEEP_TIMEOUT: RangeInclusive<f64> = 45.0..=120.0;
/// `input.dtmf.timeOut`, s.
pub const DTMF_TIME_OUT: RangeInclusive<f64> = 0.0..=10.0;
/// `input.dtmf.maxDigits`.
pub const DTMF_DIGITS: RangeInclusive<f64> = 1.0..=20.0;
/// `input.dtmf.maxDigits` as one SDK has it.
pub const DTMF_DIGITS_LOOSE: RangeInclusive<f64> = 1.0..=22.0;
/// `input.speech.endOnSilence`, s.
pub const SPEECH_SILENCE: RangeInclusive<f64> = 0.4..=10.0;
/// `input.speech.startTimeout`, s. Once 10 at most.
pub const SPEECH_START: RangeInclusive<f64> = 1.0..=60.0;
/// `input.speech.maxDuration`, s.
pub const SPEECH_DURATION: RangeInclusive<f64> = 1.0..=60.0;
/// `input.speech.sensitivity`.
pub const SPEECH_SENSITIVITY: RangeInclusive<f64> = 10.0..=100.0;
/// `wait.timeout`, s; clamped, not refused.
pub const WAIT: RangeInclusive<f64> = 0.1..=7200.0;
/// Digits of an E.164 number.
pub const E164_DIGITS: RangeInclusive<usize> = 7..=15;
/// Bytes of JSON in a websocket endpoint's `headers` (2021; today unconfirmed).
pub const WEBSOCKET_HEADER_BYTES: usize = 512;
/// Characters of a custom `authorization.value`.
pub const AUTHORIZATION_CHARS: RangeInclusive<usize> = 1..=8191;
/// Characters of a SIP `User-to-User` header.
pub const USER_TO_USER_CHARS: usize = 256;
