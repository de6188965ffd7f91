//! The platform itself: legs, conversations, the media clock, and who does what when.
//!
//! ```text
//!  script ──► line: one task a leg ──► flow: its NCCO, action by action
//!                 │                        │
//!                 ▼                        ▼
//!            world: legs and conversations, behind one lock
//!                 ▲            ▲
//!   ticker: mixes │            │ rest: Voice REST API
//!                 ▼
//!            socket: frames to the application, playback from it
//! ```
//!
//! It speaks to the application as Vonage does and in no other way: webhooks, REST, sockets.

mod calling;
mod connect;
mod deeds;
mod endpoint;
mod events;
mod flow;
mod input;
mod leg;
mod line;
mod report;
mod requests;
mod run;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::leg::Hook;
pub use self::report::{LegReport, Report};
use self::world::World;
use super::clock::Clock;
use super::fault::{self, Faults, Wanted};
use super::rest::{self, Rates};
use super::webhook::{self, BadSender, Sender, Signing};
use crate::types::rate::FRAME_MS;
use crate::vonage::app_jwt::AppPublicKey;
use crate::vonage::rest_types::{CALLS_PER_SECOND, REQUESTS_PER_SECOND};

/// Webhooks that may wait for their turn or a reply. What comes then is not sent, and counted.
pub const WEBHOOKS_MAX: usize = 10_000;
/// Longest run, in platform time, when nothing else is set.
pub const LONGEST_DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);

/// How a platform is set up: what the dashboard of the real one knows, and what the
/// real one does not have.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the REST API listens.
    pub listen: SocketAddr,
    /// The application's answer URL.
    pub answer: Hook,
    /// Its event URL.
    pub event: Hook,
    /// Asked when a webhook whose reply counts has failed.
    pub fallback_url: Option<String>,
    /// How webhooks, and handshakes with `vonage` authorization, are signed.
    pub signing: Option<Signing>,
    /// Whose tokens the REST API takes; without one, anybody's.
    pub rest_key: Option<AppPublicKey>,
    /// The application that such a token must name.
    pub application_id: Option<String>,
    /// Calls that may be made in a second, `connect` included; Vonage raises it on demand.
    pub calls_per_second: u32,
    /// Other REST requests that may be made in a second.
    pub requests_per_second: u32,
    /// Times faster than real time.
    pub speed: f64,
    /// Seed of the faults.
    pub seed: u64,
    /// Which faults.
    pub faults: Wanted,
    /// How strong.
    pub fault_settings: fault::Settings,
    /// Folder for a WAV file of what each party heard.
    pub heard: Option<PathBuf>,
    /// Longest run, in platform time.
    pub longest: Duration,
}

impl Settings {
    /// An application with these two URLs, on a free port of this machine, in real time,
    /// unsigned and without faults.
    #[must_use]
    pub fn new(answer_url: &str, event_url: &str) -> Self {
        use crate::vonage::ncco::Method;
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            answer: Hook { url: answer_url.to_owned(), method: Method::Get },
            event: Hook { url: event_url.to_owned(), method: Method::Post },
            fallback_url: None,
            signing: None,
            rest_key: None,
            application_id: None,
            calls_per_second: CALLS_PER_SECOND,
            requests_per_second: REQUESTS_PER_SECOND,
            speed: 1.0,
            seed: 0,
            faults: Wanted::default(),
            fault_settings: fault::Settings::default(),
            heard: None,
            longest: LONGEST_DEFAULT,
        }
    }
}

/// The platform could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("the REST API cannot listen on {address}: {problem}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The folder for what was heard cannot be made.
    #[error("{}: {problem}", folder.display())]
    Heard {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The webhook sender cannot be made.
    #[error(transparent)]
    Sender(#[from] BadSender),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot start: {0}")]
    Client(#[from] reqwest::Error),
}

/// A platform that runs. Ends when dropped.
#[derive(Debug)]
pub struct Platform {
    exchange: Arc<Exchange>,
}

/// What all its tasks share.
struct Exchange {
    settings: Settings,
    address: SocketAddr,
    clock: Clock,
    sender: Sender,
    faults: Faults,
    rates: Arc<Rates>,
    http: reqwest::Client,
    world: Mutex<World>,
    tasks: TaskTracker,
    /// The sockets alone: a run is over when they are closed.
    lines: TaskTracker,
    stop: CancellationToken,
    sockets: AtomicU64,
    posts: Arc<Semaphore>,
    /// Webhooks that found no place.
    posts_lost: AtomicU64,
    /// Most that a tick was late, in µs of real time.
    lag_us: AtomicU64,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Platform {
    /// Starts the REST API and the media clock.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let address = settings.listen;
        let listener = TcpListener::bind(address).await.map_err(|problem| StartError::Listen { address, problem })?;
        Self::start_on(listener, settings).await
    }

    /// The same on a listener that is there already, for an application that must know
    /// the address before it can be started itself; `settings.listen` is not looked at.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(listener: TcpListener, settings: Settings) -> Result<Self, StartError> {
        let listen = |problem| StartError::Listen { address: settings.listen, problem };
        let address = listener.local_addr().map_err(listen)?;
        if let Some(folder) = &settings.heard {
            let heard = |problem| StartError::Heard { folder: folder.clone(), problem };
            std::fs::create_dir_all(folder).map_err(heard)?;
        }
        let clock = Clock::start(settings.speed);
        let faults = Faults::new(settings.seed, settings.faults.clone(), settings.fault_settings.clone());
        let sender = Sender::new(sender_settings(&settings, clock.speed(), faults.clone()))?;
        let rates = Arc::new(Rates::of(settings.calls_per_second, settings.requests_per_second, clock.speed()));
        let rest = rest::Settings {
            key: settings.rest_key.clone(),
            application_id: settings.application_id.clone(),
            host: None,
            rates: Arc::clone(&rates),
            pace: clock.speed(),
        };
        let exchange = Arc::new(Exchange {
            address,
            clock,
            sender,
            faults,
            rates,
            http: reqwest::Client::builder().no_proxy().timeout(flow::FETCH).build()?,
            world: Mutex::default(),
            tasks: TaskTracker::new(),
            lines: TaskTracker::new(),
            stop: CancellationToken::new(),
            sockets: AtomicU64::new(0),
            posts: Arc::new(Semaphore::new(WEBHOOKS_MAX)),
            posts_lost: AtomicU64::new(0),
            lag_us: AtomicU64::new(0),
            settings,
        });
        let router = rest::router(Arc::clone(&exchange), rest);
        let stop = exchange.stop.clone().cancelled_owned();
        exchange.tasks.spawn(async move {
            // Serving ends with `stop`, or never.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        });
        exchange.tasks.spawn(Arc::clone(&exchange).tick_tock());
        Ok(Self { exchange })
    }

    /// Where the REST API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.exchange.address
    }

    /// The platform's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.exchange.clock
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.exchange.stop.cancel();
    }
}

/// Waits for the application are real time, whatever the speed: it does not run faster
/// because the platform does. Pauses and faults are platform time.
fn sender_settings(settings: &Settings, speed: f64, faults: Faults) -> webhook::Settings {
    let defaults = webhook::Settings::default();
    webhook::Settings {
        signing: settings.signing.clone(),
        fallback_answer_url: settings.fallback_url.clone(),
        connect_timeout: defaults.connect_timeout.mul_f64(speed),
        answer_timeout: defaults.answer_timeout.mul_f64(speed),
        event_timeout: defaults.event_timeout.mul_f64(speed),
        pace: speed,
        faults,
        ..defaults
    }
}

impl Exchange {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A platform time that is now, as webhooks write it.
    fn stamp(&self) -> String {
        self.clock.stamp(self.clock.now())
    }

    /// The media clock: a tick each 20 ms, on absolute deadlines; one that is late is
    /// made up for.
    async fn tick_tock(self: Arc<Self>) {
        for tick in 1_u64.. {
            let due = Duration::from_millis(tick * FRAME_MS);
            tokio::select! {
                () = self.clock.sleep_until(due) => {}
                () = self.stop.cancelled() => {
                    // Else the tasks of legs that are left would wait for ever.
                    self.end_all();
                    return;
                }
            }
            let late = self.clock.real(self.clock.now().saturating_sub(due));
            self.lag_us.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let deeds = self.world().tick(due);
            self.carry_out(deeds);
        }
    }
}
