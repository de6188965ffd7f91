//! What waits for a worker, bounded; finals before partials.
//!
//! Under load partials give way first: one is taken only while no final waits,
//! and a final that comes sheds the partials that wait. A text that came from elsewhere goes
//! before all: it takes next to no time, and there are no more of them than segments under way.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::BufferPool;
use super::job::{Job, Text, Work};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{Fault, SegmentKind};

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Finals waiting, in seconds of audio.
    pub audio_max_s: u64,
    /// Partials waiting.
    pub partials_max: usize,
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Finals.
    pub finals: usize,
    /// Partials.
    pub partials: usize,
    /// Audio in the finals, in seconds.
    pub audio_s: f64,
}

#[derive(Default)]
struct State {
    texts: VecDeque<Text>,
    finals: VecDeque<Job>,
    partials: VecDeque<Job>,
    samples: u64,
    closed: bool,
}

pub(super) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    work: Condvar,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), work: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, or gives it back when there is no room. Finals never wait behind partials.
    pub(super) fn push(&self, job: Job, buffers: &BufferPool) -> Result<(), Job> {
        let mut state = self.state();
        if state.closed {
            return Err(job);
        }
        let shed = match job.about.kind {
            SegmentKind::Final => {
                let samples = state.samples + job.samples.len() as u64;
                // An empty queue takes any segment, however small the bound.
                if !state.finals.is_empty() && samples > self.limits.audio_max_s * u64::from(PIPELINE_HZ) {
                    return Err(job);
                }
                state.samples = samples;
                state.finals.push_back(job);
                std::mem::take(&mut state.partials)
            }
            SegmentKind::Partial => {
                if !state.finals.is_empty() || state.partials.len() >= self.limits.partials_max {
                    return Err(job);
                }
                state.partials.push_back(job);
                VecDeque::new()
            }
        };
        drop(state);
        self.work.notify_one();
        for partial in shed {
            partial.refuse(Fault::Overload, buffers);
        }
        Ok(())
    }

    /// Adds a text that came from elsewhere; it is dropped, and whoever waits told so, once
    /// the queue is closed.
    pub(super) fn push_text(&self, text: Text) {
        let mut state = self.state();
        if !state.closed {
            state.texts.push_back(text);
            drop(state);
            self.work.notify_one();
        }
    }

    /// What to do next; waits for something. `None` once the queue is closed.
    pub(super) fn pop(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if let Some(text) = state.texts.pop_front() {
                return Some(Work::Finish(text));
            }
            if let Some(job) = state.finals.pop_front() {
                state.samples -= job.samples.len() as u64;
                return Some(Work::Decode(job));
            }
            if let Some(job) = state.partials.pop_front() {
                return Some(Work::Decode(job));
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Refuses all that waits and all that comes.
    pub(super) fn close(&self, buffers: &BufferPool) {
        let mut state = self.state();
        state.closed = true;
        state.samples = 0;
        state.texts.clear();
        let waiting: Vec<Job> =
            std::mem::take(&mut state.finals).into_iter().chain(std::mem::take(&mut state.partials)).collect();
        drop(state);
        self.work.notify_all();
        for job in waiting {
            job.refuse(Fault::Shutdown, buffers);
        }
    }

    pub(super) fn backlog(&self) -> Backlog {
        let state = self.state();
        Backlog {
            finals: state.finals.len(),
            partials: state.partials.len(),
            audio_s: state.samples as f64 / f64::from(PIPELINE_HZ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::super::job::To;
    use super::*;
    use crate::inference::Redaction;
    use crate::inference::job::About;
    use crate::redact::Policy;
    use crate::types::{LegId, Moment, Reply, SegmentId};

    struct Bench {
        queue: Queue,
        buffers: BufferPool,
        replies: mpsc::Receiver<Box<Reply>>,
        sender: mpsc::Sender<Box<Reply>>,
    }

    fn bench() -> Bench {
        let (sender, replies) = mpsc::channel(16);
        let limits = Limits { audio_max_s: 2, partials_max: 2 };
        Bench { queue: Queue::new(limits), buffers: BufferPool::new(1, 1), replies, sender }
    }

    impl Bench {
        fn push(&self, id: u64, kind: SegmentKind, seconds: usize) -> bool {
            let slot = self.sender.clone().try_reserve_owned().unwrap();
            let samples = Arc::new(vec![0; seconds * 16_000]);
            let redaction = Redaction::new(Policy::default(), Arc::default());
            let (leg, id, at) = (LegId::parse("leg").unwrap(), SegmentId(id), Moment(0));
            let about = About { leg, id, kind, at, redaction, overhearing: None };
            let job = Job { about, samples, backend: 0, submitted: std::time::Instant::now(), to: To::Leg(slot) };
            self.queue.push(job, &self.buffers).is_ok()
        }

        fn popped(&self) -> u64 {
            match self.queue.pop() {
                Some(Work::Decode(job)) => job.about.id.0,
                _ => panic!("no job"),
            }
        }
    }

    use SegmentKind::{Final, Partial};

    #[test]
    fn finals_come_in_order_and_are_bounded_in_seconds_of_audio() {
        let bench = bench();
        assert!(bench.push(1, Final, 1) && bench.push(2, Final, 1));
        assert!(!bench.push(3, Final, 1), "three seconds fitted into two");
        assert_eq!((bench.popped(), bench.popped()), (1, 2));
        assert!(bench.push(4, Final, 5), "an empty queue refused a long segment");
        assert_eq!(bench.queue.backlog(), Backlog { finals: 1, partials: 0, audio_s: 5.0 });
    }

    #[test]
    fn partials_give_way_to_finals() {
        let mut bench = bench();
        assert!(bench.push(1, Partial, 1) && bench.push(2, Partial, 1));
        assert!(!bench.push(3, Partial, 1), "a third partial fitted into two places");
        assert!(bench.push(4, Final, 1));
        let shed: Vec<_> = (0..2).map(|_| bench.replies.try_recv().unwrap()).map(|r| (r.id.0, r.outcome)).collect();
        assert_eq!(shed, [(1, Err(Fault::Overload)), (2, Err(Fault::Overload))]);
        assert!(!bench.push(5, Partial, 1), "a partial was taken while a final waits");
        assert_eq!(bench.popped(), 4);
        assert!(bench.push(6, Partial, 1));
    }

    #[test]
    fn closing_answers_everyone_and_frees_the_workers() {
        let mut bench = bench();
        bench.push(1, Final, 1);
        bench.queue.close(&bench.buffers);
        assert_eq!(bench.replies.try_recv().unwrap().outcome, Err(Fault::Shutdown));
        assert!(bench.queue.pop().is_none());
        assert!(!bench.push(2, Final, 1));
    }
}
