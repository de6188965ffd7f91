//! What is done to legs from anywhere: webhooks posted, keys pressed, conversations
//! entered, recordings kept, legs ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::leg::{Announcement, Command, EndBy, Heard, Hook, Leg, LegId, Recording, Source};
use super::world::Deeds;
use super::{Exchange, events};
use crate::simulator::mixer::{Full, Member};
use crate::types::rate::PIPELINE_HZ;
use crate::vonage::ncco::Ncco;
use crate::vonage::webhook::Status;
use crate::vonage::wire::Map;

/// The reply to a webhook, once it is there.
pub(super) type Reply = JoinHandle<Option<Ncco>>;

/// How a leg sits in a conversation.
pub(super) struct Seat {
    pub(super) member: Member<LegId>,
    pub(super) starts: bool,
    pub(super) ends: bool,
}

impl Exchange {
    /// Sends an event. Its place in the leg's order is taken at once.
    pub(super) fn post(&self, hook: &Hook, body: Map) -> Reply {
        let Ok(place) = Arc::clone(&self.posts).try_acquire_owned() else {
            self.posts_lost.fetch_add(1, Ordering::Relaxed);
            return self.tasks.spawn(async { None });
        };
        let sent = self.sender.event(&hook.url, hook.method, body);
        self.tasks.spawn(async move {
            let reply = sent.await;
            drop(place);
            reply
        })
    }

    /// A leg changes its state; `more` are the fields of that state alone.
    pub(super) fn status(&self, id: &LegId, status: Status, more: Map) -> Option<Reply> {
        let mut world = self.world();
        let leg = world.legs.get_mut(id)?;
        leg.statuses.push(status.clone());
        let body = events::status(leg, &status, self.stamp(), more);
        leg.status = status;
        Some(self.post(&leg.hook.clone(), body))
    }

    /// The platform cannot do what the NCCO says.
    pub(super) fn error(&self, id: &LegId, reason: &str) {
        if let Some(leg) = self.world().legs.get_mut(id) {
            leg.problem(reason.to_owned());
            self.post(&leg.hook, events::error(leg, reason, self.stamp()));
        }
    }

    /// Something for the report.
    pub(super) fn problem(&self, id: &LegId, text: String) {
        if let Some(leg) = self.world().legs.get_mut(id) {
            leg.problem(text);
        }
    }

    /// A leg is answered: it has a voice and ears, and sits in its conversation.
    pub(super) fn answered(&self, id: &LegId, source: Source) {
        let heard = self.heard_file(id);
        let mut world = self.world();
        let Some(leg) = world.legs.get_mut(id) else { return };
        leg.answered = Some(self.clock.now());
        leg.source = source;
        match heard {
            Some(Ok(file)) => leg.heard = Some(file),
            Some(Err(error)) => leg.problem(format!("what is heard cannot be written: {error}")),
            None => {}
        }
        let conversation = leg.conversation.clone();
        drop(world);
        // The status first: a transfer must not come before it.
        self.status(id, Status::Answered, events::answered());
        let seated = self.world().join(&conversation, Member::new(Arc::clone(id)), true, false);
        if let Err(full) = seated {
            self.error(id, &full.to_string());
        }
    }

    fn heard_file(&self, id: &LegId) -> Option<Result<Heard, hound::Error>> {
        let folder = self.settings.heard.as_ref()?;
        let role =
            self.world().legs.get(id).map(|leg| if leg.caller { "caller" } else { leg.kind.as_str() }.to_owned())?;
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: PIPELINE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        Some(hound::WavWriter::create(folder.join(format!("{role}-{id}.wav")), spec))
    }

    /// Moves a leg into a conversation, and tells of it where it was in another.
    pub(super) fn enter(&self, conversation: &str, seat: Seat) -> Result<(), Full> {
        let mut world = self.world();
        let id = Arc::clone(&seat.member.leg);
        let from = world.legs.get(&id).map(|leg| leg.conversation.clone()).unwrap_or_default();
        if world.join(conversation, seat.member, seat.starts, seat.ends)?
            && let Some(leg) = world.legs.get(&id)
        {
            self.post(&leg.hook, events::transfer(leg, &from, self.stamp()));
        }
        Ok(())
    }

    /// Back to the conversation it was created in, for another NCCO.
    pub(super) fn go_home(&self, id: &LegId) {
        let home = self.world().legs.get(id).map(|leg| leg.home.clone());
        if let Some(home) = home {
            let seat = Seat { member: Member::new(Arc::clone(id)), starts: true, ends: false };
            if let Err(full) = self.enter(&home, seat) {
                self.error(id, &full.to_string());
            }
        }
    }

    /// Parts a leg from the flow that connected it, into a conversation of its own.
    pub(super) fn release(&self, id: &LegId) {
        self.world().give_home(id, format!("CON-{}", Self::fresh()));
        self.go_home(id);
        self.of(id, |leg| leg.bridge.cancel());
    }

    /// Plays something to a leg, instead of what plays now. The receiver ends with it.
    pub(super) fn announce(&self, id: &LegId, mut announcement: Announcement) -> oneshot::Receiver<()> {
        let (over, ended) = oneshot::channel();
        announcement.over = Some(over);
        if let Some(leg) = self.world().legs.get_mut(id) {
            leg.announcement = Some(announcement);
        }
        ended
    }

    /// Starts a recording. The receiver ends with it.
    pub(super) fn record(&self, id: &LegId, mut recording: Recording) -> oneshot::Receiver<()> {
        let (over, ended) = oneshot::channel();
        recording.over = Some(over);
        if let Some(leg) = self.world().legs.get_mut(id) {
            leg.recordings.push(recording);
        }
        ended
    }

    /// Keeps a recording that is over, and tells of it.
    pub(super) fn recorded(&self, id: &LegId, recording: Recording) {
        let file = recording.tape.wav();
        let mut world = self.world();
        let Some(conversation) = world.legs.get(id).map(|leg| leg.conversation.clone()) else { return };
        let url = format!("http://{}/v1/files/{}", self.address, recording.id);
        let body = events::recorded(&recording, &conversation, url, file.len(), &self.clock);
        world.keep(recording.id.clone(), file);
        self.post(&recording.hook, body);
    }

    /// Somebody presses a key.
    pub(super) fn press(&self, id: &LegId, key: char) {
        let mut world = self.world();
        world.tell_sockets(id, key);
        let Some(leg) = world.legs.get_mut(id) else { return };
        leg.counts.keys += 1;
        let stamp = self.stamp();
        for hook in [&leg.keypad.each, &leg.keypad.subscribed].into_iter().flatten() {
            self.post(hook, events::key(leg, key, stamp.clone()));
        }
        match (&leg.keypad.input, &leg.announcement) {
            (Some(input), _) => {
                // An `input` takes 22 keys at most; its queue is longer.
                let _ = input.try_send(key);
            }
            (None, Some(announcement)) if announcement.barge_in => {
                leg.announcement = None;
                leg.keypad.keep(key);
            }
            _ => {}
        }
        let over: Vec<_> = leg.recordings.extract_if(.., |recording| recording.end_on_key == Some(key)).collect();
        drop(world);
        over.into_iter().for_each(|recording| self.recorded(id, recording));
    }

    /// What a tick left to do.
    pub(super) fn carry_out(&self, deeds: Deeds) {
        deeds.keys.iter().for_each(|(id, key)| self.press(id, *key));
        deeds.recorded.into_iter().for_each(|(id, recording)| self.recorded(&id, recording));
        let world = self.world();
        for leg in deeds.hang_ups.iter().filter_map(|id| world.legs.get(id)) {
            leg.command(Command::End(EndBy::User));
        }
    }

    /// Ends a leg: its children, its recordings, its audio; says `completed`, but after
    /// `rejected`.
    pub(super) fn close(&self, id: &LegId, by: EndBy) {
        let mut world = self.world();
        for child in world.children(id) {
            child.command(Command::End(EndBy::Platform));
        }
        let over = world.legs.get_mut(id).map(|leg| std::mem::take(&mut leg.recordings)).unwrap_or_default();
        drop(world);
        over.into_iter().for_each(|recording| self.recorded(id, recording));
        let mut world = self.world();
        world.leave(id);
        let now = self.clock.now();
        let Some(leg) = world.legs.get_mut(id) else { return };
        leg.hush();
        leg.source = Source::None;
        leg.ended = Some(now);
        if let Some(file) = leg.heard.take()
            && let Err(error) = file.finalize()
        {
            leg.problem(format!("what was heard cannot be written: {error}"));
        }
        let more = (leg.status != Status::Rejected).then(|| events::completed(leg, by, &self.clock, now));
        drop(world);
        if let Some(more) = more {
            self.status(id, Status::Completed, more);
        }
        let mut world = self.world();
        world.forget_home(id);
        if let Some(leg) = world.legs.get(id) {
            leg.gone.cancel();
            leg.bridge.cancel();
        }
    }

    /// A new id.
    pub(super) fn fresh() -> String {
        Uuid::new_v4().to_string()
    }

    /// The URL of our REST API, as webhooks tell it.
    pub(super) fn region_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks for a leg's NCCO.
    pub(super) async fn ask(&self, id: &LegId, hook: &Hook) -> Option<Ncco> {
        let params = self.world().legs.get(id).map(|leg| events::answer(leg, self.region_url()))?;
        self.sender.answer(&hook.url, hook.method, params).await
    }

    /// A field of a leg.
    pub(super) fn of<T>(&self, id: &LegId, read: impl FnOnce(&Leg) -> T) -> Option<T> {
        self.world().legs.get(id).map(read)
    }
}

/// Fields of a failure: a word and the SIP answer.
pub(super) fn failure(detail: Option<&str>, sip_code: u16) -> Map {
    let mut more = Map::new();
    if let Some(detail) = detail {
        more.insert("detail".to_owned(), Value::from(detail));
    }
    more.insert("sip_code".to_owned(), Value::from(sip_code));
    more
}
