//! The second transcriber on a thread of its own, that gives way to all others.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Overheard, Second, ShadowPlan};
use crate::asr::{Engine, Transcriber};
use crate::inference::queue::{Backlog, Queue};
use crate::inference::worker::{hear, open_warm};
use crate::types::{Fault, SegmentKind};

/// Longest that a stop waits for what the thread holds.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub(super) struct Here {
    queue: Arc<Queue>,
    /// Taken when it stops.
    jobs: Mutex<Option<SyncSender<Overheard>>>,
    /// Why it is of no use, if it is not.
    trouble: Arc<Mutex<Option<String>>>,
    /// Closed by the thread's end.
    ended: Mutex<Receiver<()>>,
}

impl Here {
    pub(super) fn start(plan: &ShadowPlan, second: Arc<Second>, queue: Arc<Queue>) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(plan.waiting_max);
        let (alive, ended) = sync_channel(1);
        let trouble = Arc::new(Mutex::new(Some("warming".to_owned())));
        let mut thread = Thread {
            engine: plan.engine.clone(),
            second,
            queue: Arc::clone(&queue),
            trouble: Arc::clone(&trouble),
            audio: Vec::new(),
        };
        std::thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            give_way();
            thread.run(&waiting);
            drop(alive);
        })?;
        Ok(Self { queue, jobs: Mutex::new(Some(jobs)), trouble, ended: Mutex::new(ended) })
    }

    pub(super) fn offer(&self, overheard: Overheard, second: &Second) {
        if !is_idle(&self.queue) {
            return second.shed(overheard, &Fault::Overload);
        }
        let jobs = self.jobs.lock();
        let Some(jobs) = &*jobs else { return second.shed(overheard, &Fault::Shutdown) };
        match jobs.try_send(overheard) {
            Ok(()) => {}
            Err(TrySendError::Full(overheard)) => second.shed(overheard, &Fault::Overload),
            Err(TrySendError::Disconnected(overheard)) => second.shed(overheard, &Fault::Crashed),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Ends the thread. One that holds a segment for longer than a moment is left to itself.
    pub(super) fn stop(&self) {
        drop(self.jobs.lock().take());
        if self.ended.lock().recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the second transcriber still hears something; it is not waited for");
        }
    }
}

/// Whether nothing waits for an inference thread.
fn is_idle(queue: &Queue) -> bool {
    let Backlog { finals, partials, .. } = queue.backlog();
    finals + partials == 0
}

/// Lets every other thread of the process go first.
fn give_way() {
    #[cfg(target_os = "linux")]
    // Of the thread, on Linux. One that may not be slower is as fast as the others.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}

struct Thread {
    engine: Engine,
    second: Arc<Second>,
    queue: Arc<Queue>,
    trouble: Arc<Mutex<Option<String>>>,
    audio: Vec<f32>,
}

impl Thread {
    fn run(&mut self, waiting: &Receiver<Overheard>) {
        let mut transcriber = self.open();
        while let Ok(overheard) = waiting.recv() {
            self.hear(&mut transcriber, overheard);
        }
    }

    fn open(&self) -> Option<Box<dyn Transcriber>> {
        let opened = open_warm(self.second.name, &self.engine);
        *self.trouble.lock() = opened.as_ref().err().map(|error| format!("failed: {error}"));
        opened.ok().flatten()
    }

    fn hear(&mut self, transcriber: &mut Option<Box<dyn Transcriber>>, overheard: Overheard) {
        let second = Arc::clone(&self.second);
        if overheard.is_gone() || second.stopped.is_cancelled() {
            return second.shed(overheard, &Fault::Shutdown);
        }
        if !is_idle(&self.queue) {
            return second.shed(overheard, &Fault::Overload);
        }
        let Some(opened) = transcriber else { return second.shed(overheard, &Fault::Unavailable) };
        let Some(entry) = second.gate.enter() else { return second.shed(overheard, &Fault::Unavailable) };
        let started = Instant::now();
        let heard = hear(&mut **opened, &overheard.samples, SegmentKind::Final, &mut self.audio);
        entry.settle(&heard);
        let crashed = heard == Err(Fault::Crashed);
        second.conclude(overheard, heard, started.elapsed());
        if crashed {
            // Whatever state the panic left behind is not to be trusted.
            *transcriber = self.open();
        }
    }
}
