//! A gateway and a Vonage that know each other, and calls between them.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use sidetone::audio::wav::Wav;
use sidetone::simulator::platform::{Platform, Settings};
use sidetone::simulator::script::Script;
use sidetone::simulator::stage::{Voices, recorded_call};
use sidetone::simulator::webhook::Signing;
use sidetone::types::{Private, Rate};
use sidetone::vonage::app_jwt::AppPublicKey;
use tokio::net::TcpListener;

use super::support::process::{self, Gateway};
use super::support::{channel, events};

/// Times faster than real time.
pub const SPEED: f64 = 8.0;

/// A gateway with the controller on, and the set-up of the Vonage that it believes.
pub struct World {
    pub gateway: Gateway,
    listener: Option<TcpListener>,
    set_up: toml::Table,
}

impl World {
    /// `more`: configuration on top of what `sidetone simulate init` writes.
    pub async fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let init = process::run(folder.path(), &["simulate", "init", ".", "--listen", &api]).await;
        assert_eq!(init.code, Some(0), "{}", init.err);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let set_up: toml::Table = read("simulator.toml").parse().unwrap();
        let mut written: toml::Table = read("gateway.toml").parse().unwrap();
        // It is reached where it happens to listen.
        written.remove("server");
        let quick = "[control]\nlinger_ms = 300\nlinger_max_ms = 5000\nlistener_pause_ms = 100\n";
        let more = format!("{written}\n{quick}\n{more}");
        let gateway = Gateway::listening(folder, &more).await;
        gateway.ready().await;
        Self { gateway, listener: Some(listener), set_up }
    }

    pub fn text(&self, key: &str) -> String {
        self.set_up[key].as_str().unwrap().to_owned()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address)
    }

    /// The Vonage that the gateway knows; once.
    pub async fn platform(&mut self, change: impl FnOnce(&mut Settings)) -> Platform {
        let mut settings = Settings::new(&self.url("/v1/vonage/answer"), &self.url("/v1/vonage/event"));
        settings.fallback_url = Some(self.url("/v1/vonage/fallback"));
        settings.signing = Some(Signing {
            api_key: self.text("api_key"),
            secret: Private(self.text("signature_secret")),
            application_id: Some(self.text("application_id")),
        });
        settings.rest_key = Some(AppPublicKey::from_pem(&self.text("public_key")).unwrap());
        settings.application_id = Some(self.text("application_id"));
        settings.speed = SPEED;
        change(&mut settings);
        Platform::start_on(self.listener.take().unwrap(), settings).await.unwrap()
    }

    /// Stops the gateway and holds all that it published against the contract.
    pub async fn published(self) -> (Vec<Value>, String) {
        let (log, folder) = self.gateway.stop().await;
        let events = events::read(&folder.path().join("sidetone-events.jsonl"));
        events::check_all(&events);
        (events, log)
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address
    }
}

/// The demo call's first `seconds`: the agent left, the caller right.
pub fn call(seconds: usize) -> (Script, Voices) {
    let cut = |which| channel(which)[..seconds * 8_000].to_vec();
    let wav = Wav { rate: Rate::Hz8000, channels: vec![cut(0), cut(1)] };
    recorded_call(Path::new("the demo call"), wav, &["agent".to_owned(), "caller".to_owned()]).unwrap()
}
