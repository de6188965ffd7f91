//! `sidetone models`: list, fetch and verify the models of the manifest.
//!
//! What is asked for goes to standard output; progress goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::Failure;
use crate::app;
use crate::config::Config;
use crate::models::{ModelError, Progress, Store, all};

/// What to do with models.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub(super) enum Models {
    /// List the models there are, and which of them are here
    List,
    /// Fetch a model; a fetch that was cut off goes on where it stopped
    Fetch {
        /// Which one; all, if not given
        name: Option<String>,
        /// Fetch it even if it is here
        #[arg(long)]
        force: bool,
    },
    /// Check every byte of the models that are here
    Verify {
        /// Which one; all, if not given
        name: Option<String>,
    },
}

/// Does what `command` says in the store at `root`.
///
/// # Errors
/// The first [`ModelError`]; verifying goes on after one and reports it at the end.
pub(super) fn run(command: &Models, root: &Path) -> Result<(), ModelError> {
    run_to(command, root, &mut io::stdout().lock())
}

fn run_to(command: &Models, root: &Path, out: &mut dyn Write) -> Result<(), ModelError> {
    let store = Store::new(root);
    let names = |name: &Option<String>| match name {
        Some(name) => vec![name.clone()],
        None => all().iter().map(|model| model.name.clone()).collect(),
    };
    match command {
        Models::List => list(&store, root, out),
        Models::Fetch { name, force } => {
            for name in names(name) {
                let there = fetch(&store, &name, *force)?;
                say(out, format_args!("{name}  {}", there.display()));
            }
        }
        Models::Verify { name } => {
            let mut outcome = Ok(());
            for name in names(name) {
                match store.verify(&name) {
                    Ok(there) => say(out, format_args!("{name}  sound  {}", there.display())),
                    Err(error) => {
                        say(out, format_args!("{name}  NOT SOUND"));
                        outcome = outcome.and(Err(error));
                    }
                }
            }
            return outcome;
        }
    }
    Ok(())
}

/// Makes sure that the models of the configured backends are here: the first use fetches them.
pub(super) fn ensure(config: &Config) -> Result<(), Failure> {
    ensure_all(config, &app::models(config)?)
}

/// Makes sure that the models `names` are here.
pub(super) fn ensure_all(config: &Config, names: &[&str]) -> Result<(), Failure> {
    let store = Store::new(&config.models.dir);
    for name in names {
        match store.locate(name) {
            Err(ModelError::Missing { .. }) => drop(fetch(&store, name, false)?),
            found => drop(found?),
        }
    }
    Ok(())
}

/// Fetches a model as [`Store::fetch`] does, with progress on standard error.
///
/// # Errors
/// As [`Store::fetch`].
pub(super) fn fetch(store: &Store, name: &str, force: bool) -> Result<std::path::PathBuf, ModelError> {
    let mut shown = Shown::new(name);
    let outcome = store.fetch(name, force, &mut |progress| shown.show(progress));
    shown.end(outcome.is_ok());
    outcome
}

fn list(store: &Store, root: &Path, out: &mut dyn Write) {
    for model in all() {
        let state = match store.locate(&model.name) {
            Ok(there) => format!("here, {}", there.display()),
            Err(ModelError::Missing { .. }) => "not here".to_owned(),
            Err(error) => error.to_string(),
        };
        let size = model
            .wheel()
            .map_or_else(|_| "no build for this machine".to_owned(), |wheel| HumanBytes(wheel.size).to_string());
        say(out, format_args!("{}\n  {}", model.name, model.about));
        say(out, format_args!("  source   {} from the Python package index, {size}", model.requirement()));
        say(out, format_args!("  licence  {}", model.licence));
        say(out, format_args!("  needs    {}", model.requires));
        say(out, format_args!("  state    {state}"));
    }
    say(out, format_args!("folder: {}", root.display()));
}

/// One line for people. A reader that has gone away is no error of ours.
fn say(out: &mut dyn Write, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{line}");
}

/// Progress on standard error: a bar on a terminal, else a line at the start of
/// each stage and one at the end.
struct Shown {
    name: String,
    bar: Option<ProgressBar>,
    /// The stage that was told last.
    stage: Option<std::mem::Discriminant<Progress>>,
}

impl Shown {
    fn new(name: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { name: name.to_owned(), bar, stage: None }
    }

    fn show(&mut self, progress: Progress) {
        let stage = std::mem::discriminant(&progress);
        let new = self.stage.replace(stage) != Some(stage);
        let text = match progress {
            Progress::Waiting => "waiting for another process that is fetching".to_owned(),
            Progress::Resolving => "asking pip where the package is".to_owned(),
            Progress::Transferring { done: 0, total } => format!("fetching {}", HumanBytes(total)),
            Progress::Transferring { done, total } => {
                format!("fetching {}, {} are here", HumanBytes(total), HumanBytes(done))
            }
            Progress::TransferringByPip => "fetching, by pip itself".to_owned(),
            Progress::Unpacking => "checking and unpacking".to_owned(),
        };
        let Some(bar) = &self.bar else {
            if new {
                say(&mut io::stderr(), format_args!("{}: {text}", self.name));
            }
            return;
        };
        match progress {
            Progress::Transferring { done, total } => {
                if new {
                    bar.set_length(total);
                    bar.set_style(style("{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"));
                    // Speed is of what comes now, not of what was here.
                    bar.set_position(done);
                    bar.reset_eta();
                }
                bar.set_position(done);
            }
            _ if new => {
                bar.set_style(style("{prefix} {spinner} {msg}"));
                bar.set_message(text);
            }
            _ => {}
        }
    }

    fn end(self, good: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if good && self.stage.is_some() {
            say(&mut io::stderr(), format_args!("{}: done", self.name));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that indicatif does not like shows as its own style: progress is no
    // reason to fail.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &Models, root: &Path) -> (String, Result<(), ModelError>) {
        let mut out = Vec::new();
        let outcome = run_to(command, root, &mut out);
        (String::from_utf8(out).unwrap(), outcome)
    }

    #[test]
    fn the_list_tells_name_source_licence_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let (text, outcome) = said(&Models::List, folder.path());
        outcome.unwrap();
        for part in
            ["moonshine-tiny-en", "moonshine-voice==0.0.73", "MIT", "not here", &folder.path().display().to_string()]
        {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn verifying_what_is_not_here_fails_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (text, outcome) = said(&Models::Verify { name: None }, folder.path());
        assert!(text.contains("NOT SOUND"), "{text}");
        assert!(outcome.unwrap_err().to_string().contains("sidetone models fetch"));
    }

    #[test]
    fn the_styles_are_ones_that_indicatif_knows() {
        for template in
            ["{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left", "{prefix} {spinner} {msg}"]
        {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
