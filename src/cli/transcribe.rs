//! `sidetone transcribe FILE.wav …`

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::console::clock;
use super::offline::Pipeline;
use super::{Common, Done, Failure};
use crate::app;
use crate::audio::wav::{self, Wav};
use crate::event::body::{LegEnded, TranscriptFinal};
use crate::event::{Body, Event};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// WAV files of 8, 16 or 24 kHz
    #[arg(required = true, value_name = "FILE.wav")]
    files: Vec<PathBuf>,
    /// What to print
    #[arg(long, short, value_enum, default_value = "text")]
    format: Format,
    /// Who speaks on each channel [default: agent left and caller right in stereo]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    channels: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each utterance
    Text,
    /// One JSON document for each file
    Json,
    /// WebVTT subtitles
    Vtt,
}

/// One party's part of a file.
struct Party {
    speaker: String,
    finals: Vec<TranscriptFinal>,
    ended: Option<LegEnded>,
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let mut config = common.load(vec![("sink.file.path", toml::Value::String(String::new()))])?;
    // Nobody waits: one that nobody asked for need not be loaded.
    config.asr.quick.get_or_insert_default();
    let files: Vec<(PathBuf, Wav)> =
        options.files.iter().map(|path| Ok((path.clone(), wav::read(path)?))).collect::<Result<_, wav::WavError>>()?;
    super::models::ensure(&config)?;
    let runtime = super::runtime()?;
    let inside = runtime.enter();
    let pipeline = Pipeline::start(&config, &app::engines(&config)?)?;
    drop(inside);
    let seconds = files.iter().map(|(_, wav)| wav.seconds() * wav.channels.len() as u64).sum();
    let progress = progress_bar(seconds);
    let threads = config.inference_threads();
    runtime.block_on(async {
        pipeline.warm().await?;
        // A leg's segments are heard one after the other: what keeps all threads busy is legs.
        let legs =
            files.iter().map(|(_, wav)| transcribed(&pipeline, wav, options.channels.as_deref(), threads, &progress));
        let mut legs = std::pin::pin!(stream::iter(legs).buffered(threads.max(1)));
        for (n, (path, wav)) in files.iter().enumerate() {
            let Some(parties) = legs.next().await.transpose()? else { break };
            progress.suspend(|| print(options.format, n, path, wav, &parties))?;
        }
        progress.finish_and_clear();
        Ok(ExitCode::SUCCESS)
    })
}

async fn transcribed(
    pipeline: &Pipeline,
    wav: &Wav,
    channels: Option<&[String]>,
    threads: usize,
    progress: &ProgressBar,
) -> Result<Vec<Party>, Failure> {
    let speakers = super::demo::speakers(channels, wav.channels.len())?;
    let parties = stream::iter(wav.channels.iter().zip(speakers))
        .map(|(samples, speaker)| async move {
            let events = pipeline.run(&speaker, wav.rate, samples, |seconds| progress.inc(seconds)).await;
            Party::of(speaker, events)
        })
        .buffered(threads.max(1))
        .collect()
        .await;
    Ok(parties)
}

impl Party {
    fn of(speaker: String, events: Vec<Event>) -> Self {
        let mut party = Self { speaker, finals: Vec::new(), ended: None };
        for event in events {
            match event.body {
                Body::TranscriptFinal(text) => party.finals.push(text),
                Body::LegEnded(ended) => party.ended = Some(ended),
                _ => {}
            }
        }
        party
    }
}

/// All utterances of a file, in the order they began.
fn in_order(parties: &[Party]) -> Vec<(&str, &TranscriptFinal)> {
    let mut all: Vec<_> = parties.iter().flat_map(|p| p.finals.iter().map(|text| (p.speaker.as_str(), text))).collect();
    all.sort_by_key(|(_, text)| text.start_ms);
    all
}

fn print(format: Format, n: usize, path: &Path, wav: &Wav, parties: &[Party]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => {
            if n > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{}", path.display())?;
            for (speaker, text) in in_order(parties) {
                writeln!(out, "{} {speaker:<7} {}", clock(text.start_ms), text.text)?;
            }
        }
        Format::Vtt => {
            writeln!(out, "WEBVTT\n\nNOTE {}\n", path.display().to_string().replace("--", "- -"))?;
            for (speaker, text) in in_order(parties) {
                let (speaker, cue) = (escaped(speaker), escaped(&text.text));
                writeln!(out, "{} --> {}\n<v {speaker}>{cue}\n", stamp(text.start_ms), stamp(text.end_ms))?;
            }
        }
        Format::Json => {
            let channels: Vec<Value> = parties
                .iter()
                .map(|p| json!({"speaker": p.speaker, "utterances": p.finals, "ended": p.ended}))
                .collect();
            let document = json!({"file": path, "rate_hz": wav.rate.hz(), "channels": channels});
            writeln!(out, "{document}")?;
        }
    }
    out.flush()
}

/// Text as WebVTT has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// WebVTT's `hh:mm:ss.mmm`.
fn stamp(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn progress_bar(seconds: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(seconds), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s of audio, {per_sec}, {eta} left");
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}
