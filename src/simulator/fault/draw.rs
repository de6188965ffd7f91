//! Where chance comes from: streams that do not know of each other.

use std::hash::{DefaultHasher, Hasher as _};
use std::ops::RangeInclusive;
use std::time::Duration;

/// One stream of draws: of this seed, for this socket or leg, for this purpose.
#[derive(Debug, Clone)]
pub(super) struct Draw(fastrand::Rng);

impl Draw {
    pub(super) fn new(seed: u64, number: u64, purpose: &str) -> Self {
        Self(fastrand::Rng::with_seed(mix(&[seed, number], purpose)))
    }

    /// A span within the range, to the microsecond.
    pub(super) fn span(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let micros = |span: &Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.count(&(micros(range.start())..=micros(range.end()))))
    }

    /// A number within the range; its start where the range is empty.
    pub(super) fn count(&mut self, range: &RangeInclusive<u64>) -> u64 {
        if range.is_empty() { *range.start() } else { self.0.u64(range.clone()) }
    }

    /// A length that is not `right` (2 at least): a short frame, half a sample, two frames.
    pub(super) fn wrong(&mut self, right: usize) -> usize {
        match self.0.u8(..4) {
            0 => right / 2,
            1 => right * 2,
            2 => right - 1,
            _ => {
                let any = self.0.usize(1..right * 2);
                if any == right { right + 1 } else { any }
            }
        }
    }
}

/// Strikes once in every round of so many occasions, at a random one.
#[derive(Debug, Clone)]
pub(super) struct OneIn {
    seed: u64,
    occasions: u64,
    offset: u64,
    next: u64,
}

impl OneIn {
    /// Rounds of `occasions`, at least 1.
    pub(super) fn new(seed: u64, number: u64, purpose: &str, occasions: u32) -> Self {
        Self { seed: mix(&[seed, number], purpose), occasions: u64::from(occasions.max(1)), offset: 0, next: 0 }
    }

    /// So many occasions later in the round than one that is made alike.
    pub(super) fn shifted(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Whether it strikes at this occasion, from 0.
    pub(super) fn strikes_at(&self, occasion: u64) -> bool {
        let (round, place) = (occasion / self.occasions, occasion % self.occasions);
        let chosen = fastrand::Rng::with_seed(mix(&[self.seed, round], "round")).u64(..self.occasions);
        (chosen + self.offset) % self.occasions == place
    }

    /// Whether it strikes at the next occasion.
    pub(super) fn next(&mut self) -> bool {
        self.next += 1;
        self.strikes_at(self.next - 1)
    }
}

/// A number that depends on all of these, the same in every run of one build.
fn mix(numbers: &[u64], purpose: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    numbers.iter().for_each(|n| hasher.write_u64(*n));
    hasher.write(purpose.as_bytes());
    hasher.finish()
}
