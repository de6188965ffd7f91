//! The network side: media sockets, health, metrics, the live stream.
//!
//! ```text
//! GET /media       WebSocket: one Vonage leg each
//! /v1/vonage/…     answer, event and fallback webhooks
//! /v1/…            our own API, in `api`: calls, commands, events, contracts
//! GET /healthz     the process lives
//! GET /readyz      calls can be taken: model warm, sinks well, not full, not draining
//! GET /metrics     Prometheus text
//! ```

mod admission;
pub mod api;
mod clips;
mod clock;
mod controller;
mod conversations;
mod health;
mod leg;
mod legs;
mod listener;
mod live;
mod media;
mod media_auth;
mod presence;
mod recordings;
mod transcripts;
mod webhook;
mod webhook_door;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::admission::Admission;
pub use self::clips::Clips;
pub use self::clock::Clock;
pub use self::controller::{Controller, ControllerParts, VoiceApi};
use self::conversations::Conversations;
pub use self::legs::{
    COMMANDS_MAX, Capture, Command, CommandRefused, LegHandle, LegInfo, LegObserver, Legs, PAUSED_MAX, TooManyPaused,
};
pub use self::listener::{Appetite, Impatient, Peer};
pub use self::media_auth::{BadMediaAuth, CLOCK_MAX, Denied, MediaAuth, Pass, Shown, Ways};
pub use self::recordings::{Recordings, can_write};
pub use self::transcripts::Transcripts;
pub use self::webhook_door::Door;
use crate::call::{BackendNames, CallConfig};
use crate::config::Server;
use crate::control::{EVENT_PATH, MEDIA_PATH};
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
    pub outbox: Arc<Outbox>,
    /// Follows calls: webhooks, the Voice API.
    pub controller: Arc<Controller>,
    /// Whose webhooks are believed.
    pub door: Door,
    /// Longest webhook, in bytes.
    pub webhook_bytes_max: usize,
    /// Who may use our API.
    pub guard: api::Guard,
    /// What was said in recent calls.
    pub transcripts: Transcripts,
    /// Audio that Vonage is to fetch.
    pub clips: Clips,
    /// Who may come in.
    pub admission: Admission,
    /// The live legs, and which conversations are paused.
    pub directory: Arc<Legs>,
    /// Are told of legs as they come and go.
    pub observers: Vec<Arc<dyn LegObserver>>,
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
    let webhooks = Router::new()
        .route("/v1/vonage/answer", webhook::answer())
        .route(EVENT_PATH, webhook::event())
        .route("/v1/vonage/fallback", webhook::fallback())
        .layer(DefaultBodyLimit::max(gateway.webhook_bytes_max));
    Router::new()
        .route(MEDIA_PATH, get(media::connect))
        .route(&format!("{}/{{id}}", clips::PATH), get(clips::fetch))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(webhooks)
        .merge(api::router(&gateway.guard, api::handler))
        .with_state(gateway)
}
