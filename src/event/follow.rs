//! What a consumer has to do with ids and numbers: drop what came twice, notice what is missing.
//!
//! The memory is bounded: one entry for each subject that was heard of lately, with the
//! numbers that came early. Forgetting a subject costs no more than that its next event
//! is taken as the first.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::Lane;

/// Subjects remembered.
pub const SUBJECTS_MAX: usize = 10_000;

/// Numbers of one subject remembered beyond the first that is missing.
pub const AHEAD_MAX: usize = 1_000;

/// What an event is to one who follows its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// New, and nothing is missing before it.
    New,
    /// New, but so many durable events before it have not come.
    Gap(u64),
    /// It came before: drop it.
    Again,
}

#[derive(Debug, Default)]
struct Subject {
    /// Every durable event up to this one came.
    whole: u64,
    /// Durable events beyond `whole` that came.
    ahead: BTreeSet<u64>,
    /// The newest ephemeral one.
    ephemeral: (u64, u64),
    /// Whether a gap was told of: the highest number it was told for.
    told: u64,
}

/// Follows any number of subjects.
#[derive(Debug)]
pub struct Follower {
    subjects: HashMap<String, Subject>,
    /// In the order they were first heard of.
    order: VecDeque<String>,
    from_start: bool,
}

impl Follower {
    /// `from_start`: whether a subject's first event has to be number 1, because the
    /// topic is read from its beginning. Else reading may have begun in its middle.
    #[must_use]
    pub fn new(from_start: bool) -> Self {
        Self { subjects: HashMap::new(), order: VecDeque::new(), from_start }
    }

    /// Takes notice of an event.
    pub fn see(&mut self, subject: &str, seq: u64, sub: u64) -> Seen {
        let lane = if sub == 0 { Lane::Durable } else { Lane::Ephemeral };
        if !self.subjects.contains_key(subject) {
            if self.order.len() >= SUBJECTS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.subjects.remove(&oldest);
            }
            let before = match (self.from_start, lane) {
                (true, _) => 0,
                (false, Lane::Durable) => seq.saturating_sub(1),
                (false, Lane::Ephemeral) => seq,
            };
            self.order.push_back(subject.to_owned());
            self.subjects.insert(subject.to_owned(), Subject { whole: before, told: before, ..Subject::default() });
        }
        let Some(state) = self.subjects.get_mut(subject) else { return Seen::New };
        match lane {
            Lane::Durable => state.durable(seq),
            Lane::Ephemeral if (seq, sub) <= state.ephemeral => Seen::Again,
            Lane::Ephemeral => {
                state.ephemeral = (seq, sub);
                Seen::New
            }
        }
    }

    /// Durable events that are known to exist and have not come, over all subjects remembered.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.subjects.values().map(Subject::missing).sum()
    }
}

impl Subject {
    fn durable(&mut self, seq: u64) -> Seen {
        if seq <= self.whole || !self.ahead.insert(seq) {
            return Seen::Again;
        }
        while self.ahead.remove(&(self.whole + 1)) {
            self.whole += 1;
        }
        // Forgets the oldest hole rather than growing.
        if self.ahead.len() > AHEAD_MAX
            && let Some(first) = self.ahead.pop_first()
        {
            self.whole = first;
            while self.ahead.remove(&(self.whole + 1)) {
                self.whole += 1;
            }
        }
        let missing = seq.saturating_sub(self.told.max(self.whole)).saturating_sub(1);
        let told = self.told;
        self.told = self.told.max(seq);
        if self.ahead.contains(&seq) && seq > told && missing > 0 { Seen::Gap(missing) } else { Seen::New }
    }

    fn missing(&self) -> u64 {
        self.ahead.last().map_or(0, |last| last - self.whole - self.ahead.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy as _, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn repeated_ids_are_dropped_and_gaps_told_once() {
        let mut follower = Follower::new(true);
        for (seq, sub, expected) in [
            (1, 0, Seen::New),
            (1, 1, Seen::New),
            (1, 1, Seen::Again),
            (1, 0, Seen::Again),
            (4, 0, Seen::Gap(2)),
            (5, 0, Seen::New),
            (3, 0, Seen::New),
            (3, 0, Seen::Again),
            (8, 0, Seen::Gap(2)),
        ] {
            assert_eq!(follower.see("leg", seq, sub), expected, "{seq}.{sub}");
        }
        assert_eq!(follower.missing(), 3, "2, 6 and 7");
        assert_eq!(Follower::new(true).see("leg", 3, 0), Seen::Gap(2));
        assert_eq!(Follower::new(false).see("leg", 3, 0), Seen::New);
        assert_eq!(Follower::new(false).see("leg", 3, 7), Seen::New);
    }

    #[test]
    fn memory_is_bounded() {
        let mut follower = Follower::new(true);
        for leg in 0..SUBJECTS_MAX + 10 {
            follower.see(&leg.to_string(), 1, 0);
        }
        assert_eq!((follower.subjects.len(), follower.order.len()), (SUBJECTS_MAX, SUBJECTS_MAX));
        for seq in 1..=AHEAD_MAX as u64 + 10 {
            follower.see("holes", seq * 2, 0);
        }
        assert!(follower.subjects["holes"].ahead.len() <= AHEAD_MAX);
    }

    proptest! {
        #[test]
        fn in_any_order_and_with_any_repetition_each_is_new_once(
            (order, count) in (1_u64..60).prop_flat_map(|count| {
                let twice: Vec<u64> = (1..=count).chain(1..=count).collect();
                (Just(twice).prop_shuffle(), Just(count))
            })
        ) {
            let mut follower = Follower::new(true);
            let new = order.iter().filter(|seq| follower.see("leg", **seq, 0) != Seen::Again).count();
            prop_assert_eq!(new as u64, count);
            prop_assert_eq!(follower.missing(), 0);
        }
    }
}
