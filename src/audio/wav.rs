//! WAV files for the command line, the demo and tests; the media path never sees one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::types::Rate;

/// A WAV file's audio, one buffer a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav {
    /// Samples a second.
    pub rate: Rate,
    /// One equally long buffer of 16-bit samples for each channel.
    pub channels: Vec<Vec<i16>>,
}

impl Wav {
    /// Length in whole seconds, rounded down.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.channels.first().map_or(0, |samples| samples.len() as u64 / u64::from(self.rate.hz()))
    }
}

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// Not there, not readable, or not a WAV file we can decode.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        problem: hound::Error,
    },
    /// A rate the pipeline does not take.
    #[error("{}: {hz} Hz; expected 8000, 16000 or 24000 Hz (sox, for one, converts: sox IN.wav -r 16000 OUT.wav)", path.display())]
    Rate {
        /// The file.
        path: PathBuf,
        /// Its rate.
        hz: u32,
    },
    /// No audio in it.
    #[error("{}: holds no audio", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads 8, 16, 24 or 32-bit integer or float WAV of any channel count into 16-bit samples.
///
/// # Errors
/// [`WavError`], naming the file and what was expected of it.
pub fn read(path: &Path) -> Result<Wav, WavError> {
    let unreadable = |problem| WavError::Unreadable { path: path.to_owned(), problem };
    decode(File::open(path).map(BufReader::new).map_err(|e| unreadable(e.into()))?, path)
}

/// Reads WAV of any rate: samples a second, and the channels.
///
/// # Errors
/// As [`read`].
pub fn read_any_rate(path: &Path) -> Result<(u32, Vec<Vec<i16>>), WavError> {
    let unreadable = |problem| WavError::Unreadable { path: path.to_owned(), problem };
    decode_any_rate(File::open(path).map(BufReader::new).map_err(|e| unreadable(e.into()))?, path)
}

/// Decodes WAV from anywhere; `path` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn decode(from: impl Read, path: &Path) -> Result<Wav, WavError> {
    let (hz, channels) = decode_any_rate(from, path)?;
    let rate = Rate::from_hz(hz).ok_or_else(|| WavError::Rate { path: path.to_owned(), hz })?;
    Ok(Wav { rate, channels })
}

fn decode_any_rate(from: impl Read, path: &Path) -> Result<(u32, Vec<Vec<i16>>), WavError> {
    let unreadable = |problem| WavError::Unreadable { path: path.to_owned(), problem };
    let mut reader = hound::WavReader::new(from).map_err(unreadable)?;
    let spec = reader.spec();
    let samples: Result<Vec<i16>, _> = match spec.sample_format {
        hound::SampleFormat::Float => {
            reader.samples::<f32>().map(|s| s.map(|s| (s * 32_767.0).round_ties_even() as i16)).collect()
        }
        hound::SampleFormat::Int => {
            let bits = i32::from(spec.bits_per_sample);
            let widen = move |s: i32| if bits <= 16 { s << (16 - bits) } else { s >> (bits - 16) };
            reader.samples::<i32>().map(|s| s.map(|s| widen(s) as i16)).collect()
        }
    };
    let samples = samples.map_err(unreadable)?;
    let count = usize::from(spec.channels).max(1);
    if samples.len() < count {
        return Err(WavError::Empty { path: path.to_owned() });
    }
    let channels = (0..count).map(|c| samples.iter().skip(c).step_by(count).copied().collect()).collect();
    Ok((spec.sample_rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(spec: hound::WavSpec, samples: &[i32]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::with_suffix(".wav").unwrap();
        let mut writer = hound::WavWriter::create(file.path(), spec).unwrap();
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        file
    }

    fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16) -> hound::WavSpec {
        hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format: hound::SampleFormat::Int }
    }

    #[test]
    fn channels_are_taken_apart() {
        let file = written(spec(2, 8000, 16), &[1, -1, 2, -2, 3, -3]);
        let wav = read(file.path()).unwrap();
        assert_eq!(wav, Wav { rate: Rate::Hz8000, channels: vec![vec![1, 2, 3], vec![-1, -2, -3]] });
    }

    #[test]
    fn eight_and_twenty_four_bits_become_sixteen() {
        assert_eq!(read(written(spec(1, 16_000, 8), &[64]).path()).unwrap().channels, [[64 << 8]]);
        assert_eq!(read(written(spec(1, 16_000, 24), &[1 << 20]).path()).unwrap().channels, [[1 << 12]]);
    }

    #[test]
    fn errors_name_the_file_and_what_was_expected() {
        let odd_rate = written(spec(1, 44_100, 16), &[0, 0]);
        let message = read(odd_rate.path()).unwrap_err().to_string();
        assert!(message.contains("44100 Hz; expected 8000, 16000 or 24000"), "{message}");
        let empty = written(spec(1, 16_000, 16), &[]);
        assert!(read(empty.path()).unwrap_err().to_string().ends_with("holds no audio"));
        let missing = read(Path::new("/nowhere/call.wav")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/call.wav"), "{missing}");
    }
}
