//! The command line: one file for each subcommand. Only here is anything printed.

mod backends;
mod check;
mod conformance;
mod console;
mod demo;
mod eval;
mod events;
mod kafka;
mod load;
mod models;
mod ncco;
mod offline;
mod serve;
mod simulate;
mod spool;
mod tail;
mod transcribe;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{self, Config, LogFormat, Source};

/// Listens to every call: Vonage audio in, separated and timed transcripts out to Kafka.
#[derive(Debug, Parser)]
#[command(name = "sidetone", version, about, long_about = None, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every subcommand that reads the configuration.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file; without one the defaults hold
    #[arg(long, short, global = true, env = "SIDETONE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged to standard error, such as `debug` or `sidetone=debug,warn`
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Have an offline Vonage call a gateway of its own, and watch the call become text
    Demo(demo::Options),
    /// Run the gateway
    Serve(serve::Options),
    /// Be an offline Vonage: call an application, and tell what became of it
    Simulate(simulate::Options),
    /// Transcribe WAV files through the same pipeline, as fast as the machine allows
    Transcribe(transcribe::Options),
    /// Measure transcribers, detectors and scorers on recordings and texts of which the truth is known
    Eval(eval::Options),
    /// List, fetch or verify models
    #[command(subcommand)]
    Models(models::Models),
    /// List the voice activity, transcription, sentiment and sink backends
    Backends,
    /// Look at configuration, model, port, Vonage and broker: what is wrong, and how to mend it
    Check(check::Options),
    /// Put many legs with real speech on a gateway, and tell what it made of them
    Load(load::Options),
    /// Check from outside whether a gateway serves Vonage as it must
    Conformance(conformance::Options),
    /// Show the events on Kafka as they come: each once, and what is missing
    Tail(tail::Options),
    /// Prepare Apache Kafka for the gateway
    #[command(subcommand)]
    Kafka(kafka::Kafka),
    /// Check call control objects before Vonage does
    #[command(subcommand)]
    Ncco(Ncco),
    /// Look at, print or send the events that wait on disk for a broker that is away
    #[command(subcommand)]
    Spool(spool::Command),
    /// Print the event contract: JSON Schemas or the AsyncAPI document
    Events(events::Options),
}

#[derive(Debug, Subcommand)]
enum Ncco {
    /// Name every rule that an NCCO breaks: path, rule and value, a line each
    Check {
        /// A JSON file that holds one NCCO
        file: PathBuf,
    },
    /// Print the NCCO for the application's fallback URL: what callers get while no gateway answers
    Fallback,
}

/// Runs the command that the process was called with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Demo(options) => demo::run(&cli.common, options),
        Command::Serve(options) => serve::run(&cli.common, options),
        Command::Simulate(options) => simulate::run(&cli.common, options),
        Command::Transcribe(options) => transcribe::run(&cli.common, options),
        Command::Models(command) => {
            cli.common.load(Vec::new()).and_then(|config| models::run(&command, &config)).map(|()| ExitCode::SUCCESS)
        }
        Command::Eval(options) => eval::run(&cli.common, options),
        Command::Backends => backends::run(),
        Command::Check(options) => check::run(&cli.common, options),
        Command::Load(options) => load::run(&cli.common, options),
        Command::Conformance(options) => conformance::run(options),
        Command::Tail(options) => tail::run(&cli.common, options),
        Command::Kafka(command) => kafka::run(&cli.common, command),
        Command::Ncco(Ncco::Check { file }) => {
            let sound = ncco::check(&file, &mut io::stdout().lock());
            sound.map(|sound| if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }).map_err(Failure::from)
        }
        Command::Ncco(Ncco::Fallback) => cli
            .common
            .load(Vec::new())
            .and_then(|config| Ok(ncco::fallback(&config, &mut io::stdout().lock())?))
            .map(|()| ExitCode::SUCCESS),
        Command::Spool(command) => spool::run(&cli.common, &command),
        Command::Events(options) => events::run(&options),
    };
    match done {
        Ok(code) => code,
        // `sidetone … | head` is no failure of ours.
        Err(Failure(message)) if message.is_empty() => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            for line in message.lines() {
                let _ = writeln!(io::stderr(), "sidetone: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed, in words for its user; none when the reader of its output
/// has gone away.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: &(dyn std::error::Error + 'static) = &error;
        match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Self(String::new()),
            _ => Self(error.to_string()),
        }
    }
}

type Done = Result<ExitCode, Failure>;

impl Common {
    /// Reads the configuration, with settings from the command line on top, and starts logging.
    fn load(&self, arguments: Vec<(&'static str, toml::Value)>) -> Result<Config, Failure> {
        let source = Source { file: self.config.as_deref(), arguments, ..Source::environment() };
        let mut config = config::load(&source)?;
        if let Some(filter) = &self.log {
            config.log.filter.clone_from(filter);
        }
        start_log(&config)?;
        Ok(config)
    }
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .map_err(|error| Failure(format!("log.filter is {:?}: {error}", config.log.filter)))?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let discreet = filter_fn(|told| is_discreet(told.target(), *told.level()));
    // A second start in one process finds the first one's subscriber; that is fine.
    let _ = match config.log.format {
        LogFormat::Text => builder.finish().with(discreet).try_init(),
        LogFormat::Json => builder.json().finish().with(discreet).try_init(),
    };
    Ok(())
}

/// Whether a line may be logged, whatever was asked for: libraries trace what goes through
/// them, and that is keys, numbers and words.
fn is_discreet(target: &str, level: Level) -> bool {
    level < Level::TRACE || target == "sidetone" || target.starts_with("sidetone::")
}

/// A runtime for the commands that talk to a network.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
