//! Appends to the spool.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::frame::{self, Frame, HEADER, Kind};
use super::index::{Index, Segment, Wanted};
use super::{Fsync, Settings, file_name};
use crate::event::Event;
use crate::publish::order::Path;

/// An event to be written.
pub(in crate::publish) struct Record<'a> {
    pub(in crate::publish) position: u64,
    pub(in crate::publish) key: u64,
    /// Where this process has it besides.
    pub(in crate::publish) path: Path,
    pub(in crate::publish) event: &'a Event,
}

struct Open {
    file: File,
    bytes: u64,
}

/// The one writer of a spool.
pub(in crate::publish) struct Writer {
    dir: PathBuf,
    fsync: Fsync,
    segment_bytes: u64,
    index: Arc<Index>,
    open: Option<Open>,
    /// Number of the next file.
    next: u64,
    /// When the oldest write happened that was not forced to the disk.
    dirty: Option<Instant>,
    buffer: Vec<u8>,
    /// Held for as long as this lives.
    _lock: File,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, settings: &Settings, index: Arc<Index>, next: u64, lock: File) -> Self {
        let Settings { fsync, segment_bytes, .. } = *settings;
        Self { dir, fsync, segment_bytes, index, open: None, next, dirty: None, buffer: Vec::new(), _lock: lock }
    }

    /// Writes events, in one go: all of them or none.
    ///
    /// # Errors
    /// `StorageFull` at the spool's own bound, else what the system says.
    pub(in crate::publish) fn append(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        self.buffer.clear();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let start = self.buffer.len();
            let payload = record.event.to_structured();
            if payload.len() > frame::PAYLOAD_MAX {
                return Err(io::Error::other("an event is larger than a record of the spool may be"));
            }
            let kind = if record.path == Path::Live { Kind::Live } else { Kind::Backlog };
            let Record { position, key, .. } = *record;
            frame::write(&mut self.buffer, &Frame { kind, position, key, payload: &payload });
            places.push((start as u64, (self.buffer.len() - start) as u32));
        }
        if self.index.is_full(self.buffer.len() as u64) {
            let what = "the spool is at its bound, sink.spool.bytes_max";
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let start = self.write_out()?;
        if self.fsync == Fsync::Always
            && let Err(error) = self.sync()
        {
            // Whether it is on the disk is not known: it was not taken.
            self.take_back(start);
            return Err(error);
        }
        let wanted = records.iter().zip(&places).filter(|(record, _)| record.path == Path::Backlog);
        let wanted = wanted.map(|(record, (at, length))| Wanted {
            position: record.position,
            key: record.key,
            at: start + at,
            length: *length,
        });
        self.index.grew(self.buffer.len() as u64, records.iter().map(|record| record.position), wanted);
        Ok(())
    }

    /// Notes that these positions, sorted, need no delivery after a restart.
    ///
    /// # Errors
    /// What the system says; then a restart delivers them again.
    pub(in crate::publish) fn settled(&mut self, positions: &[u64]) -> io::Result<()> {
        let payload = frame::ranges_to_bytes(&frame::ranges(positions.iter().copied()));
        let position = positions.first().copied().unwrap_or(0);
        self.buffer.clear();
        frame::write(&mut self.buffer, &Frame { kind: Kind::Settled, position, key: 0, payload: &payload });
        self.write_out()?;
        self.index.grew(self.buffer.len() as u64, std::iter::empty(), std::iter::empty());
        Ok(())
    }

    /// Writes the buffer; gives the place in the file where it begins.
    fn write_out(&mut self) -> io::Result<u64> {
        if self.open.as_ref().is_some_and(|open| open.bytes >= self.segment_bytes) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let path = self.dir.join(file_name(self.next));
                let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
                let number = self.next;
                self.next += 1;
                // Header and first records may not both fit a full disk: then there is no file.
                if let Err(error) = file.write_all(HEADER) {
                    let _ = std::fs::remove_file(&path);
                    return Err(error);
                }
                let bytes = HEADER.len() as u64;
                let segment =
                    Segment { number, path, bytes, span: None, unsettled: 0, wanted: [].into(), closed: false };
                self.index.add(segment);
                if self.fsync != Fsync::Never {
                    File::open(&self.dir)?.sync_all()?;
                }
                none.insert(Open { file, bytes })
            }
        };
        let start = open.bytes;
        match open.file.write_all(&self.buffer) {
            Ok(()) => {
                open.bytes += self.buffer.len() as u64;
                self.dirty.get_or_insert_with(Instant::now);
                Ok(start)
            }
            Err(error) => {
                self.take_back(start);
                Err(error)
            }
        }
    }

    /// Cuts the newest file back to what it held before; if even that fails, begins another.
    fn take_back(&mut self, bytes: u64) {
        let Some(open) = &mut self.open else { return };
        open.bytes = bytes;
        let cut = open.file.set_len(bytes);
        if cut.and_then(|()| io::Seek::seek(&mut open.file, io::SeekFrom::Start(bytes))).is_err() {
            self.open = None;
            self.index.close_newest();
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.dirty = None;
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.fsync != Fsync::Never && self.dirty.is_some() {
            self.sync()?;
        }
        self.open = None;
        self.index.close_newest();
        // It may have been settled already.
        self.index.release();
        Ok(())
    }

    /// Forces what was written to the disk, if it is time.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::publish) fn sync_if_due(&mut self, now: Instant) -> io::Result<()> {
        match (self.fsync, self.dirty) {
            (Fsync::Every(interval), Some(since)) if now.duration_since(since) >= interval => self.sync(),
            _ => Ok(()),
        }
    }

    /// Deletes all files, if nothing in them is wanted any more.
    pub(in crate::publish) fn clear(&mut self) {
        if self.index.unsettled() == 0 && self.index.bytes() > 0 {
            self.open = None;
            self.dirty = None;
            self.index.close_newest();
            self.index.release();
        }
    }

    /// Brings everything to where it stays.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::publish) fn finish(&mut self) -> io::Result<()> {
        self.clear();
        self.close()
    }
}
