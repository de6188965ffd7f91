//! Durable events on disk: an append-only log in bounded files, one folder a sink.
//!
//! ```text
//! <dir>/<sink>/lock                     held by the process that writes
//! <dir>/<sink>/00000000000000000007.spool   frames, see `frame`; deleted once all is settled
//! <dir>/<sink>/quarantine/…7.spool.damaged   what could not be read whole, as it was found
//! ```
//!
//! [`Writer`] appends events and notes which are settled, [`Reader`] gives back those
//! that are on disk only, and [`Index`] knows what is where; files go from the front,
//! once nothing in them is wanted. A file is never written again by a later process.
//!
//! Why no embedded database: see `bench/RESULTS.md`. In short, those that keep what is
//! written without fsync through a SIGKILL lose half a file, or all, to one flipped bit.

mod frame;
mod index;
mod look;
mod reader;
mod recover;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use frame::Fault;
pub(super) use frame::key;
pub(super) use index::Index;
pub use look::{Look, export, look};
pub(super) use reader::{Held, Reader};
pub(super) use writer::{Record, Writer};

/// When a durable event is written to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Before the sink gets it.
    Always,
    /// Only while the sink is in trouble or behind, and at a stop.
    Overflow,
}

/// When what was written is forced to the disk. A process that dies loses nothing that
/// was written, whichever it is; a machine that loses power may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before the sink gets an event.
    Always,
    /// At this interval.
    Every(Duration),
    /// When the system sees fit.
    Never,
}

/// How and where to spool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder; each sink has one of its own in it.
    pub dir: PathBuf,
    /// When events are written.
    pub mode: Mode,
    /// When they are forced to the disk.
    pub fsync: Fsync,
    /// Bytes of all files of one sink. At three quarters no new calls are taken.
    pub bytes_max: u64,
    /// Bytes of one file, about: the unit in which room is given back.
    pub segment_bytes: u64,
    /// Events in memory that wait for the sink; what comes beyond it is read back from disk.
    pub memory_max: usize,
    /// Turns in a hundred that go to events on disk while others wait in memory too: 1 to 99.
    pub replay_share: u32,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process writes to it.
    #[error(
        "spool {} is in use by process {pid}; a gateway replays by itself while it runs: stop it first, or choose \
         another folder with sink.spool.dir", .dir.display()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// As it wrote itself into the lock file.
        pid: String,
    },
    /// The system says no.
    #[error("spool {} cannot be used: {problem}; mend it, or choose another folder with sink.spool.dir", .dir.display())]
    Io {
        /// The folder or file.
        dir: PathBuf,
        /// What the system said.
        problem: io::Error,
    },
}

/// What a spool held when it was opened.
#[derive(Debug, Default)]
pub struct Found {
    /// Record keys, hashed, of the events that wait: one an event.
    pub(super) keys: Vec<u64>,
    /// Highest position used.
    pub(super) last: u64,
    /// Files that could not be read whole, and why.
    pub quarantined: Vec<(PathBuf, Fault)>,
}

impl Found {
    /// Events that wait.
    #[must_use]
    pub fn events(&self) -> usize {
        self.keys.len()
    }
}

/// A spool of our own.
pub(super) struct Spool {
    pub(super) index: Arc<Index>,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) found: Found,
}

/// Opens the spool of `sink`, makes it ours, and looks through what is there.
///
/// # Errors
/// [`SpoolError`]; damaged files are none.
pub(super) fn open(settings: &Settings, sink: &str) -> Result<Spool, SpoolError> {
    let dir = settings.dir.join(sink);
    let failed = |problem| SpoolError::Io { dir: dir.clone(), problem };
    // Transcripts are nobody else's business.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
    let lock = lock(&dir)?;
    let index = Arc::new(Index::new(settings.bytes_max));
    let (found, next) = recover::recover(&dir, &index).map_err(failed)?;
    let writer = Writer::new(dir.clone(), settings, Arc::clone(&index), next, lock);
    let reader = Reader::new(dir, Arc::clone(&index));
    Ok(Spool { index, writer, reader, found })
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let failed = |problem| SpoolError::Io { dir: dir.to_owned(), problem };
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            // The number is for people; the lock holds without it, on a full disk for instance.
            let _ = written;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let known = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
            Err(SpoolError::InUse { dir: dir.to_owned(), pid: if known { pid } else { "unknown".to_owned() } })
        }
        Err(TryLockError::Error(problem)) => Err(failed(problem)),
    }
}

/// Name of file number `number`.
fn file_name(number: u64) -> String {
    format!("{number:020}.spool")
}

/// The number that the name of a file begins with.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once(".spool")?.0.parse().ok()
}

/// The spool files of a folder, oldest first; the folder need not be there.
fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(number) = number_of(&path).filter(|_| path.extension().is_some_and(|ending| ending == "spool")) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Files set aside, and why, as their names say.
fn quarantined(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join(QUARANTINE)).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

/// Folder of what could not be read whole.
const QUARANTINE: &str = "quarantine";

/// Keeps a copy of a file that cannot be read whole, under a name that says why. What can
/// be read of it is used all the same; `whole` when nothing can.
fn quarantine(dir: &Path, path: &Path, fault: Fault, whole: bool) -> io::Result<PathBuf> {
    let folder = dir.join(QUARANTINE);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!("{name}.{}", fault.name()));
    if whole {
        std::fs::rename(path, &aside)?;
        return Ok(aside);
    }
    match std::fs::hard_link(path, &aside) {
        // An earlier start found the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => drop(std::fs::copy(path, &aside)?),
        Ok(()) => {}
    }
    Ok(aside)
}

#[cfg(test)]
mod tests;
