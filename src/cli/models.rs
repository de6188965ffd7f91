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
    /// Fetch models; a fetch that was cut off goes on where it stopped
    Fetch {
        /// Which ones; what the configuration needs, if not given
        names: Vec<String>,
        /// Fetch them even if they are here
        #[arg(long)]
        force: bool,
    },
    /// Check every byte of models
    Verify {
        /// Which ones; what the configuration needs, if not given
        names: Vec<String>,
    },
}

/// Does what `command` says in the store of `config`.
///
/// # Errors
/// The first [`ModelError`]; verifying goes on after one and reports it at the end.
pub(super) fn run(command: &Models, config: &Config) -> Result<(), Failure> {
    run_to(command, config, &mut io::stdout().lock())
}

fn run_to(command: &Models, config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let root = &config.models.dir;
    let store = Store::new(root);
    let needed = |names: &[String]| match names {
        [] => Ok(app::models(config)?.into_iter().map(str::to_owned).collect()),
        names => Ok::<Vec<_>, Failure>(names.to_vec()),
    };
    match command {
        Models::List => list(&store, root, out),
        Models::Fetch { names, force } => {
            for name in needed(names)? {
                let there = fetch(&store, &name, *force)?;
                say(out, format_args!("{name}  {}", there.display()));
            }
        }
        Models::Verify { names } => {
            let mut outcome = Ok(());
            for name in needed(names)? {
                match store.verify(&name) {
                    Ok(there) => say(out, format_args!("{name}  sound  {}", there.display())),
                    Err(error) => {
                        say(out, format_args!("{name}  NOT SOUND"));
                        outcome = outcome.and(Err(error));
                    }
                }
            }
            outcome?;
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
        say(out, format_args!("{}\n  {}", model.name, model.about));
        match model.wheels() {
            Ok(wheels) => {
                for wheel in wheels {
                    let (package, size) = (model.requirement(wheel), HumanBytes(wheel.size));
                    say(out, format_args!("  source   {package} from the Python package index, {size}"));
                }
            }
            Err(_) => say(out, format_args!("  source   no build for this machine")),
        }
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

    fn said(command: &Models, root: &Path, asr: &str) -> (String, Result<(), Failure>) {
        let mut config = Config::default();
        config.models.dir = root.to_owned();
        config.asr.backend = asr.to_owned();
        let mut out = Vec::new();
        let outcome = run_to(command, &config, &mut out);
        (String::from_utf8(out).unwrap(), outcome)
    }

    #[test]
    fn the_list_tells_name_source_licence_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let (text, outcome) = said(&Models::List, folder.path(), "moonshine");
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
        let (text, outcome) = said(&Models::Verify { names: Vec::new() }, folder.path(), "moonshine");
        assert!(text.contains("NOT SOUND"), "{text}");
        let Failure(message) = outcome.unwrap_err();
        assert!(message.contains("sidetone models fetch"), "{message}");
    }

    #[test]
    fn without_names_only_what_the_configuration_needs_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let verified = |names: &[&str], asr| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            said(&Models::Verify { names }, folder.path(), asr).0
        };
        assert_eq!(verified(&[], "moonshine"), "moonshine-tiny-en  NOT SOUND\n");
        assert_eq!(verified(&[], "whisper"), "moonshine-tiny-en  NOT SOUND\nwhisper-tiny-en  NOT SOUND\n");
        assert_eq!(verified(&[], "deepgram"), "");
        assert_eq!(verified(&["silero-vad"], "moonshine"), "silero-vad  NOT SOUND\n");
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
