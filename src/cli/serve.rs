//! `sidetone serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, Done, Failure};
use crate::app::{self, App};
use crate::config::SpoolMode;
use crate::{sink, telemetry};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File that events are appended to; "" for none [default: sidetone-events.jsonl]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Kafka brokers that get the same events
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
}

impl Options {
    fn settings(&self) -> Vec<(&'static str, toml::Value)> {
        let text = |path: &PathBuf| path.display().to_string();
        [
            ("server.listen", self.listen.map(|address| address.to_string())),
            ("sink.file.path", self.events.as_ref().map(text)),
            ("sink.kafka.bootstrap", self.kafka.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, toml::Value::String(value?))))
        .collect()
    }
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let config = common.load(options.settings())?;
    super::models::ensure(&config)?;
    let metrics = telemetry::install()?;
    let upkeep = metrics.clone();
    super::runtime()?.block_on(async move {
        let sinks = app::sinks(&config)?;
        let app = App::start(&config, sinks, Some(metrics)).await?;
        if app.sockets_are_open() {
            tracing::warn!(
                address = %app.address(),
                "MEDIA SOCKETS ARE OPEN to every program on this machine: none of media.token_keys, media.custom and \
                 media.vonage is set"
            );
        }
        tokio::spawn(async move {
            // Histograms keep what nobody scraped until this is called.
            let mut every = tokio::time::interval(std::time::Duration::from_secs(5));
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tracing::info!(address = %app.address(), "listening; warming the model");
        tokio::select! {
            warm = app.warm() => {
                warm?;
                tracing::info!(address = %app.address(), "ready: connect a Vonage socket to ws://{}/media", app.address());
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: no new legs; last words and queues first");
        let unsafe_events = app.stop().await;
        if unsafe_events.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let list: Vec<_> = unsafe_events.iter().map(|(sink, count)| format!("{sink}: {count}")).collect();
        let left = |sink: &str| unsafe_events.iter().any(|(name, _)| *name == sink);
        let file = &config.sink.file.path;
        let kept = if !file.as_os_str().is_empty() && !left(sink::file::NAME) {
            format!("; the event file {} has them", file.display())
        } else if left(sink::kafka::NAME) && config.sink.spool.mode == SpoolMode::Off {
            format!("; those for kafka are in {}", config.sink.kafka.dead_letters.display())
        } else {
            String::new()
        };
        Err(Failure(format!("durable events were not delivered before the stop: {}{kept}", list.join(", "))))
    })
}
