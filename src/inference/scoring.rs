//! The scorer as the segments see it: here, on the thread that has the text, or elsewhere,
//! behind a breaker, in one of so many places and within a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Clock;
use super::breaker::{Patience, Standing};
use super::gate::Gate;
use super::places::{Places, Wait};
use crate::sentiment::{Engine, Local, Remote};
use crate::telemetry;
use crate::types::{Fault, Sentiment};

/// Who scores texts.
#[derive(Clone)]
pub struct Scorer {
    /// Its name.
    pub name: &'static str,
    /// The backend.
    pub engine: Engine,
    /// When a remote one is left alone.
    pub patience: Patience,
}

/// See the module's documentation.
pub(super) struct Scoring {
    pub(super) name: &'static str,
    way: Way,
}

enum Way {
    Here(Arc<dyn Local>),
    Elsewhere(Box<Far>),
}

struct Far {
    engine: Arc<dyn Remote>,
    gate: Gate,
    places: Places,
    timeout: Duration,
    runtime: Handle,
}

impl Scoring {
    /// # Errors
    /// Where a remote one is wanted and there is no tokio runtime.
    pub(super) fn new(scorer: &Scorer, clock: Clock) -> std::io::Result<Self> {
        let name = scorer.name;
        let way = match &scorer.engine {
            Engine::Local(engine) => Way::Here(Arc::clone(engine)),
            Engine::Remote(engine) => {
                let terms = engine.terms();
                Way::Elsewhere(Box::new(Far {
                    engine: Arc::clone(engine),
                    gate: Gate::new("sentiment", name, scorer.patience, clock),
                    places: Places::new(terms.concurrency_max, terms.queue_max),
                    timeout: terms.timeout,
                    runtime: Handle::try_current().map_err(std::io::Error::other)?,
                }))
            }
        };
        Ok(Self { name, way })
    }

    /// How a remote one stands.
    pub(super) fn standing(&self) -> Option<Standing> {
        match &self.way {
            Way::Here(_) => None,
            Way::Elsewhere(far) => Some(far.gate.standing()),
        }
    }

    /// Where a remote one is awaited.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        match &self.way {
            Way::Here(_) => None,
            Way::Elsewhere(far) => Some(&far.runtime),
        }
    }

    /// Scores a text on this thread, if there is `time` or it takes none; none where the scorer
    /// is elsewhere.
    pub(super) fn here(&self, text: &str, time: impl FnOnce() -> bool) -> Option<Result<Sentiment, Fault>> {
        let Way::Here(engine) = &self.way else { return None };
        let started = Instant::now();
        if engine.gives_way() && !time() {
            return Some(self.counted(Err(Fault::Overload), started));
        }
        let scored = catch_unwind(AssertUnwindSafe(|| engine.score(text))).unwrap_or(Err(Fault::Crashed));
        Some(self.counted(scored, started))
    }

    /// Has a text scored, wherever that is, within the scorer's time.
    pub(super) async fn score(&self, text: &str) -> Result<Sentiment, Fault> {
        let Way::Elsewhere(far) = &self.way else { return self.here(text, || true).unwrap_or(Err(Fault::Unavailable)) };
        let started = Instant::now();
        let scored = match far.gate.enter() {
            None => Err(Fault::Unavailable),
            Some(entry) => {
                let scored = far.places.run(far.timeout, Wait::Bounded, far.engine.score(text)).await;
                entry.settle(&scored);
                scored
            }
        };
        self.counted(scored, started)
    }

    fn counted(&self, scored: Result<Sentiment, Fault>, started: Instant) -> Result<Sentiment, Fault> {
        let outcome = scored.as_ref().map_or_else(Fault::as_str, |_| "answered");
        telemetry::TextScored { backend: self.name, outcome, took: started.elapsed() }.emit();
        scored
    }
}
