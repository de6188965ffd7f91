//! One leg's task: owns the socket and the `Call`, moves what one says to the other.
//!
//! Invariant: it waits for its own socket, its replies, its commands, its timer and the
//! drain signal, and for nothing else; never for inference, a sink or another leg.
//!
//! Waking up for a frame costs more than the frame. So frames of which nothing can come are
//! left in the socket, and one wake-up takes them together with the first that matters
//! ([`Call::batch`]); no event is later for it. What is not audio is taken in its order all
//! the same: whatever else wakes the leg, it first reads what is there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use uuid::Uuid;

use super::admission::Place;
use super::legs::{Capture, Command, LegInfo};
use super::presence::Presence;
use super::{Appetite, CLOCK_MAX, Gateway, media_auth};
use crate::call::{Buffers as _, Call, CallParts, Close, Input, Output, Terms, wire};
use crate::inference::{Hearing, Shadows};
use crate::telemetry::{LegClosed, LegOpened, PeerErred};
use crate::types::rate::FRAME_MS;
use crate::types::{ConversationId, Fault, LegId, Moment, PeerFault, Reply, Segment, Shadow, Speaker};
use crate::vonage::media_token::MediaClaims;

/// Bytes of the header of a masked message with a frame in it (RFC 6455 section 5.2).
const MESSAGE_HEAD: usize = 8;

/// How much later than the frames we wait for should have come we look at what is there: a
/// text or a close behind too little audio wakes nobody.
const STALLED: Duration = Duration::from_millis(50);

/// A timer that fires by so much too early is left as it is.
const EARLY_MAX: Duration = Duration::from_millis(50);

/// Messages taken from a socket that never pauses before answers and commands are looked for.
const RECEIVED_IN_A_ROW_MAX: u32 = 32;

/// Messages that are taken before a command because they were there first: more than a leg ever
/// leaves in its socket, and no more than a peer that floods it can hold a command up with.
const CAUGHT_UP_MAX: usize = 256;

/// What the handshake said about the leg.
#[derive(Default)]
pub(super) struct Asked {
    /// The conversation, if it was named.
    pub(super) conversation: Option<ConversationId>,
    /// Whom the leg lets us hear, as far as was said.
    pub(super) speaker: Speaker,
    /// Whether nothing may be played to it.
    pub(super) listen_only: bool,
    /// The token, if there was one; what it says stands above too.
    pub(super) claims: Option<MediaClaims>,
}

impl Asked {
    /// What a token says, and nobody can change.
    pub(super) fn by(claims: MediaClaims) -> Self {
        Self {
            conversation: Some(claims.conversation.clone()),
            speaker: claims.speaker.clone(),
            listen_only: claims.listen_only,
            claims: Some(claims),
        }
    }
}

/// Runs a leg from its handshake to its last event.
pub(super) async fn run(gateway: Arc<Gateway>, socket: WebSocket, appetite: Appetite, asked: Asked, place: Place) {
    let (id, own_conversation) = new_ids();
    LegOpened { leg: &id, legs: gateway.admission.legs() }.emit();
    let (now, wall) = (gateway.clock.now(), gateway.clock.wall());
    // Judged when the token was; the moments since cannot have made it nonsense.
    let told = asked.claims.as_ref().map(|claims| media_auth::position(claims, wall).unwrap_or(CLOCK_MAX));
    let named = asked.conversation.is_some();
    let conversation = asked.conversation.unwrap_or(own_conversation);
    let said = asked.claims.as_ref().map(|claims| claims.redaction).unwrap_or_default();
    let (hearing, shadows) = gateway.pool.hearing(&conversation, said);
    let terms = Terms {
        speaker_settled: asked.claims.is_some(),
        participant: asked.claims.and_then(|claims| claims.participant),
        listen_only: asked.listen_only,
        keys: hearing.policy().keys,
    };
    let info = LegInfo {
        id: id.clone(),
        conversation: conversation.clone(),
        speaker: asked.speaker.clone(),
        participant: terms.participant.clone(),
        listen_only: terms.listen_only,
        connected_at: wall,
        rate: None,
    };
    let (presence, commands, joined_at) = Presence::enter(&gateway, info, now, told);
    let parts = CallParts {
        joined_at,
        terms,
        conversation,
        leg: id.clone(),
        speaker: asked.speaker,
        source: Arc::clone(&gateway.source),
        connected_at: wall,
        vad: Arc::clone(&gateway.vad),
        backends: gateway.backends.clone(),
        buffers: gateway.buffers.clone(),
    };
    // Room for every final that can be pending, and the one partial.
    let (replies_in, replies) = mpsc::channel(gateway.call.pending_max + 1);
    let mut leg = Leg {
        call: Call::new(Arc::clone(&gateway.call), parts, now),
        presence,
        id,
        connected: now,
        named,
        hearing,
        shadows,
        socket: Some(socket),
        appetite,
        heard_at: now,
        stalled_at: now,
        replies_in,
        replies,
        commands,
        faults: 0,
        gateway,
    };
    if let Some(Capture { paused: true, reason }) = leg.presence.capture() {
        leg.call.start_paused(&reason);
    }
    leg.live().await;
    let Leg { presence, id, call, gateway, .. } = leg;
    drop((presence, place));
    let (ledger, rate) = (call.ledger(), call.rate());
    LegClosed { leg: &id, legs: gateway.admission.legs(), ledger, rate }.emit();
}

/// A leg's own id, and one for the conversation of a leg that names none.
fn new_ids() -> (LegId, ConversationId) {
    let uuid = Uuid::new_v4().to_string();
    let leg = LegId::parse(&uuid).expect("a UUID is visible ASCII of 36 bytes");
    let conversation = ConversationId::parse(&uuid).expect("a UUID is visible ASCII of 36 bytes");
    (leg, conversation)
}

struct Leg {
    call: Call,
    presence: Presence,
    id: LegId,
    connected: Moment,
    /// Whether the conversation is known for good.
    named: bool,
    hearing: Hearing,
    /// What a second transcriber heard, if one hears this leg too.
    shadows: Option<Shadows>,
    /// Gone once closed by either side.
    socket: Option<WebSocket>,
    appetite: Appetite,
    /// When the newest message was received.
    heard_at: Moment,
    /// When more should have come.
    stalled_at: Moment,
    replies_in: mpsc::Sender<Box<Reply>>,
    replies: mpsc::Receiver<Box<Reply>>,
    commands: mpsc::Receiver<Command>,
    /// Faults seen, a bit for each kind.
    faults: u32,
    gateway: Arc<Gateway>,
}

enum Happened {
    Received(Option<Result<Message, axum::Error>>),
    Replied(Box<Reply>),
    Overheard(Box<Shadow>),
    Told(Command),
    TimePassed,
    Drain,
}

impl Leg {
    async fn live(&mut self) {
        // Made once: each new one would queue up on a lock that all legs share.
        let drain = self.gateway.drain.clone().cancelled_owned();
        tokio::pin!(drain);
        let mut draining = false;
        let mut received_in_a_row = 0_u32;
        let mut armed: Option<Moment> = None;
        let timer = sleep_until(tokio::time::Instant::now());
        tokio::pin!(timer);
        let mut now = self.connected;
        while let Some(until) = self.act().await {
            let until = [until, self.wait_for_more(now)].into_iter().flatten().min();
            arm(&mut armed, timer.as_mut(), until, &self.gateway);
            // In this order: the socket is what wakes a leg, often with several messages at
            // once, and what comes after it is then not looked at. A peer that never pauses
            // starves nobody: any input makes the call look at the time, and tokio stops a
            // socket that is always ready now and then. Answers and commands are not left to
            // that: they are looked for after every so many messages in a row.
            let happened = tokio::select! {
                biased;
                received = receive(&mut self.socket), if self.socket.is_some() => Happened::Received(received),
                Some(reply) = self.replies.recv() => Happened::Replied(reply),
                Some(command) = self.commands.recv() => Happened::Told(command),
                Some(shadow) = overheard(&mut self.shadows), if self.shadows.is_some() => Happened::Overheard(shadow),
                () = timer.as_mut(), if armed.is_some() => Happened::TimePassed,
                () = drain.as_mut(), if !draining => Happened::Drain,
            };
            now = self.gateway.clock.now();
            received_in_a_row = if matches!(happened, Happened::Received(_)) { received_in_a_row + 1 } else { 0 };
            match happened {
                Happened::Received(received) => self.on_received(now, received).await,
                Happened::Told(command) => {
                    self.catch_up(now).await;
                    self.on_command(now, command);
                }
                Happened::Replied(reply) => self.call.handle(now, Input::Reply(*reply)),
                Happened::Overheard(shadow) => self.call.handle(now, Input::Shadow(*shadow)),
                Happened::TimePassed => {
                    armed = None;
                    if now >= self.stalled_at {
                        self.catch_up(now).await;
                    }
                    self.call.handle(now, Input::Timeout);
                }
                Happened::Drain => {
                    draining = true;
                    self.catch_up(now).await;
                    self.call.handle(now, Input::Drain);
                }
            }
            if received_in_a_row == RECEIVED_IN_A_ROW_MAX {
                received_in_a_row = 0;
                while let Ok(reply) = self.replies.try_recv() {
                    self.call.handle(now, Input::Reply(*reply));
                }
                while let Ok(command) = self.commands.try_recv() {
                    self.catch_up(now).await;
                    self.on_command(now, command);
                }
            }
        }
    }

    /// Leaves audio in the socket that nothing can come of yet, so that we are woken once for
    /// all of it. Gives when to look all the same.
    fn wait_for_more(&mut self, now: Moment) -> Option<Moment> {
        let frames = u64::from(self.call.batch());
        self.stalled_at = self.heard_at + Duration::from_millis(frames * FRAME_MS) + STALLED;
        let frames = if now < self.stalled_at { frames as usize } else { 1 };
        // The last of them is to be read as soon as it begins to arrive.
        let bytes = (frames - 1) * (self.call.rate().frame_bytes() + MESSAGE_HEAD) + 1;
        self.appetite.set(bytes as u32);
        (frames > 1).then_some(self.stalled_at)
    }

    /// Takes what is in the socket and nobody was woken for: it came before what is to follow.
    async fn catch_up(&mut self, now: Moment) {
        self.appetite.set(0);
        for _ in 0..CAUGHT_UP_MAX {
            let Some(received) = receive(&mut self.socket).now_or_never() else { return };
            self.on_received(now, received).await;
        }
    }

    /// Does all that the call asks for; `None` when it has ended.
    async fn act(&mut self) -> Option<Option<Moment>> {
        loop {
            match self.call.poll() {
                Output::Transcribe(segment) => self.transcribe(segment),
                Output::Emit(event) => self.presence.publish(event),
                Output::Send(frame) => self.send(Message::Binary(frame)).await,
                Output::SendText(text) => self.send(Message::Text(text.into())).await,
                // Its handle refuses all that can be told beforehand.
                Output::PlayRefused { .. } => self.presence.played(),
                Output::Ping => self.send(Message::Ping(bytes::Bytes::new())).await,
                Output::Fault(fault) => self.on_fault(fault),
                Output::Close(close) => self.close(close).await,
                Output::Ended => return None,
                Output::Idle { until } => return Some(until),
            }
        }
    }

    fn transcribe(&mut self, segment: Segment) {
        let submitted = self.gateway.pool.submit(segment, &self.hearing, &self.replies_in);
        if let Err(segment) = submitted {
            let refusal = Reply::refused(segment.id, segment.kind, Fault::Overload);
            self.gateway.buffers.give(segment.samples);
            self.call.handle(self.gateway.clock.now(), Input::Reply(refusal));
        }
    }

    async fn on_received(&mut self, now: Moment, received: Option<Result<Message, axum::Error>>) {
        let now = self.arrival(now);
        self.heard_at = now;
        match received {
            Some(Ok(Message::Binary(audio))) => self.call.handle(now, Input::Audio(&audio)),
            Some(Ok(Message::Text(text))) => {
                self.name_conversation(&text);
                self.call.handle(now, Input::Text(&text));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.call.handle(now, Input::Alive),
            Some(Ok(Message::Close(_))) => {
                if let Some(mut socket) = self.socket.take() {
                    // One more read sends the answer that completes the close handshake.
                    let _ = timeout(self.patience(), socket.recv()).await;
                }
                self.call.handle(now, Input::Closed(None));
            }
            None => {
                self.socket = None;
                self.call.handle(now, Input::Closed(None));
            }
            Some(Err(error)) => {
                let fault = classify(error);
                self.call.handle(now, Input::Closed(Some(fault)));
                // Nothing more can be read from it; the peer is told why, if it still listens.
                if fault == PeerFault::ConnectionLost {
                    self.socket = None
                } else {
                    self.close(Close::Fault(fault)).await
                }
            }
        }
    }

    /// When what was received arrived: before now, where the gateway was held up and audio has
    /// gathered meanwhile. Else the call would take its own lateness for a hole in the audio.
    fn arrival(&self, now: Moment) -> Moment {
        if now.since(self.heard_at) < self.gateway.call.gap_timeout {
            return now;
        }
        let frames = u64::from(self.appetite.left()) / (self.call.rate().frame_bytes() + MESSAGE_HEAD) as u64;
        Moment(now.0.saturating_sub(frames * FRAME_MS * 1000)).max(self.heard_at)
    }

    /// The NCCO may name the conversation in its custom headers.
    fn name_conversation(&mut self, text: &str) {
        if self.named {
            return;
        }
        let Ok(wire::Message::Connected { headers, .. }) = wire::parse(text) else { return };
        self.named = true;
        let named = headers.get("conversation").or_else(|| headers.get("conversation_uuid"));
        if let Some(Ok(conversation)) = named.and_then(|value| value.as_str()).map(ConversationId::parse) {
            let joined_at = self.presence.join(&conversation, self.connected);
            (self.hearing, self.shadows) = self.gateway.pool.hearing(&conversation, self.hearing.policy().terms());
            self.call.join(conversation, joined_at);
            if let Some(Capture { paused: true, reason }) = self.presence.capture() {
                self.call.start_paused(&reason);
            }
        }
    }

    fn on_command(&mut self, now: Moment, command: Command) {
        // The directory has the one state; what a leg knows of it may be old.
        if let Some(Capture { paused, reason }) = self.presence.capture() {
            let reason = &*reason;
            self.call.handle(now, if paused { Input::Pause { reason } } else { Input::Resume { reason } });
        }
        if self.presence.has_ended() {
            self.call.handle(now, Input::Close);
        }
        match command {
            Command::Heed => {}
            Command::Play(playback) => self.call.handle(now, Input::Play(*playback)),
            Command::StopPlayback => self.call.handle(now, Input::StopPlayback),
            Command::Close => self.call.handle(now, Input::Close),
        }
    }

    fn on_fault(&mut self, fault: PeerFault) {
        let bit = 1 << fault as u32;
        PeerErred { leg: &self.id, fault, repeated: self.faults & bit != 0 }.emit();
        self.faults |= bit;
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.gateway.server.send_timeout_ms)
    }

    async fn close(&mut self, close: Close) {
        let (code, reason) = match close {
            Close::Drain => (close_code::AWAY, "stopping"),
            Close::Asked => (close_code::NORMAL, "asked"),
            Close::Fault(fault) => (close_code_of(fault), fault.as_str()),
        };
        self.send(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))).await;
        self.socket = None;
    }

    /// Sends, or gives the peer up when it does not read.
    async fn send(&mut self, message: Message) {
        let patience = self.patience();
        let Some(socket) = &mut self.socket else { return };
        let fault = match timeout(patience, socket.send(message)).await {
            Ok(Ok(())) => return,
            Ok(Err(_)) => PeerFault::ConnectionLost,
            Err(_) => PeerFault::NotReading,
        };
        self.socket = None;
        self.call.handle(self.gateway.clock.now(), Input::Closed(Some(fault)));
    }
}

async fn receive(socket: &mut Option<WebSocket>) -> Option<Result<Message, axum::Error>> {
    match socket {
        Some(socket) => socket.recv().await,
        None => std::future::pending().await,
    }
}

async fn overheard(shadows: &mut Option<Shadows>) -> Option<Box<Shadow>> {
    match shadows {
        Some(shadows) => shadows.recv().await,
        None => std::future::pending().await,
    }
}

/// Sees to it that the timer fires at `until`, or a little early: most deadlines move on with
/// every frame, and it is moved only after them when they have got well away.
fn arm(armed: &mut Option<Moment>, timer: std::pin::Pin<&mut Sleep>, until: Option<Moment>, gateway: &Gateway) {
    if let Some(until) = until
        && armed.is_none_or(|armed| until < armed || until > armed + EARLY_MAX)
    {
        timer.reset(gateway.clock.instant(until));
        *armed = Some(until);
    }
}

/// Names what went wrong on a socket.
fn classify(error: axum::Error) -> PeerFault {
    match error.into_inner().downcast_ref::<WsError>() {
        Some(WsError::Capacity(CapacityError::MessageTooLong { .. })) => PeerFault::MessageTooLong,
        Some(WsError::Utf8(_)) => PeerFault::InvalidUtf8,
        Some(WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake))
        | Some(WsError::Io(_) | WsError::ConnectionClosed | WsError::AlreadyClosed) => PeerFault::ConnectionLost,
        _ => PeerFault::Protocol,
    }
}

/// RFC 6455 section 7.4.1.
fn close_code_of(fault: PeerFault) -> u16 {
    match fault {
        PeerFault::UnsupportedFormat => close_code::UNSUPPORTED,
        PeerFault::MessageTooLong => close_code::SIZE,
        PeerFault::InvalidUtf8 => close_code::INVALID,
        PeerFault::TooFast | PeerFault::Idle => close_code::POLICY,
        _ => close_code::PROTOCOL,
    }
}
