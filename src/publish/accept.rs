//! The thread that writes what came to the spool, and only then lets the sender have it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{Shared, Spooled, State};
use super::order::Path;
use super::queue::Numbered;
use super::spool::{self, Mode, Record, Writer};
use crate::event::{Event, Lane};
use crate::telemetry::{Delivery, EventSettled, SpoolKept, SpoolLevel};

/// Events taken at once, hence written at once.
const BATCH_MAX: usize = 256;

/// Longest this thread sleeps: settled events are noted on disk about this often.
const TICK: Duration = Duration::from_millis(100);

/// Settled events that are noted on disk at once.
const ACKS_MAX: usize = 512;

/// Pause between two attempts to write to a disk that refused.
const RETRY: Duration = Duration::from_millis(250);

/// Files are deleted once nothing in them has been wanted for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Accepts events until the sender has gone; gives the number of durable events that
/// are neither delivered nor on disk.
pub(super) fn run(writer: Writer, shared: &Shared) -> usize {
    let Some(spooled) = &shared.spooled else { return 0 };
    let now = Instant::now();
    let engaged = spooled.mode == Mode::Always;
    let mut acceptor = Acceptor {
        writer,
        shared,
        spooled,
        engaged,
        behind: false,
        waiting: Vec::new(),
        chunk: BATCH_MAX,
        refused: None,
        used: now,
        noted: now,
    };
    while acceptor.round() {}
    acceptor.finish()
}

/// An event that came, and where it is to wait.
struct Coming {
    position: u64,
    key: u64,
    /// `None` for an ephemeral one.
    path: Option<Path>,
    event: Arc<Event>,
}

impl Coming {
    fn record(&self) -> Option<Record<'_>> {
        let Self { position, key, path, event } = self;
        path.map(|path| Record { position: *position, key: *key, path, event })
    }
}

struct Acceptor<'a> {
    writer: Writer,
    shared: &'a Shared,
    spooled: &'a Spooled,
    /// Whether events are written that the sender gets from memory.
    engaged: bool,
    /// Whether there are events that the spool should have and has not.
    behind: bool,
    /// Those of them that are for the disk only.
    waiting: Vec<Coming>,
    /// Events written at once when there are old ones to be written.
    chunk: usize,
    /// When the disk last refused something.
    refused: Option<Instant>,
    /// When the spool last held something that was wanted.
    used: Instant,
    /// When settled events were last noted.
    noted: Instant,
}

impl Acceptor<'_> {
    /// Takes what came, or does the chores. `false` once the sender has gone and nothing comes.
    fn round(&mut self) -> bool {
        let batch = {
            let mut state = self.shared.state();
            if state.arriving.is_empty() && !state.sender_gone {
                // Spurious wake-ups only make the chores come sooner.
                self.shared.arrived.wait_for(&mut state, TICK);
            }
            if state.arriving.is_empty() && state.sender_gone {
                return false;
            }
            self.gather(&mut state)
        };
        self.catch_up();
        self.place(batch);
        self.chores();
        true
    }

    /// Takes a batch and says where each event is to wait.
    fn gather(&mut self, state: &mut State) -> Vec<Coming> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX {
            let Some(came) = state.arriving.pop() else { break };
            // Consumers are told of a hole after what is before it, before what is behind it.
            for loss in state.losses.take_before(&came.event, self.shared.name) {
                batch.push(self.number(state, Arc::new(loss)));
            }
            batch.push(self.number(state, came.event));
        }
        if state.arriving.is_empty() && !state.losses.is_empty() && self.refused.is_none() && !self.behind {
            for loss in state.losses.take(self.shared.name) {
                batch.push(self.number(state, Arc::new(loss)));
            }
        }
        state.in_hand += batch.iter().filter(|coming| coming.path.is_some()).count();
        if self.spooled.mode == Mode::Overflow {
            let pressed = batch.iter().any(|coming| coming.path == Some(Path::Backlog))
                || state.trouble.is_some()
                || state.busy
                || state.ready.durable.len() >= self.spooled.memory_max / 2
                || state.close_by.is_some();
            if pressed && !self.engaged {
                (self.engaged, self.behind) = (true, true);
            } else if !pressed && self.spooled.index.unsettled() == 0 && state.order.backlog_len() == 0 {
                self.engaged = false;
            }
        }
        batch
    }

    fn number(&self, state: &mut State, event: Arc<Event>) -> Coming {
        state.came += 1;
        let key = spool::key(event.origin.conversation.as_str());
        let durable = event.lane() == Lane::Durable;
        let path = durable.then(|| state.order.arrive(key, self.spooled.memory_max));
        Coming { position: state.came, key, path, event }
    }

    /// Writes, in the order they came, the events that the disk refused or that are in
    /// memory alone; nothing newer is written before them.
    fn catch_up(&mut self) {
        if !self.behind || self.refused.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        let mut all = unwritten(&self.shared.state());
        all.append(&mut self.waiting);
        all.sort_unstable_by_key(|coming| coming.position);
        let mut done = 0;
        for chunk in all.chunks(self.chunk) {
            if !self.write(chunk) {
                break;
            }
            self.mark(chunk);
            done += chunk.len();
        }
        self.behind = done < all.len();
        self.waiting = all.drain(done..).filter(|coming| coming.path == Some(Path::Backlog)).collect();
        self.shared.changed.notify_one();
    }

    /// Notes that these are on disk now.
    fn mark(&self, written: &[Coming]) {
        let mut settled = Vec::new();
        let mut guard = self.shared.state();
        let state = &mut *guard;
        for coming in written {
            let ready = &mut state.ready.durable;
            if coming.path == Some(Path::Backlog) {
                state.in_hand -= 1;
            } else if let Some(flight) = state.flight.get_mut(&coming.position) {
                flight.written = true;
            } else if let Ok(at) = ready.binary_search_by_key(&coming.position, |waiting| waiting.number) {
                ready[at].written = true;
            } else {
                // The sink was faster.
                settled.push(coming.position);
            }
        }
        state.acks.extend(&settled);
        drop(guard);
        settled.iter().for_each(|position| self.spooled.index.settle(*position));
    }

    /// Writes a batch and gives it to the sender.
    fn place(&mut self, batch: Vec<Coming>) {
        if batch.is_empty() {
            return;
        }
        let written = self.engaged && !self.behind && self.write(&batch);
        self.behind |= self.engaged && !written;
        {
            let mut guard = self.shared.state();
            let state = &mut *guard;
            for coming in batch {
                match coming.path {
                    None if state.order.holds(coming.key) => {
                        // It must not pass what waits on disk, and does not wait itself.
                        EventSettled { sink: self.shared.name, delivery: Delivery::Shed }.emit();
                    }
                    None => state.ready.push(coming.position, coming.event, false),
                    // Without a disk it is better in memory alone than not at all.
                    Some(Path::Live) => {
                        state.in_hand -= 1;
                        state.ready.push(coming.position, coming.event, written);
                    }
                    Some(Path::Backlog) if written => state.in_hand -= 1,
                    Some(Path::Backlog) => self.waiting.push(coming),
                }
            }
        }
        self.shared.changed.notify_one();
    }

    /// Writes the durable events among these; `false`, and trouble, when the disk refuses.
    fn write(&mut self, batch: &[Coming]) -> bool {
        let records: Vec<_> = batch.iter().filter_map(Coming::record).collect();
        if records.is_empty() {
            return true;
        }
        let outcome = self.writer.append(&records);
        self.used = Instant::now();
        self.refused = outcome.is_err().then_some(self.used);
        // What does not fit as a whole may fit in part.
        self.chunk = if outcome.is_ok() { (self.chunk * 2).min(BATCH_MAX) } else { (self.chunk / 2).max(1) };
        self.say(outcome)
    }

    fn say(&self, outcome: io::Result<()>) -> bool {
        let trouble = outcome.err().map(|error| {
            format!("the spool takes no events ({error}); calls in progress are served from memory, new ones refused")
        });
        let well = trouble.is_none();
        self.shared.note_disk(trouble);
        well
    }

    /// Notes what is settled, forces to the disk what is due, deletes what is done with.
    fn chores(&mut self) {
        let now = Instant::now();
        let due = now.duration_since(self.noted) >= TICK;
        let acks = {
            let mut state = self.shared.state();
            if due || state.acks.len() >= ACKS_MAX { std::mem::take(&mut state.acks) } else { Vec::new() }
        };
        self.acknowledge(acks);
        if let Err(error) = self.writer.sync_if_due(now) {
            self.say(Err(error));
        } else if self.refused.is_some_and(|at| at.elapsed() >= RETRY) && !self.behind {
            // Whether there is room again shows with the next event; calls may bring one.
            self.refused = None;
            self.say(Ok(()));
        }
        if self.spooled.index.unsettled() > 0 {
            self.used = now;
        } else if now.duration_since(self.used) >= QUIET {
            self.writer.clear();
        }
        if due {
            self.noted = now;
            let index = &self.spooled.index;
            SpoolLevel { sink: self.shared.name, bytes: index.bytes(), events: index.unsettled() }.emit();
        }
    }

    /// Notes settled positions. What cannot be noted is sent again by the next start, and
    /// dropped by consumers as repeated.
    fn acknowledge(&mut self, mut acks: Vec<u64>) {
        if !acks.is_empty() && self.spooled.index.bytes() > 0 {
            acks.sort_unstable();
            let _ = self.writer.settled(&acks);
        }
    }

    /// Writes what is in memory still; gives the number of events that are nowhere else.
    fn finish(mut self) -> usize {
        (self.behind, self.refused) = (true, None);
        self.catch_up();
        let lost = unwritten(&self.shared.state()).len() + self.waiting.len();
        let acks = std::mem::take(&mut self.shared.state().acks);
        self.acknowledge(acks);
        if let Err(error) = self.writer.finish() {
            self.say(Err(error));
        }
        let index = &self.spooled.index;
        if index.unsettled() > 0 {
            SpoolKept { sink: self.shared.name, events: index.unsettled() }.emit();
        }
        lost
    }
}

/// Durable events in memory that the spool does not have, in the order they came.
fn unwritten(state: &State) -> Vec<Coming> {
    let flight = state.flight.iter().filter(|(_, flight)| !flight.written);
    let flight = flight.map(|(position, flight)| (*position, &flight.event));
    let ready = state.ready.durable.iter().filter(|waiting| !waiting.written);
    let ready = ready.map(|Numbered { number, event, .. }| (*number, event));
    let coming = |(position, event): (u64, &Arc<Event>)| {
        let key = spool::key(event.origin.conversation.as_str());
        Coming { position, key, path: Some(Path::Live), event: Arc::clone(event) }
    };
    let mut all: Vec<_> = flight.chain(ready).map(coming).collect();
    all.sort_unstable_by_key(|coming| coming.position);
    all
}
