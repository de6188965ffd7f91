//! The thread that brings events to a sink.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{Flight, Shared, State};
use super::order::Path;
use super::queue::Numbered;
use super::spool::{self, Held, Reader};
use crate::event::{Event, Lane};
use crate::sink::{Outcome, Refusal, Sink};
use crate::telemetry::{Delivery, EventSettled, SinkTrouble, SpoolUnreadable};

/// Pause between two attempts to open a sink or to offer it a refused event again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// Longest the thread sleeps when there is nothing to send.
const IDLE: Duration = Duration::from_millis(50);

/// Longest that the thread waits for acknowledgements while a new event may be waiting for it.
const GLANCE: Duration = Duration::from_millis(1);

/// Brings events to `sink` until the lane is closed; gives the number of durable events
/// that are neither delivered nor the spool's.
pub(super) fn run(sink: Box<dyn Sink>, reader: Option<Reader>, shared: &Shared) -> usize {
    let ahead = VecDeque::new();
    let mut sender =
        Sender { sink, reader, ahead, shared, flying: HashMap::new(), returned: BTreeMap::new(), outcomes: Vec::new() };
    let left = sender.run();
    shared.state().sender_gone = true;
    shared.arrived.notify_all();
    left
}

/// What is to be sent next.
struct Next {
    position: u64,
    key: u64,
    path: Path,
    event: Arc<Event>,
}

struct Sender<'a> {
    sink: Box<dyn Sink>,
    reader: Option<Reader>,
    /// Read from disk, not sent.
    ahead: VecDeque<Held>,
    shared: &'a Shared,
    /// Position of each event in flight, by where it is in memory; the flight keeps it there.
    flying: HashMap<usize, u64>,
    /// Handed back by the sink, to be sent again when nothing else is in flight.
    returned: BTreeMap<u64, Arc<Event>>,
    outcomes: Vec<(Arc<Event>, Outcome)>,
}

impl Sender<'_> {
    fn run(&mut self) -> usize {
        if !self.open() {
            return self.leave(None);
        }
        while let Some(next) = self.next() {
            if let Err(left) = self.send(next) {
                // Closed while the sink was busy.
                return self.flush(Duration::ZERO) + left;
            }
        }
        let close_by = self.shared.state().close_by.unwrap_or_else(Instant::now);
        self.flush(close_by.saturating_duration_since(Instant::now()))
    }

    /// Gives the number of durable events that are neither delivered nor the spool's.
    fn flush(&mut self, wait: Duration) -> usize {
        let left = self.sink.flush(wait).err().unwrap_or(0);
        self.collect();
        if self.shared.spooled.is_some() { 0 } else { left }
    }

    /// Sets aside what the sink did not take in time; gives the number of durable events.
    /// What a spool has, or can still get, is left to it.
    fn leave(&mut self, event: Option<Arc<Event>>) -> usize {
        if self.shared.spooled.is_some() {
            return 0;
        }
        let rest = std::mem::take(&mut self.shared.state().ready.durable).into_iter().map(|waiting| waiting.event);
        let left: Vec<_> = event.into_iter().chain(rest).filter(|event| event.lane() == Lane::Durable).collect();
        left.iter().for_each(|event| self.sink.set_aside(event, "the gateway stopped before the sink took it"));
        left.len()
    }

    fn is_over(&self) -> bool {
        self.shared.state().close_by.is_some_and(|by| Instant::now() >= by)
    }

    /// Opens the sink, however long it takes. `false` when the lane closed first.
    fn open(&mut self) -> bool {
        while let Err(problem) = self.sink.open() {
            self.shared.note(Some(problem));
            if self.is_over() {
                return false;
            }
            // Spurious wake-ups and pushes only make the next attempt come sooner.
            self.shared.changed.wait_for(&mut self.shared.state(), RETRY);
        }
        self.shared.note(None);
        true
    }

    /// The next event; `None` once closed and either empty or, with a spool, late.
    fn next(&mut self) -> Option<Next> {
        loop {
            self.read_ahead();
            let over = self.is_over();
            {
                let mut state = self.shared.state();
                if over && self.shared.spooled.is_some() {
                    return None;
                }
                if self.returned.is_empty() {
                    match self.choose(&mut state) {
                        Some(next) => return Some(next),
                        None if state.close_by.is_some() && is_empty(&state) => return None,
                        None => {}
                    }
                }
            }
            let waited = self.sink.poll(GLANCE);
            self.collect();
            self.shared.note(self.sink.trouble());
            self.send_again();
            let mut state = self.shared.state();
            // What came in the meantime, to memory or to the disk.
            let unread = self.ahead.is_empty() && state.in_hand == 0 && state.order.backlog_len() > 0;
            let more = self.returned.is_empty() && (!state.ready.is_empty() || unread);
            let done = state.close_by.is_some() && is_empty(&state);
            if !more && !done && !waited {
                self.shared.changed.wait_for(&mut state, IDLE);
            }
        }
    }

    fn choose(&mut self, state: &mut State) -> Option<Next> {
        if self.shared.spooled.is_none() {
            let Numbered { number, event, .. } = state.ready.pop()?;
            return Some(Next { position: number, key: 0, path: Path::Live, event });
        }
        loop {
            let head = self.ahead.front().map(|held| held.key);
            match state.order.choose(!state.ready.is_empty(), head)? {
                Path::Live => {
                    let Numbered { number, event, written } = state.ready.pop()?;
                    let key = spool::key(event.origin.conversation.as_str());
                    if event.lane() == Lane::Ephemeral && state.order.holds(key) {
                        EventSettled { sink: self.shared.name, delivery: Delivery::Shed }.emit();
                        continue;
                    }
                    if event.lane() == Lane::Durable {
                        // Under one lock: at no moment is it nowhere.
                        state.flight.insert(number, Flight { event: Arc::clone(&event), written });
                    }
                    return Some(Next { position: number, key, path: Path::Live, event });
                }
                Path::Backlog => {
                    let Held { position, key, event } = self.ahead.pop_front()?;
                    state.flight.insert(position, Flight { event: Arc::clone(&event), written: true });
                    return Some(Next { position, key, path: Path::Backlog, event });
                }
            }
        }
    }

    fn read_ahead(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        let mut lost = Vec::new();
        if self.ahead.is_empty() {
            reader.read(&mut self.ahead, &mut lost);
        }
        for (wanted, fault) in lost {
            SpoolUnreadable { sink: self.shared.name, reason: fault.name() }.emit();
            self.shared.state().order.left(wanted.key, Path::Backlog);
            self.settle(&[wanted.position]);
        }
    }

    /// Sends one event, however long it takes. Ephemeral ones are offered once.
    ///
    /// # Errors
    /// When the lane closed first: as [`Sender::leave`].
    fn send(&mut self, next: Next) -> Result<(), usize> {
        let Next { position, key, path, event } = next;
        let tracked = self.shared.spooled.is_some() && event.lane() == Lane::Durable;
        if tracked {
            self.flying.insert(Arc::as_ptr(&event) as usize, position);
        }
        let mut closed = false;
        while !self.offer(&event) {
            if event.lane() == Lane::Ephemeral {
                EventSettled { sink: self.shared.name, delivery: Delivery::Shed }.emit();
                break;
            }
            closed = self.is_over();
            if closed {
                break;
            }
            self.rest();
            if !self.returned.is_empty() {
                // It comes after those.
                self.returned.insert(position, Arc::clone(&event));
                break;
            }
        }
        if tracked {
            // From here on the order is kept by the sink, or by `returned`.
            self.shared.state().order.left(key, path);
            self.collect();
        }
        if closed { Err(self.leave(Some(event))) } else { Ok(()) }
    }

    /// Offers an event. `false` when the sink has no room.
    fn offer(&mut self, event: &Arc<Event>) -> bool {
        match self.sink.send(event) {
            Ok(()) => {
                self.shared.state().busy = false;
                true
            }
            Err(Refusal::Rejected(reason)) => {
                EventSettled { sink: self.shared.name, delivery: Delivery::DeadLetter }.emit();
                SinkTrouble { sink: self.shared.name, problem: &reason }.emit();
                self.outcomes.push((Arc::clone(event), Outcome::Settled));
                true
            }
            Err(Refusal::Busy) => false,
        }
    }

    /// Gives the sink time to make room.
    fn rest(&mut self) {
        self.shared.state().busy = true;
        self.shared.arrived.notify_one();
        let again = Instant::now() + RETRY;
        self.sink.poll(RETRY);
        self.collect();
        self.shared.note(self.sink.trouble());
        // A sink that had nothing to do meanwhile did not wait.
        let mut state = self.shared.state();
        while !self.shared.changed.wait_until(&mut state, again).timed_out() {}
    }

    /// Notes what became of events that the sink took.
    fn collect(&mut self) {
        if self.shared.spooled.is_none() {
            self.outcomes.clear();
            return;
        }
        self.sink.outcomes(&mut self.outcomes);
        if self.outcomes.is_empty() {
            return;
        }
        let mut settled = Vec::new();
        for (event, outcome) in self.outcomes.drain(..) {
            let at = Arc::as_ptr(&event) as usize;
            match outcome {
                Outcome::Settled => settled.extend(self.flying.remove(&at)),
                Outcome::Returned => {
                    if let Some(position) = self.flying.get(&at) {
                        self.returned.insert(*position, event);
                    }
                }
            }
        }
        let mut state = self.shared.state();
        settled.retain(|position| state.flight.remove(position).is_some_and(|flight| flight.written));
        drop(state);
        self.settle(&settled);
    }

    /// Notes that the spool need not keep these.
    fn settle(&self, positions: &[u64]) {
        if let Some(spooled) = &self.shared.spooled {
            positions.iter().for_each(|position| spooled.index.settle(*position));
            self.shared.state().acks.extend(positions);
        }
    }

    /// Sends again, in order, what the sink handed back, once all that it had is
    /// accounted for: else a later event might pass.
    fn send_again(&mut self) {
        if self.returned.is_empty() || self.flying.len() > self.returned.len() {
            return;
        }
        // Whatever made it hand them back is given time to pass.
        self.rest();
        while let Some((position, event)) = self.returned.pop_first() {
            if !self.offer(&event) {
                self.returned.insert(position, event);
                return;
            }
        }
    }
}

/// Whether nothing waits anywhere.
fn is_empty(state: &State) -> bool {
    state.ready.is_empty() && state.arriving.is_empty() && state.in_hand == 0 && state.order.backlog_len() == 0
}
