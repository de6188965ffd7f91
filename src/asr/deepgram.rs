//! Deepgram's streaming API, or anything that speaks it: `wss://…/v1/listen`.
//!
//! Source: developers.deepgram.com, "Listen (streaming)", "Finalize", "Audio keep alive",
//! "Close stream". Results carry their place in the stream, which tells whose they are.
//! Unconfirmed there: whether `Finalize` is always answered; where everything was final
//! before it, we do not wait for that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::remote::dialogue::{Dialogue, Heard, Rules};
use super::remote::streaming::{Streaming, Vendor};
use super::remote::{Common, keyterms, mean, mend, ms};
use super::{Backend, Engine};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, Private, Transcript, Word, settings};

const NAME: &str = "asr.deepgram";
const URL: &str = "wss://api.deepgram.com/v1/listen";

/// Two places in the stream this close are one, in s: the vendor rounds.
const CLOSE: f64 = 0.02;

/// See the module's documentation.
pub(super) struct Deepgram;

/// The table `[asr.deepgram]`, besides what every remote table has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Model.
    model: String,
    /// Words to expect, at most 100.
    keyterms: Vec<String>,
    /// Whether numbers, dates and the like are formatted.
    smart_format: bool,
    /// A connection is kept alive after so long without audio, in ms: 500 to 9,000. The
    /// vendor hangs up after 10 s.
    keep_alive_ms: u64,
    /// A connection without use is closed after this, in ms.
    idle_timeout_ms: u64,
    /// A connection older than this is not used again, in s.
    session_max_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "nova-3".to_owned(),
            keyterms: Vec::new(),
            smart_format: true,
            keep_alive_ms: 4_000,
            idle_timeout_ms: 60_000,
            session_max_s: 3_000,
        }
    }
}

impl Backend for Deepgram {
    fn name(&self) -> &'static str {
        "deepgram"
    }

    fn about(&self) -> &'static str {
        "Deepgram's streaming API, or what speaks it; needs a key, and sends the audio away"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let (common, url, rest) = Common::split(NAME, table, Common::at(URL))?;
        let settings: Settings = settings(NAME, &rest)?;
        common.needs_key(NAME, URL)?;
        let alive = settings.keep_alive_ms;
        if !(500..=9_000).contains(&alive) {
            return Err(BuildError::new(NAME, format!("keep_alive_ms = {alive}; expected 500 to 9000"), mend(NAME)));
        }
        keyterms(NAME, &settings.keyterms)?;
        let rules = Rules {
            chunk: (8_000, 1),
            keep_alive: Some((Duration::from_millis(alive), r#"{"type":"KeepAlive"}"#)),
            farewell: Some(r#"{"type":"CloseStream"}"#),
            reusable: true,
            session_max: Duration::from_secs(settings.session_max_s),
            idle_timeout: Duration::from_millis(settings.idle_timeout_ms),
            pace: 0.0,
        };
        let request = request(&settings, &common, url).map_err(|problem| BuildError::new(NAME, problem, mend(NAME)))?;
        Ok(Engine::Remote(Arc::new(Streaming::new(Listen { request, rules }, &common))))
    }
}

fn request(settings: &Settings, common: &Common, mut url: Url) -> Result<Request, String> {
    url.query_pairs_mut()
        .append_pair("model", &settings.model)
        .append_pair("language", &common.language)
        .append_pair("encoding", "linear16")
        .append_pair("sample_rate", &PIPELINE_HZ.to_string())
        .append_pair("channels", "1")
        .append_pair("interim_results", "true")
        // Where speech ends is ours to say.
        .append_pair("endpointing", "false")
        .append_pair("punctuate", "true")
        .append_pair("smart_format", if settings.smart_format { "true" } else { "false" })
        .extend_pairs(settings.keyterms.iter().map(|term| ("keyterm", term)));
    common.handshake(&url, "Token ")
}

struct Listen {
    request: Request,
    rules: Rules,
}

impl Vendor for Listen {
    fn request(&self) -> Request {
        self.request.clone()
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn dialogue(&self) -> Box<dyn Dialogue> {
        Box::new(Results::default())
    }
}

/// Gathers the results of one utterance. All places in s of the connection's audio.
#[derive(Default)]
struct Results {
    /// Where the utterance begins.
    base: f64,
    /// Where it ends, once that is so.
    end: Option<f64>,
    /// Up to where results are final.
    covered: f64,
    texts: Vec<String>,
    words: Vec<Word>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Message {
    Results(Box<Result_>),
    Error {
        #[serde(default)]
        description: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Result_ {
    start: f64,
    duration: f64,
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    from_finalize: bool,
    channel: Channel,
}

#[derive(Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    transcript: String,
    #[serde(default)]
    words: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    word: String,
    punctuated_word: Option<String>,
    start: f64,
    end: f64,
    confidence: Option<f32>,
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(PIPELINE_HZ)
}

impl Results {
    fn text(&self, more: &str) -> String {
        let all = self.texts.iter().map(String::as_str).chain([more]);
        all.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn whole(&mut self) -> Transcript {
        let words = std::mem::take(&mut self.words);
        let text = self.text("");
        self.texts.clear();
        self.end = None;
        Transcript { text: Private(text), confidence: mean(&words), words, language: "" }
    }
}

impl Dialogue for Results {
    fn begin(&mut self, sent: u64) {
        *self = Self { base: seconds(sent), covered: self.covered, ..Self::default() };
    }

    fn finish(&mut self, sent: u64) -> String {
        self.end = Some(seconds(sent));
        r#"{"type":"Finalize"}"#.to_owned()
    }

    fn hear(&mut self, text: &str) -> Result<Heard, Fault> {
        let result = match serde_json::from_str(text).map_err(|_| Fault::Garbage("no message of Deepgram's"))? {
            Message::Results(result) => result,
            Message::Error { description } => {
                return Err(Fault::Backend(description.chars().take(200).collect()));
            }
            Message::Other => return Ok(Heard::Nothing),
        };
        let Some(best) = result.channel.alternatives.into_iter().next() else { return Ok(Heard::Nothing) };
        let end = result.start + result.duration;
        if !end.is_finite() || result.duration < 0.0 {
            return Err(Fault::Garbage("a result without a place"));
        }
        let text = best.transcript.trim();
        if result.start + CLOSE < self.covered || end <= self.base {
            // Of what was final before. Empty ones come late now and then.
            return if text.is_empty() { Ok(Heard::Nothing) } else { Err(Fault::OutOfOrder) };
        }
        if !result.is_final {
            let so_far = self.text(text);
            return Ok(if so_far.is_empty() { Heard::Nothing } else { Heard::Interim(so_far) });
        }
        self.covered = self.covered.max(end);
        self.texts.push(text.to_owned());
        self.words.extend(best.words.into_iter().map(|said| Word {
            text: Private(said.punctuated_word.unwrap_or(said.word)),
            start_ms: ms(said.start - self.base),
            end_ms: ms(said.end - self.base),
            confidence: said.confidence,
        }));
        match self.end {
            Some(last) if result.from_finalize || end + CLOSE >= last => Ok(Heard::Whole(self.whole())),
            _ if text.is_empty() => Ok(Heard::Nothing),
            _ => Ok(Heard::Interim(self.text(""))),
        }
    }

    fn settle(&mut self) -> Option<Transcript> {
        let complete = self.end.is_some_and(|end| self.covered + CLOSE >= end);
        complete.then(|| self.whole())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn result(start: f64, duration: f64, last: bool, finalize: bool, text: &str) -> String {
        serde_json::json!({
            "type": "Results", "start": start, "duration": duration, "is_final": last, "from_finalize": finalize,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": [
                {"word": "w", "punctuated_word": "W.", "start": start, "end": start + duration, "confidence": 0.5},
            ]}]},
        })
        .to_string()
    }

    #[test]
    fn an_utterance_is_what_is_final_between_its_begin_and_its_end() {
        let mut results = Results::default();
        results.begin(16_000);
        assert_eq!(results.hear(&result(1.0, 0.5, false, false, "one")), Ok(Heard::Interim("one".into())));
        assert_eq!(results.hear(&result(1.0, 1.0, true, false, "One")), Ok(Heard::Interim("One".into())));
        assert_eq!(results.hear(&result(2.0, 0.5, false, false, "two")), Ok(Heard::Interim("One two".into())));
        assert_eq!(results.finish(48_000), r#"{"type":"Finalize"}"#);
        let Ok(Heard::Whole(whole)) = results.hear(&result(2.0, 0.7, true, true, "two")) else { panic!() };
        assert_eq!((whole.text.0.as_str(), whole.confidence), ("One two", Some(0.5)));
        let times: Vec<_> = whole.words.iter().map(|w| (w.text.0.as_str(), w.start_ms, w.end_ms)).collect();
        assert_eq!(times, [("W.", 0, 1000), ("W.", 1000, 1700)]);
    }

    #[test]
    fn what_was_answered_before_is_not_answered_again() {
        let mut results = Results::default();
        results.begin(0);
        results.finish(16_000);
        assert!(matches!(results.hear(&result(0.0, 1.0, true, true, "one")), Ok(Heard::Whole(_))));
        assert_eq!(results.hear(&result(1.0, 0.0, true, true, "")), Ok(Heard::Nothing));
        results.begin(16_000);
        assert_eq!(results.hear(&result(1.0, 0.0, true, true, "")), Ok(Heard::Nothing), "a late and empty one");
        assert_eq!(results.hear(&result(0.0, 1.0, true, true, "one")), Err(Fault::OutOfOrder));
    }

    #[test]
    fn what_was_final_before_the_end_needs_no_answer_to_settle() {
        let mut results = Results::default();
        results.begin(0);
        results.hear(&result(0.0, 1.0, true, false, "one")).unwrap();
        assert_eq!(results.settle(), None);
        results.finish(16_000);
        assert_eq!(results.settle().map(|it| it.text.0), Some("one".into()));
    }

    #[test]
    fn errors_and_garbage_are_faults_and_what_is_new_is_nothing() {
        let mut results = Results::default();
        for text in ["", "no", "[]", "{}", r#"{"type":"Results"}"#, r#"{"type":"Results","start":"x"}"#] {
            assert!(matches!(results.hear(text), Err(Fault::Garbage(_))), "{text}");
        }
        assert!(matches!(results.hear(r#"{"type":"Error","description":"d"}"#), Err(Fault::Backend(_))));
        for kind in ["Metadata", "SpeechStarted", "UtteranceEnd", "SomethingNew"] {
            assert_eq!(results.hear(&format!(r#"{{"type":"{kind}","x":1}}"#)), Ok(Heard::Nothing));
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_much(text in "\\PC*", start in any::<f64>(), duration in any::<f64>(), last: bool) {
            let mut results = Results::default();
            results.begin(7);
            let _ = results.hear(&text);
            let _ = results.hear(&result(start, duration, last, last, &text));
            results.finish(u64::MAX);
            let _ = results.hear(&result(duration, start, last, !last, &text));
            prop_assert!(results.texts.len() <= 3);
        }
    }
}
