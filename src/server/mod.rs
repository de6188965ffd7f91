//! The network side: media sockets, health, metrics, the live stream.
//!
//! ```text
//! GET /media       WebSocket: one Vonage leg each
//! GET /v1/events   server-sent events: every event from now on
//! GET /v1/schemas  JSON Schema of each event; /v1/asyncapi.json the whole contract
//! GET /healthz     the process lives
//! GET /readyz      calls can be taken: model warm, sinks well, not full, not draining
//! GET /metrics     Prometheus text
//! ```

mod admission;
pub mod api;
mod clock;
mod conversations;
mod health;
mod leg;
mod listener;
mod live;
mod media;
mod media_auth;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::admission::Admission;
pub use self::clock::Clock;
use self::conversations::Conversations;
pub use self::listener::Impatient;
pub use self::media_auth::{BadMediaAuth, CLOCK_MAX, Denied, MediaAuth, Pass, Shown, Ways};
use crate::call::{BackendNames, CallConfig};
use crate::config::Server;
use crate::inference::{BufferPool, Pool};
use crate::publish::Outbox;
use crate::vad;

/// What the handlers and the legs' tasks share.
pub struct Gateway {
    /// `[server]` of the configuration.
    pub server: Server,
    /// What each leg's `Call` is told.
    pub call: Arc<CallConfig>,
    /// CloudEvents `source`.
    pub source: Arc<str>,
    /// Makes each leg's detector.
    pub vad: vad::Factory,
    /// Names of the backends.
    pub backends: BackendNames,
    /// The inference threads.
    pub pool: Pool,
    /// Audio buffers shared by all.
    pub buffers: Arc<BufferPool>,
    /// Where events go.
    pub outbox: Outbox,
    /// Who may come in.
    pub admission: Admission,
    /// Who may open a media socket.
    pub media_auth: MediaAuth,
    /// The process's clock.
    pub clock: Clock,
    /// Which conversations have legs here.
    pub conversations: Conversations,
    /// Renders the metrics; absent where no recorder was installed.
    pub metrics: Option<PrometheusHandle>,
    /// Cancelled when the gateway is to stop.
    pub drain: CancellationToken,
    /// The legs' tasks.
    pub legs: TaskTracker,
}

impl Gateway {
    /// A registry for [`Gateway::conversations`].
    #[must_use]
    pub fn no_conversations() -> Conversations {
        Conversations::default()
    }
}

/// All routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/media", get(media::connect))
        .route("/v1/events", get(live::follow))
        .route("/v1/asyncapi.json", get(health::asyncapi))
        .route("/v1/schemas", get(health::schemas))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(gateway)
}
