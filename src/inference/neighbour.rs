//! What a leg's speaker said last, so that a final which closely follows it is heard together
//! with it: a pause cuts a sentence in two, and alone its second half is heard worse.
//!
//! Nothing waits for that: the first was answered before, and the second's answer is its own
//! words alone. Where the first is still being heard, by another thread or another transcriber,
//! the second is heard without it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::job::About;
use crate::types::{MediaTime, Private};

/// A final that was answered.
pub(super) struct Neighbour {
    end: MediaTime,
    pub(super) samples: Vec<i16>,
    pub(super) text: Private<String>,
    /// The place of who heard it: another's words are not put into its mouth.
    backend: usize,
}

/// One leg's last final. To be held as long as the leg is there; its audio goes with it.
#[derive(Clone, Default)]
pub(super) struct Last(Arc<Mutex<Option<Neighbour>>>);

impl Last {
    /// Keeps a final that `backend` heard, unless a later one was answered sooner.
    pub(super) fn keep(&self, about: &About, samples: &[i16], text: &str, backend: usize) {
        let end = about.start + samples.len() as u64;
        let mut last = self.0.lock();
        if last.as_ref().is_some_and(|last| last.end > end) {
            return;
        }
        // The buffer itself is wanted for the next speech of any leg.
        *last = Some(Neighbour { end, samples: samples.to_vec(), text: Private(text.to_owned()), backend });
    }

    /// Takes the neighbour of a final of so many samples, if it ended no longer than `within`
    /// before (zero: never), `backend` heard it, and both together have no more than `joined_max` samples.
    /// What is not taken is of no use any more.
    pub(super) fn before(
        &self,
        about: &About,
        samples: usize,
        (backend, joined_max): (usize, usize),
        within: Duration,
    ) -> Option<Neighbour> {
        let last = self.0.lock().take()?;
        let gap_ms = MediaTime(about.start.0.checked_sub(last.end.0)?).ms();
        let near = !within.is_zero() && u128::from(gap_ms) <= within.as_millis();
        let fits = last.samples.len() + samples <= joined_max;
        (near && fits && last.backend == backend && !last.text.0.is_empty()).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::Hearing;
    use crate::inference::job::tests::about;

    const WITHIN: Duration = Duration::from_millis(2_000);

    /// A final of one second, so long after the leg's beginning.
    fn at(start_ms: u64) -> About {
        About { start: MediaTime::from_ms(start_ms), ..about(Hearing::default(), 1) }
    }

    fn taken(last: &Last, start_ms: u64, by: (usize, usize)) -> Option<String> {
        last.before(&at(start_ms), 16_000, by, WITHIN).map(|it| it.text.0)
    }

    #[test]
    fn only_a_near_one_of_the_same_transcriber_that_fits_is_taken() {
        let room = (0, 32_000);
        for (start_ms, by, expected) in [
            (1_000, room, true),
            (3_000, room, true),
            (3_001, room, false),
            // Over each other: a clock was set back.
            (999, room, false),
            (1_000, (1, 32_000), false),
            (1_000, (0, 31_999), false),
        ] {
            let last = Last::default();
            last.keep(&at(0), &[7; 16_000], "so", 0);
            assert_eq!(taken(&last, start_ms, by).is_some(), expected, "{start_ms} {by:?}");
            assert_eq!(taken(&last, 1_000, room), None, "it was there a second time");
        }
        let last = Last::default();
        last.keep(&at(0), &[7; 16_000], "", 0);
        assert_eq!(taken(&last, 1_000, room), None, "nothing was said");
        last.keep(&at(0), &[7; 16_000], "so", 0);
        assert!(last.before(&at(1_000), 16_000, room, Duration::ZERO).is_none(), "none was to be taken");
    }

    #[test]
    fn the_later_of_two_is_kept_whichever_was_answered_first() {
        let last = Last::default();
        last.keep(&at(2_000), &[0; 16_000], "second", 0);
        last.keep(&at(0), &[0; 16_000], "first", 0);
        assert_eq!(taken(&last, 3_000, (0, 32_000)).as_deref(), Some("second"));
    }
}
