//! The live legs by conversation: who can be told what, and which conversations are paused.
//!
//! Pausing is one state of a conversation, kept here and nowhere else. A leg that connects
//! later starts with it; a leg that is here is woken to look at it. So it cannot be lost in
//! a full queue, and two legs of a call cannot disagree about it for longer than it takes
//! to look.
//!
//! Bounded: commands a leg ([`COMMANDS_MAX`]), paused conversations ([`PAUSED_MAX`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::audio::resample;
use crate::call::{BadPlayback, PlayRefused, Playback, REASON_LEN_MAX};
use crate::event::body::LegEnded;
use crate::types::{ConversationId, LegId, Rate, Speaker, WallTime};

/// Commands that one leg may have waiting.
pub const COMMANDS_MAX: usize = 16;
/// Paused conversations remembered, those without legs included.
pub const PAUSED_MAX: usize = 16_384;

/// What a live leg can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look whether the conversation is paused, or over; any other command makes it look as well.
    Heed,
    /// Play this to the other party. [`LegHandle::play`] makes it.
    Play(Box<Playback>),
    /// Take back all that was not heard yet.
    StopPlayback,
    /// End the leg; its last words are kept.
    Close,
}

/// Why a leg was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// It is over.
    #[error("the leg is over")]
    Gone,
    /// [`COMMANDS_MAX`] commands wait already.
    #[error("the leg has too many commands waiting")]
    Busy,
    /// It cannot play this now.
    #[error(transparent)]
    Play(#[from] PlayRefused),
    /// Nobody could play this.
    #[error(transparent)]
    Playback(#[from] BadPlayback),
}

/// Too many conversations are paused; this one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{PAUSED_MAX} conversations are paused already; forget those that are over")]
pub struct TooManyPaused;

/// What is known of a live leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegInfo {
    /// Its own id, as in its events.
    pub id: LegId,
    /// The conversation, for good once there is a rate.
    pub conversation: ConversationId,
    /// Whom it lets us hear, likewise.
    pub speaker: Speaker,
    /// The participant's own leg at the platform, if a token named it.
    pub participant: Option<LegId>,
    /// Whether nothing may be played to it.
    pub listen_only: bool,
    /// When it connected.
    pub connected_at: WallTime,
    /// Rate of its audio, both ways; none before its first message.
    pub rate: Option<Rate>,
}

/// Is told of legs as they come and go. Called on the leg's own task: must not block.
///
/// A leg that [`connected`](LegObserver::connected) was told of is always followed by one
/// [`ended`](LegObserver::ended), and neither is called twice.
pub trait LegObserver: Send + Sync {
    /// A leg said what it is: its `leg.started` was published.
    fn connected(&self, leg: &LegInfo);

    /// It is over. `ended` is what its `leg.ended` says; none where its task died of a
    /// fault of ours before it could say anything.
    fn ended(&self, leg: &LegInfo, ended: Option<&LegEnded>);
}

/// A live leg, to be told something. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LegHandle {
    info: Arc<LegInfo>,
    commands: mpsc::Sender<Command>,
    /// Playbacks that are not over.
    playing: Arc<AtomicUsize>,
    playing_max: usize,
}

impl LegHandle {
    /// A handle, and the end at which its commands arrive. `playing_max`: playbacks that
    /// may be under way.
    pub(super) fn new(info: LegInfo, playing_max: usize) -> (Self, mpsc::Receiver<Command>) {
        let (commands, arrive) = mpsc::channel(COMMANDS_MAX);
        (Self { info: Arc::new(info), commands, playing: Arc::default(), playing_max }, arrive)
    }

    /// What is known of it.
    #[must_use]
    pub fn info(&self) -> &LegInfo {
        &self.info
    }

    /// Tells the leg, without waiting.
    ///
    /// # Errors
    /// [`CommandRefused`]. A playback that is taken ends in one `playback.ended`, or with
    /// the leg.
    pub fn try_send(&self, command: Command) -> Result<(), CommandRefused> {
        let Command::Play(playback) = &command else { return self.send(command) };
        if self.info.listen_only {
            return Err(PlayRefused::ListenOnly.into());
        }
        match self.info.rate {
            None => return Err(PlayRefused::NotLive.into()),
            Some(rate) if rate != playback.rate() => return Err(PlayRefused::Rate.into()),
            Some(_) => {}
        }
        let one_more = |playing| (playing < self.playing_max).then_some(playing + 1);
        if self.playing.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            return Err(PlayRefused::QueueFull.into());
        }
        self.send(command).inspect_err(|_| self.played())
    }

    fn send(&self, command: Command) -> Result<(), CommandRefused> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommandRefused::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandRefused::Gone,
        })
    }

    /// Makes audio ready for this leg and tells it to play it. The conversion takes up to
    /// tens of milliseconds, on a thread that may block. `id`: what the playback is called
    /// in its event; `audio`: 16-bit mono at `rate`; `barge_in`: whether speech ends it.
    ///
    /// # Errors
    /// [`CommandRefused`], as of [`LegHandle::try_send`].
    pub async fn play(&self, id: &str, audio: Arc<[i16]>, rate: Rate, barge_in: bool) -> Result<(), CommandRefused> {
        let to = self.info.rate.ok_or(PlayRefused::NotLive)?;
        let id = id.to_owned();
        let ready = tokio::task::spawn_blocking(move || match rate == to {
            true => Playback::new(&id, to, &audio, barge_in),
            // Refused before the work is done, not after.
            false if rate.ms(audio.len() as u64) > crate::call::PLAYBACK_MAX.as_millis() as u64 => {
                Err(BadPlayback::TooLong)
            }
            false => Playback::new(&id, to, &resample::convert(&audio, rate, to), barge_in),
        });
        // The runtime is shutting down, and with it the leg.
        let playback = ready.await.map_err(|_| CommandRefused::Gone)??;
        self.try_send(Command::Play(Box::new(playback)))
    }

    /// A playback is over.
    pub(super) fn played(&self) {
        self.playing.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a conversation is listened to, and the reason given last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Whether it is paused.
    pub paused: bool,
    /// Why it was paused or resumed.
    pub reason: Arc<str>,
}

/// A conversation that has legs, or is paused.
#[derive(Debug, Default)]
struct Room {
    capture: Option<Capture>,
    legs: Vec<LegHandle>,
    /// Whether the state goes with the last leg.
    over: bool,
    /// Whether its legs are to end.
    ended: bool,
}

impl Room {
    fn is_paused(&self) -> bool {
        self.capture.as_ref().is_some_and(|capture| capture.paused)
    }

    fn is_needed(&self) -> bool {
        !self.legs.is_empty() || (self.is_paused() && !self.over)
    }

    /// Wakes the legs to look at the state; gives how many there are.
    fn wake(&self) -> usize {
        // A leg whose queue is full looks when it takes the next one out of it.
        self.legs.iter().for_each(|leg| {
            let _ = leg.try_send(Command::Heed);
        });
        self.legs.len()
    }
}

#[derive(Debug, Default)]
struct Rooms {
    by_conversation: HashMap<ConversationId, Room>,
    conversation_of: HashMap<LegId, ConversationId>,
    paused: usize,
}

impl Rooms {
    fn remove_unneeded(&mut self, conversation: &ConversationId) {
        if self.by_conversation.get(conversation).is_some_and(|room| !room.is_needed())
            && let Some(room) = self.by_conversation.remove(conversation)
        {
            self.paused -= usize::from(room.is_paused());
        }
    }

    fn remove(&mut self, leg: &LegId) -> Option<LegHandle> {
        let conversation = self.conversation_of.remove(leg)?;
        let room = self.by_conversation.get_mut(&conversation)?;
        let at = room.legs.iter().position(|handle| handle.info.id == *leg)?;
        let handle = room.legs.remove(at);
        self.remove_unneeded(&conversation);
        Some(handle)
    }

    fn insert(&mut self, handle: LegHandle) {
        let LegInfo { id, conversation, .. } = &*handle.info;
        self.conversation_of.insert(id.clone(), conversation.clone());
        self.by_conversation.entry(conversation.clone()).or_default().legs.push(handle);
    }
}

/// The directory of live legs.
#[derive(Debug, Default)]
pub struct Legs(Mutex<Rooms>);

impl Legs {
    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live legs of a conversation.
    #[must_use]
    pub fn of(&self, conversation: &ConversationId) -> Vec<LegHandle> {
        self.rooms().by_conversation.get(conversation).map(|room| room.legs.clone()).unwrap_or_default()
    }

    /// A live leg by its own id.
    #[must_use]
    pub fn find(&self, leg: &LegId) -> Option<LegHandle> {
        let rooms = self.rooms();
        let room = rooms.by_conversation.get(rooms.conversation_of.get(leg)?)?;
        room.legs.iter().find(|handle| handle.info.id == *leg).cloned()
    }

    /// Every live leg, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<LegHandle> {
        self.rooms().by_conversation.values().flat_map(|room| room.legs.iter().cloned()).collect()
    }

    /// Stops listening to a conversation: to its legs now, and to those that connect later,
    /// until it is resumed or forgotten. `reason`: a word for the event; its first
    /// [`REASON_LEN_MAX`] bytes are kept. Gives how many legs are told.
    ///
    /// # Errors
    /// [`TooManyPaused`], and it is not paused.
    pub fn pause(&self, conversation: &ConversationId, reason: &str) -> Result<usize, TooManyPaused> {
        let mut rooms = self.rooms();
        let paused = rooms.by_conversation.get(conversation).is_some_and(Room::is_paused);
        if !paused && rooms.paused >= PAUSED_MAX {
            return Err(TooManyPaused);
        }
        rooms.paused += usize::from(!paused);
        let room = rooms.by_conversation.entry(conversation.clone()).or_default();
        room.over = false;
        room.capture = Some(Capture { paused: true, reason: kept(reason) });
        Ok(room.wake())
    }

    /// Listens to a conversation again. Gives how many legs are told.
    pub fn resume(&self, conversation: &ConversationId, reason: &str) -> usize {
        let mut rooms = self.rooms();
        let Some(room) = rooms.by_conversation.get_mut(conversation) else { return 0 };
        let was_paused = room.is_paused();
        room.capture = Some(Capture { paused: false, reason: kept(reason) });
        let told = room.wake();
        rooms.paused -= usize::from(was_paused);
        rooms.remove_unneeded(conversation);
        told
    }

    /// Whether a conversation is paused, and why; none where nobody ever said.
    #[must_use]
    pub fn capture(&self, conversation: &ConversationId) -> Option<Capture> {
        self.rooms().by_conversation.get(conversation)?.capture.clone()
    }

    /// A conversation is over: its state goes, or does so with its last leg. To be told of
    /// every conversation that was ever paused.
    pub fn forget(&self, conversation: &ConversationId) {
        let mut rooms = self.rooms();
        if let Some(room) = rooms.by_conversation.get_mut(conversation) {
            room.over = true;
        }
        rooms.remove_unneeded(conversation);
    }

    /// A conversation is over: its legs now are told to end, and the rest is
    /// [forgotten](Legs::forget). Those that connect later are told when this is said again.
    pub fn end(&self, conversation: &ConversationId) {
        let mut rooms = self.rooms();
        if let Some(room) = rooms.by_conversation.get_mut(conversation) {
            (room.over, room.ended) = (true, true);
            room.wake();
        }
        rooms.remove_unneeded(conversation);
    }

    /// Whether the legs of a conversation are to end.
    #[must_use]
    pub fn has_ended(&self, conversation: &ConversationId) -> bool {
        self.rooms().by_conversation.get(conversation).is_some_and(|room| room.ended)
    }

    /// A leg is here, or more is known of it.
    pub(super) fn put(&self, handle: LegHandle) {
        let mut rooms = self.rooms();
        let LegInfo { id, conversation, .. } = &*handle.info;
        if rooms.conversation_of.get(id) == Some(conversation)
            && let Some(room) = rooms.by_conversation.get_mut(conversation)
            && let Some(known) = room.legs.iter_mut().find(|known| known.info.id == *id)
        {
            *known = handle;
            return;
        }
        rooms.remove(id);
        rooms.insert(handle);
    }

    /// Replaces what is known of a leg.
    pub(super) fn tell(&self, handle: &mut LegHandle, info: LegInfo) {
        handle.info = Arc::new(info);
        self.put(handle.clone());
    }

    /// A leg is gone.
    pub(super) fn leave(&self, leg: &LegId) {
        self.rooms().remove(leg);
    }
}

fn kept(reason: &str) -> Arc<str> {
    let end = reason.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= REASON_LEN_MAX);
    Arc::from(&reason[..end.last().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ConversationId {
        ConversationId::parse(text).unwrap()
    }

    fn info(leg: &str, conversation: &str) -> LegInfo {
        LegInfo {
            id: LegId::parse(leg).unwrap(),
            conversation: id(conversation),
            speaker: Speaker::Caller,
            participant: None,
            listen_only: false,
            connected_at: WallTime(0),
            rate: Some(Rate::Hz8000),
        }
    }

    fn leg(legs: &Legs, name: &str, conversation: &str) -> (LegHandle, mpsc::Receiver<Command>) {
        let (handle, commands) = LegHandle::new(info(name, conversation), 2);
        legs.put(handle.clone());
        (handle, commands)
    }

    fn paused(legs: &Legs, conversation: &str) -> Option<bool> {
        legs.capture(&id(conversation)).map(|capture| capture.paused)
    }

    fn is_empty(legs: &Legs) -> bool {
        let rooms = legs.rooms();
        rooms.by_conversation.is_empty() && rooms.conversation_of.is_empty() && rooms.paused == 0
    }

    #[test]
    fn a_pause_is_one_state_of_the_conversation() {
        let legs = Legs::default();
        let (a, mut to_a) = leg(&legs, "a", "CON-1");
        let (_other, mut to_other) = leg(&legs, "b", "CON-2");
        assert_eq!((paused(&legs, "CON-1"), legs.pause(&id("CON-1"), "card")), (None, Ok(1)));
        assert_eq!((to_a.try_recv(), to_other.try_recv().is_err()), (Ok(Command::Heed), true));
        assert_eq!((paused(&legs, "CON-1"), paused(&legs, "CON-2")), (Some(true), None));
        // It outlives its legs, for those that come later.
        legs.leave(&a.info().id);
        assert_eq!((legs.of(&id("CON-1")).len(), paused(&legs, "CON-1")), (0, Some(true)));
        let (a, mut to_a) = leg(&legs, "a2", "CON-1");
        assert_eq!((legs.resume(&id("CON-1"), "done"), to_a.try_recv()), (1, Ok(Command::Heed)));
        assert_eq!(legs.capture(&id("CON-1")), Some(Capture { paused: false, reason: Arc::from("done") }));
        legs.leave(&a.info().id);
        legs.leave(&LegId::parse("b").unwrap());
        assert!(is_empty(&legs));
    }

    #[test]
    fn what_is_over_is_forgotten_with_its_last_leg() {
        let legs = Legs::default();
        legs.pause(&id("CON-1"), "before anybody came").unwrap();
        legs.pause(&id("CON-1"), "again").unwrap();
        let (a, _to_a) = leg(&legs, "a", "CON-1");
        legs.forget(&id("CON-1"));
        legs.put(a.clone());
        assert_eq!(paused(&legs, "CON-1"), Some(true), "a leg that is still here stays paused");
        legs.leave(&a.info().id);
        assert!(is_empty(&legs));
        legs.pause(&id("CON-2"), "x").unwrap();
        legs.forget(&id("CON-2"));
        legs.forget(&id("CON-3"));
        assert_eq!((is_empty(&legs), legs.resume(&id("CON-2"), "x")), (true, 0));
    }

    #[test]
    fn a_conversation_that_has_ended_tells_its_legs_however_busy() {
        let legs = Legs::default();
        let (a, mut to_a) = leg(&legs, "a", "CON-1");
        let (b, _to_b) = leg(&legs, "b", "CON-2");
        while b.try_send(Command::StopPlayback).is_ok() {}
        assert!(!legs.has_ended(&id("CON-1")));
        ["CON-1", "CON-2", "CON-3"].iter().for_each(|over| legs.end(&id(over)));
        assert_eq!(to_a.try_recv(), Ok(Command::Heed));
        assert_eq!(["CON-1", "CON-2", "CON-3"].map(|over| legs.has_ended(&id(over))), [true, true, false]);
        [a, b].iter().for_each(|leg| legs.leave(&leg.info().id));
        assert!(is_empty(&legs));
    }

    #[test]
    fn paused_conversations_are_bounded() {
        let legs = Legs::default();
        for n in 0..PAUSED_MAX {
            legs.pause(&id(&format!("CON-{n}")), "x").unwrap();
        }
        assert_eq!((legs.pause(&id("CON-0"), "y"), legs.pause(&id("one-more"), "y")), (Ok(0), Err(TooManyPaused)));
        legs.resume(&id("CON-0"), "z");
        assert_eq!(legs.pause(&id("one-more"), &"é".repeat(40)), Ok(0));
        assert_eq!(legs.capture(&id("one-more")).unwrap().reason.len(), REASON_LEN_MAX);
    }

    #[test]
    fn a_leg_moves_to_the_conversation_that_it_names() {
        let legs = Legs::default();
        let (mut a, _to_a) = leg(&legs, "a", "own");
        legs.tell(&mut a, LegInfo { rate: None, ..info("a", "CON-1") });
        assert_eq!((legs.of(&id("own")).len(), legs.of(&id("CON-1")).len(), legs.all().len()), (0, 1, 1));
        assert_eq!(legs.find(&a.info().id).unwrap().info().conversation, id("CON-1"));
        legs.leave(&a.info().id);
        assert!(legs.find(&a.info().id).is_none() && is_empty(&legs));
    }

    #[test]
    fn commands_and_playbacks_are_bounded_and_refused_with_a_reason() {
        let legs = Legs::default();
        let (mut a, mut to_a) = leg(&legs, "a", "CON-1");
        let play = |rate| Command::Play(Box::new(Playback::new("p", rate, &[1], true).unwrap()));
        let refused = |why: PlayRefused| Err(CommandRefused::Play(why));
        assert_eq!(a.try_send(play(Rate::Hz16000)), refused(PlayRefused::Rate));
        assert_eq!((a.try_send(play(Rate::Hz8000)), a.try_send(play(Rate::Hz8000))), (Ok(()), Ok(())));
        assert_eq!(a.try_send(play(Rate::Hz8000)), refused(PlayRefused::QueueFull));
        a.played();
        assert_eq!(a.try_send(play(Rate::Hz8000)), Ok(()));
        while a.try_send(Command::StopPlayback).is_ok() {}
        a.played();
        assert_eq!(a.try_send(play(Rate::Hz8000)), Err(CommandRefused::Busy));
        assert_eq!(legs.pause(&id("CON-1"), "card"), Ok(1), "the state does not wait for room");
        assert_eq!(std::iter::from_fn(|| to_a.try_recv().ok()).count(), COMMANDS_MAX);
        assert_eq!(a.try_send(play(Rate::Hz8000)), Ok(()), "what was refused takes no room");
        for (change, why) in [
            (LegInfo { rate: None, ..info("a", "CON-1") }, PlayRefused::NotLive),
            (LegInfo { listen_only: true, ..info("a", "CON-1") }, PlayRefused::ListenOnly),
        ] {
            legs.tell(&mut a, change);
            assert_eq!(a.try_send(play(Rate::Hz8000)), refused(why));
        }
        drop(to_a);
        assert_eq!(a.try_send(Command::Close), Err(CommandRefused::Gone));
    }
}
