//! Sentiment from a service of your own, over HTTP.
//!
//! ```text
//! POST <url>                                  content-type: application/json
//! {"text": "I have been waiting for an hour"} authorization: Bearer <key>, if there is one
//!
//! 200 {"score": -0.7, "label": "negative", "weights": {"negative": 0.8, "neutral": 0.15, "positive": 0.05}}
//! ```
//!
//! `score` is −1 (worst) to 1 (best). `label` may be left out; if it is there it must be
//! that of the score: at −0.05 and below negative, at 0.05 and above positive. So may
//! `weights`, which sum to 1; without them the score's size is the weight of its side.
//!
//! An inference thread waits for the answer, so the deadline is short, and a service that
//! fails is left alone for a while. A text without an answer has no sentiment. Must never
//! put a text, the key or an answer into an error or a log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, Url, redirect};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Backend, Scorer};
use crate::http::{BodyError, body};
use crate::types::{BuildError, Fault, Private, Sentiment, SentimentLabel, is_this_machine, settings};

const NAME: &str = "sentiment.http";

/// Longest answer taken, in bytes.
const ANSWER_MAX: usize = 16_384;

/// Longest text sent, in bytes: many times what a segment of speech can hold.
const TEXT_MAX: usize = 8_192;

/// After so many failures in a row the service is left alone for [`PAUSE`].
const FAILURES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub(super) struct Http;

/// The table `[sentiment.http]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Where texts are sent: `https://…`, or `http://` to this machine.
    url: String,
    /// Sent as a bearer token; empty for none.
    #[serde(deserialize_with = "text")]
    key: Private<String>,
    /// Longest wait for an answer, connecting included, in ms, 10 to 5,000.
    timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: String::new(), key: Private::default(), timeout_ms: 300 }
    }
}

/// A key as text also where it was written as a number; an error must not show it.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Private<String>, D::Error> {
    Ok(Private(match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }))
}

impl Backend for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn about(&self) -> &'static str {
        "a service of your own: sends each text to sentiment.http.url and waits up to timeout_ms for its score"
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Arc<dyn Scorer>, BuildError> {
        let Settings { url, key, timeout_ms } = settings(NAME, table)?;
        let refused = |problem: String, remedy: &str| BuildError::new(NAME, problem, remedy);
        let link = Url::parse(&url).ok().filter(is_safe).ok_or_else(|| {
            refused(
                "url is missing, or not one to send texts to".to_owned(),
                "expected https://…, or http:// to this machine",
            )
        })?;
        if !(10..=5_000).contains(&timeout_ms) {
            return Err(refused(format!("timeout_ms = {timeout_ms}"), "expected 10 to 5000"));
        }
        if !key.0.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err(refused("key has characters that no header takes".to_owned(), "expected printable ASCII"));
        }
        let failed = |error: String| refused(error, "see the system's own message");
        let client = Client::builder()
            .timeout(Duration::from_millis(timeout_ms))
            // A text goes where the configuration says and nowhere else.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Some(runtime.map_err(|error| failed(error.to_string()))?);
        Ok(Arc::new(Service { link, key, client, runtime, health: Mutex::default() }))
    }
}

/// Whether texts may go there: encrypted, or not beyond this machine.
fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_this_machine)
}

/// How the service has been.
#[derive(Debug, Default)]
struct Health {
    /// Failures since it last answered.
    failures: u32,
    /// Until then it is left alone.
    resting: Option<Instant>,
}

struct Service {
    link: Url,
    key: Private<String>,
    client: Client,
    /// Taken when the service is dropped.
    runtime: Option<Runtime>,
    health: Mutex<Health>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // A runtime that is dropped within another one's task would wait for itself.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Scorer for Service {
    fn score(&self, text: &str) -> Result<Sentiment, Fault> {
        if text.trim().is_empty() {
            return Ok(weighed(0.0, None));
        }
        if self.health.lock().resting.is_some_and(|until| Instant::now() < until) {
            return Err(Fault::Backend("http: left alone after failures".to_owned()));
        }
        let answer = self.ask(beginning(text)).and_then(|answer| read(&answer));
        let mut health = self.health.lock();
        match answer {
            Ok(_) => *health = Health::default(),
            Err(problem) => {
                health.failures += 1;
                if health.failures >= FAILURES_MAX {
                    health.resting = Some(Instant::now() + PAUSE);
                    tracing::warn!(problem, "the sentiment service fails; it is left alone for {} s", PAUSE.as_secs());
                }
            }
        }
        answer.map_err(|problem| Fault::Backend(format!("http: {problem}")))
    }
}

impl Service {
    /// The body of the answer to `text`.
    fn ask(&self, text: &str) -> Result<Vec<u8>, &'static str> {
        let mut request = self.client.post(self.link.clone()).header("content-type", "application/json");
        if !self.key.0.is_empty() {
            request = request.bearer_auth(&self.key.0);
        }
        let request = request.body(json!({"text": text}).to_string());
        let runtime = self.runtime.as_ref().ok_or("closed")?;
        runtime.block_on(async {
            let response = request.send().await.map_err(|error| told(&error))?;
            match response.status().as_u16() {
                200 => {}
                401 | 403 => return Err("it wants another key"),
                _ => return Err("it refused the text"),
            }
            body(response, ANSWER_MAX).await.map_err(|error| match error {
                BodyError::TooLong => "its answer is too long",
                BodyError::Broken(error) => told(&error),
            })
        })
    }
}

/// At most [`TEXT_MAX`] bytes of a text, cut between characters.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= TEXT_MAX).last();
    &text[..end.unwrap_or_default()]
}

/// A failure by its name. The error's own words hold the link, which may hold a secret.
fn told(error: &reqwest::Error) -> &'static str {
    match () {
        () if error.is_timeout() => "no answer in time",
        () if error.is_connect() => "no connection",
        () => "the connection broke",
    }
}

/// The service's answer.
#[derive(Deserialize)]
struct Answer {
    score: f32,
    label: Option<String>,
    weights: Option<Weights>,
}

#[derive(Clone, Copy, Deserialize)]
struct Weights {
    negative: f32,
    neutral: f32,
    positive: f32,
}

fn read(answer: &[u8]) -> Result<Sentiment, &'static str> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| "its answer is not what was agreed")?;
    if !(-1.0..=1.0).contains(&answer.score) {
        return Err("its score is not within −1 to 1");
    }
    if let Some(Weights { negative, neutral, positive }) = answer.weights {
        let all = [negative, neutral, positive];
        if !all.iter().all(|weight| (0.0..=1.0).contains(weight)) || (all.iter().sum::<f32>() - 1.0).abs() > 0.01 {
            return Err("its weights do not sum to 1");
        }
    }
    let said = weighed(answer.score, answer.weights);
    let name = match said.label {
        SentimentLabel::Negative => "negative",
        SentimentLabel::Neutral => "neutral",
        SentimentLabel::Positive => "positive",
    };
    match answer.label {
        Some(label) if label != name => Err("its label is not that of its score"),
        _ => Ok(said),
    }
}

fn weighed(score: f32, weights: Option<Weights>) -> Sentiment {
    let side = Weights { negative: (-score).max(0.0), neutral: 1.0 - score.abs(), positive: score.max(0.0) };
    let Weights { negative, neutral, positive } = weights.unwrap_or(side);
    Sentiment { label: SentimentLabel::from_compound(score), compound: score + 0.0, negative, neutral, positive }
}

/// A service that answers each request in turn with what `answer` makes of its head and
/// body, on a thread of its own; and where it is.
#[cfg(test)]
pub(super) fn service(answer: impl Fn(&str, &str) -> String + Send + 'static) -> String {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            // Whoever asked may have gone.
            let _ = stream.get_mut().write_all(answer(&head, &String::from_utf8(body).unwrap()).as_bytes());
        }
    });
    format!("http://{address}/score")
}

/// A whole answer with this body.
#[cfg(test)]
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn scorer(url: &str, more: &str) -> Result<Arc<dyn Scorer>, String> {
        let table = format!("url = \"{url}\"\n{more}").parse().unwrap();
        Http.build(&table, &[]).map_err(|error| error.to_string())
    }

    fn fault(scorer: &dyn Scorer) -> String {
        match scorer.score("SECRET-TEXT") {
            Err(Fault::Backend(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_is_sent_with_the_key_and_its_score_comes_back() {
        let url = service(|head, body| {
            assert!(head.contains("authorization: Bearer k-123\r\n") && head.starts_with("POST /score "), "{head}");
            assert_eq!(body, r#"{"text":"so \"slow\""}"#);
            ok(r#"{"score": -0.7, "label": "negative", "weights": {"negative": 0.8, "neutral": 0.2, "positive": 0}}"#)
        });
        let scorer = scorer(&url, "key = 'k-123'").unwrap();
        let said = scorer.score("so \"slow\"").unwrap();
        assert_eq!((said.label, said.compound, said.negative), (SentimentLabel::Negative, -0.7, 0.8));
        let nothing = scorer.score(" \n").unwrap();
        assert_eq!((nothing.label, nothing.neutral), (SentimentLabel::Neutral, 1.0));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(beginning(""), "");
        assert_eq!(beginning("näh"), "näh");
        assert_eq!(beginning(&"ü".repeat(TEXT_MAX)).len(), TEXT_MAX);
        assert_eq!(beginning(&format!("x{}", "ü".repeat(TEXT_MAX))).len(), TEXT_MAX - 1);
    }

    #[test]
    fn every_failure_has_its_name_and_shows_nothing() {
        let long = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(ANSWER_MAX + 1));
        for (answer, named) in [
            ("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(), "another key"),
            ("HTTP/1.1 302 There\r\nlocation: http://example.org/\r\ncontent-length: 0\r\n\r\n".to_owned(), "refused"),
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(), "refused"),
            (long, "too long"),
            (String::new(), "broke"),
            (ok("SECRET-ANSWER"), "not what was agreed"),
            (ok(r#"{"score": 2}"#), "within"),
            (ok(r#"{"score": 0.5, "label": "negative"}"#), "label"),
            (ok(r#"{"score": 0.5, "weights": {"negative": 1, "neutral": 1, "positive": 1}}"#), "sum"),
        ] {
            let url = service(move |_, _| answer.clone());
            let problem = fault(&*scorer(&url, "key = \"SECRET-KEY\"").unwrap());
            assert!(problem.contains(named) && !problem.contains("SECRET"), "{problem}");
        }
    }

    #[test]
    fn a_service_that_does_not_answer_costs_the_deadline_and_then_nothing() {
        let asked = Arc::new(AtomicU32::new(0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
        });
        let scorer = scorer(&url, "timeout_ms = 50").unwrap();
        for _ in 0..FAILURES_MAX {
            assert!(fault(&*scorer).contains("no answer in time"));
        }
        for _ in 0..20 {
            assert!(fault(&*scorer).contains("left alone"));
        }
        assert!(asked.load(Ordering::SeqCst) <= FAILURES_MAX);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name_and_without_the_key() {
        for (url, more, named) in [
            ("", "", "url"),
            ("http://example.org/", "", "https"),
            ("http://127.example.org/", "", "https"),
            ("ftp://127.0.0.1/", "", "https"),
            ("https://example.org/", "timeout_ms = 5", "timeout_ms = 5"),
            ("https://example.org/", "key = 'SECRET KEY'", "key"),
        ] {
            let error = scorer(url, more).err().unwrap();
            assert!(error.contains(named) && !error.contains("SECRET"), "{error}");
        }
        assert!(scorer("https://example.org/", "key = 12345").is_ok());
    }
}
