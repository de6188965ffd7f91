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
    durable: VecDeque<Numbered>,
    ephemeral: VecDeque<Numbered>,
    /// Events that ever came: their order, over both queues.
    came: u64,
    /// Set once: deliver what is there until then, and end.
    close_by: Option<Instant>,
    trouble: Option<String>,
}

type Numbered = (u64, Arc<Event>);

impl State {
    /// The event that came first; a leg's events leave in the order they were written.
    fn pop(&mut self) -> Option<Arc<Event>> {
        let number = |queue: &VecDeque<Numbered>| queue.front().map_or(u64::MAX, |(number, _)| *number);
        let first =
            if number(&self.durable) <= number(&self.ephemeral) { &mut self.durable } else { &mut self.ephemeral };
        first.pop_front().map(|(_, event)| event)
    }
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

    /// Remembers what the sink suffers from, and tells it when it is new.
    fn note(&self, trouble: Option<String>) {
        let mut state = self.state();
        if state.trouble != trouble {
            if let Some(problem) = &trouble {
                SinkTrouble { sink: self.name, problem }.emit();
            }
            state.trouble = trouble;
        }
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
        state.came += 1;
        let numbered = (state.came, Arc::clone(event));
        let unsettled = match event.lane() {
            event::Lane::Durable if state.durable.len() >= limits.durable_max => Some(Delivery::Lost),
            event::Lane::Durable => {
                state.durable.push_back(numbered);
                None
            }
            event::Lane::Ephemeral => {
                let full = state.ephemeral.len() >= limits.ephemeral_max;
                if full {
                    state.ephemeral.pop_front();
                }
                state.ephemeral.push_back(numbered);
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
        return leave(&mut *sink, shared, None);
    }
    loop {
        let Some(event) = next(&mut *sink, shared) else { break };
        if !offer(&mut *sink, shared, &event) {
            // Closed while the sink was busy.
            let left = leave(&mut *sink, shared, Some(event));
            return left + sink.flush(Duration::ZERO).err().unwrap_or(0);
        }
    }
    let close_by = shared.state().close_by.unwrap_or_else(Instant::now);
    sink.flush(close_by.saturating_duration_since(Instant::now())).err().unwrap_or(0)
}

/// Sets aside what the sink did not take in time; gives the number of durable events.
fn leave(sink: &mut dyn Sink, shared: &Shared, event: Option<Arc<Event>>) -> usize {
    let rest = std::mem::take(&mut shared.state().durable).into_iter().map(|(_, event)| event);
    let left = event.into_iter().chain(rest).filter(|event| event.lane() == event::Lane::Durable);
    left.inspect(|event| sink.set_aside(event, "the gateway stopped before the sink took it")).count()
}

/// Opens the sink, however long it takes. `false` when the lane closed first.
fn open(sink: &mut dyn Sink, shared: &Shared) -> bool {
    while let Err(problem) = sink.open() {
        shared.note(Some(problem));
        let state = shared.state();
        if state.close_by.is_some_and(|by| Instant::now() >= by) {
            return false;
        }
        // Spurious wake-ups and pushes only make the next attempt come sooner.
        drop(shared.changed.wait_timeout(state, RETRY));
    }
    shared.note(None);
    true
}

/// The next event; `None` once closed and empty.
fn next(sink: &mut dyn Sink, shared: &Shared) -> Option<Arc<Event>> {
    loop {
        {
            let mut state = shared.state();
            if let Some(event) = state.pop() {
                return Some(event);
            }
            if state.close_by.is_some() {
                return None;
            }
        }
        sink.poll(Duration::ZERO);
        shared.note(sink.trouble());
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
                let again = Instant::now() + RETRY;
                sink.poll(RETRY);
                shared.note(sink.trouble());
                // A sink that had nothing to do meanwhile did not wait.
                let rest = again.saturating_duration_since(Instant::now());
                drop(shared.changed.wait_timeout_while(shared.state(), rest, |_| true));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::body::{Dtmf, SpeechStarted};
    use crate::event::{Body, Origin};
    use crate::types::{ConversationId, LegId, Speaker, WallTime};

    #[derive(Default)]
    struct Seen {
        offered: AtomicUsize,
        set_aside: Mutex<Vec<(String, String)>>,
        open: Mutex<Option<String>>,
        trouble: Mutex<Option<String>>,
    }

    /// Takes nothing, and does not wait for anything either.
    struct Stubborn(Arc<Seen>);

    impl Sink for Stubborn {
        fn name(&self) -> &'static str {
            "stubborn"
        }

        fn open(&mut self) -> Result<(), String> {
            self.0.open.lock().unwrap().clone().map_or(Ok(()), Err)
        }

        fn send(&mut self, _: &Arc<Event>) -> Result<(), Refusal> {
            self.0.offered.fetch_add(1, Ordering::SeqCst);
            Err(Refusal::Busy)
        }

        fn trouble(&self) -> Option<String> {
            self.0.trouble.lock().unwrap().clone()
        }

        fn set_aside(&mut self, event: &Event, reason: &str) {
            self.0.set_aside.lock().unwrap().push((event.id(), reason.to_owned()));
        }

        fn flush(&mut self, _: Duration) -> Result<(), usize> {
            Ok(())
        }
    }

    fn event(seq: u64, body: Body) -> Arc<Event> {
        let origin = Origin {
            conversation: ConversationId::parse("CON-1").unwrap(),
            leg: LegId::parse("leg").unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/test"),
        };
        Arc::new(Event { origin: Arc::new(origin), seq, sub: 0, time: WallTime::default(), body })
    }

    fn durable(seq: u64) -> Arc<Event> {
        event(seq, Body::Dtmf(Dtmf { digit: "1".into(), duration_ms: None, at_ms: 0 }))
    }

    fn ephemeral(seq: u64) -> Arc<Event> {
        event(seq, Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 0 }))
    }

    fn lane(seen: &Arc<Seen>) -> Lane {
        let limits = Limits { durable_max: 16, ephemeral_max: 16, live_max: 1 };
        Lane::start(Box::new(Stubborn(Arc::clone(seen))), limits).unwrap()
    }

    /// Waits, bounded, until something holds.
    fn until(what: &str, holds: impl Fn() -> bool) {
        let by = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < by, "waited in vain for {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_busy_sink_is_left_alone_between_offers() {
        let seen = Arc::new(Seen::default());
        let lane = lane(&seen);
        let began = Instant::now();
        lane.push(&durable(1));
        until("the fourth offer", || {
            // New events are no reason to offer the old one again.
            lane.push(&durable(2));
            seen.offered.load(Ordering::SeqCst) >= 4
        });
        // Waits are never shorter than asked for, so this cannot fail on a slow machine.
        assert!(began.elapsed() >= RETRY * 3, "four offers within {:?}", began.elapsed());
        lane.close(Duration::ZERO);
        lane.join();
    }

    #[test]
    fn what_a_sink_did_not_take_in_time_is_set_aside_in_order_and_counted() {
        for open in [None, Some("not there".to_owned())] {
            let seen = Arc::new(Seen { open: Mutex::new(open), ..Seen::default() });
            let lane = lane(&seen);
            for seq in 1..=3 {
                lane.push(&durable(seq));
                lane.push(&ephemeral(seq));
            }
            lane.close(Duration::ZERO);
            assert_eq!(lane.join(), 3, "ephemeral events are not counted");
            let reason = "the gateway stopped before the sink took it".to_owned();
            let expected = ["leg:1", "leg:2", "leg:3"].map(|id| (id.to_owned(), reason.clone()));
            assert_eq!(*seen.set_aside.lock().unwrap(), expected);
        }
    }

    #[test]
    fn events_of_both_lanes_leave_in_the_order_they_came() {
        let mut state = State::default();
        for (number, event) in [durable(1), ephemeral(1), durable(2), ephemeral(2)].into_iter().enumerate() {
            let queue = match event.lane() {
                event::Lane::Durable => &mut state.durable,
                event::Lane::Ephemeral => &mut state.ephemeral,
            };
            queue.push_back((number as u64, event));
        }
        let left: Vec<_> = std::iter::from_fn(|| state.pop()).map(|event| event.id()).collect();
        assert_eq!(left, [durable(1), ephemeral(1), durable(2), ephemeral(2)].map(|event| event.id()));
    }

    #[test]
    fn trouble_is_known_while_it_lasts() {
        let seen = Arc::new(Seen { open: Mutex::new(Some("not there".to_owned())), ..Seen::default() });
        let lane = lane(&seen);
        until("trouble at opening", || lane.trouble().as_deref() == Some("not there"));
        *seen.open.lock().unwrap() = None;
        until("no trouble", || lane.trouble().is_none());
        *seen.trouble.lock().unwrap() = Some("full".to_owned());
        until("trouble in between", || lane.trouble().as_deref() == Some("full"));
        *seen.trouble.lock().unwrap() = None;
        until("no trouble again", || lane.trouble().is_none());
        lane.close(Duration::ZERO);
        lane.join();
    }
}
