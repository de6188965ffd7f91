//! The events of the run, as a consumer gets them: the live stream, or Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::figures::{Heard, heard};
use crate::config::KafkaSink;
use crate::sink::kafka::Decoder;
use crate::sink::kafka::reader::{Reader, Start};

/// What is read; a stream each, as the live stream takes one beginning of a type.
const KINDS: [&str; 3] = ["transcript.final", "transcript.dropped", "leg.ended"];

/// Events that may wait for the book.
const WAITING_MAX: usize = 65_536;

/// Longest line of a stream, in bytes.
const LINE_MAX: usize = 1 << 20;

/// Longest wait for a stream to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait for a record before it is looked whether somebody still listens.
const WAIT: Duration = Duration::from_millis(50);

/// Where events are read.
#[derive(Debug, Clone)]
pub(super) enum From {
    /// `GET /v1/events` here, with this bearer token.
    Live(Url, Option<String>),
    /// All topics that are configured here.
    Kafka(Box<KafkaSink>),
}

/// Reads while it exists.
pub(super) struct Following {
    /// Ends when the gateway's streams do.
    pub(super) heard: mpsc::Receiver<Heard>,
    stop: Arc<AtomicBool>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// When something was here: since the run's start, and in µs since 1970.
fn now(start: Instant) -> (Duration, i64) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (start.elapsed(), i64::try_from(wall.as_micros()).unwrap_or_default())
}

fn micros(time: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_micros())
}

/// Begins to read the events of the run called `run`.
///
/// # Errors
/// Why they cannot be read, and what to do.
pub(super) async fn follow(from: From, run: String, start: Instant) -> Result<Following, String> {
    let (tell, heard) = mpsc::channel(WAITING_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    match from {
        From::Live(url, token) => {
            let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
            for kind in KINDS {
                let mut url = url.clone();
                url.query_pairs_mut().append_pair("type", kind);
                let mut request = client.get(url.clone());
                if let Some(token) = &token {
                    request = request.bearer_auth(token);
                }
                let refused =
                    |why: String| format!("{}: the events cannot be read: {why}", url.origin().ascii_serialization());
                let answer = tokio::time::timeout(PATIENCE, request.send()).await;
                let answer = answer.map_err(|_| refused(format!("no answer within {} s", PATIENCE.as_secs())))?;
                let answer = answer.map_err(|error| refused(innermost(&error)))?;
                match answer.status().as_u16() {
                    200 => {}
                    401 | 403 => {
                        return Err(refused("not allowed; give --token, a token of the scope events:read".to_owned()));
                    }
                    status => return Err(refused(format!("HTTP {status}"))),
                }
                tokio::spawn(read_stream(answer, run.clone(), start, tell.clone()));
            }
        }
        From::Kafka(settings) => {
            let (began, begins) = oneshot::channel();
            let stop = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name("kafka-reader".to_owned());
            let read = move || read_topics(&settings, &run, start, &tell, &stop, began);
            thread.spawn(read).map_err(|error| error.to_string())?;
            begins.await.unwrap_or_else(|_| Err("the reader ended".to_owned()))?;
        }
    }
    Ok(Following { heard, stop })
}

/// What was behind it all: the library's own words say only that a request failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

async fn read_stream(answer: reqwest::Response, run: String, start: Instant, tell: mpsc::Sender<Heard>) {
    let mut stream = answer.bytes_stream();
    let mut lines = Lines::default();
    while let Some(Ok(bytes)) = stream.next().await {
        let (arrived, wall_us) = now(start);
        let mut found = Vec::new();
        lines.feed(&bytes, |kind, data| {
            if kind == "missed" {
                found.extend(data.parse().ok().map(Heard::Missed));
                return;
            }
            let Ok(mut event) = serde_json::from_str::<Value>(data) else { return };
            let Some(time_us) = event["time"].as_str().and_then(micros) else { return };
            found.extend(heard(&run, kind, time_us, event["data"].take(), arrived, wall_us));
        });
        for heard in found {
            if tell.send(heard).await.is_err() {
                return;
            }
        }
    }
}

/// Server-sent events, as far as we need them: a type and one line of data.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    kind: String,
    data: String,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut told: impl FnMut(&str, &str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() > LINE_MAX {
                self.line.clear();
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']), &mut told);
            }
        }
    }

    fn take(&mut self, line: &str, told: &mut impl FnMut(&str, &str)) {
        match line.split_once(':') {
            _ if line.is_empty() => {
                if !self.data.is_empty() {
                    told(&self.kind, &self.data);
                }
                self.kind.clear();
                self.data.clear();
            }
            Some(("event", value)) => self.kind = value.trim_start().to_owned(),
            Some(("data", value)) => self.data.push_str(value.trim_start()),
            _ => {}
        }
    }
}

fn read_topics(
    settings: &KafkaSink,
    run: &str,
    start: Instant,
    tell: &mpsc::Sender<Heard>,
    stop: &AtomicBool,
    began: oneshot::Sender<Result<(), String>>,
) {
    let topics: Vec<String> = settings.event_topics().iter().map(|&topic| topic.to_owned()).collect();
    let opened =
        Reader::new(settings, &topics, None, Start::End).and_then(|reader| Ok((reader, Decoder::new(settings)?)));
    let (mut reader, mut decoder) = match opened {
        Ok(opened) => opened,
        // The run fails with it; nobody else needs to hear.
        Err(problem) => return drop(began.send(Err(problem))),
    };
    if began.send(Ok(())).is_err() {
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        let incoming = match reader.next(WAIT) {
            Ok(Some(incoming)) => incoming,
            Ok(None) => continue,
            // The stream ends, and the run says so.
            Err(_) => return,
        };
        let (arrived, wall_us) = now(start);
        let Some(time_us) = micros(&incoming.attributes.time) else { continue };
        let Ok(data) = decoder.decode(&incoming.value) else { continue };
        if let Some(heard) = heard(run, &incoming.attributes.kind, time_us, data, arrived, wall_us)
            && tell.blocking_send(heard).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_any_pieces() {
        let stream = ": keep-alive\r\n\r\nid: a:1\nevent: dtmf.v1\ndata: {\"n\":1}\n\nevent: missed\ndata: 12\n\n:\n\n";
        for size in [1, 2, 7, 1_000] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                lines.feed(piece, |kind, data| found.push((kind.to_owned(), data.to_owned())));
            }
            let expected =
                [("dtmf.v1", "{\"n\":1}"), ("missed", "12")].map(|(kind, data)| (kind.to_owned(), data.to_owned()));
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.feed(&[b'x'; 65_536], |_, _| panic!("there is no event in it"));
        }
        assert!(lines.line.len() <= LINE_MAX);
    }
}
