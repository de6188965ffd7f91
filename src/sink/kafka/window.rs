//! How many events may be under way at once: after a refusal one, then one more for each that
//! is taken, hence twice as many after each round trip, until nothing needs to be counted.
//!
//! What a broker refuses it refuses by the batch, and does not say for which event of it.
//! An event that was alone was refused itself.

use std::sync::atomic::{AtomicUsize, Ordering};

/// From here on there is no limit: so many in a row were taken.
const OPEN: usize = 1 << 12;

pub(super) struct Window(AtomicUsize);

impl Default for Window {
    fn default() -> Self {
        Self(AtomicUsize::new(OPEN))
    }
}

impl Window {
    /// Whether one more may be under way.
    pub(super) fn has_room(&self, under_way: usize) -> bool {
        let width = self.0.load(Ordering::Relaxed);
        width >= OPEN || under_way < width
    }

    /// Whether whatever is under way is alone.
    pub(super) fn is_of_one(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }

    /// Something was refused.
    pub(super) fn narrow(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Something was taken.
    pub(super) fn widen(&self) {
        let width = self.0.load(Ordering::Relaxed);
        if width < OPEN {
            self.0.store(width + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_leaves_room_for_one_and_each_that_is_taken_for_one_more() {
        let window = Window::default();
        assert!(window.has_room(usize::MAX - 1) && !window.is_of_one());
        window.narrow();
        assert!(window.has_room(0) && !window.has_room(1) && window.is_of_one());
        window.widen();
        assert!(window.has_room(1) && !window.has_room(2) && !window.is_of_one());
        (0..OPEN).for_each(|_| window.widen());
        assert!(window.has_room(usize::MAX - 1));
        window.narrow();
        assert!(!window.has_room(1));
    }
}
