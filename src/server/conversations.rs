//! Which conversations have legs here, and what time it is in each: the call clock.
//!
//! A leg with a media token is told its conversation's zero. A leg without one gets it
//! from here: the moment when the conversation's first leg connected to this gateway,
//! or what a token told of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::{ConversationId, Moment};

/// A conversation's clock, and its legs now.
#[derive(Debug)]
struct Known {
    /// When its first leg connected here.
    at: Moment,
    /// Where that was on the call clock.
    position: Duration,
    legs: usize,
}

/// Conversations by id.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<HashMap<ConversationId, Known>>);

impl Conversations {
    fn map(&self) -> MutexGuard<'_, HashMap<ConversationId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leg comes in that connected at `now`; gives its place on the call clock. That is
    /// `told`, where a token told it; else what earlier legs lead to, 0 for the first one.
    pub(super) fn enter(&self, conversation: &ConversationId, now: Moment, told: Option<Duration>) -> Duration {
        let mut map = self.map();
        let first = || Known { at: now, position: told.unwrap_or_default(), legs: 0 };
        let known = map.entry(conversation.clone()).or_insert_with(first);
        known.legs += 1;
        told.unwrap_or_else(|| known.position + now.since(known.at))
    }

    /// A leg goes; the last one takes the conversation with it.
    pub(super) fn leave(&self, conversation: &ConversationId) {
        let mut map = self.map();
        if let Some(known) = map.get_mut(conversation) {
            known.legs -= 1;
            if known.legs == 0 {
                map.remove(conversation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn legs_of_one_conversation_share_its_zero_until_the_last_leaves() {
        let conversations = Conversations::default();
        let id = ConversationId::parse("CON-1").unwrap();
        assert_eq!(conversations.enter(&id, Moment::from_ms(5), None), MS(0));
        assert_eq!(conversations.enter(&id, Moment::from_ms(9), None), MS(4));
        conversations.leave(&id);
        assert_eq!(conversations.enter(&id, Moment::from_ms(11), None), MS(6));
        conversations.leave(&id);
        conversations.leave(&id);
        assert!(conversations.map().is_empty());
    }

    #[test]
    fn what_a_token_told_holds_for_its_leg_and_for_legs_without_one() {
        let conversations = Conversations::default();
        let id = ConversationId::parse("CON-1").unwrap();
        assert_eq!(conversations.enter(&id, Moment::from_ms(5), Some(MS(60_000))), MS(60_000));
        assert_eq!(conversations.enter(&id, Moment::from_ms(9), None), MS(60_004));
        assert_eq!(conversations.enter(&id, Moment::from_ms(9), Some(MS(60_003))), MS(60_003));
    }
}
