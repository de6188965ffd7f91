//! One leg at Vonage as a set of facts, learned in any order and each at most once.

use std::collections::BTreeMap;

use super::role::Role;
use crate::types::{ConversationId, LegId, Moment, Private, WallTime};
use crate::vonage::rest_types;
use crate::vonage::webhook::{Status, StatusEvent, time};
use crate::vonage::wire::{Field, Num, Text};

/// States kept of one leg beyond which undocumented ones are only published.
const STATES_MAX: usize = 24;
/// Longest undocumented state that is kept, in bytes.
const STATE_LEN_MAX: usize = 64;

/// Where news of a leg came from, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Vonage told us.
    Webhook,
    /// We asked.
    Poll,
    /// We asked, and the leg was not known any more.
    Lost,
}

impl Source {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Lost => "lost",
        }
    }
}

/// What was new in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing: it was known.
    Nothing,
    /// A state that changes nothing here, such as `ringing`, or one that we do not know.
    State,
    /// It answered.
    Answered,
    /// It will not answer any more.
    Failed,
    /// It is over.
    Completed,
}

/// A leg at Vonage.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) id: LegId,
    pub(super) role: Role,
    /// Whether nothing told its role: a tag or a reply may correct it.
    pub(super) guessed: bool,
    /// Of one of our sockets: whom it hears; none is everybody.
    pub(super) hears: Option<LegId>,
    pub(super) address: Option<Private<String>>,
    /// REST base of the region that it lives in.
    pub(super) region: Option<String>,
    pub(super) states: BTreeMap<String, WallTime>,
    /// Vonage's id of the conversation it is in, as last told.
    pub(super) vonage_conversation: Option<ConversationId>,
    /// Whether it is in the call's conversation and can be heard.
    pub(super) joined: bool,
    /// When it moved last, as Vonage says: an earlier move that is told later is no news.
    pub(super) moved_at: Option<WallTime>,
    pub(super) bill: Bill,
    /// When we last heard or asked about it.
    pub(super) news_at: Moment,
    /// How often in a row the API did not know it.
    pub(super) misses: u32,
    /// Whether its end was asked for.
    pub(super) hung_up: bool,
    /// The worst that news of it came from.
    pub(super) source: Source,
}

/// What a leg's end says about it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Bill {
    pub(super) duration_s: Option<f64>,
    pub(super) price: Option<f64>,
    pub(super) rate: Option<f64>,
    pub(super) network: Option<String>,
    pub(super) disconnected_by: Option<String>,
    pub(super) sip_code: Option<u64>,
    pub(super) detail: Option<String>,
}

impl Bill {
    /// Takes what `other` knows and this does not.
    fn fill(&mut self, other: Self) {
        fn fill<T>(mine: &mut Option<T>, theirs: Option<T>) {
            if mine.is_none() {
                *mine = theirs;
            }
        }
        fill(&mut self.duration_s, other.duration_s);
        fill(&mut self.price, other.price);
        fill(&mut self.rate, other.rate);
        fill(&mut self.network, other.network);
        fill(&mut self.disconnected_by, other.disconnected_by);
        fill(&mut self.sip_code, other.sip_code);
        fill(&mut self.detail, other.detail);
    }
}

fn number(field: &Field<Num>) -> Option<f64> {
    field.get().and_then(Num::as_f64)
}

fn text(field: &Field<Text>) -> Option<String> {
    field.get().map(|text| text.text().into_owned()).filter(|text| !text.is_empty())
}

impl From<&StatusEvent> for Bill {
    fn from(event: &StatusEvent) -> Self {
        Self {
            duration_s: number(&event.duration),
            price: number(&event.price),
            rate: number(&event.rate),
            network: text(&event.network),
            disconnected_by: event.disconnected_by.get().map(|who| who.as_str().to_owned()),
            sip_code: event.sip_code.get().and_then(Num::as_u64),
            detail: event.detail.get().cloned(),
        }
    }
}

impl From<&rest_types::Call> for Bill {
    fn from(call: &rest_types::Call) -> Self {
        Self {
            duration_s: number(&call.duration),
            price: number(&call.price),
            rate: number(&call.rate),
            network: text(&call.network),
            ..Self::default()
        }
    }
}

/// Statuses that say that a leg was not reached.
const FAILURES: [Status; 6] =
    [Status::Busy, Status::Rejected, Status::Unanswered, Status::Timeout, Status::Failed, Status::Cancelled];
/// Other statuses after which a leg is over, the second for our sockets only: of
/// somebody's telephone it would say nothing.
const ENDS: [Status; 2] = [Status::Completed, Status::Disconnected];

impl Participant {
    pub(super) fn new(id: LegId, role: Role, hears: Option<LegId>, now: Moment) -> Self {
        Self {
            id,
            role,
            guessed: false,
            hears,
            address: None,
            region: None,
            states: BTreeMap::new(),
            vonage_conversation: None,
            joined: false,
            moved_at: None,
            bill: Bill::default(),
            news_at: now,
            misses: 0,
            hung_up: false,
            source: Source::Webhook,
        }
    }

    /// Learns a status and what came with it.
    pub(super) fn learn(&mut self, status: &Status, at: WallTime, bill: Bill) -> News {
        let word = status.as_str();
        let news = match status {
            _ if self.states.contains_key(word) => News::Nothing,
            Status::Answered => News::Answered,
            Status::Completed => News::Completed,
            failure if FAILURES.contains(failure) => News::Failed,
            _ => News::State,
        };
        self.bill.fill(bill);
        let unknown = matches!(status, Status::Other(_));
        let crowded = self.states.len() >= STATES_MAX || word.len() > STATE_LEN_MAX;
        if news != News::Nothing && !(unknown && crowded) {
            self.states.insert(word.to_owned(), at);
        }
        news
    }

    /// Whether the leg is over.
    pub(super) fn is_over(&self) -> bool {
        self.outcome().is_some()
    }

    /// Whether it talked, or will.
    pub(super) fn answered(&self) -> bool {
        // Time that is billed was talked, whatever was told of it.
        let billed = self.bill.duration_s.is_some_and(|s| s > 0.0);
        self.joined || billed || self.states.contains_key(Status::Answered.as_str())
    }

    /// How it ended: the reason it was not reached, before the mere end.
    pub(super) fn outcome(&self) -> Option<&str> {
        FAILURES
            .iter()
            .chain(&ENDS[..if self.role.is_ours() { 2 } else { 1 }])
            .map(Status::as_str)
            .find_map(|word| self.states.get_key_value(word))
            .map(|(word, _)| word.as_str())
    }

    /// When it ended.
    pub(super) fn ended_at(&self) -> Option<WallTime> {
        self.outcome().and_then(|word| self.states.get(word)).copied()
    }
}

/// When a status was reached, as its webhook says.
pub(super) fn told(event: &StatusEvent) -> Option<WallTime> {
    let own = match event.status.get() {
        Some(Status::Answered) => time(&event.start_time),
        Some(Status::Completed) => time(&event.end_time),
        _ => None,
    };
    own.or_else(|| time(&event.timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_in_any_order_and_count_once() {
        let id = LegId::parse("leg").unwrap();
        let mut leg = Participant::new(id, Role::Agent, None, Moment::default());
        let bill = |price| Bill { price, ..Bill::default() };
        assert_eq!(leg.learn(&Status::Completed, WallTime(9), bill(Some(0.5))), News::Completed);
        assert_eq!(leg.learn(&Status::Answered, WallTime(2), bill(None)), News::Answered);
        assert_eq!(leg.learn(&Status::Completed, WallTime(10), bill(Some(7.0))), News::Nothing);
        assert_eq!(leg.learn(&Status::Other("levitating".into()), WallTime(3), bill(None)), News::State);
        assert_eq!((leg.bill.price, leg.outcome(), leg.ended_at()), (Some(0.5), Some("completed"), Some(WallTime(9))));
        assert_eq!(leg.learn(&Status::Busy, WallTime(4), bill(None)), News::Failed);
        assert_eq!(leg.outcome(), Some("busy"));
    }

    #[test]
    fn states_are_bounded() {
        let mut leg = Participant::new(LegId::parse("leg").unwrap(), Role::Caller, None, Moment::default());
        for n in 0..100 {
            leg.learn(&Status::Other(format!("s{n}")), WallTime(n), Bill::default());
        }
        assert_eq!(leg.states.len(), STATES_MAX);
        leg.learn(&Status::Completed, WallTime(100), Bill::default());
        assert_eq!(leg.outcome(), Some("completed"));
    }
}
