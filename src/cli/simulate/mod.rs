//! `sidetone simulate`: an offline Vonage that calls an application, and tells what became of it.

mod init;
pub(super) mod secrets;
mod set_up;

use std::io::{self, Cursor, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::set_up::SetUp;
use super::{Common, Done, Failure};
use crate::audio::wav;
use crate::config::Config;
use crate::simulator::platform::Platform;
use crate::simulator::script::Script;
use crate::simulator::stage::{self, Voices};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a gateway and a simulator that work together into a folder: two configurations and a key
    Init(init::Options),
}

#[derive(Debug, Args)]
struct Run {
    /// A call script (TOML), or a recording (WAV) to play as a call; without one, the call that ships with us
    #[arg(value_name = "SCRIPT.toml|CALL.wav")]
    script: Option<PathBuf>,
    /// Who speaks on each channel of a recording: agent and caller [default: agent left, caller right]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    channels: Option<Vec<String>>,
    /// The application's answer URL
    #[arg(long, value_name = "URL")]
    answer_url: Option<String>,
    /// The application's event URL
    #[arg(long, value_name = "URL")]
    event_url: Option<String>,
    /// Asked when a webhook whose reply counts has failed
    #[arg(long, value_name = "URL")]
    fallback_url: Option<String>,
    /// Where the Voice REST API listens [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Times faster than real time, 0.1 to 100 [default: 1]
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,
    /// Calls that the application may make in a second, `connect` included [default: 3]
    #[arg(long, value_name = "N")]
    calls_per_second: Option<u32>,
    /// Other REST requests that it may make in a second [default: 15]
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Seed of the faults [default: the script's, else 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What goes wrong: `all`, or `late_hello`, `jitter` and others with commas between
    #[arg(long, value_name = "NAME,…")]
    faults: Option<String>,
    /// Write what each party heard into this folder, a WAV file each
    #[arg(long, value_name = "DIR")]
    heard: Option<PathBuf>,
    /// Make the script's calls so many times, a second apart [default: 1]
    #[arg(long, value_name = "N")]
    calls: Option<usize>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    if let Some(Command::Init(options)) = options.command {
        return init::run(&options);
    }
    let run = options.run;
    let mut log = Config::default();
    // The simulator's own words are its report: only what goes wrong is logged.
    "warn".clone_into(&mut log.log.filter);
    if let Some(filter) = &common.log {
        log.log.filter.clone_from(filter);
    }
    super::start_log(&log)?;
    let mut set_up = match &common.config {
        Some(path) => SetUp::read(path)?,
        None => SetUp::default(),
    };
    set_up.override_with(&run);
    let (mut script, voices) = stage(&run)?;
    script.repeat(set_up.calls.unwrap_or(1)).map_err(Failure)?;
    let settings = set_up.settings(script.seed.unwrap_or_default())?;
    super::runtime()?.block_on(async move {
        let platform = Platform::start(settings).await?;
        let calls = script.calls.len();
        writeln!(io::stderr(), "sidetone: Voice REST API on http://{}; {calls} calls", platform.address())?;
        let report = tokio::select! {
            report = platform.run(&script, &voices) => report,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Err(Failure("interrupted".to_owned()));
            }
        };
        if set_up.json.unwrap_or_default() {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
        } else {
            writeln!(io::stdout(), "{report}")?;
        }
        Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The script and its voices, from whichever kind of file it is.
fn stage(run: &Run) -> Result<(Script, Voices), Failure> {
    let (name, recording) = match &run.script {
        Some(path) if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) => {
            if run.channels.is_some() {
                return Err(Failure(
                    "--channels goes with a recording; a script names the channel of each voice".to_owned(),
                ));
            }
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure(format!("{}: cannot be read: {error}", path.display())))?;
            let script = Script::parse(&text, &path.display().to_string())?;
            let voices = Voices::read(&script, path.parent().unwrap_or(Path::new("")))?;
            return Ok((script, voices));
        }
        Some(path) => (path.as_path(), wav::read(path)?),
        None => {
            let name = Path::new("the demo call");
            (name, wav::decode(Cursor::new(super::demo::DEMO_CALL), name)?)
        }
    };
    let speakers = super::demo::speakers(run.channels.as_deref(), recording.channels.len())?;
    Ok(stage::recorded_call(name, recording, &speakers)?)
}
