//! A gateway of our own: the same binary, in a process of its own.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::plan::Pattern;
use super::process::{self, Cores};
use crate::config::{Api, Call, Config, Inference, KafkaSink, Media, Source, SpoolMode, Vonage};

/// Longest wait until it listens and its model is warm.
const START: Duration = Duration::from_secs(120);

/// Longest wait for its end, beyond the drain's own.
const STOP: Duration = Duration::from_secs(15);

/// Between two looks at what can only be polled.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Lines of its log that are kept, to be shown when it fails.
const LINES_MAX: usize = 12;

/// Events that may wait for the driver, so that a crowd that hangs up at once is not too much.
const LIVE_BACKLOG: usize = 262_144;

/// Whether a variable is passed on: secrets of the broker, of transcribers and of scorers, which
/// no file shows.
fn is_passed_on(name: &str) -> bool {
    let of_backend = ["SIDETONE_ASR__", "SIDETONE_SENTIMENT__"].iter().any(|family| name.starts_with(family));
    name.starts_with("SIDETONE_SINK__KAFKA__") || of_backend && name.ends_with("__KEY")
}

/// What the gateway transcribes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcriber {
    /// It listens and cuts, and an answer from a list costs nothing: what is left is the gateway.
    None,
    /// What the configuration says.
    Default,
}

/// The configuration of a gateway for a run: the user's, but for who may come in, where
/// events go, and, where nothing is to be transcribed, all that costs inference.
#[must_use]
pub fn configuration(
    user: Config,
    transcriber: Transcriber,
    pattern: Pattern,
    legs: usize,
    kafka: Option<&str>,
) -> Config {
    let mut config =
        Config { vonage: Vonage::default(), media: Media::default(), api: Api::default(), flow: Vec::new(), ..user };
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.public_url.clear();
    // Where legs come and go, one may come before another is gone.
    config.server.legs_max = if pattern == Pattern::Overload { legs } else { legs * 2 + 64 };
    config.server.live_backlog_max = config.server.live_backlog_max.max(LIVE_BACKLOG);
    config.sink.file.path = PathBuf::new();
    config.sink.spool.mode = SpoolMode::Off;
    match kafka {
        Some(brokers) => config.sink.kafka.bootstrap = brokers.to_owned(),
        None => config.sink.kafka = KafkaSink::default(),
    }
    config.log.filter = "error,sidetone::cli::serve=info".to_owned();
    config.log.format = crate::config::LogFormat::Json;
    // It runs in a folder of its own.
    if let Ok(dir) = std::path::absolute(&config.models.dir) {
        config.models.dir = dir;
    }
    if transcriber == Transcriber::None {
        config.asr.backend = "scripted".to_owned();
        config.asr.tables = crate::config::Tables::default();
        config.asr.fall_back.clear();
        config.sentiment.backend = "none".to_owned();
        config.call = Call { partial_interval_ms: 0, ..config.call };
        config.inference = Inference { threads: 1, ..config.inference };
    }
    config
}

/// A running gateway. Killed when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
    drain: Duration,
    /// Its folder; what it writes goes with it.
    _folder: TempDir,
}

impl Server {
    /// Starts it on `cores`, and waits until it can take calls. This thread is left on them.
    pub(super) async fn start(config: &Config, cores: Option<&Cores>) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot start a gateway: {what}: {error}");
        let environment = Source::environment().environment;
        let text = toml::to_string(config).map_err(|error| failed("its configuration", &error))?;
        if text.contains("[secret]") && !environment.iter().any(|(name, _)| is_passed_on(name)) {
            return Err("a secret of the Kafka sink, a transcriber or a scorer stands in the configuration file: for \
                        this command, set it as SIDETONE_SINK__KAFKA__…, SIDETONE_ASR__…__KEY or \
                        SIDETONE_SENTIMENT__…__KEY"
                .to_owned());
        }
        let folder = TempDir::with_prefix("sidetone-load-").map_err(|error| failed("a temporary folder", &error))?;
        let file = folder.path().join("sidetone.toml");
        std::fs::write(&file, text).map_err(|error| failed(&file.display().to_string(), &error))?;
        let program = std::env::current_exe().map_err(|error| failed("this program", &error))?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(&file).current_dir(folder.path());
        for (name, _) in environment.iter().filter(|(name, _)| name.starts_with("SIDETONE_") && !is_passed_on(name)) {
            command.env_remove(name);
        }
        // In a group of its own: an interrupt on the terminal is ours, and it is stopped in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(cores) = cores {
            cores.pin()?;
        }
        let mut child = command.spawn().map_err(|error| failed("the process", &error))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (told, address) = oneshot::channel();
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            let reader = std::thread::Builder::new().name("gateway-log".to_owned());
            reader.spawn(move || keep_log(stderr, &log, told)).map_err(|error| failed("a thread", &error))?;
        }
        let drain = Duration::from_millis(config.server.drain_timeout_ms);
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, address: unknown, log, drain, _folder: folder };
        let began = Instant::now();
        match timeout(START, address).await {
            Ok(Ok(address)) => server.address = address,
            // Its log ended, so it did or will.
            Ok(Err(_)) => return Err(server.failed_to_start().await),
            Err(_) => {
                return Err(format!(
                    "the gateway did not listen within {} s\n{}",
                    START.as_secs(),
                    server.last_words()
                ));
            }
        }
        while !is_ready(server.address).await {
            if server.ended().is_some() {
                return Err(server.failed_to_start().await);
            }
            if began.elapsed() > START {
                return Err(format!("the gateway was not ready within {} s\n{}", START.as_secs(), server.last_words()));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(server)
    }

    async fn failed_to_start(&mut self) -> String {
        let _ = self.wait(STOP).await;
        format!("the gateway did not start:\n{}", self.last_words())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it logged last.
    pub(super) fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            match self.ended() {
                None if Instant::now() < until => sleep(LOOK_AGAIN).await,
                ended => return ended,
            }
        }
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// How it ended, if not well.
    pub(super) async fn stop(mut self) -> Result<(), String> {
        if self.ended().is_none() {
            process::terminate(self.pid());
        }
        match self.wait(self.drain + STOP).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                Err(format!("the gateway ended badly ({status}):\n{}", self.last_words()).trim_end().to_owned())
            }
            None => Err("the gateway did not stop, and was killed".to_owned()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads its log to the end; tells where it listens.
fn keep_log(stderr: ChildStderr, log: &Mutex<VecDeque<String>>, told: oneshot::Sender<SocketAddr>) {
    let mut told = Some(told);
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let json: Option<Value> = serde_json::from_str(&line).ok();
        let field = |name: &str| json.as_ref()?.pointer(name)?.as_str();
        if let Some(address) = field("/fields/address").and_then(|address| address.parse().ok())
            && let Some(told) = told.take()
        {
            // Nobody waits any more: it took too long.
            let _ = told.send(address);
        }
        let line = field("/fields/message").map_or_else(|| line.clone(), str::to_owned);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let asked = reqwest::get(format!("http://{address}/readyz"));
    matches!(timeout(Duration::from_secs(5), asked).await, Ok(Ok(answer)) if answer.status().is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_users_but_for_the_run() {
        let mut user = crate::config::load(&Source::default()).unwrap();
        user.endpointing.hangover_ms = 700;
        user.server.listen = SocketAddr::from(([0, 0, 0, 0], 80));
        user.media.vonage = true;
        let none = configuration(user.clone(), Transcriber::None, Pattern::Steady, 20, None);
        assert_eq!((none.asr.backend.as_str(), none.sentiment.backend.as_str()), ("scripted", "none"));
        assert_eq!((none.endpointing.hangover_ms, none.server.legs_max, none.media.vonage), (700, 104, false));
        assert!(none.server.listen.ip().is_loopback() && none.sink.file.path.as_os_str().is_empty());
        let all = configuration(user, Transcriber::Default, Pattern::Overload, 20, Some("broker:9092"));
        assert_eq!((all.asr.backend.as_str(), all.server.legs_max), ("whisper", 20));
        assert_eq!(all.sink.kafka.bootstrap, "broker:9092");
        // And it reads back as it was written.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sidetone.toml");
        for config in [none, all] {
            std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
            let read = crate::config::load(&Source { file: Some(&file), ..Source::default() }).unwrap();
            assert_eq!(read, config);
        }
    }
}
