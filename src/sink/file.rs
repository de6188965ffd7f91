//! Events as JSON lines, in a file or on standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Refusal, Sink};
use crate::event::Event;
use crate::telemetry::{Delivery, EventSettled};

/// Name of this sink.
pub const NAME: &str = "file";

/// Bytes of lines that are gathered before they are written, if nobody waits for them.
const GATHERED: usize = 16_384;

/// Where the lines go.
enum Target {
    /// Opened for appending when the sink is.
    Path(PathBuf, Option<File>),
    /// Standard output.
    Stdout(io::Stdout),
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Path(_, Some(file)) => file.write(bytes),
            Self::Path(_, None) => Err(io::ErrorKind::NotConnected.into()),
            Self::Stdout(out) => match out.write(bytes) {
                // The reader has seen enough, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
                written => written,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => match out.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                flushed => flushed,
            },
            Self::Path(..) => Ok(()),
        }
    }
}

/// Appends each event as one line. A line is either whole or absent: what a crash
/// cut off is a line without a line break at the end, and the next start begins a new one.
pub struct JsonLines {
    target: Target,
    /// Lines that are not written yet; the first may be written in part.
    lines: Vec<u8>,
    /// Events in `lines`.
    taken: usize,
    trouble: Option<String>,
}

impl JsonLines {
    /// Appends to the file at `path`, which is created if need be.
    #[must_use]
    pub fn to_path(path: PathBuf) -> Self {
        Self::to(Target::Path(path, None))
    }

    /// Writes to standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self::to(Target::Stdout(io::stdout()))
    }

    fn to(target: Target) -> Self {
        Self { target, lines: Vec::new(), taken: 0, trouble: None }
    }

    /// Writes what was gathered. What a full disk leaves over is kept, to the byte.
    fn write_out(&mut self) -> bool {
        match drain(&mut self.lines, |bytes| self.target.write(bytes)).and_then(|()| self.target.flush()) {
            Ok(()) => {
                (0..self.taken).for_each(|_| EventSettled { sink: NAME, delivery: Delivery::Delivered }.emit());
                self.taken = 0;
                self.trouble = None;
                true
            }
            Err(error) => {
                self.trouble = Some(match &self.target {
                    Target::Path(path, _) => unwritable(path, &error),
                    Target::Stdout(_) => format!("standard output cannot be written: {error}"),
                });
                false
            }
        }
    }
}

/// Writes `lines` and empties it; after an error it holds exactly what was not written.
fn drain(lines: &mut Vec<u8>, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    let mut outcome = Ok(());
    while done < lines.len() && outcome.is_ok() {
        match write(&lines[done..]) {
            Ok(0) => outcome = Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => outcome = Err(error),
        }
    }
    lines.drain(..done);
    outcome
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!(
        "event file {} cannot be written: {error}; choose another with --events or sink.file.path, or \"\" for none",
        path.display()
    )
}

/// Whether a file ends in the middle of a line.
fn is_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl Sink for JsonLines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&mut self) -> Result<(), String> {
        if let Target::Path(path, file) = &mut self.target {
            let opened = OpenOptions::new().create(true).append(true).open(&*path);
            *file = Some(opened.map_err(|error| unwritable(path, &error))?);
            // Ends the torn line with the first one that is written; opening alone changes
            // nothing. A file that we may write but not read is taken to be whole.
            if self.lines.is_empty() && is_torn(path).unwrap_or(false) {
                self.lines.push(b'\n');
            }
        }
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        if self.lines.len() >= GATHERED && !self.write_out() {
            return Err(Refusal::Busy);
        }
        self.lines.append(&mut event.to_structured());
        self.lines.push(b'\n');
        self.taken += 1;
        Ok(())
    }

    fn poll(&mut self, _: Duration) -> bool {
        // Called when nothing more waits: readers of the file see what there is.
        self.write_out();
        false
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        if self.write_out() { Ok(()) } else { Err(self.taken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_in_a_line_gets_the_rest_of_it_later() {
        let mut lines = b"one\ntwo\n".to_vec();
        let (mut disk, mut room) = (Vec::new(), 5);
        let mut write = |bytes: &[u8], room: &mut usize| {
            let taken = bytes.len().min(*room).min(3);
            *room -= taken;
            disk.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        };
        let full = drain(&mut lines, |bytes| write(bytes, &mut room));
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        lines.extend_from_slice(b"three\n");
        room = 100;
        drain(&mut lines, |bytes| write(bytes, &mut room)).unwrap();
        assert_eq!((String::from_utf8(disk).unwrap().as_str(), lines.len()), ("one\ntwo\nthree\n", 0));
    }

    #[test]
    fn an_interrupted_write_is_tried_again_and_one_of_nothing_is_an_error() {
        let (mut lines, mut calls) = (b"line\n".to_vec(), 0);
        let write = |bytes: &[u8]| {
            calls += 1;
            if calls == 1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(bytes.len()) }
        };
        drain(&mut lines, write).unwrap();
        assert_eq!((calls, lines.len()), (2, 0));
        let mut lines = b"line\n".to_vec();
        assert_eq!(drain(&mut lines, |_| Ok(0)).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        for (before, after) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"id", "{}\n{\"id\n")] {
            std::fs::write(&path, before).unwrap();
            let mut sink = JsonLines::to_path(path.clone());
            sink.open().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "opening alone changed it");
            sink.poll(Duration::ZERO);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
