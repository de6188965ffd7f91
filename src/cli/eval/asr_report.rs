//! What `sidetone eval asr` prints: figures of each set, in each band, and of several
//! transcribers beside each other.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::eval::manifest::{self, Reference};
use crate::eval::telephone::TELEPHONE_HZ;
use crate::eval::{normalise, wer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Band {
    Wide,
    Telephone,
}

impl Band {
    fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Telephone => "telephone",
        }
    }
}

/// What one way of transcribing made of some recordings.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Score {
    errors: wer::Errors,
    /// Slots that were heard; what is in a caller's answer beyond them is not known.
    slots_heard: usize,
    slots: usize,
    #[serde(skip)]
    cpu: Duration,
}

impl Score {
    /// Compares what was heard with what is known.
    pub(super) fn of(reference: &Reference, heard: &str, cpu: Duration) -> Self {
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
pub(super) struct Figures {
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
pub(super) struct Outcome {
    pub(super) file: PathBuf,
    pub(super) set: String,
    pub(super) band: Band,
    pub(super) audio_s: f64,
    pub(super) said: Vec<String>,
    pub(super) heard_whole: String,
    pub(super) heard_live: String,
    pub(super) segments: usize,
    pub(super) whole: Score,
    pub(super) live: Score,
}

/// What a transcriber takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Memory {
    /// With one thread, in MB.
    pub(super) first_mb: f64,
    /// With each further one, in MB.
    pub(super) further_mb: f64,
}

pub(super) struct Report {
    /// Name of the transcriber, and of its model where one was named.
    pub(super) asr: String,
    pub(super) vad: String,
    pub(super) memory: Memory,
    pub(super) skipped: manifest::Skipped,
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
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

    pub(super) fn table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "asr {}, vad {}; telephone = {TELEPHONE_HZ} Hz, μ-law", self.asr, self.vad)?;
        for (band, (sets, total)) in self.figures() {
            writeln!(
                out,
                "\n{:<20} {:>5} {:>6} {:>9} {:>8}  {:>12} {:>12} {:>11}",
                band.name(),
                "files",
                "words",
                "WER whole",
                "WER live",
                "whole S/D/I",
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

    /// The totals of several transcribers beside each other, as rows of a Markdown table.
    pub(super) fn summary(reports: &[Self]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "\n| transcriber | band | WER whole | S/D/I | WER live | S/D/I | times real time, whole | live | MB | MB a further thread |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
        for report in reports {
            for (band, (_, total)) in report.figures() {
                writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.0} | {:.0} |",
                    report.asr,
                    band.name(),
                    percent(&total.whole),
                    kinds(&total.whole),
                    percent(&total.live),
                    kinds(&total.live),
                    total.speed(&total.whole),
                    total.speed(&total.live),
                    report.memory.first_mb,
                    report.memory.further_mb,
                )?;
            }
        }
        Ok(())
    }

    pub(super) fn json(&self) -> io::Result<()> {
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
            "memory": self.memory,
            "skipped": self.skipped,
            "bands": bands,
            "recordings": self.outcomes,
        });
        writeln!(io::stdout(), "{document}")
    }
}

fn percent(score: &Score) -> String {
    score.errors.rate().map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
}

/// Words taken for others, left out and put in.
fn kinds(score: &Score) -> String {
    let wer::Errors { substitutions, deletions, insertions, .. } = score.errors;
    format!("{substitutions}/{deletions}/{insertions}")
}

fn word_line(out: &mut dyn Write, name: &str, figures: &Figures) -> io::Result<()> {
    writeln!(
        out,
        "{name:<20} {:>5} {:>6} {:>9} {:>8}  {:>12} {:>12} {:>11}",
        figures.files,
        figures.live.errors.words(),
        percent(&figures.whole),
        percent(&figures.live),
        kinds(&figures.whole),
        kinds(&figures.live),
        figures.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_as_whole_words_in_whatever_form() {
        let slots = Reference::Slots(["sixteen ounce", "large", "mocha"].map(str::to_owned).to_vec());
        let score = Score::of(&slots, "A 16-ounce mocha, larger please.", Duration::ZERO);
        assert_eq!((score.slots_heard, score.slots, score.errors.words()), (2, 3, 0));
    }
}
