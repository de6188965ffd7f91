//! Word errors: the fewest changes that make what was said into what was heard.

use std::iter::Sum;
use std::ops::AddAssign;

/// Words right and wrong, of one utterance or of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Errors {
    /// Words heard as they were said.
    pub hits: usize,
    /// Words heard as another word.
    pub substitutions: usize,
    /// Words said and not heard.
    pub deletions: usize,
    /// Words heard and not said.
    pub insertions: usize,
}

impl Errors {
    /// Words that were said.
    #[must_use]
    pub fn words(&self) -> usize {
        self.hits + self.substitutions + self.deletions
    }

    /// Words that are wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.substitutions + self.deletions + self.insertions
    }

    /// Word error rate: wrong words by words said. Above 1 is possible; none where no
    /// word was said.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.words() > 0).then(|| self.wrong() as f64 / self.words() as f64)
    }
}

impl AddAssign for Errors {
    fn add_assign(&mut self, more: Self) {
        self.hits += more.hits;
        self.substitutions += more.substitutions;
        self.deletions += more.deletions;
        self.insertions += more.insertions;
    }
}

impl Sum for Errors {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, errors| {
            sum += errors;
            sum
        })
    }
}

/// Aligns what was heard with what was said so that the fewest words are wrong. Of
/// equally good alignments, the one with the most hits counts.
#[must_use]
pub fn align<T: PartialEq>(said: &[T], heard: &[T]) -> Errors {
    // The best alignment of all that was said up to here with the first j words heard.
    let insertions = |j| Errors { insertions: j, ..Errors::default() };
    let mut row: Vec<Errors> = (0..=heard.len()).map(insertions).collect();
    for word in said {
        let mut diagonal = row[0];
        row[0].deletions += 1;
        for (j, other) in heard.iter().enumerate() {
            let mut both = diagonal;
            if word == other {
                both.hits += 1;
            } else {
                both.substitutions += 1;
            }
            let mut deleted = row[j + 1];
            deleted.deletions += 1;
            let mut inserted = row[j];
            inserted.insertions += 1;
            diagonal = row[j + 1];
            row[j + 1] = [both, deleted, inserted]
                .into_iter()
                .min_by_key(|errors| (errors.wrong(), usize::MAX - errors.hits))
                .unwrap_or(both);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(said: &str, heard: &str) -> (usize, usize, usize, usize) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let e = align(&words(said), &words(heard));
        (e.hits, e.substitutions, e.deletions, e.insertions)
    }

    #[test]
    fn each_kind_of_error_is_counted_as_what_it_is() {
        assert_eq!(errors("a b c", "a b c"), (3, 0, 0, 0));
        assert_eq!(errors("a b c", "a x c"), (2, 1, 0, 0));
        assert_eq!(errors("a b c", "a c"), (2, 0, 1, 0));
        assert_eq!(errors("a b c", "a b x c"), (3, 0, 0, 1));
        assert_eq!(errors("", "a b"), (0, 0, 0, 2));
        assert_eq!(errors("a b", ""), (0, 0, 2, 0));
        assert_eq!(errors("", ""), (0, 0, 0, 0));
        assert_eq!(errors("b c d", "a b c"), (2, 0, 1, 1));
    }

    #[test]
    fn the_fewest_changes_are_found() {
        // Against distances worked out by exhaustive search over short texts.
        fn distance(said: &[u8], heard: &[u8]) -> usize {
            match (said, heard) {
                ([], rest) | (rest, []) => rest.len(),
                ([a, said_rest @ ..], [b, heard_rest @ ..]) => (distance(said_rest, heard_rest) + usize::from(a != b))
                    .min(distance(said_rest, heard) + 1)
                    .min(distance(said, heard_rest) + 1),
            }
        }
        let texts: Vec<Vec<u8>> =
            (0..3_u32.pow(5)).map(|n| (0..n % 6).map(|i| (n / 3_u32.pow(i) % 3) as u8).collect()).collect();
        for said in texts.iter().step_by(7) {
            for heard in texts.iter().step_by(5) {
                let errors = align(said, heard);
                assert_eq!(errors.wrong(), distance(said, heard), "{said:?} {heard:?}");
                assert_eq!(errors.words(), said.len());
                assert_eq!(errors.hits + errors.substitutions + errors.insertions, heard.len());
            }
        }
    }

    #[test]
    fn rates_are_of_the_sum_and_not_means_of_rates() {
        let long = Errors { hits: 8, substitutions: 1, deletions: 1, insertions: 0 };
        let short = Errors { hits: 0, substitutions: 0, deletions: 1, insertions: 2 };
        let sum: Errors = [long, short].into_iter().sum();
        assert_eq!((sum.words(), sum.wrong()), (11, 5));
        assert_eq!(short.rate(), Some(3.0));
        assert_eq!(Errors::default().rate(), None);
    }
}
