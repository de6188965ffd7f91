//! One call: the facts known of it, and the numbered stream of events about it.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Map;

use super::centre::Now;
use super::flow::Flow;
use super::listening::Ears;
use super::participant::Participant;
use super::role::Role;
use super::settings::Limits;
use crate::event::body::LegEnded;
use crate::event::call::{CallRecording, CallStarted, PausedSpan};
use crate::event::{Author, Body, Event, Origin};
use crate::redact::Keys;
use crate::types::{ConversationId, LegId, Moment, Private, Speaker, WallTime};
use crate::vonage::ncco::Ncco;
use crate::vonage::rest_types::CreateCall;
use crate::vonage::webhook::DedupeKey;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Somebody is on it, or is expected.
    Open,
    /// Everybody has left; late news is awaited.
    Closing,
    /// Its record is published.
    Closed,
}

impl CallState {
    /// The word in our API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// The agent's leg, from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// The flow has none, or the caller is not there yet.
    NotYet,
    /// Its creation is asked for.
    Asked,
    /// It is there, or was.
    Made,
    /// It will not be: the caller was told.
    GivenUp,
}

/// A media leg that hears the call here.
#[derive(Debug)]
pub(super) struct MediaLeg {
    pub(super) leg: LegId,
    pub(super) speaker: Speaker,
    pub(super) participant: Option<LegId>,
    pub(super) over: bool,
    /// Its last event; none where it died without one.
    pub(super) ended: Option<LegEnded>,
}

/// A stretch of time during which capture was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) from: WallTime,
    pub(super) to: Option<WallTime>,
}

impl From<&Pause> for PausedSpan {
    fn from(pause: &Pause) -> Self {
        Self { from: pause.from.to_string(), to: pause.to.map(|to| to.to_string()) }
    }
}

/// A leg that came into the conversation before we knew whose it is.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) leg: LegId,
    pub(super) to: Option<ConversationId>,
    pub(super) at: WallTime,
    pub(super) seen: Moment,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: ConversationId,
    author: Author,
    pub(super) opened: Now,
    pub(super) state: CallState,
    pub(super) closing_since: Moment,
    pub(super) news_at: Moment,
    /// When the centre looks at it again.
    pub(super) due: Option<Moment>,
    pub(super) flow: Option<Arc<Flow>>,
    pub(super) started: bool,
    pub(super) direction: Option<String>,
    pub(super) from: Option<Private<String>>,
    pub(super) to: Option<Private<String>>,
    pub(super) endpoint: Option<String>,
    pub(super) participants: Vec<Participant>,
    pub(super) ears: Ears,
    pub(super) ring: Ring,
    /// When an agent that is asked for and not made is given up.
    pub(super) ring_by: Option<Moment>,
    pub(super) media: Vec<MediaLeg>,
    pub(super) recordings: Vec<CallRecording>,
    /// Recordings of which a copy is being made.
    pub(super) copying: usize,
    pub(super) pauses: Vec<Pause>,
    /// Pauses of calls that were in a conversation with this one and are forgotten.
    pub(super) others_pauses: Vec<Pause>,
    /// Whether it began with us: we answered it, or dialled.
    pub(super) from_start: bool,
    /// When its record was published.
    pub(super) closed_at: Option<WallTime>,
    /// Keys that webhooks told of, whoever pressed them.
    pub(super) keys: Keys,
    /// What was answered to the webhook about this leg.
    pub(super) answer: Option<(LegId, Bytes)>,
    /// How often the flow's own socket was given back to the caller.
    pub(super) reconnects: u32,
    /// The leg that begins a call of ours, until it is made.
    pub(super) outbound: Option<Box<CreateCall>>,
    /// Legs that came into the conversation and are not known yet.
    pub(super) strangers: Vec<Stranger>,
    /// Vonage's ids of the conversations that are this call's.
    pub(super) aliases: Vec<ConversationId>,
    /// Vonage's id of the conversation that the flow names.
    pub(super) room: Option<ConversationId>,
    /// When the sweep, short of tokens, goes on.
    pub(super) poll_at: Moment,
    /// Whether there was no room to listen to it.
    pub(super) deaf: bool,
    /// Whether nobody will come any more, whatever the legs say.
    pub(super) over: bool,
    /// Hashes of webhooks.
    seen: HashSet<u64>,
    /// The last NCCO that was given in reply to a webhook, for when that comes again.
    pub(super) replied: Option<(DedupeKey, Ncco)>,
    pub(super) remarks: BTreeSet<&'static str>,
}

impl Call {
    pub(super) fn new(id: ConversationId, record: LegId, source: &Arc<str>, now: Now) -> Self {
        let origin =
            Origin { conversation: id.clone(), leg: record, speaker: Speaker::Unknown, source: Arc::clone(source) };
        Self {
            id,
            author: Author::new(origin),
            opened: now,
            state: CallState::Open,
            closing_since: now.mono,
            news_at: now.mono,
            due: None,
            flow: None,
            started: false,
            direction: None,
            from: None,
            to: None,
            endpoint: None,
            participants: Vec::new(),
            ears: Ears::default(),
            ring: Ring::NotYet,
            ring_by: None,
            media: Vec::new(),
            recordings: Vec::new(),
            copying: 0,
            pauses: Vec::new(),
            others_pauses: Vec::new(),
            from_start: false,
            closed_at: None,
            keys: Keys::default(),
            answer: None,
            reconnects: 0,
            outbound: None,
            strangers: Vec::new(),
            aliases: Vec::new(),
            room: None,
            poll_at: Moment::default(),
            deaf: false,
            over: false,
            seen: HashSet::new(),
            replied: None,
            remarks: BTreeSet::new(),
        }
    }

    /// The next event about the call.
    pub(super) fn write(&mut self, now: Now, body: Body) -> Event {
        self.author.write(now.wall, body)
    }

    /// Whether a webhook is new. What cannot be told apart from another is.
    pub(super) fn is_new(&mut self, key: Option<&DedupeKey>, limits: &Limits) -> bool {
        let Some(key) = key else { return true };
        // Its hash: what a peer writes may be long.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let key = hasher.finish();
        if self.seen.contains(&key) {
            return false;
        }
        // Beyond the bound a repetition is published again; states still count once.
        if self.seen.len() < limits.seen_max {
            self.seen.insert(key);
        }
        true
    }

    pub(super) fn participant(&mut self, leg: &LegId) -> Option<&mut Participant> {
        self.participants.iter_mut().find(|participant| participant.id == *leg)
    }

    /// Learns of a leg. None beyond the bound.
    pub(super) fn enter(&mut self, leg: &LegId, role: Role, hears: Option<LegId>, now: Now, limits: &Limits) -> bool {
        if self.participants.iter().any(|participant| participant.id == *leg) {
            return true;
        }
        // Those that were made by us come back to us in webhooks and must be known as ours.
        if self.participants.len() >= limits.participants_max * if role.is_ours() { 2 } else { 1 } {
            return false;
        }
        self.participants.push(Participant::new(leg.clone(), role, hears, now.mono));
        true
    }

    /// The leg of the party that the call is about.
    pub(super) fn caller(&self) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.role == Role::Caller)
    }

    /// People, as opposed to our sockets.
    pub(super) fn people(&self) -> impl Iterator<Item = &Participant> {
        self.participants.iter().filter(|participant| !participant.role.is_ours())
    }

    /// Whether somebody is on it, or is expected.
    pub(super) fn is_live(&self) -> bool {
        // Before anybody is known, the first is awaited; a stranger may be somebody.
        let expected = self.people().next().is_none() || !self.strangers.is_empty();
        !self.over && (expected || self.people().any(|participant| !participant.is_over()))
    }

    /// Pauses capture, or has it go on. Says whether that is new.
    pub(super) fn pause(&mut self, at: WallTime, paused: bool, limits: &Limits) -> bool {
        if paused == self.is_paused() {
            return false;
        }
        let full = self.pauses.len() >= limits.items_max;
        match self.pauses.last_mut() {
            Some(pause) if !paused => pause.to = Some(at),
            // Beyond the bound the last one is stretched: more is muted than was asked for, never less.
            Some(pause) if full => pause.to = None,
            _ => self.pauses.push(Pause { from: at, to: None }),
        }
        true
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pauses.last().is_some_and(|pause| pause.to.is_none())
    }

    pub(super) fn paused_spans(&self) -> Vec<PausedSpan> {
        self.pauses.iter().map(PausedSpan::from).collect()
    }

    /// Whether capture was paused at some time of the `span` before `at`.
    pub(super) fn was_paused(&self, at: WallTime, span: Duration) -> bool {
        self.pauses.iter().any(|pause| pause.from <= at && pause.to.is_none_or(|to| to + span >= at))
    }

    /// The conversation, by Vonage's id, in which a participant is to be heard; none is the
    /// one that the flow names.
    pub(super) fn elsewhere(&self, participant: Option<&LegId>) -> Option<&ConversationId> {
        let who = self.participants.iter().find(|who| Some(&who.id) == participant && who.joined)?;
        let named = self.flow.is_some() && (self.room.is_none() || who.vonage_conversation == self.room);
        who.vonage_conversation.as_ref().filter(|_| !named)
    }

    /// Whether a media leg is connected here that hears this leg, or that this leg brings.
    pub(super) fn is_connected(&self, who: &Participant) -> bool {
        let heard = if who.role.is_ours() { who.hears.as_ref() } else { Some(&who.id) };
        self.media.iter().any(|leg| leg.ended.is_none() && leg.participant.as_ref() == heard)
    }

    /// Whether anything is still to come that the record should hold.
    pub(super) fn is_missing_something(&self) -> bool {
        let recorded = self.flow.as_ref().is_some_and(|flow| flow.record)
            && self.people().any(Participant::answered)
            && self.recordings.is_empty();
        recorded
            || self.copying > 0
            || self.media.iter().any(|leg| !leg.over)
            || self.participants.iter().any(|participant| !participant.is_over())
    }

    /// `call.started.v1`, once its facts are there or something must be said without them.
    pub(super) fn start(&mut self, now: Now, at: WallTime, custom: Map<String, serde_json::Value>) -> Option<Event> {
        if std::mem::replace(&mut self.started, true) {
            return None;
        }
        let reveal = |text: &Option<Private<String>>| text.as_ref().map(|text| text.0.clone());
        let body = CallStarted {
            at: at.to_string(),
            direction: self.direction.clone(),
            from: reveal(&self.from),
            to: reveal(&self.to),
            endpoint: self.endpoint.clone(),
            flow: self.flow.as_ref().map(|flow| flow.name.to_string()),
            custom,
        };
        Some(self.write(now, Body::CallStarted(body)))
    }
}
