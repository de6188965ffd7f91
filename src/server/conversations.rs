//! Which conversations have legs here, and since when: the call clock's zero.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::{ConversationId, Moment};

/// Conversations by id, with the moment their first leg connected and their legs now.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<HashMap<ConversationId, (Moment, usize)>>);

impl Conversations {
    fn map(&self) -> MutexGuard<'_, HashMap<ConversationId, (Moment, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leg comes in; gives the conversation's zero, `now` if it is the first.
    pub(super) fn enter(&self, conversation: &ConversationId, now: Moment) -> Moment {
        let mut map = self.map();
        let (epoch, legs) = map.entry(conversation.clone()).or_insert((now, 0));
        *legs += 1;
        *epoch
    }

    /// A leg goes; the last one takes the conversation with it.
    pub(super) fn leave(&self, conversation: &ConversationId) {
        let mut map = self.map();
        if let Some((_, legs)) = map.get_mut(conversation) {
            *legs -= 1;
            if *legs == 0 {
                map.remove(conversation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_of_one_conversation_share_its_zero_until_the_last_leaves() {
        let conversations = Conversations::default();
        let id = ConversationId::parse("CON-1").unwrap();
        assert_eq!(conversations.enter(&id, Moment(5)), Moment(5));
        assert_eq!(conversations.enter(&id, Moment(9)), Moment(5));
        conversations.leave(&id);
        assert_eq!(conversations.enter(&id, Moment(11)), Moment(5));
        conversations.leave(&id);
        conversations.leave(&id);
        assert!(conversations.map().is_empty());
    }
}
