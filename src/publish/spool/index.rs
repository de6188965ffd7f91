//! What is where in the spool, and what of it is still wanted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An event that is on disk only. 32 bytes: a million of them, about a gigabyte of
/// spool, cost 32 MB of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::publish) struct Wanted {
    pub(in crate::publish) position: u64,
    pub(in crate::publish) key: u64,
    /// Where its frame begins in the file.
    pub(super) at: u64,
    /// Bytes of its frame.
    pub(super) length: u32,
}

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// First and last position of the events in it, if it has any.
    pub(super) span: Option<(u64, u64)>,
    /// Events in it that are not settled.
    pub(super) unsettled: u64,
    /// Events in it that are to be read back, in order.
    pub(super) wanted: VecDeque<Wanted>,
    /// Whether it is written to no more.
    pub(super) closed: bool,
}

#[derive(Debug, Default)]
struct State {
    segments: VecDeque<Segment>,
    bytes: u64,
    unsettled: u64,
}

/// Shared by who writes, who reads and who asks.
#[derive(Debug)]
pub(in crate::publish) struct Index {
    state: Mutex<State>,
    bytes_max: u64,
}

impl Index {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all files.
    pub(in crate::publish) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Events that are on disk and not settled.
    pub(in crate::publish) fn unsettled(&self) -> u64 {
        self.state().unsettled
    }

    /// Whether so many bytes more would be too many.
    pub(super) fn is_full(&self, more: u64) -> bool {
        self.state().bytes.saturating_add(more) > self.bytes_max
    }

    /// Whether three quarters of the room are taken.
    pub(in crate::publish) fn is_pressed(&self) -> bool {
        self.state().bytes >= self.bytes_max / 4 * 3
    }

    /// A file that was found, or one that begins.
    pub(super) fn add(&self, segment: Segment) {
        let mut state = self.state();
        state.bytes += segment.bytes;
        state.unsettled += segment.unsettled;
        state.segments.push_back(segment);
    }

    /// The newest file grew by `bytes` and these events; `wanted` are to be read back.
    pub(super) fn grew(&self, bytes: u64, positions: impl Iterator<Item = u64>, wanted: impl Iterator<Item = Wanted>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(segment) = state.segments.back_mut() else { return };
        for position in positions {
            let first = segment.span.map_or(position, |(first, _)| first);
            segment.span = Some((first, position));
            segment.unsettled += 1;
            state.unsettled += 1;
        }
        segment.wanted.extend(wanted);
        segment.bytes += bytes;
        state.bytes += bytes;
    }

    /// The newest file is written to no more.
    pub(super) fn close_newest(&self) {
        if let Some(segment) = self.state().segments.back_mut() {
            segment.closed = true;
        }
    }

    /// An event needs no delivery any more; deletes the files that nobody wants then.
    pub(in crate::publish) fn settle(&self, position: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        // Files are few, and the event is mostly in one of the first.
        let mut holds = state.segments.iter_mut();
        let of = holds.find(|segment| segment.span.is_some_and(|(first, last)| (first..=last).contains(&position)));
        if let Some(segment) = of.filter(|segment| segment.unsettled > 0) {
            segment.unsettled -= 1;
            state.unsettled -= 1;
        }
        let unwanted = unwanted(state);
        drop(guard);
        remove(&unwanted);
    }

    /// Deletes the files at the front that nobody wants.
    pub(super) fn release(&self) {
        let unwanted = unwanted(&mut self.state());
        remove(&unwanted);
    }

    /// The next events to read back, at most `max`, all in one file.
    pub(super) fn next_wanted(&self, max: usize) -> Option<(u64, PathBuf, Vec<Wanted>)> {
        let mut state = self.state();
        let segment = state.segments.iter_mut().find(|segment| !segment.wanted.is_empty())?;
        let some = segment.wanted.len().min(max);
        Some((segment.number, segment.path.clone(), segment.wanted.drain(..some).collect()))
    }
}

/// Takes the files from the front that nobody wants; the one that is written to stays.
fn unwanted(state: &mut State) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    while state.segments.front().is_some_and(|segment| segment.unsettled == 0 && segment.closed) {
        let Some(segment) = state.segments.pop_front() else { break };
        state.bytes -= segment.bytes;
        paths.push(segment.path);
    }
    paths
}

fn remove(paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = std::fs::remove_file(path) {
            // It would be replayed by the next start, and dropped by consumers as repeated.
            tracing::warn!(file = %path.display(), %error, "a spool file that is done with cannot be deleted");
        }
    }
}
