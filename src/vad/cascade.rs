//! Two detectors in a row: a cheap one watches every frame, and a better one is asked
//! only while the cheap one says speech, and a little longer.
//!
//! The judge has not heard what the gate kept from it; so when the gate opens, it is
//! given the last frames first, as it would have had them. Both come from the family's
//! list: this file knows none of them.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{Backend, Factory, Frame, Vad};
use crate::types::rate::{FRAME_MS, FRAME_SAMPLES};
use crate::types::{BuildError, settings};

const NAME: &str = "vad.cascade";

/// Frames that the judge is given when the gate opens: 100 ms.
const LEAD: usize = 5;

/// A gate's score from which on it is open.
const OPEN: f32 = 0.5;

/// See the module's documentation.
pub(super) struct Cascade;

/// The table `[vad.cascade]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The cheap detector.
    gate: String,
    /// Its table.
    gate_settings: toml::Table,
    /// The better detector.
    judge: String,
    /// Its table.
    judge_settings: toml::Table,
    /// The gate stays open this long after the cheap detector's last yes, in ms, 0 to 5,000.
    hangover_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gate: "energy".to_owned(),
            // As eager as it may be: what the gate keeps from the judge is lost.
            gate_settings: toml::Table::from_iter(
                [("margin_db", 3.0), ("quietest_dbfs", -75.0)].map(|(key, value)| (key.to_owned(), value.into())),
            ),
            judge: "neural".to_owned(),
            judge_settings: toml::Table::new(),
            hangover_ms: 500,
        }
    }
}

impl Backend for Cascade {
    fn name(&self) -> &'static str {
        "cascade"
    }

    fn about(&self) -> &'static str {
        "a cheap detector on every frame, a better one while the cheap one says speech; costs little on quiet lines"
    }

    /// Those of its parts, the gate's first; none for settings that cannot be.
    fn models(&self, table: &toml::Table) -> Vec<&'static str> {
        let Ok(wanted) = settings::<Settings>(NAME, table) else { return Vec::new() };
        let of = |name: &str, table| find("", name).map(|part| part.models(table)).unwrap_or_default();
        let mut models = of(&wanted.gate, &wanted.gate_settings);
        models.extend(of(&wanted.judge, &wanted.judge_settings));
        models
    }

    fn build(&self, table: &toml::Table, models: &[PathBuf]) -> Result<Factory, BuildError> {
        let wanted: Settings = settings(NAME, table)?;
        if wanted.hangover_ms > 5_000 {
            let problem = format!("hangover_ms = {}", wanted.hangover_ms);
            return Err(BuildError::new(NAME, problem, "expected 0 to 5000"));
        }
        let (gate, judge) = (find("gate", &wanted.gate)?, find("judge", &wanted.judge)?);
        let (for_gate, for_judge) = models.split_at(models.len().min(gate.models(&wanted.gate_settings).len()));
        let gate = gate.build(&wanted.gate_settings, for_gate)?;
        let judge = judge.build(&wanted.judge_settings, for_judge)?;
        let hangover = wanted.hangover_ms.div_ceil(FRAME_MS);
        Ok(Arc::new(move || {
            let lead = [[0; FRAME_SAMPLES]; LEAD];
            Box::new(Detector { gate: gate(), judge: judge(), hangover, left: None, lead, at: 0, kept: 0 })
                as Box<dyn Vad>
        }))
    }
}

/// The backend that `key` names.
fn find(key: &str, name: &str) -> Result<&'static dyn Backend, BuildError> {
    let parts = || super::BACKENDS.iter().copied().filter(|backend| backend.name() != "cascade");
    parts().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<_> = parts().map(|backend| backend.name()).collect();
        BuildError::new(NAME, format!("{key} = {name:?}"), format!("expected one of: {}", names.join(", ")))
    })
}

struct Detector {
    gate: Box<dyn Vad>,
    judge: Box<dyn Vad>,
    hangover: u64,
    /// Frames that the gate stays open without a yes; `None` while it is closed.
    left: Option<u64>,
    /// The last frames that the gate kept from the judge, round and round.
    lead: [Frame; LEAD],
    /// Where the next of them goes.
    at: usize,
    /// How many of them there are.
    kept: usize,
}

impl Vad for Detector {
    fn score(&mut self, frame: &Frame) -> f32 {
        let yes = self.gate.score(frame) >= OPEN;
        match (yes, self.left) {
            (true, None) => {
                self.judge.reset();
                for n in 0..self.kept {
                    self.judge.score(&self.lead[(self.at + LEAD - self.kept + n) % LEAD]);
                }
                self.kept = 0;
                self.left = Some(self.hangover);
            }
            (true, Some(_)) => self.left = Some(self.hangover),
            (false, Some(left)) => self.left = left.checked_sub(1),
            (false, None) => {}
        }
        if self.left.is_some() {
            return self.judge.score(frame);
        }
        self.lead[self.at] = *frame;
        self.at = (self.at + 1) % LEAD;
        self.kept = (self.kept + 1).min(LEAD);
        0.0
    }

    fn reset(&mut self) {
        self.gate.reset();
        self.judge.reset();
        self.left = None;
        self.kept = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Says what its audio says, and notes what it was given.
    struct Noted(Arc<Mutex<Vec<i16>>>);

    impl Vad for Noted {
        fn score(&mut self, frame: &Frame) -> f32 {
            self.0.lock().unwrap().push(frame[0]);
            if frame[0] > 100 { 1.0 } else { 0.1 }
        }

        fn reset(&mut self) {
            self.0.lock().unwrap().push(-1);
        }
    }

    fn heard(hangover: u64, frames: &[i16]) -> (Vec<f32>, Vec<i16>) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let mut vad = Detector {
            gate: Box::new(Noted(Arc::default())),
            judge: Box::new(Noted(Arc::clone(&notes))),
            hangover,
            left: None,
            lead: [[0; FRAME_SAMPLES]; LEAD],
            at: 0,
            kept: 0,
        };
        let scores = frames.iter().map(|&first| vad.score(&[first; FRAME_SAMPLES])).collect();
        let notes = notes.lock().unwrap().clone();
        (scores, notes)
    }

    #[test]
    fn the_judge_has_what_came_just_before_and_then_every_frame_until_the_hangover_is_over() {
        let (scores, judged) = heard(2, &[1, 2, 3, 4, 5, 6, 200, 7, 8, 9, 10, 300, 11]);
        assert_eq!(judged, [-1, 2, 3, 4, 5, 6, 200, 7, 8, -1, 9, 10, 300, 11]);
        assert_eq!(scores, [0., 0., 0., 0., 0., 0., 1.0, 0.1, 0.1, 0., 0., 1.0, 0.1]);
    }

    #[test]
    fn without_hangover_the_judge_hears_only_what_the_gate_takes_for_speech() {
        let (_, judged) = heard(0, &[200, 1, 201]);
        assert_eq!(judged, [-1, 200, -1, 1, 201]);
    }

    #[test]
    fn it_needs_the_models_of_its_parts() {
        let silero = crate::vad::find("silero").unwrap().models(&toml::Table::new());
        assert_eq!(Cascade.models(&"judge = 'silero'".parse().unwrap()), silero);
        assert_eq!(
            Cascade.models(&"gate = 'silero'\njudge = 'silero'".parse().unwrap()),
            [&silero[..], &silero].concat()
        );
        assert_eq!(Cascade.models(&toml::Table::new()), [""; 0]);
    }

    #[test]
    fn parts_that_cannot_be_are_refused_with_those_that_can() {
        for (table, said) in [
            ("gate = 'cascade'", "gate = \"cascade\""),
            ("judge = 'silero'", "models fetch"),
            ("gate = 'nope'", "energy"),
            ("gate_settings = { colour = 1 }", "colour"),
            ("hangover_ms = 5001", "hangover_ms = 5001"),
        ] {
            let error = Cascade.build(&table.parse().unwrap(), &[]).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
