//! Those who read: `sidetone tail`, and the documented consumers in Python and TypeScript.
//! Each gets a topic in which ids are repeated; and a second time one with a hole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use super::support::{Broker, PATIENCE, Record, SPEED, demo, lines, sidetone, skip, topic};

/// A call on a topic; what it printed.
fn play(broker: &Broker, folder: &Path, topic: &str) -> Vec<Value> {
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic), ("SIDETONE_SINK__KAFKA__PARTITIONS", "1")];
    let played = demo(folder, &["--speed", SPEED, "--kafka", &broker.bootstrap], &settings).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    lines(&played.stdout)
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ids(records: &[Record]) -> HashSet<String> {
    records.iter().map(|record| record.header("ce_id").to_owned()).collect()
}

/// Writes records again as they are, but those that `keep` does not want.
fn copy(broker: &Broker, records: &[Record], topic: &str, keep: impl Fn(&Record) -> bool) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.bootstrap)
        .set("compression.type", "zstd")
        .create()
        .unwrap();
    for record in records.iter().filter(|record| keep(record)) {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let value = record.value.to_string();
        producer
            .send(BaseRecord::to(topic).key(&record.key).payload(&value).headers(headers))
            .map_err(|e| e.0)
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// A topic with everything twice, one with a hole, and what was published.
struct Topics {
    twice: String,
    holed: String,
    ids: HashSet<String>,
    /// Events in `holed`.
    left: usize,
}

fn prepare(broker: &Broker, folder: &Path, name: &str) -> Topics {
    let (twice, holed) = (topic(&format!("{name}-twice")), topic(&format!("{name}-holed")));
    let printed = play(broker, folder, &twice);
    let records = broker.call(&twice, &printed);
    copy(broker, &records, &twice, |_| true);
    let config = ["--kafka", &broker.bootstrap];
    let init = sidetone(folder, &[&["kafka", "init"], &config[..]].concat())
        .env("SIDETONE_SINK__KAFKA__TOPIC", &holed)
        .env("SIDETONE_SINK__KAFKA__PARTITIONS", "1")
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let is_hole = |record: &Record| record.is_durable() && record.header("ce_seq") == "2";
    copy(broker, &records, &holed, |record| !is_hole(record));
    let left = records.iter().filter(|record| !is_hole(record)).count();
    assert!(left < records.len());
    Topics { twice, holed, ids: ids(&records), left }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each id once, and nothing missing; then the hole is told of.
fn prove(topics: &Topics, mut consume: impl FnMut(&str, usize) -> Output) {
    let read = consume(&topics.twice, topics.ids.len());
    assert!(read.status.success(), "{}", text(&read.stderr));
    let found = lines(&read.stdout);
    assert_eq!(found.len(), topics.ids.len());
    let ids: HashSet<_> = found.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, topics.ids);
    assert!(found.iter().all(|event| event["data"]["seq"].is_u64()));
    let read = consume(&topics.holed, topics.left);
    assert!(!read.status.success() && text(&read.stderr).contains("missing"), "{}", text(&read.stderr));
    assert_eq!(lines(&read.stdout).len(), topics.left);
}

#[test]
fn tail_shows_each_event_once_filters_and_tells_of_holes() {
    let Some(broker) = Broker::shared("tail_shows_each_event_once_filters_and_tells_of_holes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let topics = prepare(&broker, folder.path(), "tail");
    let tail = |topic: &str, options: &[&str]| {
        let mut command = sidetone(folder.path(), &["tail", "--kafka", &broker.bootstrap]);
        command.env("SIDETONE_SINK__KAFKA__TOPIC", topic).args(options).output().unwrap()
    };
    let whole = ["--from", "beginning", "--until-end", "--json"];
    prove(&topics, |topic, _| tail(topic, &whole));

    let finals = lines(
        &tail(&topics.twice, &[&whole[..], &["--type", "transcript.final", "--speaker", "agent"]].concat()).stdout,
    );
    assert!(!finals.is_empty());
    for event in &finals {
        assert_eq!(
            (event["type"].as_str(), event["data"]["speaker"].as_str()),
            (Some("transcript.final.v1"), Some("agent"))
        );
    }
    let conversation = finals[0]["data"]["conversation"].as_str().unwrap();
    let count = |options: &[&str]| lines(&tail(&topics.twice, &[&whole[..], options].concat()).stdout).len();
    assert_eq!(count(&["--conversation", conversation]), topics.ids.len());
    assert_eq!(count(&["--conversation", "another"]), 0);

    let shown = text(&tail(&topics.twice, &whole[..3]).stdout);
    let said = finals[0]["data"]["text"].as_str().unwrap();
    assert!(shown.contains(said) && shown.contains("nothing lost"), "{shown}");
    // From a time after everything there is nothing; from one before, everything.
    assert_eq!(
        lines(&tail(&topics.twice, &["--from", "2100-01-01T00:00:00Z", "--until-end", "--json"]).stdout).len(),
        0
    );
    let from_then = tail(&topics.twice, &["--from", "2020-01-01T00:00:00Z", "--until-end", "--json"]);
    assert_eq!(lines(&from_then.stdout).len(), topics.ids.len());
}

#[test]
fn a_group_shares_and_goes_on_where_it_left_off() {
    let Some(broker) = Broker::shared("a_group_shares_and_goes_on_where_it_left_off") else { return };
    let folder = tempfile::tempdir().unwrap();
    let topic = topic("group");
    let read = |enough: usize| {
        let out = tempfile::NamedTempFile::new().unwrap();
        let arguments = ["tail", "--json", "--group", "tests", "--from", "beginning", "--kafka", &broker.bootstrap];
        let mut tail = sidetone(folder.path(), &arguments);
        let tail = tail.env("SIDETONE_SINK__KAFKA__TOPIC", &topic).stdout(out.reopen().unwrap());
        let mut tail = Running(tail.spawn().unwrap());
        let until = std::time::Instant::now() + PATIENCE;
        while std::fs::read_to_string(out.path()).unwrap().lines().count() < enough {
            assert!(std::time::Instant::now() < until, "the group did not get its events");
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args(["-INT", &tail.0.id().to_string()]).status().unwrap().success());
        assert!(tail.0.wait().unwrap().success());
        let events = lines(&std::fs::read(out.path()).unwrap());
        let ids: HashSet<_> = events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), events.len(), "some came twice");
        ids
    };
    let mut printed = Vec::new();
    let mut ids_after_a_call = || {
        printed.extend(play(&broker, folder.path(), &topic));
        ids(&broker.call(&topic, &printed))
    };
    let first = ids_after_a_call();
    assert_eq!(read(first.len()), first);
    let second = &ids_after_a_call() - &first;
    assert_eq!(read(second.len()), second, "it began again, or missed some");
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
}

/// Runs what installs an example; `false`, with a word, where it cannot be had. In CI it must.
pub(crate) fn installed(test: &str, command: &mut Command) -> bool {
    let done = command.output();
    if done.as_ref().is_ok_and(|done| done.status.success()) {
        return true;
    }
    let why = match done {
        Ok(done) => text(&done.stderr) + &text(&done.stdout),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("CI").is_none(), "{command:?} failed: {why}");
    skip(test, &format!("{command:?} failed: {why}"));
    false
}

#[test]
fn the_python_consumer_drops_repetitions_and_tells_of_holes() {
    let test = "the_python_consumer_drops_repetitions_and_tells_of_holes";
    let Some(broker) = Broker::shared(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let environment = folder.path().join("python");
    let python = environment.join("bin/python");
    if !installed(test, Command::new("python3").args(["-m", "venv"]).arg(&environment))
        || !installed(
            test,
            Command::new(&python).args(["-m", "pip", "install", "-q", "-r"]).arg(example("python/requirements.txt")),
        )
    {
        return;
    }
    let topics = prepare(&broker, folder.path(), "python");
    prove(&topics, |topic, count| {
        let mut command = Command::new(&python);
        command.arg(example("python/consumer.py")).args(["--brokers", &broker.bootstrap, "--group", topic]);
        command.args(["--topic", topic, "--until", &count.to_string()]).output().unwrap()
    });
}

#[test]
fn the_typescript_consumer_drops_repetitions_and_tells_of_holes() {
    let test = "the_typescript_consumer_drops_repetitions_and_tells_of_holes";
    let Some(broker) = Broker::shared(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    // A copy, so that nothing is left in the tree.
    let project = folder.path().join("typescript");
    std::fs::create_dir(&project).unwrap();
    for file in ["package.json", "package-lock.json", "tsconfig.json", "consumer.ts"] {
        std::fs::copy(example("typescript").join(file), project.join(file)).unwrap();
    }
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command.current_dir(&project).args(arguments);
        command
    };
    if !installed(test, &mut npm(&["ci", "--no-audit", "--no-fund"])) || !installed(test, &mut npm(&["run", "build"])) {
        return;
    }
    let topics = prepare(&broker, folder.path(), "typescript");
    prove(&topics, |topic, count| {
        let mut command = Command::new("node");
        command.current_dir(&project).args(["dist/consumer.js", "--brokers", &broker.bootstrap, "--group", topic]);
        command.args(["--topic", topic, "--until", &count.to_string()]).output().unwrap()
    });
}
