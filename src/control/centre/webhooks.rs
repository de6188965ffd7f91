//! What a webhook means: which call it is about, what is new in it, what is answered.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{Centre, Now};
use crate::control::call::{Call, CallState, Stranger};
use crate::control::flow::{self, Flow, Listen, Target};
use crate::control::participant::{Bill, News, told};
use crate::control::plan::{self, Heard, Tag};
use crate::control::role::Role;
use crate::event::Body;
use crate::event::call::{
    CallAnswered, CallCompleted, CallFailed, CallJoined, CallListening, CallRecording, CallTransferred, CallUpdated,
    Listening,
};
use crate::types::{ConversationId, LegId, Private, WallTime};
use crate::vonage::ncco::Ncco;
use crate::vonage::webhook::{Answer, Direction, Event, Recorded, Status, StatusEvent, Transferred, time};
use crate::vonage::wire::Map;

impl Centre {
    /// Answers a call from memory. The same leg always gets the same answer, so that a
    /// repetition has no second effect. `room` says whether we can listen to one more
    /// call: without, the caller is served all the same.
    pub fn answer(&mut self, now: Now, answer: &Answer, room: bool) -> Bytes {
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

    fn answer_new(&mut self, now: Now, call: &mut Call, leg: Option<&LegId>, answer: &Answer, room: bool) -> Ncco {
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
                who.role = Role::Caller;
                who.address = caller;
                who.region = answer.region_url.get().cloned();
                who.vonage_conversation = who.vonage_conversation.take().or(conversation);
            }
        }
        call.remarks.remove("no_answer_webhook");
        call.flow = chosen.cloned();
        let started = call.start(now, now.wall, custom(answer));
        self.out.extend(started.map(super::Output::Emit));
        let Some(flow) = chosen else { return plan::fallback(&settings.flows) };
        if !room {
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
            .or_else(|| conversation.as_ref().and_then(|id| self.conversations.get(id)).cloned());
        let id = match (known, event) {
            (Some(id), _) => id,
            // Only news of a leg's own begins a call here.
            (None, Event::Status(_)) => conversation.or_else(|| own_id(leg.as_ref()))?,
            (None, _) => conversation?,
        };
        self.open(now, &id).then_some(id)
    }

    /// Learns who a leg is, where it is not known yet.
    fn recognise(&mut self, now: Now, call: &mut Call, leg: &LegId, tag: Option<&Tag>, event: &Event) {
        if call.participant(leg).is_some() {
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
        if let (Some(who), Event::Status(status)) = (call.participant(leg), event) {
            let outbound = status.direction.get() == Some(&Direction::Outbound);
            let address = if outbound { status.called() } else { status.caller() };
            // The query of our own socket holds its token.
            who.address = match address {
                Some(Private(uri)) if who.role.is_ours() => uri.split('?').next().map(|uri| Private(uri.to_owned())),
                address => address,
            };
            who.vonage_conversation = status.conversation();
        }
        if tag.is_some() {
            self.on_made(now, call, leg);
        }
    }

    fn on_status(&mut self, now: Now, call: &mut Call, event: &StatusEvent) -> Option<Ncco> {
        if !call.is_new(event.dedupe_key(), &self.settings.limits) {
            return None;
        }
        let (leg, status) = (event.leg()?, event.status.get()?);
        if call.direction.is_none() && call.caller().is_some_and(|who| who.id == leg) {
            call.direction = event.direction.get().map(|direction| direction.as_str().to_owned());
        }
        call.from = call.from.take().or_else(|| event.caller());
        call.to = call.to.take().or_else(|| event.called());
        if let Some(who) = call.participant(&leg) {
            who.news_at = now.mono;
        }
        let at = told(event).unwrap_or(now.wall);
        self.learn(now, call, &leg, status, at, Bill::from(event), Some(event))
    }

    /// Learns a status of a leg, from wherever, and does what follows from it.
    #[allow(clippy::too_many_arguments, reason = "facts about one leg, from a webhook or from a poll")]
    pub(super) fn learn(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: &LegId,
        status: &Status,
        at: WallTime,
        bill: Bill,
        event: Option<&StatusEvent>,
    ) -> Option<Ncco> {
        let who = call.participant(leg)?;
        let news = who.learn(status, at, bill);
        let (role, hears, id) = (who.role.clone(), who.hears.clone(), who.id.to_string());
        if role.is_ours() {
            return self.learn_ours(now, call, leg, status, news, hears);
        }
        let (bill, source, answered) = (who.bill.clone(), who.source, who.answered());
        let role_word = role.to_string();
        match news {
            News::Nothing => {}
            News::State => {
                // That it began is said by `call.started`, which waits for the answer webhook.
                if call.started
                    && let Some(event) = event
                {
                    self.update(now, call, Some(leg), &Event::Status(event.clone()), Some(status));
                }
            }
            News::Answered => {
                let body = CallAnswered { participant: id, role: role_word, at: at.to_string() };
                self.say_started(now, call);
                self.emit(now, call, Body::CallAnswered(body));
            }
            News::Failed => {
                let body = CallFailed {
                    participant: Some(id),
                    role: role_word,
                    at: at.to_string(),
                    status: status.as_str().to_owned(),
                    detail: bill.detail,
                    sip_code: bill.sip_code,
                };
                self.say_started(now, call);
                self.emit(now, call, Body::CallFailed(body));
                self.left(now, call, leg, false);
            }
            News::Completed => {
                let body = CallCompleted {
                    participant: id,
                    role: role_word,
                    at: at.to_string(),
                    duration_s: bill.duration_s,
                    price: bill.price,
                    rate: bill.rate,
                    network: bill.network,
                    disconnected_by: bill.disconnected_by,
                    sip_code: bill.sip_code,
                    source: source.as_str().to_owned(),
                };
                self.say_started(now, call);
                self.emit(now, call, Body::CallCompleted(body));
                self.left(now, call, leg, answered);
            }
        }
        None
    }

    /// A status of one of our sockets.
    fn learn_ours(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: &LegId,
        status: &Status,
        news: News,
        hears: Option<LegId>,
    ) -> Option<Ncco> {
        let reason = match news {
            News::Failed => "socket_failed",
            News::Completed => "socket_ended",
            _ if *status == Status::Disconnected => "socket_lost",
            _ => return None,
        };
        let in_flow = call.flow.as_ref().is_some_and(|flow| flow.target == Target::Socket);
        let flow = call.flow.clone().filter(|_| in_flow && call.is_live());
        if reason == "socket_lost" {
            // The reply may give the caller another socket; elsewhere the media leg's end says so.
            let flow = flow?;
            call.reconnects += 1;
            if call.reconnects > self.settings.limits.listener_attempts {
                return Some(plan::unreached(&flow));
            }
            let token = (self.ids)();
            let participant = call.caller().map(|who| who.id.clone());
            let heard = Heard {
                call: &call.id,
                speaker: Role::Caller.speaker(),
                participant,
                redaction: flow.redaction,
                epoch: call.opened.wall,
            };
            let (url, pass) = (&self.settings.public_url, &self.settings.pass);
            return Some(plan::reconnect(url, pass, heard, token.as_str(), now.wall));
        }
        let steps = call.ears.failed(hears.as_ref(), Some(leg), reason, now.mono, self.patience());
        self.take(now, call, steps);
        flow.filter(|_| news == News::Failed).map(|flow| plan::unreached(&flow))
    }

    /// Somebody is gone, or will not come.
    fn left(&mut self, now: Now, call: &mut Call, leg: &LegId, answered: bool) {
        let steps = call.ears.left(leg);
        self.take(now, call, steps);
        let Some(role) = call.participant(leg).map(|who| who.role.clone()) else { return };
        let to_agent = call.flow.as_ref().is_some_and(|flow| matches!(flow.target, Target::Agent(_)));
        match role {
            Role::Agent if !answered => self.tell_unreached(call),
            // An agent whose phone still rings must not answer to nobody.
            Role::Caller if to_agent => {
                let agents: Vec<_> =
                    call.people().filter(|who| who.role == Role::Agent).map(|who| who.id.clone()).collect();
                agents.iter().for_each(|agent| self.hang_up(call, agent));
            }
            _ => {}
        }
    }

    fn on_transfer(&mut self, now: Now, call: &mut Call, transfer: &Transferred, tagged: bool) {
        let Some(leg) = transfer.leg() else { return };
        let at = time(&transfer.timestamp).unwrap_or(now.wall);
        if call.participant(&leg).is_none() {
            let limits = &self.settings.limits;
            let room = call.strangers.len() < limits.participants_max;
            // It may be a socket of ours whose creation is not answered yet.
            if !tagged && room && !call.strangers.iter().any(|stranger| stranger.leg == leg) {
                call.strangers.push(Stranger { leg, to: transfer.to(), at, seen: now.mono });
            }
            return;
        }
        self.moved(now, call, &leg, transfer.to(), at);
    }

    /// Strangers that are none of our sockets are people: a supervisor, another agent.
    pub(super) fn name_strangers(&mut self, now: Now, call: &mut Call) {
        let limits = &self.settings.limits;
        let known: Vec<_> = call.strangers.extract_if(.., |who| now.mono >= who.seen + limits.linger).collect();
        for stranger in known {
            let role = if call.caller().is_none() { Role::Caller } else { Role::Other("participant".into()) };
            if call.participant(&stranger.leg).is_some() || self.admit(now, call, &stranger.leg, role, None) {
                self.moved(now, call, &stranger.leg, stranger.to, stranger.at);
            }
        }
    }

    /// A leg is in a conversation now: in ours for the first time, or in another one.
    pub(super) fn moved(&mut self, now: Now, call: &mut Call, leg: &LegId, to: Option<ConversationId>, at: WallTime) {
        let Some(who) = call.participant(leg) else { return };
        who.news_at = now.mono;
        let from = std::mem::replace(&mut who.vonage_conversation, to.clone());
        let first = !std::mem::replace(&mut who.joined, true);
        let (role, over, id) = (who.role.clone(), who.is_over(), who.id.to_string());
        if let Some(to) = &to
            && !self.conversations.contains_key(to)
            && call.aliases.len() < self.settings.limits.participants_max
        {
            self.conversations.insert(to.clone(), call.id.clone());
            call.aliases.push(to.clone());
        }
        // Listening to our own sockets would never end.
        if role.is_ours() {
            return;
        }
        let text = |id: Option<ConversationId>| id.map(|id| id.to_string());
        self.say_started(now, call);
        if first {
            let body = CallJoined {
                participant: id,
                role: role.to_string(),
                at: at.to_string(),
                vonage_conversation: text(to),
            };
            self.emit(now, call, Body::CallJoined(body));
        } else if from != to {
            let (participant, role) = (id, role.to_string());
            let body = CallTransferred { participant, role, at: at.to_string(), from: text(from), to: text(to) };
            self.emit(now, call, Body::CallTransferred(body));
        }
        if over || call.state != CallState::Open {
            return;
        }
        if first && !call.deaf {
            let step = match call.flow.as_ref().map_or(Listen::Separate, |flow| flow.listen) {
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

    fn on_recorded(&mut self, now: Now, call: &mut Call, recorded: &Recorded) {
        let Some(url) = recorded.recording_url.get() else { return };
        let recording = recorded.recording_uuid.get().cloned();
        if call
            .recordings
            .iter()
            .any(|known| known.url == *url || (recording.is_some() && known.recording == recording))
        {
            return;
        }
        let body = CallRecording {
            recording,
            url: url.clone(),
            start: time(&recorded.start_time).map(|at| at.to_string()),
            end: time(&recorded.end_time).map(|at| at.to_string()),
            size: recorded.size.get().and_then(|size| size.as_u64()),
            paused: call.paused_spans(),
        };
        if call.recordings.len() < self.settings.limits.items_max {
            call.recordings.push(body.clone());
        }
        self.say_started(now, call);
        self.emit(now, call, Body::CallRecording(body));
    }

    /// `call.updated`: what has no event of its own, as it came.
    fn update(&mut self, now: Now, call: &mut Call, leg: Option<&LegId>, event: &Event, status: Option<&Status>) {
        let mut content = match event.to_value() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        if call.is_paused() {
            // Keys and words may be the card number for which capture was paused.
            ["dtmf", "speech", "payload"].iter().for_each(|key| drop(content.shift_remove(*key)));
        }
        let at = content.get("timestamp").and_then(Value::as_str).map(str::to_owned);
        let role = leg.and_then(|leg| call.participant(leg)).map(|who| who.role.to_string());
        let body = CallUpdated {
            webhook: event.kind().to_owned(),
            participant: leg.map(ToString::to_string),
            role,
            status: status.map(|status| status.as_str().to_owned()),
            at: at.unwrap_or_else(|| now.wall.to_string()),
            content,
        };
        self.say_started(now, call);
        self.emit(now, call, Body::CallUpdated(body));
    }

    /// Says that the call began, before anything else is said of it.
    pub(super) fn say_started(&mut self, now: Now, call: &mut Call) {
        if !call.started {
            if call.direction.as_deref() != Some("outbound") {
                call.remarks.insert("no_answer_webhook");
            }
            let started = call.start(now, call.opened.wall, Map::new());
            self.out.extend(started.map(super::Output::Emit));
        }
    }
}

/// An id for a call that Vonage gives none: that of its leg.
fn own_id(leg: Option<&LegId>) -> Option<ConversationId> {
    ConversationId::parse(leg?.as_str()).ok()
}

/// Who a leg is whose webhook does not say.
fn untagged(call: &Call, status: &StatusEvent) -> Role {
    let is_socket = status.called().is_some_and(|to| to.0.starts_with("ws://") || to.0.starts_with("wss://"));
    match () {
        () if is_socket => Role::Mixed,
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
