//! How many legs may be here at once: one atomic counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts legs against a capacity. Two that come together cannot both get the last place.
#[derive(Debug)]
pub struct Admission {
    legs: Arc<AtomicUsize>,
    max: usize,
}

/// A leg's place; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Admission {
    /// At most `max` legs.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { legs: Arc::default(), max }
    }

    /// Legs now.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.legs.load(Ordering::Relaxed)
    }

    /// Whether one more would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.legs() >= self.max
    }

    /// A place, if there is one.
    #[must_use]
    pub fn try_enter(&self) -> Option<Place> {
        let taken =
            self.legs.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |legs| (legs < self.max).then_some(legs + 1));
        taken.ok().map(|_| Place(Arc::clone(&self.legs)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn racing_legs_never_exceed_the_capacity() {
        let admission = Admission::new(10);
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..100).filter_map(|_| admission.try_enter()).map(std::mem::forget).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((entered, admission.legs()), (10, 10));
    }

    #[test]
    fn a_place_is_given_back() {
        let admission = Admission::new(1);
        let place = admission.try_enter().unwrap();
        assert!(admission.is_full() && admission.try_enter().is_none());
        drop(place);
        assert!(admission.try_enter().is_some());
    }
}
