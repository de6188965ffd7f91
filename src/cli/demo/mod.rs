//! `sidetone demo`: a gateway on loopback, and a call that an offline Vonage makes to it.
//!
//! A recording of a caller, or of agent and caller, is a call at the platform: answer
//! webhook, NCCO, the agent's leg, a listener socket for each of them ([`staged`]). Other
//! speakers have no place there; their channels are played as media sockets without a call
//! around them ([`direct`]).

mod direct;
mod staged;

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::console::Console;
use super::{Common, Done, Failure};
use crate::app::App;
use crate::audio::wav::{self, Wav};
use crate::sink::{Sink, file::JsonLines};

/// The call that ships with the product; `models/demo-call/` has its recipe.
pub(super) const DEMO_CALL: &[u8] = include_bytes!("../../../models/demo-call/call.wav");

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
    let config = common.load(settings)?;
    let name = options.wav.as_deref().unwrap_or(Path::new("the demo call"));
    let call = match &options.wav {
        Some(path) => wav::read(path)?,
        None => wav::decode(Cursor::new(DEMO_CALL), name)?,
    };
    let speakers = speakers(options.channels.as_deref(), call.channels.len())?;
    super::models::ensure(&config)?;
    let with = With { json: options.json, speed: options.speed };
    // A call at Vonage has a caller, and at most one agent.
    let staged = speakers.len() <= 2
        && speakers.iter().filter(|speaker| *speaker == "caller").count() == 1
        && speakers.iter().all(|speaker| speaker == "caller" || speaker == "agent");
    super::runtime()?.block_on(async {
        let problems = if staged {
            staged::play(config, with, name, call, &speakers).await?
        } else {
            direct::play(config, with, call, &speakers).await?
        };
        if problems.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure(problems.join("\n"))) }
    })
}

/// How a call is played and shown.
#[derive(Debug, Clone, Copy)]
struct With {
    /// Events as JSON lines rather than for people.
    json: bool,
    /// Times faster than real time.
    speed: f64,
}

impl With {
    fn sink(self) -> Box<dyn Sink> {
        if self.json { Box::new(JsonLines::to_stdout()) } else { Box::new(Console::new()) }
    }

    /// Says what comes, to people.
    fn announce(self, call: &Wav, how: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let seconds = call.channels[0].len() as f64 / f64::from(call.rate.hz());
        writeln!(io::stdout(), "Playing {seconds:.0} s of {} {how}\n", call.rate)
    }
}

/// Stops the gateway; what could not be delivered is a problem each.
async fn stop(app: App) -> Vec<String> {
    let left = app.stop().await.into_iter();
    left.map(|(sink, events)| format!("{events} events were not delivered to {sink}")).collect()
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
