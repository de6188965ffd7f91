//! The real binary: started, asked, stopped.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, until};

/// The binary under test, without whatever the developer's environment says.
pub fn sidetone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SIDETONE_") {
            command.env_remove(name);
        }
    }
    // Some panic on purpose, and a thread that gives way to all others would be minutes about the
    // backtrace where the machine has other work. What panicked and where is said all the same.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// A command's outcome as text.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the binary to its end, in `folder`.
pub async fn run<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> Said {
    run_with(folder, arguments, |_| {}).await
}

/// Runs the binary to its end, in `folder`, with a change to the command.
pub async fn run_with<A: AsRef<OsStr>>(folder: &Path, arguments: &[A], change: impl FnOnce(&mut Command)) -> Said {
    let mut command = sidetone();
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    let what = format!("{command:?} to end");
    let child = Killed(command.spawn().unwrap());
    // Waiting for a process blocks; a test that gives up kills it.
    let pid = child.0.id();
    let ended = tokio::task::spawn_blocking(move || child.output());
    match tokio::time::timeout(PATIENCE, ended).await {
        Ok(output) => {
            let Output { status, stdout, stderr } = output.unwrap().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            Said { code: status.code(), out: text(stdout), err: text(stderr) }
        }
        Err(_) => {
            signal(pid, "KILL");
            panic!("waited in vain for {what}");
        }
    }
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Killed {
    fn output(mut self) -> std::io::Result<Output> {
        let (mut out, mut err) = (self.0.stdout.take(), self.0.stderr.take());
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.as_mut().map_or(Ok(0), |err| err.read_to_end(&mut bytes)).map(|_| bytes)
        });
        let mut stdout = Vec::new();
        if let Some(out) = &mut out {
            out.read_to_end(&mut stdout)?;
        }
        let stderr = reader.join().unwrap()?;
        Ok(Output { status: self.0.wait()?, stdout, stderr })
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "no kill command: {sent:?}");
}

/// A running `sidetone serve`, in a folder of its own.
pub struct Gateway {
    child: Killed,
    pub folder: TempDir,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

/// What every test's gateway is told unless it says otherwise.
pub const QUICK: &str = r#"
[server]
listen = "127.0.0.1:0"
[asr]
backend = "scripted"
[inference]
threads = 1
[log]
format = "json"
"#;

/// [`QUICK`] with further TOML on top; sections may be named again.
pub fn config(more: &str) -> toml::Table {
    let mut table: toml::Table = QUICK.parse().unwrap();
    merge(&mut table, more.parse().unwrap_or_else(|error| panic!("{error} in {more}")));
    table
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

impl Gateway {
    /// Starts one in a new folder and waits until it is ready.
    pub async fn start(more: &str) -> Self {
        let gateway = Self::listening(tempfile::tempdir().unwrap(), more).await;
        gateway.ready().await;
        gateway
    }

    /// Starts one in `folder` and waits until it listens.
    pub async fn listening(folder: TempDir, more: &str) -> Self {
        std::fs::write(folder.path().join("sidetone.toml"), config(more).to_string()).unwrap();
        let mut command = sidetone();
        command.args(["serve", "--config", "sidetone.toml"]);
        Self::spawn(folder, command).await
    }

    /// Starts `command` in `folder` and waits until it listens. It must log JSON.
    pub async fn spawn(folder: TempDir, mut command: Command) -> Self {
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap());
        let stderr = child.0.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            }
        });
        let address = until("the gateway to listen", || {
            let listening = log.lock().unwrap().iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let message = line["fields"]["message"].as_str()?;
                message.starts_with("listening").then(|| line["fields"]["address"].as_str()?.parse().ok())?
            });
            let ended = child.0.try_wait().unwrap();
            assert!(listening.is_some() || ended.is_none(), "{ended:?}: {:#?}", log.lock().unwrap());
            std::future::ready(listening)
        })
        .await;
        Self { child, folder, address, log, reader }
    }

    /// Where its events go by default.
    pub fn events_path(&self) -> PathBuf {
        self.folder.path().join("sidetone-events.jsonl")
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    /// Waits until calls can be taken.
    pub async fn ready(&self) {
        until("/readyz to say 200", || async { (self.get("/readyz").await.0 == 200).then_some(()) }).await;
    }

    /// A metric's value now, labels included in the name; 0 if nobody counted yet.
    pub async fn metric(&self, name: &str) -> f64 {
        metric(&self.get("/metrics").await.1, name)
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end; gives the status, what it logged, and its folder.
    pub async fn ended(mut self) -> (ExitStatus, String, TempDir) {
        let status = until("the gateway to end", || std::future::ready(self.child.0.try_wait().unwrap())).await;
        self.reader.join().unwrap();
        let log = self.log.lock().unwrap().join("\n");
        (status, log, self.folder)
    }

    /// Stops it as an operator does; it must end well.
    pub async fn stop(self) -> (String, TempDir) {
        self.signal("TERM");
        let (status, log, folder) = self.ended().await;
        assert_eq!(status.code(), Some(0), "the gateway did not end well:\n{log}");
        (log, folder)
    }
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = super::within(path, reqwest::get(format!("http://{address}{path}"))).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A metric's value in Prometheus text, labels included in the name.
pub fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}
