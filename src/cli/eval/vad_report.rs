//! What `sidetone eval vad` prints.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::vad::{SNRS_DB, SOUND_S};
use crate::eval::detection::{Outcome, quantile};

/// The detector that costs are compared with.
const CHEAPEST: &str = "webrtc";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Band {
    /// 8 kHz, μ-law.
    Telephone,
    /// 16 kHz.
    Wide,
}

impl Band {
    fn name(self) -> &'static str {
        match self {
            Self::Telephone => "telephone",
            Self::Wide => "wide",
        }
    }
}

/// Processor time of some frames.
#[derive(Debug, Default)]
pub(super) struct Cost {
    time: Duration,
    frames: usize,
}

impl Cost {
    pub(super) fn add(&mut self, time: Duration, frames: usize) {
        self.time += time;
        self.frames += frames;
    }

    fn us(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.frames.max(1) as f64
    }
}

/// What a detector made of one band.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) all: Outcome,
    /// F1 at each level of noise.
    pub(super) by_snr: [f64; SNRS_DB.len()],
    /// Seconds taken for speech, by sound.
    pub(super) sounds: Vec<(String, f64)>,
    /// Cost of the scenes with speech.
    pub(super) talk: Cost,
    /// Cost of a quiet line.
    pub(super) quiet: Cost,
}

pub(super) struct Report {
    pub(super) recordings: usize,
    /// Seconds of speech in a scene.
    pub(super) spoken_s: f64,
    pub(super) detectors: Vec<(&'static str, BTreeMap<Band, Figures>)>,
}

impl Report {
    /// How many times the cost of [`CHEAPEST`] each cost is, the same band and audio.
    fn ratio(&self, band: Band, cost: impl Fn(&Figures) -> &Cost, figures: &Figures) -> Option<f64> {
        let cheapest = self.detectors.iter().find(|(name, _)| *name == CHEAPEST)?.1.get(&band)?;
        Some(cost(figures).us() / cost(cheapest).us().max(1e-6))
    }

    fn rows(&self, band: Band) -> impl Iterator<Item = (&'static str, &Figures)> {
        self.detectors.iter().filter_map(move |(name, bands)| Some((*name, bands.get(&band)?)))
    }

    pub(super) fn table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{} recordings, {:.0} s of speech, at {} levels of noise; frames of 20 ms, thresholds as configured",
            self.recordings,
            self.spoken_s,
            SNRS_DB.len()
        )?;
        for band in [Band::Telephone, Band::Wide] {
            self.speech_table(&mut out, band)?;
            self.sound_table(&mut out, band)?;
        }
        if cfg!(debug_assertions) {
            writeln!(out, "\nthis build is not optimised: costs say nothing")?;
        }
        Ok(())
    }

    fn speech_table(&self, out: &mut dyn Write, band: Band) -> io::Result<()> {
        let snrs = SNRS_DB.map(|snr| snr.map_or("F1 quiet".to_owned(), |snr| format!("{snr} dB")));
        writeln!(
            out,
            "\n{:<10} {:>9} {:>6} {:>6} {:>9} {:>6} {:>6} {:>6} {:>12} {:>12} {:>7} {:>13} {:>13}",
            band.name(),
            "precision",
            "recall",
            "F1",
            snrs[0],
            snrs[1],
            snrs[2],
            snrs[3],
            "onset ms",
            "offset ms",
            "unheard",
            "µs/frame",
            "quiet line"
        )?;
        for (name, figures) in self.rows(band) {
            let all = &figures.all;
            let times = |values: &[f32]| {
                let at = |share| quantile(values, share).map_or("-".to_owned(), |ms| format!("{ms:.0}"));
                format!("{} [{}]", at(0.5), at(0.9))
            };
            let cost = |cost: fn(&Figures) -> &Cost| {
                let ratio = self.ratio(band, cost, figures).map_or(String::new(), |ratio| format!(" ({ratio:.1}×)"));
                format!("{:.1}{ratio}", cost(figures).us())
            };
            writeln!(
                out,
                "{name:<10} {:>9.3} {:>6.3} {:>6.3} {:>9.3} {:>6.3} {:>6.3} {:>6.3} {:>12} {:>12} {:>7} {:>13} {:>13}",
                all.precision(),
                all.recall(),
                all.f1(),
                figures.by_snr[0],
                figures.by_snr[1],
                figures.by_snr[2],
                figures.by_snr[3],
                times(&all.onsets_ms),
                times(&all.offsets_ms),
                all.unheard,
                cost(|figures| &figures.talk),
                cost(|figures| &figures.quiet)
            )?;
        }
        writeln!(out, "onset, offset: how late, median [90 %]; × {CHEAPEST}")
    }

    fn sound_table(&self, out: &mut dyn Write, band: Band) -> io::Result<()> {
        write!(out, "\n{:<34}", format!("{}: seconds taken for speech", band.name()))?;
        for (name, _) in self.rows(band) {
            write!(out, " {name:>9}")?;
        }
        let sounds = self.rows(band).next().map_or(&[][..], |(_, figures)| &figures.sounds);
        for (place, (sound, _)) in sounds.iter().enumerate() {
            write!(out, "\n{sound:<34}")?;
            for (_, figures) in self.rows(band) {
                write!(out, " {:>9.1}", figures.sounds[place].1)?;
            }
        }
        writeln!(out, "\nof {SOUND_S} s of each that is made here")
    }

    pub(super) fn json(&self) -> io::Result<()> {
        let one = |band: Band, figures: &Figures| {
            let all = &figures.all;
            let sounds: serde_json::Map<_, _> =
                figures.sounds.iter().map(|(name, seconds)| (name.clone(), Value::from(*seconds))).collect();
            let by_snr: Vec<Value> =
                SNRS_DB.iter().zip(figures.by_snr).map(|(snr, f1)| json!({"snr_db": snr, "f1": f1})).collect();
            json!({
                "precision": all.precision(),
                "recall": all.recall(),
                "f1": all.f1(),
                "by_snr": by_snr,
                "onset_ms": {"p50": quantile(&all.onsets_ms, 0.5), "p90": quantile(&all.onsets_ms, 0.9)},
                "offset_ms": {"p50": quantile(&all.offsets_ms, 0.5), "p90": quantile(&all.offsets_ms, 0.9)},
                "unheard": all.unheard,
                "false_alarm_s": sounds,
                "us_per_frame": {"talk": figures.talk.us(), "quiet_line": figures.quiet.us()},
                "by_webrtc": {
                    "talk": self.ratio(band, |figures| &figures.talk, figures),
                    "quiet_line": self.ratio(band, |figures| &figures.quiet, figures),
                },
            })
        };
        let detectors: serde_json::Map<_, _> = self
            .detectors
            .iter()
            .map(|(name, bands)| {
                let bands = bands.iter().map(|(band, figures)| (band.name().to_owned(), one(*band, figures)));
                ((*name).to_owned(), Value::Object(bands.collect()))
            })
            .collect();
        let document = json!({
            "recordings": self.recordings,
            "speech_s": self.spoken_s,
            "optimised": !cfg!(debug_assertions),
            "detectors": detectors,
        });
        writeln!(io::stdout(), "{document}")
    }
}
