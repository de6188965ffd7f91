//! The servers under test, each run in a child process.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use sidetone::app::App;
use sidetone::config::Config;
use sidetone::telemetry;

use super::child;

/// More than any bench connects.
const LEGS_MAX: usize = 10_000;

/// What is compared; the first is what the others are compared with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Reads messages and forgets them.
    Bare,
    /// The gateway with the cheap detector.
    Webrtc,
    /// The gateway with the neural detector.
    Neural,
    /// The gateway with the default detector.
    Cascade,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Webrtc, Self::Neural, Self::Cascade];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare-sink",
            Self::Webrtc => "sidetone-webrtc",
            Self::Neural => "sidetone-neural",
            Self::Cascade => "sidetone-cascade",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Serves until standard input ends, having printed the address.
pub(crate) fn run(kind: Kind) {
    child::serve(async {
        match kind {
            Kind::Bare => (bare().await, None),
            Kind::Webrtc => gateway("webrtc").await,
            Kind::Neural => gateway("neural").await,
            Kind::Cascade => gateway("cascade").await,
        }
    });
}

async fn bare() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/media", get(upgrade))).await });
    address
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    // Small buffers, as the gateway gives its legs.
    upgrade.read_buffer_size(4_096).write_buffer_size(0).max_write_buffer_size(65_536).on_upgrade(forget)
}

async fn forget(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        std::hint::black_box(message);
    }
}

/// The whole gateway, but for what is measured elsewhere or is somebody else's:
/// transcription is scripted, interim results, sentiment and sinks are off.
async fn gateway(detector: &str) -> (SocketAddr, Option<App>) {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.legs_max = LEGS_MAX;
    config.vad.backend = detector.to_owned();
    config.asr.backend = "scripted".to_owned();
    config.sentiment.backend = "none".to_owned();
    config.call.partial_interval_ms = 0;
    config.inference.threads = 1;
    // Full after a few hundred calls, so that what grows in a soak is not what is kept on purpose.
    config.control.transcripts_mib_max = 1;
    let metrics = telemetry::install().unwrap();
    let app = App::start(&config, Vec::new(), Some(metrics)).await.unwrap();
    app.warm().await.unwrap();
    (app.address(), Some(app))
}
