//! A breaker that many tasks share: who is let through, and how it stands, told in metrics.

use parking_lot::Mutex;

use super::Clock;
use super::breaker::{Breaker, Outcome, Pass, Patience, Standing};
use crate::telemetry;
use crate::types::Fault;

/// The way to one backend.
pub(super) struct Gate {
    family: &'static str,
    backend: &'static str,
    breaker: Mutex<Breaker>,
    clock: Clock,
}

impl Gate {
    /// One that is open to all. `family`: as metrics call it.
    pub(super) fn new(family: &'static str, backend: &'static str, patience: Patience, clock: Clock) -> Self {
        let gate = Self { family, backend, breaker: Mutex::new(Breaker::new(patience)), clock };
        gate.tell(Standing::Closed);
        gate
    }

    pub(super) fn standing(&self) -> Standing {
        self.breaker.lock().standing()
    }

    /// Asks to make a request; none while the backend is left alone.
    pub(super) fn enter(&self) -> Option<Entry<'_>> {
        let pass = self.noted(|breaker| breaker.admit(self.clock.now()))?;
        Some(Entry { gate: self, pass, outcome: Outcome::Unknown })
    }

    fn noted<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock();
        let before = breaker.standing();
        let done = act(&mut breaker);
        let after = breaker.standing();
        if before != after {
            self.tell(after);
        }
        done
    }

    fn tell(&self, standing: Standing) {
        let (standing, level) = match standing {
            Standing::Closed => ("closed", 0.0),
            Standing::HalfOpen => ("half_open", 1.0),
            Standing::Open => ("open", 2.0),
            Standing::Refused => ("refused", 3.0),
        };
        telemetry::BreakerMoved { family: self.family, backend: self.backend, standing, level }.emit();
    }
}

/// The right to make one request. One that is dropped before its answer tells the breaker so.
pub(super) struct Entry<'a> {
    gate: &'a Gate,
    pass: Pass,
    outcome: Outcome,
}

impl Entry<'_> {
    /// Says what became of the request.
    pub(super) fn settle<T>(mut self, result: &Result<T, Fault>) {
        self.outcome = Outcome::of(result);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.gate.noted(|breaker| breaker.settle(self.gate.clock.now(), &self.pass, self.outcome));
    }
}
