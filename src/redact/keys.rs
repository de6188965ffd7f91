//! Keys: one is a menu's choice; those that follow it are a number, of which nobody can say
//! what it is before it is whole, and then it would have been published.

use std::time::Duration;

use crate::types::{KeyRule, Moment};

/// What is published of a key that must not be known.
pub const MASKED_KEY: &str = "[DIGIT]";

/// Digits of an entry that are published.
const SHOWN_MAX: usize = 1;
/// Keys farther apart are no part of one entry.
const APART: Duration = Duration::from_secs(5);
/// Digits from which an entry is a number and no choice.
const NUMBER_MIN: usize = 3;
/// How long after a number what belongs to it may be entered: its expiry date, its code.
const APART_AFTER_NUMBER: Duration = Duration::from_secs(30);

/// The keys of one party. `Debug` shows how many there were, and none of them.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Digits of the entry under way.
    entered: usize,
    /// When the last of them was pressed.
    last: Option<Moment>,
}

impl Keys {
    /// Takes keys as they were pressed, one or several at once; gives whether they may be published.
    pub fn press(&mut self, rule: KeyRule, at: Moment, keys: &str) -> bool {
        let digits = keys.chars().filter(|key| key.is_alphanumeric()).count();
        if digits > 0 {
            let apart = if self.entered >= NUMBER_MIN { APART_AFTER_NUMBER } else { APART };
            if self.last.is_none_or(|last| at.since(last) > apart) {
                self.entered = 0;
            }
            self.entered = self.entered.saturating_add(digits);
            self.last = Some(at);
        }
        match rule {
            KeyRule::Publish => true,
            KeyRule::Choices => digits == 0 || self.entered <= SHOWN_MAX,
            KeyRule::Mask => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rule: KeyRule, pressed: &[(u64, &str)]) -> String {
        let mut keys = Keys::default();
        let show = |(at, key): &(u64, &str)| {
            if keys.press(rule, Moment::from_ms(*at), key) { (*key).to_owned() } else { "_".to_owned() }
        };
        pressed.iter().map(show).collect()
    }

    #[test]
    fn choices_are_shown_and_numbers_are_not() {
        let choices = KeyRule::default();
        let entry = [(0, "4"), (900, "1"), (5_800, "1"), (6_000, "#"), (9_000, "2"), (38_900, "3"), (69_000, "5")];
        assert_eq!(shown(choices, &entry), "4__#__5");
        assert_eq!(shown(choices, &[(0, "1"), (5_001, "2"), (10_002, "*"), (10_003, "3"), (10_004, "7")]), "12*3_");
        assert_eq!(shown(choices, &[(0, "41")]), "_", "several at once");
        assert_eq!(shown(KeyRule::Publish, &entry[..3]), "411");
        assert_eq!(shown(KeyRule::Mask, &[(0, "4"), (9_000, "#")]), "__");
    }
}
