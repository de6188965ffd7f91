//! What the REST API asks for.
//!
//! Source: `vonage-voice.md` section 5. Shapes, rates and rights are checked by
//! [`rest`](crate::simulator::rest).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::connect::{LIMIT_S, RING_S, detection};
use super::leg::{Announcement, Command, EndBy, Hook, Leg, LegId, Recording};
use super::line::{Setup, Then};
use super::{Exchange, events, flow};
use crate::simulator::recording::{FRAMES_MAX, Tape};
use crate::simulator::socket::Outgoing;
use crate::simulator::voice::{Refusal, Voice};
use crate::types::rate::FRAME_MS;
use crate::vonage::ncco::{Method, Ncco};
use crate::vonage::rest_types::{
    Call, CallCommand, CallCreated, CallPage, Calls, CreateCall, Done, ListCalls, ModifyCall, PAGE_SIZE_MAX, Party,
    SendDtmf, StartRecording, StreamIntoCall, SubscribeDtmf, TalkIntoCall,
};
use crate::vonage::webhook::{Direction, Status, time};
use crate::vonage::wire::{Field, Num};

/// Calls on a page when nothing else is asked for.
const PAGE_SIZE: u32 = 10;
/// Longest call by REST, in s: SDKs of 2026 send up to a day.
const LENGTH_S: f64 = 86_400.0;
/// A pause among keys, `p`.
const PAUSE: Duration = Duration::from_millis(500);
/// From one key to the next.
const KEY_GAP: Duration = Duration::from_millis(250);

fn bad(reason: &str) -> Refusal {
    Refusal::BadRequest(reason.to_owned())
}

impl Exchange {
    /// A living leg.
    fn alive(&self, uuid: &str) -> Result<LegId, Refusal> {
        let world = self.world();
        let leg = world.legs.get(uuid).filter(|leg| leg.is_alive()).ok_or(Refusal::NotFound)?;
        Ok(Arc::clone(&leg.id))
    }

    fn show(&self, leg: &Leg) -> Call {
        let (from, to) = leg.sides();
        let mut call = Call {
            uuid: leg.id.to_string().into(),
            conversation_uuid: leg.conversation.clone().into(),
            to: Party::from_map(to).into(),
            from: Party::from_map(from).into(),
            status: leg.status.clone().into(),
            direction: if leg.outbound { Direction::Outbound } else { Direction::Inbound }.into(),
            start_time: leg.answered.map(|at| self.clock.stamp(at)).into(),
            end_time: leg.ended.map(|at| self.clock.stamp(at)).into(),
            links: json!({"self": {"href": format!("/v1/calls/{}", leg.id)}}).into(),
            ..Call::default()
        };
        let mut account = events::account(leg, self.clock.now());
        call.rate = Field::take(&mut account, "rate");
        call.price = Field::take(&mut account, "price");
        call.duration = Field::take(&mut account, "duration");
        call.network = Field::take(&mut account, "network");
        call
    }

    /// Goes on with another NCCO.
    fn transfer(self: &Arc<Self>, id: &LegId, ncco: Ncco) {
        self.of(id, |leg| leg.command(Command::Replace(ncco)));
    }

    fn right(
        &self,
        id: &LegId,
        change: impl FnOnce(&mut crate::simulator::mixer::Member<LegId>),
    ) -> Result<(), Refusal> {
        let mut world = self.world();
        let conversation = world.legs.get(id).map(|leg| leg.conversation.clone()).ok_or(Refusal::NotFound)?;
        let room = world.conversations.get_mut(&conversation).map(|conversation| &mut conversation.room);
        change(room.and_then(|room| room.member_mut(id)).ok_or_else(|| bad("the call is not answered"))?);
        Ok(())
    }

    fn play_into(self: &Arc<Self>, id: &LegId, announcement: Announcement) {
        // Nobody waits for it.
        drop(self.announce(id, announcement));
    }
}

fn done(message: &str, uuid: &str) -> Done {
    Done { message: message.into(), uuid: uuid.into(), ..Done::default() }
}

impl Voice for Exchange {
    fn create(self: &Arc<Self>, call: CreateCall) -> Result<CallCreated, Refusal> {
        let [endpoint] = call.to.get().map(Vec::as_slice).unwrap_or_default() else {
            return Err(bad("to must hold exactly one endpoint"));
        };
        let called = self.called(endpoint).map_err(bad)?;
        let then = match (call.ncco.get(), flow::first(&call.answer_url)) {
            (Some(ncco), None) => Then::Ncco(ncco.clone()),
            (None, Some(url)) => Then::Ask(Hook {
                url: url.to_owned(),
                method: call.answer_method.get().copied().unwrap_or(Method::Get),
            }),
            _ => return Err(bad("either ncco or answer_url must be there")),
        };
        let hook = match flow::first(&call.event_url) {
            Some(url) => Hook { url: url.to_owned(), method: call.event_method.get().copied().unwrap_or(Method::Post) },
            None => self.settings.event.clone(),
        };
        let from = call.from.get().and_then(|from| {
            let number = from.number.reveal().map(|number| number.text().into_owned());
            number.or_else(|| from.user.reveal().cloned()).or_else(|| from.uri.reveal().cloned())
        });
        let from = from.unwrap_or_else(|| crate::simulator::stage::APPLICATION_NUMBER.to_owned());
        let (id, commands) =
            self.open(Self::leg_for(&called, from, hook)).ok_or_else(|| bad("the simulator holds no more legs"))?;
        let setup = Setup {
            whom: called.whom,
            ring: flow::span(&call.ringing_timer, RING_S, 1.0..=120.0),
            limit: flow::span(&call.length_timer, LIMIT_S, 1.0..=LENGTH_S),
            detection: detection(&call.machine_detection, [&call.advanced_machine_detection, &Field::Absent]),
        };
        let conversation = self.of(&id, |leg| leg.conversation.clone()).unwrap_or_default();
        self.tasks.spawn(Arc::clone(self).outbound(Arc::clone(&id), commands, setup, then));
        Ok(CallCreated {
            uuid: id.to_string().into(),
            status: Status::Started.into(),
            direction: Direction::Outbound.into(),
            conversation_uuid: conversation.into(),
            ..CallCreated::default()
        })
    }

    fn list(&self, query: &ListCalls) -> CallPage {
        let world = self.world();
        let moment = |text: &Option<String>| text.as_ref().and_then(|text| time(&text.as_str().into()));
        let (since, until) = (moment(&query.date_start), moment(&query.date_end));
        let wanted = |leg: &&Leg| {
            let began = time(&self.clock.stamp(leg.created).as_str().into());
            query.status.as_ref().is_none_or(|status| leg.status == *status)
                && query.conversation_uuid.as_ref().is_none_or(|id| leg.conversation == *id)
                && since.is_none_or(|since| began.is_some_and(|began| began >= since))
                && until.is_none_or(|until| began.is_some_and(|began| began <= until))
        };
        let mut found: Vec<_> = world.order.iter().filter_map(|id| world.legs.get(id)).filter(wanted).collect();
        if query.descending == Some(true) {
            found.reverse();
        }
        let size = query.page_size.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX);
        let from = query.record_index.unwrap_or_default();
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let calls: Vec<_> = found.iter().skip(skip).take(size as usize).map(|leg| self.show(leg)).collect();
        CallPage {
            count: Num::from(found.len()).into(),
            page_size: Num::from(size).into(),
            record_index: Num::from(from).into(),
            links: json!({"self": {"href": "/v1/calls"}}).into(),
            embedded: Calls { calls: calls.into(), ..Calls::default() }.into(),
            ..CallPage::default()
        }
    }

    fn call(&self, uuid: &str) -> Option<Call> {
        self.world().legs.get(uuid).map(|leg| self.show(leg))
    }

    fn modify(self: &Arc<Self>, uuid: &str, command: ModifyCall) -> Result<(), Refusal> {
        let id = self.alive(uuid)?;
        match command.action.get().ok_or_else(|| bad("action is missing"))? {
            CallCommand::Hangup => {
                self.of(&id, |leg| leg.command(Command::End(EndBy::Platform)));
                Ok(())
            }
            CallCommand::Mute => self.right(&id, |member| member.mute = true),
            CallCommand::Unmute => self.right(&id, |member| member.mute = false),
            CallCommand::Earmuff => self.right(&id, |member| member.earmuff = true),
            CallCommand::Unearmuff => self.right(&id, |member| member.earmuff = false),
            CallCommand::Transfer => {
                let to = command.destination.get().ok_or_else(|| bad("destination is missing"))?;
                if let Some(ncco) = to.ncco.get() {
                    self.transfer(&id, ncco.clone());
                    return Ok(());
                }
                let url = flow::first(&to.url).ok_or_else(|| bad("destination.url is missing"))?;
                let hook = Hook { url: url.to_owned(), method: Method::Get };
                let exchange = Arc::clone(self);
                self.tasks.spawn(async move {
                    if let Some(ncco) = exchange.ask(&id, &hook).await {
                        exchange.transfer(&id, ncco);
                    }
                });
                Ok(())
            }
        }
    }

    fn stream(self: &Arc<Self>, uuid: &str, stream: Option<StreamIntoCall>) -> Result<Done, Refusal> {
        let id = self.alive(uuid)?;
        let Some(stream) = stream else {
            self.of_mut(&id, |leg| leg.announcement = None);
            return Ok(done("Stream stopped", uuid));
        };
        let exchange = Arc::clone(self);
        self.tasks.spawn(async move {
            let url = flow::first(&stream.stream_url).unwrap_or_default().to_owned();
            let file = exchange.file(&url, &stream.repeat).await;
            exchange.play_into(&id, file);
        });
        Ok(done("Stream started", uuid))
    }

    fn talk(self: &Arc<Self>, uuid: &str, talk: Option<TalkIntoCall>) -> Result<Done, Refusal> {
        let id = self.alive(uuid)?;
        let Some(talk) = talk else {
            self.of_mut(&id, |leg| leg.announcement = None);
            return Ok(done("Talk stopped", uuid));
        };
        let text = talk.text.get().map_or("", String::as_str);
        self.play_into(&id, flow::spoken(text, &talk.repeat, false));
        Ok(done("Talk started", uuid))
    }

    fn dtmf(self: &Arc<Self>, uuid: &str, keys: SendDtmf) -> Result<Done, Refusal> {
        let id = self.alive(uuid)?;
        let keys = keys.digits.reveal().cloned().ok_or_else(|| bad("digits are missing"))?;
        let exchange = Arc::clone(self);
        self.tasks.spawn(async move {
            for key in keys.chars() {
                if key == 'p' {
                    exchange.clock.sleep(PAUSE).await;
                    continue;
                }
                // Into a socket leg: its application is told. A person only hears tones.
                exchange.of_mut(&id, |leg| leg.text(Outgoing::dtmf(key, events::KEY_MS)));
                exchange.clock.sleep(KEY_GAP).await;
            }
        });
        Ok(done("DTMF sent", uuid))
    }

    fn subscribe_dtmf(&self, uuid: &str, subscribe: Option<SubscribeDtmf>) -> Result<(), Refusal> {
        let id = self.alive(uuid)?;
        let url = subscribe.as_ref().and_then(|subscribe| flow::first(&subscribe.event_url)).map(str::to_owned);
        self.of_mut(&id, |leg| leg.keypad.subscribed = url.map(|url| Hook { url, method: Method::Post }));
        Ok(())
    }

    fn record(self: &Arc<Self>, uuid: &str, start: StartRecording) -> Result<(), Refusal> {
        let id = self.alive(uuid)?;
        let hook = self.of(&id, |leg| leg.hook.clone()).ok_or(Refusal::NotFound)?;
        let recording = Recording {
            id: Self::fresh(),
            tape: Tape::new(start.split.get() == Some(&true)),
            began: self.clock.now(),
            hook,
            end_on_silence_ms: None,
            end_on_key: None,
            time_out_ms: FRAMES_MAX as u64 * FRAME_MS,
            over: None,
        };
        drop(Exchange::record(self, &id, recording));
        Ok(())
    }

    fn recording(&self, uuid: &str) -> Option<Bytes> {
        self.world().recording(uuid)
    }
}
