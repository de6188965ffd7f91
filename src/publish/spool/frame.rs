//! The bytes of a spool file: a line that names format and version, then frames, each
//! with its own checksum and its own place in the order, so that what is damaged costs
//! itself and no other.
//!
//! ```text
//! "sidetone spool 1\n"   then, little-endian, again and again:
//! magic u32 · payload length u32 · crc32 u32 · kind u32 · position u64 · key u64 · payload
//! ```
//!
//! The checksum covers all of a frame but the magic and itself. Invariant: pure.

use std::ops::Range;

/// First bytes of every file: the format, its version, a line break.
pub(super) const HEADER: &[u8] = b"sidetone spool 1\n";

/// What every version's first bytes begin with.
const FORMAT: &[u8] = b"sidetone spool ";

/// Bytes of a frame before its payload.
pub(super) const HEAD: usize = 32;

/// Longest payload, in bytes; a length beyond it is damage.
pub(super) const PAYLOAD_MAX: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"\xf5stF";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event that the process which wrote it also has in memory.
    Live,
    /// An event that is only here.
    Backlog,
    /// Positions that need no delivery any more: pairs of first and last.
    Settled,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Live => 1,
            Self::Backlog => 2,
            Self::Settled => 3,
        }
    }

    fn of(code: u32) -> Option<Self> {
        [Self::Live, Self::Backlog, Self::Settled].into_iter().find(|kind| kind.code() == code)
    }
}

/// One frame, its payload borrowed from the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    /// Place in the order of events; grows within a file.
    pub(super) position: u64,
    /// Hash of the record key: see [`key`].
    pub(super) key: u64,
    pub(super) payload: &'a [u8],
}

/// Appends a frame to `bytes`.
pub(super) fn write(bytes: &mut Vec<u8>, frame: &Frame<'_>) {
    let start = bytes.len();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(frame.payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&frame.kind.code().to_le_bytes());
    bytes.extend_from_slice(&frame.position.to_le_bytes());
    bytes.extend_from_slice(&frame.key.to_le_bytes());
    bytes.extend_from_slice(frame.payload);
    let sum = checksum(&bytes[start..]);
    bytes[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[4..8]);
    hasher.update(&frame[12..]);
    hasher.finalize()
}

/// The frame at the start of `bytes`, and its length; `None` when there is no whole and sound one.
fn read(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let head = bytes.get(..HEAD)?;
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let length = u32_at(4) as usize;
    if head[..4] != MAGIC || length > PAYLOAD_MAX {
        return None;
    }
    let whole = bytes.get(..HEAD + length)?;
    let kind = Kind::of(u32_at(12))?;
    let sound = checksum(whole) == u32_at(8);
    sound.then_some((Frame { kind, position: u64_at(16), key: u64_at(24), payload: &whole[HEAD..] }, whole.len()))
}

/// What is wrong with a file; [`Fault::name`] goes into the name it is set aside under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It ends in the middle of a record.
    Truncated,
    /// Bytes in it are not what was written.
    Damaged,
    /// It is no spool file.
    Foreign,
    /// A version of the format that we do not read.
    Version,
    /// The system does not let us read it.
    Unreadable,
    /// A record is sound but is no event that this version knows.
    Unknown,
}

impl Fault {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown-events",
        }
    }
}

/// Whether a file may be read, from its first bytes.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.starts_with(HEADER) {
        Ok(())
    } else if HEADER.starts_with(bytes) {
        // The first write was cut off: there is nothing in it.
        Err(Fault::Truncated)
    } else if bytes.starts_with(FORMAT) {
        Err(Fault::Version)
    } else {
        Err(Fault::Foreign)
    }
}

/// Walks over the frames in `bytes` from `at`, around whatever is damaged.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    /// Where the next frame is looked for.
    pub(super) at: usize,
    /// The first damage met.
    pub(super) fault: Option<Fault>,
}

impl<'a> Frames<'a> {
    pub(super) fn of(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, fault: None }
    }

    /// The next place after `from` where a sound frame begins.
    fn resume(&self, from: usize) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        let mut candidates = rest.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
        candidates.find(|(at, _)| read(&rest[*at..]).is_some()).map(|(at, _)| from + at)
    }
}

impl<'a> Iterator for Frames<'a> {
    /// The frame, and where it stands.
    type Item = (Frame<'a>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if read(&self.bytes[self.at..]).is_none() {
            let next = self.resume(self.at + 1);
            let fault = if next.is_none() { Fault::Truncated } else { Fault::Damaged };
            self.fault.get_or_insert(fault);
            self.at = next.unwrap_or(self.bytes.len());
        }
        let (frame, length) = read(&self.bytes[self.at..])?;
        let range = self.at..self.at + length;
        self.at = range.end;
        Some((frame, range))
    }
}

/// Hash of a record key (FNV-1a, 64 bits): the same in every process and version. Two
/// keys with one hash only wait for each other.
#[must_use]
pub(crate) fn key(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The payload of a [`Kind::Settled`] frame.
pub(super) fn ranges_to_bytes(ranges: &[(u64, u64)]) -> Vec<u8> {
    ranges.iter().flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()]).flatten().collect()
}

/// Reads the payload of a [`Kind::Settled`] frame.
pub(super) fn ranges_of_bytes(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    bytes.as_chunks::<16>().0.iter().map(move |pair| (number(&pair[..8]), number(&pair[8..])))
}

/// Sorted positions as ranges of neighbours.
pub(super) fn ranges(positions: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => ranges.push((position, position)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut bytes = HEADER.to_vec();
        let mut places = Vec::new();
        for (n, payload) in payloads.iter().enumerate() {
            let start = bytes.len();
            write(&mut bytes, &Frame { kind: Kind::Backlog, position: n as u64 + 1, key: key("CON-1"), payload });
            places.push(start..bytes.len());
        }
        (bytes, places)
    }

    fn read_all(bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, Option<Fault>) {
        let mut frames = Frames::of(bytes, HEADER.len());
        let all = frames.by_ref().map(|(frame, _)| (frame.position, frame.payload.to_vec())).collect();
        (all, frames.fault)
    }

    #[test]
    fn the_first_bytes_say_whether_a_file_is_ours() {
        for (bytes, expected) in [
            (&b"sidetone spool 1\nxyz"[..], Ok(())),
            (b"sidetone spool 2\n", Err(Fault::Version)),
            (b"sidetone sp", Err(Fault::Truncated)),
            (b"", Err(Fault::Truncated)),
            (b"{\"a\":1}\nsome other file", Err(Fault::Foreign)),
        ] {
            assert_eq!(check_header(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn keys_hash_the_same_for_ever() {
        // The vectors of FNV's authors.
        let known = [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)];
        assert_eq!(known.map(|(text, _)| key(text)), known.map(|(_, hash)| hash));
    }

    #[test]
    fn settled_positions_become_ranges_and_come_back() {
        let of = ranges([1, 2, 3, 7, 9, 10]);
        assert_eq!(of, [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges_of_bytes(&ranges_to_bytes(&of)).collect::<Vec<_>>(), of);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let (bytes, _) = file(&payloads);
            let expected: Vec<_> = payloads.iter().enumerate().map(|(n, p)| (n as u64 + 1, p.clone())).collect();
            prop_assert_eq!(read_all(&bytes), (expected, None));
        }

        #[test]
        fn a_flipped_bit_costs_the_one_record_it_is_in(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
            place: prop::sample::Index, bit in 0..8_u8,
        ) {
            let (mut bytes, places) = file(&payloads);
            let at = HEADER.len() + place.index(bytes.len() - HEADER.len());
            bytes[at] ^= 1 << bit;
            let hit = places.iter().position(|place| place.contains(&at)).unwrap();
            let (left, fault) = read_all(&bytes);
            let expected: Vec<_> =
                payloads.iter().enumerate().filter(|(n, _)| *n != hit).map(|(n, p)| (n as u64 + 1, p.clone())).collect();
            prop_assert_eq!(left, expected);
            prop_assert!(fault.is_some());
        }

        #[test]
        fn a_cut_costs_what_is_behind_it(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
            place: prop::sample::Index,
        ) {
            let (bytes, places) = file(&payloads);
            let cut = HEADER.len() + place.index(bytes.len() - HEADER.len());
            let whole = places.iter().filter(|place| place.end <= cut).count();
            let (left, fault) = read_all(&bytes[..cut]);
            prop_assert_eq!(left.len(), whole);
            let torn = !places.iter().any(|place| place.end == cut) && cut > HEADER.len();
            prop_assert_eq!(fault, torn.then_some(Fault::Truncated));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = check_header(&bytes);
            prop_assert!(read_all(&[HEADER, &bytes].concat()).0.len() <= bytes.len());
        }
    }
}
