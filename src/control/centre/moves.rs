//! Who is in which conversation: participants who join and who move on, strangers until it is
//! known who they are, and conversations that calls share.

use super::{Centre, Now, Request};
use crate::control::call::{Call, CallState, Stranger};
use crate::control::flow::Listen;
use crate::control::participant::Participant;
use crate::control::role::Role;
use crate::event::Body;
use crate::event::call::{CallJoined, CallTransferred};
use crate::types::{ConversationId, LegId, Moment, WallTime};
use crate::vonage::webhook::{Transferred, time};

impl Centre {
    /// The call that one of Vonage's conversations belongs to. One that calls share goes on to
    /// another that sits in it when its own has been left.
    pub(super) fn owner(&self, conversation: &ConversationId) -> Option<&ConversationId> {
        let owner = self.conversations.get(conversation)?;
        let left = self.calls.get(owner).is_some_and(|call| call.state != CallState::Open);
        if !left || owner == conversation {
            return Some(owner);
        }
        let sits = |who: &Participant| !who.is_over() && who.vonage_conversation.as_ref() == Some(conversation);
        let there = self.calls.values().filter(|call| call.state == CallState::Open && call.people().any(sits));
        Some(there.min_by_key(|call| (call.opened.mono, &call.id)).map_or(owner, |call| &call.id))
    }

    /// Somebody whose own webhooks came first, so that they began a call of their own, joins
    /// one that we answered: from now on they are that one's.
    pub(super) fn bring(&mut self, now: Now, transfer: &Transferred) {
        let (Some(leg), Some(to)) = (transfer.leg(), transfer.to()) else { return };
        let (Some(own), Some(other)) = (self.legs.get(&leg).cloned(), self.owner(&to).cloned()) else { return };
        let alone = |call: &Call| {
            let mut all = call.participants.iter();
            call.state != CallState::Closed
                && call.flow.is_none()
                && call.people().any(|who| who.id == leg)
                && all.all(|who| who.id == leg || who.role.is_ours())
        };
        let answered = |call: &Call| call.flow.is_some() && call.state == CallState::Open;
        if own == other || !self.calls.get(&own).is_some_and(alone) || !self.calls.get(&other).is_some_and(answered) {
            return;
        }
        let mut brought = None;
        self.with(now, &own, |centre, call| {
            let steps = call.ears.left(&leg);
            centre.take(now, call, steps);
            brought = call.participants.iter().position(|who| who.id == leg).map(|at| call.participants.remove(at));
            call.over = true;
        });
        if self.calls.get(&own).is_some_and(|call| !call.started) {
            // Nothing was said of it, so there is nothing to end.
            self.forget(&own);
        }
        self.legs.remove(&leg);
        self.with(now, &other, |centre, call| {
            let role = Role::Other("participant".into());
            if centre.admit(now, call, &leg, role.clone(), None)
                && let (Some(who), Some(brought)) = (call.participant(&leg), brought)
            {
                *who = Participant { role, guessed: true, joined: false, ..brought };
            }
        });
    }

    /// It is certain now whose a leg is: another call that took it for its own, by the
    /// conversation that they share, must not end it with the others.
    pub(super) fn disown(&mut self, now: Now, leg: &LegId, by: &ConversationId) {
        let guessed = |call: &Call| call.participants.iter().any(|who| who.id == *leg && who.guessed);
        let Some(other) = self.legs.get(leg).filter(|id| *id != by).cloned() else { return };
        if !self.calls.get(&other).is_some_and(guessed) {
            return;
        }
        self.legs.remove(leg);
        self.with(now, &other, |centre, call| {
            call.participants.retain(|who| who.id != *leg);
            let steps = call.ears.left(leg);
            centre.take(now, call, steps);
        });
    }

    /// A leg came into a conversation.
    pub(super) fn on_transfer(&mut self, now: Now, call: &mut Call, transfer: &Transferred, tagged: bool) {
        let Some(leg) = transfer.leg() else { return };
        let at = time(&transfer.timestamp).unwrap_or(now.wall);
        if call.participant(&leg).is_none() {
            // It may be a socket of ours whose creation is not answered yet: the API knows.
            let room = call.strangers.len() < self.settings.limits.participants_max;
            if !tagged && room && !call.strangers.iter().any(|stranger| stranger.leg == leg) {
                if self.settings.has_api && self.polls.take(now.mono).is_ok() {
                    let (call, leg) = (call.id.clone(), leg.clone());
                    self.ask(Request::Poll { call, leg, region: None });
                }
                call.strangers.push(Stranger { leg, to: transfer.to(), at, seen: now.mono });
            }
            return;
        }
        self.moved(now, call, &leg, transfer.to(), at);
    }

    /// Strangers of whom nothing else came to be known are people.
    pub(super) fn name_strangers(&mut self, now: Now, call: &mut Call) {
        let due = |stranger: &Stranger| self.name_at(call, stranger) <= now.mono;
        let due: Vec<_> = call.strangers.iter().filter(|who| due(who)).map(|who| who.leg.clone()).collect();
        due.iter().for_each(|leg| self.name(now, call, leg, false));
    }

    /// When a stranger is taken for somebody. Where there is no API, no socket can be made.
    pub(super) fn name_at(&self, call: &Call, stranger: &Stranger) -> Moment {
        let limits = &self.settings.limits;
        let known = call.participants.iter().any(|who| who.id == stranger.leg);
        let doubtful = self.settings.has_api && !known;
        stranger.seen + if doubtful { limits.listener_timeout.max(limits.linger) } else { limits.linger }
    }

    /// A stranger is a socket, or somebody: a supervisor, another agent.
    pub(super) fn name(&mut self, now: Now, call: &mut Call, leg: &LegId, is_socket: bool) {
        let Some(at) = call.strangers.iter().position(|stranger| stranger.leg == *leg) else { return };
        let stranger = call.strangers.remove(at);
        if self.legs.get(leg).is_some_and(|id| *id != call.id) {
            // It came to be known in another call meanwhile.
            return;
        }
        if call.participant(leg).is_none() {
            let role = match () {
                () if is_socket => Role::Mixed,
                () if call.caller().is_none() => Role::Caller,
                () => Role::Other("participant".into()),
            };
            if !self.admit(now, call, leg, role, None) {
                return;
            }
            if let Some(who) = call.participant(leg) {
                who.guessed = true;
            }
        }
        self.moved(now, call, leg, stranger.to, stranger.at);
    }

    /// A leg is in a conversation now: in ours for the first time, or in another one.
    pub(super) fn moved(&mut self, now: Now, call: &mut Call, leg: &LegId, to: Option<ConversationId>, at: WallTime) {
        let Some(who) = call.participant(leg) else { return };
        who.news_at = now.mono;
        if who.moved_at.is_some_and(|last| at < last) {
            // It moved on since.
            return;
        }
        who.moved_at = Some(at);
        let from = std::mem::replace(&mut who.vonage_conversation, to.clone());
        let first = !std::mem::replace(&mut who.joined, true);
        let (role, gone, id) = (who.role.clone(), who.is_over() || who.hung_up, who.id.to_string());
        if let Some(to) = &to {
            self.call_it(call, to);
        }
        // Listening to our own sockets would never end.
        if role.is_ours() {
            return;
        }
        call.room = call.room.take().or_else(|| to.clone());
        let text = |id: Option<ConversationId>| id.map(|id| id.to_string());
        let moved = !first && from != to;
        let (participant, role_word, at) = (id, role.to_string(), at.to_string());
        if first {
            let body = CallJoined { participant, role: role_word, at, vonage_conversation: text(to) };
            self.emit(now, call, Body::CallJoined(body));
        } else if moved {
            let body = CallTransferred { participant, role: role_word, at, from: text(from), to: text(to) };
            self.emit(now, call, Body::CallTransferred(body));
        }
        if gone || call.over || call.state == CallState::Closed {
            return;
        }
        let listen = call.flow.as_ref().map_or(Listen::Separate, |flow| flow.listen);
        if moved {
            // A socket hears whoever is in its conversation, and nobody elsewhere.
            let steps = call.ears.moved(leg, now.mono);
            self.take(now, call, steps);
        } else if first && !call.deaf {
            let step = match listen {
                Listen::Separate => call.ears.want(leg, &role, now.mono),
                Listen::Mixed => call.ears.want_mixed(now.mono),
                Listen::Off => None,
            };
            self.take(now, call, step);
        }
        if role == Role::Caller {
            self.ring(now, call);
        }
    }

    /// Remembers that one of Vonage's conversations is this call's, where it is no other's.
    fn call_it(&mut self, call: &mut Call, conversation: &ConversationId) {
        let owner = self.conversations.get(conversation);
        let free = owner.is_none_or(|id| self.calls.get(id).is_some_and(|owner| owner.state == CallState::Closed));
        if owner != Some(&call.id) && free && call.aliases.len() < self.settings.limits.participants_max {
            self.conversations.insert(conversation.clone(), call.id.clone());
            call.aliases.push(conversation.clone());
        }
    }
}
