//! Recordings, and the documents behind `transcription_url`.
//!
//! Our token goes along, so a URL, and each redirect it leads to, must be one that may
//! have it. A redirect elsewhere is refused, not followed without the token: a webhook
//! must not make us fetch from any host it likes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use uuid::Uuid;

use super::client::{Client, body, read, succeeded};
use super::retry::Repeat;
use super::{RestError, trust};
use crate::vonage::webhook::TranscriptDocument;

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// What the server calls it: `audio/mpeg`.
    pub content_type: Option<String>,
}

/// What a recording passes through before any of it is on the disk.
pub trait Through: Send {
    /// What it says of the whole.
    type Report: Send;

    /// Takes the next piece, and appends to `out` what may pass.
    ///
    /// # Errors
    /// One word, where the recording must not be kept: that of [`RestError::Unfit`].
    fn pass(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str>;

    /// The recording is over; appends what is left to `out`.
    ///
    /// # Errors
    /// As [`Through::pass`].
    fn end(self, out: &mut Vec<u8>) -> Result<Self::Report, &'static str>;
}

/// Lets everything pass.
struct Unchanged;

impl Through for Unchanged {
    type Report = ();

    fn pass(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.extend_from_slice(piece);
        Ok(())
    }

    fn end(self, _out: &mut Vec<u8>) -> Result<(), &'static str> {
        Ok(())
    }
}

impl Client {
    /// Downloads a recording to a file, which its owner alone may read. It appears under
    /// its name when it is whole; a partial file is removed on every way out. A download
    /// that breaks is begun again.
    ///
    /// # Errors
    /// [`RestError`]: `Untrusted` before anything is sent, `TooLarge` beyond
    /// [`recording_bytes_max`](super::Settings::recording_bytes_max).
    pub async fn download(&self, url: &str, path: &Path) -> Result<Downloaded, RestError> {
        self.download_through(url, path, || Unchanged, |()| path.to_owned()).await.map(|(downloaded, ())| downloaded)
    }

    /// As [`Client::download`], through what `begin` makes for each attempt: length and
    /// checksum are those of the file that comes of it. It is written beside the path `beside`
    /// and gets the path that `name` gives it for what was found, in the same folder.
    ///
    /// # Errors
    /// As [`Client::download`], and `Unfit`, which is not tried again.
    pub async fn download_through<T: Through>(
        &self,
        url: &str,
        beside: &Path,
        begin: impl Fn() -> T + Send + Sync,
        name: impl FnOnce(&T::Report) -> PathBuf + Send,
    ) -> Result<(Downloaded, T::Report), RestError> {
        let partial = Partial::beside(beside);
        let (started, limit) = (Instant::now(), self.settings().recording_timeout);
        let once = || async {
            let response = self.open(url, limit.saturating_sub(started.elapsed())).await?;
            // Opened here and not on another thread, where it could be made after we have gone.
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = File::from_std(options.open(&partial.0).map_err(disk)?);
            let downloaded = self.copy(response, &mut file, begin()).await?;
            file.sync_all().await.map_err(disk)?;
            Ok(downloaded)
        };
        let downloaded = self.patiently(Repeat::Idempotent, started, limit, once).await?;
        let path = name(&downloaded.1);
        tokio::fs::rename(&partial.0, &path).await.map_err(disk)?;
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
            && let Ok(folder) = File::open(folder).await
        {
            // Else the name may be gone after a power failure. Not every file system can.
            let _ = folder.sync_all().await;
        }
        Ok(downloaded)
    }

    /// Downloads a recording into a writer, and flushes it. Nothing is tried again once the
    /// writer has been given something; what it was given before an error is the caller's
    /// to discard.
    ///
    /// # Errors
    /// As [`Client::download`].
    pub async fn download_to(
        &self,
        url: &str,
        writer: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<Downloaded, RestError> {
        let (started, limit) = (Instant::now(), self.settings().recording_timeout);
        let open = || self.open(url, limit.saturating_sub(started.elapsed()));
        let response = self.patiently(Repeat::Idempotent, started, limit, open).await?;
        self.copy(response, writer, Unchanged).await.map(|(downloaded, ())| downloaded)
    }

    /// Reads the document behind a `transcription_url`, at most
    /// [`response_bytes_max`](super::Settings::response_bytes_max) long.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn transcript(&self, url: &str) -> Result<TranscriptDocument, RestError> {
        let (started, limit) = (Instant::now(), self.settings().total_timeout);
        let once = || async {
            let response = self.open(url, limit.saturating_sub(started.elapsed())).await?;
            body(response, self.settings().response_bytes_max).await
        };
        let document = self.patiently(Repeat::Idempotent, started, limit, once).await?;
        read(&document, "an object with a transcription")
    }

    /// One attempt to open a file, redirects followed by hand.
    async fn open(&self, url: &str, timeout: Duration) -> Result<Response, RestError> {
        let hosts = &self.settings().trusted_hosts;
        let mut url = trust::url(url, hosts)?;
        let mut followed = 0;
        loop {
            let response = self.get_file(&url, timeout).await?;
            let moved = matches!(
                response.status(),
                StatusCode::MOVED_PERMANENTLY
                    | StatusCode::FOUND
                    | StatusCode::SEE_OTHER
                    | StatusCode::TEMPORARY_REDIRECT
                    | StatusCode::PERMANENT_REDIRECT
            );
            let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok());
            let Some(target) = target.filter(|_| moved && followed < self.settings().redirects_max) else {
                return succeeded(response).await;
            };
            let target = url.join(target).map_err(|_| RestError::Untrusted { host: String::new() })?;
            url = trust::url(target.as_str(), hosts)?;
            followed += 1;
        }
    }

    /// Copies a body, bounded in length and in the wait for each piece.
    async fn copy<T: Through>(
        &self,
        mut response: Response,
        writer: &mut (impl AsyncWrite + Unpin),
        mut through: T,
    ) -> Result<(Downloaded, T::Report), RestError> {
        let settings = self.settings();
        let too_large = RestError::TooLarge { max: settings.recording_bytes_max };
        if response.content_length().is_some_and(|length| length > settings.recording_bytes_max) {
            return Err(too_large);
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let unfit = |reason| RestError::Unfit { reason };
        let (mut received, mut bytes, mut hash, mut passed) = (0_u64, 0_u64, Sha256::new(), Vec::new());
        loop {
            let chunk = tokio::time::timeout(settings.recording_idle_timeout, response.chunk());
            let Some(chunk) = chunk.await.map_err(|_| RestError::TimedOut)?? else { break };
            received += chunk.len() as u64;
            if received > settings.recording_bytes_max {
                return Err(too_large);
            }
            passed.clear();
            through.pass(&chunk, &mut passed).map_err(unfit)?;
            bytes += passed.len() as u64;
            hash.update(&passed);
            writer.write_all(&passed).await.map_err(disk)?;
        }
        passed.clear();
        let report = through.end(&mut passed).map_err(unfit)?;
        bytes += passed.len() as u64;
        hash.update(&passed);
        writer.write_all(&passed).await.map_err(disk)?;
        writer.flush().await.map_err(disk)?;
        Ok((Downloaded { bytes, sha256: format!("{:x}", hash.finalize()), content_type }, report))
    }
}

fn disk(error: std::io::Error) -> RestError {
    RestError::Disk(error.kind())
}

/// A file that is being written; gone when this is dropped, unless it was renamed.
struct Partial(PathBuf);

impl Partial {
    /// A name of its own in the same folder, since a webhook that comes twice starts two.
    fn beside(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", Uuid::new_v4().simple()));
        Self(name.into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There is none, or it could not be removed: neither can be helped here.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests;
