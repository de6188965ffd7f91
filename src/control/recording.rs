//! A recording that we are to keep a copy of, and how a call's pauses are told.

use super::call::{Call, Pause};
use crate::types::{ConversationId, WallTime};

/// A recording to be downloaded, muted where capture was paused, and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Our call.
    pub call: ConversationId,
    /// Where Vonage has it. A peer wrote this: the client decides whether it may be trusted.
    pub url: String,
    /// Vonage's id of it, where it told one. A peer wrote this too.
    pub recording: Option<String>,
    /// When it began, on Vonage's clock.
    pub start: Option<WallTime>,
    /// When it ended, on Vonage's clock.
    pub end: Option<WallTime>,
    /// When capture was paused, on our clock; without an end, it went on to the end of the
    /// recording.
    pub paused: Vec<(WallTime, Option<WallTime>)>,
}

impl Call {
    /// When capture was paused, as the recording of another call in the same conversation must
    /// know it: a pause ends with its call.
    pub(super) fn pauses_for_others(&self) -> impl Iterator<Item = Pause> {
        let own = self.pauses.iter().map(|pause| Pause { from: pause.from, to: pause.to.or(self.closed_at) });
        own.chain(self.others_pauses.iter().copied())
    }

    /// Takes over the pauses of a call that is forgotten; beyond `most`, they become one: more is
    /// muted, never less.
    pub(super) fn inherit(&mut self, pauses: impl IntoIterator<Item = Pause>, most: usize) {
        for pause in pauses {
            if !self.others_pauses.contains(&pause) {
                self.others_pauses.push(pause);
            }
        }
        if self.others_pauses.len() > most {
            let from = self.others_pauses.iter().map(|pause| pause.from).min();
            let to = self
                .others_pauses
                .iter()
                .map(|pause| pause.to)
                .try_fold(WallTime::default(), |last, to| to.map(|to| last.max(to)));
            self.others_pauses = from.map(|from| Pause { from, to }).into_iter().collect();
        }
    }

    /// Whether somebody in one of the calls can be heard in a recording of the other: they are,
    /// or were, in one of Vonage's conversations together.
    pub(super) fn shares_conversation(&self, other: &Call) -> bool {
        self.conversations().any(|here| other.conversations().any(|there| here == there))
    }

    fn conversations(&self) -> impl Iterator<Item = &ConversationId> {
        let people = self.people().filter_map(|who| who.vonage_conversation.as_ref());
        [&self.id].into_iter().chain(&self.room).chain(&self.aliases).chain(people)
    }
}
