//! One leg's redaction on the workers: its policy, and what its conversation remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::redact::{Heard, Memory, Policy};
use crate::types::{ConversationId, Entity, Transcript};

/// What a leg's texts are redacted by. To be held as long as the leg is there.
#[derive(Debug, Clone)]
pub(super) struct Redaction {
    policy: Policy,
    memory: Arc<Mutex<Memory>>,
}

impl Redaction {
    pub(super) fn new(policy: Policy, memory: Arc<Mutex<Memory>>) -> Self {
        Self { policy, memory }
    }

    /// What is taken out, and how readily.
    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes out of a segment's text what must not leave. Held for microseconds. With `keep`,
    /// gives what was remembered until then, too.
    pub(super) fn apply(
        &self,
        heard: Heard<'_>,
        transcript: &mut Transcript,
        keep: bool,
    ) -> (Vec<Entity>, Option<Memory>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let before = keep.then(|| memory.clone());
        (memory.redact(self.policy, heard, transcript), before)
    }
}

/// What the live conversations remember; each is forgotten with the last leg that holds it.
#[derive(Debug, Default)]
pub(super) struct Conversations(Mutex<HashMap<ConversationId, Weak<Mutex<Memory>>>>);

impl Conversations {
    pub(super) fn of(&self, conversation: &ConversationId) -> Arc<Mutex<Memory>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = known.get(conversation).and_then(Weak::upgrade) {
            return memory;
        }
        // So many at most as there are legs, and this one.
        known.retain(|_, memory| memory.strong_count() > 0);
        let memory = Arc::default();
        known.insert(conversation.clone(), Arc::downgrade(&memory));
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_shared_and_forgotten_with_its_last_leg() {
        let conversations = Conversations::default();
        let id = |text: &str| ConversationId::parse(text).unwrap();
        let (one, same, other) = (conversations.of(&id("a")), conversations.of(&id("a")), conversations.of(&id("b")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, same));
        let _third = conversations.of(&id("c"));
        assert_eq!(conversations.0.lock().unwrap().len(), 2, "a is forgotten, b and c are there");
    }
}
