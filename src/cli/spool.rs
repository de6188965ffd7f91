//! `sidetone spool`: what waits on disk for a sink that is away.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Common, Done, Failure};
use crate::app;
use crate::config::Config;
use crate::publish::spool::{self, Look};
use crate::publish::{Limits, Mode, Outbox};
use crate::sink::{kafka, kafka::Kafka};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell what waits: events, bytes, the oldest, how many of each type, files set aside
    Inspect,
    /// Print every event that waits as one line of JSON, in order; nothing is taken away
    Export,
    /// Send what waits to the configured broker and report; no gateway may run meanwhile
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Kafka brokers to send to
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Longest time for it, in seconds; what is left then waits on
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(super) fn run(common: &Common, command: &Command) -> Done {
    match command {
        Command::Inspect => inspect(&common.load(Vec::new())?),
        Command::Export => {
            let config = common.load(Vec::new())?;
            let mut out = BufWriter::new(io::stdout().lock());
            spool::export(&config.sink.spool.dir, kafka::NAME, &mut out)?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay(options) => {
            let brokers = options.kafka.clone().map(|brokers| ("sink.kafka.bootstrap", toml::Value::String(brokers)));
            replay(&common.load(brokers.into_iter().collect())?, Duration::from_secs(options.timeout))
        }
    }
}

fn inspect(config: &Config) -> Done {
    let dir = &config.sink.spool.dir;
    let look = spool::look(dir, kafka::NAME)?;
    let mut out = io::stdout().lock();
    let state = if look.in_use { "in use by a gateway" } else { "not in use" };
    writeln!(out, "spool        {}, {state}", dir.join(kafka::NAME).display())?;
    writeln!(out, "waiting      {} events", look.events)?;
    writeln!(out, "on disk      {} bytes of {}, in {} files", look.bytes, config.sink.spool.bytes_max, look.files)?;
    if let Some(oldest) = &look.oldest {
        writeln!(out, "oldest       {oldest}")?;
    }
    for (kind, events) in &look.types {
        writeln!(out, "  {kind:<24} {events}")?;
    }
    for (path, fault) in &look.damaged {
        writeln!(out, "damaged      {} ({}); the next start sets it aside", path.display(), fault.name())?;
    }
    for path in &look.quarantined {
        writeln!(out, "quarantined  {}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(config: &Config, patience: Duration) -> Done {
    if config.sink.kafka.bootstrap.is_empty() {
        return Err(Failure("no broker to send to; name one with --kafka or sink.kafka.bootstrap".to_owned()));
    }
    let dir = &config.sink.spool.dir;
    let waiting = spool::look(dir, kafka::NAME)?;
    if waiting.events == 0 && waiting.damaged.is_empty() && !waiting.in_use {
        writeln!(io::stdout(), "nothing waits in {}", dir.join(kafka::NAME).display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let sink = Box::new(Kafka::new(config.sink.kafka.clone()).map_err(Failure)?);
    let outbox = &config.sink.outbox;
    let limits = Limits { durable_max: outbox.durable_max, ephemeral_max: outbox.ephemeral_max, live_max: 1 };
    let outbox = Outbox::start(vec![sink], limits, Some(&app::spool_settings(config, Mode::Always)))?;
    outbox.stop(patience);
    let troubles = outbox.troubles();
    let left = spool::look(dir, kafka::NAME)?;
    let sent = waiting.events.saturating_sub(left.events);
    writeln!(io::stdout(), "{sent} of {} events were sent to {}", waiting.events, config.sink.kafka.bootstrap)?;
    if left.events == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let why = troubles.first().map_or_else(|| "the time was up".to_owned(), |(_, trouble)| trouble.clone());
    Err(Failure(format!("{} events wait still: {why}", left.events)))
}

/// What `sidetone check` says of the spool; `None` when there is nothing to say.
pub(super) fn check(config: &Config) -> Option<Result<String, String>> {
    let dir = config.sink.spool.dir.join(kafka::NAME);
    if config.sink.kafka.bootstrap.is_empty() && !dir.exists() {
        return None;
    }
    Some(match spool::look(&config.sink.spool.dir, kafka::NAME) {
        Ok(look) => said(&dir, &look),
        Err(error) => Err(format!("{} cannot be read: {error}; choose another with sink.spool.dir", dir.display())),
    })
}

fn said(dir: &Path, look: &Look) -> Result<String, String> {
    let damaged = look.damaged.iter().map(|(path, fault)| format!("{} ({})", path.display(), fault.name()));
    let aside = look.quarantined.iter().map(|path| path.display().to_string());
    let poisoned: Vec<_> = damaged.chain(aside).collect();
    let Some(first) = poisoned.first() else {
        return Ok(format!("{}, {} events wait", dir.display(), look.events));
    };
    Err(format!(
        "{} cannot be read whole, {first} the first; what can be read is sent. See what is lost, then delete what is \
         in {}",
        if poisoned.len() == 1 { "one file".to_owned() } else { format!("{} files", poisoned.len()) },
        dir.join("quarantine").display()
    ))
}
