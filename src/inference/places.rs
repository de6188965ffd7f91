//! So many requests to a remote backend at a time, so many that wait for one of those places,
//! and a time within which each is over.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, timeout_at};

use crate::types::Fault;

/// See the module's documentation.
pub(super) struct Places {
    free: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Whether a request may wait for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Never,
    /// While others do not already.
    Bounded,
}

impl Places {
    pub(super) fn new(concurrency_max: usize, waiting_max: usize) -> Self {
        Self { free: Semaphore::new(concurrency_max), waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Has a request done in one of the places; `timeout` includes the wait for it.
    pub(super) async fn run<T>(
        &self,
        timeout: Duration,
        wait: Wait,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + timeout;
        let _place = self.place(wait, deadline).await?;
        // A future that panics must cost an answer, not whoever asks.
        match timeout_at(deadline, AssertUnwindSafe(request).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::Crashed),
            Err(_) => Err(Fault::Timeout),
        }
    }

    async fn place(&self, wait: Wait, deadline: Instant) -> Result<SemaphorePermit<'_>, Fault> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(place);
        }
        if wait == Wait::Never {
            return Err(Fault::Overload);
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.waiting_max {
            return Err(Fault::Overload);
        }
        let place = timeout_at(deadline, self.free.acquire()).await;
        drop(waiting);
        // That there was no place is our own doing, and no fault of the backend's.
        place.ok().and_then(Result::ok).ok_or(Fault::Overload)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{pending, ready};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn places_and_those_who_wait_for_them_are_bounded_and_each_request_ends_in_time() {
        let places = Places::new(1, 1);
        let hang = places.run::<()>(SHORT, Wait::Never, pending());
        tokio::pin!(hang);
        assert!(hang.as_mut().now_or_never().is_none());
        assert_eq!(places.run(LONG, Wait::Never, ready(Ok(1))).await, Err(Fault::Overload));
        let second = places.run(LONG, Wait::Bounded, ready(Ok(2)));
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(places.run(LONG, Wait::Bounded, ready(Ok(3))).await, Err(Fault::Overload), "two waited for it");
        assert_eq!(hang.await, Err(Fault::Timeout));
        assert_eq!(second.await, Ok(2));
        assert_eq!(places.waiting.load(Ordering::Acquire), 0);
        // Whoever waits in vain was not failed by the backend.
        let hang = places.run::<()>(LONG, Wait::Never, pending());
        tokio::pin!(hang);
        assert!(hang.as_mut().now_or_never().is_none());
        assert_eq!(places.run(SHORT, Wait::Bounded, ready(Ok(4))).await, Err(Fault::Overload));
    }

    #[tokio::test]
    async fn a_request_that_panics_costs_an_answer_and_no_place() {
        let places = Places::new(1, 0);
        for _ in 0..2 {
            let panics = async { panic!("as it does now and then") };
            assert_eq!(places.run::<()>(LONG, Wait::Never, panics).await, Err(Fault::Crashed));
        }
    }
}
