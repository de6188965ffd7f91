//! One file over HTTP, resumed where an earlier attempt stopped.
//!
//! Must never write more than the file is long, never put the link into an error,
//! and never trust a byte: whoever calls checks the whole file's checksum.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Client, StatusCode};

/// Attempts in a row that may bring nothing new.
const TRIES: u32 = 4;

/// Wait after the first such attempt; each further one waits this much longer.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest time to wait for a connection, and for each read.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a transfer ended without the file.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other side, or the way to it; for people, without the link.
    Remote(String),
    /// Our own disk.
    Disk(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// The client of real transfers. It takes proxies and certificates from where the
/// system and the environment have them.
pub(super) fn client() -> Result<Client, Broken> {
    let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
    client.map_err(|error| Broken::Remote(told(error)))
}

/// Brings `link`, a file of `size` bytes, to `path`, going on from what is there.
/// Tells `progress` how many bytes are there, at the start and as they come.
///
/// Blocks; must not be called from an asynchronous task.
pub(super) fn bring(
    client: &Client,
    link: &str,
    size: u64,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut furthest = file.metadata()?.len();
        let mut idle = 0;
        loop {
            let reason = match attempt(client, link, size, &mut file, progress).await {
                Ok(()) => return Ok(file.sync_all()?),
                Err(Stop::Final(broken)) => return Err(broken),
                Err(Stop::Again(reason)) => reason,
            };
            let have = file.metadata()?.len();
            idle = if have > furthest { 0 } else { idle + 1 };
            furthest = furthest.max(have);
            if idle == TRIES {
                return Err(Broken::Remote(reason));
            }
            tokio::time::sleep(PAUSE * idle).await;
        }
    })
}

/// Why one attempt ended early.
enum Stop {
    /// For good.
    Final(Broken),
    /// Worth another attempt; the reason, should it be the last.
    Again(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Final(Broken::Disk(error))
    }
}

impl From<reqwest::Error> for Stop {
    fn from(error: reqwest::Error) -> Self {
        Self::Again(told(error))
    }
}

async fn attempt(
    client: &Client,
    link: &str,
    size: u64,
    file: &mut File,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Stop> {
    let mut have = file.metadata()?.len();
    if have > size {
        file.set_len(0)?;
        have = 0;
    }
    progress(have);
    if have == size {
        return Ok(());
    }
    let mut request = client.get(link);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let mut response = request.send().await?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(response.headers()) == Some(have) => {}
        // The whole file, or a part we did not ask for: this side does not do ranges.
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            file.set_len(0)?;
            return Err(Stop::Again("the server and we disagree on where to go on".to_owned()));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Stop::Again(format!("the server answered {status}")));
        }
        status => return Err(Stop::Final(Broken::Remote(format!("the server answered {status}")))),
    }
    if let Some(rest) = response.content_length()
        && have + rest != size
    {
        let other = Broken::Remote(format!("the server has a file of {} bytes, expected {size}", have + rest));
        return Err(Stop::Final(other));
    }
    file.set_len(have)?;
    file.seek(SeekFrom::Start(have))?;
    while let Some(chunk) = response.chunk().await? {
        have += chunk.len() as u64;
        if have > size {
            file.set_len(0)?;
            return Err(Stop::Final(Broken::Remote(format!("the server sent more than the {size} bytes expected"))));
        }
        file.write_all(&chunk)?;
        progress(have);
    }
    if have < size {
        return Err(Stop::Again(format!("the connection ended after {have} of {size} bytes")));
    }
    Ok(())
}

/// The first byte of the range that the answer holds.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?;
    range.split('-').next()?.trim().parse().ok()
}

/// An error with its causes, without the link.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
