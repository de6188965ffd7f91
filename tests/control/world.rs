//! A Vonage with a true history: it makes legs, connects sockets, ends conversations, answers
//! polls truthfully, and tells of all this in webhooks that get lost, doubled and mixed up.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use sidetone::control::{Asked, Flow, Outcome, Role, Tag, Target};
use sidetone::types::{ConversationId, LegId, Moment, Speaker};

use crate::desk::{self, Desk, con, ended, leg, status_of, transfer_of, wall};

/// What may go wrong, and how often: shares of 100.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub calls: usize,
    /// Others who come into each call's conversation.
    pub strangers: usize,
    pub target: Kind,
    /// Webhooks that never come.
    pub lost: u64,
    /// Webhooks that come twice.
    pub doubled: u64,
    /// Longest delay of a webhook or reply, in ms.
    pub late_ms: u64,
    /// Creations, sockets and agents that fail.
    pub failing: u64,
    /// Creations refused as too many.
    pub limited: u64,
    /// Whether webhooks of legs that we made go to the application's URL, without a tag.
    pub untagged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Agent,
    Conversation,
    Socket,
    Outbound,
}

impl Plan {
    pub fn flow(&self) -> Flow {
        match self.target {
            Kind::Agent | Kind::Outbound => desk::to_agent(),
            Kind::Conversation => desk::flow(Target::Conversation("room".into())),
            Kind::Socket => desk::flow(Target::Socket),
        }
    }
}

/// A leg as it truly is.
#[derive(Debug)]
struct Leg {
    call: ConversationId,
    tag: Option<Tag>,
    to: &'static str,
    status: &'static str,
    /// Vonage's conversation that it is in now.
    place: String,
    media: Option<String>,
    hears: Option<LegId>,
    over: bool,
    joined_at: Option<Moment>,
}

#[derive(Debug, Clone)]
enum Event {
    Begin(usize),
    Webhook(Option<Tag>, Value),
    Made(Asked, String),
    Refused(Asked, &'static str),
    Limited(Asked, Option<Duration>),
    Status(String, &'static str),
    Join(String, String),
    Connect(String),
    Disconnect(String, &'static str),
    End(String, &'static str),
    Polled(ConversationId, LegId),
}

pub struct World {
    pub desk: Desk,
    plan: Plan,
    dice: u64,
    queue: BTreeMap<(Moment, u64), Event>,
    count: u64,
    legs: HashMap<String, Leg>,
    /// Sockets asked for, by call and whom they hear.
    pub asked: HashMap<(ConversationId, Option<LegId>), u32>,
    /// Creations and sockets of each that failed, were refused or got lost.
    pub failed: HashMap<(ConversationId, Option<LegId>), u32>,
    /// People that we can know of, and how long they were in a conversation.
    pub stayed: Vec<(ConversationId, LegId, Duration)>,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let desk = Desk::new(plan.flow());
        let mut world = Self {
            desk,
            dice: plan.seed,
            queue: BTreeMap::new(),
            count: 0,
            legs: HashMap::new(),
            asked: HashMap::new(),
            failed: HashMap::new(),
            stayed: Vec::new(),
            plan,
        };
        for n in 0..world.plan.calls {
            let at = world.up_to(20_000);
            world.after(at, Event::Begin(n));
        }
        world
    }

    /// Until nothing is left to happen and the centre has nothing left to do.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            match (next, self.desk.until) {
                (None, None) => return,
                (next, Some(until)) if next.is_none_or(|next| until <= next) => self.desk.wake(until),
                _ => {
                    let ((at, _), event) = self.queue.pop_first().unwrap();
                    self.desk.pass(at.since(self.desk.now));
                    self.happen(event);
                }
            }
            self.absorb();
        }
        panic!("it never comes to rest: {:?}", self.queue.values().next());
    }

    /// Legs that we made and that were never ended.
    pub fn left_behind(&self) -> Vec<&String> {
        self.legs.iter().filter(|(_, leg)| !leg.over).map(|(id, _)| id).collect()
    }

    // --- chance -----------------------------------------------------------

    fn up_to(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % (most + 1)
    }

    fn chance(&mut self, of_100: u64) -> bool {
        self.up_to(99) < of_100
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.desk.now + Duration::from_millis(ms), self.count), event);
    }

    /// Tells of something, perhaps.
    fn tell(&mut self, leg: &str, webhook: Value) {
        if self.chance(self.plan.lost) {
            return;
        }
        let tag = self.legs[leg].tag.clone().filter(|tag| !self.plan.untagged || tag.role == Role::Caller);
        for _ in 0..1 + u64::from(self.chance(self.plan.doubled)) {
            let late = self.up_to(self.plan.late_ms);
            self.after(late, Event::Webhook(tag.clone(), webhook.clone()));
        }
    }

    // --- what truly happens -----------------------------------------------

    fn person(&mut self, call: &ConversationId, id: &str, tag: Option<Tag>) {
        let leg = Leg {
            call: call.clone(),
            tag,
            to: "442079460000",
            status: "started",
            place: format!("CON-of-{id}"),
            media: None,
            hears: None,
            over: false,
            joined_at: None,
        };
        self.legs.insert(id.to_owned(), leg);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin(n) if self.plan.target == Kind::Outbound => {
                let flow = self.plan.flow();
                self.desk.dial(flow).unwrap();
                let _ = n;
            }
            Event::Begin(n) => {
                let (id, call) = (format!("caller-{n}"), con(&format!("CON-of-caller-{n}")));
                self.person(&call, &id, None);
                let early = self.chance(10);
                if early {
                    self.status(&id, "started");
                }
                self.desk.answer(&id, call.as_str());
                self.status(&id, "answered");
                self.caller_goes_on(&call, &id, n);
            }
            Event::Webhook(tag, webhook) => {
                // One of a call that was never followed is none of ours.
                let _ = self.desk.hear(tag.as_ref(), &webhook);
            }
            Event::Made(asked, id) => self.desk.made(&asked, &id),
            Event::Refused(asked, reason) => self.desk.reply(&asked, Outcome::Failed(reason)),
            Event::Limited(asked, after) => self.desk.reply(&asked, Outcome::Limited(after)),
            Event::Status(id, status) => {
                if !self.legs[&id].over {
                    self.status(&id, status);
                }
            }
            Event::Join(id, place) => {
                let now = self.desk.now;
                let Some(leg) = self.legs.get_mut(&id).filter(|leg| !leg.over) else { return };
                let from = std::mem::replace(&mut leg.place, place.clone());
                leg.joined_at.get_or_insert(now);
                self.tell(&id, transfer_of(&id, &from, &place, now));
            }
            Event::Connect(id) => {
                let media = format!("media-{id}");
                let Some(leg) = self.legs.get_mut(&id).filter(|leg| !leg.over) else { return };
                leg.media = Some(media.clone());
                let (call, hears) = (leg.call.clone(), leg.hears.clone());
                let speaker = if hears.is_some() { Speaker::Caller } else { Speaker::Mixed };
                self.desk.connect_as(&call, &media, &speaker, hears.as_ref());
            }
            Event::Disconnect(id, reason) => self.disconnect(&id, reason),
            Event::End(id, status) => self.end(&id, status),
            Event::Polled(call, id) => self.polled(&call, &id),
        }
    }

    fn status(&mut self, id: &str, status: &'static str) {
        let leg = self.legs.get_mut(id).unwrap();
        leg.status = status;
        let mut webhook = status_of(id, &leg.place, status, self.desk.now);
        webhook["to"] = leg.to.into();
        if leg.tag.is_some() {
            webhook["direction"] = "outbound".into();
        }
        self.tell(id, webhook);
    }

    /// The caller goes into the conversation, or to the socket, and leaves some time.
    fn caller_goes_on(&mut self, call: &ConversationId, id: &str, n: usize) {
        let stays = 2_000 + self.up_to(300_000);
        if self.plan.target == Kind::Socket {
            let ws = format!("flow-ws-{n}");
            self.person(call, &ws, Some(Tag { call: call.clone(), role: Role::Listener, hears: None }));
            let fails = self.chance(self.plan.failing);
            let socket = self.legs.get_mut(&ws).unwrap();
            (socket.to, socket.hears) = ("wss://gw.example/media", Some(leg(id)));
            if fails {
                self.after(3_000, Event::End(ws, "failed"));
            } else {
                self.after(3_000, Event::Connect(ws.clone()));
                self.after(3_100, Event::Status(ws, "answered"));
            }
        } else {
            let room = self.room(call);
            let enters = 500 + self.up_to(3_000);
            self.after(enters, Event::Join(id.to_owned(), room.clone()));
            for k in 0..self.plan.strangers {
                let other = format!("other-{n}-{k}");
                self.person(call, &other, None);
                let enters = enters + self.up_to(60_000);
                let leaves = enters + self.up_to(200_000);
                self.after(enters, Event::Join(other.clone(), room.clone()));
                if self.chance(20) {
                    let moves = enters + self.up_to(30_000);
                    self.after(moves, Event::Join(other.clone(), format!("CON-elsewhere-{n}")));
                }
                self.after(leaves, Event::End(other, "completed"));
            }
        }
        self.after(stays, Event::End(id.to_owned(), "completed"));
    }

    /// The conversation that a call's flow names, which calls share where it names one for all.
    fn room(&self, call: &ConversationId) -> String {
        if self.plan.target == Kind::Conversation { "CON-room".to_owned() } else { format!("CON-room-of-{call}") }
    }

    fn disconnect(&mut self, id: &str, reason: &'static str) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (call, hears) = (leg.call.clone(), leg.hears.clone());
        if let Some(media) = leg.media.take() {
            if reason != "hangup" {
                *self.failed.entry((call.clone(), hears)).or_default() += 1;
            }
            let now = self.desk.now();
            self.desk.centre.media_ended(now, &call, &crate::desk::leg(&media), Some(&ended(reason, true)));
            self.desk.pass(Duration::ZERO);
            self.desk.wake(self.desk.now);
        }
        if reason != "hangup" {
            self.after(50, Event::End(id.to_owned(), "completed"));
        }
    }

    fn end(&mut self, id: &str, status: &'static str) {
        let now = self.desk.now;
        let Some(leg) = self.legs.get_mut(id).filter(|leg| !leg.over) else { return };
        leg.over = true;
        let (call, place, role) = (leg.call.clone(), leg.place.clone(), leg.tag.as_ref().map(|tag| tag.role.clone()));
        if let Some(joined) = leg.joined_at.filter(|_| role.as_ref().is_none_or(|role| !role.is_ours())) {
            self.stayed.push((call.clone(), crate::desk::leg(id), now.since(joined)));
        }
        let delay = self.up_to(300);
        self.after(delay, Event::Disconnect(id.to_owned(), "hangup"));
        self.status(id, status);
        if status == "failed" || status == "busy" {
            self.status(id, "completed");
        }
        let caller = role == Some(Role::Caller) || id.starts_with("caller");
        let ends_all = (caller && self.plan.target == Kind::Socket)
            || (matches!(self.plan.target, Kind::Agent | Kind::Outbound)
                && (caller || role == Some(Role::Agent))
                && place.starts_with("CON-room"));
        if ends_all {
            let others = self.legs.iter().filter(|(_, leg)| !leg.over && leg.call == call);
            let others = others.filter(|(_, leg)| leg.place == place || self.plan.target == Kind::Socket);
            let mut others: Vec<_> = others.map(|(id, _)| id.clone()).collect();
            others.sort();
            for other in others {
                self.end(&other, "completed");
            }
        }
    }

    fn polled(&mut self, call: &ConversationId, id: &LegId) {
        if self.chance(10) {
            return self.desk.found(call.as_str(), id.as_str(), Outcome::Failed("timeout"));
        }
        let Some(leg) = self.legs.get(id.as_str()) else {
            return self.desk.found(call.as_str(), id.as_str(), Outcome::Gone);
        };
        let kind = if leg.to.starts_with("wss") { "websocket" } else { "phone" };
        let mut found = json!({"uuid": id.as_str(), "status": leg.status, "conversation_uuid": leg.place,
            "to": {"type": kind}});
        if leg.over {
            found["end_time"] = wall(self.desk.now).to_string().into();
        }
        self.desk.found(call.as_str(), id.as_str(), Outcome::Done(found));
    }

    // --- what the centre asks for -----------------------------------------

    fn absorb(&mut self) {
        while let Some(create) = self.desk.creates.pop_front() {
            self.create(&create.asked);
        }
        for id in std::mem::take(&mut self.desk.hang_ups) {
            self.after(300, Event::End(id.to_string(), "completed"));
        }
        for (id, _) in std::mem::take(&mut self.desk.transfers) {
            if let Some(leg) = self.legs.get_mut(id.as_str()) {
                leg.place = format!("CON-told-{id}");
            }
            self.after(3_000, Event::End(id.to_string(), "completed"));
        }
        // The gateway closes what is connected of a call that is over, each time it is told.
        let forgotten = std::mem::take(&mut self.desk.forgotten);
        let sockets = self.legs.iter().filter(|(_, leg)| leg.media.is_some() && forgotten.contains(&leg.call));
        let mut sockets: Vec<_> = sockets.map(|(id, _)| id.clone()).collect();
        sockets.sort();
        for id in sockets {
            self.disconnect(&id, "drained");
        }
        while let Some((call, id)) = self.desk.polls.pop_front() {
            self.after(200, Event::Polled(call, id));
        }
    }

    fn create(&mut self, asked: &Asked) {
        let key = (asked.call.clone(), asked.hears.clone());
        let reply_in = 50 + self.up_to(2_000);
        let ours = asked.role.is_ours();
        if ours {
            *self.asked.entry(key.clone()).or_default() += 1;
        }
        if self.chance(self.plan.limited) {
            *self.failed.entry(key).or_default() += 1;
            let after = self.chance(50).then(|| Duration::from_secs(1));
            return self.after(reply_in, Event::Limited(asked.clone(), after));
        }
        let fails = self.chance(self.plan.failing);
        if fails {
            *self.failed.entry(key.clone()).or_default() += 1;
        }
        // Half of the creations that fail failed only in their reply. Without a tag nobody
        // could know of the leg, so then they all do.
        if fails && (self.plan.untagged || self.chance(50)) {
            return self.after(reply_in, Event::Refused(asked.clone(), "refused"));
        }
        self.count += 1;
        let id = format!("made-{}", self.count);
        self.person(&asked.call, &id, Some(asked.clone()));
        self.after(
            reply_in,
            match fails {
                true => Event::Refused(asked.clone(), "timeout"),
                false => Event::Made(asked.clone(), id.clone()),
            },
        );
        let room = self.room(&asked.call);
        if ours {
            let socket = self.legs.get_mut(&id).unwrap();
            (socket.to, socket.hears) = ("wss://gw.example/media", asked.hears.clone());
            if self.chance(self.plan.failing) {
                *self.failed.entry(key).or_default() += 1;
                return self.after(700, Event::End(id, "failed"));
            }
            let up = 100 + self.up_to(3_000);
            self.after(up, Event::Connect(id.clone()));
            self.after(up, Event::Status(id.clone(), "answered"));
            self.after(up + 10, Event::Join(id.clone(), room));
            if self.chance(self.plan.failing) {
                let lost = up + self.up_to(100_000);
                self.after(lost, Event::Disconnect(id, "connection_lost"));
            }
            return;
        }
        self.after(100, Event::Status(id.clone(), "ringing"));
        let picks_up = 1_000 + self.up_to(20_000);
        if self.chance(self.plan.failing) {
            return self.after(picks_up, Event::End(id, "busy"));
        }
        self.after(picks_up, Event::Status(id.clone(), "answered"));
        if asked.role == Role::Caller {
            self.after(picks_up + 1_000, Event::Join(id.clone(), room));
            let stays = picks_up + 2_000 + self.up_to(300_000);
            self.after(stays, Event::End(id, "completed"));
        } else {
            self.after(picks_up + 100, Event::Join(id.clone(), room));
            let stays = picks_up + self.up_to(300_000);
            self.after(stays, Event::End(id, "completed"));
        }
    }
}
