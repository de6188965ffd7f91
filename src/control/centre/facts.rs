//! What follows from what is learned of a leg: events, sockets, a caller to tell. Each fact
//! counts once, from whatever source and in whatever order.

use std::time::Duration;

use serde_json::Value;

use super::{Centre, Now};
use crate::control::call::{Call, Ring};
use crate::control::flow::Target;
use crate::control::participant::{Bill, News, Source, told};
use crate::control::plan::{self, Heard};
use crate::control::role::Role;
use crate::event::Body;
use crate::event::call::{CallAnswered, CallCompleted, CallFailed, CallUpdated};
use crate::redact;
use crate::types::{LegId, WallTime};
use crate::vonage::ncco::Ncco;
use crate::vonage::webhook::{Event, Status, StatusEvent, time};
use crate::vonage::wire::Map;

/// Longest time that an input's keys and words may lie before its webhook: Vonage ends an
/// input after 60 s of speech.
const INPUT_MAX: Duration = Duration::from_secs(60);
/// Why a socket that was not reached is not there.
pub(super) const SOCKET_FAILED: &str = "socket_failed";
/// What is left of a webhook that may hold what was said or pressed while capture was paused.
const HARMLESS: [&str; 5] = ["uuid", "call_uuid", "conversation_uuid", "timestamp", "type"];

/// What came with a status.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) at: WallTime,
    pub(super) bill: Bill,
    pub(super) source: Source,
}

impl Centre {
    pub(super) fn on_status(&mut self, now: Now, call: &mut Call, event: &StatusEvent) -> Option<Ncco> {
        let key = event.dedupe_key();
        if !call.is_new(key.as_ref(), &self.settings.limits) {
            // Vonage may not have had the reply.
            let (replied, ncco) = call.replied.as_ref()?;
            return (Some(replied) == key.as_ref()).then(|| ncco.clone());
        }
        let (leg, status) = (event.leg()?, event.status.get()?);
        // What another leg says of itself, our sockets' tokens among it, is not about the call.
        if call.caller().is_some_and(|who| who.id == leg) {
            let direction = event.direction.get().map(|direction| direction.as_str().to_owned());
            call.direction = call.direction.take().or(direction);
            call.from = call.from.take().or_else(|| event.caller());
            call.to = call.to.take().or_else(|| event.called());
        }
        if let Some(who) = call.participant(&leg) {
            who.news_at = now.mono;
        }
        let news = Learned { at: told(event).unwrap_or(now.wall), bill: Bill::from(event), source: Source::Webhook };
        let reply = self.learn(now, call, &leg, status, news, Some(event));
        if let (Some(key), Some(ncco)) = (key, &reply) {
            call.replied = Some((key, ncco.clone()));
        }
        reply
    }

    /// Learns a status of a leg, from wherever, and does what follows from it.
    pub(super) fn learn(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: &LegId,
        status: &Status,
        Learned { at, bill, source }: Learned,
        event: Option<&StatusEvent>,
    ) -> Option<Ncco> {
        let who = call.participant(leg)?;
        let news = who.learn(status, at, bill);
        if news != News::Nothing {
            who.source = who.source.max(source);
        }
        let (role, hears, id) = (who.role.clone(), who.hears.clone(), who.id.to_string());
        if role.is_ours() {
            return self.learn_ours(now, call, leg, status, news, hears);
        }
        let (bill, answered) = (who.bill.clone(), who.answered());
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
            News::Failed => SOCKET_FAILED,
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
                if matches!(call.ring, Ring::NotYet | Ring::Asked) {
                    (call.ring, call.ring_by) = (Ring::GivenUp, None);
                }
                let agents: Vec<_> =
                    call.people().filter(|who| who.role == Role::Agent).map(|who| who.id.clone()).collect();
                agents.iter().for_each(|agent| self.hang_up(call, agent));
            }
            _ => {}
        }
    }

    /// `call.updated`: what has no event of its own, as it came but for what is redacted.
    pub(super) fn update(
        &mut self,
        now: Now,
        call: &mut Call,
        leg: Option<&LegId>,
        event: &Event,
        status: Option<&Status>,
    ) {
        let mut content = match event.to_value() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let timestamp = content.get("timestamp").and_then(Value::as_str).map(str::to_owned);
        let at = time(&timestamp.into()).unwrap_or(now.wall);
        if call.was_paused(at, INPUT_MAX) || call.is_paused() {
            // Keys and words may be the card number for which capture was paused.
            match event {
                Event::Input(_) | Event::Notify(_) | Event::Unknown(_) => {
                    content.retain(|key, _| HARMLESS.contains(&key.as_str()));
                }
                _ => ["dtmf", "speech", "payload", "digits"].iter().for_each(|key| drop(content.shift_remove(*key))),
            }
        }
        if let Some(Value::String(to)) = content.get_mut("to") {
            *to = without_token(to).to_owned();
        }
        let terms = call.flow.as_ref().map(|flow| flow.redaction).unwrap_or_default();
        let policy = self.settings.redaction.under(terms);
        redact::hide(policy, &mut call.keys, now.mono, &mut content, matches!(event, Event::Unknown(_)));
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
        self.emit(now, call, Body::CallUpdated(body));
    }
}

/// What was called. The query of our own socket holds its token.
pub(super) fn without_token(called: &str) -> &str {
    if is_socket(called) { called.split('?').next().unwrap_or_default() } else { called }
}

/// Whether what was called is a socket.
pub(super) fn is_socket(called: &str) -> bool {
    called.starts_with("ws://") || called.starts_with("wss://")
}
