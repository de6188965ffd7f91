//! The second transcriber over the network: a task for each segment, so many at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Overheard, Second, ShadowPlan};
use crate::asr::{Remote, Speech};
use crate::inference::places::{Places, Wait};
use crate::types::{Fault, SegmentKind, Transcript};

/// See the module's documentation.
pub(super) struct Elsewhere {
    far: Arc<Far>,
    runtime: Handle,
}

struct Far {
    engine: Arc<dyn Remote>,
    places: Places,
    timeout: Duration,
    second: Arc<Second>,
}

impl Elsewhere {
    pub(super) fn new(plan: &ShadowPlan, engine: Arc<dyn Remote>, second: Arc<Second>) -> std::io::Result<Self> {
        let runtime = Handle::try_current().map_err(std::io::Error::other)?;
        let terms = engine.terms();
        let places = Places::new(terms.concurrency_max, plan.waiting_max);
        let far = Arc::new(Far { engine, places, timeout: terms.timeout.unwrap_or(plan.timeout), second });
        let looking = Arc::clone(&far);
        // A key that is not accepted is known before the first call.
        runtime.spawn(async move { looking.second.stopped.run_until_cancelled(looking.look()).await });
        Ok(Self { far, runtime })
    }

    pub(super) fn offer(&self, overheard: Overheard) {
        let far = Arc::clone(&self.far);
        // It ends with its time at the latest, and with `stop` at once; one that finds neither a
        // place nor room to wait for one ends when it begins.
        self.runtime.spawn(async move {
            let started = Instant::now();
            let heard = far.second.stopped.run_until_cancelled(far.hear(&overheard)).await;
            let (heard, second) = (heard.unwrap_or(Err(Fault::Shutdown)), Arc::clone(&far.second));
            // To compare long texts takes its time, and is no affair of the sockets' threads.
            tokio::task::spawn_blocking(move || second.conclude(overheard, heard, started.elapsed()));
        });
    }
}

impl Far {
    async fn hear(&self, overheard: &Overheard) -> Result<Transcript, Fault> {
        let entry = self.second.gate.enter().ok_or(Fault::Unavailable)?;
        let (leg, segment) = (overheard.about.leg.clone(), overheard.about.id);
        let speech = Speech { leg, segment, kind: SegmentKind::Final, samples: Arc::clone(&overheard.samples) };
        let heard = self.places.run(self.timeout, Wait::Bounded, self.engine.transcribe(speech)).await;
        entry.settle(&heard);
        heard
    }

    async fn look(&self) {
        let Some(entry) = self.second.gate.enter() else { return };
        if let Ok(result) = tokio::time::timeout(self.timeout, self.engine.check()).await {
            entry.settle(&result);
        }
    }
}
