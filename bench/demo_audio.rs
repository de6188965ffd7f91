//! The demo call as the benches hear it: real words, pauses and turns.

use std::path::Path;

use sidetone::audio::wav;
use sidetone::types::Rate;

/// Both parties' audio at `rate`, agent first. The recording has 8 kHz; more is made
/// by drawing straight lines, which is good enough for a detector to hear speech in.
pub(crate) fn parties(rate: Rate) -> Vec<Vec<i16>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-call/call.wav");
    let wav = wav::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let times = (rate.hz() / wav.rate.hz()) as usize;
    wav.channels.iter().map(|samples| stretched(samples, times)).collect()
}

fn stretched(samples: &[i16], times: usize) -> Vec<i16> {
    let next = samples.iter().skip(1).chain(samples.last());
    let between = |(&from, &to): (&i16, &i16)| {
        let (from, to) = (i32::from(from), i32::from(to));
        (0..times as i32).map(move |step| (from + (to - from) * step / times as i32) as i16)
    };
    samples.iter().zip(next).flat_map(between).collect()
}

/// Samples as a peer sends them.
pub(crate) fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
