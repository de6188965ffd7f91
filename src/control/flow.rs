//! Call flows: what becomes of a call, chosen by whom it is for, who calls, and when.

use std::sync::Arc;

use super::hours::Hours;
use crate::types::{RedactionTerms, WallTime};
use crate::vonage::ncco::Endpoint;

/// What becomes of the calls that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// Its name in events.
    pub name: Arc<str>,
    /// Numbers called that it is for; empty is all.
    pub called: Vec<Pattern>,
    /// Numbers calling that it is for; empty is all.
    pub caller: Vec<Pattern>,
    /// When it applies; none is always.
    pub hours: Option<Hours>,
    /// Said first.
    pub greeting: Option<String>,
    /// Said before anything is recorded or heard by us.
    pub consent: Option<String>,
    /// Language of what is said, a BCP 47 tag; none is Vonage's default.
    pub language: Option<String>,
    /// Whether Vonage records, each side on a channel of its own.
    pub record: bool,
    /// Where the caller is taken.
    pub target: Target,
    /// How the call is listened to.
    pub listen: Listen,
    /// What is taken out of what is heard, and which keys are published.
    pub redaction: RedactionTerms,
    /// Caller id of the legs that we make: E.164 without `+`. None is the number called.
    pub from: Option<String>,
    /// How long an agent's leg rings, in s: 1 to 120.
    pub ring_s: u32,
    /// Said to a caller whose agent is not reached or whose socket fails, before we hang up.
    pub unreached: String,
    /// A file that the caller hears until the agent is there.
    pub hold_music: Option<String>,
}

/// Where a caller is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// To an agent: a leg of ours to this endpoint, in one conversation with the caller.
    Agent(Box<Endpoint>),
    /// Into the conversation of this name, which others join by themselves.
    Conversation(String),
    /// To our media socket and nobody else.
    Socket,
    /// Nowhere: what is said is all.
    Nobody,
}

/// How a call is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// A socket for each participant.
    Separate,
    /// One socket that hears the mix.
    Mixed,
    /// Not at all.
    Off,
}

/// A number, whole or its beginning: `442079460000`, `4420*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    stem: String,
    open: bool,
}

/// A pattern that no number could match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number; expected E.164 digits, an app user's name, or the beginning of either and '*'")]
pub struct BadFlow(pub String);

impl Pattern {
    /// Reads a pattern; a leading `+` is left out.
    ///
    /// # Errors
    /// [`BadFlow`] where it is empty or has a `*` elsewhere than at the end.
    pub fn parse(text: &str) -> Result<Self, BadFlow> {
        let stem = text.strip_prefix('+').unwrap_or(text);
        let (stem, open) = stem.strip_suffix('*').map_or((stem, false), |stem| (stem, true));
        if (stem.is_empty() && !open) || stem.contains('*') || stem.chars().any(char::is_whitespace) {
            return Err(BadFlow(text.to_owned()));
        }
        Ok(Self { stem: stem.to_owned(), open })
    }

    /// Whether a number, with or without `+`, is one of these.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        let number = number.strip_prefix('+').unwrap_or(number);
        if self.open { number.starts_with(&self.stem) } else { number == self.stem }
    }
}

impl Flow {
    fn applies(&self, called: Option<&str>, caller: Option<&str>, at: WallTime) -> bool {
        let any = |patterns: &[Pattern], number: Option<&str>| {
            patterns.is_empty() || number.is_some_and(|number| patterns.iter().any(|pattern| pattern.matches(number)))
        };
        any(&self.called, called)
            && any(&self.caller, caller)
            && self.hours.as_ref().is_none_or(|hours| hours.is_open(at))
    }
}

/// The first flow that applies.
#[must_use]
pub fn choose<'a>(
    flows: &'a [Arc<Flow>],
    called: Option<&str>,
    caller: Option<&str>,
    at: WallTime,
) -> Option<&'a Arc<Flow>> {
    flows.iter().find(|flow| flow.applies(called, caller, at))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::control) fn flow(name: &str, target: Target) -> Flow {
        Flow {
            name: name.into(),
            called: Vec::new(),
            caller: Vec::new(),
            hours: None,
            greeting: None,
            consent: None,
            language: None,
            record: false,
            target,
            listen: Listen::Separate,
            redaction: RedactionTerms::default(),
            from: None,
            ring_s: 30,
            unreached: "Nobody can take your call now.".into(),
            hold_music: None,
        }
    }

    #[test]
    fn the_first_that_applies_by_number_caller_and_time() {
        let pattern = |text| vec![Pattern::parse(text).unwrap()];
        let night = Hours::parse(["mon-sun 18:00-09:00"], "UTC").unwrap();
        let flows: Vec<_> = [
            Flow { called: pattern("442079460000"), hours: Some(night), ..flow("night", Target::Nobody) },
            Flow { called: pattern("+442079460000"), caller: pattern("4477*"), ..flow("vip", Target::Nobody) },
            Flow { called: pattern("4420*"), ..flow("london", Target::Nobody) },
            flow("rest", Target::Socket),
        ]
        .map(Arc::new)
        .into();
        let hour = |h: i64| WallTime(h * 3_600_000_000);
        let rows = [
            (Some("442079460000"), Some("447700900000"), 20, "night"),
            (Some("442079460000"), Some("447700900000"), 12, "vip"),
            (Some("442079460000"), Some("491700000000"), 12, "london"),
            (Some("442079460000"), None, 12, "london"),
            (Some("491700000000"), None, 20, "rest"),
            (None, None, 12, "rest"),
        ];
        for (called, caller, at, expected) in rows {
            assert_eq!(&*choose(&flows, called, caller, hour(at)).unwrap().name, expected);
        }
        assert!(choose(&flows[..1], Some("1"), None, hour(20)).is_none());
    }

    #[test]
    fn patterns_that_match_nothing_are_refused() {
        for text in ["", "+", "44*20", "44 20"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(Pattern::parse("*").unwrap().matches("anything"));
    }
}
