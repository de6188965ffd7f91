//! How sentiment went over a leg, in memory that does not grow with it.
//!
//! Scored speech is laid on a line of a fixed number of stretches. A leg that outgrows the
//! line has two neighbours made one, all along, and goes on with stretches of twice the
//! length. Only at the end is it known where the quarters lie; a stretch that a border
//! cuts is divided as it is, so a border is blurred by at most a 32nd of the leg.

use crate::event::body::{SentimentQuarter, SentimentTrend};

/// Stretches of the line.
const STRETCHES: usize = 64;

/// Length of a stretch at first, in ms: a leg of 64 s.
const LENGTH_MS: u64 = 1_000;

/// Scored speech: how much, and the sum of its scores by its length.
#[derive(Debug, Clone, Copy, Default)]
struct Scored {
    ms: f32,
    sum: f32,
}

impl Scored {
    fn add(&mut self, other: Self, share: f32) {
        self.ms += other.ms * share;
        self.sum += other.sum * share;
    }

    fn mean(self) -> Option<f32> {
        (self.ms > 0.0).then(|| (self.sum / self.ms).clamp(-1.0, 1.0))
    }
}

/// The line. See the module's documentation.
#[derive(Debug)]
pub(super) struct Trend {
    stretches: [Scored; STRETCHES],
    length_ms: u64,
}

impl Default for Trend {
    fn default() -> Self {
        Self { stretches: [Scored::default(); STRETCHES], length_ms: LENGTH_MS }
    }
}

impl Trend {
    /// Adds speech from `start_ms` to `end_ms` of the leg's audio, scored `compound`, −1 to 1.
    pub(super) fn add(&mut self, start_ms: u64, end_ms: u64, compound: f32) {
        if !compound.is_finite() {
            return;
        }
        while end_ms > self.length_ms * STRETCHES as u64 {
            self.halve();
        }
        for (n, stretch) in self.stretches.iter_mut().enumerate() {
            let (from, to) = (n as u64 * self.length_ms, (n as u64 + 1) * self.length_ms);
            let ms = to.min(end_ms).saturating_sub(from.max(start_ms)) as f32;
            stretch.add(Scored { ms, sum: ms * compound }, 1.0);
        }
    }

    /// Half as many stretches of twice the length, and as many empty ones.
    fn halve(&mut self) {
        for n in 0..STRETCHES {
            let mut both = Scored::default();
            if let Some(pair) = self.stretches.get(2 * n..2 * n + 2) {
                pair.iter().for_each(|one| both.add(*one, 1.0));
            }
            self.stretches[n] = both;
        }
        self.length_ms *= 2;
    }

    /// The means of a leg whose audio lasted `leg_ms`; none where nothing was scored.
    pub(super) fn of(&self, leg_ms: u64) -> Option<SentimentTrend> {
        let mut all = Scored::default();
        let mut quarters = [Scored::default(); 4];
        let leg_ms = leg_ms.max(1) as f32;
        for (n, stretch) in self.stretches.iter().enumerate() {
            all.add(*stretch, 1.0);
            let length = self.length_ms as f32;
            // The last stretch may reach beyond the leg: what is in it was said before.
            let (from, to) = (n as f32 * length, ((n + 1) as f32 * length).min(leg_ms));
            for (q, quarter) in quarters.iter_mut().enumerate() {
                let (begin, end) = (leg_ms * q as f32 / 4.0, leg_ms * (q + 1) as f32 / 4.0);
                let share = if to > from { (to.min(end) - from.max(begin)).max(0.0) / (to - from) } else { 0.0 };
                quarter.add(*stretch, share);
            }
        }
        let compound = round3(all.mean()?);
        let quarter = |scored: Scored| SentimentQuarter {
            compound: scored.mean().map(round3),
            scored_ms: scored.ms.round() as u64,
        };
        Some(SentimentTrend { compound, scored_ms: all.ms.round() as u64, quarters: quarters.map(quarter).into() })
    }
}

/// Three decimals: more would be a pretence. Adding zero turns −0.0 into 0.0.
fn round3(x: f32) -> f32 {
    (x * 1_000.0).round() / 1_000.0 + 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quarters(trend: &Trend, leg_ms: u64) -> Vec<(Option<f32>, u64)> {
        let of = trend.of(leg_ms).unwrap();
        of.quarters.iter().map(|quarter| (quarter.compound, quarter.scored_ms)).collect()
    }

    #[test]
    fn nothing_scored_has_no_trend() {
        let mut trend = Trend::default();
        assert_eq!(trend.of(10_000), None);
        trend.add(0, 1_000, f32::NAN);
        trend.add(5_000, 5_000, 1.0);
        assert_eq!(trend.of(10_000), None);
    }

    #[test]
    fn means_are_weighted_by_time_and_quarters_are_of_the_leg() {
        let mut trend = Trend::default();
        trend.add(1_000, 4_000, -0.8);
        trend.add(4_000, 5_000, 0.4);
        trend.add(31_000, 33_000, 0.9);
        assert_eq!(quarters(&trend, 40_000), [(Some(-0.5), 4_000), (None, 0), (None, 0), (Some(0.9), 2_000)]);
        let all = trend.of(40_000).unwrap();
        assert_eq!((all.compound, all.scored_ms), (-0.033, 6_000));
    }

    #[test]
    fn speech_over_a_border_is_in_both_quarters() {
        let mut trend = Trend::default();
        trend.add(8_000, 12_000, 0.5);
        assert_eq!(quarters(&trend, 40_000)[..2], [(Some(0.5), 2_000), (Some(0.5), 2_000)]);
    }

    #[test]
    fn a_leg_of_hours_keeps_its_quarters() {
        let mut trend = Trend::default();
        let hour = 3_600_000;
        for minute in 0..240 {
            let compound = [0.8, 0.2, -0.2, -0.6][minute as usize / 60];
            trend.add(minute * 60_000, minute * 60_000 + 6_000, compound);
        }
        for ((compound, ms), expected) in quarters(&trend, 4 * hour).into_iter().zip([0.8, 0.2, -0.2, -0.6]) {
            assert!((compound.unwrap() - expected).abs() < 0.05 && ms.abs_diff(360_000) < 30_000, "{compound:?} {ms}");
        }
    }

    proptest! {
        #[test]
        fn time_is_neither_lost_nor_made_and_means_stay_in_range(
            said in proptest::collection::vec((0_u64..400_000, 0_u64..30_000, -1.0_f32..=1.0), 1..40),
            more in 0_u64..100_000,
        ) {
            let mut trend = Trend::default();
            said.iter().for_each(|(start, length, compound)| trend.add(*start, start + length, *compound));
            let spoken: u64 = said.iter().map(|(_, length, _)| length).sum();
            let leg_ms = said.iter().map(|(start, length, _)| start + length).max().unwrap() + more;
            let Some(of) = trend.of(leg_ms) else { prop_assert_eq!(spoken, 0); return Ok(()) };
            prop_assert!(of.scored_ms.abs_diff(spoken) <= 1 + spoken / 10_000);
            let parts: u64 = of.quarters.iter().map(|quarter| quarter.scored_ms).sum();
            prop_assert!(parts.abs_diff(spoken) <= 4 + spoken / 1_000, "{parts} of {spoken}");
            let means = of.quarters.iter().filter_map(|quarter| quarter.compound).chain([of.compound]);
            prop_assert!(means.into_iter().all(|mean| (-1.0..=1.0).contains(&mean)));
            prop_assert_eq!(of.quarters.len(), 4);
        }
    }
}
