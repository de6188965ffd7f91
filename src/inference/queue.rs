//! What waits for a worker, bounded; finals before partials, the one cut first before all others.
//!
//! Every final has as long from when it was cut, so the oldest is the one whose deadline is
//! first, whichever leg it is of; one that another transcriber has failed on goes back to the
//! place of its age. Where finals wait, a transcriber that gains from it gets several at once:
//! never more than a worker's share of them, and never two of one leg, which are redacted in order.
//!
//! Under load partials give way first: one is taken only while no final waits,
//! and a final that comes sheds the partials that wait. A text that came from elsewhere goes
//! before all: it takes next to no time, and there are no more of them than segments under way.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
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
    /// Finals waiting, in seconds of audio, beyond which no thread scores sentiment.
    pub scores_audio_max_s: u64,
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

/// A final; of two, the greater is the one to serve first.
struct Final {
    job: Job,
    /// Its place among those that came; of two cut together, the first goes first.
    came: u64,
}

impl Ord for Final {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.job.about.at, other.came).cmp(&(self.job.about.at, self.came))
    }
}

impl PartialOrd for Final {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Final {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Final {}

#[derive(Default)]
struct State {
    texts: VecDeque<Text>,
    finals: BinaryHeap<Final>,
    partials: VecDeque<Job>,
    samples: u64,
    came: u64,
    closed: bool,
}

impl State {
    /// The oldest final, and with it others that wait, `share` in all at most, oldest first: for
    /// the same transcriber, of legs that are not in it yet.
    fn finals(&mut self, share: usize, hearer: impl Fn(&Job, f64) -> Hearer) -> Vec<Job> {
        let Some(Final { job: first, .. }) = self.finals.peek() else { return Vec::new() };
        let behind = self.samples.saturating_sub(first.samples.len() as u64);
        let Hearer { place, together } = hearer(first, behind as f64 / f64::from(PIPELINE_HZ));
        let most = together.min(share);
        let mut jobs: Vec<Job> = Vec::new();
        while let Some(next) = self.finals.peek()
            && (jobs.is_empty() || jobs.len() < most)
            && jobs.iter().all(|job| job.backend == next.job.backend && job.about.leg != next.job.about.leg)
            && let Some(Final { job, .. }) = self.finals.pop()
        {
            self.samples -= job.samples.len() as u64;
            jobs.push(job);
        }
        for job in &mut jobs {
            job.backend = place;
        }
        jobs
    }
}

/// Who is to hear a segment.
pub(super) struct Hearer {
    /// The transcriber's place.
    pub(super) place: usize,
    /// How many finals it decodes faster than one by one.
    pub(super) together: usize,
}

pub(super) struct Queue {
    limits: Limits,
    workers: usize,
    state: Mutex<State>,
    work: Condvar,
}

impl Queue {
    pub(super) fn new(limits: Limits, workers: usize) -> Self {
        Self { limits, workers, state: Mutex::default(), work: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, or gives it back when there is no room. Finals never wait behind partials.
    pub(super) fn push(&self, job: Job, buffers: &BufferPool) -> Result<(), Box<Job>> {
        let mut state = self.state();
        if state.closed {
            return Err(Box::new(job));
        }
        let shed = match job.about.kind {
            SegmentKind::Final => {
                let samples = state.samples + job.samples.len() as u64;
                // An empty queue takes any segment, however small the bound.
                if !state.finals.is_empty() && samples > self.limits.audio_max_s * u64::from(PIPELINE_HZ) {
                    return Err(Box::new(job));
                }
                state.samples = samples;
                state.came += 1;
                let came = state.came;
                state.finals.push(Final { job, came });
                std::mem::take(&mut state.partials)
            }
            SegmentKind::Partial => {
                if !state.finals.is_empty() || state.partials.len() >= self.limits.partials_max {
                    return Err(Box::new(job));
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

    /// What to do next; waits for something. `None` once the queue is closed. `hearer`: who is to
    /// hear a segment behind which so many seconds of audio wait.
    pub(super) fn pop(&self, hearer: impl Fn(&Job, f64) -> Hearer) -> Option<Work> {
        let mut state = self.state();
        loop {
            if let Some(text) = state.texts.pop_front() {
                return Some(Work::Finish(text));
            }
            let share = state.finals.len().div_ceil(self.workers.max(1));
            let finals = state.finals(share, &hearer);
            if !finals.is_empty() {
                return Some(Work::Decode(finals));
            }
            if let Some(mut job) = state.partials.pop_front() {
                job.backend = hearer(&job, 0.0).place;
                return Some(Work::Decode(vec![job]));
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
        let finals = std::mem::take(&mut state.finals).into_iter().map(|waiting| waiting.job);
        let waiting: Vec<Job> = finals.chain(std::mem::take(&mut state.partials)).collect();
        drop(state);
        self.work.notify_all();
        for job in waiting {
            job.refuse(Fault::Shutdown, buffers);
        }
    }

    /// Whether so much waits that the threads have no time for scores.
    pub(super) fn is_pressed(&self) -> bool {
        self.state().samples > self.limits.scores_audio_max_s * u64::from(PIPELINE_HZ)
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
    use crate::inference::Hearing;
    use crate::inference::job::About;
    use crate::inference::job::tests::about;
    use crate::types::{LegId, Moment, Reply};

    struct Bench {
        queue: Queue,
        buffers: BufferPool,
        replies: mpsc::Receiver<Box<Reply>>,
        sender: mpsc::Sender<Box<Reply>>,
    }

    fn bench() -> Bench {
        with_workers(1, 2)
    }

    fn with_workers(workers: usize, audio_max_s: u64) -> Bench {
        let (sender, replies) = mpsc::channel(16);
        let limits = Limits { audio_max_s, partials_max: 2, scores_audio_max_s: 2 };
        Bench { queue: Queue::new(limits, workers), buffers: BufferPool::new(1, 1), replies, sender }
    }

    impl Bench {
        fn push(&self, id: u64, kind: SegmentKind, seconds: usize) -> bool {
            self.push_of("leg", Moment(0), id, kind, seconds)
        }

        fn push_of(&self, leg: &str, at: Moment, id: u64, kind: SegmentKind, seconds: usize) -> bool {
            let slot = self.sender.clone().try_reserve_owned().unwrap();
            let samples = Arc::new(vec![0; seconds * 16_000]);
            let leg = LegId::parse(leg).unwrap();
            let about = About { leg, kind, at, ..about(Hearing::default(), id) };
            let job = Job { about, samples, backend: 0, submitted: std::time::Instant::now(), to: To::Leg(slot) };
            self.queue.push(job, &self.buffers).is_ok()
        }

        fn popped(&self) -> u64 {
            let together = self.popped_together(1);
            assert_eq!(together.len(), 1);
            together[0]
        }

        fn popped_together(&self, most: usize) -> Vec<u64> {
            match self.queue.pop(|job, _| Hearer { place: job.backend, together: most }) {
                Some(Work::Decode(jobs)) => jobs.iter().map(|job| job.about.id.0).collect(),
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
    fn the_final_cut_first_is_served_first_whenever_it_came() {
        let bench = with_workers(1, 60);
        for (id, cut_at) in [(1, 500), (2, 900), (3, 100), (4, 500)] {
            assert!(bench.push_of("leg", Moment(cut_at), id, Final, 1));
        }
        assert_eq!([(); 4].map(|()| bench.popped()), [3, 1, 4, 2]);
        assert_eq!(bench.queue.backlog(), Backlog::default());
    }

    #[test]
    fn finals_that_wait_are_given_out_together_up_to_a_workers_share() {
        let bench = with_workers(2, 60);
        for id in 1..=10 {
            assert!(bench.push_of(&format!("leg-{id}"), Moment(id), id, Final, 1));
        }
        assert_eq!(bench.popped_together(4), [1, 2, 3, 4]);
        assert_eq!(bench.popped_together(4), [5, 6, 7], "more than half of six, with two workers");
        assert_eq!(bench.popped_together(1), [8]);
        assert_eq!(bench.popped_together(4), [9]);
        assert_eq!(bench.popped_together(0), [10], "nothing was given out");
    }

    #[test]
    fn two_finals_of_one_leg_are_never_given_out_together() {
        let bench = with_workers(1, 60);
        for (id, leg) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            assert!(bench.push_of(leg, Moment(id), id, Final, 1));
        }
        assert_eq!(bench.popped_together(8), [1, 2]);
        assert_eq!(bench.popped_together(8), [3, 4]);
    }

    #[test]
    fn scores_give_way_to_finals_beyond_their_bound() {
        let bench = with_workers(1, 60);
        assert!(!bench.queue.is_pressed());
        assert!(bench.push_of("a", Moment(1), 1, Final, 2) && !bench.queue.is_pressed(), "at the bound");
        assert!(bench.push_of("b", Moment(2), 2, Final, 1) && bench.queue.is_pressed());
        assert_eq!(bench.popped(), 1);
        assert!(!bench.queue.is_pressed());
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
        assert!(bench.queue.pop(|job, _| Hearer { place: job.backend, together: 1 }).is_none());
        assert!(!bench.push(2, Final, 1));
    }
}
