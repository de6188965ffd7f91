//! Puts a gateway together from its configuration. The only module that names
//! every family.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::call::BackendNames;
use crate::config::{Config, Secret, SpoolFsync, SpoolMode, Tokens};
use crate::control::{self, MediaPass};
use crate::inference::{self, BufferPool, Engines, Pool, Quick, Readiness, Scorer, ShadowPlan};
use crate::models::{ModelError, Store};
use crate::publish::{self, Outbox};
use crate::server::api::Guard;
use crate::server::{
    Admission, BadMediaAuth, Clips, Clock, Controller, ControllerParts, Door, Gateway, Impatient, LegObserver, Legs,
    MediaAuth, Peer, Recordings, Transcripts, VoiceApi, Ways, can_write, router,
};
use crate::sink::Sink;
use crate::sink::{file::JsonLines, kafka::Kafka};
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Private, Rate};
use crate::vonage::media_token::MediaKeys;
use crate::vonage::rest::{self, Client};
use crate::{asr, sentiment, vad};

/// Why a gateway could not be started, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A backend or its model.
    #[error(transparent)]
    Backend(#[from] BuildError),
    /// A model that is missing or damaged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A sink that can never work as configured.
    #[error("{0}")]
    Sink(String),
    /// The address.
    #[error("cannot listen on {address}: {problem}; choose another with --listen or server.listen")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        problem: std::io::Error,
    },
    /// Who may open a media socket.
    #[error(transparent)]
    Media(#[from] BadMediaAuth),
    /// The application at Vonage.
    #[error("{0}")]
    Vonage(String),
    /// A token of our API.
    #[error("{0}")]
    Token(String),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// What waits for the sinks.
    #[error(transparent)]
    Outbox(#[from] publish::StartError),
}

/// The names of the models that a configuration needs, each once.
///
/// # Errors
/// The backend that there is not.
pub fn models(config: &Config) -> Result<Vec<&'static str>, BuildError> {
    let mut names: Vec<&str> = Vec::new();
    for backend in config.asr.used() {
        names.extend(asr::find(backend)?.models(&config.asr.table(backend)));
    }
    if let Some(shadow) = config.asr.shadow.name() {
        names.extend(asr::find(shadow)?.models(&config.asr.shadow_table()));
    }
    names.extend(vad::find(&config.vad.backend)?.models(&config.vad.table(&config.vad.backend)));
    if config.sentiment.backend != "none" {
        names.extend(sentiment::find(&config.sentiment.backend)?.models());
    }
    let mut once = Vec::new();
    names.into_iter().for_each(|name| {
        if !once.contains(&name) {
            once.push(name)
        }
    });
    Ok(once)
}

/// The engines that a configuration names, loaded but not yet warm.
///
/// # Errors
/// The backend, key or model file that is wrong, and the remedy.
pub fn engines(config: &Config) -> Result<Engines, StartError> {
    let (asr_name, asr) = transcriber(config, &config.asr.backend)?;
    let fall_back = config.asr.fall_back.iter().map(|name| transcriber(config, name)).collect::<Result<_, _>>()?;
    let quick = config.asr.quick().map(|name| quick(config, name)).transpose()?;
    if let (Some(quick), asr::Engine::Remote(_)) = (&quick, &asr) {
        let problem = format!("{} hears in the place of no other than one on this machine", quick.name);
        return Err(BuildError::new("asr.quick", problem, "set asr.backend to such a one, or asr.quick to \"\"").into());
    }
    let fail_over = config.asr.fail_over(Duration::from_millis(config.call.reply_timeout_ms));
    Ok(Engines {
        asr_name,
        asr,
        fall_back,
        quick,
        join_within: Duration::from_millis(config.asr.join_within_ms),
        fail_over,
        scorer: scorer(config)?,
        shadow: shadow(config)?,
        redaction: config.redaction.policy(),
    })
}

fn quick(config: &Config, name: &str) -> Result<Quick, StartError> {
    match transcriber(config, name)? {
        (name, engine @ asr::Engine::Local(_)) => Ok(Quick { name, engine, above_s: config.asr.quick_above_s }),
        (name, asr::Engine::Remote(_)) => {
            let problem = format!("{name} is not on this machine");
            Err(BuildError::new("asr.quick", problem, "expected one that is; `sidetone backends` lists them").into())
        }
    }
}

/// One transcriber, loaded but not yet warm.
///
/// # Errors
/// As [`engines`].
pub fn transcriber(config: &Config, name: &str) -> Result<(&'static str, asr::Engine), StartError> {
    built(config, name, &config.asr.table(name))
}

fn built(config: &Config, name: &str, table: &toml::Table) -> Result<(&'static str, asr::Engine), StartError> {
    let backend = asr::find(name)?;
    let models = folders(config, &backend.models(table))?;
    Ok((backend.name(), backend.build(table, &models)?))
}

/// The second transcriber that a configuration names, if any, loaded but not yet warm.
///
/// # Errors
/// As [`engines`].
pub fn shadow(config: &Config) -> Result<Option<ShadowPlan>, StartError> {
    let Some(name) = config.asr.shadow.name() else { return Ok(None) };
    let (name, engine) = built(config, name, &config.asr.shadow_table())?;
    Ok(Some(ShadowPlan {
        name,
        engine,
        share: config.asr.shadow.share,
        waiting_max: config.asr.shadow.waiting_max,
        timeout: Duration::from_millis(config.asr.attempt_timeout_ms),
        patience: config.asr.breaker.patience(),
    }))
}

/// The scorer that a configuration names; none for `none`.
///
/// # Errors
/// The backend, key or model file that is wrong, and the remedy.
pub fn scorer(config: &Config) -> Result<Option<Scorer>, StartError> {
    let name = config.sentiment.backend.as_str();
    if name == "none" {
        return Ok(None);
    }
    let backend = sentiment::find(name)?;
    let models = folders(config, backend.models())?;
    let engine = backend.build(&config.sentiment.table(name), &models)?;
    Ok(Some(Scorer { name: backend.name(), engine, patience: config.sentiment.breaker.patience() }))
}

/// The folders of models that are here, in the order of `names`.
fn folders(config: &Config, names: &[&str]) -> Result<Vec<PathBuf>, ModelError> {
    if !config.models.onnxruntime.as_os_str().is_empty() {
        crate::onnx::prefer(&config.models.onnxruntime);
    }
    let store = Store::new(&config.models.dir);
    names.iter().map(|name| store.locate(name)).collect()
}

/// The detector that a configuration names.
///
/// # Errors
/// The backend, key or model file that is wrong, and the remedy.
pub fn detector(config: &Config) -> Result<(&'static str, vad::Factory), StartError> {
    let backend = vad::find(&config.vad.backend)?;
    let table = config.vad.table(backend.name());
    let models = folders(config, &backend.models(&table))?;
    Ok((backend.name(), backend.build(&table, &models)?))
}

/// Buffers for the longest segment, enough spare ones for every thread and a queue.
#[must_use]
pub fn buffers(config: &Config) -> Arc<BufferPool> {
    let longest =
        config.endpointing.max_segment_ms + config.endpointing.pre_roll_ms + config.endpointing.min_speech_ms + 1_000;
    let capacity = (longest * u64::from(PIPELINE_HZ) / 1000) as usize;
    Arc::new(BufferPool::new(config.inference_threads() * 4 + 16, capacity))
}

/// Starts the inference threads.
///
/// # Errors
/// When the system gives no thread.
pub fn pool(config: &Config, engines: &Engines, buffers: &Arc<BufferPool>) -> Result<Pool, StartError> {
    let limits = inference::Limits {
        audio_max_s: config.inference.queue_audio_max_s,
        partials_max: config.inference.queue_partials_max,
        scores_audio_max_s: config.inference.queue_scores_audio_max_s,
    };
    Pool::start(engines, config.inference_threads(), limits, Arc::clone(buffers)).map_err(StartError::Thread)
}

/// The sinks that a configuration names.
///
/// # Errors
/// What can never work as configured.
pub fn sinks(config: &Config) -> Result<Vec<Box<dyn Sink>>, StartError> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if !config.sink.file.path.as_os_str().is_empty() {
        let mut file = JsonLines::to_path(config.sink.file.path.clone());
        // A file that cannot be written now will not become so by waiting.
        file.open().map_err(StartError::Sink)?;
        sinks.push(Box::new(file));
    }
    if !config.sink.kafka.bootstrap.is_empty() {
        sinks.push(Box::new(Kafka::new(config.sink.kafka.clone()).map_err(StartError::Sink)?));
    }
    Ok(sinks)
}

/// The guard of the media sockets, and the keys with which the controller makes their
/// tokens. Where calls are controlled and no key is configured, one is made up that is good
/// as long as this process.
///
/// # Errors
/// [`StartError::Media`], which names the keys to set.
fn media_keys(config: &Config) -> Result<(MediaAuth, MediaKeys), StartError> {
    let mut media = config.media.clone();
    let own = || Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let controlled = config.vonage.takes_webhooks();
    if controlled && media.token_keys.is_empty() {
        media.token_keys = vec![own()];
    }
    let vonage = &config.vonage;
    let accounts = (!vonage.account.is_empty()).then(|| (vonage.keyring(), vonage.policy()));
    let auth = MediaAuth::new(Ways::new(&media, accounts)?, config.server.listen)?;
    let keys = if media.token_keys.is_empty() { vec![own()] } else { media.token_keys };
    let keys = keys.iter().map(|key| Private(key.reveal().0.into_bytes())).collect();
    Ok((auth, MediaKeys::new(keys).map_err(BadMediaAuth::from)?))
}

/// The clients of the Voice API: one that tries again, and one that creates calls and
/// leaves that to the controller. None where no private key is configured.
///
/// # Errors
/// [`StartError::Vonage`], which names the key.
fn voice_api(config: &Config) -> Result<Option<VoiceApi>, StartError> {
    let vonage = &config.vonage;
    if !vonage.has_api() {
        return Ok(None);
    }
    let key = vonage.app_key().map_err(StartError::Vonage)?;
    let client = |settings| {
        Client::new(settings, &vonage.application_id, key.clone())
            .map_err(|error| StartError::Vonage(format!("vonage.{error}")))
    };
    let once = rest::Settings { attempts_max: 1, ..vonage.client() };
    Ok(Some(VoiceApi { client: client(vonage.client())?, creator: client(once)? }))
}

/// Keeps copies of recordings; none where none are kept.
///
/// # Errors
/// [`StartError::Vonage`], which names the key.
fn recordings(config: &Config) -> Result<Option<Recordings>, StartError> {
    let vonage = &config.vonage;
    if !vonage.recordings.is_on() {
        return Ok(None);
    }
    recordings_folder(config).map_err(StartError::Vonage)?;
    let key = vonage.app_key().map_err(StartError::Vonage)?;
    let client = Client::new(vonage.downloader(), &vonage.application_id, key)
        .map_err(|error| StartError::Vonage(format!("vonage.{error}")))?;
    Ok(Some(Recordings::new(&vonage.recordings, client)))
}

/// Tries the folder of recordings, and leaves nothing in it.
///
/// # Errors
/// The key, the folder and what is wrong with it.
pub fn recordings_folder(config: &Config) -> Result<(), String> {
    let folder = &config.vonage.recordings.folder;
    can_write(folder).map_err(|error| {
        format!(
            "vonage.recordings.folder is {}: {error}; expected a folder that is there and can be written",
            folder.display()
        )
    })
}

/// What the controller would be told if this configuration were served where it says:
/// to look at beforehand.
///
/// # Errors
/// [`StartError::Media`], which names the keys to set.
pub fn controller_settings(config: &Config) -> Result<control::Settings, StartError> {
    let (_, keys) = media_keys(config)?;
    let source = config.server.name.as_str().into();
    Ok(control_settings(config, config.server.listen, keys, source, config.vonage.has_api()))
}

/// What the controller's core is told.
fn control_settings(
    config: &Config,
    address: SocketAddr,
    keys: MediaKeys,
    source: Arc<str>,
    has_api: bool,
) -> control::Settings {
    let public_url = match config.server.public_url.as_str() {
        "" => format!("http://{address}"),
        url => url.to_owned(),
    };
    let control = &config.control;
    control::Settings {
        flows: config.flows(),
        pass: MediaPass {
            // `http` and `https` become `ws` and `wss`.
            url: format!("ws{}{}", public_url.trim_start_matches("http"), control::MEDIA_PATH),
            rate: Rate::from_hz(control.media_rate_hz).unwrap_or(Rate::Hz16000),
            keys,
            lifetime: Duration::from_secs(control.token_life_s),
        },
        public_url,
        source,
        has_api,
        recordings: config.vonage.recordings.guard(),
        redaction: config.redaction.policy(),
        limits: control.limits(),
    }
}

/// How durable events are kept that a sink does not take; `None` for in memory only.
#[must_use]
pub fn spool(config: &Config) -> Option<publish::spool::Settings> {
    match config.sink.spool.mode {
        SpoolMode::Off => None,
        SpoolMode::Always => Some(spool_settings(config, publish::Mode::Always)),
        SpoolMode::Overflow => Some(spool_settings(config, publish::Mode::Overflow)),
    }
}

/// The spool that a configuration names, used as `mode` says.
#[must_use]
pub fn spool_settings(config: &Config, mode: publish::Mode) -> publish::spool::Settings {
    let spool = &config.sink.spool;
    let fsync = match spool.fsync {
        SpoolFsync::Always => publish::Fsync::Always,
        SpoolFsync::Interval => publish::Fsync::Every(Duration::from_millis(spool.fsync_interval_ms)),
        SpoolFsync::Never => publish::Fsync::Never,
    };
    publish::spool::Settings {
        dir: spool.dir.clone(),
        mode,
        fsync,
        bytes_max: spool.bytes_max,
        segment_bytes: spool.segment_bytes,
        memory_max: spool.memory_max,
        replay_share: spool.replay_share,
    }
}

/// A gateway that listens.
pub struct App {
    gateway: Arc<Gateway>,
    address: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
    /// Cancelled when nothing more is to be answered.
    close: CancellationToken,
}

impl App {
    /// Puts the parts together and begins to listen. The model warms meanwhile; see [`App::warm`].
    ///
    /// # Errors
    /// [`StartError`]: the part that cannot be had, and the remedy.
    pub async fn start(
        config: &Config,
        sinks: Vec<Box<dyn Sink>>,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, StartError> {
        Self::start_observed(config, sinks, metrics, Vec::new()).await
    }

    /// As [`App::start`]; `observers` are told of media legs as well as the controller is.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_observed(
        config: &Config,
        sinks: Vec<Box<dyn Sink>>,
        metrics: Option<PrometheusHandle>,
        mut observers: Vec<Arc<dyn LegObserver>>,
    ) -> Result<Self, StartError> {
        let (media_auth, keys) = media_keys(config)?;
        let (api, recordings) = (voice_api(config)?, recordings(config)?);
        let engines = engines(config)?;
        let (vad_name, vad) = detector(config)?;
        let backends = BackendNames {
            vad: vad_name,
            asr: engines.asr_name,
            sentiment: engines.scorer.as_ref().map(|scorer| scorer.name),
        };
        let address = config.server.listen;
        let listen = |problem| StartError::Listen { address, problem };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let buffers = buffers(config);
        let limits = publish::Limits {
            durable_max: config.sink.outbox.durable_max,
            ephemeral_max: config.sink.outbox.ephemeral_max,
            live_max: config.server.live_backlog_max,
        };
        let source: Arc<str> = Arc::from(format!("/sidetone/{}", config.server.name));
        let (clock, directory) = (Clock::default(), Arc::new(Legs::default()));
        let outbox = Arc::new(Outbox::start(sinks, limits, spool(config).as_ref())?);
        let settings = control_settings(config, address, keys, Arc::clone(&source), api.is_some());
        let controller = Controller::new(ControllerParts {
            settings: Arc::new(settings),
            clock,
            outbox: Arc::clone(&outbox),
            legs: Arc::clone(&directory),
            api,
            requests_max: config.vonage.requests_max,
            recordings,
        });
        observers.push(Arc::new(Arc::clone(&controller)));
        let vonage = &config.vonage;
        let keyring = (!vonage.account.is_empty()).then(|| vonage.keyring());
        let tokens = Tokens::new(&config.api.tokens).map_err(|bad| StartError::Token(format!("api.tokens.{bad}")))?;
        let gateway = Arc::new(Gateway {
            call: Arc::new(config.call_config()),
            source,
            vad,
            backends,
            pool: pool(config, &engines, &buffers)?,
            buffers,
            outbox,
            observers,
            controller: Arc::clone(&controller),
            door: Door::new(vonage.unsigned, keyring, vonage.policy(), vonage.webhooks_remembered_max),
            webhook_bytes_max: vonage.webhook_bytes_max,
            guard: Guard::new(tokens, address),
            transcripts: Transcripts::new(config.control.transcripts_mib_max << 20),
            clips: Clips::default(),
            admission: Admission::new(config.server.legs_max, Duration::from_millis(config.server.promise_ms)),
            media_auth,
            directory,
            clock,
            conversations: Gateway::no_conversations(),
            metrics,
            drain: CancellationToken::new(),
            legs: TaskTracker::new(),
            server: config.server.clone(),
        });
        let close = CancellationToken::new();
        let closed = close.clone().cancelled_owned();
        let patience = Duration::from_millis(config.server.request_timeout_ms);
        let listener = Impatient::new(listener, patience);
        let routes = router(Arc::clone(&gateway));
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let server = tokio::spawn(async move { axum::serve(listener, service).with_graceful_shutdown(closed).await });
        tokio::spawn(controller.keep_time(close.clone()));
        Ok(Self { gateway, address, server, close })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether media sockets are open to whoever can reach the address.
    #[must_use]
    pub fn sockets_are_open(&self) -> bool {
        self.gateway.media_auth.ways().are_open()
    }

    /// The live legs, to be told something.
    #[must_use]
    pub fn directory(&self) -> &Legs {
        &self.gateway.directory
    }

    /// Waits until every inference thread is warm.
    ///
    /// # Errors
    /// Why a transcriber could not be opened.
    pub async fn warm(&self) -> Result<(), BuildError> {
        let mut readiness = self.gateway.pool.readiness();
        let settled = readiness.wait_for(|now| *now != Readiness::Warming).await;
        match settled.map(|now| now.clone()) {
            Ok(Readiness::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(BuildError::new("inference", "the threads are gone", "see the log above")),
        }
    }

    /// Stops in the order of the data: no new legs, last words, queues, sinks. Gives
    /// the durable events that are not safe, by sink; empty when all is well.
    pub async fn stop(self) -> Vec<(&'static str, usize)> {
        let Self { gateway, server, close, .. } = self;
        let patience = Duration::from_millis(gateway.server.drain_timeout_ms);
        gateway.drain.cancel();
        gateway.legs.close();
        if tokio::time::timeout(patience, gateway.legs.wait()).await.is_err() {
            tracing::warn!(legs = gateway.admission.legs(), "legs were still open when the drain timeout passed");
        }
        // This answers every segment: legs that still wait have their last word now.
        let pool = Arc::clone(&gateway);
        let _ = tokio::task::spawn_blocking(move || pool.pool.stop()).await;
        let patience_with_peers = Duration::from_millis(gateway.server.send_timeout_ms);
        let _ = tokio::time::timeout(patience_with_peers, gateway.legs.wait()).await;
        // What was asked of Vonage is heard out; nothing new is asked once nobody calls.
        gateway.controller.stop(patience_with_peers).await;
        gateway.outbox.end_live();
        close.cancel();
        let abort = server.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), server).await.is_err() {
            // A live reader that does not go away must not keep the process.
            abort.abort();
        }
        let left = tokio::task::spawn_blocking(move || gateway.outbox.stop(patience));
        left.await.unwrap_or_default()
    }
}
