//! `sidetone eval redaction`: how much of what is private is taken out of marked
//! utterances, and how much else.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::super::{Done, Failure};
use crate::eval::redaction::{Counts, Score, Utterance, judge, parse};
use crate::redact::Policy;
use crate::types::RedactionMode;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Utterances, one a line, with their entities marked: {kind:words}
    #[arg(long, value_name = "FILE", default_value = "models/redaction/utterances.txt")]
    set: PathBuf,
    /// How readily entities are taken out
    #[arg(long, value_enum, default_value = "tags")]
    policy: Mode,
    /// Print the utterances of the tuning half that went wrong; never those held out
    #[arg(long)]
    mistakes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Tags,
    Strict,
}

pub(super) fn run(options: &Options) -> Done {
    let path = options.set.display();
    let text = std::fs::read_to_string(&options.set)
        .map_err(|error| Failure(format!("{path}: {error}; name a set with --set")))?;
    let set = parse(&text).map_err(|problem| Failure(format!("{path}: {problem}")))?;
    let mode = match options.policy {
        Mode::Tags => RedactionMode::Tags,
        Mode::Strict => RedactionMode::Strict,
    };
    let policy = Policy { mode, ..Policy::default() };
    let mut out = io::stdout().lock();
    let mut document = BTreeMap::new();
    for (name, held_out) in [("tuning", false), ("held out", true)] {
        let half: Vec<&Utterance> = set.iter().filter(|utterance| utterance.held_out == held_out).collect();
        let mut score = Score::new();
        for utterance in &half {
            let right = judge(utterance, policy, &mut score);
            if options.mistakes && !right && !held_out {
                let texts: Vec<_> = utterance.segments.iter().map(|said| said.text.as_str()).collect();
                writeln!(out, "wrong: {}", texts.join(" | "))?;
            }
        }
        let mut total = Counts::default();
        score.values().for_each(|counts| total.add(counts));
        let lines = score.iter().map(|(kind, counts)| (kind.as_str(), *counts)).chain([("total", total)]);
        if options.json {
            document.insert(name, lines.collect::<BTreeMap<_, _>>());
        } else {
            table(&mut out, &format!("{name} ({})", half.len()), lines)?;
        }
    }
    if options.json {
        writeln!(out, "{}", serde_json::json!({"policy": mode.as_str(), "halves": document}))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table<'a>(out: &mut dyn Write, name: &str, lines: impl Iterator<Item = (&'a str, Counts)>) -> io::Result<()> {
    writeln!(
        out,
        "{name:<16} {:>5} {:>6} {:>7} {:>6} {:>6}  {:>7} {:>9}",
        "said", "found", "leaked", "taken", "right", "recall", "precision"
    )?;
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
    for (kind, counts) in lines {
        let Counts { said, found, leaked, taken, right } = counts;
        let (recall, precision) = (ratio(counts.recall()), ratio(counts.precision()));
        writeln!(out, "{kind:<16} {said:>5} {found:>6} {leaked:>7} {taken:>6} {right:>6}  {recall:>7} {precision:>9}")?;
    }
    writeln!(out)
}
