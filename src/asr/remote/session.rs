//! One connection to a streaming vendor, and the task that owns it: leased for an utterance,
//! kept alive between utterances, closed when it has been of no use for a while.
//!
//! ```text
//!            order: speech so far          order: speech whole
//! idle ──────────────► leased ─────────────────► finishing ──answer──► idle
//!   ▲                     │ audio at the vendor's pace      │            │ too old, or not
//!   │                     ▼ interim results                 ▼            ▼ to be used twice
//!   └── kept alive      given up ──────────────────────► closed ◄────────┘
//! ```
//!
//! Invariant: a connection on which anything was out of order, given up or cut short is never
//! used again, so that no utterance can be given another's words.

use std::future::poll_fn;
use std::sync::Weak;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::dial::{FAREWELL, Socket, dial, of};
use super::dialogue::{Dialogue, Heard, Rules};
use super::streaming::Sessions;
use super::utterance::{Answer, Asked, Due, Lost, Order, Utterance};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{Fault, Private, SegmentKind, Transcript};

/// Longest wait for a vendor to take what it is sent.
const SEND: Duration = Duration::from_secs(5);
/// Longest wait for an interim result; then the partial is shed.
const INTERIM: Duration = Duration::from_secs(2);
/// Longest a lease waits for more speech. An utterance that came to nothing ends here.
const LEASE: Duration = Duration::from_secs(10);
/// After so long without a word more, what was heard is perhaps all there is.
const SETTLE: Duration = Duration::from_secs(1);
/// How far ahead of a vendor's pace audio may be.
const BURST: Duration = Duration::from_secs(1);
/// Orders that may wait for a connection: an utterance has one partial and one final.
pub(super) const ORDERS: usize = 4;

/// The task of one connection.
pub(super) struct Session {
    id: u64,
    sessions: Weak<Sessions>,
    rules: Rules,
    /// Most bytes that a vendor may say of one utterance.
    bytes_max: usize,
    dialogue: Box<dyn Dialogue>,
    orders: mpsc::Receiver<Order>,
    now: Option<Utterance>,
    /// Samples sent, silence included.
    sent: u64,
    began: Instant,
    /// When anything was sent last.
    spoke: Instant,
    /// When it became idle.
    idle: Instant,
    /// When anything was heard last.
    heard: Instant,
    /// Whether it was asked, since then, for what it has.
    settled: bool,
    /// Utterances served.
    served: u64,
    /// Told how it ended once nobody can find this connection any more.
    leftover: Option<Answer>,
}

/// How a connection's life ends.
enum End {
    /// We want no more of it.
    Done,
    /// It failed.
    Failed(Fault),
    /// It was given up in the middle of an utterance.
    Polluted,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Session {
    pub(super) fn new(
        id: u64,
        sessions: Weak<Sessions>,
        rules: Rules,
        bytes_max: usize,
        dialogue: Box<dyn Dialogue>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let now = Instant::now();
        let (began, spoke, idle, heard) = (now, now, now, now);
        let (now, leftover) = (None, None);
        Self {
            id,
            sessions,
            rules,
            bytes_max,
            dialogue,
            orders,
            now,
            sent: 0,
            began,
            spoke,
            idle,
            heard,
            settled: false,
            served: 0,
            leftover,
        }
    }

    /// Dials, serves, and says to everybody who waits how it ended.
    pub(super) async fn run(mut self, request: Request) {
        match dial(request, self.bytes_max).await {
            Ok(mut socket) => match self.converse(&mut socket).await {
                End::Done => {
                    self.over(&Fault::Disconnected);
                    self.part(&mut socket).await;
                }
                End::Failed(fault) => self.over(&fault),
                End::Polluted => self.over(&Fault::Timeout),
            },
            Err(fault) => self.over(&fault),
        }
    }

    /// Nobody finds this connection any more, and whoever waits is told why.
    fn over(&mut self, fault: &Fault) {
        self.leave();
        // A connection that was idle may have died of old age: no fault of the vendor's.
        let stale = self.served > 0 && self.now.as_ref().is_none_or(|utterance| !utterance.heard);
        let again = stale && matches!(fault, Fault::Disconnected | Fault::Unreachable | Fault::OutOfOrder);
        let lost = || Lost { fault: fault.clone(), again };
        if let Some(asked) = self.now.take().and_then(|utterance| utterance.asked) {
            asked.answered(Err(lost()));
        }
        if let Some(answer) = self.leftover.take() {
            let _ = answer.send(Err(Lost { fault: Fault::Disconnected, again: true }));
        }
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            let _ = order.answer.send(Err(lost()));
        }
    }

    /// Out of the list: nobody finds this connection any more.
    fn leave(&self) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.forget(self.id, self.now.as_ref().map(|utterance| &utterance.key));
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        self.began = Instant::now();
        if let Some(hello) = self.dialogue.hello()
            && let Err(fault) = self.send(socket, Message::text(hello)).await
        {
            return fault.into();
        }
        loop {
            let wake = self.wake();
            let outcome = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return End::Done,
                },
                message = socket.next() => self.on_message(message),
                () = given_up(&mut self.now) => return End::Polluted,
                () = sleep_until(wake) => self.on_time(socket).await,
            };
            if let Err(end) = outcome {
                return end;
            }
            if let Err(fault) = self.flush(socket).await {
                return fault.into();
            }
        }
    }

    // --- orders -------------------------------------------------------------

    fn take(&mut self, order: Order) -> Result<(), End> {
        let Order { speech, lease, answer } = order;
        let key = (speech.leg.clone(), speech.segment);
        if let (None, Some(lease)) = (&self.now, lease) {
            self.dialogue.begin(self.sent);
            self.now = Some(Utterance::new(key.clone(), lease));
        }
        match self.now.as_mut().filter(|utterance| utterance.key == key && !utterance.finishing) {
            Some(utterance) => utterance.ask(speech, answer).map_err(|answer| {
                self.leftover = Some(answer);
                End::Polluted
            }),
            None => {
                // It came too late for its utterance. Whoever asked may have gone.
                let _ = answer.send(Err(Lost { fault: Fault::OutOfOrder, again: true }));
                Ok(())
            }
        }
    }

    // --- the vendor ---------------------------------------------------------

    fn on_message(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Text(text))) => self.on_text(&text),
            Some(Ok(Message::Close(frame))) => {
                let fault = frame.map_or(Fault::Disconnected, |it| self.dialogue.closed(it.code.into(), &it.reason));
                Err(fault.into())
            }
            Some(Ok(Message::Binary(_))) => Err(Fault::Garbage("a binary message").into()),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(match of(&error) {
                Fault::Unreachable => Fault::Disconnected,
                fault => fault,
            }
            .into()),
            None => Err(Fault::Disconnected.into()),
        }
    }

    fn on_text(&mut self, text: &str) -> Result<(), End> {
        if let Some(utterance) = &mut self.now {
            utterance.bytes += text.len();
            if utterance.bytes > self.bytes_max {
                return Err(Fault::Oversized.into());
            }
        }
        let heard = self.dialogue.hear(text)?;
        (self.heard, self.settled) = (Instant::now(), false);
        self.on_heard(heard)
    }

    fn on_heard(&mut self, heard: Heard) -> Result<(), End> {
        let Some(utterance) = &mut self.now else {
            // Words while nobody speaks belong to an utterance that had its answer.
            return if heard == Heard::Nothing { Ok(()) } else { Err(Fault::OutOfOrder.into()) };
        };
        match heard {
            Heard::Nothing => {}
            Heard::Interim(text) => {
                utterance.heard = true;
                if let Some(asked) = utterance.asked.take_if(|asked| asked.is(SegmentKind::Partial)) {
                    asked.answered(Ok(Transcript { text: Private(text), ..Transcript::default() }));
                }
            }
            Heard::Whole(_) if !utterance.finishing => return Err(Fault::OutOfOrder.into()),
            Heard::Whole(transcript) => {
                let asked = utterance.asked.take();
                self.served += 1;
                self.idle = Instant::now();
                let fresh = self.began.elapsed() < self.rules.session_max;
                let sessions = self.sessions.upgrade().filter(|_| self.rules.reusable && fresh);
                // First it can be found, then its lease is given back, then it is known.
                if let (Some(over), Some(sessions)) = (self.now.take(), &sessions) {
                    sessions.rest(self.id, &over.key);
                }
                if let Some(asked) = asked {
                    asked.answered(Ok(transcript));
                }
                if sessions.is_none() {
                    return Err(End::Done);
                }
            }
        }
        Ok(())
    }

    /// Sends what is due of the audio, and asks for the whole when all of it was sent.
    async fn flush(&mut self, socket: &mut Socket) -> Result<(), Fault> {
        loop {
            let room = self.room();
            match self.now.as_mut().map_or(Due::Nothing, |utterance| utterance.due(self.rules.chunk, room)) {
                Due::Nothing => return Ok(()),
                Due::Audio(bytes) => {
                    self.sent += bytes.len() as u64 / 2;
                    self.dialogue.spoken();
                    self.send(socket, Message::binary(bytes)).await?;
                }
                Due::End => {
                    (self.heard, self.settled) = (Instant::now(), false);
                    let finish = self.dialogue.finish(self.sent);
                    self.send(socket, Message::text(finish)).await?;
                }
            }
        }
    }

    /// Samples that may be sent now at the vendor's pace.
    fn room(&self) -> u64 {
        if self.rules.pace <= 0.0 {
            return u64::MAX;
        }
        let seconds = (self.began.elapsed().as_secs_f64()) * self.rules.pace + BURST.as_secs_f64();
        ((seconds * f64::from(PIPELINE_HZ)) as u64).saturating_sub(self.sent)
    }

    async fn send(&mut self, socket: &mut Socket, message: Message) -> Result<(), Fault> {
        self.spoke = Instant::now();
        match timeout(SEND, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => match poll_fn(|context| socket.poll_next_unpin(context)).await {
                // It may have said why before it hung up.
                Some(Ok(Message::Close(Some(frame)))) => Err(self.dialogue.closed(frame.code.into(), &frame.reason)),
                _ => Err(Fault::Disconnected),
            },
            Err(_) => Err(Fault::Timeout),
        }
    }

    // --- time ---------------------------------------------------------------

    /// When something is due, whatever the vendor says.
    fn wake(&self) -> Instant {
        let own = match &self.now {
            None => self.idle + self.rules.idle_timeout,
            Some(utterance) => match &utterance.asked {
                None => utterance.touched + LEASE,
                Some(asked) if asked.is(SegmentKind::Partial) => asked.since + INTERIM,
                // Whoever waits for it knows how long.
                Some(_) if self.settled || !utterance.finishing => utterance.touched + Duration::from_secs(3600),
                Some(_) => self.heard + SETTLE,
            },
        };
        let alive = self.rules.keep_alive.map(|(every, _)| self.spoke + every);
        let waits = self.rules.pace > 0.0
            && self.now.as_ref().is_some_and(|it| !it.finishing && it.asked.is_some() && self.room() < u64::MAX);
        let paced = waits.then(|| Instant::now() + Duration::from_millis(50));
        [Some(own), alive, paced].into_iter().flatten().min().unwrap_or(own)
    }

    async fn on_time(&mut self, socket: &mut Socket) -> Result<(), End> {
        let now = Instant::now();
        if let Some((every, text)) = self.rules.keep_alive
            && now >= self.spoke + every
        {
            self.send(socket, Message::text(text)).await?;
        }
        let finishing = self.now.as_ref().is_some_and(|utterance| utterance.finishing);
        if finishing && !self.settled && now >= self.heard + SETTLE {
            self.settled = true;
            if let Some(transcript) = self.dialogue.settle() {
                return self.on_heard(Heard::Whole(transcript));
            }
        }
        match &mut self.now {
            None if now >= self.idle + self.rules.idle_timeout => Err(End::Done),
            None => Ok(()),
            Some(utterance) => {
                let late = |asked: &mut Asked| asked.is(SegmentKind::Partial) && now >= asked.since + INTERIM;
                if let Some(asked) = utterance.asked.take_if(late) {
                    asked.answered(Err(Lost { fault: Fault::Overload, again: false }));
                }
                if utterance.asked.is_none() && now >= utterance.touched + LEASE {
                    return Err(End::Polluted);
                }
                Ok(())
            }
        }
    }

    /// Takes leave as the vendor wants it, within a bound.
    async fn part(&mut self, socket: &mut Socket) {
        let deadline = Instant::now() + FAREWELL;
        if let Some(farewell) = self.rules.farewell {
            let _ = timeout_at(deadline, socket.send(Message::text(farewell))).await;
        }
        let _ = timeout_at(deadline, socket.close(None)).await;
        while let Ok(Some(Ok(_))) = timeout_at(deadline, socket.next()).await {}
    }
}

/// Waits until nobody waits for the whole of the utterance any more; for ever, where a partial
/// is asked for or nothing is.
async fn given_up(now: &mut Option<Utterance>) {
    match now.as_mut().and_then(|utterance| utterance.asked.as_mut()) {
        Some(asked) if asked.is(SegmentKind::Final) => asked.answer.closed().await,
        _ => std::future::pending().await,
    }
}
