//! What a webhook is about: which call, which leg in it, and what a new call is answered.

use std::sync::Arc;

use bytes::Bytes;

use super::facts::{is_socket, without_token};
use super::{Centre, Now};
use crate::control::call::Call;
use crate::control::flow::{self, Flow, Target};
use crate::control::plan::{self, Tag};
use crate::control::role::Role;
use crate::event::Body;
use crate::event::call::{CallListening, Listening};
use crate::types::{ConversationId, LegId, Private};
use crate::vonage::ncco::Ncco;
use crate::vonage::webhook::{Answer, Direction, Event, StatusEvent};
use crate::vonage::wire::Map;

impl Centre {
    /// Answers a call from memory. The same leg always gets the same answer, so that a
    /// repetition has no second effect. `room` is asked, once for a call, whether we can listen
    /// to it: where not, the caller is served all the same.
    pub fn answer(&mut self, now: Now, answer: &Answer, room: impl FnOnce(&ConversationId) -> bool) -> Bytes {
        let leg = answer.leg();
        let known = leg.as_ref().and_then(|leg| self.legs.get(leg)).cloned();
        let named = known.or_else(|| answer.conversation()).or_else(|| own_id(leg.as_ref()));
        let Some(id) = named.filter(|id| self.open(now, id)) else {
            // Nothing to follow it by, or no place: the caller is served without us.
            return plan::fallback(&self.settings.flows).to_bytes().into();
        };
        let mut reply = Bytes::new();
        self.heard(now, &id, |centre, call| {
            if let Some((answered, bytes)) = &call.answer
                && Some(answered) == leg.as_ref()
            {
                reply = bytes.clone();
                return;
            }
            let ncco = centre.answer_new(now, call, leg.as_ref(), answer, room);
            reply = ncco.to_bytes().into();
            call.answer = leg.clone().map(|leg| (leg, reply.clone()));
        });
        reply
    }

    fn answer_new(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: Option<&LegId>,
        answer: &Answer,
        room: impl FnOnce(&ConversationId) -> bool,
    ) -> Ncco {
        let (called, caller) = (answer.called(), answer.caller());
        let settings = Arc::clone(&self.settings);
        let numbers = (called.as_ref().map(|to| to.0.as_str()), caller.as_ref().map(|from| from.0.as_str()));
        let chosen = flow::choose(&settings.flows, numbers.0, numbers.1, now.wall);
        call.direction.get_or_insert_with(|| "inbound".to_owned());
        call.endpoint = answer.endpoint_type.get().map(|kind| kind.as_str().to_owned());
        call.from = call.from.take().or(caller.clone());
        call.to = call.to.take().or(called);
        if let Some(leg) = leg {
            self.admit(now, call, leg, Role::Caller, None);
            let conversation = answer.conversation();
            if let Some(who) = call.participant(leg) {
                (who.role, who.guessed) = (Role::Caller, false);
                who.address = caller;
                who.region = who.region.take().or(answer.region_url.get().cloned());
                who.vonage_conversation = who.vonage_conversation.take().or(conversation);
            }
        }
        call.remarks.remove("no_answer_webhook");
        call.from_start = true;
        call.flow = chosen.cloned();
        let started = call.start(now, now.wall, custom(answer));
        self.out.extend(started.map(super::Output::Emit));
        let Some(flow) = chosen else { return plan::fallback(&settings.flows) };
        if !room(&call.id) {
            return self.answer_unheard(now, call, flow, leg);
        }
        if let (Target::Socket, Some(leg)) = (&flow.target, leg) {
            call.ears.expect(leg, &Role::Caller, now.mono);
        }
        self.opening(now, call, flow, leg)
    }

    /// Serves a caller whom we have no capacity to hear.
    fn answer_unheard(&mut self, now: Now, call: &mut Call, flow: &Flow, leg: Option<&LegId>) -> Ncco {
        call.deaf = true;
        call.remarks.insert("unheard");
        let body = CallListening {
            participant: leg.map(ToString::to_string),
            role: Role::Caller.to_string(),
            listener: None,
            state: Listening::None,
            reason: Some("capacity".to_owned()),
            at: now.wall.to_string(),
        };
        self.emit(now, call, Body::CallListening(body));
        match flow.target {
            Target::Socket => plan::fallback(&self.settings.flows),
            _ => self.opening(now, call, flow, leg),
        }
    }

    /// Takes an event. Gives an NCCO where the reply may hold one and should. `Err` where
    /// nothing in it says which call it is about.
    ///
    /// # Errors
    /// [`UnknownCall`](super::UnknownCall): it was not published.
    pub fn event(&mut self, now: Now, tag: Option<&Tag>, event: &Event) -> Result<Option<Ncco>, super::UnknownCall> {
        if let (None, Event::Transfer(transfer)) = (tag, event) {
            self.bring(now, transfer);
        }
        if let (Some(tag), Some(leg)) = (tag, event.leg())
            && self.calls.contains_key(&tag.call)
        {
            self.disown(now, &leg, &tag.call);
        }
        let id = self.whose(now, tag, event).ok_or(super::UnknownCall)?;
        let mut reply = None;
        self.heard(now, &id, |centre, call| {
            let leg = event.leg();
            if let Some(leg) = &leg {
                centre.recognise(now, call, leg, tag, event);
            }
            match event {
                Event::Status(status) => reply = centre.on_status(now, call, status),
                Event::Transfer(transfer) => centre.on_transfer(now, call, transfer, tag.is_some()),
                Event::Record(recorded) => centre.on_recorded(now, call, recorded),
                other => centre.update(now, call, leg.as_ref(), other, None),
            }
        });
        Ok(reply.filter(|_| event.honours_ncco()))
    }

    /// The call that an event is about; a new one where it begins with this event.
    fn whose(&mut self, now: Now, tag: Option<&Tag>, event: &Event) -> Option<ConversationId> {
        let leg = event.leg();
        let conversation = event.conversation();
        let known = leg.as_ref().and_then(|leg| self.legs.get(leg)).cloned();
        let known = known
            .or_else(|| tag.map(|tag| tag.call.clone()))
            .or_else(|| conversation.as_ref().and_then(|id| self.owner(id)).cloned());
        let own = || own_id(leg.as_ref()).filter(|_| matches!(event, Event::Status(_)));
        let id = known.or(conversation).or_else(own)?;
        // News of a socket of ours begins no call: the one that it was for is over and forgotten.
        let ours = tag.map_or_else(|| self.may_be_ours(event), |tag| tag.role.is_ours());
        (self.calls.contains_key(&id) || (!ours && self.open(now, &id))).then_some(id)
    }

    /// Whether an event without a tag may be about a leg that we are making just now.
    fn may_be_ours(&self, event: &Event) -> bool {
        self.asking > 0
            && match event {
                Event::Status(status) => status.direction.get() == Some(&Direction::Outbound),
                Event::Transfer(_) => true,
                _ => false,
            }
    }

    /// Learns who a leg is, where it is not known yet.
    fn recognise(&mut self, now: Now, call: &mut Call, leg: &LegId, tag: Option<&Tag>, event: &Event) {
        if call.participant(leg).is_some_and(|who| !who.guessed || tag.is_none()) {
            return;
        }
        let (role, hears) = match (tag, event) {
            (Some(tag), _) => (tag.role.clone(), tag.hears.clone()),
            // A stranger in our conversation: see `on_transfer`.
            (None, Event::Transfer(_)) => return,
            (None, Event::Status(status)) => (untagged(call, status), None),
            (None, _) => return,
        };
        // The flow's own socket is told apart by what it hears: its caller.
        let hears =
            if role == Role::Listener { hears.or_else(|| call.caller().map(|who| who.id.clone())) } else { hears };
        if !self.admit(now, call, leg, role, hears) {
            return;
        }
        if let Some(who) = call.participant(leg) {
            who.guessed = tag.is_none();
        }
        if let (Some(who), Event::Status(status)) = (call.participant(leg), event) {
            let outbound = status.direction.get() == Some(&Direction::Outbound);
            let address = if outbound { status.called() } else { status.caller() };
            who.address = address.map(|Private(called)| Private(without_token(&called).to_owned()));
            who.vonage_conversation = who.vonage_conversation.take().or(status.conversation());
        }
        if tag.is_some() {
            self.on_made(now, call, leg);
        }
    }
}

/// An id for a call that Vonage gives none: that of its leg.
fn own_id(leg: Option<&LegId>) -> Option<ConversationId> {
    ConversationId::parse(leg?.as_str()).ok()
}

/// Who a leg is whose webhook does not say.
fn untagged(call: &Call, status: &StatusEvent) -> Role {
    match () {
        () if status.called().is_some_and(|to| is_socket(&to.0)) => Role::Mixed,
        () if call.caller().is_none() => Role::Caller,
        () => Role::Other("participant".into()),
    }
}

/// What came along with a call: the client application's data and SIP headers.
fn custom(answer: &Answer) -> Map {
    let mut custom = answer.custom_data().map(|data| data.0).unwrap_or_default();
    for (name, value) in answer.sip_headers() {
        custom.insert(name.to_owned(), value.0.into());
    }
    custom
}
