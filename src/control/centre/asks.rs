//! What is asked of Vonage, and what becomes of it: legs created at the rate it allows,
//! agents rung, callers told.

use std::sync::Arc;
use std::time::Duration;

use super::facts::SOCKET_FAILED;
use super::{Asked, Centre, Creation, Now, Outcome, Request};
use crate::control::call::{Call, CallState, Ring};
use crate::control::flow::{Flow, Target};
use crate::control::participant::Participant;
use crate::control::plan::{self, Heard, Place, Tag};
use crate::control::role::Role;
use crate::event::Body;
use crate::event::call::CallFailed;
use crate::types::{ConversationId, LegId, Moment};
use crate::vonage::ncco::Endpoint;
use crate::vonage::rest_types::{CallCreated, CreateCall};

/// How long nothing is created after a 429 that does not say.
const LIMITED_FOR: Duration = Duration::from_millis(500);
/// Longest that a 429 may have us wait.
pub(super) const LIMITED_MAX: Duration = Duration::from_secs(60);

impl Centre {
    /// Begins a call of ours: rings `endpoint`, which then goes through the flow as a
    /// caller does. Gives the call's id.
    ///
    /// # Errors
    /// Why it cannot be, in one word: `no_api`, `queue_full`, `calls_full`.
    pub fn dial(
        &mut self,
        now: Now,
        flow: &Arc<Flow>,
        endpoint: &Endpoint,
        from: Option<&str>,
    ) -> Result<ConversationId, &'static str> {
        let id = (self.ids)();
        let id = ConversationId::parse(&format!("OUT-{id}")).map_err(|_| "calls_full")?;
        if !self.open(now, &id) {
            return Err("calls_full");
        }
        let mut wanted = Ok(());
        self.with(now, &id, |centre, call| {
            call.flow = Some(Arc::clone(flow));
            call.from_start = true;
            call.direction = Some("outbound".to_owned());
            let opening = centre.opening(now, call, flow, None);
            let tag = Tag { call: call.id.clone(), role: Role::Caller, hears: None };
            let leg = plan::outbound_leg(flow, endpoint, &tag, &centre.settings.public_url, opening, from);
            call.outbound = Some(Box::new(leg));
            wanted = centre.want(now, Creation::Outbound(call.id.clone()));
        });
        if wanted.is_err() {
            self.forget(&id);
        }
        wanted.map(|()| id)
    }

    /// Queues a creation.
    pub(super) fn want(&mut self, now: Now, creation: Creation) -> Result<(), &'static str> {
        if !self.settings.has_api {
            return Err("no_api");
        }
        if self.waiting() >= self.settings.limits.creations_max {
            return Err("queue_full");
        }
        match creation {
            Creation::Listener(..) => self.listeners.push_back(creation),
            _ => self.urgent.push_back(creation),
        }
        self.create_at.get_or_insert(now.mono);
        Ok(())
    }

    /// Asks for what waits, as far as the limit allows.
    pub(super) fn pump(&mut self, now: Now) {
        while self.create_at.is_some_and(|at| at <= now.mono) {
            let Some(creation) = self.urgent.pop_front().or_else(|| self.listeners.pop_front()) else {
                self.create_at = None;
                return;
            };
            // What is not wanted any more costs no token.
            let Some((asked, leg)) = self.build(now, &creation) else { continue };
            match self.creations.take(now.mono) {
                Ok(()) => {
                    self.asking += 1;
                    self.ask(Request::Create { asked, call: Box::new(leg) });
                }
                Err(next) => {
                    self.create_at = Some(next);
                    self.put_back(creation);
                }
            }
        }
    }

    /// Creations that wait to be asked for.
    pub(super) fn waiting(&self) -> usize {
        self.urgent.len() + self.listeners.len()
    }

    fn put_back(&mut self, creation: Creation) {
        match creation {
            Creation::Listener(..) => self.listeners.push_front(creation),
            _ => self.urgent.push_front(creation),
        }
    }

    fn build(&mut self, now: Now, creation: &Creation) -> Option<(Asked, CreateCall)> {
        let token = (self.ids)();
        let (pass, public_url) = (&self.settings.pass, &self.settings.public_url);
        match creation {
            Creation::Agent(id) => {
                let waits = |call: &&Call| {
                    let expected = call.ring == Ring::Asked && call.state != CallState::Closed;
                    expected && call.caller().is_some_and(|who| !who.is_over())
                };
                let call = self.calls.get(id).filter(waits)?;
                let flow = call.flow.as_ref()?;
                let Target::Agent(endpoint) = &flow.target else { return None };
                let asked = Tag { call: id.clone(), role: Role::Agent, hears: None };
                let from = call.to.as_ref().map(|number| number.0.as_str());
                Some((asked.clone(), plan::agent_leg(flow, endpoint, &asked, public_url, from)))
            }
            Creation::Outbound(id) => {
                let leg = self.calls.get(id).filter(|call| !call.over)?.outbound.clone()?;
                Some((Tag { call: id.clone(), role: Role::Caller, hears: None }, *leg))
            }
            Creation::Listener(id, hears) => {
                let wanted =
                    |call: &&Call| call.state != CallState::Closed && call.is_live() && call.ears.wants(hears.as_ref());
                let call = self.calls.get(id).filter(wanted)?;
                let role = if hears.is_some() { Role::Listener } else { Role::Mixed };
                let whom = call.participants.iter().find(|who| Some(&who.id) == hears.as_ref());
                let heard = Heard {
                    call: id,
                    speaker: whom.map_or(Role::Mixed, |who| who.role.clone()).speaker(),
                    participant: hears.clone(),
                    redaction: call.flow.as_ref().map(|flow| flow.redaction).unwrap_or_default(),
                    epoch: call.opened.wall,
                };
                let name = plan::conversation_name(call.flow.as_deref(), id);
                let place = call.elsewhere(hears.as_ref()).map_or(Place::Named(&name), Place::Elsewhere);
                let asked = Tag { call: id.clone(), role, hears: hears.clone() };
                let leg = plan::listener_leg(place, pass, heard, &asked, public_url, token.as_str(), now.wall);
                Some((asked, leg))
            }
        }
    }

    /// What became of a creation.
    pub fn created(&mut self, now: Now, asked: &Asked, outcome: Outcome<CallCreated>) {
        self.asking = self.asking.saturating_sub(1);
        let created = match outcome {
            Outcome::Done(created) => created,
            Outcome::Limited(after) => {
                let until = now.mono + after.map_or(LIMITED_FOR, |after| after.min(LIMITED_MAX));
                self.creations.hold(until);
                self.create_at = Some(self.create_at.map_or(until, |at| at.max(until)));
                if self.waiting() >= self.settings.limits.creations_max {
                    return self.not_created(now, asked, "queue_full");
                }
                let call = asked.call.clone();
                self.put_back(match asked.role {
                    Role::Listener | Role::Mixed => Creation::Listener(call, asked.hears.clone()),
                    Role::Caller => Creation::Outbound(call),
                    Role::Agent | Role::Other(_) => Creation::Agent(call),
                });
                return;
            }
            Outcome::Gone => return self.not_created(now, asked, "not_found"),
            Outcome::Failed(reason) => return self.not_created(now, asked, reason),
        };
        let Some(leg) = created.uuid.get().and_then(|uuid| LegId::parse(uuid).ok()) else {
            return self.not_created(now, asked, "malformed");
        };
        if !self.calls.contains_key(&asked.call) {
            return self.ask(Request::HangUp { leg, region: None });
        }
        self.disown(now, &leg, &asked.call);
        let conversation = created.conversation_uuid.get().and_then(|id| ConversationId::parse(id).ok());
        self.heard(now, &asked.call.clone(), |centre, call| {
            if !centre.admit(now, call, &leg, asked.role.clone(), asked.hears.clone()) {
                // It could not be hung up later.
                centre.ask(Request::HangUp { leg: leg.clone(), region: None });
                return centre.refused(now, call, asked, "too_many_legs");
            }
            if let Some(who) = call.participant(&leg) {
                who.vonage_conversation = who.vonage_conversation.take().or(conversation);
            }
            centre.on_made(now, call, &leg);
        });
    }

    /// A leg of ours is known to be there, from the reply or from its first webhook.
    pub(super) fn on_made(&mut self, now: Now, call: &mut Call, leg: &LegId) {
        let Some(who) = call.participant(leg) else { return };
        let (role, hears) = (who.role.clone(), who.hears.clone());
        let gone = who.is_over();
        match role {
            Role::Agent => {
                // The caller did not wait, or was told already that nobody comes.
                if call.ring == Ring::GivenUp || call.caller().is_none_or(Participant::is_over) {
                    self.hang_up(call, leg);
                } else {
                    (call.ring, call.ring_by) = (Ring::Made, None);
                }
            }
            // Its end was told before its creation was answered.
            Role::Listener | Role::Mixed if gone => {}
            Role::Listener | Role::Mixed => {
                let steps = call.ears.made(hears.as_ref(), leg);
                self.take(now, call, steps);
            }
            Role::Caller => {
                call.outbound = None;
                if call.over {
                    self.hang_up(call, leg);
                } else if let (Some(flow), false) = (&call.flow, call.deaf)
                    && flow.target == Target::Socket
                {
                    call.ears.expect(leg, &role, now.mono);
                }
            }
            Role::Other(_) => {}
        }
    }

    fn not_created(&mut self, now: Now, asked: &Asked, reason: &'static str) {
        self.heard(now, &asked.call.clone(), |centre, call| centre.refused(now, call, asked, reason));
    }

    /// A leg of ours is not to be had.
    fn refused(&mut self, now: Now, call: &mut Call, asked: &Asked, reason: &'static str) {
        match asked.role {
            Role::Listener | Role::Mixed => {
                let steps = call.ears.failed(asked.hears.as_ref(), None, reason, now.mono, self.patience());
                self.take(now, call, steps);
            }
            Role::Agent | Role::Other(_) => self.no_agent(now, call, reason),
            Role::Caller => {
                self.unmade(now, call, &asked.role, reason);
                call.outbound = None;
                call.over = true;
            }
        }
    }

    /// Says that a leg was never made.
    fn unmade(&mut self, now: Now, call: &mut Call, role: &Role, reason: &str) {
        let body = CallFailed {
            participant: None,
            role: role.to_string(),
            at: now.wall.to_string(),
            status: reason.to_owned(),
            detail: None,
            sip_code: None,
        };
        self.emit(now, call, Body::CallFailed(body));
    }

    /// Rings the agent, once.
    pub(super) fn ring(&mut self, now: Now, call: &mut Call) {
        let Some(flow) = call.flow.as_ref().filter(|flow| matches!(flow.target, Target::Agent(_))) else { return };
        if call.ring != Ring::NotYet {
            return;
        }
        call.ring_by = Some(now.mono + Duration::from_secs(flow.ring_s.max(1).into()));
        call.ring = Ring::Asked;
        if let Err(reason) = self.want(now, Creation::Agent(call.id.clone())) {
            self.no_agent(now, call, reason);
        }
    }

    /// The agent's leg could not be made.
    pub(super) fn no_agent(&mut self, now: Now, call: &mut Call, reason: &str) {
        // Where the reply was lost and the leg is there, its own webhooks say how it fares.
        if call.ring != Ring::Asked {
            return;
        }
        self.unmade(now, call, &Role::Agent, reason);
        self.tell_unreached(call);
    }

    /// Tells the caller, once, that nobody will come.
    pub(super) fn tell_unreached(&mut self, call: &mut Call) {
        if call.ring == Ring::GivenUp {
            return;
        }
        (call.ring, call.ring_by) = (Ring::GivenUp, None);
        let (Some(flow), Some(caller)) = (&call.flow, call.caller()) else { return };
        if caller.is_over() {
            return;
        }
        let request =
            Request::Transfer { leg: caller.id.clone(), region: caller.region.clone(), ncco: plan::unreached(flow) };
        self.ask(request);
    }

    /// Learns who is in a call, and remembers it for the leg's webhooks. None beyond the bound.
    pub(super) fn admit(&mut self, now: Now, call: &mut Call, leg: &LegId, role: Role, hears: Option<LegId>) -> bool {
        let ours = role.is_ours();
        if let Some(who) = call.participant(leg).filter(|who| who.guessed) {
            (who.role, who.hears, who.guessed) = (role, hears.clone(), false);
            let over = who.is_over();
            if ours {
                // It was taken for somebody to be heard, and its end for nothing to us.
                let mut steps = call.ears.left(leg);
                if over {
                    steps.extend(call.ears.failed(hears.as_ref(), None, SOCKET_FAILED, now.mono, self.patience()));
                }
                self.take(now, call, steps);
            }
            return true;
        }
        let entered = call.enter(leg, role, hears, now, &self.settings.limits);
        if entered {
            call.strangers.retain(|stranger| !ours || stranger.leg != *leg);
            self.legs.insert(leg.clone(), call.id.clone());
        } else if !ours {
            call.remarks.insert("unheard");
        }
        entered
    }

    /// The NCCO of a call's flow. `caller` is the leg that a socket of the flow would hear.
    pub(super) fn opening(
        &mut self,
        now: Now,
        call: &Call,
        flow: &Flow,
        caller: Option<&LegId>,
    ) -> crate::vonage::ncco::Ncco {
        let token = (self.ids)();
        let heard = Heard {
            call: &call.id,
            speaker: Role::Caller.speaker(),
            participant: caller.cloned(),
            redaction: flow.redaction,
            epoch: call.opened.wall,
        };
        plan::opening(flow, &self.settings.public_url, &self.settings.pass, heard, token.as_str(), now.wall)
    }

    /// When the next creation can be asked for.
    pub(super) fn creation_due(&self) -> Option<Moment> {
        self.create_at
    }
}
