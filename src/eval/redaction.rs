//! Private entities found in utterances whose entities are marked: precision and recall
//! of each kind.
//!
//! An entity is found when all of it was taken out and named rightly; one that was only
//! partly taken out is leaked. Digits that were taken out on suspicion are right wherever
//! there is an entity.

use std::collections::BTreeMap;

use crate::redact::{Found, Heard, Memory, Policy};
use crate::types::{EntityKind, LegId, Moment, SegmentId, SegmentKind};

/// One segment of a conversation, with its entities marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Whether the agent said it, else the caller.
    pub agent: bool,
    /// What was said.
    pub text: String,
    /// The entities in it.
    pub entities: Vec<Found>,
}

/// A conversation of one or more segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Whether it was kept aside while the rules were made.
    pub held_out: bool,
    /// Its segments.
    pub segments: Vec<Said>,
}

/// Reads a set: an utterance a line, `{kind:words}` for an entity, ` | ` between segments,
/// `A:` before what the agent says; `#` begins a comment. Every other one is held out.
///
/// # Errors
/// Names the line and what was expected.
pub fn parse(text: &str) -> Result<Vec<Utterance>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(n, (line, text))| {
            let segments = text.split(" | ").map(|segment| said(segment.trim()));
            let segments = segments.collect::<Result<_, _>>().map_err(|what| format!("line {}: {what}", line + 1))?;
            Ok(Utterance { held_out: n % 2 == 1, segments })
        })
        .collect()
}

fn said(marked: &str) -> Result<Said, String> {
    let (agent, mut rest) = match (marked.strip_prefix("A: "), marked.strip_prefix("C: ")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => (false, marked),
    };
    let (mut text, mut entities) = (String::new(), Vec::new());
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (inside, after) = after.split_once('}').ok_or("a '{' without its '}'")?;
        let (name, words) = inside.split_once(':').ok_or("an entity without a kind; expected {kind:words}")?;
        let kind = EntityKind::parse(name).ok_or_else(|| format!("no kind is called {name:?}"))?;
        let start = text.len();
        text.push_str(words);
        entities.push(Found { kind, bytes: (start, text.len()) });
        rest = after;
    }
    text.push_str(rest);
    Ok(Said { agent, text, entities })
}

/// Figures of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Entities there are.
    pub said: usize,
    /// Those that were taken out whole and named rightly.
    pub found: usize,
    /// Those of which something was left.
    pub leaked: usize,
    /// Entities that were taken out under this name.
    pub taken: usize,
    /// Those of them that are one of this kind.
    pub right: usize,
}

impl Counts {
    /// 0 to 1; none where there is nothing to find.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.said > 0).then(|| self.found as f64 / self.said as f64)
    }

    /// 0 to 1; none where nothing was found.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.taken > 0).then(|| self.right as f64 / self.taken as f64)
    }

    /// Adds another's.
    pub fn add(&mut self, more: &Self) {
        self.said += more.said;
        self.found += more.found;
        self.leaked += more.leaked;
        self.taken += more.taken;
        self.right += more.right;
    }
}

/// Figures by kind.
pub type Score = BTreeMap<EntityKind, Counts>;

/// Takes an utterance through redaction and adds to `score`; gives whether all was right.
pub fn judge(utterance: &Utterance, policy: Policy, score: &mut Score) -> bool {
    let mut memory = Memory::default();
    let mut all_right = true;
    for (n, said) in utterance.segments.iter().enumerate() {
        let same = utterance.segments[..n].iter().filter(|other| other.agent == said.agent).count();
        let leg = LegId::parse(if said.agent { "agent" } else { "caller" }).expect("letters are a valid id");
        let id = SegmentId(same as u64 + 1);
        let heard = Heard { leg: &leg, id, kind: SegmentKind::Final, at: Moment::from_ms(n as u64 * 3_000) };
        let taken = memory.find(policy, heard, &said.text);
        all_right &= compare(said, &taken, score);
    }
    all_right
}

fn compare(said: &Said, taken: &[Found], score: &mut Score) -> bool {
    let mut right = true;
    let touches = |a: &Found, b: &Found| a.bytes.0 < b.bytes.1 && b.bytes.0 < a.bytes.1;
    let fits = |entity: &Found, taken: &Found| {
        touches(entity, taken) && (entity.kind == taken.kind || taken.kind == EntityKind::Digits)
    };
    for entity in &said.entities {
        let letters = said.text[entity.bytes.0..entity.bytes.1].char_indices().filter(|(_, c)| c.is_alphanumeric());
        let mut places = letters.map(|(at, _)| entity.bytes.0 + at);
        let covered = places.all(|at| taken.iter().any(|taken| (taken.bytes.0..taken.bytes.1).contains(&at)));
        let found = covered && taken.iter().any(|taken| fits(entity, taken));
        let counts = score.entry(entity.kind).or_default();
        counts.said += 1;
        counts.found += usize::from(found);
        counts.leaked += usize::from(!covered);
        right &= found;
    }
    for taken in taken {
        let fit = said.entities.iter().any(|entity| fits(entity, taken));
        let counts = score.entry(taken.kind).or_default();
        counts.taken += 1;
        counts.right += usize::from(fit);
        right &= fit;
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_mistakes_named() {
        let set = parse("# x\n\na {cvv:12 3} b\nA: hi | C: {phone:5}\n").unwrap();
        assert_eq!((set[0].held_out, set[1].held_out), (false, true));
        assert_eq!(set[0].segments[0].text, "a 12 3 b");
        assert_eq!(set[0].segments[0].entities, [Found { kind: EntityKind::Cvv, bytes: (2, 6) }]);
        assert_eq!((set[1].segments[0].agent, set[1].segments[1].agent), (true, false));
        for (bad, what) in [("{cvv:1", "line 1"), ("{pan:1}", "pan"), ("{1}", "without a kind")] {
            assert!(parse(bad).unwrap_err().contains(what), "{bad}");
        }
    }

    #[test]
    fn found_leaked_and_wrong_are_told_apart() {
        let Said { text, entities, agent } = said("{card:4111 1111} and {cvv:123}").unwrap();
        let said = Said { agent, text, entities };
        let mut score = Score::new();
        let taken =
            [Found { kind: EntityKind::Card, bytes: (0, 4) }, Found { kind: EntityKind::Phone, bytes: (14, 17) }];
        assert!(!compare(&said, &taken, &mut score));
        assert_eq!(score[&EntityKind::Card], Counts { said: 1, found: 0, leaked: 1, taken: 1, right: 1 });
        assert_eq!(score[&EntityKind::Cvv], Counts { said: 1, ..Counts::default() });
        assert_eq!(score[&EntityKind::Phone], Counts { taken: 1, ..Counts::default() });
    }
}
