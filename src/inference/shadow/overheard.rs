//! A segment that the first transcriber has answered, on its way to the second and back: what
//! it needs to be compared and redacted, and what is counted of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use super::{Overhearing, Second};
use crate::eval::{normalise, wer};
use crate::inference::job::{About, give_back};
use crate::redact::{Heard, Memory, tagged, united};
use crate::telemetry;
use crate::types::{Disagreement, Fault, Private, Shadow, Transcript};

/// Words of either text that are compared: many times what a segment of speech can hold.
const WORDS_MAX: usize = 1_000;

/// What is kept of the first transcriber's answer for the second.
#[derive(Debug)]
pub(in crate::inference) struct Said {
    /// What it heard, not redacted.
    pub(in crate::inference) text: Private<String>,
    /// What was remembered when that was redacted.
    pub(in crate::inference) memory: Memory,
}

/// See the module's documentation.
pub(in crate::inference) struct Overheard {
    pub(in crate::inference) about: About,
    pub(in crate::inference) samples: Arc<Vec<i16>>,
    /// Who answered.
    pub(in crate::inference) first: &'static str,
    pub(in crate::inference) said: Box<Said>,
    pub(in crate::inference) to: Overhearing,
}

impl Overheard {
    /// Whether the leg is there no more.
    pub(super) fn is_gone(&self) -> bool {
        self.to.results.is_closed()
    }

    /// Holds what the second heard against the first's; its text as it may be shown.
    fn compared(&mut self, second: &'static str, heard: Transcript) -> Shadow {
        let words = |text: &str| {
            let mut words = normalise::words(text);
            words.truncate(WORDS_MAX);
            words
        };
        let text = heard.text.0.trim();
        let errors = wer::align(&words(&self.said.text.0), &words(text));
        Shadow {
            id: self.about.id,
            text: Private(self.redacted(text)),
            confidence: heard.confidence,
            asr: second,
            first: self.first,
            disagreement: Disagreement {
                words: errors.words() as u64,
                substitutions: errors.substitutions as u64,
                deletions: errors.deletions as u64,
                insertions: errors.insertions as u64,
            },
        }
    }

    /// What either memory finds goes: that of the first's texts, as it was when this segment's
    /// was redacted, and that of the second's own.
    fn redacted(&mut self, text: &str) -> String {
        let About { leg, id, kind, at, hearing, .. } = &self.about;
        let heard = Heard { leg, id: *id, kind: *kind, at: *at };
        let policy = hearing.policy();
        let as_the_first = self.said.memory.find(policy, heard, text);
        let own = self.to.memory.lock().unwrap_or_else(PoisonError::into_inner).find(policy, heard, text);
        tagged(text, &united(as_the_first, own))
    }
}

impl Second {
    /// It was not asked.
    pub(super) fn shed(&self, overheard: Overheard, why: &Fault) {
        telemetry::ShadowAsked { backend: self.name, outcome: why.as_str(), took: None }.emit();
        give_back(overheard.samples, &self.buffers);
    }

    /// It has answered, or failed.
    pub(super) fn conclude(&self, mut overheard: Overheard, heard: Result<Transcript, Fault>, took: Duration) {
        let mut compare = |heard| catch_unwind(AssertUnwindSafe(|| overheard.compared(self.name, heard)));
        let compared = heard.and_then(|heard| compare(heard).map_err(|_| Fault::Crashed));
        let outcome = match compared {
            Ok(shadow) => {
                let Shadow { first, disagreement: Disagreement { words, .. }, .. } = shadow;
                let errors = shadow.disagreement.wrong();
                telemetry::ShadowCompared { backend: self.name, first, words, errors }.emit();
                match overheard.to.results.try_send(Box::new(shadow)) {
                    Ok(()) => "answered",
                    Err(TrySendError::Full(_)) => Fault::Overload.as_str(),
                    Err(TrySendError::Closed(_)) => "gone",
                }
            }
            Err(fault) => fault.as_str(),
        };
        telemetry::ShadowAsked { backend: self.name, outcome, took: Some(took) }.emit();
        give_back(overheard.samples, &self.buffers);
    }
}
