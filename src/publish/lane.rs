//! One sink's lane: what waits for it, and the threads that bring it there.
//!
//! ```text
//! without a spool:  push ─────────────────────────────► ready ──► sender ──► sink
//! with a spool:     push ──► arriving ──► acceptor ──┬──► ready ──► sender ──► sink
//!                                           │        └──► (disk) ─────┘ │
//!                                           └──► spool ◄── settled ─────┘
//! ```
//!
//! A durable event is accepted once the acceptor has written it to the spool; only
//! then does the sender get it, from memory or from disk as [`super::order`] says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

// Of the standard library's condition variable each notification is a system call, heard or
// not; and there is one for every event.
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::losses::Losses;
use super::order::Order;
use super::queue::Queues;
use super::spool::{self, Index, Mode};
use super::{Limits, StartError, accept, send};
use crate::event::{self, Event};
use crate::sink::Sink;
use crate::telemetry::{Delivery, EventSettled, EventsLost, SinkTrouble, SpoolFound, SpoolQuarantined};

/// Between two log lines about events that are lost.
const LOSS_LOG_EVERY: Duration = Duration::from_secs(1);

/// A durable event that left its queue and is not settled yet.
pub(super) struct Flight {
    pub(super) event: Arc<Event>,
    /// Whether the spool has it.
    pub(super) written: bool,
}

#[derive(Default)]
pub(super) struct State {
    /// With a spool only: what the acceptor has not seen yet.
    pub(super) arriving: Queues,
    /// What the sender may take.
    pub(super) ready: Queues,
    /// Durable events that the acceptor has taken and not placed yet, for want of disk perhaps.
    pub(super) in_hand: usize,
    /// Events that ever came, or were numbered since: their order.
    pub(super) came: u64,
    pub(super) order: Order,
    /// What the sender has taken and the sink has not settled, by position; with a spool only.
    pub(super) flight: BTreeMap<u64, Flight>,
    /// Positions settled that the spool does not know of yet.
    pub(super) acks: Vec<u64>,
    pub(super) losses: Losses,
    /// Lost since the last log line, and when that was.
    lost: (u64, Option<Instant>),
    /// Set once: deliver what is there until then, and end.
    pub(super) close_by: Option<Instant>,
    /// The sender has ended.
    pub(super) sender_gone: bool,
    pub(super) trouble: Option<String>,
    /// What the spool suffers from.
    pub(super) disk_trouble: Option<String>,
    /// Whether the sink had no room when last asked.
    pub(super) busy: bool,
}

impl State {
    /// Durable events that wait in memory for room somewhere.
    fn crowd(&self) -> usize {
        self.arriving.durable.len() + self.in_hand
    }
}

/// A lane's view of its spool.
pub(super) struct Spooled {
    pub(super) index: Arc<Index>,
    pub(super) mode: Mode,
    /// Events that may wait in `ready`.
    pub(super) memory_max: usize,
}

pub(super) struct Shared {
    pub(super) name: &'static str,
    limits: Limits,
    pub(super) spooled: Option<Spooled>,
    state: Mutex<State>,
    /// Something for the sender, or the end.
    pub(super) changed: Condvar,
    /// Something for the acceptor, or the end.
    pub(super) arrived: Condvar,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Remembers what the sink suffers from, and tells it when it is new.
    pub(super) fn note(&self, trouble: Option<String>) {
        let mut state = self.state();
        if state.trouble != trouble {
            if let Some(problem) = &trouble {
                SinkTrouble { sink: self.name, problem }.emit();
            }
            state.trouble = trouble;
        }
    }

    /// Remembers what the spool suffers from, and tells it when it is new.
    pub(super) fn note_disk(&self, trouble: Option<String>) {
        let mut state = self.state();
        if state.disk_trouble != trouble {
            if let Some(problem) = &trouble {
                SinkTrouble { sink: self.name, problem }.emit();
            }
            state.disk_trouble = trouble;
        }
    }

    /// Counts a durable event that found no room, and remembers its number for consumers.
    fn lose(&self, state: &mut State, event: &Event) {
        EventSettled { sink: self.name, delivery: Delivery::Lost }.emit();
        if self.spooled.is_some() {
            // Beyond its bound a hole is counted, and shows in `seq`.
            state.losses.add(event);
        }
        state.lost.0 += 1;
        let now = Instant::now();
        if state.lost.1.is_none_or(|last| now.duration_since(last) >= LOSS_LOG_EVERY) {
            EventsLost { sink: self.name, events: std::mem::take(&mut state.lost.0) }.emit();
            state.lost.1 = Some(now);
        }
    }
}

pub(super) struct Lane {
    shared: Arc<Shared>,
    sender: Mutex<Option<JoinHandle<usize>>>,
    acceptor: Mutex<Option<JoinHandle<usize>>>,
}

impl Lane {
    pub(super) fn start(
        mut sink: Box<dyn Sink>,
        limits: Limits,
        spool: Option<&spool::Settings>,
    ) -> Result<Self, StartError> {
        let name = sink.name();
        let settings = spool.filter(|_| sink.acknowledge());
        let opened = settings.map(|settings| Ok((settings, spool::open(settings, name)?)));
        let mut state = State::default();
        let (spooled, writer, reader) = match opened.transpose().map_err(StartError::Spool)? {
            None => (None, None, None),
            Some((settings, opened)) => {
                let spool::Spool { index, writer, reader, found } = opened;
                state.order = Order::new(settings.replay_share);
                state.came = found.last;
                found.keys.iter().for_each(|key| state.order.recovered(*key));
                for (file, fault) in &found.quarantined {
                    SpoolQuarantined { sink: name, file, reason: fault.name() }.emit();
                }
                SpoolFound { sink: name, events: found.events(), bytes: index.bytes() }.emit();
                let spooled = Spooled { index, mode: settings.mode, memory_max: settings.memory_max };
                (Some(spooled), Some(writer), Some(reader))
            }
        };
        let shared = Arc::new(Shared {
            name,
            limits,
            spooled,
            state: Mutex::new(state),
            changed: Condvar::new(),
            arrived: Condvar::new(),
        });
        let sender = std::thread::Builder::new().name(format!("sink-{name}")).spawn({
            let shared = Arc::clone(&shared);
            move || send::run(sink, reader, &shared)
        });
        let acceptor = writer.map(|writer| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("spool-{name}")).spawn(move || accept::run(writer, &shared))
        });
        let sender = Mutex::new(Some(sender.map_err(StartError::Thread)?));
        let acceptor = Mutex::new(acceptor.transpose().map_err(StartError::Thread)?);
        Ok(Self { shared, sender, acceptor })
    }

    pub(super) fn name(&self) -> &'static str {
        self.shared.name
    }

    pub(super) fn push(&self, event: &Arc<Event>) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let Limits { durable_max, ephemeral_max, .. } = self.shared.limits;
        state.came += 1;
        let spooled = self.shared.spooled.is_some();
        let crowd = if spooled { state.crowd() } else { state.ready.durable.len() };
        let queues = if spooled { &mut state.arriving } else { &mut state.ready };
        let mut shed = false;
        match event.lane() {
            event::Lane::Durable if crowd >= durable_max => self.shared.lose(state, event),
            event::Lane::Durable => queues.push(state.came, Arc::clone(event), false),
            event::Lane::Ephemeral => {
                shed = queues.ephemeral.len() >= ephemeral_max;
                if shed {
                    queues.ephemeral.pop_front();
                }
                queues.push(state.came, Arc::clone(event), false);
            }
        }
        drop(guard);
        if spooled {
            self.shared.arrived.notify_one();
        } else {
            self.shared.changed.notify_one();
        }
        if shed {
            EventSettled { sink: self.shared.name, delivery: Delivery::Shed }.emit();
        }
    }

    pub(super) fn is_pressed(&self) -> bool {
        let state = self.shared.state();
        let limit = self.shared.limits.durable_max / 4 * 3;
        match &self.shared.spooled {
            None => state.ready.durable.len() >= limit,
            Some(spooled) => state.crowd() >= limit || state.disk_trouble.is_some() || spooled.index.is_pressed(),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.shared.state();
        let both = [&state.trouble, &state.disk_trouble].map(Option::as_deref);
        let troubles: Vec<_> = both.into_iter().flatten().collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Whether all that came is accepted.
    #[cfg(test)]
    pub(super) fn is_settled_down(&self) -> bool {
        let state = self.shared.state();
        state.arriving.is_empty() && state.in_hand == 0
    }

    pub(super) fn close(&self, wait: Duration) {
        self.shared.state().close_by = Some(Instant::now() + wait);
        self.shared.changed.notify_all();
        self.shared.arrived.notify_all();
    }

    /// Waits for the threads; gives the number of durable events that are not safe.
    pub(super) fn join(&self) -> usize {
        let join = |thread: &Mutex<Option<JoinHandle<usize>>>| {
            let thread = thread.lock().take();
            thread.map_or(0, |thread| thread.join().unwrap_or(usize::MAX))
        };
        let left = join(&self.sender);
        {
            // Also when the thread ended in a panic.
            self.shared.state().sender_gone = true;
            self.shared.arrived.notify_all();
        }
        left.saturating_add(join(&self.acceptor))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::body::{Dtmf, SpeechStarted};
    use crate::event::{Body, Origin};
    use crate::sink::Refusal;
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
            self.0.open.lock().clone().map_or(Ok(()), Err)
        }

        fn send(&mut self, _: &Arc<Event>) -> Result<(), Refusal> {
            self.0.offered.fetch_add(1, Ordering::SeqCst);
            Err(Refusal::Busy)
        }

        fn trouble(&self) -> Option<String> {
            self.0.trouble.lock().clone()
        }

        fn set_aside(&mut self, event: &Event, reason: &str) {
            self.0.set_aside.lock().push((event.id(), reason.to_owned()));
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

    pub(crate) fn durable(seq: u64) -> Arc<Event> {
        event(seq, Body::Dtmf(Dtmf { digit: "1".into(), duration_ms: None, at_ms: 0 }))
    }

    pub(crate) fn ephemeral(seq: u64) -> Arc<Event> {
        event(seq, Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 0 }))
    }

    fn lane(seen: &Arc<Seen>) -> Lane {
        let limits = Limits { durable_max: 16, ephemeral_max: 16, live_max: 1 };
        Lane::start(Box::new(Stubborn(Arc::clone(seen))), limits, None).unwrap()
    }

    /// Waits, bounded, until something holds.
    pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
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
        assert!(began.elapsed() >= send::RETRY * 3, "four offers within {:?}", began.elapsed());
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
            assert_eq!(*seen.set_aside.lock(), expected);
        }
    }

    #[test]
    fn trouble_is_known_while_it_lasts() {
        let seen = Arc::new(Seen { open: Mutex::new(Some("not there".to_owned())), ..Seen::default() });
        let lane = lane(&seen);
        until("trouble at opening", || lane.trouble().as_deref() == Some("not there"));
        *seen.open.lock() = None;
        until("no trouble", || lane.trouble().is_none());
        *seen.trouble.lock() = Some("full".to_owned());
        until("trouble in between", || lane.trouble().as_deref() == Some("full"));
        *seen.trouble.lock() = None;
        until("no trouble again", || lane.trouble().is_none());
        lane.close(Duration::ZERO);
        lane.join();
    }
}
