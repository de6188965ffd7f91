//! One transcriber as a segment's course sees it: its breaker, its bounds, and the way to it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::{Duration, timeout};

use super::breaker::{Patience, Standing};
use super::gate::{Entry, Gate};
use super::job::{About, Job, Named, To};
use super::places::{Places, Wait};
use super::queue::Queue;
use super::{BufferPool, Clock};
use crate::asr::{Engine, Remote, Speech};
use crate::telemetry;
use crate::types::{Fault, SegmentKind, Transcript};

/// The way to a transcriber.
enum Way {
    /// Over the queue of the inference threads, by its place in the chain.
    Local(usize),
    /// Over the network.
    Remote(Far),
}

struct Far {
    engine: Arc<dyn Remote>,
    places: Places,
    partials: bool,
}

/// See the module's documentation.
pub(super) struct Lane {
    pub(super) name: &'static str,
    timeout: Duration,
    way: Way,
    gate: Gate,
}

impl Lane {
    pub(super) fn new(
        place: usize,
        name: &'static str,
        engine: &Engine,
        patience: Patience,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        let (way, own) = match engine {
            Engine::Local(_) => (Way::Local(place), None),
            Engine::Remote(engine) => {
                let terms = engine.terms();
                let far = Far {
                    engine: Arc::clone(engine),
                    places: Places::new(terms.concurrency_max, terms.queue_max),
                    partials: terms.partials,
                };
                (Way::Remote(far), terms.timeout)
            }
        };
        Self { name, timeout: own.unwrap_or(timeout), way, gate: Gate::new("asr", name, patience, clock) }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self.way, Way::Local(_))
    }

    /// Whether it answers partials.
    pub(super) fn takes_partials(&self) -> bool {
        match &self.way {
            Way::Local(_) => true,
            Way::Remote(far) => far.partials,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.gate.standing()
    }

    /// Asks to make a request.
    pub(super) fn admit(&self) -> Option<Entry<'_>> {
        self.gate.enter()
    }

    /// Makes the request that `entry` allows.
    pub(super) async fn ask(
        &self,
        entry: Entry<'_>,
        about: &About,
        samples: &Arc<Vec<i16>>,
        (queue, buffers): (&Queue, &BufferPool),
    ) -> Result<Named, Fault> {
        let (started, samples) = (Instant::now(), Arc::clone(samples));
        let result = match &self.way {
            Way::Local(place) => self.near(*place, about.clone(), samples, queue, buffers).await,
            Way::Remote(far) => self.far(far, about, samples).await.map(|transcript| (self.name, transcript)),
        };
        entry.settle(&result);
        let outcome = result.as_ref().map_or_else(Fault::as_str, |_| "answered");
        telemetry::TranscriberAsked { backend: self.name, outcome, took: started.elapsed() }.emit();
        result
    }

    async fn near(
        &self,
        backend: usize,
        about: About,
        samples: Arc<Vec<i16>>,
        queue: &Queue,
        buffers: &BufferPool,
    ) -> Result<Named, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Job { about, samples, backend, submitted: Instant::now(), to: To::Course(answer) };
        queue.push(job, buffers).map_err(|_| Fault::Overload)?;
        match timeout(self.timeout, answered).await {
            Ok(answer) => answer.unwrap_or(Err(Fault::Crashed)),
            Err(_) => Err(Fault::Timeout),
        }
    }

    async fn far(&self, far: &Far, about: &About, samples: Arc<Vec<i16>>) -> Result<Transcript, Fault> {
        let speech = Speech { leg: about.leg.clone(), segment: about.id, kind: about.kind, samples };
        let wait = if about.kind == SegmentKind::Final { Wait::Bounded } else { Wait::Never };
        far.places.run(self.timeout, wait, far.engine.transcribe(speech)).await
    }

    /// Looks whether it is there and takes our key; the breaker learns of it. Nothing for one
    /// that works here.
    pub(super) async fn look(&self) {
        let Way::Remote(far) = &self.way else { return };
        let Some(entry) = self.admit() else { return };
        if let Ok(result) = timeout(self.timeout, far.engine.check()).await {
            entry.settle(&result);
        }
    }
}
