//! The servers under test, each run in a child process.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::post;
use sidetone::app::App;
use sidetone::config::Config;
use sidetone::control::EVENT_PATH;

use super::child;
use super::webhooks::{ANSWER_PATH, API_KEY, SECRET};

/// More calls than any bench makes: those that are over are remembered for a while.
const CALLS_MAX: usize = 1_000_000;

/// What is compared; the first is what the other is compared with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Reads the webhook and gives an NCCO that is always the same.
    Bare,
    /// The whole gateway.
    Sidetone,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Bare, Self::Sidetone];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare-handler",
            Self::Sidetone => "sidetone",
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
            Kind::Sidetone => gateway().await,
        }
    });
}

/// As long as what the gateway answers.
const NCCO: &[u8] = &[b' '; 900];

async fn bare() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reply = || {
        async |body: Bytes| {
            std::hint::black_box(body);
            ([(header::CONTENT_TYPE, "application/json")], NCCO)
        }
    };
    let router = Router::new().route(ANSWER_PATH, post(reply())).route(EVENT_PATH, post(reply()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The whole gateway with a flow, its webhooks' signatures verified; nobody transcribes and no
/// event is delivered, which other benches measure.
async fn gateway() -> (SocketAddr, Option<App>) {
    let config: Config = toml::from_str(&format!(
        r#"
        asr.backend = "scripted"
        sentiment.backend = "none"
        inference.threads = 1
        control.calls_max = {CALLS_MAX}
        server.listen = "127.0.0.1:0"
        vonage.webhooks_remembered_max = {CALLS_MAX}
        [[vonage.account]]
        api_key = "{API_KEY}"
        signature_secrets = "{SECRET}"
        [[flow]]
        name = "support"
        called = ["442079460000"]
        hours = ["mon-sun 00:00-24:00"]
        greeting = "Welcome."
        consent = "This call is recorded and transcribed."
        record = true
        to.socket = true
        "#
    ))
    .unwrap();
    let app = App::start(&config, Vec::new(), None).await.unwrap();
    app.warm().await.unwrap();
    (app.address(), Some(app))
}
