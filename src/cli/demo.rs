//! `sidetone demo`: a gateway on loopback, and a call played into it as Vonage would.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::console::Console;
use super::{Common, Done, Failure};
use crate::app::{self, App};
use crate::audio::wav::{self, Wav};
use crate::config::{Config, Media};
use crate::simulator::player::{self, Leg};
use crate::sink::{Sink, file::JsonLines};

/// The call that ships with the product; `models/demo-call/` has its recipe.
pub(super) const DEMO_CALL: &[u8] = include_bytes!("../../models/demo-call/call.wav");

/// Between the legs' start and the first frame, so that both sockets are open by then.
const LEAD: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Play this file instead: mono is one leg; in stereo the agent is left, the caller right
    wav: Option<PathBuf>,
    /// Who speaks on each channel
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    channels: Option<Vec<String>>,
    /// Times faster than real time
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = speed)]
    speed: f64,
    /// Print every event as one CloudEvents JSON object a line, and nothing else, to standard output
    #[arg(long)]
    json: bool,
    /// Also append the events to this file
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Also send the events to these Kafka brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.1..=32.0).contains(&speed) => Ok(speed),
        _ => Err("expected a number from 0.1 to 32".to_owned()),
    }
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let text = |value: String| toml::Value::String(value);
    let mut settings = vec![
        ("server.listen", text("127.0.0.1:0".to_owned())),
        ("sink.file.path", text(options.events.as_ref().map(|p| p.display().to_string()).unwrap_or_default())),
    ];
    // Nobody misses a demo's events, and a gateway in this folder has its spool to itself.
    settings.push(("sink.spool.mode", text("off".to_owned())));
    if common.log.is_none() {
        settings.push(("log.filter", text("warn".to_owned())));
    }
    if let Some(brokers) = &options.kafka {
        settings.push(("sink.kafka.bootstrap", text(brokers.clone())));
    }
    // It is its own peer, on loopback, and shows nothing for itself.
    let config = Config { media: Media::default(), ..common.load(settings)? };
    let call = match &options.wav {
        Some(path) => wav::read(path)?,
        None => wav::decode(Cursor::new(DEMO_CALL), Path::new("the demo call"))?,
    };
    let speakers = speakers(options.channels.as_deref(), call.channels.len())?;
    super::models::ensure(&config)?;
    super::runtime()?.block_on(play(&config, &options, call, &speakers))
}

/// A name for each channel.
pub(super) fn speakers(named: Option<&[String]>, channels: usize) -> Result<Vec<String>, Failure> {
    match (named, channels) {
        (Some(names), n) if names.len() == n => Ok(names.to_vec()),
        (Some(names), n) => {
            Err(Failure(format!("--channels names {} speakers, but the file has {n} channels", names.len())))
        }
        (None, 1) => Ok(vec!["caller".to_owned()]),
        (None, 2) => Ok(vec!["agent".to_owned(), "caller".to_owned()]),
        (None, n) => Ok((1..=n).map(|channel| format!("channel-{channel}")).collect()),
    }
}

async fn play(config: &Config, options: &Options, call: Wav, speakers: &[String]) -> Done {
    let mut sinks = app::sinks(config)?;
    let shown: Box<dyn Sink> = if options.json { Box::new(JsonLines::to_stdout()) } else { Box::new(Console::new()) };
    sinks.push(shown);
    let app = App::start(config, sinks, None).await?;
    app.warm().await?;
    let conversation = format!("CON-{}", Uuid::new_v4());
    if !options.json {
        let seconds = call.channels[0].len() as f64 / f64::from(call.rate.hz());
        writeln!(
            io::stdout(),
            "Playing {seconds:.0} s of {} to ws://{}/media, a leg each for {}\n",
            call.rate,
            app.address(),
            speakers.join(" and "),
        )?;
    }
    let start = Instant::now() + LEAD;
    let legs = call.channels.into_iter().zip(speakers).map(|(samples, speaker)| {
        let mut headers = Map::new();
        headers.insert("conversation".to_owned(), Value::String(conversation.clone()));
        headers.insert("role".to_owned(), Value::String(speaker.clone()));
        Leg {
            url: format!("ws://{}/media", app.address()),
            rate: call.rate,
            headers,
            samples: Arc::from(samples),
            speed: options.speed,
        }
    });
    let playing: Vec<_> = legs.map(|leg| tokio::spawn(async move { player::play(&leg, start).await })).collect();
    let mut problems = Vec::new();
    for leg in playing {
        match leg.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => problems.push(error.to_string()),
            Err(error) => problems.push(error.to_string()),
        }
    }
    for (sink, events) in app.stop().await {
        problems.push(format!("{events} events were not delivered to {sink}"));
    }
    if problems.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure(problems.join("\n"))) }
}
