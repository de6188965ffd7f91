//! A vendor that takes audio as a stream, made into one that is asked about utterances.
//!
//! An utterance leases a connection from its first partial to its final: the audio so far goes
//! out while it is still being said, so that the final has only the rest to wait for. Without
//! partials the whole goes out at once. A connection that is free again serves the next
//! utterance of any leg.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::Terms;
use super::dial;
use super::dialogue::{Dialogue, Rules};
use super::session::{self, Session};
use super::utterance::{Lost, Order};
use crate::asr::{Remote, Speech};
use crate::types::{Fault, LegId, SegmentId, SegmentKind, Transcript};

/// What there is to know of a streaming vendor.
pub(in crate::asr) trait Vendor: Send + Sync {
    /// The handshake, key included.
    fn request(&self) -> Request;

    /// How its connections want to be treated.
    fn rules(&self) -> Rules;

    /// Its half of a new connection's conversation.
    fn dialogue(&self) -> Box<dyn Dialogue>;
}

/// An utterance's name.
pub(super) type Key = (LegId, SegmentId);

/// The right to use one connection.
pub(super) type Lease = OwnedSemaphorePermit;

#[derive(Clone)]
struct Handle {
    id: u64,
    orders: mpsc::Sender<Order>,
}

#[derive(Default)]
struct State {
    /// Connections without an utterance, the one used last at the end.
    idle: Vec<Handle>,
    /// Connections by the utterance that leases them.
    leased: HashMap<Key, Handle>,
    made: u64,
}

/// The connections there are. No more of them than leases: a new one is made only where a
/// lease finds none that is idle.
pub(super) struct Sessions {
    state: Mutex<State>,
    leases: Arc<Semaphore>,
}

impl Sessions {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is over.
    pub(super) fn forget(&self, id: u64, key: Option<&Key>) {
        let mut state = self.state();
        state.idle.retain(|handle| handle.id != id);
        match key {
            Some(key) if state.leased.get(key).is_some_and(|handle| handle.id == id) => drop(state.leased.remove(key)),
            // It may have ended before its first order reached it.
            _ => state.leased.retain(|_, handle| handle.id != id),
        }
    }

    /// A connection has served its utterance and is free.
    pub(super) fn rest(&self, id: u64, key: &Key) {
        let mut state = self.state();
        if let Some(handle) = state.leased.remove(key).filter(|handle| handle.id == id) {
            state.idle.push(handle);
        }
    }
}

/// The engine of a streaming vendor.
pub(in crate::asr) struct Streaming<V> {
    vendor: V,
    terms: Terms,
    reply_bytes_max: usize,
    language: &'static str,
    sessions: Arc<Sessions>,
}

impl<V: Vendor> Streaming<V> {
    pub(in crate::asr) fn new(vendor: V, common: &super::Common) -> Self {
        let terms = common.terms(true);
        let leases = Arc::new(Semaphore::new(terms.concurrency_max));
        let sessions = Arc::new(Sessions { state: Mutex::default(), leases });
        Self { vendor, terms, reply_bytes_max: common.reply_bytes_max, language: common.tag(), sessions }
    }

    /// Gives an order to the connection of its utterance, to one that is idle, or to a new one.
    async fn order(&self, mut order: Order) -> Result<(), Lost> {
        let key = (order.speech.leg.clone(), order.speech.segment);
        let known = |state: &State| state.leased.get(&key).cloned();
        let mut handle = known(&self.sessions.state());
        if handle.is_none() {
            let lost = |fault| Lost { fault, again: false };
            let leases = Arc::clone(&self.sessions.leases);
            let lease = match order.speech.kind {
                SegmentKind::Partial => leases.try_acquire_owned().map_err(|_| lost(Fault::Overload))?,
                SegmentKind::Final => leases.acquire_owned().await.map_err(|_| lost(Fault::Shutdown))?,
            };
            let mut state = self.sessions.state();
            handle = known(&state);
            if handle.is_none() {
                order.lease = Some(lease);
                handle = state.idle.pop();
                let Some(idle) = &handle else {
                    self.dial(&mut state, key, order);
                    return Ok(());
                };
                state.leased.insert(key, idle.clone());
            }
        }
        let gone = || Lost { fault: Fault::Disconnected, again: true };
        handle.ok_or_else(gone)?.orders.send(order).await.map_err(|_| gone())
    }

    /// A new connection, whose first order it has before it can fail.
    fn dial(&self, state: &mut State, key: Key, order: Order) {
        state.made += 1;
        let (orders, queue) = mpsc::channel(session::ORDERS);
        // There is room in a new channel.
        let _ = orders.try_send(order);
        state.leased.insert(key, Handle { id: state.made, orders });
        let sessions = Arc::downgrade(&self.sessions);
        let session = Session::new(
            state.made,
            sessions,
            self.vendor.rules(),
            self.reply_bytes_max,
            self.vendor.dialogue(),
            queue,
        );
        // It ends by itself: when its handles are gone, when it is idle for long, when it fails.
        tokio::spawn(session.run(self.vendor.request()));
    }

    async fn ask(&self, speech: Speech) -> Result<Transcript, Lost> {
        let (answer, answered) = oneshot::channel();
        self.order(Order { speech, lease: None, answer }).await?;
        answered.await.unwrap_or(Err(Lost { fault: Fault::Disconnected, again: true }))
    }
}

impl<V: Vendor> Remote for Streaming<V> {
    fn terms(&self) -> Terms {
        self.terms
    }

    fn transcribe(&self, speech: Speech) -> BoxFuture<'_, Result<Transcript, Fault>> {
        async move {
            let first = self.ask(speech.clone()).await;
            let answer = match first {
                // Once more on a new connection, for what was no answer of the vendor's.
                Err(Lost { again: true, .. }) if speech.kind == SegmentKind::Final => self.ask(speech).await,
                other => other,
            };
            let mut transcript = answer.map_err(|lost| lost.fault)?;
            if transcript.language.is_empty() {
                transcript.language = self.language;
            }
            Ok(transcript)
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Fault>> {
        async move {
            let mut socket = dial::dial(self.vendor.request(), self.reply_bytes_max).await?;
            let greeting = self.vendor.dialogue().hello();
            dial::look(&mut socket, greeting, self.vendor.dialogue(), self.vendor.rules().farewell).await?;
            Ok("it takes a connection".to_owned())
        }
        .boxed()
    }
}
