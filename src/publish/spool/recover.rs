//! What an earlier process left: which of its events still wait.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::frame::{self, Fault, Frames, HEADER, Kind};
use super::index::{Index, Segment, Wanted};
use super::{Found, files, number_of, quarantine, quarantined};

/// Looks through all files, oldest first, fills the index, and gives the number of the
/// next file. Damage costs the records it is in; files that hold any are kept aside too.
pub(super) fn recover(dir: &Path, index: &Index) -> io::Result<(Found, u64)> {
    let mut found = Found::default();
    let mut segments = Vec::new();
    let mut settled = Vec::new();
    // What is aside keeps its name to itself.
    let mut next = quarantined(dir).iter().filter_map(|path| number_of(path)).max().unwrap_or(0) + 1;
    for (number, path) in files(dir)? {
        next = next.max(number + 1);
        let (scan, fault) = scan(&path, &mut settled);
        match (scan, fault) {
            (None, None) => std::fs::remove_file(&path)?,
            (None, Some(fault)) => found.quarantined.push((quarantine(dir, &path, fault, true)?, fault)),
            (Some((bytes, wanted)), fault) => {
                if let Some(fault) = fault {
                    found.quarantined.push((quarantine(dir, &path, fault, false)?, fault));
                }
                let span = wanted.front().zip(wanted.back()).map(|(first, last)| (first.position, last.position));
                found.last = found.last.max(span.map_or(0, |(_, last)| last));
                segments.push(Segment { number, path, bytes, span, unsettled: 0, wanted, closed: true });
            }
        }
    }
    let settled = merge(settled);
    found.last = found.last.max(settled.last().map_or(0, |(_, last)| *last));
    for mut segment in segments {
        segment.wanted.retain(|wanted| !contains(&settled, wanted.position));
        segment.unsettled = segment.wanted.len() as u64;
        found.keys.extend(segment.wanted.iter().map(|wanted| wanted.key));
        index.add(segment);
    }
    // Files whose every event is settled go; the index keeps those behind one that is not.
    index.release();
    Ok((found, next))
}

type Scan = Option<(u64, VecDeque<Wanted>)>;

/// The events in a file; `None` when it has nothing to read. Adds what it says is settled.
pub(super) fn scan(path: &Path, settled: &mut Vec<(u64, u64)>) -> (Scan, Option<Fault>) {
    let Ok(bytes) = std::fs::read(path) else { return (None, Some(Fault::Unreadable)) };
    if bytes.is_empty() {
        return (None, None);
    }
    if let Err(fault) = frame::check_header(&bytes) {
        return (None, Some(fault));
    }
    let mut frames = Frames::of(&bytes, HEADER.len());
    let mut wanted = VecDeque::new();
    for (frame, place) in frames.by_ref() {
        match frame.kind {
            Kind::Settled => settled.extend(frame::ranges_of_bytes(frame.payload)),
            Kind::Live | Kind::Backlog => wanted.push_back(Wanted {
                position: frame.position,
                key: frame.key,
                at: place.start as u64,
                length: place.len() as u32,
            }),
        }
    }
    (Some((bytes.len() as u64, wanted)), frames.fault)
}

/// Sorted ranges that do not overlap.
pub(super) fn merge(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

pub(super) fn contains(ranges: &[(u64, u64)], position: u64) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= position);
    after > 0 && ranges[after - 1].1 >= position
}
