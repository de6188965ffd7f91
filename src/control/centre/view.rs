//! What the centre shows of its calls.

use super::Centre;
use crate::control::call::{Call, CallState};
use crate::control::record::record;
use crate::control::role::Role;
use crate::event::call::CallRecord;
use crate::types::{ConversationId, LegId, WallTime};

/// A call as our API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    /// Its id: `conversation` in events.
    pub id: ConversationId,
    /// How far it is.
    pub state: CallState,
    /// Whether capture is paused.
    pub paused: bool,
    /// Legs that can be commanded now: people who have not left, with their region.
    pub live: Vec<(LegId, Role, Option<String>)>,
    /// Its record so far.
    pub record: CallRecord,
}

/// How much is held: for metrics, and to prove that nothing is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Calls, those that are over but remembered included.
    pub calls: usize,
    /// Legs at Vonage whose call is known.
    pub legs: usize,
    /// Conversations at Vonage whose call is known.
    pub conversations: usize,
    /// Calls that time will bring back.
    pub scheduled: usize,
    /// Legs that wait to be created.
    pub waiting: usize,
}

impl Centre {
    /// How far a call is; none where it is not known here, or not any more.
    #[must_use]
    pub fn state(&self, call: &ConversationId) -> Option<CallState> {
        self.calls.get(call).map(|call| call.state)
    }

    /// A call as our API shows it.
    #[must_use]
    pub fn view(&self, call: &ConversationId, now: WallTime) -> Option<CallView> {
        self.calls.get(call).map(|call| view(call, now))
    }

    /// Every call, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<ConversationId> {
        let mut calls: Vec<_> = self.calls.values().collect();
        calls.sort_by(|a, b| (b.opened.wall, &b.id).cmp(&(a.opened.wall, &a.id)));
        calls.into_iter().map(|call| call.id.clone()).collect()
    }

    /// Calls that are not over.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.calls.values().filter(|call| call.state == CallState::Open).count()
    }

    /// How much is held.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        Footprint {
            calls: self.calls.len(),
            legs: self.legs.len(),
            conversations: self.conversations.len(),
            scheduled: self.schedule.len(),
            waiting: self.waiting(),
        }
    }
}

fn view(call: &Call, now: WallTime) -> CallView {
    let live = call.people().filter(|who| !who.is_over());
    CallView {
        id: call.id.clone(),
        state: call.state,
        paused: call.is_paused(),
        live: live.map(|who| (who.id.clone(), who.role.clone(), who.region.clone())).collect(),
        record: record(call, now),
    }
}
