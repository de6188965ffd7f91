//! Silences stretches of a recording as it streams past.
//!
//! A [`Muter`] is given the file's bytes in pieces of any size and gives them on, the samples
//! of the stretches silenced. It holds no more than a chunk's header: a recording of two hours
//! passes through, and what must not be heard is never anywhere but in the piece at hand.
//!
//! Where anything is to be silenced, what passes is what is understood: a WAV file with one
//! chunk of samples, of which every sample's time is known. The content of all other chunks is
//! blanked, since nobody can say what it holds. Anything else is refused, see [`Unfit`]: better
//! no file than one with a card number in it. Where nothing is to be silenced, any audio file
//! passes as it is.

use std::ops::Range;
use std::time::Duration;

use crate::types::WallTime;

/// Longest `fmt ` chunk that is read, in bytes; the longest in use has 40.
const FMT_MAX: u64 = 64;
/// A size that says that the chunk goes on to the end of the file: written by who streams.
const TO_THE_END: u64 = u32::MAX as u64;
/// First bytes by which a file's kind is told.
const MAGIC_LEN: usize = 12;
/// Chunk that readers skip.
const FILLER: &[u8; 4] = b"JUNK";

/// A recording's times, and what of it must not be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muting {
    /// When the recording began; none where that is not known.
    pub start: Option<WallTime>,
    /// When it ended; none where that is not known.
    pub end: Option<WallTime>,
    /// From when to when; a stretch without an end goes to the end of the recording. In any
    /// order, overlapping or not.
    pub stretches: Vec<(WallTime, Option<WallTime>)>,
    /// Silenced before and after each stretch as well, since the recording's clock and ours
    /// differ. Also how much the recording's length may differ from its times.
    pub guard: Duration,
}

/// Kind of an audio file, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// RIFF WAVE.
    Wav,
    /// MPEG audio, with or without an ID3 tag.
    Mp3,
    /// Ogg, whatever is in it.
    Ogg,
}

impl Container {
    /// The usual ending of a file's name.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Ogg => "ogg",
        }
    }

    /// The kind of a file that begins so; none where it is no audio that we know.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            // A frame's eleven bits, and a layer.
            [0xFF, second, ..] if second & 0xE0 == 0xE0 && second & 0x06 != 0 => Some(Self::Mp3),
            _ => None,
        }
    }
}

/// Why a file must not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No audio that we know: an error's text, an empty file.
    #[error("it is no audio file")]
    NotAudio,
    /// Something is to be silenced in what is no WAV file with plain samples.
    #[error("it is not in a form that can be muted")]
    NotMutable,
    /// Something is to be silenced, and nobody knows when it began.
    #[error("when it began is not known")]
    NoStart,
    /// Something is to be silenced, and the file's length is not that of its times, or those
    /// cannot be: a sample's time would be a guess.
    #[error("its length and its times do not agree")]
    Times,
    /// Something is to be silenced, and the file ends before its samples do.
    #[error("it is cut short")]
    Truncated,
}

impl Unfit {
    /// One word for events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAudio => "not_audio",
            Self::NotMutable => "not_mutable",
            Self::NoStart => "no_start_time",
            Self::Times => "times_disagree",
            Self::Truncated => "truncated",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Muted {
    /// What kind of file it is.
    pub container: Container,
    /// Stretches silenced, those that touch counted as one.
    pub stretches: u64,
    /// Length of all silenced, guard included, in ms, rounded up.
    pub ms: u64,
}

/// How samples are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    rate: u64,
    /// Bytes of one sample of every channel.
    frame: u64,
    /// The byte of which silence is made.
    silence: u8,
}

/// Where in the file we are.
#[derive(Debug)]
enum At {
    /// Before anything.
    Beginning,
    /// Nothing is to be silenced: all passes.
    Passing,
    /// Before a chunk, or at its pad byte.
    Header { pad: bool },
    /// In the description of the samples, so many bytes long.
    Format { len: u64 },
    /// In the samples; `left` is none where they go to the end.
    Samples { left: Option<u64>, pad: bool },
    /// In any other chunk.
    Other { left: u64, pad: bool },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Muter {
    muting: Muting,
    at: At,
    /// What is not understood yet: never more than the longest header.
    held: Vec<u8>,
    container: Option<Container>,
    layout: Option<Layout>,
    /// Bytes of samples to silence: sorted, apart, not empty.
    silent: Vec<Range<u64>>,
    /// Bytes of samples that passed.
    passed: u64,
    has_samples: bool,
}

impl Muter {
    /// A muter of one file.
    #[must_use]
    pub fn new(muting: Muting) -> Self {
        Self {
            muting,
            at: At::Beginning,
            held: Vec::new(),
            container: None,
            layout: None,
            silent: Vec::new(),
            passed: 0,
            has_samples: false,
        }
    }

    /// Takes the next piece of the file, and appends to `out` what may pass.
    ///
    /// # Errors
    /// [`Unfit`]: the file must not be kept.
    pub fn pass(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        while !piece.is_empty() {
            match &mut self.at {
                At::Beginning => {
                    if let Some(magic) = fill(&mut self.held, MAGIC_LEN, &mut piece) {
                        self.begin(&magic)?;
                        out.extend(magic);
                    }
                }
                At::Passing => {
                    out.extend_from_slice(piece);
                    return Ok(());
                }
                At::Header { pad } => {
                    let pad = usize::from(*pad);
                    if let Some(header) = fill(&mut self.held, 8 + pad, &mut piece) {
                        out.extend(&header[..pad]);
                        self.header(&header[pad..], out)?;
                    }
                }
                At::Format { len } => {
                    // Chunks have even lengths in the file.
                    let whole = *len + *len % 2;
                    if let Some(format) = fill(&mut self.held, whole as usize, &mut piece) {
                        self.format(&format)?;
                        out.extend(format);
                        self.at = At::Header { pad: false };
                    }
                }
                At::Samples { left, pad } => {
                    let pad = *pad;
                    let taken = left.map_or(piece.len(), |left| piece.len().min(left as usize));
                    let (now, rest) = piece.split_at(taken);
                    let remaining = left.as_mut().map(|left| {
                        *left -= taken as u64;
                        *left
                    });
                    piece = rest;
                    self.samples(now, out);
                    if remaining == Some(0) {
                        self.at = At::Header { pad };
                    }
                }
                At::Other { left, pad } => {
                    let pad = *pad;
                    let taken = piece.len().min(*left as usize);
                    *left -= taken as u64;
                    let done = *left == 0;
                    piece = &piece[taken..];
                    out.resize(out.len() + taken, 0);
                    if done {
                        self.at = At::Header { pad };
                    }
                }
            }
        }
        Ok(())
    }

    /// The file is over. Appends to `out` what was held back.
    ///
    /// # Errors
    /// [`Unfit`]: the file must not be kept.
    pub fn end(self, out: &mut Vec<u8>) -> Result<Muted, Unfit> {
        match self.at {
            At::Beginning => {
                // Shorter than the longest beginning: no audio is.
                return Err(Unfit::NotAudio);
            }
            At::Passing => {}
            // A last pad byte that is missing hurts nobody.
            At::Header { pad } if self.held.is_empty() || (pad && self.held.len() == 1) => {}
            At::Samples { left: None, .. } => {}
            _ => return Err(Unfit::Truncated),
        }
        let container = self.container.ok_or(Unfit::NotAudio)?;
        let Some(layout) = self.layout else {
            return if matches!(self.at, At::Passing) {
                Ok(Muted { container, stretches: 0, ms: 0 })
            } else {
                Err(Unfit::Truncated)
            };
        };
        if !self.has_samples {
            return Err(Unfit::Truncated);
        }
        out.extend(self.held);
        let frames = self.passed / layout.frame;
        if let (Some(start), Some(end)) = (self.muting.start, self.muting.end) {
            let told = micros(end).saturating_sub(micros(start));
            let found = i128::from(frames) * 1_000_000 / i128::from(layout.rate);
            if (told - found).unsigned_abs() > self.muting.guard.as_micros() {
                return Err(Unfit::Times);
            }
        }
        let silenced = self.silent.iter().map(|range| range.start..range.end.min(self.passed));
        let silenced: Vec<_> = silenced.filter(|range| !range.is_empty()).collect();
        let frames: u64 = silenced.iter().map(|range| (range.end - range.start).div_ceil(layout.frame)).sum();
        let ms = (u128::from(frames) * 1_000).div_ceil(u128::from(layout.rate));
        Ok(Muted { container, stretches: silenced.len() as u64, ms: u64::try_from(ms).unwrap_or(u64::MAX) })
    }

    fn begin(&mut self, magic: &[u8]) -> Result<(), Unfit> {
        let container = Container::of(magic).ok_or(Unfit::NotAudio)?;
        self.container = Some(container);
        if self.muting.stretches.is_empty() {
            self.at = At::Passing;
            return Ok(());
        }
        if container != Container::Wav {
            return Err(Unfit::NotMutable);
        }
        let start = self.muting.start.ok_or(Unfit::NoStart)?;
        if self.muting.end.is_some_and(|end| end < start) {
            return Err(Unfit::Times);
        }
        self.at = At::Header { pad: false };
        Ok(())
    }

    /// A chunk begins.
    fn header(&mut self, header: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let (id, size) = header.split_at(4);
        let len = size.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let pad = len % 2 == 1;
        self.at = match id {
            b"fmt " if self.layout.is_none() && (16..=FMT_MAX).contains(&len) => At::Format { len },
            b"data" if self.layout.is_some() && !self.has_samples => {
                self.has_samples = true;
                match len {
                    TO_THE_END => At::Samples { left: None, pad: false },
                    0 => At::Header { pad: false },
                    len => At::Samples { left: Some(len), pad },
                }
            }
            b"fmt " | b"data" => return Err(Unfit::NotMutable),
            _ if len == 0 => At::Header { pad: false },
            _ => At::Other { left: len, pad },
        };
        out.extend_from_slice(if matches!(self.at, At::Other { .. }) { FILLER } else { id });
        out.extend_from_slice(size);
        Ok(())
    }

    /// What the samples are, and so which bytes are to be silenced.
    fn format(&mut self, format: &[u8]) -> Result<(), Unfit> {
        let layout = Layout::read(format).ok_or(Unfit::NotMutable)?;
        let start = self.muting.start.ok_or(Unfit::NoStart)?;
        let mut silent: Vec<_> = (self.muting.stretches.iter())
            .map(|stretch| bytes(*stretch, start, self.muting.guard, layout))
            .filter(|range| !range.is_empty())
            .collect();
        silent.sort_by_key(|range| range.start);
        for range in silent {
            match self.silent.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.silent.push(range),
            }
        }
        self.layout = Some(layout);
        Ok(())
    }

    fn samples(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(piece);
        let end = self.passed + piece.len() as u64;
        let silence = self.layout.map_or(0, |layout| layout.silence);
        // Sorted and apart: the first that may reach into this piece is found, not looked for.
        let first = self.silent.partition_point(|range| range.end <= self.passed);
        for range in self.silent[first..].iter().take_while(|range| range.start < end) {
            let from = range.start.max(self.passed) - self.passed;
            let to = range.end.min(end) - self.passed;
            out[at..][from as usize..to as usize].fill(silence);
        }
        self.passed = end;
    }
}

/// Fills `held` up to `len` from `piece`; gives it when it is full.
fn fill(held: &mut Vec<u8>, len: usize, piece: &mut &[u8]) -> Option<Vec<u8>> {
    let (taken, rest) = piece.split_at(piece.len().min(len - held.len()));
    held.extend_from_slice(taken);
    *piece = rest;
    (held.len() == len).then(|| std::mem::take(held))
}

impl Layout {
    /// Reads a `fmt ` chunk of at least 16 bytes; none for samples that are compressed, or of
    /// which it does not say what they are.
    fn read(format: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_le_bytes([*format.get(at)?, *format.get(at + 1)?]));
        let (channels, frame, bits) = (word(2)?, word(12)?, word(14)?);
        let rate = u64::from(word(4)?) | u64::from(word(6)?) << 16;
        // The extensible form says further on what it is.
        let kind = if word(0)? == 0xFFFE { word(24)? } else { word(0)? };
        let silence = match (kind, bits) {
            (1, 8) => 0x80,
            (1, 16 | 24 | 32) | (3, 32 | 64) => 0,
            (6, 8) => 0xD5,
            (7, 8) => 0xFF,
            _ => return None,
        };
        let whole = u32::from(channels) * u32::from(bits / 8) == u32::from(frame);
        (whole && frame > 0 && rate > 0).then_some(Self { rate, frame: frame.into(), silence })
    }
}

fn micros(at: WallTime) -> i128 {
    i128::from(at.0)
}

/// The bytes that a stretch and its guard take up. Rather a frame too many.
fn bytes((from, to): (WallTime, Option<WallTime>), start: WallTime, guard: Duration, layout: Layout) -> Range<u64> {
    // Our clock may have been set back meanwhile.
    let (from, to) = (to.map_or(from, |to| from.min(to)), to.map(|to| from.max(to)));
    let guard = i128::try_from(guard.as_micros()).unwrap_or(i128::MAX);
    let rate = u128::from(layout.rate);
    let since = |at: i128| u128::try_from(at.saturating_sub(micros(start))).unwrap_or(0);
    let byte = |frame: u128| u64::try_from(frame).unwrap_or(u64::MAX).saturating_mul(layout.frame);
    let first = byte(since(micros(from).saturating_sub(guard)).saturating_mul(rate) / 1_000_000);
    let last = to.map(|to| byte(since(micros(to).saturating_add(guard)).saturating_mul(rate).div_ceil(1_000_000)));
    first..last.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
