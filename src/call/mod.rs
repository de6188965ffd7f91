//! One media leg as a pure state machine.
//!
//! ```text
//! Input ──► handle ──► pcm → [resample] → vad → endpointer → segmenter ──► Transcribe
//!                                                    │                         │
//! Output ◄── poll ◄── author ◄── reorder ◄───────────┴──────── Input::Reply ◄──┘
//! ```
//!
//! [`Call`] is the only author of a leg's media events. It reads no clock and
//! touches no socket: the time comes with every input, so a call replays bit for
//! bit. Whoever runs it hands in an input, then calls [`Call::poll`] until
//! [`Output::Idle`].
//!
//! Life of a leg:
//!
//! ```text
//!            first text, or its timeout        closed, drained, fatal fault
//!  Waiting ──────────────────────────► Live ──────────────────────────────► Tail ──► Ended
//!     │  audio is kept, bounded                  the last answers are awaited, bounded
//!     └───────────────────────────────────────────────────────────────────────►
//! ```
//!
//! Invariants, held by property tests over arbitrary input:
//! - the ledger balances to the sample when the leg has ended, however it ended;
//! - every opened segment has exactly one terminal event;
//! - the same audio gives the same events however it is cut into messages;
//! - after warm-up the path of a frame allocates nothing.

mod capture;
pub mod config;
mod endpointer;
mod io;
mod ledger;
mod media;
mod playback;
mod reorder;
mod segmenter;
mod shadow;
mod speak;
mod trend;
pub mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use self::capture::Turn;
pub use self::config::{CallConfig, Endpointing, Speaking};
pub use self::io::{BackendNames, Buffers, CallParts, Close, Input, Output, REASON_LEN_MAX, Terms};
pub use self::ledger::Ledger;
use self::media::{Media, Tally};
use self::playback::Player;
pub use self::playback::{
    BadPlayback, LEAD_MAX, PLATFORM_QUEUE, PLAYBACK_ID_LEN_MAX, PLAYBACK_MAX, PlayRefused, Playback,
};
use self::reorder::{Answer, Reorder};
use self::shadow::Shadows;
use crate::event::body::{Characteristics, Dtmf, Hello, LegEnded, LegStarted};
use crate::event::{Author, Body, Origin};
use crate::redact::{Keys, MASKED_KEY};
use crate::types::{ConversationId, DropReason, Moment, PeerFault, Rate, Reply, SegmentKind, Speaker, WallTime};

enum Phase {
    /// For the first text message. `early`: audio that came before it. `turns`: from
    /// which byte of it on the leg was paused or resumed.
    Waiting {
        early: Vec<u8>,
        turns: Vec<Turn>,
        deadline: Moment,
    },
    Live,
    /// For the last answers.
    Tail {
        deadline: Moment,
    },
    Ended,
}

/// One media leg. See the module's documentation.
pub struct Call {
    config: Arc<CallConfig>,
    parts: CallParts,
    opened: Moment,
    /// The latest moment told.
    now: Moment,
    phase: Phase,
    /// From `leg.started` on.
    author: Option<Author>,
    hello: Hello,
    rate: Rate,
    media: Option<Box<Media>>,
    ledger: Ledger,
    reorder: Reorder,
    shadows: Shadows,
    tally: Tally,
    heard_at: Moment,
    pinged: bool,
    paused: bool,
    audio_started: Option<Moment>,
    /// From the first playback on.
    player: Option<Box<Player>>,
    keys: Keys,
    /// Text messages received.
    texts: u64,
    reason: &'static str,
    out: VecDeque<Output>,
}

impl Call {
    /// A leg that connected at `now`.
    #[must_use]
    pub fn new(config: Arc<CallConfig>, parts: CallParts, now: Moment) -> Self {
        Self {
            opened: now,
            now,
            phase: Phase::Waiting { early: Vec::new(), turns: Vec::new(), deadline: now + config.hello_timeout },
            author: None,
            hello: Hello::Assumed,
            rate: config.assumed_rate,
            media: None,
            ledger: Ledger::default(),
            reorder: Reorder::new(config.pending_max),
            shadows: Shadows::default(),
            tally: Tally::default(),
            heard_at: now,
            pinged: false,
            paused: false,
            audio_started: None,
            player: None,
            keys: Keys::default(),
            texts: 0,
            reason: "hangup",
            out: VecDeque::new(),
            config,
            parts,
        }
    }

    /// Moves a leg that has not announced itself yet into a conversation that only
    /// its first message names. `joined_at`: when this leg connected, on that
    /// conversation's clock.
    pub fn join(&mut self, conversation: ConversationId, joined_at: Duration) {
        if self.author.is_none() {
            self.parts.conversation = conversation;
            self.parts.joined_at = joined_at;
        }
    }

    /// The account so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Rate of the incoming audio, as told or assumed.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one input. Afterwards, call [`Call::poll`] until it is idle.
    /// Moments must not run backwards; an earlier one is taken as no time passed.
    pub fn handle(&mut self, now: Moment, input: Input<'_>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let now = self.now.max(now);
        self.now = now;
        match input {
            Input::Text(text) => {
                self.heard(now);
                self.on_text(now, text);
            }
            Input::Audio(bytes) => {
                self.heard(now);
                self.on_audio(now, bytes);
            }
            Input::Alive => self.heard(now),
            Input::Reply(reply) => self.on_reply(now, reply),
            Input::Shadow(shadow) => self.on_shadow(now, shadow),
            Input::Pause { reason } => self.on_capture(now, true, reason),
            Input::Resume { reason } => self.on_capture(now, false, reason),
            Input::Close => {
                if self.listening() {
                    self.reason = "closed";
                    self.out.push_back(Output::Close(Close::Asked));
                    self.finish(now);
                }
            }
            Input::Play(playback) => self.on_play(now, playback),
            Input::StopPlayback => self.on_stop_playback(now),
            Input::Timeout => {}
            Input::Drain => {
                if self.listening() {
                    self.reason = "drained";
                    self.out.push_back(Output::Close(Close::Drain));
                    self.finish(now);
                }
            }
            Input::Closed(fault) => {
                if self.listening() {
                    if let Some(fault) = fault {
                        self.reason = fault.as_str();
                        self.out.push_back(Output::Fault(fault));
                    }
                    self.finish(now);
                }
            }
        }
        self.on_time(now);
        self.speak(now);
        self.release(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Output {
        match self.out.pop_front() {
            Some(output) => output,
            None => Output::Idle { until: self.deadline() },
        }
    }

    fn listening(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. } | Phase::Live)
    }

    fn heard(&mut self, now: Moment) {
        self.heard_at = self.heard_at.max(now);
        self.pinged = false;
    }

    fn fault(&mut self, fault: PeerFault) {
        self.out.push_back(Output::Fault(fault));
    }

    /// Ends the leg for a mistake of the peer.
    fn fail(&mut self, now: Moment, fault: PeerFault) {
        self.reason = fault.as_str();
        self.fault(fault);
        self.out.push_back(Output::Close(Close::Fault(fault)));
        self.finish(now);
    }

    fn wall(&self, now: Moment) -> WallTime {
        self.parts.connected_at + now.since(self.opened)
    }

    fn emit(&mut self, now: Moment, body: Body) {
        let time = self.wall(now);
        if let Some(author) = &mut self.author {
            self.out.push_back(Output::Emit(author.write(time, body)));
        }
    }

    // --- text -----------------------------------------------------------

    fn on_text(&mut self, now: Moment, text: &str) {
        if !self.listening() {
            return;
        }
        self.texts += 1;
        if self.texts > TEXTS_GRACE + now.since(self.opened).as_millis() as u64 / crate::types::rate::FRAME_MS {
            return self.fail(now, PeerFault::TooFast);
        }
        match wire::parse(text) {
            Ok(wire::Message::Connected { rate, headers }) => match (&self.phase, self.hello) {
                (Phase::Waiting { .. }, _) => match rate {
                    Ok(rate) => self.start(now, rate, Hello::Received, headers),
                    Err(fault) => self.refuse_format(now, fault, headers),
                },
                (_, Hello::Received) => self.fault(PeerFault::RepeatedHello),
                (_, Hello::Assumed) => {
                    self.hello = Hello::Received;
                    self.fault(PeerFault::LateHello);
                    // Audio taken at the wrong rate is noise; better to say so and stop.
                    if rate != Ok(self.rate) {
                        self.fail(now, PeerFault::UnsupportedFormat);
                    }
                }
            },
            Ok(wire::Message::Dtmf { digit, duration_ms }) => {
                self.start_if_waiting(now);
                // Counted while paused, too: what goes on after a pause belongs to what came before.
                let may_show = self.keys.press(self.parts.terms.keys, now, &digit.0);
                // A paused leg hears no digits either: they may be a card number.
                if !self.paused {
                    self.tally.dtmf += 1;
                    let at_ms = self.clock_ms(now);
                    let digit = if may_show { digit.0 } else { MASKED_KEY.to_owned() };
                    self.emit(now, Body::Dtmf(Dtmf { digit, duration_ms, at_ms }));
                }
            }
            // A leg to which nothing was played has no use for either.
            Ok(wire::Message::Cleared) => self.player.iter_mut().for_each(|player| player.on_cleared()),
            Ok(wire::Message::Notify(payload)) => self.player.iter_mut().for_each(|player| player.on_echo(&payload)),
            Err(fault) => self.fault(fault),
        }
    }

    /// Position of `now` on the call clock, in ms.
    fn clock_ms(&self, now: Moment) -> u64 {
        (self.parts.joined_at + now.since(self.opened)).as_millis() as u64
    }

    fn start_if_waiting(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.fault(PeerFault::NoHello);
            self.start(now, self.config.assumed_rate, Hello::Assumed, Map::new());
        }
    }

    /// Waiting ⇒ Live: rate and speaker are known, or assumed.
    fn start(&mut self, now: Moment, rate: Rate, hello: Hello, headers: Map<String, Value>) {
        self.announce(now, rate, hello, headers);
        if let Phase::Waiting { early, turns, .. } = std::mem::replace(&mut self.phase, Phase::Live) {
            self.catch_up(now, &early, turns);
        }
    }

    fn announce(&mut self, now: Moment, rate: Rate, hello: Hello, headers: Map<String, Value>) {
        if !self.parts.terms.speaker_settled
            && let Some(Value::String(role)) = headers.get("speaker").or_else(|| headers.get("role"))
        {
            self.parts.speaker = Speaker::parse(role);
        }
        let CallParts { conversation, leg, speaker, source, backends, connected_at, terms, .. } = &self.parts;
        let started = LegStarted {
            connected_at: connected_at.to_string(),
            at_ms: self.clock_ms(self.opened),
            rate_hz: rate.hz(),
            hello,
            headers,
            vad: backends.vad.to_owned(),
            asr: backends.asr.to_owned(),
            sentiment: backends.sentiment.map(str::to_owned),
            participant: terms.participant.as_ref().map(|leg| leg.as_str().to_owned()),
            listen_only: terms.listen_only,
        };
        self.author = Some(Author::new(Origin {
            conversation: conversation.clone(),
            leg: leg.clone(),
            speaker: speaker.clone(),
            source: Arc::clone(source),
        }));
        self.rate = rate;
        self.hello = hello;
        self.emit(now, Body::LegStarted(started));
    }

    /// Waiting ⇒ Tail: nothing we could listen to.
    fn refuse_format(&mut self, now: Moment, fault: PeerFault, headers: Map<String, Value>) {
        self.announce(now, self.rate, Hello::Received, headers);
        self.fail(now, fault);
    }

    // --- audio ----------------------------------------------------------

    fn on_audio(&mut self, now: Moment, bytes: &[u8]) {
        if !self.listening() {
            return;
        }
        if bytes.is_empty() {
            // A sign of life, but not of sound: it neither starts nor holds the media clock.
            return self.fault(PeerFault::FrameSize);
        }
        if bytes.len() % 2 == 1 {
            self.fault(PeerFault::OddBytes);
        }
        let started = *self.audio_started.get_or_insert(now);
        let Phase::Waiting { early, .. } = &mut self.phase else {
            if bytes.len() != self.rate.frame_bytes() {
                self.fault(PeerFault::FrameSize);
            }
            self.on_frames(now, bytes);
            let heard = Duration::from_millis(self.rate.ms(self.ledger.received));
            let allowed = now.since(started).saturating_mul(self.config.speed_max as u32) + SPEED_GRACE;
            if heard > allowed && self.listening() {
                self.fail(now, PeerFault::TooFast);
            }
            return;
        };
        let first = early.is_empty();
        early.extend_from_slice(bytes);
        let full = early.len() >= self.config.hello_bytes_max;
        if first {
            self.fault(PeerFault::EarlyAudio);
        }
        if full {
            self.start_if_waiting(now);
        }
    }

    // --- answers --------------------------------------------------------

    fn on_reply(&mut self, now: Moment, reply: Reply) {
        match reply.kind {
            SegmentKind::Partial => self.on_partial(now, reply),
            SegmentKind::Final => {
                let id = reply.id;
                // A late answer finds nobody waiting: its segment was booked as dropped.
                self.reorder.answer(id, Answer::Reply(Box::new(reply)));
            }
        }
    }

    // --- time -----------------------------------------------------------

    fn on_time(&mut self, now: Moment) {
        match self.phase {
            Phase::Waiting { deadline, .. } if now >= deadline => self.start_if_waiting(now),
            Phase::Tail { deadline } if now >= deadline => self.reorder.give_up(DropReason::TailTimeout),
            _ => {}
        }
        if self.listening() {
            self.close_after_gap(now);
            let silent_for = now.since(self.heard_at);
            if silent_for >= self.config.idle_timeout {
                self.fail(now, PeerFault::Idle);
            } else if silent_for >= self.config.ping_after && !self.pinged {
                self.pinged = true;
                self.out.push_back(Output::Ping);
            }
        }
        self.reorder.expire(now);
    }

    fn deadline(&self) -> Option<Moment> {
        let phase = match self.phase {
            Phase::Waiting { deadline, .. } | Phase::Tail { deadline } => Some(deadline),
            Phase::Live => self.gap_deadline(),
            Phase::Ended => return None,
        };
        let silence = self
            .listening()
            .then(|| self.heard_at + if self.pinged { self.config.idle_timeout } else { self.config.ping_after });
        let playback = self.player.as_ref().and_then(|player| player.deadline());
        [phase, silence, self.reorder.deadline(), playback].into_iter().flatten().min()
    }

    // --- the end --------------------------------------------------------

    /// Live ⇒ Tail: no more audio; the last words are still to come.
    fn finish(&mut self, now: Moment) {
        self.fall_silent(now);
        // Announced, but never begun: only so does a format that we cannot take leave it.
        let refused = self.author.is_some() && self.media.is_none();
        if refused {
            if let Phase::Waiting { early, .. } = &self.phase {
                let samples = (early.len() / 2) as u64;
                self.ledger.received += samples;
                self.ledger.drop(DropReason::UnsupportedFormat, samples);
            }
        } else {
            self.start_if_waiting(now);
            self.finish_media(now);
        }
        self.phase = Phase::Tail { deadline: now + self.config.tail_timeout };
    }

    /// Publishes what is answered, in speech order; then, perhaps, the end.
    fn release(&mut self, now: Moment) {
        while let Some((segment, answer)) = self.reorder.pop() {
            self.conclude(now, &segment, answer);
        }
        if matches!(self.phase, Phase::Tail { .. }) && self.reorder.is_empty() {
            self.phase = Phase::Ended;
            let ended = self.closing();
            self.emit(now, Body::LegEnded(ended));
            self.out.push_back(Output::Ended);
        }
    }

    fn closing(&self) -> LegEnded {
        let tally = &self.tally;
        let position_ms = self.media.as_ref().map_or(0, |media| media.position().ms());
        let minutes = tally.speech_ms as f32 / 60_000.0;
        LegEnded {
            reason: self.reason.to_owned(),
            complete: self.ledger.lost() == 0,
            end_ms: self.start_ms() + position_ms,
            ledger: self.ledger.account(self.rate.hz()),
            characteristics: Characteristics {
                audio_ms: self.rate.ms(self.ledger.received),
                speech_ms: tally.speech_ms,
                gap_ms: tally.gap_ms,
                segments: self.media.as_ref().map_or(0, |media| media.segments()),
                finals: tally.finals,
                dropped: tally.dropped,
                partials_shed: tally.partials_shed + u64::from(self.partial_unanswered()),
                words: tally.words,
                words_per_minute: (tally.finals > 0 && minutes > 0.0).then(|| tally.words as f32 / minutes),
                speech_dbfs: tally.speech_dbfs(),
                dtmf: tally.dtmf,
            },
            sentiment: tally.trend.of(position_ms),
        }
    }

    /// Where position 0 of the audio lies on the call clock, in ms.
    fn start_ms(&self) -> u64 {
        self.clock_ms(self.audio_started.unwrap_or(self.opened))
    }
}

/// Audio that may come at any speed: a first minute's worth.
const SPEED_GRACE: Duration = Duration::from_secs(60);

/// Texts that may come at any speed; beyond them, as many as there are frames. Each
/// may become a durable event, so one leg must not be able to fill every sink's queue.
const TEXTS_GRACE: u64 = 600;
