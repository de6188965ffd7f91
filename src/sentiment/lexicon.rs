//! Lexicon sentiment: VADER (Hutto & Gilbert 2014, "VADER: A Parsimonious
//! Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM-14).
//!
//! Rules and the English lexicon are the `vader-parity` crate's, the only one of
//! four tried that scores as the authors' Python package 3.3.2 does. The golden
//! file in `models/vader/` pins that agreement.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use vader_parity::SentimentIntensityAnalyzer;

use super::{Backend, Engine, Local};
use crate::types::{BuildError, Fault, Sentiment, SentimentLabel, settings};

/// See the module's documentation.
pub(super) struct Lexicon;

/// The table `[sentiment.lexicon]`: nothing to set yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Backend for Lexicon {
    fn name(&self) -> &'static str {
        "lexicon"
    }

    fn about(&self) -> &'static str {
        "VADER: English word list and rules, about 6 µs an utterance, no model"
    }

    fn build(&self, table: &toml::Table, _: &[PathBuf]) -> Result<Engine, BuildError> {
        let Settings {} = settings("sentiment.lexicon", table)?;
        Ok(Engine::Local(Arc::new(Vader::new())))
    }
}

struct Vader(SentimentIntensityAnalyzer);

impl Vader {
    fn new() -> Self {
        let vader = Self(SentimentIntensityAnalyzer::new());
        // The crate parses its tables on the first text; pay for that here.
        let _ = vader.0.polarity_scores("ready");
        vader
    }
}

impl Local for Vader {
    fn score(&self, text: &str) -> Result<Sentiment, Fault> {
        let scores = self.0.polarity_scores(text);
        // Adding zero turns a rounded −0.0 into 0.0.
        let compound = scores.compound as f32 + 0.0;
        Ok(Sentiment {
            label: SentimentLabel::from_compound(compound),
            compound,
            negative: scores.neg as f32 + 0.0,
            neutral: scores.neu as f32 + 0.0,
            positive: scores.pos as f32 + 0.0,
        })
    }

    /// Counting what was left out would take as long.
    fn gives_way(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../models/vader/golden.tsv");

    #[test]
    fn scores_as_the_python_reference() {
        let vader = Vader::new();
        let mut compared = 0;
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            let [compound, negative, neutral, positive] = [0, 1, 2, 3].map(|i| fields[i].parse::<f32>().unwrap());
            let text: String = serde_json::from_str(fields[4]).unwrap();
            let label = SentimentLabel::from_compound(compound);
            let expected = Sentiment { label, compound, negative, neutral, positive };
            assert_eq!(vader.score(&text).unwrap(), expected, "{text:?}");
            compared += 1;
        }
        assert!(compared >= 200, "only {compared} golden lines");
    }
}
