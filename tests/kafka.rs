//! The contract on a real Apache Kafka: the one that `tests/kafka/broker` starts, or
//! the one at `KAFKA_BOOTSTRAP`. Runs only when asked for, with `SIDETONE_TEST_KAFKA=1`
//! or `KAFKA_BOOTSTRAP=host:port`, since it needs Java and Maven and takes its time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

/// Longest wait for anything a broker has to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker of our own, stopped when the test is over, however it ends.
struct Broker {
    bootstrap: String,
    /// `None` for a broker that others run.
    dir: Option<tempfile::TempDir>,
}

impl Broker {
    /// `None`, with a word on standard error, where no broker was asked for or none can be had.
    fn start(test: &str) -> Option<Self> {
        if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
            return Some(Self { bootstrap, dir: None });
        }
        if std::env::var_os("SIDETONE_TEST_KAFKA").is_none() {
            skip(test, "neither SIDETONE_TEST_KAFKA nor KAFKA_BOOTSTRAP is set");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let started = script(&["start", "--dir", dir.path().to_str().unwrap()]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let printed = String::from_utf8(started.stdout).unwrap();
        let bootstrap = printed.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP=")).unwrap().to_owned();
        Some(Self { bootstrap, dir: Some(dir) })
    }

    fn dir(&self) -> Option<&str> {
        self.dir.as_ref().map(|dir| dir.path().to_str().unwrap())
    }

    /// Every record of a topic from its beginning, until `enough` says so.
    fn records(&self, topic: &str, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        let partitions = loop {
            let found = consumer.fetch_metadata(Some(topic), Duration::from_secs(5));
            let found = found.map_or(0, |metadata| metadata.topics()[0].partitions().len());
            if found > 0 {
                break found;
            }
            assert!(Instant::now() < until, "topic {topic} did not appear");
        };
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut records = Vec::new();
        while !enough(&records) {
            assert!(Instant::now() < until, "the awaited records did not come; {} others did", records.len());
            if let Some(message) = consumer.poll(Duration::from_millis(200)) {
                records.push(Record::from(&message.unwrap()));
            }
        }
        records
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(dir) = self.dir() {
            script(&["kill", dir]);
        }
    }
}

fn script(arguments: &[&str]) -> Output {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
    // Output goes to files: the broker keeps what it was given open for as long as it runs.
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let status = Command::new(broker)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out.reopen().unwrap())
        .stderr(err.reopen().unwrap())
        .status()
        .unwrap();
    Output { status, stdout: std::fs::read(out.path()).unwrap(), stderr: std::fs::read(err.path()).unwrap() }
}

/// libtest does not capture what is written to the stream itself.
fn skip(test: &str, why: &str) {
    // In one piece, since tests run side by side.
    let _ = std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes());
}

struct Record {
    partition: i32,
    key: String,
    headers: HashMap<String, String>,
    value: Value,
}

impl Record {
    fn from(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            key: text(message.key()),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
            value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn ended(records: &[Record]) -> usize {
    records.iter().filter(|record| record.header("ce_type") == "leg.ended.v1").count()
}

/// Plays the demo call with a transcriber that needs no model.
fn demo(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.current_dir(folder).arg("demo").args(["--json"]).args(arguments);
    command.env("SIDETONE_ASR__BACKEND", "scripted").envs(settings.iter().copied());
    command
}

fn lines(output: &[u8]) -> Vec<Value> {
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn topic(test: &str) -> String {
    format!("sidetone.test.{test}.{}", std::process::id())
}

/// Each leg's durable events, once repeated ids are dropped, are numbered from 1 without gaps.
fn assert_complete(records: &[Record]) {
    let mut seen = HashSet::new();
    let mut legs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for record in records.iter().filter(|record| seen.insert(record.header("ce_id"))) {
        if !record.headers.contains_key("ce_sub") {
            legs.entry(record.header("ce_subject")).or_default().push(record.header("ce_seq").parse().unwrap());
        }
    }
    assert!(!legs.is_empty());
    for (leg, numbers) in legs {
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "leg {leg}");
    }
}

#[test]
fn a_call_arrives_whole_in_order_and_on_one_partition() {
    let Some(broker) = Broker::start("a_call_arrives_whole_in_order_and_on_one_partition") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("whole"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str()), ("SIDETONE_SINK__KAFKA__PARTITIONS", "3")];
    let played = demo(folder.path(), &["--speed", "16", "--kafka", &broker.bootstrap], &settings).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let records = broker.records(&topic, |records| records.len() >= printed.len());

    let ids = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<HashSet<_>>();
    let at_broker = ids(records.iter().map(|record| record.header("ce_id")).collect());
    let on_stdout = ids(printed.iter().map(|event| event["id"].as_str().unwrap()).collect());
    assert_eq!(at_broker, on_stdout);
    assert_eq!(records.iter().map(|record| record.partition).collect::<HashSet<_>>().len(), 1);
    assert_complete(&records);
    for record in &records {
        let event = printed.iter().find(|event| event["id"] == record.header("ce_id")).unwrap();
        assert_eq!(record.value, event["data"]);
        assert_eq!(record.key, event["data"]["conversation"].as_str().unwrap());
        for (header, attribute) in [
            ("ce_specversion", "specversion"),
            ("ce_source", "source"),
            ("ce_type", "type"),
            ("ce_subject", "subject"),
            ("ce_time", "time"),
            ("ce_partitionkey", "partitionkey"),
            ("content-type", "datacontenttype"),
        ] {
            assert_eq!(record.header(header), event[attribute].as_str().unwrap(), "{header}");
        }
        assert_eq!(record.header("ce_seq"), event["seq"].to_string());
    }
}

#[test]
fn a_missing_topic_is_named_and_its_events_wait_for_it() {
    let Some(broker) = Broker::start("a_missing_topic_is_named_and_its_events_wait_for_it") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("missing"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str()), ("SIDETONE_SINK__KAFKA__CREATE_TOPIC", "false")];
    let check = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .current_dir(folder.path())
        .args(["check", "--kafka", &broker.bootstrap])
        .env("SIDETONE_ASR__BACKEND", "scripted")
        .envs(settings)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.status.success());
    assert!(said.contains(&format!("topic {topic} does not exist")) && said.contains("kafka-topics.sh"), "{said}");

    let playing = demo(folder.path(), &["--speed", "16", "--kafka", &broker.bootstrap], &settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The call takes four seconds; the process then stays to deliver what waits.
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &broker.bootstrap).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&topic, 2, rdkafka::admin::TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.create_topics([&new], &rdkafka::admin::AdminOptions::new())).unwrap();
    let played = playing.wait_with_output().unwrap();
    assert!(played.status.success());
    let printed = lines(&played.stdout);
    let durable = printed.iter().filter(|event| event.get("sub").is_none()).count();
    let records = broker.records(&topic, |records| ended(records) == 2);
    assert_eq!(records.iter().filter(|record| !record.headers.contains_key("ce_sub")).count(), durable);
    assert_complete(&records);
}

#[test]
fn a_broker_killed_and_restarted_in_a_call_costs_no_event() {
    let Some(broker) = Broker::start("a_broker_killed_and_restarted_in_a_call_costs_no_event") else { return };
    let Some(dir) = broker.dir() else {
        return skip("a_broker_killed_and_restarted_in_a_call_costs_no_event", "the broker is not ours to kill");
    };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("killed"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str())];
    let playing = demo(folder.path(), &["--speed", "4", "--kafka", &broker.bootstrap], &settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // In the middle of the call: some of it is at the broker, most of it is to come.
    broker.records(&topic, |records| records.len() >= 6);
    assert!(script(&["kill", dir]).status.success());
    assert!(script(&["restart", dir]).status.success());
    let played = playing.wait_with_output().unwrap();
    assert!(played.status.success());
    let printed = lines(&played.stdout);
    let records = broker.records(&topic, |records| ended(records) >= 2);
    assert_complete(&records);
    let at_broker: HashSet<_> = records.iter().map(|record| record.header("ce_id").to_owned()).collect();
    for event in printed.iter().filter(|event| event.get("sub").is_none()) {
        assert!(at_broker.contains(event["id"].as_str().unwrap()), "{} is missing", event["id"]);
    }
}

#[test]
fn what_the_broker_refuses_for_good_is_set_aside_with_the_reason() {
    let Some(broker) = Broker::start("what_the_broker_refuses_for_good_is_set_aside_with_the_reason") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("refused"));
    let dead: PathBuf = folder.path().join("dead.jsonl");
    let config = folder.path().join("sidetone.toml");
    std::fs::write(
        &config,
        format!(
            "[sink.kafka]\ntopic = {topic:?}\ndead_letters = {dead:?}\nproperties = {{ \"message.max.bytes\" = \"1000\" }}\n\
             [asr.scripted]\ntexts = [{:?}]\n",
            "a long story ".repeat(200)
        ),
    )
    .unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--speed", "16", "--kafka", &broker.bootstrap];
    let played = demo(folder.path(), &arguments, &[]).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let finals = printed.iter().filter(|event| event["type"] == "transcript.final.v1");
    let finals: HashMap<&str, &Value> = finals.map(|event| (event["id"].as_str().unwrap(), event)).collect();
    assert!(!finals.is_empty());
    let buried = lines(&std::fs::read(&dead).unwrap());
    assert_eq!(buried.len(), finals.len());
    for line in &buried {
        let id = line["event"]["id"].as_str().unwrap();
        assert!(finals.get(id) == Some(&&line["event"]), "{id} is not one of the finals, or is not whole");
        assert!(line["reason"].as_str().unwrap().contains("MessageSizeTooLarge"), "{}", line["reason"]);
    }
}
