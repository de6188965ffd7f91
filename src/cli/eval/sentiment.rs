//! `sidetone eval sentiment`: how well each scorer labels texts that people have labelled.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cpu_time::ThreadTime;

use super::super::{Common, Done, Failure, models, runtime};
use crate::app;
use crate::eval::labels::{self, Confusion, Row};
use crate::sentiment::{self, Engine};

#[derive(Debug, Args)]
pub(super) struct Sentiment {
    /// Tables of labelled texts, columns label and text: tab-separated, or .csv with commas
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only these scorers; all that need no address, if not given
    #[arg(long, value_name = "NAME")]
    scorer: Vec<String>,
    /// Only the texts that the training script holds out of every set
    #[arg(long)]
    held_out: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What one scorer made of one file.
struct Figures {
    scorer: &'static str,
    set: String,
    confusion: Confusion,
    failed: u64,
    cpu: Duration,
}

impl Figures {
    fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1_000.0 / (self.confusion.texts() + self.failed).max(1) as f64
    }
}

pub(super) fn run(common: &Common, options: &Sentiment) -> Done {
    let mut config = common.load(Vec::new())?;
    let sets = options.files.iter().map(|path| read(path, options.held_out)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = if options.scorer.is_empty() {
        let local = sentiment::BACKENDS.iter().filter(|backend| !backend.is_remote());
        local.map(|backend| backend.name().to_owned()).collect()
    } else {
        options.scorer.clone()
    };
    let runtime = runtime()?;
    let mut all = Vec::new();
    for name in names {
        let backend = sentiment::find(&name)?;
        models::ensure_all(&config, backend.models())?;
        config.sentiment.backend.clone_from(&name);
        let Some(scorer) = app::scorer(&config)? else { continue };
        for (set, rows) in &sets {
            let mut figures = Figures {
                scorer: scorer.name,
                set: set.clone(),
                confusion: Confusion::default(),
                failed: 0,
                cpu: Duration::ZERO,
            };
            let started = ThreadTime::now();
            for row in rows {
                let scored = match &scorer.engine {
                    Engine::Local(engine) => engine.score(&row.text),
                    Engine::Remote(engine) => runtime.block_on(engine.score(&row.text)),
                };
                match scored {
                    Ok(said) => figures.confusion.count(row.label, said.label),
                    Err(_) => figures.failed += 1,
                }
            }
            figures.cpu = started.elapsed();
            all.push(figures);
        }
    }
    if options.json { json(&all) } else { table(&all) }?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &PathBuf, held_out: bool) -> Result<(String, Vec<Row>), Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure(format!("{shown}: {error}; {}", labels::EXPECTED)))?;
    let tabs = path.extension().is_none_or(|ending| ending != "csv");
    let mut rows = labels::parse(&text, tabs).map_err(|problem| Failure(format!("{shown}: {problem}")))?;
    rows.retain(|row| !held_out || row.is_held_out());
    if rows.is_empty() {
        return Err(Failure(format!("{shown}: no text to score; {}", labels::EXPECTED)));
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, rows))
}

fn table(all: &[Figures]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<26} {:<10} {:>6} {:>9} {:>9} {:>11}",
        "set", "scorer", "texts", "accuracy", "macro-F1", "CPU ms each"
    )?;
    let mut sets: Vec<&str> = Vec::new();
    all.iter().for_each(|figures| {
        if !sets.contains(&figures.set.as_str()) {
            sets.push(&figures.set)
        }
    });
    for set in sets {
        for figures in all.iter().filter(|figures| figures.set == set) {
            writeln!(
                out,
                "{:<26} {:<10} {:>6} {:>9.3} {:>9.3} {:>11.3}{}",
                figures.set,
                figures.scorer,
                figures.confusion.texts(),
                figures.confusion.accuracy(),
                figures.confusion.macro_f1(),
                figures.cpu_ms(),
                if figures.failed > 0 { format!("  {} failed", figures.failed) } else { String::new() }
            )?;
        }
    }
    Ok(())
}

fn json(all: &[Figures]) -> io::Result<()> {
    let one = |figures: &Figures| {
        serde_json::json!({
            "set": figures.set,
            "scorer": figures.scorer,
            "texts": figures.confusion.texts(),
            "failed": figures.failed,
            "accuracy": figures.confusion.accuracy(),
            "macro_f1": figures.confusion.macro_f1(),
            "cpu_ms": figures.cpu_ms(),
        })
    };
    let document: serde_json::Value = all.iter().map(one).collect();
    writeln!(io::stdout(), "{document}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_empty_or_no_table_is_named_with_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        for path in [
            folder.path().join("none.tsv"),
            file("empty.tsv", "label\ttext\n"),
            file("comma.tsv", "label,text\nneutral,x\n"),
        ] {
            let Failure(message) = read(&path, false).unwrap_err();
            assert!(message.contains(&path.display().to_string()) && message.contains("columns label"), "{message}");
        }
        let (name, rows) = read(&file("a.dev.csv", "label,text\nneutral,x\n"), false).unwrap();
        assert_eq!((name.as_str(), rows.len()), ("a.dev", 1));
    }
}
