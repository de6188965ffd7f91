//! Events as JSON lines, in a file or on standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Refusal, Sink};
use crate::event::Event;
use crate::telemetry::{Delivery, EventSettled};

/// Name of this sink.
pub const NAME: &str = "file";

/// Where the lines go.
enum Target {
    /// Opened for appending when the sink is.
    Path(PathBuf, Option<BufWriter<File>>),
    /// Standard output.
    Stdout(io::Stdout),
}

/// Appends each event as one line. A line is either whole or absent: what a crash
/// cut off is a line without a line break, at the end.
pub struct JsonLines {
    target: Target,
}

impl JsonLines {
    /// Appends to the file at `path`, which is created if need be.
    #[must_use]
    pub fn to_path(path: PathBuf) -> Self {
        Self { target: Target::Path(path, None) }
    }

    /// Writes to standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self { target: Target::Stdout(io::stdout()) }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::Path(_, Some(file)) => file.write_all(line),
            Target::Path(_, None) => Err(io::ErrorKind::NotConnected.into()),
            Target::Stdout(out) => match out.lock().write_all(line) {
                // The reader has seen enough, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => written,
            },
        }
    }

    fn flush_target(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Path(_, Some(file)) => file.flush(),
            Target::Path(_, None) => Ok(()),
            Target::Stdout(out) => out.flush(),
        }
    }
}

impl Sink for JsonLines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&mut self) -> Result<(), String> {
        if let Target::Path(path, file) = &mut self.target {
            let opened = OpenOptions::new().create(true).append(true).open(&*path).map_err(|error| {
                format!(
                    "event file {} cannot be written: {error}; choose another with --events or sink.file.path, or \"\" for none",
                    path.display()
                )
            })?;
            *file = Some(BufWriter::new(opened));
        }
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        let mut line = event.to_structured();
        line.push(b'\n');
        self.write(&line).map_err(|_| Refusal::Busy)?;
        EventSettled { sink: NAME, delivery: Delivery::Delivered }.emit();
        Ok(())
    }

    fn poll(&mut self, _: Duration) {
        // Called when nothing more waits: readers of the file see what there is.
        let _ = self.flush_target();
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        self.flush_target().map_err(|_| 1)
    }
}
