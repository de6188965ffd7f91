//! One transcriber as a segment's course sees it: its breaker, its bounds, and the way to it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Duration, timeout};

use super::breaker::{Breaker, Outcome, Pass, Patience, Standing};
use super::job::{About, Job, Named, To};
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
    places: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    partials: bool,
}

/// See the module's documentation.
pub(super) struct Lane {
    pub(super) name: &'static str,
    timeout: Duration,
    way: Way,
    breaker: Mutex<Breaker>,
    clock: Clock,
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
                    places: Semaphore::new(terms.concurrency_max),
                    waiting: AtomicUsize::new(0),
                    waiting_max: terms.queue_max,
                    partials: terms.partials,
                };
                (Way::Remote(far), terms.timeout)
            }
        };
        telemetry::BreakerMoved { backend: name, standing: "closed", level: 0.0 }.emit();
        Self { name, timeout: own.unwrap_or(timeout), way, breaker: Mutex::new(Breaker::new(patience)), clock }
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
        self.breaker.lock().standing()
    }

    /// Asks to make a request.
    pub(super) fn admit(&self) -> Option<Pass> {
        let mut breaker = self.breaker.lock();
        let before = breaker.standing();
        let pass = breaker.admit(self.clock.now());
        self.note(before, breaker.standing());
        pass
    }

    fn settle(&self, pass: &Pass, outcome: Outcome) {
        let mut breaker = self.breaker.lock();
        let before = breaker.standing();
        breaker.settle(self.clock.now(), pass, outcome);
        self.note(before, breaker.standing());
    }

    fn note(&self, before: Standing, after: Standing) {
        if before != after {
            let (standing, level) = match after {
                Standing::Closed => ("closed", 0.0),
                Standing::HalfOpen => ("half_open", 1.0),
                Standing::Open => ("open", 2.0),
                Standing::Refused => ("refused", 3.0),
            };
            telemetry::BreakerMoved { backend: self.name, standing, level }.emit();
        }
    }

    /// Makes the request that `pass` allows.
    pub(super) async fn ask(
        &self,
        pass: Pass,
        about: &About,
        samples: &Arc<Vec<i16>>,
        (queue, buffers): (&Queue, &BufferPool),
    ) -> Result<Named, Fault> {
        // One that is dropped before its answer tells the breaker so.
        let mut settling = Settling { lane: self, pass, outcome: Outcome::Unknown };
        let (started, samples) = (Instant::now(), Arc::clone(samples));
        let result = match &self.way {
            Way::Local(place) => self.near(*place, about.clone(), samples, queue, buffers).await,
            Way::Remote(far) => self.far(far, about, samples).await.map(|transcript| (self.name, transcript)),
        };
        settling.outcome = Outcome::of(&result);
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
        let deadline = tokio::time::Instant::now() + self.timeout;
        let place = far.place(about.kind, deadline).await?;
        let speech = Speech { leg: about.leg.clone(), segment: about.id, kind: about.kind, samples };
        // A future that panics must cost an answer, not the course.
        let asked = AssertUnwindSafe(far.engine.transcribe(speech)).catch_unwind();
        let answer = tokio::time::timeout_at(deadline, asked).await;
        drop(place);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::Crashed),
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// Looks whether it is there and takes our key; the breaker learns of it. Nothing for one
    /// that works here.
    pub(super) async fn look(&self) {
        let Way::Remote(far) = &self.way else { return };
        let Some(pass) = self.admit() else { return };
        let mut settling = Settling { lane: self, pass, outcome: Outcome::Unknown };
        if let Ok(result) = timeout(self.timeout, far.engine.check()).await {
            settling.outcome = Outcome::of(&result);
        }
    }
}

impl Far {
    /// A place among the requests under way.
    async fn place(&self, kind: SegmentKind, deadline: tokio::time::Instant) -> Result<SemaphorePermit<'_>, Fault> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        if kind == SegmentKind::Partial {
            return Err(Fault::Overload);
        }
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.waiting_max {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(Fault::Overload);
        }
        let _waiting = Waiting(&self.waiting);
        match tokio::time::timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // That there was no place is our own doing, and no fault of the backend's.
            Ok(Err(_)) | Err(_) => Err(Fault::Overload),
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Settling<'a> {
    lane: &'a Lane,
    pass: Pass,
    outcome: Outcome,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.lane.settle(&self.pass, self.outcome);
    }
}
