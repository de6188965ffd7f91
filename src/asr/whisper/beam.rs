//! Beam search: the likeliest texts so far go on side by side, and the likeliest of those that
//! came to an end is the answer. Of width 1 it is greedy.
//!
//! Where a text ends is not searched for: it ends where its end is its likeliest token, and
//! nowhere else. Elsewhere the search, free to end what is hard to hear early, leaves out words,
//! and free to go on where all is said, repeats some (measured: models/README.md).

use super::super::local::Heard;

/// A text this much less likely than the best is followed no further: twenty times. Where all is
/// clear one text goes on alone, at a greedy decoder's cost.
const FAR_BEHIND: f32 = 3.0;

/// The texts under way. Pure: knows figures and no network.
pub(super) struct Beam {
    width: usize,
    /// The token that ends a text.
    end: u32,
    /// Tokens of a text at most.
    most: usize,
    live: Vec<Heard>,
    ended: Vec<Heard>,
}

/// One more token of a text: which of the texts before it goes on from, and the token.
pub(super) type Next = (usize, u32);

impl Beam {
    /// Begins with one text, in which nothing is said.
    pub(super) fn new(width: usize, end: u32, most: usize) -> Self {
        Self { width, end, most, live: vec![Heard::default()], ended: Vec::new() }
    }

    /// How many tokens [`Self::step`] has to know of for each text: one of them may end it, and
    /// the others fill the beam.
    pub(super) fn choices(&self) -> usize {
        if self.width == 1 { 1 } else { self.width + 1 }
    }

    /// Goes on by a token. `likely` are, for each text in the order of the last answer, the
    /// likeliest tokens and their log-probabilities, the likeliest first. The texts that go on;
    /// none when all is done.
    pub(super) fn step(&mut self, likely: &[Vec<(u32, f32)>]) -> Vec<Next> {
        let end = self.end;
        let mut ways = Vec::new();
        for (parent, (text, tokens)) in self.live.iter().zip(likely).enumerate() {
            let ends = tokens.first().is_some_and(|(token, _)| *token == end);
            let tokens = tokens.iter().filter(|(token, _)| (*token == end) == ends);
            ways.extend(tokens.map(|token| (text.log_prob + token.1, parent, *token)));
        }
        ways.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let (mut live, mut next) = (Vec::new(), Vec::new());
        let least = ways.first().map_or(0.0, |(log_prob, ..)| log_prob - FAR_BEHIND);
        for (log_prob, parent, token) in ways {
            if live.len() == self.width || log_prob < least {
                break;
            }
            let mut text = self.live[parent].clone();
            if text.takes(token, end) && text.tokens.len() < self.most {
                live.push(text);
                next.push((parent, token.0));
            } else {
                self.ended.push(text);
            }
        }
        self.live = live;
        if self.is_over() { Vec::new() } else { next }
    }

    /// Whether enough texts ended, or one than which none of those that go on can become likelier.
    fn is_over(&self) -> bool {
        let Some(likeliest) = self.live.first() else { return true };
        self.ended.len() >= self.width
            || self.ended.iter().any(|text| !text.looped && text.log_prob > likeliest.log_prob)
    }

    /// The likeliest text; one that went round in circles only where none came to an end.
    pub(super) fn answer(self) -> Heard {
        let better =
            |one: &Heard, other: &Heard| other.looped.cmp(&one.looped).then(one.log_prob.total_cmp(&other.log_prob));
        self.ended.into_iter().max_by(better).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 0;

    /// Follows a tree of texts: the tokens that may follow one, and how likely each is.
    fn search(width: usize, most: usize, tree: impl Fn(&[u32]) -> Vec<(u32, f32)>) -> Heard {
        let mut beam = Beam::new(width, END, most);
        let mut texts: Vec<Vec<u32>> = vec![Vec::new()];
        loop {
            let likely = |text: &Vec<u32>| {
                let mut tokens = tree(text);
                tokens.sort_by(|one, other| other.1.total_cmp(&one.1));
                tokens.truncate(beam.choices());
                tokens.into_iter().map(|(token, probability)| (token, probability.ln())).collect()
            };
            let likely: Vec<Vec<(u32, f32)>> = texts.iter().map(likely).collect();
            let next = beam.step(&likely);
            if next.is_empty() {
                return beam.answer();
            }
            assert!(next.len() <= width);
            texts = next.iter().map(|(parent, token)| [&texts[*parent][..], &[*token]].concat()).collect();
        }
    }

    /// What begins best goes on badly.
    fn garden_path(text: &[u32]) -> Vec<(u32, f32)> {
        match text {
            [] => vec![(1, 0.6), (2, 0.4)],
            [1] => vec![(3, 0.3), (4, 0.28), (5, 0.28), (END, 0.14)],
            [2] => vec![(6, 0.9), (END, 0.1)],
            _ => vec![(END, 0.9), (7, 0.1)],
        }
    }

    #[test]
    fn a_text_ends_where_its_end_is_likeliest_and_only_there() {
        // Ending at once is likelier than any whole text, yet is never the likeliest token.
        let hard = |text: &[u32]| match text.len() {
            0..4 => vec![(1 + text.len() as u32, 0.4), (END, 0.35), (50, 0.25)],
            _ => vec![(END, 0.5), (60, 0.5 - 1e-3)],
        };
        for width in 1..=4 {
            assert_eq!(search(width, 99, hard).tokens, [1, 2, 3, 4], "width {width}");
        }
    }

    #[test]
    fn a_wider_beam_finds_what_a_greedy_one_walks_past() {
        assert_eq!(search(1, 9, garden_path).tokens, [1, 3]);
        let heard = search(2, 9, garden_path);
        assert_eq!(heard.tokens, [2, 6]);
        assert_eq!(heard.scored, 3, "the end counts");
        assert!((heard.log_prob - (0.4_f32 * 0.9 * 0.9).ln()).abs() < 1e-5, "{}", heard.log_prob);
    }

    #[test]
    fn a_text_far_behind_is_given_up() {
        let mut beam = Beam::new(3, END, 9);
        assert_eq!(beam.step(&[vec![(1, -0.1), (2, -3.0), (3, -3.2)]]), [(0, 1), (0, 2)]);
        assert_eq!(beam.step(&[vec![(4, -0.1), (5, -4.0)], vec![(6, -0.1), (7, -4.0)]]), [(0, 4), (1, 6)]);
        assert_eq!(beam.step(&[vec![(8, 0.0)], vec![(9, -0.2)]]), [(0, 8)]);
    }

    #[test]
    fn a_text_without_end_is_cut_at_its_bound() {
        for width in 1..=4 {
            let heard = search(width, 5, |text| vec![(text.len() as u32 + 1, 0.9), (100, 0.1)]);
            assert_eq!(heard.tokens, [1, 2, 3, 4, 5], "width {width}");
            assert!(!heard.looped);
        }
    }

    #[test]
    fn what_goes_round_in_circles_is_the_answer_only_where_nothing_else_is() {
        let way_out = |text: &[u32]| match text {
            [] => vec![(1, 0.6), (2, 0.4)],
            [2] => vec![(END, 0.5), (3, 0.4)],
            _ => vec![(1, 0.999), (2, 0.001)],
        };
        assert!(search(1, 99, way_out).looped);
        let heard = search(2, 99, way_out);
        assert_eq!((heard.tokens.as_slice(), heard.looped), (&[2][..], false));
    }

    #[test]
    fn nothing_to_choose_from_is_an_empty_text() {
        assert_eq!(search(3, 9, |_| Vec::new()).tokens, [0; 0]);
        assert_eq!(search(3, 9, |_| vec![(END, 1.0)]).tokens, [0; 0]);
    }
}
