//! Where the chance of a run comes from.

/// A stream of a seed; streams do not know of each other.
#[derive(Debug, Clone)]
pub struct Draw(fastrand::Rng);

impl Draw {
    /// The stream number `stream` of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ stream.wrapping_mul(0xD605_0B53_27E4_CA3D));
        // The first would show that two seeds are close.
        rng.u64(..);
        Self(rng)
    }

    /// 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// Below `count`; 0 where that is 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { self.0.usize(..count) }
    }
}
