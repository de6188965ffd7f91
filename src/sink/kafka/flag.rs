//! Whether there may be something behind a lock: it is asked for every event, and almost
//! always there is nothing. A look costs less than a lock, or than a change.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self, to: bool) {
        self.0.store(to, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Clears it; whether it was set.
    pub(super) fn take(&self) -> bool {
        self.is_set() && self.0.swap(false, Ordering::SeqCst)
    }
}
