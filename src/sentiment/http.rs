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
//! A text waits for its answer no longer than `timeout_ms`, and without one has no sentiment.
//! Must never put a text, the key or an answer into an error or a log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Client, Url, redirect};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::{Backend, Engine, Remote, Terms};
use crate::http;
use crate::types::{BuildError, Fault, Private, Sentiment, SentimentLabel, is_this_machine, settings};

const NAME: &str = "sentiment.http";

/// Longest answer taken, in bytes.
const ANSWER_MAX: usize = 16_384;

/// Longest text sent, in bytes: many times what a segment of speech can hold.
const TEXT_MAX: usize = 8_192;

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
    /// Texts under way at a time, 1 to 1,000.
    concurrency_max: usize,
    /// Texts waiting for one of those places, 0 to 10,000.
    queue_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: String::new(), key: Private::default(), timeout_ms: 300, concurrency_max: 16, queue_max: 100 }
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

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings { url, key, timeout_ms, concurrency_max, queue_max } = settings(NAME, table)?;
        let refused = |problem: String, remedy: &str| BuildError::new(NAME, problem, remedy);
        let link = Url::parse(&url).ok().filter(is_safe).ok_or_else(|| {
            refused(
                "url is missing, or not one to send texts to".to_owned(),
                "expected https://…, or http:// to this machine",
            )
        })?;
        for (key, value, range, expected) in [
            ("timeout_ms", timeout_ms, 10..=5_000, "expected 10 to 5000"),
            ("concurrency_max", concurrency_max as u64, 1..=1_000, "expected 1 to 1000"),
            ("queue_max", queue_max as u64, 0..=10_000, "expected 0 to 10000"),
        ] {
            if !range.contains(&value) {
                return Err(refused(format!("{key} = {value}"), expected));
            }
        }
        if !key.0.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err(refused("key has characters that no header takes".to_owned(), "expected printable ASCII"));
        }
        let client = Client::builder()
            // A text goes where the configuration says and nowhere else.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| refused(error.to_string(), "see the system's own message"))?;
        let terms = Terms { concurrency_max, queue_max, timeout: Duration::from_millis(timeout_ms) };
        Ok(Engine::Remote(Arc::new(Service { link, key, client, terms })))
    }
}

/// Whether texts may go there: encrypted, or not beyond this machine.
fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_this_machine)
}

struct Service {
    link: Url,
    key: Private<String>,
    client: Client,
    terms: Terms,
}

impl Remote for Service {
    fn terms(&self) -> Terms {
        self.terms
    }

    fn score<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<Sentiment, Fault>> {
        async move {
            if text.trim().is_empty() {
                return Ok(weighed(0.0, None));
            }
            // Whoever asks has a bound of its own; this one holds without.
            let answer = tokio::time::timeout(self.terms.timeout, self.ask(beginning(text)));
            read(&answer.await.unwrap_or(Err(Fault::Timeout))?)
        }
        .boxed()
    }
}

impl Service {
    /// The body of the answer to `text`.
    async fn ask(&self, text: &str) -> Result<Vec<u8>, Fault> {
        let mut request = self.client.post(self.link.clone()).header("content-type", "application/json");
        if !self.key.0.is_empty() {
            request = request.bearer_auth(&self.key.0);
        }
        let sent = request.body(json!({"text": text}).to_string()).send().await;
        http::answer(sent.map_err(|error| http::fault(&error))?, ANSWER_MAX).await
    }
}

/// At most [`TEXT_MAX`] bytes of a text, cut between characters.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= TEXT_MAX).last();
    &text[..end.unwrap_or_default()]
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

fn read(answer: &[u8]) -> Result<Sentiment, Fault> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| Fault::Garbage("it is not what was agreed"))?;
    if !(-1.0..=1.0).contains(&answer.score) {
        return Err(Fault::Garbage("its score is not within −1 to 1"));
    }
    if let Some(Weights { negative, neutral, positive }) = answer.weights {
        let all = [negative, neutral, positive];
        if !all.iter().all(|weight| (0.0..=1.0).contains(weight)) || (all.iter().sum::<f32>() - 1.0).abs() > 0.01 {
            return Err(Fault::Garbage("its weights do not sum to 1"));
        }
    }
    let said = weighed(answer.score, answer.weights);
    let name = match said.label {
        SentimentLabel::Negative => "negative",
        SentimentLabel::Neutral => "neutral",
        SentimentLabel::Positive => "positive",
    };
    match answer.label {
        Some(label) if label != name => Err(Fault::Garbage("its label is not that of its score")),
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
    use super::*;

    fn scorer(url: &str, more: &str) -> Result<Arc<dyn Remote>, String> {
        let table = format!("url = \"{url}\"\n{more}").parse().unwrap();
        match Http.build(&table, &[]).map_err(|error| error.to_string())? {
            Engine::Remote(scorer) => Ok(scorer),
            Engine::Local(_) => panic!("it works here"),
        }
    }

    #[tokio::test]
    async fn a_text_is_sent_with_the_key_and_its_score_comes_back() {
        let url = service(|head, body| {
            assert!(head.contains("authorization: Bearer k-123\r\n") && head.starts_with("POST /score "), "{head}");
            assert_eq!(body, r#"{"text":"so \"slow\""}"#);
            ok(r#"{"score": -0.7, "label": "negative", "weights": {"negative": 0.8, "neutral": 0.2, "positive": 0}}"#)
        });
        let scorer = scorer(&url, "key = 'k-123'\ntimeout_ms = 5000").unwrap();
        let said = scorer.score("so \"slow\"").await.unwrap();
        assert_eq!((said.label, said.compound, said.negative), (SentimentLabel::Negative, -0.7, 0.8));
        let nothing = scorer.score(" \n").await.unwrap();
        assert_eq!((nothing.label, nothing.neutral), (SentimentLabel::Neutral, 1.0));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(beginning(""), "");
        assert_eq!(beginning("näh"), "näh");
        assert_eq!(beginning(&"ü".repeat(TEXT_MAX)).len(), TEXT_MAX);
        assert_eq!(beginning(&format!("x{}", "ü".repeat(TEXT_MAX))).len(), TEXT_MAX - 1);
    }

    #[tokio::test]
    async fn every_failure_has_its_name_and_shows_nothing() {
        let long = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(ANSWER_MAX + 1));
        let status = |line: &str| format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
        for (answer, fault) in [
            (status("403 No"), Fault::Unauthorised),
            (status("302 There\r\nlocation: http://example.org/"), Fault::Refused(302)),
            (status("500 No"), Fault::Refused(500)),
            (status("429 No\r\nretry-after: 7"), Fault::Limited { retry_after: Some(Duration::from_secs(7)) }),
            (long, Fault::Oversized),
            (String::new(), Fault::Disconnected),
            (ok("SECRET-ANSWER"), Fault::Garbage("it is not what was agreed")),
            (ok(r#"{"score": 2}"#), Fault::Garbage("its score is not within −1 to 1")),
            (ok(r#"{"score": 0.5, "label": "negative"}"#), Fault::Garbage("its label is not that of its score")),
            (
                ok(r#"{"score": 0.5, "weights": {"negative": 1, "neutral": 1, "positive": 1}}"#),
                Fault::Garbage("its weights do not sum to 1"),
            ),
        ] {
            let url = service(move |_, _| answer.clone());
            let scorer = scorer(&url, "key = \"SECRET-KEY\"\ntimeout_ms = 5000").unwrap();
            assert_eq!(scorer.score("SECRET-TEXT").await, Err(fault));
        }
    }

    #[tokio::test]
    async fn a_service_that_does_not_answer_or_is_not_there_costs_the_deadline() {
        let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", hangs.local_addr().unwrap());
        assert_eq!(scorer(&url, "timeout_ms = 50").unwrap().score("well").await, Err(Fault::Timeout));
        drop(hangs);
        assert_eq!(scorer(&url, "timeout_ms = 5000").unwrap().score("well").await, Err(Fault::Unreachable));
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name_and_without_the_key() {
        for (url, more, named) in [
            ("", "", "url"),
            ("http://example.org/", "", "https"),
            ("http://127.example.org/", "", "https"),
            ("ftp://127.0.0.1/", "", "https"),
            ("https://example.org/", "timeout_ms = 5", "timeout_ms = 5"),
            ("https://example.org/", "concurrency_max = 0", "concurrency_max = 0"),
            ("https://example.org/", "queue_max = 10001", "queue_max = 10001"),
            ("https://example.org/", "key = 'SECRET KEY'", "key"),
        ] {
            let error = scorer(url, more).err().unwrap();
            assert!(error.contains(named) && !error.contains("SECRET"), "{error}");
        }
        assert!(scorer("https://example.org/", "key = 12345").is_ok());
    }
}
