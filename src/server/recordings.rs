//! Keeps copies of recordings: downloads each, silences on the way what was said while capture
//! was paused, and gives it a name when it is whole.
//!
//! ```text
//! Centre ── Keep ──► room? ── no ──► "busy"
//!                      │ yes
//!                      ▼
//!                    its turn ──► Client: our token, trusted hosts, attempts, bounds
//!                                   │ pieces
//!                                   ▼
//!                                 Muter ──► NAME.….part ── whole, on disk ──► NAME.wav
//! ```
//!
//! Invariant: what was said while capture was paused is never on the disk, whole file or part.
//! What must not be there after a power failure was never written.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::audio::mute::{Muted, Muter, Muting};
use crate::config;
use crate::control::Keep;
use crate::event::call::RecordingCopy;
use crate::vonage::rest::{Client, Downloaded, RestError, Through};

/// Longest id that is part of a file's name as it is.
const ID_MAX: usize = 64;
/// Hexadecimal digits of the checksum that stands for any other.
const DIGEST_LEN: usize = 32;

/// Keeps copies of recordings, so many at a time.
pub struct Recordings {
    client: Client,
    folder: PathBuf,
    guard: Duration,
    /// Those under way and those that wait.
    room: Arc<Semaphore>,
    /// Those under way.
    turns: Semaphore,
    stop: CancellationToken,
}

/// Room for one more recording, until it is dropped.
pub struct Room(#[allow(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Recordings {
    /// Keeps nothing yet. `client` has the bounds of `[vonage.recordings]`.
    #[must_use]
    pub fn new(settings: &config::Recordings, client: Client) -> Self {
        Self {
            client,
            folder: settings.folder.clone(),
            guard: Duration::from_millis(settings.guard_ms),
            room: Arc::new(Semaphore::new(settings.parallel + settings.waiting_max)),
            turns: Semaphore::new(settings.parallel),
            stop: CancellationToken::new(),
        }
    }

    /// Room for one more; none where too many are under way and waiting.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(Room)
    }

    /// Downloads, mutes and keeps a recording, in its turn. Says what became of it.
    pub async fn keep(&self, wanted: &Keep, _room: Room) -> RecordingCopy {
        let is_whole = AtomicBool::new(false);
        let mut work = pin!(async {
            let Ok(_turn) = self.turns.acquire().await else { return RecordingCopy::refused(STOPPED) };
            self.copy(wanted, &is_whole).await.unwrap_or_else(|error| RecordingCopy::refused(error.class()))
        });
        tokio::select! {
            copy = &mut work => copy,
            // It is being given its name: that takes no time, and then it is there.
            () = self.stop.cancelled() => match is_whole.load(Ordering::Relaxed) {
                true => work.await,
                // What was begun leaves nothing behind.
                false => RecordingCopy::refused(STOPPED),
            },
        }
    }

    /// Gives up what is under way and what comes.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Sets `is_whole` before the file gets its name.
    async fn copy(&self, wanted: &Keep, is_whole: &AtomicBool) -> Result<RecordingCopy, RestError> {
        let stem = stem(wanted);
        let muting =
            Muting { start: wanted.start, end: wanted.end, stretches: wanted.paused.clone(), guard: self.guard };
        let begin = || Muter::new(muting.clone());
        let name = |muted: &Muted| format!("{stem}.{}", muted.container.ending());
        let beside = self.folder.join(&stem);
        let placed = |muted: &Muted| {
            is_whole.store(true, Ordering::Relaxed);
            self.folder.join(name(muted))
        };
        let (Downloaded { bytes, sha256, .. }, muted) =
            self.client.download_through(&wanted.url, &beside, begin, placed).await?;
        Ok(RecordingCopy {
            kept: true,
            reason: None,
            path: Some(name(&muted)),
            bytes: Some(bytes),
            sha256: Some(sha256),
            muted: Some(muted.stretches),
            muted_ms: Some(muted.ms),
        })
    }
}

/// The gateway stops.
const STOPPED: &str = "gateway_stopped";

impl Through for Muter {
    type Report = Muted;

    fn pass(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        self.pass(piece, out).map_err(crate::audio::mute::Unfit::as_str)
    }

    fn end(self, out: &mut Vec<u8>) -> Result<Muted, &'static str> {
        self.end(out).map_err(crate::audio::mute::Unfit::as_str)
    }
}

/// A file's name without its ending: call and recording. Peers wrote both, so what is not of
/// letters, digits and `-` alone is named by its checksum: no path, and no two alike.
fn stem(wanted: &Keep) -> String {
    let recording = wanted.recording.as_deref().unwrap_or(&wanted.url);
    format!("{}_{}", harmless(wanted.call.as_str()), harmless(recording))
}

fn harmless(id: &str) -> String {
    let plain = !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain {
        return id.to_owned();
    }
    let digest = format!("{:x}", Sha256::digest(id));
    // No id that is written as it is has a dot.
    format!("id.{}", &digest[..DIGEST_LEN])
}

/// Whether files can be written to a folder: writes one, and removes it.
///
/// # Errors
/// What the system says.
pub fn can_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".{}.part", Uuid::new_v4().simple()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)
}

#[cfg(test)]
mod tests;
