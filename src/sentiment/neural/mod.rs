//! Neural sentiment: what a sentence encoder makes of a text, and what VADER does, into
//! one trained head.
//!
//! The encoder is all-MiniLM-L6-v2 (Reimers & Gurevych 2019, "Sentence-BERT", EMNLP) with
//! 8-bit weights, through ONNX Runtime. Its biases and the scales and shifts of its
//! normalisations, one weight in 700, are our own, trained with the head (Ben Zaken,
//! Goldberg & Ravfogel 2022, "BitFit", ACL). Features are the means over the tokens of its
//! last layer, and the lexicon's four figures; the head is a logistic regression.
//! `models/sentiment/` has both, how they came about and what they are worth.

use std::path::PathBuf;
use std::sync::Arc;

use ort::value::TensorRef;
use serde::Deserialize;

use super::{Backend, Engine, Local};
use crate::onnx::{self, Sessions};
use crate::types::{BuildError, Fault, Sentiment, SentimentLabel, settings};
use wordpiece::WordPiece;

mod wordpiece;

const NAME: &str = "sentiment.neural";

/// The encoder's output that is looked at.
const LAYER: &str = "last_hidden_state";

/// Figures that it has for a token.
const WIDTH: usize = 384;

/// The lexicon's: negative, neutral, positive, compound.
const LEXICON: usize = 4;

/// A label begins at this compound score.
const LABEL_FROM: f32 = 0.05;

/// See the module's documentation.
pub(super) struct Neural;

/// The table `[sentiment.neural]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Texts scored at once, 1 to 64; each further one takes 150 MB. An inference thread
    /// waits its turn, and one is enough for eight of them: a text takes as long as a
    /// fifteenth of its transcription.
    sessions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sessions: 1 }
    }
}

impl Backend for Neural {
    fn name(&self) -> &'static str {
        "neural"
    }

    fn about(&self) -> &'static str {
        "MiniLM sentence encoder and VADER into a trained head: English, about 6 ms an utterance, 160 MB"
    }

    fn models(&self) -> &'static [&'static str] {
        &["minilm-l6", onnx::RUNTIME_MODEL]
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings { sessions } = settings(NAME, table)?;
        if !(1..=64).contains(&sessions) {
            return Err(BuildError::new(NAME, format!("sessions = {sessions}"), "expected 1 to 64"));
        }
        let [network, runtime] = models else {
            return Err(BuildError::new(NAME, "its models are not here", "fetch them with `sidetone models fetch`"));
        };
        let trained = |problem| BuildError::new(NAME, problem, "train it anew");
        let head = Head::parse(HEAD).map_err(trained)?;
        let tuned = head.tuned(TUNED).map_err(trained)?;
        let tuned: Vec<_> = tuned.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        let sessions = Sessions::open(NAME, runtime, &network.join("model.onnx"), &tuned, sessions)?;
        let Engine::Local(lexicon) = super::find("lexicon")?.build(&toml::Table::new(), &[])? else {
            return Err(BuildError::new(NAME, "its word list is not here", "report it as a bug"));
        };
        let model = Model { words: WordPiece::new(), sessions, lexicon, head };
        // A network that cannot be used must show when it is built, not on the first call.
        model.score("ready").map_err(|fault| {
            BuildError::new(
                NAME,
                format!("does not run: {fault}"),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        Ok(Engine::Local(Arc::new(model)))
    }
}

/// The head, and which of the encoder's weights are in [`TUNED`].
const HEAD: &str = include_str!("../../../models/sentiment/head.json");

/// Weights of the encoder in place of those in its file: 32-bit floats, little-endian.
const TUNED: &[u8] = include_bytes!("../../../models/sentiment/tuned.f32");

/// A logistic regression for each class: negative, neutral, positive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    labels: [String; 3],
    /// What is beyond so many tokens is not looked at.
    tokens_max: usize,
    bias: [f32; 3],
    weights: [Vec<f32>; 3],
    /// The encoder's weights that were trained too, by name, and how many each has.
    tuned: Vec<(String, usize)>,
}

impl Head {
    fn parse(json: &str) -> Result<Self, String> {
        let head: Self = serde_json::from_str(json).map_err(|error| format!("head.json: {error}"))?;
        match head.weights.iter().find(|row| row.len() != WIDTH + LEXICON) {
            Some(row) => Err(format!("head.json has {} weights in a row, expected {}", row.len(), WIDTH + LEXICON)),
            None if head.labels != ["negative", "neutral", "positive"] => {
                Err(format!("head.json has labels {:?}", head.labels))
            }
            None => Ok(head),
        }
    }

    /// The encoder's own weights that `bytes`, a [`TUNED`], has for this head.
    fn tuned(&self, mut bytes: &[u8]) -> Result<Vec<(&str, Vec<f32>)>, String> {
        let mut all = Vec::with_capacity(self.tuned.len());
        for (name, length) in &self.tuned {
            let size = length.checked_mul(size_of::<f32>());
            let (mine, rest) = size
                .and_then(|size| bytes.split_at_checked(size))
                .ok_or_else(|| format!("tuned.f32 ends within {name}, for which head.json has {length} floats"))?;
            let values: Vec<f32> = mine.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(format!("tuned.f32 has something for {name} that is not a number"));
            }
            all.push((name.as_str(), values));
            bytes = rest;
        }
        match bytes.len() {
            0 => Ok(all),
            more => Err(format!("tuned.f32 has {more} bytes more than head.json tells of")),
        }
    }

    /// Likelihood of each class, summing to 1.
    fn weigh(&self, features: &[f32]) -> [f32; 3] {
        let logit = |class: usize| {
            let products = self.weights[class].iter().zip(features).map(|(weight, figure)| weight * figure);
            self.bias[class] + products.sum::<f32>()
        };
        let logits = [0, 1, 2].map(logit);
        let highest = logits.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let parts = logits.map(|logit| (logit - highest).exp());
        let sum: f32 = parts.iter().sum();
        parts.map(|part| part / sum)
    }
}

struct Model {
    words: WordPiece,
    sessions: Sessions,
    lexicon: Arc<dyn Local>,
    head: Head,
}

impl Model {
    /// The mean over the tokens of the encoder's last layer.
    fn encode(&self, tokens: &[i64]) -> ort::Result<[f32; WIDTH]> {
        let n = tokens.len();
        let (ones, zeros) = (vec![1_i64; n], vec![0_i64; n]);
        self.sessions.with(|session| {
            let values = session.run(ort::inputs![
                "input_ids" => TensorRef::from_array_view(([1, n], tokens))?,
                "attention_mask" => TensorRef::from_array_view(([1, n], &ones[..]))?,
                "token_type_ids" => TensorRef::from_array_view(([1, n], &zeros[..]))?,
            ])?;
            let value = values.get(LAYER).ok_or_else(|| ort::Error::new(format!("it gives no {LAYER}")))?;
            let (_, figures) = value.try_extract_tensor::<f32>()?;
            if figures.len() != n * WIDTH {
                return Err(ort::Error::new(format!("{LAYER} has {} figures", figures.len())));
            }
            let mut mean = [0.0_f32; WIDTH];
            for token in figures.chunks_exact(WIDTH) {
                mean.iter_mut().zip(token).for_each(|(sum, figure)| *sum += figure / n as f32);
            }
            Ok(mean)
        })
    }
}

impl Local for Model {
    fn score(&self, text: &str) -> Result<Sentiment, Fault> {
        let tokens = self.words.tokens(text, self.head.tokens_max);
        if tokens.len() <= 2 {
            return Ok(Sentiment {
                label: SentimentLabel::Neutral,
                compound: 0.0,
                negative: 0.0,
                neutral: 0.0,
                positive: 0.0,
            });
        }
        let mean = self.encode(&tokens).map_err(|error| Fault::Backend(error.to_string()))?;
        let said = self.lexicon.score(text)?;
        let lexicon = [said.negative, said.neutral, said.positive, said.compound];
        let weights = self.head.weigh(&[&mean[..], &lexicon].concat());
        if weights.iter().any(|weight| !weight.is_finite()) {
            return Err(Fault::Backend("its figures are not numbers".to_owned()));
        }
        Ok(verdict(weights))
    }
}

/// The likeliest class, and a compound score that agrees with it: the lead of that class
/// over the next from [`LABEL_FROM`] on, and less than that for neutral text.
fn verdict([negative, neutral, positive]: [f32; 3]) -> Sentiment {
    let beyond = |lead: f32| LABEL_FROM + (1.0 - LABEL_FROM) * lead;
    let compound = if positive > neutral.max(negative) {
        beyond(positive - neutral.max(negative))
    } else if negative > neutral.max(positive) {
        -beyond(negative - neutral.max(positive))
    } else {
        // Below the label's threshold also when it is rounded.
        0.99 * LABEL_FROM * (positive - negative) / neutral.max(f32::MIN_POSITIVE)
    };
    Sentiment { label: SentimentLabel::from_compound(compound), compound, negative, neutral, positive }
}

/// What the training script had of some texts: tokens and weights.
#[cfg(test)]
const GOLDEN: &str = include_str!("../../../models/sentiment/golden.jsonl");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sessions_out_of_range_name_key_value_and_range() {
        for sessions in ["0", "65"] {
            let table = format!("sessions = {sessions}").parse().unwrap();
            let error = Neural.build(&table, &[]).err().unwrap().to_string();
            assert!(error.contains(&format!("sessions = {sessions}")) && error.contains("1 to 64"), "{error}");
        }
    }

    #[test]
    fn what_was_trained_is_whole_and_broken_it_is_refused() {
        let head = Head::parse(HEAD).unwrap();
        assert!(head.tokens_max <= 512 && head.tuned(TUNED).unwrap().len() == head.tuned.len());
        for broken in [HEAD.replacen("negative", "bad", 1), HEAD.replacen("[[", "[[1.0, ", 1)] {
            assert!(Head::parse(&broken).is_err(), "{}", &broken[..120]);
        }
        let (last, length) = head.tuned.last().unwrap();
        let not_a_number = [&TUNED[..TUNED.len() - 4], &f32::NAN.to_le_bytes()].concat();
        for (broken, told) in [
            (&TUNED[..TUNED.len() - 1], format!("within {last}, for which head.json has {length}")),
            (&[TUNED, &[0; 4]].concat(), "4 bytes more".to_owned()),
            (&not_a_number, format!("{last} that is not a number")),
        ] {
            let error = head.tuned(broken).unwrap_err();
            assert!(error.contains(&told), "{error}");
        }
        let endless = Head { tuned: vec![("all".to_owned(), usize::MAX)], ..head };
        assert!(endless.tuned(TUNED).unwrap_err().contains("within all"));
    }

    #[test]
    fn weights_are_those_of_the_training_script() {
        let fetch = |name: &&str| crate::models::test_store().fetch(name, false, &mut |_| {});
        let Ok(models) = Neural.models().iter().map(fetch).collect::<Result<Vec<_>, _>>() else {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "SKIPPED weights_are_those_of_the_training_script: no model").unwrap();
            return;
        };
        let Engine::Local(scorer) = Neural.build(&toml::Table::new(), &models).unwrap() else { unreachable!() };
        let first = scorer.score("the same").unwrap();
        // More threads than sessions: they take turns.
        std::thread::scope(|scope| {
            let others = (0..4).map(|_| scope.spawn(|| scorer.score("the same").unwrap()));
            others.collect::<Vec<_>>().into_iter().for_each(|other| assert_eq!(other.join().unwrap(), first));
        });
        let mut compared = 0;
        for line in GOLDEN.lines() {
            let golden: serde_json::Value = serde_json::from_str(line).unwrap();
            let expected: [f32; 3] = serde_json::from_value(golden["weights"].clone()).unwrap();
            let text = golden["text"].as_str().unwrap();
            let said = scorer.score(text).unwrap();
            if golden["tokens"].as_array().unwrap().len() == 2 {
                assert_eq!((said.compound, said.neutral), (0.0, 0.0), "{text:?}");
                continue;
            }
            for (got, expected) in [said.negative, said.neutral, said.positive].into_iter().zip(expected) {
                assert!((got - expected).abs() < 5e-3, "{text:?}: {said:?}, expected {expected:?}");
            }
            compared += 1;
        }
        assert!(compared >= 10);
    }

    proptest! {
        #[test]
        fn the_compound_score_agrees_with_the_likeliest_class(a in 0.0_f32..1.0, b in 0.0_f32..1.0, c in 0.001_f32..1.0) {
            let sum = a + b + c;
            let weights = [a / sum, b / sum, c / sum];
            let said = verdict(weights);
            prop_assert!((-1.0..=1.0).contains(&said.compound));
            let likeliest = match said.label {
                SentimentLabel::Negative => said.negative,
                SentimentLabel::Neutral => said.neutral,
                SentimentLabel::Positive => said.positive,
            };
            prop_assert!(weights.iter().all(|weight| *weight <= likeliest), "{said:?}");
        }
    }
}
