//! What every remote transcriber has: an address, a key, bounds; and the manners with which
//! its answers are taken.
//!
//! Nothing that comes from a vendor is believed: a text is trimmed and bounded, a figure is
//! within its range, a word within the audio. A key goes to its own address and nowhere else.

mod dial;
pub(super) mod dialogue;
pub(super) mod http;
mod session;
pub(super) mod streaming;
mod utterance;

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Private, Transcript, Word, is_this_machine};

/// The bounds of a remote engine, for whoever asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Utterances under way at a time.
    pub concurrency_max: usize,
    /// Finals waiting for one of those places; one more goes to the next transcriber at once.
    pub queue_max: usize,
    /// Longest wait for an answer, the wait for a place included; none for the family's own.
    pub timeout: Option<Duration>,
    /// Whether it answers partials.
    pub partials: bool,
}

/// The keys that all remote tables have.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    /// Where it is.
    pub(super) url: String,
    /// The vendor's API key, or `file:` and the path of a file that holds it; empty for none.
    pub(super) key: Private<String>,
    /// BCP 47 tag of what is spoken, for the vendor and for the events.
    pub(super) language: String,
    /// As [`Terms::concurrency_max`], 1 to 10,000.
    pub(super) concurrency_max: usize,
    /// As [`Terms::queue_max`], 0 to 10,000.
    pub(super) queue_max: usize,
    /// As [`Terms::timeout`], in ms; 0 for the family's own.
    pub(super) timeout_ms: u64,
    /// Most bytes taken as one answer, 256 to 16 MiB.
    pub(super) reply_bytes_max: usize,
}

impl Common {
    /// The defaults of a vendor at `url`.
    pub(super) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            key: Private::default(),
            language: "en".to_owned(),
            concurrency_max: 50,
            queue_max: 100,
            timeout_ms: 0,
            reply_bytes_max: 1 << 20,
        }
    }

    /// Takes the keys that all have out of `table`; gives them, and the table of the rest.
    ///
    /// # Errors
    /// Names the key, the value (but for a secret one) and what was expected.
    pub(super) fn split(
        name: &str,
        table: &toml::Table,
        defaults: Self,
    ) -> Result<(Self, Url, toml::Table), BuildError> {
        let mut common = toml::Table::try_from(defaults).map_err(|error| {
            BuildError::new(name, format!("its defaults cannot be written: {error}"), "report it as a bug")
        })?;
        let mut rest = toml::Table::new();
        for (key, value) in table {
            if common.contains_key(key) { &mut common } else { &mut rest }.insert(key.clone(), value.clone());
        }
        if common.get("key").is_some_and(|key| !key.is_str()) {
            // Serde's own words would quote the value.
            return Err(BuildError::new(name, "key is no text; expected a string in quotes", mend(name)));
        }
        let common: Self = crate::types::settings(name, &common)?;
        let url = common.checked(name)?;
        Ok((common, url, rest))
    }

    /// Looks that there is a key where the address is the vendor's `own`.
    ///
    /// # Errors
    /// Names the key, and what was expected.
    pub(super) fn needs_key(&self, name: &str, own: &str) -> Result<(), BuildError> {
        if self.key.0.is_empty() && self.url == own {
            let problem = "key is empty; expected the vendor's API key, or file: and the path of a file that holds it";
            return Err(BuildError::new(name, problem, mend(name)));
        }
        Ok(())
    }

    fn checked(&self, name: &str) -> Result<Url, BuildError> {
        let expect = |holds: bool, key: &str, value: String, expected: &str| {
            let problem = || BuildError::new(name, format!("{key} = {value}; expected {expected}"), mend(name));
            if holds { Ok(()) } else { Err(problem()) }
        };
        let url = Url::parse(&self.url).ok().filter(Url::has_host);
        let shown = format!("{:?}", self.url);
        let Some(url) = url else {
            return Err(BuildError::new(name, format!("url = {shown}; expected an address with a host"), mend(name)));
        };
        let plain = matches!(url.scheme(), "http" | "ws");
        let known = plain || matches!(url.scheme(), "https" | "wss");
        expect(known, "url", shown.clone(), "https://, wss://, or within one's own network http:// or ws://")?;
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        expect(bare, "url", "[one with a user or a fragment]".into(), "an address alone")?;
        let safe = !plain || self.key.0.is_empty() || url.host_str().is_some_and(is_this_machine);
        expect(safe, "url", shown, "https:// or wss://, since it is sent a key")?;
        let printable = self.key.0.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        expect(printable, "key", "[secret]".into(), "printable ASCII without spaces")?;
        let tag = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let language = !self.language.is_empty() && self.language.len() <= 35 && self.language.bytes().all(tag);
        expect(language, "language", format!("{:?}", self.language), "a BCP 47 tag such as en or en-GB")?;
        let places = self.concurrency_max;
        expect((1..=10_000).contains(&places), "concurrency_max", places.to_string(), "1 to 10000")?;
        expect(self.queue_max <= 10_000, "queue_max", self.queue_max.to_string(), "at most 10000")?;
        let timeout = self.timeout_ms;
        expect(timeout == 0 || timeout >= 100, "timeout_ms", timeout.to_string(), "0 (as [asr] says) or at least 100")?;
        let bytes = self.reply_bytes_max;
        expect((256..=16 << 20).contains(&bytes), "reply_bytes_max", bytes.to_string(), "256 to 16777216")?;
        Ok(url)
    }

    /// The handshake with a WebSocket vendor at `url`. The key goes along, if there is one,
    /// after what the vendor wants before it.
    ///
    /// # Errors
    /// Names the key that makes none.
    pub(super) fn handshake(&self, url: &Url, before_key: &str) -> Result<Request, String> {
        let mut request = url.as_str().into_client_request().map_err(|error| format!("url: {error}"))?;
        if !self.key.0.is_empty() {
            let value = HeaderValue::from_str(&format!("{before_key}{}", self.key.0));
            let mut value = value.map_err(|_| "key = [secret]; expected printable ASCII")?;
            value.set_sensitive(true);
            request.headers_mut().insert("authorization", value);
        }
        Ok(request)
    }

    pub(super) fn terms(&self, partials: bool) -> Terms {
        Terms {
            concurrency_max: self.concurrency_max,
            queue_max: self.queue_max,
            timeout: (self.timeout_ms > 0).then(|| Duration::from_millis(self.timeout_ms)),
            partials,
        }
    }

    /// The language as transcripts carry it.
    pub(super) fn tag(&self) -> &'static str {
        // Once for each engine, and an engine lives as long as the process.
        match self.language.as_str() {
            "en" => "en",
            other => Box::leak(other.to_owned().into_boxed_str()),
        }
    }
}

/// Words to expect that a vendor takes, at most.
const KEYTERMS_MAX: usize = 100;

/// Looks that a vendor takes so many words to expect.
///
/// # Errors
/// Names the key, how many there are, and how many may be.
pub(super) fn keyterms(name: &str, terms: &[String]) -> Result<(), BuildError> {
    let problem = || format!("keyterms is a list of {}; expected at most {KEYTERMS_MAX}", terms.len());
    if terms.len() > KEYTERMS_MAX { Err(BuildError::new(name, problem(), mend(name))) } else { Ok(()) }
}

/// The remedy for a wrong value.
pub(super) fn mend(name: &str) -> String {
    format!("mend the table [{name}]")
}

/// A time in seconds, as vendors give it, in whole ms; 0 for what is none.
pub(super) fn ms(seconds: f64) -> u64 {
    // A cast saturates, and makes 0 of what is no number.
    (seconds * 1000.0).round() as u64
}

/// Brings a vendor's transcript within what [`super::Transcriber`] promises of one:
/// trimmed, figures within their ranges, words in order and within the audio.
pub(super) fn tidied(mut transcript: Transcript, samples: usize) -> Transcript {
    let figure = |it: Option<f32>| it.filter(|it| it.is_finite()).map(|it| it.clamp(0.0, 1.0));
    let end = samples as u64 * 1000 / u64::from(PIPELINE_HZ);
    let text: String = transcript.text.0.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().clone_into(&mut transcript.text.0);
    transcript.confidence = figure(transcript.confidence);
    for word in &mut transcript.words {
        word.start_ms = word.start_ms.min(end);
        word.end_ms = word.end_ms.clamp(word.start_ms, end);
        word.confidence = figure(word.confidence);
    }
    transcript.words.sort_by_key(|word| word.start_ms);
    transcript
}

/// The mean confidence of words; none where no word has one.
pub(super) fn mean(words: &[Word]) -> Option<f32> {
    let figures: Vec<f32> = words.iter().filter_map(|word| word.confidence).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f32>() / figures.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(table: &str) -> Result<(Common, Url, toml::Table), BuildError> {
        let own = "https://api.example/v1";
        let split = Common::split("asr.test", &table.parse().unwrap(), Common::at(own))?;
        split.0.needs_key("asr.test", own).map(|()| split)
    }

    #[test]
    fn what_is_wrong_is_named_and_a_key_is_not_shown() {
        for (table, expected) in [
            ("", "key is empty; expected"),
            ("key = 5", "key is no text; expected"),
            ("key = \"two words\"", "key = [secret]; expected printable"),
            ("key = \"hunter2\"\nurl = \"http://api.example\"", "url = \"http://api.example\"; expected https://"),
            ("url = \"ftp://host\"", "url = \"ftp://host\"; expected https://"),
            ("url = \"nowhere\"", "url = \"nowhere\"; expected an address with a host"),
            ("url = \"https://me:hunter2@host\"", "expected an address alone"),
            ("key = \"hunter2\"\nlanguage = \"\"", "language = \"\"; expected a BCP 47 tag"),
            ("key = \"hunter2\"\nconcurrency_max = 0", "concurrency_max = 0; expected 1 to 10000"),
            ("key = \"hunter2\"\nreply_bytes_max = 1", "reply_bytes_max = 1; expected 256"),
            ("key = \"hunter2\"\ntimeout_ms = 3", "timeout_ms = 3; expected 0"),
        ] {
            let error = split(table).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{table}: {error}");
        }
        let (common, _, rest) = split("key = \"k\"\nmodel = \"m\"").unwrap();
        assert_eq!((common.key.0.as_str(), rest.len()), ("k", 1));
        assert!(split("url = \"http://127.0.0.1:9\"\nkey = \"k\"").is_ok(), "this machine may be sent a key");
    }

    #[test]
    fn nothing_of_a_vendors_answer_is_out_of_bounds() {
        let word = |start_ms, end_ms| Word { text: Private("w".into()), start_ms, end_ms, confidence: Some(f32::NAN) };
        let wild = Transcript {
            text: Private(" one\u{7}two\n".into()),
            words: vec![word(900, 100), word(5, u64::MAX)],
            confidence: Some(7.0),
            language: "en",
        };
        let tame = tidied(wild, 16_000);
        assert_eq!((tame.text.0.as_str(), tame.confidence), ("one two", Some(1.0)));
        let times: Vec<_> = tame.words.iter().map(|w| (w.start_ms, w.end_ms, w.confidence)).collect();
        assert_eq!(times, [(5, 1000, None), (900, 900, None)]);
        assert_eq!((ms(f64::NAN), ms(-1.0), ms(1.2345)), (0, 0, 1235));
    }
}
