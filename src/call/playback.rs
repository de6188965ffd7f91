//! What is played to a leg: when each frame is sent, and how each playback ends.
//!
//! ```text
//!            last frame sent, mark after it          echo of the mark, or its timeout
//!  Queued ──────────────────────────────────► Sent ──────────────────────────────────► Played
//!     │                                        │
//!     └────────────────────┬───────────────────┘
//!                          │ speech, or a stop: `clear`
//!                          ▼        `cleared`, or its timeout
//!                       Clearing ───────────────────────────► BargedIn, Stopped
//! ```
//!
//! The platform plays 20 ms frames at its own pace from a buffer of
//! [`PLATFORM_QUEUE`] messages (`vonage-voice.md` section 1.3). Frames are sent a small
//! lead ahead of their being heard, by absolute deadlines, so that the buffer neither
//! runs dry nor holds much that a barge-in must throw away.
//!
//! Invariants, held by property tests:
//! - a frame is exactly 20 ms; the last one of a playback ends in silence;
//! - never is more sent than the lead ahead of what can have been heard;
//! - after a `clear` nothing is sent until it is answered, or its time is over;
//! - every playback taken has exactly one outcome, in the order taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::config::Speaking;
use crate::event::body::PlaybackOutcome;
use crate::types::rate::FRAME_MS;
use crate::types::{Moment, Rate};

/// Longest playback taken.
pub const PLAYBACK_MAX: Duration = Duration::from_secs(60);
/// Longest id of a playback, in bytes.
pub const PLAYBACK_ID_LEN_MAX: usize = 64;
/// Messages that the platform keeps for a leg before it is heard; what becomes of more is
/// not documented.
pub const PLATFORM_QUEUE: usize = 3072;
/// Longest lead. With it, and a mark after each of the most playbacks that can be queued,
/// the platform's queue is used to a fraction.
pub const LEAD_MAX: Duration = Duration::from_millis(200);

const FRAME: Duration = Duration::from_millis(FRAME_MS);

/// Audio that can be played: whole frames at a leg's rate. Cloning it copies no audio.
#[derive(Clone, PartialEq, Eq)]
pub struct Playback {
    id: Arc<str>,
    rate: Rate,
    /// Little-endian 16-bit mono PCM; a multiple of the frame's length.
    frames: Bytes,
    length_ms: u64,
    barge_in: bool,
}

/// Audio that cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPlayback {
    /// The id is empty, too long or not printable.
    #[error("a playback's id must be 1 to {PLAYBACK_ID_LEN_MAX} bytes without control characters")]
    Id,
    /// There is no sample in it.
    #[error("there is no audio to play")]
    Empty,
    /// It is longer than [`PLAYBACK_MAX`].
    #[error("audio to play may last {} s at most", PLAYBACK_MAX.as_secs())]
    TooLong,
}

/// Why a leg does not play something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlayRefused {
    /// Its first message has not come yet, or it is over.
    #[error("the leg is not live")]
    NotLive,
    /// It only listens.
    #[error("the leg only listens")]
    ListenOnly,
    /// As many playbacks as may be are not over yet.
    #[error("the leg has as many playbacks waiting as it may have")]
    QueueFull,
    /// The audio is at another rate than the leg.
    #[error("the audio is not at the leg's rate")]
    Rate,
}

impl Playback {
    /// Makes ready `samples`, 16-bit mono at `rate`, which must be the leg's. `id`: what the
    /// playback is called in its event. `barge_in`: whether the other party's speech ends it.
    ///
    /// # Errors
    /// [`BadPlayback`].
    pub fn new(id: &str, rate: Rate, samples: &[i16], barge_in: bool) -> Result<Self, BadPlayback> {
        if id.is_empty() || id.len() > PLAYBACK_ID_LEN_MAX || id.chars().any(char::is_control) {
            return Err(BadPlayback::Id);
        }
        if samples.is_empty() {
            return Err(BadPlayback::Empty);
        }
        let length_ms = rate.ms(samples.len() as u64);
        if Duration::from_millis(length_ms) > PLAYBACK_MAX {
            return Err(BadPlayback::TooLong);
        }
        let whole = samples.len().div_ceil(rate.frame_samples()) * rate.frame_bytes();
        let mut frames = Vec::with_capacity(whole);
        samples.iter().for_each(|sample| frames.extend_from_slice(&sample.to_le_bytes()));
        frames.resize(whole, 0);
        Ok(Self { id: Arc::from(id), rate, frames: frames.into(), length_ms, barge_in })
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Rate of its audio.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

impl fmt::Debug for Playback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Playback({}, {} ms at {})", self.id, self.length_ms, self.rate)
    }
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// Send this frame.
    Send(Bytes),
    /// Send a mark: echoed when all before it was heard.
    Mark { id: Arc<str>, number: u64 },
    /// Have the platform drop what it has not played.
    Clear,
    /// A playback is over.
    Over(Over),
}

/// How a playback ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Over {
    pub(super) id: Arc<str>,
    pub(super) outcome: PlaybackOutcome,
    pub(super) played_ms: u64,
    pub(super) length_ms: u64,
    pub(super) confirmed: bool,
}

impl Over {
    /// How a playback ended that came after the leg.
    pub(super) fn unheard(playback: Playback) -> Self {
        let Playback { id, length_ms, .. } = playback;
        Self { id, outcome: PlaybackOutcome::HungUp, played_ms: 0, length_ms, confirmed: false }
    }
}

/// A playback that is not over.
struct Item {
    playback: Playback,
    /// Bytes sent.
    sent: usize,
    /// When all that was sent will have been heard.
    heard_at: Moment,
    /// Number of its mark.
    number: u64,
}

impl Item {
    fn is_sent(&self) -> bool {
        self.sent == self.playback.frames.len()
    }

    /// How much was heard by now, in ms.
    fn played_ms(&self, now: Moment) -> u64 {
        let sent_ms = (self.sent / self.playback.rate.frame_bytes()) as u64 * FRAME_MS;
        let ahead_ms = self.heard_at.since(now).as_millis() as u64;
        sent_ms.saturating_sub(ahead_ms).min(self.playback.length_ms)
    }

    fn over(self, outcome: PlaybackOutcome, played_ms: u64, confirmed: bool) -> Act {
        let Playback { id, length_ms, .. } = self.playback;
        Act::Over(Over { id, outcome, played_ms, length_ms, confirmed })
    }
}

/// Takes the first item if `holds`.
fn first_if(items: &mut VecDeque<Item>, holds: impl Fn(&Item) -> bool) -> Option<Item> {
    if items.front().is_some_and(holds) { items.pop_front() } else { None }
}

/// What waits for the answer to a `clear`.
struct Clearing {
    deadline: Moment,
    /// With its outcome, and how much of each was heard, in ms.
    items: Vec<(Item, PlaybackOutcome, u64)>,
}

/// Plays to one leg.
pub(super) struct Player {
    config: Speaking,
    rate: Rate,
    /// Sent to their ends, mark included; oldest first.
    sent: VecDeque<Item>,
    /// The first one is being sent.
    queue: VecDeque<Item>,
    clearing: Option<Clearing>,
    /// When all audio sent so far will have been heard.
    heard_at: Moment,
    marks: u64,
    acts: VecDeque<Act>,
}

impl Player {
    /// For a leg at `rate`.
    pub(super) fn new(config: &Speaking, rate: Rate) -> Self {
        let config = Speaking { lead: config.lead.clamp(FRAME, LEAD_MAX), ..config.clone() };
        Self {
            config,
            rate,
            sent: VecDeque::new(),
            queue: VecDeque::new(),
            clearing: None,
            heard_at: Moment::default(),
            marks: 0,
            acts: VecDeque::new(),
        }
    }

    /// Takes a playback; it follows those taken before.
    pub(super) fn push(&mut self, playback: Playback) -> Result<(), PlayRefused> {
        if playback.rate != self.rate {
            return Err(PlayRefused::Rate);
        }
        let clearing = self.clearing.as_ref().map_or(0, |clearing| clearing.items.len());
        if self.sent.len() + self.queue.len() + clearing >= self.config.queue_max {
            return Err(PlayRefused::QueueFull);
        }
        self.marks += 1;
        self.queue.push_back(Item { playback, sent: 0, heard_at: Moment::default(), number: self.marks });
        Ok(())
    }

    /// The next thing to do; to be asked until there is none.
    pub(super) fn next(&mut self, now: Moment) -> Option<Act> {
        self.expire(now);
        if let Some(act) = self.acts.pop_front() {
            return Some(act);
        }
        if self.clearing.is_some() {
            return None;
        }
        let item = self.queue.front_mut()?;
        // Where the buffer ran dry, or was empty, the frame is heard as it comes.
        let heard_at = self.heard_at.max(now) + FRAME;
        if heard_at > now + self.config.lead {
            return None;
        }
        (self.heard_at, item.heard_at) = (heard_at, heard_at);
        let end = item.sent + self.rate.frame_bytes();
        let frame = item.playback.frames.slice(item.sent..end);
        item.sent = end;
        if item.is_sent()
            && let Some(item) = self.queue.pop_front()
        {
            self.acts.push_back(Act::Mark { id: Arc::clone(&item.playback.id), number: item.number });
            self.sent.push_back(item);
        }
        Some(Act::Send(frame))
    }

    /// When [`Player::next`] will have something to do if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let echo = self.sent.front().map(|item| item.heard_at + self.config.echo_timeout);
        let next = match &self.clearing {
            Some(clearing) => Some(clearing.deadline),
            None if self.queue.is_empty() => None,
            // The frame to come fits as soon as the lead has room for it.
            None => Some(Moment((self.heard_at + FRAME).0.saturating_sub(self.config.lead.as_micros() as u64))),
        };
        [echo, next].into_iter().flatten().min()
    }

    /// Gives up the answers that did not come in time.
    fn expire(&mut self, now: Moment) {
        let timeout = self.config.echo_timeout;
        while let Some(item) = first_if(&mut self.sent, |item| item.heard_at + timeout <= now) {
            self.played(item, false);
        }
        if self.clearing.as_ref().is_some_and(|clearing| clearing.deadline <= now) {
            self.settle(false);
        }
    }

    fn played(&mut self, item: Item, confirmed: bool) {
        let played_ms = item.playback.length_ms;
        self.acts.push_back(item.over(PlaybackOutcome::Played, played_ms, confirmed));
    }

    fn settle(&mut self, confirmed: bool) {
        if let Some(Clearing { items, .. }) = self.clearing.take() {
            let over = |(item, outcome, played_ms): (Item, _, _)| item.over(outcome, played_ms, confirmed);
            self.acts.extend(items.into_iter().map(over));
        }
    }

    /// The other party began to speak.
    pub(super) fn on_speech(&mut self, now: Moment) {
        let heard = self.sent.iter().chain(&self.queue).find(|item| item.sent > 0 && item.heard_at > now);
        // All that waits goes with what is heard: it would not fit the answer any more.
        if heard.is_some_and(|item| item.playback.barge_in) {
            self.cut(now, PlaybackOutcome::BargedIn);
        }
    }

    /// Takes back all that was not heard yet.
    pub(super) fn stop(&mut self, now: Moment) {
        self.cut(now, PlaybackOutcome::Stopped);
    }

    fn cut(&mut self, now: Moment, outcome: PlaybackOutcome) {
        if let Some(clearing) = &mut self.clearing {
            // None of it was begun, but it does not end before what it was to follow.
            return clearing.items.extend(self.queue.drain(..).map(|item| (item, outcome, 0)));
        }
        self.note_heard(now);
        let items: Vec<_> = self.sent.drain(..).chain(self.queue.drain(..)).collect();
        if items.iter().all(|item| item.sent == 0) {
            // The platform has none of it: there is nothing to clear.
            return self.acts.extend(items.into_iter().map(|item| item.over(outcome, 0, true)));
        }
        let cut = |item: Item| {
            let played_ms = item.played_ms(now);
            (item, outcome, played_ms)
        };
        let items = items.into_iter().map(cut).collect();
        self.clearing = Some(Clearing { deadline: now + self.config.clear_timeout, items });
        self.heard_at = now;
        self.acts.push_back(Act::Clear);
    }

    /// What was heard to its end is beyond recall; only its echo is still under way.
    fn note_heard(&mut self, now: Moment) {
        while let Some(item) = first_if(&mut self.sent, |item| item.heard_at <= now) {
            self.played(item, false);
        }
    }

    /// The platform says that its buffer is empty.
    pub(super) fn on_cleared(&mut self) {
        self.settle(true);
    }

    /// The platform says that a mark was reached: what went before was heard. Echoes of
    /// what a `clear` ended are late, or tell of the clearing; either way they say nothing.
    pub(super) fn on_echo(&mut self, payload: &Value) {
        let Some(number) = payload.get("n").and_then(Value::as_u64) else { return };
        if !self.sent.iter().any(|item| item.number == number) {
            return;
        }
        while let Some(item) = first_if(&mut self.sent, |item| item.number <= number) {
            self.played(item, true);
        }
    }

    /// The leg is over; so is all that was played to it. [`Player::next`] gives the last
    /// outcomes, and no more than those is to be done.
    pub(super) fn hang_up(&mut self, now: Moment) {
        self.acts.retain(|act| matches!(act, Act::Over(_)));
        self.settle(false);
        self.note_heard(now);
        let items: Vec<_> = self.sent.drain(..).chain(self.queue.drain(..)).collect();
        for item in items {
            let played_ms = item.played_ms(now);
            self.acts.push_back(item.over(PlaybackOutcome::HungUp, played_ms, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const RATE: Rate = Rate::Hz8000;

    fn playback(id: &str, ms: u64, barge_in: bool) -> Playback {
        let samples: Vec<i16> = (0..ms * 8).map(|n| n as i16 + 1).collect();
        Playback::new(id, RATE, &samples, barge_in).unwrap()
    }

    fn at(ms: u64) -> Moment {
        Moment::from_ms(1_000_000 + ms)
    }

    /// What is to be done at `ms`: `f` a frame, `m1` a mark, `x` a clear, outcomes in words.
    fn acts(player: &mut Player, ms: u64) -> String {
        let mut said = Vec::new();
        while let Some(act) = player.next(at(ms)) {
            said.push(match act {
                Act::Send(frame) => {
                    assert_eq!(frame.len(), RATE.frame_bytes());
                    "f".to_owned()
                }
                Act::Mark { number, .. } => format!("m{number}"),
                Act::Clear => "x".to_owned(),
                Act::Over(Over { id, outcome, played_ms, confirmed, .. }) => {
                    format!("{id} {outcome:?} {played_ms}{}", if confirmed { "" } else { "?" })
                }
            });
        }
        said.join(" ")
    }

    fn player() -> Player {
        Player::new(&Speaking { lead: Duration::from_millis(60), ..Speaking::default() }, RATE)
    }

    fn due(player: &Player) -> Option<u64> {
        player.deadline().map(|due| due.since(at(0)).as_millis() as u64)
    }

    #[test]
    fn frames_keep_the_lead_and_deadlines_do_not_drift() {
        let mut player = player();
        player.push(playback("a", 150, true)).unwrap();
        assert_eq!((acts(&mut player, 0).as_str(), due(&player)), ("f f f", Some(20)));
        assert_eq!((acts(&mut player, 19).as_str(), acts(&mut player, 27).as_str()), ("", "f"));
        assert_eq!((due(&player), acts(&mut player, 40).as_str()), (Some(40), "f"));
        // Late by two frames: the lead is made good, and no more.
        assert_eq!((acts(&mut player, 95).as_str(), due(&player)), ("f f", Some(100)));
        assert_eq!((acts(&mut player, 100).as_str(), due(&player)), ("f m1", Some(160 + 2_000)));
        player.on_echo(&json!({"mark": "a", "n": 1}));
        assert_eq!((acts(&mut player, 170).as_str(), due(&player)), ("a Played 150", None));
    }

    #[test]
    fn a_buffer_that_ran_dry_is_not_filled_with_what_is_past() {
        let mut player = player();
        player.push(playback("a", 400, true)).unwrap();
        assert_eq!(acts(&mut player, 0), "f f f");
        assert_eq!(acts(&mut player, 1_000), "f f f");
        player.stop(at(1_010));
        assert_eq!(acts(&mut player, 1_010), "x");
        player.on_cleared();
        assert_eq!(acts(&mut player, 1_030), "a Stopped 70");
    }

    #[test]
    fn the_next_one_follows_without_a_gap_and_an_echo_settles_all_before_it() {
        let mut player = player();
        player.push(playback("a", 20, true)).unwrap();
        player.push(playback("b", 20, true)).unwrap();
        player.push(playback("c", 20, true)).unwrap();
        assert_eq!(acts(&mut player, 0), "f m1 f m2 f m3");
        player.on_echo(&json!({"n": 2}));
        player.on_echo(&json!({"n": 2}));
        player.on_echo(&json!("3"));
        assert_eq!(acts(&mut player, 45), "a Played 20 b Played 20");
        assert_eq!(due(&player), Some(2_060));
        assert_eq!(acts(&mut player, 2_060), "c Played 20?", "its echo never came");
    }

    #[test]
    fn speech_ends_what_is_heard_and_all_that_waits() {
        let mut player = player();
        player.push(playback("a", 100, true)).unwrap();
        player.push(playback("b", 100, false)).unwrap();
        assert_eq!(acts(&mut player, 0), "f f f");
        player.on_speech(at(30));
        assert_eq!((acts(&mut player, 30).as_str(), due(&player)), ("x", Some(1_030)));
        player.push(playback("c", 20, true)).unwrap();
        player.on_echo(&json!({"n": 1}));
        player.on_speech(at(40));
        assert_eq!(acts(&mut player, 50), "", "nothing goes out until the clear is answered");
        player.on_cleared();
        assert_eq!(acts(&mut player, 60), "a BargedIn 30 b BargedIn 0 f m3");
        player.on_cleared();
        player.on_echo(&json!({"n": 1}));
        assert_eq!(acts(&mut player, 60), "");
    }

    #[test]
    fn a_clear_without_an_answer_is_given_up() {
        let mut player = player();
        player.push(playback("a", 100, true)).unwrap();
        assert_eq!(acts(&mut player, 0), "f f f");
        player.stop(at(10));
        player.push(playback("b", 20, true)).unwrap();
        assert_eq!(acts(&mut player, 1_009), "x");
        assert_eq!(acts(&mut player, 1_010), "a Stopped 10? f m2");
    }

    #[test]
    fn speech_does_not_end_what_may_not_be_or_cannot_be_ended() {
        let mut player = player();
        player.push(playback("a", 100, false)).unwrap();
        player.push(playback("b", 100, true)).unwrap();
        player.on_speech(at(0));
        assert_eq!(acts(&mut player, 0), "f f f");
        player.on_speech(at(30));
        assert_eq!(acts(&mut player, 60), "f f m1 f");
        // Now the second one is heard, and the first one's echo has not come.
        player.on_speech(at(110));
        assert_eq!(acts(&mut player, 110), "a Played 100? x");
        player.hang_up(at(115));
        assert_eq!(acts(&mut player, 115), "b BargedIn 10?");
    }

    #[test]
    fn what_was_not_begun_needs_no_clear() {
        let mut player = player();
        player.push(playback("a", 100, true)).unwrap();
        player.stop(at(0));
        player.stop(at(0));
        assert_eq!((acts(&mut player, 0).as_str(), due(&player)), ("a Stopped 0", None));
    }

    #[test]
    fn the_queue_is_bounded_and_the_rate_must_be_the_legs() {
        let mut player = Player::new(&Speaking { queue_max: 2, ..Speaking::default() }, RATE);
        assert_eq!(player.push(Playback::new("a", Rate::Hz16000, &[1], true).unwrap()), Err(PlayRefused::Rate));
        assert_eq!((player.push(playback("a", 20, true)), player.push(playback("b", 20, true))), (Ok(()), Ok(())));
        assert_eq!(player.push(playback("c", 20, true)), Err(PlayRefused::QueueFull));
        assert_eq!(acts(&mut player, 0), "f m1 f m2");
        player.on_echo(&json!({"n": 1}));
        assert_eq!(player.push(playback("c", 20, true)), Ok(()));
        assert!(LEAD_MAX.as_millis() as usize / 20 + 64 < PLATFORM_QUEUE / 10, "64 is the most of playback.queue_max");
    }

    #[test]
    fn what_can_be_played() {
        let new = |id: &str, samples: usize| Playback::new(id, RATE, &vec![7; samples], true).map(|p| p.frames.len());
        assert_eq!((new("a", 1), new("a", 160), new("a", 161)), (Ok(320), Ok(320), Ok(640)));
        assert_eq!((new("a", 480_000), new("a", 480_008)), (Ok(960_000), Err(BadPlayback::TooLong)));
        assert_eq!(new("a", 0), Err(BadPlayback::Empty));
        for id in ["", "a\nb", &"x".repeat(65)] {
            assert_eq!(new(id, 1), Err(BadPlayback::Id), "{id:?}");
        }
        let padded = Playback::new("a", RATE, &[0x0102], true).unwrap();
        assert_eq!((&padded.frames[..3], padded.frames[3..].iter().any(|byte| *byte != 0)), (&[2, 1, 0][..], false));
        assert!(!format!("{padded:?}").contains("258"));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Play {
            ms: u64,
            barge_in: bool,
        },
        Pass(u64),
        /// Wakes exactly when asked to, this many times.
        Wake(u8),
        Speech,
        Stop,
        Cleared,
        Echo(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..500_u64, any::<bool>()).prop_map(|(ms, barge_in)| Step::Play { ms, barge_in }),
            4 => (0..80_u64).prop_map(Step::Pass),
            6 => (1..20_u8).prop_map(Step::Wake),
            1 => (0..5_000_u64).prop_map(Step::Pass),
            2 => Just(Step::Speech),
            1 => Just(Step::Stop),
            2 => Just(Step::Cleared),
            2 => (0..12_u64).prop_map(Step::Echo),
        ]
    }

    /// The platform's side of it.
    struct Platform {
        now: Moment,
        /// When all it got will have been played.
        until: Moment,
        lead: Duration,
        held_until: Option<Moment>,
        taken: Vec<String>,
        over: Vec<String>,
        clears: usize,
    }

    impl Platform {
        fn pump(&mut self, player: &mut Player, clear_timeout: Duration) {
            self.held_until.take_if(|until| *until <= self.now);
            while let Some(act) = player.next(self.now) {
                match act {
                    Act::Send(frame) => {
                        assert_eq!(frame.len(), RATE.frame_bytes());
                        assert_eq!(self.held_until, None, "sent after a clear");
                        self.until = self.until.max(self.now) + FRAME;
                        assert!(self.until <= self.now + self.lead, "further ahead than the lead");
                    }
                    Act::Mark { .. } => {}
                    Act::Clear => {
                        self.clears += 1;
                        self.until = self.now;
                        self.held_until = Some(self.now + clear_timeout);
                    }
                    Act::Over(over) => {
                        assert!(over.played_ms <= over.length_ms, "{over:?}");
                        self.over.push(over.id.to_string());
                    }
                }
            }
            assert!(player.deadline().is_none_or(|due| due > self.now), "would be woken for nothing");
        }
    }

    proptest! {
        #[test]
        fn a_player_keeps_its_promises_whatever_comes(
            lead in 20..200_u64,
            queue_max in 1..6_usize,
            steps in vec(step(), 0..60),
        ) {
            let lead = Duration::from_millis(lead);
            let config = Speaking { lead, queue_max, ..Speaking::default() };
            let mut player = Player::new(&config, RATE);
            let mut platform = Platform {
                now: at(0), until: at(0), lead, held_until: None, taken: Vec::new(), over: Vec::new(), clears: 0,
            };
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Play { ms, barge_in } => {
                        let open = platform.taken.len() - platform.over.len();
                        let refused = player.push(playback(&n.to_string(), ms, barge_in));
                        prop_assert_eq!(refused.is_err(), open >= queue_max);
                        if refused.is_ok() {
                            platform.taken.push(n.to_string());
                        }
                    }
                    Step::Pass(ms) => platform.now = platform.now + Duration::from_millis(ms),
                    Step::Wake(times) => {
                        for _ in 0..times {
                            if let Some(due) = player.deadline() {
                                platform.now = platform.now.max(due);
                                platform.pump(&mut player, config.clear_timeout);
                            }
                        }
                    }
                    Step::Speech => player.on_speech(platform.now),
                    Step::Stop => player.stop(platform.now),
                    Step::Cleared => {
                        platform.held_until = None;
                        player.on_cleared();
                    }
                    Step::Echo(n) => player.on_echo(&json!({"n": n})),
                }
                platform.pump(&mut player, config.clear_timeout);
            }
            player.hang_up(platform.now);
            while let Some(act) = player.next(platform.now) {
                let Act::Over(over) = act else { panic!("after the end: {act:?}") };
                platform.over.push(over.id.to_string());
            }
            prop_assert_eq!(player.deadline(), None);
            prop_assert_eq!(platform.taken, platform.over, "each one once, in order");
            prop_assert!(platform.clears <= 60);
        }
    }
}
