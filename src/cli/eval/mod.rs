//! `sidetone eval`: how good the backends are, measured on recordings and texts of which
//! the truth is known. One file for each family.

mod asr;
mod asr_report;
mod redaction;
mod sentiment;
mod vad;
mod vad_report;

use clap::{Args, Subcommand};

use super::{Common, Done};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Word error rates, cost and memory of transcribers, alone and within the live pipeline
    Asr(asr::Asr),
    /// Precision and recall of redaction on marked utterances, those held out apart
    Redaction(redaction::Options),
    /// What each detector finds of speech over noise, what else it takes for speech, and its cost
    Vad(vad::Detection),
    /// Accuracy and cost of each scorer on labelled texts
    Sentiment(sentiment::Sentiment),
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    match options.what {
        What::Asr(options) => asr::run(common, &options),
        What::Redaction(options) => redaction::run(&options),
        What::Vad(options) => vad::run(common, &options),
        What::Sentiment(options) => sentiment::run(common, &options),
    }
}
