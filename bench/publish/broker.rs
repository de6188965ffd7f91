//! A real broker for the bench: somebody's, or one of our own.

use std::path::Path;
use std::process::{Command, Stdio};

pub(super) struct Broker {
    pub(super) bootstrap: String,
    dir: Option<tempfile::TempDir>,
}

fn script() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker"));
    command.stdin(Stdio::null());
    command
}

impl Broker {
    pub(super) fn start() -> Option<Self> {
        if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
            return Some(Self { bootstrap, dir: None });
        }
        let dir = tempfile::tempdir().unwrap();
        // A file, since the broker keeps what it was given open.
        let out = dir.path().join("printed");
        let started = script()
            .args(["start", "--dir"])
            .arg(dir.path().join("broker"))
            .stdout(std::fs::File::create(&out).unwrap())
            .status();
        if !started.unwrap().success() {
            println!("publish: not measured: no broker could be started");
            return None;
        }
        let printed = std::fs::read_to_string(out).unwrap();
        let bootstrap = printed.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP=")).unwrap().to_owned();
        Some(Self { bootstrap, dir: Some(dir) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            let _ = script().arg("kill").arg(dir.path().join("broker")).status();
        }
    }
}
