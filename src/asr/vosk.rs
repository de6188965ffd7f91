//! vosk-server's WebSocket: offline, small, in one's own network.
//!
//! Source: github.com/alphacep/vosk-server, `websocket/asr_server.py`. Every message of audio
//! is answered by one message, and so is the end; then the server hangs up. So a connection
//! serves one utterance, and the last answer is known by counting.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::remote::dialogue::{Dialogue, Heard, Rules};
use super::remote::streaming::{Streaming, Vendor};
use super::remote::{Common, mean, mend, ms};
use super::{Backend, Engine};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, Private, Transcript, Word, settings};

const NAME: &str = "asr.vosk";

/// See the module's documentation.
pub(super) struct Vosk;

/// The table `[asr.vosk]`, besides what every remote table has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The only words there are, for models that can be told; none for all.
    phrases: Vec<String>,
}

impl Backend for Vosk {
    fn name(&self) -> &'static str {
        "vosk"
    }

    fn about(&self) -> &'static str {
        "a vosk-server in one's own network: many languages, small models, no key"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let (common, url, rest) = Common::split(NAME, table, Common::at("ws://127.0.0.1:2700"))?;
        let Settings { phrases } = settings(NAME, &rest)?;
        let request = url.as_str().into_client_request();
        let request = request.map_err(|error| BuildError::new(NAME, format!("url: {error}"), mend(NAME)))?;
        let mut config = serde_json::json!({"sample_rate": PIPELINE_HZ, "words": 1});
        if !phrases.is_empty() {
            config["phrase_list"] = phrases.into();
        }
        let server = Server { request, hello: serde_json::json!({ "config": config }).to_string() };
        Ok(Engine::Remote(Arc::new(Streaming::new(server, &common))))
    }
}

struct Server {
    request: Request,
    hello: String,
}

impl Vendor for Server {
    fn request(&self) -> Request {
        self.request.clone()
    }

    fn rules(&self) -> Rules {
        Rules {
            chunk: (8_000, 1),
            keep_alive: None,
            farewell: None,
            reusable: false,
            session_max: Duration::MAX,
            idle_timeout: Duration::from_secs(10),
            pace: 0.0,
        }
    }

    fn dialogue(&self) -> Box<dyn Dialogue> {
        Box::new(Answers { hello: Some(self.hello.clone()), ..Answers::default() })
    }
}

/// Counts questions and answers.
#[derive(Default)]
struct Answers {
    hello: Option<String>,
    /// Answers that are still to come.
    owed: u64,
    finishing: bool,
    texts: Vec<String>,
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Answer {
    partial: Option<String>,
    text: Option<String>,
    #[serde(default)]
    result: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    word: String,
    start: f64,
    end: f64,
    conf: Option<f32>,
}

impl Dialogue for Answers {
    fn hello(&mut self) -> Option<String> {
        self.hello.take()
    }

    fn begin(&mut self, _: u64) {}

    fn spoken(&mut self) {
        self.owed += 1;
    }

    fn finish(&mut self, _: u64) -> String {
        self.finishing = true;
        self.owed += 1;
        // With its spaces: the server compares the text.
        r#"{"eof" : 1}"#.to_owned()
    }

    fn hear(&mut self, text: &str) -> Result<Heard, Fault> {
        let garbage = Fault::Garbage("no message of vosk-server's");
        let answer: Answer = serde_json::from_str(text).map_err(|_| garbage.clone())?;
        self.owed = self.owed.checked_sub(1).ok_or(Fault::OutOfOrder)?;
        let more = match (answer.text, answer.partial) {
            (Some(text), _) => {
                self.texts.push(text.trim().to_owned());
                self.words.extend(answer.result.into_iter().map(|said| Word {
                    text: Private(said.word),
                    start_ms: ms(said.start),
                    end_ms: ms(said.end),
                    confidence: said.conf,
                }));
                String::new()
            }
            (None, Some(partial)) => partial,
            (None, None) => return Err(garbage),
        };
        let all = self.texts.iter().map(String::as_str).chain([more.trim()]);
        let so_far = all.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
        if self.finishing && self.owed == 0 {
            let words = std::mem::take(&mut self.words);
            return Ok(Heard::Whole(Transcript {
                text: Private(so_far),
                confidence: mean(&words),
                words,
                language: "",
            }));
        }
        Ok(if so_far.is_empty() { Heard::Nothing } else { Heard::Interim(so_far) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn the_last_answer_owed_is_the_whole() {
        let mut answers = Answers::default();
        answers.begin(0);
        answers.spoken();
        assert_eq!(answers.hear(r#"{"partial":"one"}"#), Ok(Heard::Interim("one".into())));
        answers.spoken();
        answers.spoken();
        assert_eq!(answers.finish(3), r#"{"eof" : 1}"#);
        let result = r#"{"text":"one two","result":[{"word":"one","start":0.1,"end":0.42,"conf":0.5}]}"#;
        assert_eq!(answers.hear(result), Ok(Heard::Interim("one two".into())));
        assert_eq!(answers.hear(r#"{"partial":""}"#), Ok(Heard::Interim("one two".into())));
        let Ok(Heard::Whole(whole)) = answers.hear(r#"{"text":"three"}"#) else { panic!() };
        assert_eq!((whole.text.0.as_str(), whole.confidence), ("one two three", Some(0.5)));
        assert_eq!((whole.words[0].start_ms, whole.words[0].end_ms), (100, 420));
        assert_eq!(answers.hear(r#"{"text":"three"}"#), Err(Fault::OutOfOrder), "answered twice");
    }

    #[test]
    fn garbage_is_a_fault() {
        for text in ["", "no", "[]", "{}", r#"{"text":5}"#] {
            let mut answers = Answers { owed: 1, ..Answers::default() };
            assert!(matches!(answers.hear(text), Err(Fault::Garbage(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_much(text in "\\PC*", spoken in 0..4_u8, start in any::<f64>()) {
            let mut answers = Answers::default();
            (0..spoken).for_each(|_| answers.spoken());
            let _ = answers.hear(&text);
            let said = serde_json::json!({"text": text, "result": [{"word": text, "start": start, "end": -start}]});
            let _ = answers.hear(&said.to_string());
            answers.finish(0);
            let _ = answers.hear(r#"{"text":""}"#);
            prop_assert!(answers.owed <= 4);
        }
    }
}
