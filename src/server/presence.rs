//! A leg's presence in the gateway: in the directory, on its conversation's clock, and to
//! whoever observes legs. Entered once, and left once on every path, a panic included.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Gateway;
use super::legs::{Capture, Command, LegHandle, LegInfo};
use crate::event::body::LegEnded;
use crate::event::{Body, Event};
use crate::types::{ConversationId, Moment, Rate};

/// A leg that is here.
pub(super) struct Presence {
    gateway: Arc<Gateway>,
    handle: LegHandle,
    /// Whether the observer knows of it, and not of its end.
    observed: bool,
}

impl Presence {
    /// A leg that connected at `now` comes in. `told`: its place on the call clock, if a
    /// token told it. Gives the end at which its commands arrive, and that place.
    pub(super) fn enter(
        gateway: &Arc<Gateway>,
        info: LegInfo,
        now: Moment,
        told: Option<Duration>,
    ) -> (Self, mpsc::Receiver<Command>, Duration) {
        let joined_at = gateway.conversations.enter(&info.conversation, now, told);
        let (handle, commands) = LegHandle::new(info, gateway.call.speaking.queue_max);
        gateway.directory.put(handle.clone());
        (Self { gateway: Arc::clone(gateway), handle, observed: false }, commands, joined_at)
    }

    /// It turns out to belong to another conversation; gives its place on that one's clock.
    pub(super) fn join(&mut self, conversation: &ConversationId, connected: Moment) -> Duration {
        self.gateway.conversations.leave(&self.handle.info().conversation);
        let joined_at = self.gateway.conversations.enter(conversation, connected, None);
        let info = LegInfo { conversation: conversation.clone(), ..self.handle.info().clone() };
        self.gateway.directory.tell(&mut self.handle, info);
        joined_at
    }

    /// Whether its conversation is paused.
    pub(super) fn capture(&self) -> Option<Capture> {
        self.gateway.directory.capture(&self.handle.info().conversation)
    }

    /// Whether its conversation is over, so that it is to end.
    pub(super) fn has_ended(&self) -> bool {
        self.gateway.directory.has_ended(&self.handle.info().conversation)
    }

    /// A playback that it was told of is over, or was refused.
    pub(super) fn played(&self) {
        self.handle.played();
    }

    /// Publishes one of its events, and then passes on what follows from it.
    pub(super) fn publish(&mut self, event: Event) {
        self.gateway.transcripts.note(&event);
        match &event.body {
            Body::LegStarted(started) => {
                let info = LegInfo {
                    conversation: event.origin.conversation.clone(),
                    speaker: event.origin.speaker.clone(),
                    rate: Rate::from_hz(started.rate_hz),
                    ..self.handle.info().clone()
                };
                self.gateway.outbox.publish(event);
                self.gateway.directory.tell(&mut self.handle, info);
                self.observed = true;
                for observer in &self.gateway.observers {
                    observer.connected(self.handle.info());
                }
            }
            Body::LegEnded(ended) => {
                let ended = ended.clone();
                self.gateway.outbox.publish(event);
                self.gateway.directory.leave(&self.handle.info().id);
                self.ended(Some(&ended));
            }
            Body::PlaybackEnded(_) => {
                self.gateway.outbox.publish(event);
                self.played();
            }
            _ => self.gateway.outbox.publish(event),
        }
    }

    fn ended(&mut self, ended: Option<&LegEnded>) {
        if std::mem::take(&mut self.observed) {
            self.gateway.observers.iter().for_each(|observer| observer.ended(self.handle.info(), ended));
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.gateway.directory.leave(&self.handle.info().id);
        self.gateway.conversations.leave(&self.handle.info().conversation);
        self.ended(None);
    }
}
