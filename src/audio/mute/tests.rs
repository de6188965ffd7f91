//! Files cut into pieces of any size, read back by another reader than ours.

use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// When each recording here begins.
const START: WallTime = WallTime(1_795_510_800_000_000);
/// No sample of ours is silence.
const LOUD: i16 = 1_000;
const HZ: u32 = 1_000;

fn at_ms(ms: i64) -> WallTime {
    WallTime(START.0 + ms * 1_000)
}

/// A WAV file of so many frames at 1 kHz: a frame is a millisecond.
fn wav(channels: u16, frames: usize) -> Vec<u8> {
    let spec = WavSpec { channels, sample_rate: HZ, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    (0..frames * usize::from(channels)).for_each(|_| writer.write_sample(LOUD).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

/// Which milliseconds are silent. Every channel must agree, and no sample be anything else.
fn silent_ms(file: &[u8]) -> Vec<bool> {
    let mut reader = WavReader::new(file).unwrap();
    let channels = usize::from(reader.spec().channels);
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    let silent = samples.chunks_exact(channels).map(|frame| {
        assert!(frame.iter().all(|sample| *sample == frame[0] && [0, LOUD].contains(sample)), "{frame:?}");
        frame[0] == 0
    });
    silent.collect()
}

fn muting(stretches: &[(i64, Option<i64>)], guard_ms: u64) -> Muting {
    let stretches = stretches.iter().map(|(from, to)| (at_ms(*from), to.map(at_ms))).collect();
    Muting { start: Some(START), end: None, stretches, guard: Duration::from_millis(guard_ms) }
}

/// The file as it passes in pieces of these sizes, over and over.
fn passed(file: &[u8], muting: Muting, sizes: &[usize]) -> Result<(Vec<u8>, Muted), Unfit> {
    let (mut muter, mut out, mut rest) = (Muter::new(muting), Vec::new(), file);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(*size));
        muter.pass(piece, &mut out)?;
        assert!(muter.held.len() <= FMT_MAX as usize, "it holds {} bytes", muter.held.len());
        rest = after;
    }
    let muted = muter.end(&mut out)?;
    Ok((out, muted))
}

fn refusal(file: &[u8], muting: Muting) -> Unfit {
    passed(file, muting, &[7]).unwrap_err()
}

/// Stretches in ms, the guard, and what is silent then.
type Row = (&'static [(i64, Option<i64>)], u64, &'static [(usize, usize)]);

#[test]
fn stretches_are_silent_with_their_guard_and_nothing_else_is() {
    let table: [Row; 11] = [
        (&[(100, Some(200))], 0, &[(100, 200)]),
        (&[(100, Some(200))], 50, &[(50, 250)]),
        (&[(10, Some(20))], 50, &[(0, 70)]),
        (&[(980, Some(2_000))], 50, &[(930, 1_000)]),
        (&[(900, None)], 50, &[(850, 1_000)]),
        (&[(-500, Some(-100))], 50, &[]),
        (&[(-500, Some(-100))], 150, &[(0, 50)]),
        (&[(1_100, None)], 50, &[]),
        (&[(-100, None)], 0, &[(0, 1_000)]),
        // In any order; those that touch are one.
        (&[(500, Some(600)), (100, Some(200)), (150, Some(300))], 10, &[(90, 310), (490, 610)]),
        // Our clock was set back while it was paused.
        (&[(300, Some(100))], 0, &[(100, 300)]),
    ];
    for (stretches, guard, expected) in table {
        for channels in [1, 2] {
            let (out, muted) = passed(&wav(channels, 1_000), muting(stretches, guard), &[33]).unwrap();
            let silent = silent_ms(&out);
            let wanted: Vec<_> =
                (0..1_000).map(|ms| expected.iter().any(|(from, to)| (*from..*to).contains(&ms))).collect();
            assert_eq!(silent, wanted, "{stretches:?} {guard}");
            let ms = expected.iter().map(|(from, to)| (to - from) as u64).sum();
            assert_eq!(muted, Muted { container: Container::Wav, stretches: expected.len() as u64, ms });
        }
    }
}

#[test]
fn part_of_a_sample_is_a_whole_one() {
    let mut muting = muting(&[], 0);
    muting.stretches = vec![(WallTime(START.0 + 10_999), Some(WallTime(START.0 + 12_001)))];
    let (out, muted) = passed(&wav(2, 100), muting, &[64]).unwrap();
    let silent: Vec<_> = (0..100).filter(|ms| silent_ms(&out)[*ms]).collect();
    assert_eq!((silent, muted.ms), (vec![10, 11, 12], 3));
}

#[test]
fn without_a_pause_any_audio_passes_as_it_is() {
    let wav = wav(2, 100);
    for (file, container) in [
        (&wav[..], Container::Wav),
        (b"ID3\x04 and the rest of it", Container::Mp3),
        (b"\xFF\xFB\x90\x00 and the rest", Container::Mp3),
        (b"OggS and the rest of it", Container::Ogg),
    ] {
        let muting = Muting { start: None, end: None, stretches: vec![], guard: Duration::ZERO };
        let (out, muted) = passed(file, muting, &[5]).unwrap();
        assert_eq!((out.as_slice(), muted), (file, Muted { container, stretches: 0, ms: 0 }));
    }
    for file in
        [&b""[..], b"RIFF", b"<html>not found</html>", b"{\"error\": \"no such file\"}", b"RIFF\0\0\0\0AVI LIST"]
    {
        assert_eq!(refusal(file, muting(&[], 0)), Unfit::NotAudio, "{file:?}");
    }
}

#[test]
fn what_cannot_be_muted_is_refused() {
    let paused = || muting(&[(10, Some(20))], 0);
    for file in [&b"ID3\x04 and the rest of it"[..], b"OggS and the rest of it"] {
        assert_eq!(refusal(file, paused()), Unfit::NotMutable);
    }
    let whole = wav(1, 100);
    assert_eq!(refusal(&whole, Muting { start: None, ..paused() }), Unfit::NoStart);
    for cut in 12..whole.len() {
        assert_eq!(refusal(&whole[..cut], paused()), Unfit::Truncated, "{cut}");
    }
    // GSM, ADPCM, 12 bits, frames that are not of whole samples, no rate.
    let at = whole.windows(4).position(|bytes| bytes == b"fmt ").unwrap() + 8;
    for (offset, value) in [(0, 0x31), (0, 0x11), (14, 12), (12, 3), (2, 3)] {
        let mut file = whole.clone();
        file[at + offset] = value;
        assert_eq!(refusal(&file, paused()), Unfit::NotMutable, "{offset} {value}");
    }
    let mut file = whole.clone();
    file[at + 4..at + 8].fill(0);
    assert_eq!(refusal(&file, paused()), Unfit::NotMutable);
    // Samples before anybody said what they are, and twice.
    let data = whole.windows(4).position(|bytes| bytes == b"data").unwrap();
    assert_eq!(refusal(&[&whole[..12], &whole[data..]].concat(), paused()), Unfit::NotMutable);
    assert_eq!(refusal(&[&whole, &whole[data..]].concat(), paused()), Unfit::NotMutable);
}

#[test]
fn a_length_that_is_not_that_of_the_times_is_refused() {
    let with = |end: i64, guard| Muting { end: Some(at_ms(end)), ..muting(&[(10, Some(20))], guard) };
    for (end, guard, fits) in
        [(100, 0, true), (90, 10, true), (110, 10, true), (89, 10, false), (111, 10, false), (-1, 500, false)]
    {
        let found = passed(&wav(2, 100), with(end, guard), &[9]).map(|_| ());
        assert_eq!(found, if fits { Ok(()) } else { Err(Unfit::Times) }, "{end} {guard}");
    }
}

#[test]
fn what_is_in_other_chunks_is_blanked() {
    let whole = wav(1, 50);
    let data = whole.windows(4).position(|bytes| bytes == b"data").unwrap();
    // The second is odd, so that a pad byte follows; the reader here knows of none.
    let (even, odd) = (b"LIST\x0c\0\0\0INFO41111111", b"LIST\x0b\0\0\0INFO4111111\0");
    let file = [&whole[..data], even, &whole[data..], odd].concat();
    let (out, muted) = passed(&file, muting(&[(0, Some(10))], 0), &[3]).unwrap();
    assert!(!out.windows(4).any(|bytes| bytes == b"4111") && out.len() == file.len());
    let count = |id: &[u8; 4]| out.windows(4).filter(|bytes| bytes == id).count();
    assert_eq!((count(b"LIST"), count(FILLER)), (0, 2), "a reader would take it for what it was");
    assert_eq!((muted.ms, silent_ms(&out)[10]), (10, false));
}

#[test]
fn samples_to_the_end_and_other_codings() {
    let mut file = wav(1, 50);
    let data = file.windows(4).position(|bytes| bytes == b"data").unwrap();
    file[data + 4..data + 8].fill(0xFF);
    let (out, muted) = passed(&file, muting(&[(40, None)], 0), &[11]).unwrap();
    assert_eq!((&out[data + 8 + 80..], muted.ms), (&[0; 20][..], 10));

    // Coding, bits, silence; as a plain and as an extensible format.
    for (coding, bits, silence) in [(1_u16, 8_u16, 0x80_u8), (6, 8, 0xD5), (7, 8, 0xFF), (3, 32, 0), (1, 24, 0)] {
        let frame = bits / 8 * 2;
        for extensible in [false, true] {
            let mut fmt = Vec::new();
            let tag = if extensible { 0xFFFE } else { coding };
            [tag, 2].iter().for_each(|word| fmt.extend(word.to_le_bytes()));
            fmt.extend(HZ.to_le_bytes());
            fmt.extend((HZ * u32::from(frame)).to_le_bytes());
            [frame, bits].iter().for_each(|word| fmt.extend(word.to_le_bytes()));
            if extensible {
                [22, bits, 3, 0, coding].iter().for_each(|word| fmt.extend(word.to_le_bytes()));
                fmt.extend([0; 14]);
            }
            let samples = vec![0x42; usize::from(frame) * 20];
            let chunk = |id: &[u8], body: &[u8]| [id, &(body.len() as u32).to_le_bytes(), body].concat();
            let chunks = [chunk(b"fmt ", &fmt), chunk(b"data", &samples)].concat();
            let file = [b"RIFF\0\0\0\0WAVE", chunks.as_slice()].concat();
            let (out, muted) = passed(&file, muting(&[(5, Some(10))], 0), &[5]).unwrap();
            let found = &out[out.len() - samples.len()..];
            let byte = |at: usize| if (5..10).contains(&(at / usize::from(frame))) { silence } else { 0x42 };
            assert!(found.iter().enumerate().all(|(at, found)| *found == byte(at)), "{coding} {bits} {extensible}");
            assert_eq!((muted.stretches, muted.ms), (1, 5));
        }
    }
}

fn stretch() -> impl Strategy<Value = (i64, Option<i64>)> {
    (-300_i64..1_500, prop_oneof![Just(None), (-300_i64..1_500).prop_map(Some)])
}

proptest! {
    /// Millisecond by millisecond, whatever the pieces: silent is what is within a stretch or
    /// its guard, and only that.
    #[test]
    fn exactly_the_paused_samples_are_silent(
        stretches in proptest::collection::vec(stretch(), 1..6),
        guard in 0_u64..200,
        channels in 1_u16..=2,
        frames in 1_usize..1_200,
        sizes in proptest::collection::vec(1_usize..400, 1..8),
    ) {
        let file = wav(channels, frames);
        let (out, muted) = passed(&file, muting(&stretches, guard), &sizes).unwrap();
        prop_assert_eq!(out.len(), file.len());
        let silent = silent_ms(&out);
        prop_assert_eq!(silent.len(), frames);
        for (ms, silent) in silent.iter().enumerate() {
            let ms = ms as i64;
            let within = |(from, to): &(i64, Option<i64>)| {
                let (from, to) = (to.map_or(*from, |to| to.min(*from)), to.map(|to| to.max(*from)));
                let (first, after) = (from - guard as i64, to.map_or(i64::MAX, |to| to + guard as i64));
                // A pause of no time is one of its guard.
                (first..after).contains(&ms)
            };
            prop_assert_eq!(*silent, stretches.iter().any(within), "at {} ms", ms);
        }
        prop_assert_eq!(muted.ms, silent.iter().filter(|silent| **silent).count() as u64);
    }

    #[test]
    fn no_bytes_whatsoever_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0_usize..120,
        sizes in proptest::collection::vec(1_usize..50, 1..4),
    ) {
        let file = [&wav(2, 20)[..cut], &bytes].concat();
        if let Ok((out, _)) = passed(&file, muting(&[(3, Some(9))], 1), &sizes) {
            prop_assert!(out.len() <= file.len());
        }
    }
}
