//! One run, from the gateway's start to the report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dial::{Door, NotThere};
use super::events::{self, Following};
use super::figures::{Asked, Book, Costs, Machine, Report, Sample, Terms, Told};
use super::plan::{Pattern, Plan};
use super::process::{self, Pin};
use super::server::Server;
use super::speech::Speech;
use super::wheel::{self, Arrival, Content, Live};
use crate::config::Config;
use crate::types::Rate;

/// Handshakes under way at a time.
const DIALS_MAX: usize = 64;

/// Sockets on their way to the sending thread.
const ARRIVALS_MAX: usize = 4_096;

/// What became of dials, on its way to the book.
const NEWS_MAX: usize = 4_096;

/// Longest wait for one look at the gateway.
const LOOK: Duration = Duration::from_millis(900);

/// Looks in vain, with no leg left, after which the gateway is taken for gone.
const VAIN_MAX: u32 = 3;

/// From the end of a killed gateway's sockets to its own.
const ENDING: Duration = Duration::from_millis(200);

/// Longest wait for a leg's account after all hung up, while others come.
const QUIET: Duration = Duration::from_secs(20);

/// Longest wait for all accounts after all hung up.
const SETTLE: Duration = Duration::from_secs(180);

/// How long the sending thread may take to hang up and be answered.
const HANG_UP: Duration = Duration::from_secs(60);

/// Which gateway is driven.
#[derive(Debug, Clone)]
pub enum Target {
    /// One that is started with this configuration, in a process of its own.
    Own(Box<Config>),
    /// One that runs.
    Running {
        /// `ws://host:port/media`, with a query if need be.
        url: String,
        /// Its metrics; the media socket's host if none is named.
        metrics: Option<String>,
        /// Its process on this machine, for processor time and memory.
        pid: Option<u32>,
        /// Value of the `Authorization` header of media sockets.
        authorization: Option<String>,
        /// Bearer token for the live stream.
        token: Option<String>,
    },
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which gateway.
    pub target: Target,
    /// How the number of legs goes.
    pub pattern: Pattern,
    /// Legs at a time.
    pub legs: usize,
    /// Length of the run.
    pub duration: Duration,
    /// Rate of the audio; the speech has to be at it.
    pub rate: Rate,
    /// Share of time with speech, 0 to 1.
    pub talk: f32,
    /// What everything is drawn from.
    pub seed: u64,
    /// Who runs on which cores.
    pub pin: Pin,
    /// The latest a final may come for its leg to be one that was sustained.
    pub within: Duration,
    /// Brokers' settings, where events are to be read from Kafka.
    pub kafka: Option<Box<crate::config::KafkaSink>>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Since the run's start.
    pub at: Duration,
    /// What happens now.
    pub phase: &'static str,
    /// Legs now.
    pub legs: u64,
    /// Legs refused so far.
    pub refused: u64,
    /// Frames sent so far.
    pub frames: u64,
    /// Of which late by the driver.
    pub late_driver: u64,
    /// Of which late by the gateway.
    pub late_gateway: u64,
    /// Finals heard so far.
    pub finals: u64,
    /// Delay of the newest final as the gateway has it, in ms.
    pub newest_ms: Option<f32>,
    /// The gateway's processor time in the last second, percent of one core.
    pub cpu_percent: Option<f64>,
}

/// What a dial came to.
enum News {
    Connected(u32),
    NotThere(Duration, NotThere),
}

/// The gateway under load.
struct Driven {
    server: Option<Server>,
    door: Door,
    metrics: Url,
    pid: Option<u32>,
    client: reqwest::Client,
    vain: u32,
}

impl Driven {
    /// Looks at the gateway once.
    async fn look(&mut self) -> Sample {
        let usage = self.pid.and_then(process::usage);
        let asked = async { self.client.get(self.metrics.clone()).send().await?.text().await };
        let told = match timeout(LOOK, asked).await {
            Ok(Ok(text)) => Some(Told::read(&text)),
            _ => None,
        };
        self.vain = if told.is_some() { 0 } else { self.vain + 1 };
        Sample { usage, told }
    }

    /// Why nothing more can be expected of it, if so.
    fn gone(&mut self, live: &Live) -> Option<String> {
        if let Some(server) = &mut self.server
            && let Some(status) = server.ended()
        {
            return Some(
                format!("the gateway ended during the run ({status})\n{}", server.last_words()).trim_end().to_owned(),
            );
        }
        let cut = live.cut.load(Ordering::Relaxed) > 0 && live.legs.load(Ordering::Relaxed) == 0;
        (cut && self.vain >= VAIN_MAX)
            .then(|| "the gateway went away during the run: it cut every leg and does not answer".to_owned())
    }
}

/// Runs; `stop` ends it early. `observe` is shown how far it is, about once a second. The
/// runtime must be one of a single thread, which this keeps to the driver's cores.
///
/// # Errors
/// Why it could not begin. Whatever goes wrong later is in the report.
pub async fn run(
    settings: &Settings,
    speech: Speech,
    stop: &CancellationToken,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Report, String> {
    let plan = Plan::new(settings.pattern, settings.legs, settings.duration, settings.seed);
    // Legs that come, and legs that wait for the answer to their close.
    process::allow_sockets(settings.legs * 2)?;
    let load_before = process::load();
    let cores = settings.pin.cores()?;
    let (mut driven, asked) = start(settings, cores.as_ref()).await?;
    if let Some((driver, _)) = &cores {
        driver.pin()?;
    }
    let following = events_of(settings, &driven.door);
    let start = Instant::now();
    let following = events::follow(following, driven.door.run.clone(), start).await?;
    let pss_idle = driven.pid.and_then(process::pss_kib);
    let cpu_before = process::own_cpu_us();
    let mut course = Course::new(settings, &plan, start);
    let (problems, outcome) = course.go(&mut driven, speech, following, stop, observe).await?;
    let cpu_us = process::own_cpu_us() - cpu_before;
    let mut problems: Vec<String> = problems.into_iter().collect();
    if let Some(server) = driven.server.take()
        && problems.is_empty()
    {
        problems.extend(server.stop().await.err());
    }
    let machine = Machine {
        driver_cores: cores.as_ref().map_or_else(|| "any".to_owned(), |(driver, _)| driver.to_string()),
        server_cores: match (&settings.target, &cores) {
            (Target::Running { .. }, _) => String::new(),
            (Target::Own(_), None) => "any".to_owned(),
            (Target::Own(_), Some((_, server))) => server.to_string(),
        },
        load_before,
        load_after: process::load(),
    };
    let pss_kib = pss_idle.zip(course.pss_full);
    let costs = Costs { driver_us: cpu_us, wheel_us: outcome.cpu_us, pss_kib };
    let lateness = (&outcome.lag, &outcome.held);
    Ok(course.book.report(&plan, asked, machine, &outcome.seconds, lateness, &costs, problems))
}

/// The gateway, running and ready, and what the report says was asked for.
async fn start(
    settings: &Settings,
    cores: Option<&(process::Cores, process::Cores)>,
) -> Result<(Driven, Asked), String> {
    let run = format!("load-{:.8}", Uuid::new_v4().simple());
    let (server, url, metrics, pid, authorization, backends) = match &settings.target {
        Target::Own(config) => {
            let server = Server::start(config, cores.map(|(_, server)| server)).await?;
            let (address, pid) = (server.address, server.pid());
            let backends = (config.asr.backend.clone(), config.vad.backend.clone());
            (Some(server), format!("ws://{address}/media"), None, Some(pid), None, Some(backends))
        }
        Target::Running { url, metrics, pid, authorization, .. } => {
            (None, url.clone(), metrics.clone(), *pid, authorization.clone(), None)
        }
    };
    let door = Door::new(&url, authorization.as_deref(), settings.rate, run).await?;
    let metrics = match metrics {
        Some(text) => Url::parse(&text)
            .map_err(|error| format!("--metrics is {text:?}: {error}; expected http://host:port/metrics"))?,
        None => door.http("/metrics"),
    };
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let (transcriber, detector) = backends.unzip();
    let asked = Asked {
        url: url.split('?').next().unwrap_or_default().to_owned(),
        own_gateway: server.is_some(),
        pattern: settings.pattern.name(),
        legs: settings.legs,
        duration_s: settings.duration.as_secs_f64(),
        rate_hz: settings.rate.hz(),
        talk: settings.talk,
        seed: settings.seed,
        transcriber,
        detector,
        events: if settings.kafka.is_some() { "kafka" } else { "live" },
        within_ms: settings.within.as_millis() as u64,
    };
    Ok((Driven { server, door, metrics, pid, client, vain: 0 }, asked))
}

fn events_of(settings: &Settings, door: &Door) -> events::From {
    let token = match &settings.target {
        Target::Running { token, .. } => token.clone(),
        Target::Own(_) => None,
    };
    match &settings.kafka {
        Some(kafka) => events::From::Kafka(kafka.clone()),
        None => events::From::Live(door.http("/v1/events"), token),
    }
}

/// The run itself.
struct Course<'a> {
    settings: &'a Settings,
    plan: &'a Plan,
    start: Instant,
    book: Book,
    pss_full: Option<u64>,
    last: Sample,
}

impl<'a> Course<'a> {
    fn new(settings: &'a Settings, plan: &'a Plan, start: Instant) -> Self {
        let terms = Terms { rate: settings.rate, within: settings.within };
        let book = Book::new(terms, plan.dials.len());
        Self { settings, plan, start, book, pss_full: None, last: Sample::default() }
    }

    /// Dials, sends, hears, looks, until all is over; gives what ended it early, if anything.
    async fn go(
        &mut self,
        driven: &mut Driven,
        speech: Speech,
        mut following: Following,
        stop: &CancellationToken,
        observe: &mut dyn FnMut(&Progress),
    ) -> Result<(Option<String>, wheel::Outcome), String> {
        let Settings { talk, seed, .. } = *self.settings;
        let live = Arc::new(Live::default());
        let (arrive, arrivals) = sync_channel(ARRIVALS_MAX);
        let content = Content { speech: Arc::new(speech), talk, seed };
        let wheel = wheel::spawn(self.start, content, arrivals, Arc::clone(&live))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let (tell, mut news) = mpsc::channel(NEWS_MAX);
        let dialling = tokio::spawn(dial_all(self.plan.clone(), self.start, driven.door.clone(), arrive, tell));
        self.last = driven.look().await;
        self.book.looked(self.last);
        let mut seconds = interval_at((self.start + Duration::from_secs(1)).into(), Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut problem, mut streaming, mut dialled) = (None, true, false);
        // The wheel turns until every leg is over; then the news are all told.
        while problem.is_none() && !(dialled && wheel.is_finished()) {
            tokio::select! {
                told = news.recv(), if !dialled => match told {
                    Some(told) => self.news(told),
                    None => dialled = true,
                },
                heard = following.heard.recv(), if streaming => match heard {
                    Some(heard) => self.book.heard(heard),
                    None => streaming = false,
                },
                _ = seconds.tick() => {
                    self.second(driven, &live, observe).await;
                    problem = driven.gone(&live);
                    if !streaming && problem.is_none() {
                        // A gateway that is killed ends its streams a moment before itself.
                        sleep(ENDING).await;
                        problem = driven.gone(&live).or_else(|| Some("the gateway's event stream ended during the run".to_owned()));
                    }
                }
                () = stop.cancelled() => {
                    problem = Some(format!("stopped after {:.0} s, as was asked", self.start.elapsed().as_secs_f64()));
                }
            }
        }
        let last = self.plan.dials.iter().map(|dial| dial.until).max().unwrap_or_default();
        if problem.is_none() && live.cut.load(Ordering::Relaxed) > 0 && self.start.elapsed() < last {
            sleep(ENDING).await;
            let gone = driven.gone(&live);
            problem = gone.or_else(|| Some("the gateway cut every leg during the run".to_owned()));
        }
        if problem.is_some() {
            dialling.abort();
            live.stop.store(true, Ordering::Relaxed);
        }
        // Whoever was let in before it heard of the end has its place in the book.
        while let Some(told) = news.recv().await {
            self.news(told);
        }
        let ended = tokio::time::Instant::now();
        while !wheel.is_finished() && ended.elapsed() < HANG_UP {
            sleep(Duration::from_millis(20)).await;
        }
        let joined = tokio::task::spawn_blocking(move || wheel.join()).await.map_err(|error| error.to_string())?;
        let mut outcome = joined
            .map_err(|_| "the sending thread crashed".to_owned())?
            .map_err(|error| format!("the sending thread could not begin: {error}"))?;
        std::mem::take(&mut outcome.legs).into_iter().for_each(|leg| self.book.played(leg));
        if driven.server.as_mut().is_none_or(|server| server.ended().is_none()) && streaming {
            self.settle(&mut following).await;
        }
        Ok((problem, outcome))
    }

    fn news(&mut self, news: News) {
        match news {
            News::Connected(leg) => self.book.connected(leg),
            News::NotThere(at, NotThere::Refused(why)) => self.book.refused(at, why),
            News::NotThere(_, NotThere::Failed(why)) => self.book.failed(why),
        }
    }

    /// One second is over.
    async fn second(&mut self, driven: &mut Driven, live: &Live, observe: &mut dyn FnMut(&Progress)) {
        let at = self.start.elapsed();
        if at > self.plan.end() + Duration::from_secs(1) {
            return;
        }
        let before = self.last;
        self.last = driven.look().await;
        self.book.looked(self.last);
        let main = &self.plan.phases[self.plan.main];
        // Once, when all are there and before anybody leaves.
        if self.pss_full.is_none() && at + Duration::from_secs(2) > main.until {
            self.pss_full = driven.pid.and_then(process::pss_kib);
        }
        let used = before.usage.zip(self.last.usage);
        let (finals, newest_ms) = self.book.finals();
        observe(&Progress {
            at,
            phase: self.plan.phases.iter().find(|phase| at < phase.until).map_or("ending", |phase| phase.name),
            legs: live.legs.load(Ordering::Relaxed),
            refused: self.book.refusals(),
            frames: live.frames.load(Ordering::Relaxed),
            late_driver: live.late_driver.load(Ordering::Relaxed),
            late_gateway: live.late_gateway.load(Ordering::Relaxed),
            finals,
            newest_ms,
            cpu_percent: used
                .map(|(before, after)| (after.user_us + after.system_us - before.user_us - before.system_us) / 1e4),
        });
    }

    /// Waits for the accounts of legs that hung up: those come after their last words.
    async fn settle(&mut self, following: &mut Following) {
        let until = tokio::time::Instant::now() + SETTLE;
        while self.book.unaccounted() > 0 && tokio::time::Instant::now() < until {
            match timeout(QUIET, following.heard.recv()).await {
                Ok(Some(heard)) => self.book.heard(heard),
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Dials every leg when its time has come; hands sockets to the sending thread.
async fn dial_all(plan: Plan, start: Instant, door: Door, arrive: SyncSender<Arrival>, tell: mpsc::Sender<News>) {
    let (door, under_way) = (Arc::new(door), Arc::new(Semaphore::new(DIALS_MAX)));
    let mut tasks = tokio::task::JoinSet::new();
    for (leg, dial) in (0_u32..).zip(plan.dials) {
        sleep_until((start + dial.at).into()).await;
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let (door, arrive, tell) = (Arc::clone(&door), arrive.clone(), tell.clone());
        // Those that are over are forgotten.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let news = match door.open(leg).await {
                Ok(socket) => {
                    hand_over(&arrive, Arrival { leg, socket, until: dial.until }).await;
                    News::Connected(leg)
                }
                Err(why) => News::NotThere(start.elapsed(), why),
            };
            drop((permit, arrive));
            // Nobody listens any more: the run is over.
            let _ = tell.send(news).await;
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn hand_over(arrive: &SyncSender<Arrival>, mut arrival: Arrival) {
    loop {
        match arrive.try_send(arrival) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            // The thread takes all there are a thousand times a second.
            Err(TrySendError::Full(back)) => arrival = back,
        }
        sleep(Duration::from_millis(1)).await;
    }
}
