//! AssemblyAI's streaming API, third version: `wss://streaming.assemblyai.com/v3/ws`.
//!
//! Source: assemblyai.com/docs, "Streaming API", "Message sequence", "Common session errors
//! and closures". Turns are numbered, which tells whose they are. Where a turn ends is ours
//! to say: the vendor is told to wait for long. Unconfirmed there: whether `ForceEndpoint` is
//! answered where no words were heard; without an answer the next transcriber is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::remote::dialogue::{Dialogue, Heard, Rules};
use super::remote::streaming::{Streaming, Vendor};
use super::remote::{Common, keyterms, mean, mend};
use super::{Backend, Engine};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, Private, Transcript, Word, settings};

const NAME: &str = "asr.assemblyai";
const URL: &str = "wss://streaming.assemblyai.com/v3/ws";

/// See the module's documentation.
pub(super) struct AssemblyAi;

/// The table `[asr.assemblyai]`, besides what every remote table has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Model.
    speech_model: String,
    /// Words to expect, at most 100.
    keyterms: Vec<String>,
    /// Whether the text has punctuation and capitals.
    format_turns: bool,
    /// Audio is sent at most so many times faster than real time, over a connection's life:
    /// 0 (as fast as it is taken) to 100. The vendor hangs up on what is too fast.
    pace: f64,
    /// A connection without use is closed after this, in ms. The vendor counts its time.
    idle_timeout_ms: u64,
    /// A connection older than this is not used again, in s. The vendor's own end is 3 hours.
    session_max_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            speech_model: "universal-streaming-english".to_owned(),
            keyterms: Vec::new(),
            format_turns: true,
            pace: 1.0,
            idle_timeout_ms: 20_000,
            session_max_s: 10_000,
        }
    }
}

impl Backend for AssemblyAi {
    fn name(&self) -> &'static str {
        "assemblyai"
    }

    fn about(&self) -> &'static str {
        "AssemblyAI's streaming API v3, or what speaks it; needs a key, and sends the audio away"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let (common, url, rest) = Common::split(NAME, table, Common::at(URL))?;
        let settings: Settings = settings(NAME, &rest)?;
        common.needs_key(NAME, URL)?;
        if !(0.0..=100.0).contains(&settings.pace) {
            let problem = format!("pace = {}; expected 0 to 100", settings.pace);
            return Err(BuildError::new(NAME, problem, mend(NAME)));
        }
        keyterms(NAME, &settings.keyterms)?;
        let rules = Rules {
            // The vendor takes 50 to 1,000 ms at a time.
            chunk: (8_000, 800),
            keep_alive: None,
            farewell: Some(r#"{"type":"Terminate"}"#),
            reusable: true,
            session_max: Duration::from_secs(settings.session_max_s),
            idle_timeout: Duration::from_millis(settings.idle_timeout_ms),
            pace: settings.pace,
        };
        let request = request(&settings, &common, url).map_err(|problem| BuildError::new(NAME, problem, mend(NAME)))?;
        let vendor = V3 { request, rules, formatted: settings.format_turns };
        Ok(Engine::Remote(Arc::new(Streaming::new(vendor, &common))))
    }
}

fn request(settings: &Settings, common: &Common, mut url: Url) -> Result<Request, String> {
    let silence = "10000";
    url.query_pairs_mut()
        .append_pair("speech_model", &settings.speech_model)
        .append_pair("sample_rate", &PIPELINE_HZ.to_string())
        .append_pair("encoding", "pcm_s16le")
        .append_pair("format_turns", if settings.format_turns { "true" } else { "false" })
        .append_pair("end_of_turn_confidence_threshold", "1.0")
        .append_pair("min_end_of_turn_silence_when_confident", silence)
        .append_pair("max_turn_silence", silence);
    if !settings.keyterms.is_empty() {
        let terms = serde_json::to_string(&settings.keyterms).map_err(|error| format!("keyterms: {error}"))?;
        url.query_pairs_mut().append_pair("keyterms_prompt", &terms);
    }
    common.handshake(&url, "")
}

struct V3 {
    request: Request,
    rules: Rules,
    formatted: bool,
}

impl Vendor for V3 {
    fn request(&self) -> Request {
        self.request.clone()
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn dialogue(&self) -> Box<dyn Dialogue> {
        Box::new(Turns { formatted: self.formatted, ..Turns::default() })
    }
}

/// Gathers the turns of one utterance.
#[derive(Default)]
struct Turns {
    /// Whether each turn comes once more, formatted.
    formatted: bool,
    /// Turns below this number were of utterances before.
    floor: u64,
    /// Where the utterance begins, in ms of the connection's audio.
    base_ms: u64,
    /// Turns of the utterance that are over, and the one that is not.
    done: Vec<Turn>,
    open: Option<Turn>,
    finishing: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Message {
    Turn(Turn),
    Error {
        error_code: Option<u16>,
        #[serde(default)]
        error: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Turn {
    turn_order: u64,
    #[serde(default)]
    turn_is_formatted: bool,
    #[serde(default)]
    end_of_turn: bool,
    transcript: String,
    #[serde(default)]
    words: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    text: String,
    start: u64,
    end: u64,
    confidence: Option<f32>,
}

impl Turns {
    fn text(&self) -> String {
        let all = self.done.iter().chain(&self.open).map(|turn| turn.transcript.trim());
        all.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn whole(&mut self) -> Transcript {
        let text = self.text();
        self.floor = self.done.last().map_or(self.floor, |turn| turn.turn_order + 1);
        let base = self.base_ms;
        let words: Vec<Word> = std::mem::take(&mut self.done)
            .into_iter()
            .flat_map(|turn| turn.words)
            .map(|said| Word {
                text: Private(said.text),
                start_ms: said.start.saturating_sub(base),
                end_ms: said.end.saturating_sub(base),
                confidence: said.confidence,
            })
            .collect();
        (self.open, self.finishing) = (None, false);
        Transcript { text: Private(text), confidence: mean(&words), words, language: "" }
    }
}

/// What an error's code and words mean.
fn fault(code: u16, said: &str) -> Fault {
    let said = said.to_ascii_lowercase();
    match code {
        _ if said.contains("concurrent") || code == 3009 => Fault::Limited { retry_after: None },
        1008 | 4001 | 4002 | 4003 => Fault::Unauthorised,
        1000 | 3005..=3008 => Fault::Disconnected,
        _ => Fault::Backend(format!("AssemblyAI's error {code}")),
    }
}

impl Dialogue for Turns {
    fn begin(&mut self, sent: u64) {
        self.base_ms = sent * 1000 / u64::from(PIPELINE_HZ);
        self.done.clear();
        (self.open, self.finishing) = (None, false);
    }

    fn finish(&mut self, _: u64) -> String {
        self.finishing = true;
        r#"{"type":"ForceEndpoint"}"#.to_owned()
    }

    fn hear(&mut self, text: &str) -> Result<Heard, Fault> {
        let turn = match serde_json::from_str(text).map_err(|_| Fault::Garbage("no message of AssemblyAI's"))? {
            Message::Turn(turn) => turn,
            Message::Error { error_code, error } => return Err(fault(error_code.unwrap_or_default(), &error)),
            Message::Other => return Ok(Heard::Nothing),
        };
        let last = self.done.last().map_or(self.floor, |turn| turn.turn_order);
        if turn.turn_order < last.max(self.floor) || turn.turn_order == u64::MAX {
            return if turn.transcript.trim().is_empty() { Ok(Heard::Nothing) } else { Err(Fault::OutOfOrder) };
        }
        let over = turn.end_of_turn && (turn.turn_is_formatted || !self.formatted);
        if over && self.done.last().is_some_and(|done| done.turn_order == turn.turn_order) {
            return Err(Fault::OutOfOrder);
        }
        if over {
            self.done.push(turn);
            self.open = None;
            if self.finishing {
                return Ok(Heard::Whole(self.whole()));
            }
        } else {
            self.open = Some(turn);
        }
        let so_far = self.text();
        Ok(if so_far.is_empty() { Heard::Nothing } else { Heard::Interim(so_far) })
    }

    fn settle(&mut self) -> Option<Transcript> {
        (self.finishing && !self.done.is_empty() && self.open.is_none()).then(|| self.whole())
    }

    fn closed(&self, code: u16, reason: &str) -> Fault {
        fault(code, reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn turn(order: u64, end: bool, formatted: bool, text: &str) -> String {
        serde_json::json!({
            "type": "Turn", "turn_order": order, "turn_is_formatted": formatted, "end_of_turn": end,
            "transcript": text, "end_of_turn_confidence": 0.8,
            "words": [{"text": text, "start": 1200, "end": 1700, "confidence": 0.5, "word_is_final": true}],
        })
        .to_string()
    }

    #[test]
    fn an_utterance_is_the_turns_up_to_the_forced_end() {
        let mut turns = Turns { formatted: true, ..Turns::default() };
        turns.begin(16_000);
        assert_eq!(turns.hear(r#"{"type":"Begin","id":"x","expires_at":1}"#), Ok(Heard::Nothing));
        assert_eq!(turns.hear(&turn(0, false, false, "one")), Ok(Heard::Interim("one".into())));
        assert_eq!(turns.finish(32_000), r#"{"type":"ForceEndpoint"}"#);
        assert_eq!(turns.hear(&turn(0, true, false, "one two")), Ok(Heard::Interim("one two".into())));
        let Ok(Heard::Whole(whole)) = turns.hear(&turn(0, true, true, "One two.")) else { panic!() };
        assert_eq!((whole.text.0.as_str(), whole.confidence), ("One two.", Some(0.5)));
        assert_eq!((whole.words[0].start_ms, whole.words[0].end_ms), (200, 700));
        turns.begin(32_000);
        assert_eq!(turns.hear(&turn(0, true, true, "One two.")), Err(Fault::OutOfOrder), "answered twice");
    }

    #[test]
    fn a_turn_that_ended_by_itself_is_not_lost() {
        let mut turns = Turns { formatted: true, ..Turns::default() };
        turns.begin(0);
        assert_eq!(turns.hear(&turn(0, true, true, "One.")), Ok(Heard::Interim("One.".into())));
        assert_eq!(turns.hear(&turn(0, true, true, "One.")), Err(Fault::OutOfOrder));
        assert_eq!(turns.settle(), None);
        turns.finish(16_000);
        assert_eq!(turns.settle().map(|it| it.text.0), Some("One.".into()));
    }

    #[test]
    fn errors_are_named() {
        for (code, said, expected) in [
            (1008, "Unauthorized Connection: Missing Authorization header", Fault::Unauthorised),
            (1008, "Unauthorized connection: Too many concurrent sessions", Fault::Limited { retry_after: None }),
            (3009, "", Fault::Limited { retry_after: None }),
            (3008, "Session Expired", Fault::Disconnected),
        ] {
            assert_eq!(Turns::default().closed(code, said), expected);
            let text = serde_json::json!({"type": "Error", "error_code": code, "error": said}).to_string();
            assert_eq!(Turns::default().hear(&text), Err(expected));
        }
        for text in ["", "[]", "{}", r#"{"type":"Turn"}"#, r#"{"type":"Turn","turn_order":-1,"transcript":""}"#] {
            assert!(matches!(Turns::default().hear(text), Err(Fault::Garbage(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_much(text in "\\PC*", orders in proptest::collection::vec((any::<u64>(), any::<bool>(), any::<bool>()), 0..20)) {
            let mut turns = Turns { formatted: true, ..Turns::default() };
            turns.begin(u64::MAX / 1000);
            let _ = turns.hear(&text);
            for (order, end, formatted) in orders {
                let _ = turns.hear(&turn(order, end, formatted, &text));
            }
            turns.finish(0);
            let _ = turns.hear(&turn(u64::MAX, true, true, &text));
            let _ = turns.settle();
            prop_assert!(turns.done.len() <= 20);
        }
    }
}
