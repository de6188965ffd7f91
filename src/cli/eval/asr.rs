//! `sidetone eval asr`: how well recordings with known words are transcribed, by the
//! transcriber alone and by the live pipeline around it.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cpu_time::ProcessTime;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::offline::{self, Pipeline};
use super::super::{Common, Done, Failure, models};
use super::asr_report::{Band, Memory, Outcome, Report, Score};
use crate::app;
use crate::asr::Transcriber;
use crate::audio::resample::Resampler;
use crate::audio::{level, wav};
use crate::config::Config;
use crate::eval::manifest::{self, Reference, Row};
use crate::eval::telephone::{resampled, telephone};
use crate::load::process;
use crate::types::rate::{FRAME_SAMPLES, PIPELINE_HZ};
use crate::types::{Rate, SegmentKind};

#[derive(Debug, Args)]
pub(super) struct Asr {
    /// Table of recordings: columns file and transcript, separated by tabs
    #[arg(long, value_name = "FILE.tsv", default_value = "../shared/audio/MANIFEST.tsv")]
    manifest: PathBuf,
    /// A transcriber on this machine, and which model if not its default; may be given more
    /// than once. The configured one, if not given
    #[arg(long, value_name = "NAME[:MODEL]")]
    asr: Vec<String>,
    /// Only sets whose names begin so; may be given more than once
    #[arg(long, value_name = "PREFIX")]
    set: Vec<String>,
    /// As recorded, as over a telephone (8 kHz, μ-law), or both
    #[arg(long, value_enum, default_value = "both")]
    band: Bands,
    /// At most this many recordings of each set
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON document, with the texts of every recording
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bands {
    Wide,
    Telephone,
    Both,
}

impl Bands {
    fn all(self) -> &'static [Band] {
        match self {
            Self::Wide => &[Band::Wide],
            Self::Telephone => &[Band::Telephone],
            Self::Both => &[Band::Wide, Band::Telephone],
        }
    }
}

impl Band {
    /// A recording as it comes in over this band.
    fn of(self, samples: &[i16], hz: u32) -> (Rate, Vec<i16>) {
        match (self, Rate::from_hz(hz)) {
            (Self::Telephone, _) => (Rate::Hz8000, telephone(samples, hz)),
            (Self::Wide, Some(rate)) => (rate, samples.to_vec()),
            (Self::Wide, None) => (Rate::Hz16000, resampled(samples, hz, PIPELINE_HZ)),
        }
    }
}

pub(super) fn run(common: &Common, options: &Asr) -> Done {
    // What was said is compared with what was heard: nothing is taken out of either.
    let mut settings = vec![
        ("sink.file.path", toml::Value::String(String::new())),
        ("redaction.policy", toml::Value::String("off".to_owned())),
    ];
    if common.log.is_none() {
        settings.push(("log.filter", toml::Value::String("warn".to_owned())));
    }
    let config = common.load(settings)?;
    let (rows, skipped) = rows(options)?;
    let configured = [String::new()];
    let named = if options.asr.is_empty() { &configured[..] } else { &options.asr };
    let mut reports = Vec::new();
    for name in named {
        let report = measure(&config, options, name, &rows, skipped)?;
        if options.json { report.json() } else { report.table() }?;
        reports.push(report);
    }
    if !options.json {
        Report::summary(&reports)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All recordings by one transcriber: `name` or `name:model`, the configured one if empty.
fn measure(
    config: &Config,
    options: &Asr,
    name: &str,
    rows: &[Row],
    skipped: manifest::Skipped,
) -> Result<Report, Failure> {
    let mut config = config.clone();
    // Nobody waits: one that nobody asked for need not be loaded.
    config.asr.quick.get_or_insert_default();
    let (backend, model) = name.split_once(':').unwrap_or((name, ""));
    if !backend.is_empty() {
        config.asr.backend = backend.to_owned();
        config.asr.fall_back.clear();
        config.asr.quick = Some(String::new());
    }
    if !model.is_empty() {
        config.asr.tables.set(backend, "model", toml::Value::String(model.to_owned()));
    }
    models::ensure(&config)?;
    let before = resident_mb();
    let engines = app::engines(&config)?;
    let mut transcriber = engines.asr.open()?;
    let first = resident_mb();
    drop(engines.asr.open()?);
    let second = resident_mb();
    let runtime = super::super::runtime()?;
    let inside = runtime.enter();
    let pipeline = Pipeline::start(&config, &engines)?;
    drop(inside);
    runtime.block_on(pipeline.warm())?;

    let progress = progress_bar((rows.len() * options.band.all().len()) as u64);
    let mut outcomes = Vec::new();
    for row in rows {
        let (hz, samples) = recording(&options.manifest, row)?;
        for &band in options.band.all() {
            let (rate, samples) = band.of(&samples, hz);
            let started = ProcessTime::now();
            let heard_whole = whole(&mut *transcriber, rate, &samples);
            let whole = Score::of(&row.reference, &heard_whole, started.elapsed());
            let started = ProcessTime::now();
            let events = runtime.block_on(pipeline.run("caller", rate, &samples, |_| {}));
            let heard_live = offline::text_of(&events);
            let live = Score::of(&row.reference, &heard_live, started.elapsed());
            outcomes.push(Outcome {
                file: row.file.clone(),
                set: row.set.clone(),
                band,
                audio_s: samples.len() as f64 / f64::from(rate.hz()),
                said: match &row.reference {
                    Reference::Words(words) => vec![words.clone()],
                    Reference::Slots(slots) => slots.clone(),
                },
                heard_whole,
                heard_live,
                segments: offline::segments_of(&events),
                whole,
                live,
            });
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let asr = if backend.is_empty() { engines.asr_name.to_owned() } else { name.to_owned() };
    let memory = Memory { first_mb: first - before, further_mb: second - first };
    Ok(Report { asr, vad: config.vad.backend.clone(), memory, skipped, outcomes })
}

/// Memory of this process, in MB.
fn resident_mb() -> f64 {
    process::usage(std::process::id()).map_or(0.0, |usage| usage.rss_kib as f64 / 1_024.0)
}

/// The rows that were asked for.
fn rows(options: &Asr) -> Result<(Vec<Row>, manifest::Skipped), Failure> {
    let path = options.manifest.display();
    let text = std::fs::read_to_string(&options.manifest).map_err(|error| {
        Failure(format!("{path}: {error}; name a manifest with --manifest: {}", manifest::EXPECTED))
    })?;
    let (mut rows, skipped) = manifest::parse(&text).map_err(|problem| Failure(format!("{path}: {problem}")))?;
    let sets: std::collections::BTreeSet<String> = rows.iter().map(|row| row.set.clone()).collect();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    rows.retain(|row| {
        let wanted = options.set.is_empty() || options.set.iter().any(|prefix| row.set.starts_with(prefix));
        let taken = taken.entry(row.set.clone()).or_default();
        *taken += usize::from(wanted);
        wanted && options.limit.is_none_or(|limit| *taken <= limit)
    });
    if rows.is_empty() {
        let sets: Vec<_> = sets.into_iter().collect();
        return Err(Failure(format!("{path}: no recording to evaluate; its English sets are: {}", sets.join(", "))));
    }
    rows.sort_by(|a, b| a.set.cmp(&b.set));
    Ok((rows, skipped))
}

/// A recording's rate and first channel.
fn recording(manifest: &Path, row: &Row) -> Result<(u32, Vec<i16>), Failure> {
    let path = manifest.parent().unwrap_or(Path::new("")).join(&row.file);
    let (hz, mut channels) = wav::read_any_rate(&path)?;
    Ok((hz, channels.swap_remove(0)))
}

/// The recording decoded in one go, by the transcriber alone. Audio that it refuses
/// has no words for us.
fn whole(transcriber: &mut dyn Transcriber, rate: Rate, samples: &[i16]) -> String {
    let mut levelled = Vec::new();
    level::to_speech_level(&at_pipeline_rate(rate, samples), &mut levelled);
    transcriber.transcribe(&levelled, SegmentKind::Final).map(|transcript| transcript.text.0).unwrap_or_default()
}

/// The same samples that the live pipeline would have.
fn at_pipeline_rate(rate: Rate, samples: &[i16]) -> Vec<i16> {
    let Some(mut resampler) = Resampler::new(rate) else { return samples.to_vec() };
    let mut from = vec![0; rate.frame_samples()];
    let mut to = [0; FRAME_SAMPLES];
    let mut out = Vec::with_capacity(samples.len() * 2 + 2 * FRAME_SAMPLES);
    // One frame more: the resampler holds the last 10 ms.
    for frame in samples.chunks(rate.frame_samples()).chain([&[][..]]) {
        from.fill(0);
        from[..frame.len()].copy_from_slice(frame);
        resampler.process(&from, &mut to);
        out.extend_from_slice(&to);
    }
    out
}

fn progress_bar(recordings: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(recordings), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} recordings, {eta} left");
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(manifest: &Path) -> Asr {
        Asr {
            manifest: manifest.to_owned(),
            asr: Vec::new(),
            set: Vec::new(),
            band: Bands::Both,
            limit: None,
            json: false,
        }
    }

    #[test]
    fn a_missing_manifest_is_named_and_so_is_what_it_needs() {
        let Failure(message) = rows(&options(Path::new("/nowhere/M.tsv"))).unwrap_err();
        for part in ["/nowhere/M.tsv", "--manifest", "file", "transcript"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn sets_are_chosen_by_prefix_and_limited() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "file\ttranscript\na/1.wav\tx\na/2.wav\tx\nab/1.wav\tx\nb/1.wav\tx\n").unwrap();
        let chosen = |set: &[&str], limit| {
            let set = set.iter().map(|s| (*s).to_owned()).collect();
            rows(&Asr { set, limit, ..options(file.path()) })
                .map(|(rows, _)| rows.iter().map(|row| row.file.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(chosen(&[], None).unwrap(), "a/1.wav a/2.wav ab/1.wav b/1.wav");
        assert_eq!(chosen(&["a"], Some(1)).unwrap(), "a/1.wav ab/1.wav");
        assert_eq!(chosen(&["ab", "b"], None).unwrap(), "ab/1.wav b/1.wav");
        let Failure(message) = chosen(&["c"], None).unwrap_err();
        assert!(message.contains("a, ab, b"), "{message}");
    }

    #[test]
    fn whole_and_live_have_the_same_samples_but_for_the_last_frame() {
        let audio: Vec<i16> = (0..1_000).map(|i| (i * 37 % 2_000) as i16).collect();
        assert_eq!(at_pipeline_rate(Rate::Hz16000, &audio), audio);
        assert_eq!(at_pipeline_rate(Rate::Hz8000, &audio).len(), 8 * FRAME_SAMPLES);
    }
}
