//! The process's clock: the one place where the shell reads the time for a call.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Moment, WallTime};

/// Counts from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    /// Now, monotonic.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::default() + self.0.elapsed()
    }

    /// The same moment for tokio's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        (self.0 + moment.since(Moment::default())).into()
    }

    /// Now, UTC.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::default() + since
    }
}
