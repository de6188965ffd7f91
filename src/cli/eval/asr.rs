//! `sidetone eval asr`: how well recordings with known words are transcribed, by the
//! transcriber alone and by the live pipeline around it.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cpu_time::ProcessTime;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::super::offline::{self, Pipeline};
use super::super::{Common, Done, Failure, models};
use crate::app;
use crate::asr::Transcriber;
use crate::audio::resample::Resampler;
use crate::audio::{level, wav};
use crate::eval::manifest::{self, Reference, Row};
use crate::eval::telephone::{TELEPHONE_HZ, resampled, telephone};
use crate::eval::{normalise, wer};
use crate::types::rate::{FRAME_SAMPLES, PIPELINE_HZ};
use crate::types::{Rate, SegmentKind};

#[derive(Debug, Args)]
pub(super) struct Asr {
    /// Table of recordings: columns file and transcript, separated by tabs
    #[arg(long, value_name = "FILE.tsv", default_value = "../shared/audio/MANIFEST.tsv")]
    manifest: PathBuf,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Band {
    Wide,
    Telephone,
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
    fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Telephone => "telephone",
        }
    }

    /// A recording as it comes in over this band.
    fn of(self, samples: &[i16], hz: u32) -> (Rate, Vec<i16>) {
        match (self, Rate::from_hz(hz)) {
            (Self::Telephone, _) => (Rate::Hz8000, telephone(samples, hz)),
            (Self::Wide, Some(rate)) => (rate, samples.to_vec()),
            (Self::Wide, None) => (Rate::Hz16000, resampled(samples, hz, PIPELINE_HZ)),
        }
    }
}

/// What one way of transcribing made of some recordings.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Score {
    errors: wer::Errors,
    /// Slots that were heard; what is in a caller's answer beyond them is not known.
    slots_heard: usize,
    slots: usize,
    #[serde(skip)]
    cpu: Duration,
}

impl Score {
    /// Compares what was heard with what is known.
    fn of(reference: &Reference, heard: &str, cpu: Duration) -> Self {
        let heard = normalise::words(heard);
        match reference {
            Reference::Words(said) => {
                Self { errors: wer::align(&normalise::words(said), &heard), cpu, ..Self::default() }
            }
            Reference::Slots(slots) => {
                let is_heard = |slot: &&String| {
                    let slot = normalise::words(slot);
                    heard.windows(slot.len().max(1)).any(|words| words == slot)
                };
                let slots_heard = slots.iter().filter(is_heard).count();
                Self { slots_heard, slots: slots.len(), cpu, ..Self::default() }
            }
        }
    }

    fn add(&mut self, more: &Self) {
        self.errors += more.errors;
        self.slots_heard += more.slots_heard;
        self.slots += more.slots;
        self.cpu += more.cpu;
    }
}

/// Figures of a set, or of all of them, in one band.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    files: usize,
    audio_s: f64,
    whole: Score,
    live: Score,
}

impl Figures {
    fn add(&mut self, more: &Self) {
        self.files += more.files;
        self.audio_s += more.audio_s;
        self.whole.add(&more.whole);
        self.live.add(&more.live);
    }

    /// Live errors by whole-file errors.
    fn ratio(&self) -> Option<f64> {
        let whole = self.whole.errors.wrong();
        (whole > 0).then(|| self.live.errors.wrong() as f64 / whole as f64)
    }

    /// Seconds of audio by seconds of processor time.
    fn speed(&self, score: &Score) -> f64 {
        self.audio_s / score.cpu.as_secs_f64().max(1e-9)
    }
}

/// One recording in one band.
#[derive(Debug, Serialize)]
struct Outcome {
    file: PathBuf,
    set: String,
    band: Band,
    audio_s: f64,
    said: Vec<String>,
    heard_whole: String,
    heard_live: String,
    segments: usize,
    whole: Score,
    live: Score,
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
    models::ensure(&config)?;
    let engines = app::engines(&config)?;
    let pipeline = Pipeline::start(&config, &engines)?;
    let runtime = super::super::runtime()?;
    runtime.block_on(pipeline.warm())?;
    let mut transcriber = engines.asr.open()?;

    let progress = progress_bar((rows.len() * options.band.all().len()) as u64);
    let mut outcomes = Vec::new();
    for row in &rows {
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
    let report = Report { asr: engines.asr_name, vad: &config.vad.backend, skipped, outcomes };
    if options.json { report.json() } else { report.table() }?;
    Ok(ExitCode::SUCCESS)
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

struct Report<'a> {
    asr: &'static str,
    vad: &'a str,
    skipped: manifest::Skipped,
    outcomes: Vec<Outcome>,
}

impl Report<'_> {
    /// Figures of each band: those of the sets, and of all.
    fn figures(&self) -> BTreeMap<Band, (BTreeMap<&str, Figures>, Figures)> {
        let mut bands: BTreeMap<Band, (BTreeMap<&str, Figures>, Figures)> = BTreeMap::new();
        for outcome in &self.outcomes {
            let one = Figures { files: 1, audio_s: outcome.audio_s, whole: outcome.whole, live: outcome.live };
            let (sets, total) = bands.entry(outcome.band).or_default();
            sets.entry(&outcome.set).or_default().add(&one);
            total.add(&one);
        }
        bands
    }

    fn table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "asr {}, vad {}; telephone = {TELEPHONE_HZ} Hz, μ-law", self.asr, self.vad)?;
        for (band, (sets, total)) in self.figures() {
            writeln!(
                out,
                "\n{:<20} {:>5} {:>6} {:>8} {:>8}  {:>12} {:>11}",
                band.name(),
                "files",
                "words",
                "WER whole",
                "WER live",
                "live S/D/I",
                "live/whole"
            )?;
            for (name, figures) in sets.iter().chain([(&"total", &total)]) {
                if figures.whole.errors.words() > 0 {
                    word_line(&mut out, name, figures)?;
                }
            }
            for (name, figures) in sets.iter().filter(|(_, figures)| figures.live.slots > 0) {
                writeln!(
                    out,
                    "{name:<20} {:>5} slots heard: whole {}, live {} of {}",
                    figures.files, figures.whole.slots_heard, figures.live.slots_heard, figures.live.slots
                )?;
            }
            writeln!(
                out,
                "{:.0} s of audio; seconds of audio per CPU-second: whole {:.1}, live {:.1}",
                total.audio_s,
                total.speed(&total.whole),
                total.speed(&total.live)
            )?;
        }
        let manifest::Skipped { other_language, machine_draft, stress } = self.skipped;
        writeln!(
            out,
            "\nskipped: {other_language} in other languages, {machine_draft} known only from a machine's draft, \
             {stress} of band C (stress only)"
        )
    }

    fn json(&self) -> io::Result<()> {
        let one = |figures: &Figures| {
            serde_json::json!({
                "files": figures.files,
                "audio_s": figures.audio_s,
                "wer_whole": figures.whole.errors.rate(),
                "wer_live": figures.live.errors.rate(),
                "live_by_whole": figures.ratio(),
                "whole": figures.whole,
                "live": figures.live,
                "speed_whole": figures.speed(&figures.whole),
                "speed_live": figures.speed(&figures.live),
            })
        };
        let bands = self.figures().into_iter().map(|(band, (sets, total))| {
            let sets: serde_json::Map<_, _> = sets.iter().map(|(name, f)| ((*name).to_owned(), one(f))).collect();
            (band.name().to_owned(), serde_json::json!({"sets": sets, "total": one(&total)}))
        });
        let bands: serde_json::Map<_, _> = bands.collect();
        let document = serde_json::json!({
            "asr": self.asr,
            "vad": self.vad,
            "skipped": self.skipped,
            "bands": bands,
            "recordings": self.outcomes,
        });
        writeln!(io::stdout(), "{document}")
    }
}

fn word_line(out: &mut dyn Write, name: &str, figures: &Figures) -> io::Result<()> {
    let percent = |score: &Score| score.errors.rate().map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    let live = figures.live.errors;
    writeln!(
        out,
        "{name:<20} {:>5} {:>6} {:>9} {:>8}  {:>12} {:>11}",
        figures.files,
        live.words(),
        percent(&figures.whole),
        percent(&figures.live),
        format!("{}/{}/{}", live.substitutions, live.deletions, live.insertions),
        figures.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
    )
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
        Asr { manifest: manifest.to_owned(), set: Vec::new(), band: Bands::Both, limit: None, json: false }
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
    fn slots_are_found_as_whole_words_in_whatever_form() {
        let slots = Reference::Slots(["sixteen ounce", "large", "mocha"].map(str::to_owned).to_vec());
        let score = Score::of(&slots, "A 16-ounce mocha, larger please.", Duration::ZERO);
        assert_eq!((score.slots_heard, score.slots, score.errors.words()), (2, 3, 0));
    }

    #[test]
    fn whole_and_live_have_the_same_samples_but_for_the_last_frame() {
        let audio: Vec<i16> = (0..1_000).map(|i| (i * 37 % 2_000) as i16).collect();
        assert_eq!(at_pipeline_rate(Rate::Hz16000, &audio), audio);
        assert_eq!(at_pipeline_rate(Rate::Hz8000, &audio).len(), 8 * FRAME_SAMPLES);
    }
}
