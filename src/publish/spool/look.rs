//! Looks at a spool without touching it, while a gateway may be at work on it: what
//! is seen is how it was a moment ago.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::frame::{self, Fault, Frames, HEADER, Kind};
use super::{files, quarantined, recover};

/// What is in a spool.
#[derive(Debug, Default)]
pub struct Look {
    /// Files.
    pub files: usize,
    /// Bytes of these files, settled events included.
    pub bytes: u64,
    /// Events that wait for delivery.
    pub events: u64,
    /// `time` of the oldest of them.
    pub oldest: Option<String>,
    /// How many of each CloudEvents `type`.
    pub types: BTreeMap<String, u64>,
    /// Files that cannot be read whole and are not set aside yet, and why; the next start of a
    /// gateway does so.
    pub damaged: Vec<(PathBuf, Fault)>,
    /// Files that were set aside; their names end in the reason.
    pub quarantined: Vec<PathBuf>,
    /// Whether a process is at work on it.
    pub in_use: bool,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    time: String,
}

/// Looks at the spool of `sink` in `dir`; one that is not there is empty.
///
/// # Errors
/// When the folder cannot be listed.
pub fn look(dir: &Path, sink: &str) -> io::Result<Look> {
    let dir = dir.join(sink);
    let mut look = Look { quarantined: quarantined(&dir), in_use: in_use(&dir), ..Look::default() };
    let damaged = walk(&dir, &mut look.files, &mut look.bytes, |payload| {
        look.events += 1;
        if let Ok(envelope) = serde_json::from_slice::<Envelope>(payload) {
            *look.types.entry(envelope.kind).or_default() += 1;
            if look.oldest.as_ref().is_none_or(|oldest| envelope.time < *oldest) {
                look.oldest = Some(envelope.time);
            }
        }
        Ok(())
    })?;
    // A file that was set aside and is not all sent yet is in both places.
    let aside = |path: &Path, fault: Fault| {
        let name = format!("{}.{}", path.file_name().unwrap_or_default().to_string_lossy(), fault.name());
        look.quarantined.iter().any(|aside| aside.ends_with(&name))
    };
    look.damaged = damaged.into_iter().filter(|(path, fault)| !aside(path, *fault)).collect();
    Ok(look)
}

/// Writes every event that waits as one line of JSON (structured mode), in order.
///
/// # Errors
/// When the folder cannot be listed or the lines cannot be written.
pub fn export(dir: &Path, sink: &str, out: &mut impl Write) -> io::Result<u64> {
    let mut events = 0;
    walk(&dir.join(sink), &mut 0, &mut 0, |payload| {
        events += 1;
        out.write_all(payload)?;
        out.write_all(b"\n")
    })?;
    Ok(events)
}

fn in_use(dir: &Path) -> bool {
    let file = File::open(dir.join("lock"));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Gives the payload of every event that is not settled; gives back what is damaged.
fn walk(
    dir: &Path,
    count: &mut usize,
    bytes: &mut u64,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<(PathBuf, Fault)>> {
    let files = files(dir)?;
    let mut settled = Vec::new();
    let mut damaged = Vec::new();
    for (_, path) in &files {
        // One that is gone by now was settled meanwhile.
        if path.exists()
            && let (_, Some(fault)) = recover::scan(path, &mut settled)
        {
            damaged.push((path.clone(), fault));
        }
    }
    let settled = recover::merge(settled);
    for (_, path) in files {
        let Ok(content) = std::fs::read(&path) else { continue };
        *count += 1;
        *bytes += content.len() as u64;
        if frame::check_header(&content).is_err() {
            continue;
        }
        for (frame, _) in Frames::of(&content, HEADER.len()) {
            if frame.kind != Kind::Settled && !recover::contains(&settled, frame.position) {
                each(frame.payload)?;
            }
        }
    }
    Ok(damaged)
}
