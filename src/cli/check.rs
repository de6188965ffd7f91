//! `sidetone check`: configuration, model, port, Vonage, sinks, one line each.

mod vonage;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Common, Done, Failure};
use crate::app;
use crate::asr::Engine;
use crate::config::{Config, Format, KafkaSink};
use crate::event::avro;
use crate::inference::Scorer;
use crate::models::Store;
use crate::sentiment;
use crate::sink::kafka::registry::Registry;
use crate::sink::kafka::{self, State, Topics};
use crate::sink::{Sink, file::JsonLines};
use crate::types::Fault;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Check as if this address were configured
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Check as if these brokers were configured
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let settings = [("server.listen", options.listen.map(|a| a.to_string())), ("sink.kafka.bootstrap", options.kafka)];
    let settings = settings.into_iter().filter_map(|(key, value)| Some((key, toml::Value::String(value?))));
    let mut report = Report { well: true };
    let config = match common.load(settings.collect()) {
        Ok(config) => config,
        Err(Failure(problems)) => {
            problems.lines().try_for_each(|problem| report.line("configuration", Err(problem.to_owned())))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let from = common.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    report.line("configuration", Ok(from))?;
    report.line("vad", app::detector(&config).map(|(name, _)| name.to_owned()).map_err(|e| e.to_string()))?;
    report.line("model", model(&config))?;
    transcribers(&config, &mut report)?;
    if let Some(said) = scorer(&config) {
        report.line("sentiment", said)?;
    }
    report.line("port", port(config.server.listen))?;
    if vonage::is_configured(&config) {
        vonage::check(&config, &mut report)?;
    }
    if !config.sink.file.path.as_os_str().is_empty() {
        let path = &config.sink.file.path;
        let there = path.exists();
        let opened = JsonLines::to_path(path.clone()).open();
        if !there {
            // Looking must not leave anything behind.
            let _ = std::fs::remove_file(path);
        }
        report.line("event file", opened.map(|()| path.display().to_string()))?;
    }
    if let Some(said) = super::spool::check(&config) {
        report.line("spool", said)?;
    }
    if !config.sink.kafka.bootstrap.is_empty() {
        brokers(&config, &mut report)?;
    }
    Ok(if report.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    well: bool,
}

impl Report {
    fn line(&mut self, what: &str, found: Result<String, String>) -> io::Result<()> {
        self.well &= found.is_ok();
        let (mark, text) = match found {
            Ok(text) => ("ok  ", text),
            Err(problem) => ("BAD ", problem),
        };
        writeln!(io::stdout(), "{mark} {what:<14} {text}")
    }
}

fn model(config: &Config) -> Result<String, String> {
    let names = app::models(config).map_err(|e| e.to_string())?;
    if names.is_empty() {
        return Ok("none needed".to_owned());
    }
    let store = Store::new(&config.models.dir);
    names.iter().try_for_each(|name| store.verify(name).map(drop)).map_err(|e| e.to_string())?;
    Ok(format!("{}, every file matches its checksum", names.join(", ")))
}

/// Those in use, each made ready or asked; then the tables of those that are not.
fn transcribers(config: &Config, report: &mut Report) -> io::Result<()> {
    for (place, name) in config.asr.chain().enumerate() {
        let built = app::transcriber(config, name).map_err(|e| e.to_string());
        let said = built.and_then(|(name, engine)| transcriber(config, name, engine));
        if place > 0 {
            report.line("asr fall back", said)?;
            continue;
        }
        let scorer = app::scorer(config).map(|scorer| scorer.map_or("none", |scorer| scorer.name));
        let scorer = scorer.map_err(|e| e.to_string());
        let threads = config.inference_threads();
        let said = said.and_then(|said| Ok(format!("{said}; {threads} threads; sentiment {}", scorer?)));
        report.line("asr", said)?;
    }
    match app::shadow(config) {
        Ok(None) => {}
        Ok(Some(plan)) => {
            let said = transcriber(config, plan.name, plan.engine);
            let share = plan.share;
            report.line("asr shadow", said.map(|said| format!("{said}; hears a share of {share} of conversations")))?;
        }
        Err(error) => report.line("asr shadow", Err(error.to_string()))?,
    }
    if let Some(name) = config.asr.quick() {
        let built = app::transcriber(config, name).map_err(|e| e.to_string());
        report.line("asr quick", built.and_then(|(name, engine)| transcriber(config, name, engine)))?;
    }
    for backend in crate::asr::BACKENDS {
        let (name, table) = (backend.name(), config.asr.table(backend.name()));
        let in_use = config.asr.used().chain(config.asr.shadow.name()).any(|used| used == name);
        if !in_use && backend.models(&table).is_empty() && !table.is_empty() {
            let built = backend.build(&table, &[]).map_err(|error| error.to_string());
            report.line("asr unused", built.map(|_| format!("{name} can be built; nothing asks it")))?;
        }
    }
    Ok(())
}

/// Whether it can be used: a local one is opened, a remote one is asked.
fn transcriber(config: &Config, name: &str, engine: Engine) -> Result<String, String> {
    match engine {
        Engine::Local(engine) => engine.open().map(|_| format!("{name} loads")).map_err(|e| e.to_string()),
        Engine::Remote(engine) => {
            let patience = Duration::from_millis(config.asr.attempt_timeout_ms);
            let runtime = super::runtime().map_err(|e| e.to_string())?;
            let answer = runtime.block_on(async { tokio::time::timeout(patience, engine.check()).await });
            let found = answer.unwrap_or(Err(Fault::Timeout));
            let remedy = format!("look at url and key of [asr.{name}]");
            let found = found.map_err(|fault| format!("{name}: {fault} ({}); {remedy}", fault.as_str()))?;
            Ok(format!("{name}: {found}"))
        }
    }
}

/// What a scorer that is elsewhere makes of a harmless word.
fn scorer(config: &Config) -> Option<Result<String, String>> {
    // What cannot be built was told with the transcriber.
    let Scorer { name, engine: sentiment::Engine::Remote(engine), .. } = app::scorer(config).ok()?? else {
        return None;
    };
    let answer = super::runtime().map(|runtime| runtime.block_on(engine.score("hello")));
    Some(match answer {
        Ok(Ok(_)) => Ok(format!("{name} answers")),
        Ok(Err(fault)) => {
            Err(format!("{name}: {fault} ({}); look at url, key and timeout_ms of [sentiment.{name}]", fault.as_str()))
        }
        Err(error) => Err(error.to_string()),
    })
}

fn port(address: SocketAddr) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) => Err(format!(
            "cannot listen on {address}: {error}; stop what uses it, or choose another with --listen or server.listen"
        )),
    }
}

/// Brokers, then each topic; nothing more once the brokers are not to be had.
fn brokers(config: &Config, report: &mut Report) -> io::Result<()> {
    let settings = &config.sink.kafka;
    let topics = match kafka::Kafka::new(settings.clone()).and_then(|_| Topics::new(settings)) {
        Ok(topics) => topics,
        Err(problem) => return report.line("kafka", Err(problem)),
    };
    match topics.brokers() {
        Ok(brokers) => report.line("kafka", Ok(format!("{} answers; brokers: {brokers}", settings.bootstrap)))?,
        Err(problem) => return report.line("kafka", Err(problem)),
    }
    for wanted in kafka::wanted(settings) {
        let found = match topics.ensure(&wanted, false) {
            Ok(State::Missing) if settings.create_topic => {
                Ok(format!("{} is missing and will be created; or run sidetone kafka init", wanted.name))
            }
            Ok(State::Missing) => Err(kafka::missing(&wanted, &settings.bootstrap)),
            Ok(_) => Ok(format!("{} is there", wanted.name)),
            Err(problem) if !wanted.takes_events => Ok(format!("dead letters go to the file instead: {problem}")),
            Err(problem) => Err(problem),
        };
        report.line("topic", found)?;
    }
    if settings.format == Format::Avro {
        report.line("registry", schemas(settings))?;
    }
    Ok(())
}

fn schemas(settings: &KafkaSink) -> Result<String, String> {
    let registry = Registry::new(settings)?;
    for (kind, schema) in avro::all() {
        if registry.find(kind, &schema)?.is_none() {
            let name = avro::record_name(kind);
            return Err(format!("{name} is not known as it is here; make it known: sidetone kafka init"));
        }
    }
    Ok(format!("{} knows every schema", settings.registry.url))
}
