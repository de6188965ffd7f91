//! Every call that this gateway follows.
//!
//! Here: the map of calls and who is in which, what comes in and what goes out. What a
//! webhook means is in `webhooks`, what is asked of Vonage in `asks`, what time brings in
//! `time`.
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
mod time;
mod webhooks;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::bucket::Bucket;
use super::call::{Call, CallState, MediaLeg};
use super::listening::{Patience, Said, Step};
use super::plan::Tag;
use super::record::record;
use super::role::Role;
use super::settings::Settings;
use crate::event::body::LegEnded;
use crate::event::call::{CallCapture, CallListening, CallRecord};
use crate::event::{Body, Event};
use crate::types::{ConversationId, LegId, Moment, Speaker, WallTime};
use crate::vonage::ncco::Ncco;
use crate::vonage::rest_types::{self, CallCreated, CreateCall};

/// The moment at which something happens, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub mono: Moment,
    /// UTC.
    pub wall: WallTime,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Publish.
    Emit(Event),
    /// Ask Vonage; the outcome of a creation or poll comes back.
    Ask(Request),
    /// The call is over: its pause, if any, is to be forgotten.
    Forget(ConversationId),
    /// Nothing to do until there is input or this moment comes.
    Idle {
        /// When to call [`Centre::on_time`].
        until: Option<Moment>,
    },
}

/// Something to ask of the Voice API. `region` is the REST base where the leg lives, as a
/// webhook told: the client decides whether it may be trusted.
#[derive(Debug)]
pub enum Request {
    /// Make a leg. Answer with [`Centre::created`].
    Create {
        /// For whom, as in the leg's event URL.
        asked: Asked,
        /// The leg.
        call: Box<CreateCall>,
    },
    /// End a leg.
    HangUp {
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
    },
    /// Have a leg go on with another NCCO.
    Transfer {
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
        /// What is next.
        ncco: Ncco,
    },
    /// Look a leg up. Answer with [`Centre::polled`].
    Poll {
        /// Our call.
        call: ConversationId,
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
    },
}

/// Whom a leg was asked for.
pub type Asked = Tag;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// Not now: too many requests. Not before this has passed, where it was told.
    Limited(Option<Duration>),
    /// The leg is not known.
    Gone,
    /// It was not done, for this reason in one word.
    Failed(&'static str),
}

/// A call that is not followed here, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such call here")]
pub struct UnknownCall;

/// A call as our API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    /// Its id: `conversation` in events.
    pub id: ConversationId,
    /// How far it is.
    pub state: CallState,
    /// Whether capture is paused.
    pub paused: bool,
    /// Legs that can be commanded now: people who have not left, with their region.
    pub live: Vec<(LegId, Role, Option<String>)>,
    /// Its record so far.
    pub record: CallRecord,
}

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
    /// People first: they wait, listeners only miss something.
    urgent: VecDeque<Creation>,
    listeners: VecDeque<Creation>,
    creations: Bucket,
    polls: Bucket,
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
            urgent: VecDeque::new(),
            listeners: VecDeque::new(),
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
            if call.media.len() < centre.settings.limits.participants_max * 2 {
                let (leg, speaker, participant) = (leg.clone(), speaker.clone(), participant.cloned());
                call.media.push(MediaLeg { leg, speaker, participant, over: false, ended: None });
            }
            let steps = call.ears.connected(participant, leg);
            centre.take(now, call, steps);
        });
    }

    /// A media leg is over. `ended` closes its ledger; none where it died before it could.
    pub fn media_ended(&mut self, now: Now, call: &ConversationId, leg: &LegId, ended: Option<&LegEnded>) {
        self.heard(now, call, |centre, call| {
            if let Some(media) = call.media.iter_mut().find(|media| media.leg == *leg) {
                media.over = true;
                media.ended = ended.cloned();
            }
            let steps = if call.is_live() {
                call.ears.disconnected(leg, now.mono, centre.patience())
            } else {
                call.ears.all_left()
            };
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
        let mut changed = false;
        let open = self.calls.get(call).is_some_and(|call| call.state != CallState::Closed);
        self.with(now, call, |centre, call| {
            changed = call.pause(now.wall, paused, &centre.settings.limits);
            if changed && open {
                let body = CallCapture { paused, at: now.wall.to_string(), reason };
                centre.emit(now, call, Body::CallCapture(body));
            }
        });
        if open { Ok(changed) } else { Err(UnknownCall) }
    }

    /// A call as our API shows it.
    #[must_use]
    pub fn view(&self, call: &ConversationId, now: WallTime) -> Option<CallView> {
        self.calls.get(call).map(|call| view(call, now))
    }

    /// Every call, newest first.
    #[must_use]
    pub fn views(&self, now: WallTime) -> Vec<CallView> {
        let mut calls: Vec<_> = self.calls.values().collect();
        calls.sort_by(|a, b| (b.opened.wall, &b.id).cmp(&(a.opened.wall, &a.id)));
        calls.into_iter().map(|call| view(call, now)).collect()
    }

    /// Calls that are not over.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.calls.values().filter(|call| call.state == CallState::Open).count()
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
        call.looked_at = now.mono;
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

    /// Forgets the call that was over first.
    fn evict(&mut self) -> bool {
        let over = self.calls.values().filter(|call| call.state == CallState::Closed);
        let oldest = over.min_by_key(|call| call.closing_since).map(|call| call.id.clone());
        oldest.inspect(|id| self.forget(id)).is_some()
    }

    fn forget(&mut self, id: &ConversationId) {
        let Some(call) = self.calls.remove(id) else { return };
        if let Some(due) = call.due {
            self.schedule.remove(&(due, id.clone()));
        }
        for who in &call.participants {
            self.legs.remove(&who.id);
        }
        for conversation in call.aliases.iter().chain([id]) {
            self.conversations.remove(conversation);
        }
    }

    fn emit(&mut self, now: Now, call: &mut Call, body: Body) {
        let event = call.write(now, body);
        self.out.push_back(Output::Emit(event));
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

fn view(call: &Call, now: WallTime) -> CallView {
    let live = call.people().filter(|who| !who.is_over());
    CallView {
        id: call.id.clone(),
        state: call.state,
        paused: call.is_paused(),
        live: live.map(|who| (who.id.clone(), who.role.clone(), who.region.clone())).collect(),
        record: record(call, now),
    }
}

/// The outcome of a poll or creation, for the shell.
impl Centre {
    /// What became of a creation.
    pub fn created(&mut self, now: Now, asked: &Asked, outcome: Outcome<CallCreated>) {
        self.on_created(now, asked, outcome);
    }

    /// What a poll found.
    pub fn polled(&mut self, now: Now, call: &ConversationId, leg: &LegId, outcome: Outcome<Box<rest_types::Call>>) {
        self.on_polled(now, call, leg, outcome);
    }
}
