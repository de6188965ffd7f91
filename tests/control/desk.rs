//! A centre on a virtual clock, with all that it said and asked for, checked as it comes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sidetone::control::{
    Asked, Centre, Flow, Keep, Limits, Listen, MediaPass, Now, Outcome, Output, Request, Role, Settings, Tag, Target,
    UnknownCall,
};
use sidetone::event::body::{Characteristics, LedgerAccount, LegEnded};
use sidetone::event::call::{CallRecord, RecordingCopy};
use sidetone::event::{Body, Event, schema};
use sidetone::redact::Policy;
use sidetone::types::{ConversationId, LegId, Moment, Private, Rate, RedactionTerms, Speaker, WallTime};
use sidetone::vonage::media_token::MediaKeys;
use sidetone::vonage::ncco::{Endpoint, Ncco, Phone};
use sidetone::vonage::rest_types::{self, CallCreated, CreateCall};
use sidetone::vonage::webhook::{parse_answer, parse_event};
use sidetone::vonage::wire::Wire as _;

/// 2026-11-24T09:00:00Z, a Tuesday.
pub const EPOCH: i64 = 1_795_510_800_000_000;
/// The caller's leg and conversation in scripts of one call.
pub const CALLER: &str = "leg-caller";
pub const CON: &str = "CON-1";
/// How far Vonage's clock and ours may differ for recordings.
pub const GUARD: Duration = Duration::from_secs(2);
/// Vonage's id of the named conversation that all enter.
pub const ROOM: &str = "CON-room";

pub fn leg(id: &str) -> LegId {
    LegId::parse(id).unwrap()
}

pub fn con(id: &str) -> ConversationId {
    ConversationId::parse(id).unwrap()
}

pub fn phone(number: &str) -> Endpoint {
    Phone { number: number.into(), ..Default::default() }.into()
}

pub fn flow(target: Target) -> Flow {
    Flow {
        name: "desk".into(),
        called: Vec::new(),
        caller: Vec::new(),
        hours: None,
        greeting: Some("Good day.".into()),
        consent: None,
        language: None,
        record: false,
        target,
        listen: Listen::Separate,
        redaction: RedactionTerms::default(),
        from: None,
        ring_s: 30,
        unreached: "Nobody can take your call now.".into(),
        hold_music: None,
    }
}

pub fn to_agent() -> Flow {
    flow(Target::Agent(Box::new(phone("447700900999"))))
}

/// A leg to be made, as asked for.
#[derive(Debug)]
pub struct Create {
    pub asked: Asked,
    pub call: CreateCall,
}

pub struct Desk {
    pub centre: Centre,
    pub now: Moment,
    /// Every event, in the order published.
    pub events: Vec<Event>,
    /// Legs asked for and not taken by the test.
    pub creates: VecDeque<Create>,
    pub hang_ups: Vec<LegId>,
    pub transfers: Vec<(LegId, Ncco)>,
    pub polls: VecDeque<(ConversationId, LegId)>,
    pub forgotten: Vec<ConversationId>,
    /// Recordings to be kept.
    pub keeps: Vec<Keep>,
    /// All outputs as text, to compare two runs.
    pub log: Vec<String>,
    pub until: Option<Moment>,
    /// Whether what is said of our own sockets can be relied upon.
    pub trusting: bool,
    created_at: Vec<Moment>,
    /// Legs made for our own sockets.
    sockets: HashSet<LegId>,
    seqs: HashMap<LegId, u64>,
    records: HashMap<LegId, usize>,
}

impl Desk {
    pub fn new(flow: Flow) -> Self {
        Self::with([flow], |_| {})
    }

    pub fn with(flows: impl IntoIterator<Item = Flow>, change: impl FnOnce(&mut Limits)) -> Self {
        Self::of(flows, true, change)
    }

    pub fn of(flows: impl IntoIterator<Item = Flow>, has_api: bool, change: impl FnOnce(&mut Limits)) -> Self {
        Self::build(flows, has_api, None, change)
    }

    /// Copies of recordings are kept.
    pub fn keeping(flow: Flow, change: impl FnOnce(&mut Limits)) -> Self {
        Self::build([flow], true, Some(GUARD), change)
    }

    fn build(
        flows: impl IntoIterator<Item = Flow>,
        has_api: bool,
        recordings: Option<Duration>,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let pass = MediaPass {
            url: "wss://gw.example/media".into(),
            rate: Rate::Hz16000,
            keys: MediaKeys::new(vec![Private(vec![7; 32])]).unwrap(),
            lifetime: Duration::from_secs(600),
        };
        let settings = Settings {
            flows: flows.into_iter().map(Arc::new).collect(),
            public_url: "https://gw.example".into(),
            pass,
            source: "/sidetone/test".into(),
            has_api,
            recordings,
            redaction: Policy::default(),
            limits,
        };
        let mut given = 0;
        let ids = move || {
            given += 1;
            leg(&format!("id-{given}"))
        };
        Self {
            centre: Centre::new(Arc::new(settings), Box::new(ids)),
            now: Moment::from_ms(1_000),
            events: Vec::new(),
            creates: VecDeque::new(),
            hang_ups: Vec::new(),
            transfers: Vec::new(),
            polls: VecDeque::new(),
            forgotten: Vec::new(),
            keeps: Vec::new(),
            log: Vec::new(),
            until: None,
            trusting: true,
            created_at: Vec::new(),
            sockets: HashSet::new(),
            seqs: HashMap::new(),
            records: HashMap::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now { mono: self.now, wall: wall(self.now) }
    }

    // --- time -------------------------------------------------------------

    /// Lets time pass, waking the centre whenever it asked for it.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.until.filter(|at| *at <= end) {
            self.wake(at);
        }
        self.now = end;
    }

    pub fn pass_s(&mut self, s: u64) {
        self.pass(Duration::from_secs(s));
    }

    /// Wakes the centre at a moment that it asked for. There is always progress.
    pub fn wake(&mut self, at: Moment) {
        self.now = self.now.max(at);
        let now = self.now();
        self.centre.on_time(now);
        self.drain();
        assert!(self.until.is_none_or(|until| until > self.now), "woken at {at:?}, it wants to be woken again at once");
    }

    fn drain(&mut self) {
        loop {
            let output = self.centre.poll();
            if let Output::Idle { until } = output {
                self.until = until;
                return;
            }
            self.log.push(match &output {
                Output::Emit(event) => String::from_utf8(event.to_structured()).unwrap(),
                Output::Ask(Request::Create { asked, call }) => format!("{asked:?} {}", (**call).to_wire()),
                other => format!("{other:?}"),
            });
            match output {
                Output::Emit(event) => self.check(event),
                Output::Forget(call) => self.forgotten.push(call),
                Output::Ask(Request::Create { asked, call }) => self.check_create(asked, *call),
                Output::Ask(Request::HangUp { leg, .. }) => self.hang_ups.push(leg),
                Output::Ask(Request::Transfer { leg, ncco, .. }) => self.transfers.push((leg, ncco)),
                Output::Ask(Request::Poll { call, leg, .. }) => self.polls.push_back((call, leg)),
                Output::Keep(keep) => self.keeps.push(*keep),
                Output::Idle { .. } => {}
            }
        }
    }

    /// What every event promises: its schema, a number without a gap, one record.
    fn check(&mut self, event: Event) {
        static SCHEMAS: LazyLock<HashMap<&str, jsonschema::Validator>> = LazyLock::new(|| {
            let all = schema::all().into_iter();
            all.map(|known| (known.kind, jsonschema::validator_for(&known.schema).unwrap())).collect()
        });
        let value = serde_json::from_slice(&event.value()).unwrap();
        let errors: Vec<_> = SCHEMAS[event.body.kind()].iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", event.body.kind());
        let seq = self.seqs.entry(event.origin.leg.clone()).or_default();
        *seq += 1;
        assert_eq!(event.seq, *seq, "a gap in {}", event.origin.leg);
        assert_eq!(
            event.seq == 1,
            matches!(event.body, Body::CallStarted(_)),
            "call.started comes first, and once: {} is {}",
            event.seq,
            event.body.kind()
        );
        if matches!(event.body, Body::CallRecord(_)) {
            let records = self.records.entry(event.origin.leg.clone()).or_default();
            *records += 1;
            assert_eq!(*records, 1, "a second record of {}", event.origin.conversation);
        }
        self.events.push(event);
    }

    /// No more than three a second, and no listener for a listener.
    fn check_create(&mut self, asked: Asked, call: CreateCall) {
        self.created_at.push(self.now);
        let recent =
            self.created_at.iter().rev().take_while(|at| self.now.since(**at) < Duration::from_secs(1)).count();
        assert!(recent <= 3, "{recent} legs asked for within a second");
        if let Some(hears) = &asked.hears {
            assert!(
                !self.trusting || !self.sockets.contains(hears),
                "{hears} is one of our sockets, and is to be listened to"
            );
        }
        self.creates.push_back(Create { asked, call });
    }

    // --- what comes in ----------------------------------------------------

    pub fn answer(&mut self, leg: &str, con: &str) -> Bytes {
        self.answer_if(leg, con, true)
    }

    pub fn answer_if(&mut self, leg: &str, con: &str, room: bool) -> Bytes {
        let webhook = json!({"to": "442079460000", "from": "447700900000", "uuid": leg, "conversation_uuid": con,
            "endpoint_type": "phone", "region_url": "https://api-eu-3.vonage.com"});
        let webhook = parse_answer(webhook.to_string().as_bytes()).unwrap();
        let now = self.now();
        let reply = self.centre.answer(now, &webhook, |_| room);
        self.drain();
        reply
    }

    pub fn hear(&mut self, tag: Option<&Tag>, webhook: &Value) -> Result<Option<Ncco>, UnknownCall> {
        let event = parse_event(webhook.to_string().as_bytes()).unwrap();
        let now = self.now();
        let reply = self.centre.event(now, tag, &event);
        self.drain();
        reply
    }

    /// A status of the leg of a script's one call.
    pub fn status(&mut self, tag: Option<&Tag>, leg: &str, con: &str, status: &str) -> Option<Ncco> {
        let webhook = status_of(leg, con, status, self.now);
        self.hear(tag, &webhook).unwrap()
    }

    /// A leg enters a conversation.
    pub fn transfer(&mut self, tag: Option<&Tag>, leg: &str, from: &str, to: &str) {
        let webhook = transfer_of(leg, from, to, self.now);
        self.hear(tag, &webhook).unwrap();
    }

    /// Somebody comes into the conversation whom the API says to be at a telephone.
    pub fn stranger(&mut self, id: &str) {
        self.transfer(None, id, &format!("CON-of-{id}"), ROOM);
        let asked = self.polls.iter().position(|(_, leg)| leg.as_str() == id);
        if let Some((call, _)) = asked.and_then(|at| self.polls.remove(at)) {
            let found = json!({"status": "answered", "to": {"type": "phone"}, "conversation_uuid": ROOM});
            self.found(call.as_str(), id, Outcome::Done(found));
        }
    }

    /// The next leg asked for.
    pub fn create(&mut self) -> Create {
        self.creates.pop_front().expect("a leg was to be asked for")
    }

    pub fn reply(&mut self, asked: &Asked, outcome: Outcome<CallCreated>) {
        if let (Outcome::Done(made), true) = (&outcome, asked.role.is_ours()) {
            self.sockets.extend(made.uuid.get().map(|id| leg(id)));
        }
        let now = self.now();
        self.centre.created(now, asked, outcome);
        self.drain();
    }

    pub fn made(&mut self, asked: &Asked, uuid: &str) {
        self.sockets.extend(asked.role.is_ours().then(|| leg(uuid)));
        self.reply(asked, Outcome::Done(made(uuid)));
    }

    pub fn connect(&mut self, call: &str, media: &str, hears: Option<&str>) {
        let hears = hears.map(leg);
        let speaker = if hears.is_some() { Speaker::Caller } else { Speaker::Mixed };
        self.connect_as(&con(call), media, &speaker, hears.as_ref());
    }

    pub fn connect_as(&mut self, call: &ConversationId, media: &str, speaker: &Speaker, hears: Option<&LegId>) {
        let now = self.now();
        self.centre.media_connected(now, call, &leg(media), speaker, hears);
        self.drain();
    }

    pub fn end(&mut self, call: &str, media: &str, reason: &str) {
        let now = self.now();
        self.centre.media_ended(now, &con(call), &leg(media), Some(&ended(reason, true)));
        self.drain();
    }

    pub fn found(&mut self, call: &str, id: &str, outcome: Outcome<Value>) {
        let outcome = match outcome {
            Outcome::Done(value) => Outcome::Done(Box::new(rest_types::Call::from_wire(value).unwrap())),
            Outcome::Gone => Outcome::Gone,
            Outcome::Limited(after) => Outcome::Limited(after),
            Outcome::Failed(reason) => Outcome::Failed(reason),
        };
        let now = self.now();
        self.centre.polled(now, &con(call), &leg(id), outcome);
        self.drain();
    }

    pub fn pause(&mut self, call: &str, paused: bool) -> Result<bool, UnknownCall> {
        let now = self.now();
        let reply = self.centre.set_paused(now, &con(call), paused, None);
        self.drain();
        reply
    }

    /// What became of a copy is told.
    pub fn copied(&mut self, keep: &Keep, copy: RecordingCopy) -> bool {
        let now = self.now();
        let told = self.centre.copied(now, &keep.call, &keep.url, copy);
        self.drain();
        told
    }

    pub fn dial(&mut self, flow: Flow) -> Result<ConversationId, &'static str> {
        let now = self.now();
        let reply = self.centre.dial(now, &Arc::new(flow), &phone("447700900123"), Some("442079460000"));
        self.drain();
        reply
    }

    // --- longer stretches -------------------------------------------------

    /// The caller is in the conversation, and heard on a socket `ws-leg-caller`, `media-leg-caller`.
    pub fn caller_in(&mut self) {
        self.answer(CALLER, CON);
        self.status(None, CALLER, CON, "answered");
        self.transfer(None, CALLER, CON, ROOM);
        let at = self.creates.iter().position(|create| create.asked.hears == Some(leg(CALLER)));
        if let Some(create) = at.and_then(|at| self.creates.remove(at)) {
            self.heard(&create);
        }
    }

    /// A listener is made, joins and connects.
    pub fn heard(&mut self, create: &Create) {
        let whom = create.asked.hears.as_ref().map_or("all".to_owned(), ToString::to_string);
        let (ws, call) = (format!("ws-{whom}"), create.asked.call.to_string());
        self.made(&create.asked, &ws);
        let speaker = whom_speaker(create);
        self.connect_as(&con(&call), &format!("media-{whom}"), &speaker, create.asked.hears.as_ref());
        self.status(Some(&create.asked), &ws, ROOM, "answered");
        self.transfer(Some(&create.asked), &ws, "CON-ws", ROOM);
    }

    /// The agent, rung before, is in the conversation and heard. Gives its tag.
    pub fn agent_in(&mut self) -> Tag {
        let create = self.create();
        assert_eq!(create.asked.role, Role::Agent);
        self.made(&create.asked, "leg-agent");
        self.status(Some(&create.asked), "leg-agent", "CON-a", "answered");
        self.transfer(Some(&create.asked), "leg-agent", "CON-a", ROOM);
        self.pass_s(1);
        let listener = self.create();
        self.heard(&listener);
        create.asked
    }

    // --- what came out ----------------------------------------------------

    pub fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.body.kind().trim_start_matches("call.").trim_end_matches(".v1")).collect()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|known| **known == kind).count()
    }

    pub fn records(&self) -> Vec<&CallRecord> {
        let bodies = self.events.iter().map(|event| &event.body);
        bodies.filter_map(|body| if let Body::CallRecord(record) = body { Some(&**record) } else { None }).collect()
    }

    pub fn record(&self) -> &CallRecord {
        let records = self.records();
        assert_eq!(records.len(), 1, "{:?}", self.kinds());
        records[0]
    }

    /// What was said of listening: whom, state, reason.
    pub fn listening(&self) -> Vec<String> {
        let said = |event: &Event| match &event.body {
            Body::CallListening(said) => {
                Some(format!("{} {:?} {}", said.role, said.state, said.reason.as_deref().unwrap_or("-")))
            }
            _ => None,
        };
        self.events.iter().filter_map(said).collect()
    }

    /// Nothing is kept of calls that are over.
    pub fn assert_forgotten(&self) {
        let held = self.centre.footprint();
        assert_eq!(held, sidetone::control::Footprint::default());
    }
}

fn whom_speaker(create: &Create) -> Speaker {
    match &create.asked.hears {
        None => Speaker::Mixed,
        Some(whom) if whom.as_str() == CALLER => Speaker::Caller,
        Some(_) => Speaker::Agent,
    }
}

pub fn wall(at: Moment) -> WallTime {
    WallTime(EPOCH) + at.since(Moment::default())
}

pub fn made(uuid: &str) -> CallCreated {
    let reply = json!({"uuid": uuid, "status": "started", "direction": "outbound", "conversation_uuid": format!("CON-of-{uuid}")});
    CallCreated::from_wire(reply).unwrap()
}

pub fn status_of(leg: &str, con: &str, status: &str, at: Moment) -> Value {
    let at = wall(at).to_string();
    let mut webhook = json!({"from": "447700900000", "to": "442079460000", "uuid": leg, "conversation_uuid": con,
        "status": status, "direction": "inbound", "timestamp": at});
    if status == "completed" {
        webhook["end_time"] = at.into();
        webhook["price"] = "0.25".into();
        webhook["duration"] = "12".into();
        webhook["disconnected_by"] = "user".into();
    }
    webhook
}

pub fn transfer_of(leg: &str, from: &str, to: &str, at: Moment) -> Value {
    json!({"type": "transfer", "uuid": leg, "conversation_uuid_from": from, "conversation_uuid_to": to,
        "timestamp": wall(at).to_string()})
}

pub fn ended(reason: &str, complete: bool) -> LegEnded {
    let ledger = LedgerAccount {
        rate_hz: 16_000,
        received: 320,
        transcribed: 0,
        silent: 320,
        paused: 0,
        dropped: Default::default(),
    };
    let characteristics = Characteristics {
        audio_ms: 20,
        speech_ms: 0,
        gap_ms: 0,
        segments: 0,
        finals: 0,
        dropped: 0,
        partials_shed: 0,
        words: 0,
        words_per_minute: None,
        speech_dbfs: None,
        dtmf: 0,
    };
    LegEnded { reason: reason.into(), complete, end_ms: 20, ledger, characteristics, sentiment: None }
}
