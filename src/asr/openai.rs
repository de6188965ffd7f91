//! The transcription API of OpenAI, and of the many servers that speak it (vLLM, speaches,
//! LocalAI, whisper.cpp): `POST …/v1/audio/transcriptions`, one request an utterance.
//!
//! Source: platform.openai.com, "Create transcription". A partial is another request for the
//! same audio, so there are none unless asked for.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::remote::{Common, Terms, http, mend, ms, tidied};
use super::{Backend, Engine, Remote, Speech};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, Private, SegmentKind, Transcript, Word, settings};

const NAME: &str = "asr.openai";
const URL: &str = "https://api.openai.com/v1/audio/transcriptions";

/// See the module's documentation.
pub(super) struct OpenAi;

/// The table `[asr.openai]`, besides what every remote table has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Model.
    model: String,
    /// Text that the model is to think was said before: names, spelling.
    prompt: String,
    /// Whether words with times are asked for. Not every model can give them.
    words: bool,
    /// Whether partials are asked for.
    partials: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { model: "whisper-1".to_owned(), prompt: String::new(), words: true, partials: false }
    }
}

impl Backend for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn about(&self) -> &'static str {
        "OpenAI's transcription API, or any server that speaks it: a request for each utterance"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let (common, url, rest) = Common::split(NAME, table, Common::at(URL))?;
        let settings: Settings = settings(NAME, &rest)?;
        common.needs_key(NAME, URL)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BuildError::new(NAME, format!("url = {:?}; expected https://", common.url), mend(NAME)));
        }
        let language = common.tag();
        Ok(Engine::Remote(Arc::new(Api { client: http::client(NAME)?, url, common, settings, language })))
    }
}

struct Api {
    client: Client,
    url: Url,
    common: Common,
    settings: Settings,
    language: &'static str,
}

impl Api {
    fn form(&self, samples: &[i16]) -> Result<Form, Fault> {
        let unsent = || Fault::Backend("the request cannot be written".to_owned());
        let file = Part::bytes(wav(samples).map_err(|_| unsent())?).file_name("speech.wav");
        let file = file.mime_str("audio/wav").map_err(|_| unsent())?;
        let verbose = self.settings.words;
        // The API knows languages by two letters.
        let language = self.common.language.split('-').next().unwrap_or_default().to_owned();
        let mut form = Form::new()
            .part("file", file)
            .text("model", self.settings.model.clone())
            .text("language", language)
            .text("response_format", if verbose { "verbose_json" } else { "json" });
        if verbose {
            form = form.text("timestamp_granularities[]", "word").text("timestamp_granularities[]", "segment");
        }
        if !self.settings.prompt.is_empty() {
            form = form.text("prompt", self.settings.prompt.clone());
        }
        Ok(form)
    }

    async fn ask(&self, speech: &Speech) -> Result<Transcript, Fault> {
        let mut request = self.client.post(self.url.clone()).multipart(self.form(&speech.samples)?);
        if !self.common.key.0.is_empty() {
            request = request.bearer_auth(&self.common.key.0);
        }
        let response = request.send().await.map_err(|error| http::fault(&error))?;
        let body = http::body(response, self.common.reply_bytes_max).await?;
        Ok(tidied(read(&body, self.language)?, speech.samples.len()))
    }
}

impl Remote for Api {
    fn terms(&self) -> Terms {
        self.common.terms(self.settings.partials)
    }

    fn transcribe(&self, speech: Speech) -> BoxFuture<'_, Result<Transcript, Fault>> {
        async move {
            if speech.kind == SegmentKind::Partial && !self.settings.partials {
                return Err(Fault::Overload);
            }
            self.ask(&speech).await
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Fault>> {
        async move {
            // A tenth of a second of silence: there is no other question that every server knows.
            let samples = Arc::new(vec![0; PIPELINE_HZ as usize / 10]);
            let (leg, segment) = (crate::types::LegId::parse("check"), crate::types::SegmentId(0));
            let leg = leg.map_err(|_| Fault::Backend("no leg".to_owned()))?;
            match self.ask(&Speech { leg, segment, kind: SegmentKind::Final, samples }).await {
                Ok(_) => Ok(format!("{} answers", self.settings.model)),
                // Some models want more than a tenth of a second.
                Err(Fault::Refused(400)) => Ok("it answers".to_owned()),
                Err(fault) => Err(fault),
            }
        }
        .boxed()
    }
}

/// A WAV file: mono, 16 bits, 16 kHz.
fn wav(samples: &[i16]) -> hound::Result<Vec<u8>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: PIPELINE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::with_capacity(samples.len() * 2 + 64));
    let mut writer = hound::WavWriter::new(&mut file, spec)?;
    let mut all = writer.get_i16_writer(samples.len() as u32);
    samples.iter().for_each(|sample| all.write_sample(*sample));
    all.flush()?;
    writer.finalize()?;
    Ok(file.into_inner())
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    #[serde(default)]
    words: Vec<Said>,
    #[serde(default)]
    segments: Vec<Part_>,
}

#[derive(Deserialize)]
struct Said {
    word: String,
    start: f64,
    end: f64,
}

#[derive(Deserialize)]
struct Part_ {
    avg_logprob: Option<f32>,
}

/// Reads an answer's body.
fn read(body: &[u8], language: &'static str) -> Result<Transcript, Fault> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Fault::Garbage("no transcription"))?;
    let words = answer.words.into_iter().map(|said| Word {
        text: Private(said.word.trim().to_owned()),
        start_ms: ms(said.start),
        end_ms: ms(said.end),
        confidence: None,
    });
    let chances: Vec<f32> = answer.segments.iter().filter_map(|part| part.avg_logprob).collect();
    let mean = chances.iter().sum::<f32>() / chances.len().max(1) as f32;
    let confidence = (!chances.is_empty()).then(|| mean.exp());
    Ok(Transcript { text: Private(answer.text), words: words.collect(), confidence, language })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn the_file_is_what_a_wav_reader_reads() {
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        let mut reader = hound::WavReader::new(Cursor::new(wav(&samples).unwrap())).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 16_000, 16));
        assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), samples);
    }

    #[test]
    fn both_forms_of_an_answer_are_read() {
        assert_eq!(read(br#"{"text":" Hello. "}"#, "en").unwrap().text.0, " Hello. ");
        let verbose = br#"{"task":"transcribe","language":"english","duration":1.5,"text":"Hello.",
            "words":[{"word":"Hello","start":0.25,"end":0.5}],"segments":[{"id":0,"avg_logprob":-0.5}]}"#;
        let answer = read(verbose, "en-GB").unwrap();
        assert_eq!((answer.words[0].start_ms, answer.words[0].end_ms, answer.language), (250, 500, "en-GB"));
        assert!((answer.confidence.unwrap() - 0.606_53).abs() < 1e-4);
        for body in [&b""[..], b"<html>", b"{}", br#"{"text":null}"#, br#"{"error":{"message":"no"}}"#] {
            assert!(matches!(read(body, "en"), Err(Fault::Garbage(_))));
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(body in proptest::collection::vec(any::<u8>(), 0..200), start in any::<f64>(), text in "\\PC*") {
            let _ = read(&body, "en");
            let answer = serde_json::json!({
                "text": text, "words": [{"word": text, "start": start, "end": -start}], "segments": [{"avg_logprob": start}],
            });
            // A figure may be beyond what one can hold.
            let answer = tidied(read(answer.to_string().as_bytes(), "en").unwrap_or_default(), 1_600);
            prop_assert!(answer.words.iter().all(|word| word.start_ms <= word.end_ms && word.end_ms <= 100));
            prop_assert!(answer.confidence.is_none_or(|it| (0.0..=1.0).contains(&it)));
        }
    }
}
