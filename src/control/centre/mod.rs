//! Every call that this gateway follows.
//!
//! Here: the map of calls and who is in which. What comes out is in `io`; which call a
//! webhook is about, and its answer, in `webhooks`; what follows from what it says in
//! `facts`; who is in which conversation in `moves`; which recordings are kept in `recordings`;
//! what is asked of Vonage in `asks`; what time brings in `time`.
//!
//! ```text
//!               answer, event          REST outcome        media leg up, over
//!                    │                      │                      │
//!                    ▼                      ▼                      ▼
//!  leg, conversation ──index──► Call: facts ──► Steps ──► Emit, Ask ──► poll
//!                                   ▲
//!                                   └── schedule: the moment when to look at it again
//! ```

mod asks;
mod facts;
mod io;
mod moves;
mod recordings;
mod time;
mod view;
mod webhooks;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use self::io::{Asked, Now, Outcome, Output, Request, UnknownCall};
pub use self::view::{CallView, Footprint};
use super::bucket::Bucket;
use super::call::{Call, CallState, MediaLeg};
use super::listening::{Patience, Said, Step};
use super::settings::Settings;
use crate::event::Body;
use crate::event::body::LegEnded;
use crate::event::call::{CallCapture, CallListening};
use crate::types::{ConversationId, LegId, Moment, Speaker};

/// The `reason` of a media leg that the other side closed in good order.
const IN_ORDER: &str = "hangup";

/// What waits for a token of the creation limit.
#[derive(Debug)]
enum Creation {
    Agent(ConversationId),
    Outbound(ConversationId),
    Listener(ConversationId, Option<LegId>),
}

/// Every call that this gateway follows. See the module's documentation.
pub struct Centre {
    settings: Arc<Settings>,
    /// Unique ids: of records, of tokens, of calls that we begin.
    ids: Box<dyn FnMut() -> LegId + Send>,
    calls: HashMap<ConversationId, Call>,
    /// Which call a leg at Vonage is in.
    legs: HashMap<LegId, ConversationId>,
    /// Which call Vonage's own conversations belong to.
    conversations: HashMap<ConversationId, ConversationId>,
    schedule: BTreeSet<(Moment, ConversationId)>,
    /// Calls that are over and remembered, since when.
    closed: BTreeSet<(Moment, ConversationId)>,
    /// People first: they wait, listeners only miss something.
    urgent: VecDeque<Creation>,
    listeners: VecDeque<Creation>,
    creations: Bucket,
    polls: Bucket,
    /// Creations asked for and not answered.
    asking: usize,
    /// When the next creation can be made, while one waits.
    create_at: Option<Moment>,
    out: VecDeque<Output>,
}

impl Centre {
    /// Follows no call yet. `ids` gives ids never given before.
    #[must_use]
    pub fn new(settings: Arc<Settings>, ids: Box<dyn FnMut() -> LegId + Send>) -> Self {
        let limits = &settings.limits;
        Self {
            creations: Bucket::new(limits.creations_per_second, limits.creations_per_second),
            polls: Bucket::new(limits.polls_per_second, limits.polls_per_second),
            settings,
            ids,
            calls: HashMap::new(),
            legs: HashMap::new(),
            conversations: HashMap::new(),
            schedule: BTreeSet::new(),
            closed: BTreeSet::new(),
            urgent: VecDeque::new(),
            listeners: VecDeque::new(),
            asking: 0,
            create_at: None,
            out: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Idle { until: self.deadline() })
    }

    // --- media legs -----------------------------------------------------

    /// A media leg connected here. One of a call that is not followed is none of ours.
    pub fn media_connected(
        &mut self,
        now: Now,
        call: &ConversationId,
        leg: &LegId,
        speaker: &Speaker,
        participant: Option<&LegId>,
    ) {
        self.heard(now, call, |centre, call| {
            // Who a call of ours is for was not known by its leg when its socket was written down.
            let caller = || call.caller().map(|who| who.id.clone());
            let participant = participant.cloned().or_else(|| caller().filter(|_| *speaker == Speaker::Caller));
            let room = centre.settings.limits.participants_max * 2;
            if call.media.len() < room && call.media.iter().all(|known| known.leg != *leg) {
                let (leg, speaker, participant) = (leg.clone(), speaker.clone(), participant.clone());
                call.media.push(MediaLeg { leg, speaker, participant, over: false, ended: None });
            }
            let steps = call.ears.connected(participant.as_ref(), leg);
            centre.take(now, call, steps);
            if call.state == CallState::Closed {
                // It comes too late to be hung up with the others.
                centre.out.push_back(Output::Forget(call.id.clone()));
            }
        });
    }

    /// A media leg is over. `ended` closes its ledger; none where it died before it could.
    pub fn media_ended(&mut self, now: Now, call: &ConversationId, leg: &LegId, ended: Option<&LegEnded>) {
        self.heard(now, call, |centre, call| {
            let in_order = ended.is_some_and(|ended| ended.reason == IN_ORDER);
            if let Some(media) = call.media.iter_mut().find(|media| media.leg == *leg) {
                media.over = true;
                media.ended = ended.cloned();
            }
            let steps = call.ears.disconnected(leg, in_order, now.mono, centre.patience());
            centre.take(now, call, steps);
        });
    }

    // --- the centre's own wishes ----------------------------------------

    /// Notes and publishes that capture is paused, or goes on. Says whether that is new.
    ///
    /// # Errors
    /// [`UnknownCall`].
    pub fn set_paused(
        &mut self,
        now: Now,
        call: &ConversationId,
        paused: bool,
        reason: Option<String>,
    ) -> Result<bool, UnknownCall> {
        self.calls.get(call).filter(|call| call.state != CallState::Closed).ok_or(UnknownCall)?;
        let mut changed = false;
        self.with(now, call, |centre, call| {
            changed = call.pause(now.wall, paused, &centre.settings.limits);
            if changed {
                let body = CallCapture { paused, at: now.wall.to_string(), reason };
                centre.emit(now, call, Body::CallCapture(body));
            }
        });
        Ok(changed)
    }

    // --- inner ------------------------------------------------------------

    fn patience(&self) -> Patience {
        let limits = &self.settings.limits;
        Patience { timeout: limits.listener_timeout, attempts: limits.listener_attempts, pause: limits.listener_pause }
    }

    /// Does something with a call of which something was heard.
    fn heard(&mut self, now: Now, id: &ConversationId, act: impl FnOnce(&mut Self, &mut Call)) {
        self.with(now, id, |centre, call| {
            call.news_at = now.mono;
            act(centre, call);
        });
    }

    /// Does something with a call that is followed, then looks at when to look again.
    fn with(&mut self, now: Now, id: &ConversationId, act: impl FnOnce(&mut Self, &mut Call)) {
        // Taken out for the time, so that call and centre can both be changed.
        let Some(mut call) = self.calls.remove(id) else { return };
        act(self, &mut call);
        self.settle(now, &mut call);
        let due = self.due(&call);
        if due != call.due {
            if let Some(old) = call.due.take() {
                self.schedule.remove(&(old, id.clone()));
            }
            self.schedule.extend(due.map(|due| (due, id.clone())));
            call.due = due;
        }
        self.calls.insert(id.clone(), call);
        self.pump(now);
    }

    /// A call to follow: known, or new where there is room.
    fn open(&mut self, now: Now, id: &ConversationId) -> bool {
        if self.calls.contains_key(id) {
            return true;
        }
        if self.calls.len() >= self.settings.limits.calls_max && !self.evict() {
            return false;
        }
        let record = (self.ids)();
        let call = Call::new(id.clone(), record, &self.settings.source, now);
        self.conversations.insert(id.clone(), id.clone());
        self.calls.insert(id.clone(), call);
        true
    }

    /// Forgets the call that was over first, rather one of which nothing is still to be said.
    fn evict(&mut self) -> bool {
        let is_told = |id: &ConversationId| self.calls.get(id).is_none_or(|call| call.copying == 0);
        let told = self.closed.iter().find(|(_, id)| is_told(id));
        let oldest = told.or(self.closed.first()).map(|(_, id)| id.clone());
        oldest.inspect(|id| self.forget(id)).is_some()
    }

    fn forget(&mut self, id: &ConversationId) {
        let Some(call) = self.calls.remove(id) else { return };
        self.hand_over_pauses(&call);
        if let Some(due) = call.due {
            self.schedule.remove(&(due, id.clone()));
        }
        self.closed.remove(&(call.closing_since, id.clone()));
        // What another call has taken over since is that call's.
        for who in &call.participants {
            if self.legs.get(&who.id) == Some(id) {
                self.legs.remove(&who.id);
            }
        }
        for conversation in call.aliases.iter().chain([id]) {
            if self.conversations.get(conversation) == Some(id) {
                self.conversations.remove(conversation);
            }
        }
    }

    /// Publishes. That the call began is said before anything else is said of it.
    fn emit(&mut self, now: Now, call: &mut Call, body: Body) {
        self.say_started(now, call);
        let event = call.write(now, body);
        self.out.push_back(Output::Emit(event));
    }

    fn say_started(&mut self, now: Now, call: &mut Call) {
        if !call.started && call.direction.as_deref() != Some("outbound") {
            call.remarks.insert("no_answer_webhook");
        }
        let started = call.start(now, call.opened.wall, Default::default());
        self.out.extend(started.map(Output::Emit));
    }

    fn ask(&mut self, request: Request) {
        if self.settings.has_api {
            self.out.push_back(Output::Ask(request));
        }
    }

    /// Does what the sockets' bookkeeping says.
    fn take(&mut self, now: Now, call: &mut Call, steps: impl IntoIterator<Item = Step>) {
        let mut steps: VecDeque<_> = steps.into_iter().collect();
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Say(said) => self.say(now, call, said),
                Step::HangUp(leg) => self.hang_up(call, &leg),
                Step::Create(hears) => {
                    if let Err(reason) = self.want(now, Creation::Listener(call.id.clone(), hears.clone())) {
                        // No attempt would do better.
                        let patience = Patience { attempts: 0, ..self.patience() };
                        steps.extend(call.ears.failed(hears.as_ref(), None, reason, now.mono, patience));
                    }
                }
            }
        }
    }

    fn say(&mut self, now: Now, call: &mut Call, said: Said) {
        let body = CallListening {
            participant: said.hears.map(|leg| leg.to_string()),
            role: said.role.to_string(),
            listener: said.listener.map(|leg| leg.to_string()),
            state: said.state,
            reason: said.reason.map(str::to_owned),
            at: now.wall.to_string(),
        };
        self.emit(now, call, Body::CallListening(body));
    }

    fn hang_up(&mut self, call: &mut Call, leg: &LegId) {
        let region = match call.participant(leg) {
            // A leg that is over, or was told to end, needs no telling.
            Some(who) if who.is_over() || who.hung_up => return,
            Some(who) => {
                who.hung_up = true;
                who.region.clone()
            }
            None => None,
        };
        self.ask(Request::HangUp { leg: leg.clone(), region });
    }
}
