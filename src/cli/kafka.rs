//! `sidetone kafka init`: topics with the right settings, and schemas where values have some.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Common, Done, Failure};
use crate::config::{Format, KafkaSink};
use crate::event::avro;
use crate::sink::kafka::registry::Registry;
use crate::sink::kafka::{State, Topics, wanted};

#[derive(Debug, Subcommand)]
pub(super) enum Kafka {
    /// Create the topics that the configuration names, and show what differs in those that exist
    Init(Init),
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Brokers, as if they were configured
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(common: &Common, command: Kafka) -> Done {
    let Kafka::Init(options) = command;
    let brokers = options.kafka.map(|brokers| ("sink.kafka.bootstrap", toml::Value::String(brokers)));
    let config = common.load(brokers.into_iter().collect())?;
    let settings = &config.sink.kafka;
    if settings.bootstrap.is_empty() {
        return Err(Failure("no brokers: give --kafka HOST:PORT or set sink.kafka.bootstrap".to_owned()));
    }
    let topics = Topics::new(settings).map_err(Failure)?;
    topics.brokers().map_err(Failure)?;
    let mut out = io::stdout().lock();
    for wanted in wanted(settings) {
        let name = &wanted.name;
        match topics.compare(&wanted, !options.dry_run).map_err(Failure)? {
            State::Created => {
                let with: Vec<_> = wanted.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let partitions = wanted.partitions;
                writeln!(out, "created  {name}: partitions={partitions} {}", with.join(" "))?;
            }
            State::There => writeln!(out, "as is    {name}: there, nothing differs")?,
            State::Missing => writeln!(out, "missing  {name}: would be created")?,
            State::Differs(lines) => {
                lines.iter().try_for_each(|line| writeln!(out, "differs  {name}: {line}"))?;
            }
        }
    }
    if settings.format == Format::Avro {
        schemas(settings, options.dry_run, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes every schema known to the registry.
fn schemas(settings: &KafkaSink, dry_run: bool, out: &mut impl Write) -> Result<(), Failure> {
    let registry = Registry::new(settings).map_err(Failure)?;
    for (kind, schema) in avro::all() {
        let name = avro::record_name(kind);
        match registry.find(kind, &schema).map_err(Failure)? {
            Some(id) => writeln!(out, "as is    {name}: schema {id}")?,
            None if dry_run => writeln!(out, "missing  {name}: would be registered")?,
            None => {
                let id = registry.register(kind, &schema).map_err(Failure)?;
                writeln!(out, "created  {name}: schema {id}, compatibility {}", avro::COMPATIBILITY)?;
            }
        }
    }
    Ok(())
}
