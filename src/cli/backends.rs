//! `sidetone backends`

use std::io::{self, Write};
use std::process::ExitCode;

use super::Done;
use crate::{asr, sentiment, sink, vad};

pub(super) fn run() -> Done {
    let mut out = io::stdout().lock();
    let mut family = |title: &str, entries: &[(&str, &str)]| -> io::Result<()> {
        writeln!(out, "{title}")?;
        entries.iter().enumerate().try_for_each(|(place, (name, about))| {
            let default = if place == 0 && title.contains("default") { "*" } else { " " };
            writeln!(out, "  {default} {name:<12} {about}")
        })
    };
    let entries: Vec<_> = vad::BACKENDS.iter().map(|b| (b.name(), b.about())).collect();
    family("Voice activity detection: vad.backend, default *", &entries)?;
    let entries: Vec<_> = asr::BACKENDS.iter().map(|b| (b.name(), b.about())).collect();
    family("Transcription: asr.backend, default *", &entries)?;
    let mut entries: Vec<_> = sentiment::BACKENDS.iter().map(|b| (b.name(), b.about())).collect();
    entries.push(("none", "no sentiment"));
    family("Sentiment: sentiment.backend, default *", &entries)?;
    family("Sinks: any number of them, [sink.<name>]", sink::KINDS)?;
    Ok(ExitCode::SUCCESS)
}
