//! The shell around the controller's core: hands it what happens with the time, and does
//! what it says.
//!
//! ```text
//! webhook, API ──┐                      ┌──► outbox            (under the lock: in order)
//! media leg ─────┼──► Mutex<Centre> ────┤
//! timer ─────────┘                      └──► one task a request ──► Voice API
//!                        ▲                             │             recordings
//!                        └──────────── outcome ────────┘
//! ```
//!
//! Invariant: the lock is held while the core computes, and never while anything waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Clock, LegInfo, LegObserver, Legs, Recordings};
use crate::control::{
    CallState, CallView, Centre, Flow, Keep, Now, Outcome, Output, Request, Settings, Tag, UnknownCall,
};
use crate::event::body::LegEnded;
use crate::event::call::RecordingCopy;
use crate::event::{Body, Event as Published};
use crate::publish::Outbox;
use crate::telemetry::{RecordingCopied, VonageAsked};
use crate::types::{ConversationId, LegId, Moment};
use crate::vonage::ncco::{Endpoint, Ncco};
use crate::vonage::rest::{Client, RestError};
use crate::vonage::webhook::{Answer, Event};

/// Longest wait for copies of recordings that are given up to say so.
const STOP_MAX: Duration = Duration::from_secs(1);

/// Runs the controller's core. Shared by everything that has news for it.
pub struct Controller {
    centre: Mutex<Running>,
    settings: Arc<Settings>,
    clock: Clock,
    outbox: Arc<Outbox>,
    legs: Arc<Legs>,
    /// None where no private key is configured.
    api: Option<Arc<VoiceApi>>,
    /// Requests under way.
    requests: AtomicUsize,
    requests_max: usize,
    /// None where no copies of recordings are kept.
    recordings: Option<Arc<Recordings>>,
    tasks: TaskTracker,
    /// Tells the timer that something is due sooner.
    sooner: Notify,
}

struct Running {
    centre: Centre,
    /// When the timer is to look.
    due: Option<Moment>,
}

/// How Vonage is asked.
pub struct VoiceApi {
    /// Tries again as it is configured to.
    pub client: Client,
    /// The same, trying once: for creations, which the core spaces out itself.
    pub creator: Client,
}

/// What the controller is made of.
pub struct ControllerParts {
    /// What its core is told.
    pub settings: Arc<Settings>,
    /// The process's clock.
    pub clock: Clock,
    /// Where its events go.
    pub outbox: Arc<Outbox>,
    /// The live media legs.
    pub legs: Arc<Legs>,
    /// Asks Vonage; none where no private key is configured.
    pub api: Option<VoiceApi>,
    /// Requests under way at a time.
    pub requests_max: usize,
    /// Keeps copies of recordings; none where none are kept, as in the settings.
    pub recordings: Option<Recordings>,
}

impl Controller {
    /// A controller that follows no call yet. [`Controller::keep_time`] must run beside it.
    #[must_use]
    pub fn new(parts: ControllerParts) -> Arc<Self> {
        let ControllerParts { settings, clock, outbox, legs, api, requests_max, recordings } = parts;
        let centre = Centre::new(Arc::clone(&settings), Box::new(new_id));
        Arc::new(Self {
            centre: Mutex::new(Running { centre, due: None }),
            settings,
            clock,
            outbox,
            legs,
            api: api.map(Arc::new),
            requests: AtomicUsize::new(0),
            requests_max,
            recordings: recordings.map(Arc::new),
            tasks: TaskTracker::new(),
            sooner: Notify::new(),
        })
    }

    /// Answers a call; see [`Centre::answer`].
    pub fn answer(self: &Arc<Self>, answer: &Answer, room: impl FnOnce(&ConversationId) -> bool) -> Bytes {
        self.tell(|centre, now| centre.answer(now, answer, room))
    }

    /// Takes an event webhook.
    ///
    /// # Errors
    /// [`UnknownCall`] where nothing in it says which call it is about.
    pub fn event(self: &Arc<Self>, tag: Option<&Tag>, event: &Event) -> Result<Option<Ncco>, UnknownCall> {
        self.tell(|centre, now| centre.event(now, tag, event))
    }

    /// Begins a call of ours; see [`Centre::dial`].
    ///
    /// # Errors
    /// Why it cannot be, in one word.
    pub fn dial(
        self: &Arc<Self>,
        flow: &Arc<Flow>,
        endpoint: &Endpoint,
        from: Option<&str>,
    ) -> Result<ConversationId, &'static str> {
        self.tell(|centre, now| centre.dial(now, flow, endpoint, from))
    }

    /// Pauses capture of a call on every leg, or has it go on; says whether that is new.
    ///
    /// # Errors
    /// [`UnknownCall`], also where too many calls are paused.
    pub fn set_paused(
        self: &Arc<Self>,
        call: &ConversationId,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<bool, UnknownCall> {
        // What is heard stops before it is said that it has, and goes on after.
        if paused && self.state(call).is_some_and(|state| state != CallState::Closed) {
            self.legs.pause(call, reason.unwrap_or_default()).map_err(|_| UnknownCall)?;
        }
        let told = self.tell(|centre, now| centre.set_paused(now, call, paused, reason.map(str::to_owned)));
        match told {
            Ok(_) if !paused => drop(self.legs.resume(call, reason.unwrap_or_default())),
            Err(UnknownCall) => self.legs.forget(call),
            Ok(_) => {}
        }
        told
    }

    /// How far a call is; none where it is not followed here.
    #[must_use]
    pub fn state(&self, call: &ConversationId) -> Option<CallState> {
        self.lock().centre.state(call)
    }

    /// A call as our API shows it.
    #[must_use]
    pub fn view(&self, call: &ConversationId) -> Option<CallView> {
        self.lock().centre.view(call, self.clock.wall())
    }

    /// Every call, newest first. Each is looked at when it is asked for, so that a long list
    /// keeps nobody else from the core.
    pub fn views(&self) -> impl Iterator<Item = CallView> {
        let calls = self.lock().centre.newest_first();
        calls.into_iter().filter_map(|call| self.view(&call))
    }

    /// What the controller was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks Vonage; none where no private key is configured.
    #[must_use]
    pub fn api(&self) -> Option<&Client> {
        self.api.as_ref().map(|api| &api.client)
    }

    /// Looks at the time for the core until `stop`.
    pub async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let due = self.lock().due;
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.clock.instant(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sooner.notified() => {}
                () = sleep => self.tell(|centre, now| centre.on_time(now)),
            }
        }
    }

    /// Publishes the record of every call as it stands, and waits until every request under
    /// way is answered, for at most `patience`. Copies of recordings are given up then.
    pub async fn stop(self: &Arc<Self>, patience: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        if let Some(recordings) = &self.recordings {
            recordings.stop();
            // Each says so at once; a request that hangs is not waited for again.
            let _ = tokio::time::timeout(STOP_MAX, self.tasks.wait()).await;
        }
        self.tell(|centre, now| centre.close(now));
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.centre.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the core something, and does what it says.
    fn tell<T>(self: &Arc<Self>, say: impl FnOnce(&mut Centre, Now) -> T) -> T {
        let (mut requests, mut keeps) = (Vec::new(), Vec::new());
        let said = {
            let mut running = self.lock();
            let said = say(&mut running.centre, self.now());
            let due = loop {
                match running.centre.poll() {
                    // Under the lock, so that events leave in the order of their numbers.
                    Output::Emit(event) => {
                        count(&event);
                        self.outbox.publish(event);
                    }
                    Output::Ask(request) => requests.push(request),
                    Output::Keep(keep) => keeps.push(keep),
                    Output::Forget(call) => self.legs.end(&call),
                    Output::Idle { until } => break until,
                }
            };
            let sooner = due.is_some_and(|due| running.due.is_none_or(|armed| due < armed));
            running.due = due;
            if sooner {
                self.sooner.notify_one();
            }
            said
        };
        requests.into_iter().for_each(|request| self.ask(request));
        keeps.into_iter().for_each(|keep| self.keep(*keep));
        said
    }

    fn now(&self) -> Now {
        Now { mono: self.clock.now(), wall: self.clock.wall() }
    }

    /// Does a request on a task of its own, a bounded number at a time.
    fn ask(self: &Arc<Self>, request: Request) {
        let Some(api) = self.api.clone() else { return };
        let controller = Arc::clone(self);
        let free = self.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, |under_way| {
            (under_way < self.requests_max).then_some(under_way + 1)
        });
        self.tasks.spawn(async move {
            if free.is_ok() {
                controller.perform(&api, request, Instant::now()).await;
                controller.requests.fetch_sub(1, Ordering::AcqRel);
            } else {
                controller.give_up(request);
            }
        });
    }

    /// Keeps a copy of a recording on a task of its own, in its turn, where there is room.
    fn keep(self: &Arc<Self>, wanted: Keep) {
        let room = self.recordings.as_ref().and_then(|recordings| Some((Arc::clone(recordings), recordings.room()?)));
        let controller = Arc::clone(self);
        self.tasks.spawn(async move {
            let copy = match room {
                Some((recordings, room)) => recordings.keep(&wanted, room).await,
                None => RecordingCopy::refused("busy"),
            };
            if !controller.tell(|centre, now| centre.copied(now, &wanted.call, &wanted.url, copy)) {
                RecordingCopied { outcome: "unpublished" }.emit();
            }
        });
    }

    /// Too many requests are under way for this one.
    fn give_up(self: &Arc<Self>, request: Request) {
        const BUSY: &str = "busy";
        let name = match &request {
            Request::Create { .. } => "create",
            Request::Poll { .. } => "poll",
            Request::HangUp { .. } => "hang_up",
            Request::Transfer { .. } => "transfer",
        };
        VonageAsked { request: name, outcome: BUSY, took: Duration::ZERO }.emit();
        match request {
            Request::Create { asked, .. } => {
                self.tell(|centre, now| centre.created(now, &asked, Outcome::Failed(BUSY)));
            }
            Request::Poll { call, leg, .. } => {
                self.tell(|centre, now| centre.polled(now, &call, &leg, Outcome::Failed(BUSY)));
            }
            Request::HangUp { .. } | Request::Transfer { .. } => {}
        }
    }

    async fn perform(self: &Arc<Self>, api: &VoiceApi, request: Request, started: Instant) {
        let VoiceApi { client, creator } = api;
        match request {
            Request::Create { asked, call } => {
                let created = creator.create_call(&call, None).await;
                observe("create", &created, started);
                self.tell(|centre, now| centre.created(now, &asked, outcome(created)));
            }
            Request::Poll { call, leg, region } => {
                let found = client.call(leg.as_str(), region.as_deref()).await;
                observe("poll", &found, started);
                self.tell(|centre, now| centre.polled(now, &call, &leg, outcome(found.map(Box::new))));
            }
            Request::HangUp { leg, region } => {
                let done = client.hang_up(leg.as_str(), region.as_deref()).await;
                observe("hang_up", &done, started);
            }
            Request::Transfer { leg, region, ncco } => {
                let done = client.transfer(leg.as_str(), ncco, region.as_deref()).await;
                observe("transfer", &done, started);
            }
        }
    }
}

impl LegObserver for Arc<Controller> {
    fn connected(&self, leg: &LegInfo) {
        self.tell(|centre, now| {
            centre.media_connected(now, &leg.conversation, &leg.id, &leg.speaker, leg.participant.as_ref());
        });
    }

    fn ended(&self, leg: &LegInfo, ended: Option<&LegEnded>) {
        self.tell(|centre, now| centre.media_ended(now, &leg.conversation, &leg.id, ended));
    }
}

/// Counts what became of a recording, whoever decided it.
fn count(event: &Published) {
    if let Body::CallRecording(recording) = &event.body
        && let Some(copy) = &recording.copy
    {
        RecordingCopied { outcome: copy.reason.as_deref().unwrap_or("kept") }.emit();
    }
}

fn new_id() -> LegId {
    LegId::parse(&Uuid::new_v4().to_string()).expect("a UUID is visible ASCII of 36 bytes")
}

fn observe<T>(request: &'static str, result: &Result<T, RestError>, started: Instant) {
    let outcome = match result {
        Ok(_) => "done",
        Err(error) => error.class(),
    };
    VonageAsked { request, outcome, took: started.elapsed() }.emit();
}

fn outcome<T>(result: Result<T, RestError>) -> Outcome<T> {
    match result {
        Ok(done) => Outcome::Done(done),
        Err(RestError::NotFound { .. }) => Outcome::Gone,
        Err(RestError::RateLimited { retry_after, .. }) => Outcome::Limited(retry_after),
        Err(error) => Outcome::Failed(error.class()),
    }
}
