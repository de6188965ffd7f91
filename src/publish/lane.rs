//! One sink's two queues and the thread that empties them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Limits;
use crate::event::{self, Event};
use crate::sink::{Refusal, Sink};
use crate::telemetry::{Delivery, EventSettled, SinkTrouble};

/// Pause between two attempts to open a sink or to offer it a refused event again.
const RETRY: Duration = Duration::from_millis(250);

/// Longest the thread sleeps when there is nothing to send.
const IDLE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct State {
    durable: VecDeque<Arc<Event>>,
    ephemeral: VecDeque<Arc<Event>>,
    /// Set once: deliver what is there until then, and end.
    close_by: Option<Instant>,
    trouble: Option<String>,
}

struct Shared {
    name: &'static str,
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Lane {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<usize>>>,
}

impl Lane {
    pub(super) fn start(sink: Box<dyn Sink>, limits: Limits) -> std::io::Result<Self> {
        let name = sink.name();
        let shared = Arc::new(Shared { name, limits, state: Mutex::default(), changed: Condvar::new() });
        let thread = std::thread::Builder::new().name(format!("sink-{name}")).spawn({
            let shared = Arc::clone(&shared);
            move || run(sink, &shared)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn name(&self) -> &'static str {
        self.shared.name
    }

    pub(super) fn push(&self, event: &Arc<Event>) {
        let mut state = self.shared.state();
        let limits = self.shared.limits;
        let unsettled = match event.lane() {
            event::Lane::Durable if state.durable.len() >= limits.durable_max => Some(Delivery::Lost),
            event::Lane::Durable => {
                state.durable.push_back(Arc::clone(event));
                None
            }
            event::Lane::Ephemeral => {
                let full = state.ephemeral.len() >= limits.ephemeral_max;
                if full {
                    state.ephemeral.pop_front();
                }
                state.ephemeral.push_back(Arc::clone(event));
                full.then_some(Delivery::Shed)
            }
        };
        drop(state);
        self.shared.changed.notify_one();
        if let Some(delivery) = unsettled {
            EventSettled { sink: self.shared.name, delivery }.emit();
        }
    }

    pub(super) fn is_pressed(&self) -> bool {
        self.shared.state().durable.len() >= self.shared.limits.durable_max / 4 * 3
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.state().trouble.clone()
    }

    pub(super) fn close(&self, wait: Duration) {
        self.shared.state().close_by = Some(Instant::now() + wait);
        self.shared.changed.notify_one();
    }

    /// Waits for the thread; gives the number of durable events that are not safe.
    pub(super) fn join(&self) -> usize {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(0, |thread| thread.join().unwrap_or(usize::MAX))
    }
}

fn run(mut sink: Box<dyn Sink>, shared: &Shared) -> usize {
    if !open(&mut *sink, shared) {
        return shared.state().durable.len();
    }
    loop {
        let Some(event) = next(&mut *sink, shared) else { break };
        if !offer(&mut *sink, shared, &event) {
            // Closed while the sink was busy: this one and the rest are left over.
            let left = 1 + shared.state().durable.len();
            return left + sink.flush(Duration::ZERO).err().unwrap_or(0);
        }
    }
    let close_by = shared.state().close_by.unwrap_or_else(Instant::now);
    sink.flush(close_by.saturating_duration_since(Instant::now())).err().unwrap_or(0)
}

/// Opens the sink, however long it takes. `false` when the lane closed first.
fn open(sink: &mut dyn Sink, shared: &Shared) -> bool {
    while let Err(problem) = sink.open() {
        let mut state = shared.state();
        let news = state.trouble.as_ref() != Some(&problem);
        if news {
            SinkTrouble { sink: shared.name, problem: &problem }.emit();
            state.trouble = Some(problem);
        }
        if state.close_by.is_some_and(|by| Instant::now() >= by) {
            return false;
        }
        // Spurious wake-ups and pushes only make the next attempt come sooner.
        drop(shared.changed.wait_timeout(state, RETRY));
    }
    shared.state().trouble = None;
    true
}

/// The next event, durable ones first; `None` once closed and empty.
fn next(sink: &mut dyn Sink, shared: &Shared) -> Option<Arc<Event>> {
    loop {
        {
            let mut state = shared.state();
            if let Some(event) = state.durable.pop_front() {
                return Some(event);
            }
            if let Some(event) = state.ephemeral.pop_front() {
                return Some(event);
            }
            if state.close_by.is_some() {
                return None;
            }
        }
        sink.poll(Duration::ZERO);
        let state = shared.state();
        if state.durable.is_empty() && state.ephemeral.is_empty() && state.close_by.is_none() {
            drop(shared.changed.wait_timeout(state, IDLE));
        }
    }
}

/// Offers an event until it is taken. Ephemeral ones are offered once. `false`
/// when the lane closed first.
fn offer(sink: &mut dyn Sink, shared: &Shared, event: &Arc<Event>) -> bool {
    loop {
        match sink.send(event) {
            Ok(()) => return true,
            Err(Refusal::Rejected(reason)) => {
                EventSettled { sink: shared.name, delivery: Delivery::DeadLetter }.emit();
                SinkTrouble { sink: shared.name, problem: &reason }.emit();
                return true;
            }
            Err(Refusal::Busy) if event.lane() == event::Lane::Ephemeral => {
                EventSettled { sink: shared.name, delivery: Delivery::Shed }.emit();
                return true;
            }
            Err(Refusal::Busy) => {
                if shared.state().close_by.is_some_and(|by| Instant::now() >= by) {
                    return false;
                }
                sink.poll(RETRY);
            }
        }
    }
}
