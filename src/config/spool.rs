//! `[sink.spool]`: durable events on disk, for sinks that are away.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[sink.spool]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSection {
    /// Folder; each sink has one of its own in it. It holds what was said: keep it private.
    pub dir: PathBuf,
    /// `always` writes each durable event before the sink gets it; `overflow` only while
    /// the sink is in trouble or behind; `off` keeps them in memory.
    pub mode: SpoolMode,
    /// `always` forces each to the disk before the sink gets it, `interval` now and then,
    /// `never` leaves it to the system. It matters when power fails, not when a process dies.
    pub fsync: SpoolFsync,
    /// That interval, in ms: what a power failure may cost, of what no sink has acknowledged.
    pub fsync_interval_ms: u64,
    /// Bytes on disk for each sink. At three quarters new legs are refused.
    pub bytes_max: u64,
    /// Bytes of one file, about: the unit in which room is given back.
    pub segment_bytes: u64,
    /// Durable events that wait for the sink in memory; the rest is read back from disk.
    pub memory_max: usize,
    /// Turns in a hundred for events on disk while others wait in memory too.
    pub replay_share: u32,
}

impl Default for SpoolSection {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("sidetone-spool"),
            mode: SpoolMode::Always,
            fsync: SpoolFsync::Interval,
            fsync_interval_ms: 1_000,
            bytes_max: 1 << 30,
            segment_bytes: 16 << 20,
            memory_max: 10_000,
            replay_share: 50,
        }
    }
}

/// When a durable event is written to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolMode {
    /// Before the sink gets it.
    Always,
    /// While the sink is in trouble or behind, and at a stop.
    Overflow,
    /// Never.
    Off,
}

/// When what was written is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolFsync {
    /// Before the sink gets the event.
    Always,
    /// Every `fsync_interval_ms`.
    Interval,
    /// When the system sees fit.
    Never,
}
