//! Puts a gateway together from its configuration. The only module that names
//! every family.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::BackendNames;
use crate::config::{Config, SpoolFsync, SpoolMode};
use crate::inference::{self, BufferPool, Engines, Pool, Readiness};
use crate::models::Store;
use crate::publish::{self, Outbox};
use crate::server::{Admission, Clock, Gateway, Impatient, router};
use crate::sink::Sink;
use crate::sink::{file::JsonLines, kafka::Kafka};
use crate::types::BuildError;
use crate::types::rate::PIPELINE_HZ;
use crate::{asr, sentiment, vad};

/// Why a gateway could not be started, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A backend or its model.
    #[error(transparent)]
    Backend(#[from] BuildError),
    /// A model that is missing or damaged.
    #[error(transparent)]
    Model(#[from] crate::models::ModelError),
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
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// What waits for the sinks.
    #[error(transparent)]
    Outbox(#[from] publish::StartError),
}

/// The engines that a configuration names, loaded but not yet warm.
///
/// # Errors
/// The backend, key or model file that is wrong, and the remedy.
pub fn engines(config: &Config) -> Result<Engines, StartError> {
    let backend = asr::find(&config.asr.backend)?;
    let model = backend.model().map(|name| Store::new(&config.models.dir).locate(name)).transpose()?;
    let engine = backend.build(&config.asr.table(backend.name()), model.as_deref())?;
    let scorer = match config.sentiment.backend.as_str() {
        "none" => None,
        name => {
            let backend = sentiment::find(name)?;
            Some((backend.name(), backend.build(&config.sentiment.table(name))?))
        }
    };
    Ok(Engines { asr_name: backend.name(), asr: engine, scorer })
}

/// The detector that a configuration names.
///
/// # Errors
/// The backend or key that is wrong.
pub fn detector(config: &Config) -> Result<(&'static str, vad::Factory), BuildError> {
    let backend = vad::find(&config.vad.backend)?;
    Ok((backend.name(), backend.build(&config.vad.table(backend.name()))?))
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
        let engines = engines(config)?;
        let (vad_name, vad) = detector(config)?;
        let backends = BackendNames {
            vad: vad_name,
            asr: engines.asr_name,
            sentiment: engines.scorer.as_ref().map(|(name, _)| *name),
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
        let gateway = Arc::new(Gateway {
            call: Arc::new(config.call_config()),
            source: Arc::from(format!("/sidetone/{}", config.server.name)),
            vad,
            backends,
            pool: pool(config, &engines, &buffers)?,
            buffers,
            outbox: Outbox::start(sinks, limits, spool(config).as_ref())?,
            admission: Admission::new(config.server.legs_max),
            clock: Clock::default(),
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
        let server = tokio::spawn(async move { axum::serve(listener, routes).with_graceful_shutdown(closed).await });
        Ok(Self { gateway, address, server, close })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
