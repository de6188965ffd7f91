//! Brokers for the tests, and what they hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

/// Longest wait for anything a broker has to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A broker of our own, stopped when the test is over, however it ends.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    /// What the script printed, by name.
    pub(crate) printed: HashMap<String, String>,
    /// `None` for a broker that others run.
    dir: Option<tempfile::TempDir>,
}

impl Broker {
    /// `None`, with a word on standard error, where no broker was asked for or none can be had.
    pub(crate) fn start(test: &str) -> Option<Self> {
        if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
            return Some(Self { bootstrap, printed: HashMap::new(), dir: None });
        }
        Self::own(test, &[])
    }

    /// One that several tests use at a time, and none of them harms.
    pub(crate) fn shared(test: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = shared.upgrade() {
            return Some(broker);
        }
        let broker = Arc::new(Self::start(test)?);
        *shared = Arc::downgrade(&broker);
        Some(broker)
    }

    /// One with further options of the script, never anybody else's.
    pub(crate) fn own(test: &str, options: &[&str]) -> Option<Self> {
        if !asked_for(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let started = script(&[&["start", "--dir", dir.path().to_str().unwrap()], options].concat());
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let printed = printed(&started);
        Some(Self { bootstrap: printed["KAFKA_BOOTSTRAP"].clone(), printed, dir: Some(dir) })
    }

    pub(crate) fn dir(&self) -> Option<&str> {
        self.dir.as_ref().map(|dir| dir.path().to_str().unwrap())
    }

    /// Every record of a topic from its beginning, until `enough` says so.
    pub(crate) fn records(&self, topic: &str, enough: impl FnMut(&[Record]) -> bool) -> Vec<Record> {
        records(&self.bootstrap, topic, enough)
    }

    /// The records of a call that is over and printed `printed`: every durable event, and of the
    /// others those that were not shed, as they may be where a broker is slow.
    pub(crate) fn call(&self, topic: &str, printed: &[Value]) -> Vec<Record> {
        let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
        let all: HashSet<_> = printed.iter().map(id).collect();
        let mut durable: HashSet<_> = printed.iter().filter(|event| is_durable(event)).map(id).collect();
        assert!(!durable.is_empty());
        let mut looked_at = 0;
        let records = self.records(topic, |records| {
            records[looked_at..].iter().for_each(|record| _ = durable.remove(record.header("ce_id")));
            looked_at = records.len();
            durable.is_empty()
        });
        let strange = records.iter().map(|record| record.header("ce_id")).find(|id| !all.contains(*id));
        assert_eq!(strange, None, "not printed");
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

/// Whether brokers were asked for; if not, says so.
pub(crate) fn asked_for(test: &str) -> bool {
    let asked = std::env::var_os("SIDETONE_TEST_KAFKA").is_some();
    if !asked {
        skip(test, "SIDETONE_TEST_KAFKA is not set");
    }
    asked
}

/// The script's `NAME=value` lines.
pub(crate) fn printed(output: &Output) -> HashMap<String, String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Every record of a topic from its beginning, until `enough` says so.
pub(crate) fn records(bootstrap: &str, topic: &str, mut enough: impl FnMut(&[Record]) -> bool) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut until = Instant::now() + PATIENCE;
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
        if Instant::now() >= until {
            let mut by_partition = BTreeMap::<i32, usize>::new();
            records.iter().for_each(|record: &Record| *by_partition.entry(record.partition).or_default() += 1);
            panic!("the awaited records did not come; by partition these did: {by_partition:?}");
        }
        // Many at a time: whoever says what is enough looks at all of them.
        for _ in 0..1_000 {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    // However many there are, as long as they keep coming.
                    until = Instant::now() + PATIENCE;
                    records.push(Record::from(&message));
                }
                // A broker that is away makes complaints, not records.
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
    records
}

pub(crate) fn script(arguments: &[&str]) -> Output {
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
pub(crate) fn skip(test: &str, why: &str) {
    // In one piece, since tests run side by side.
    let _ = std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes());
}

pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) headers: HashMap<String, String>,
    /// The value as JSON; null where it is none.
    pub(crate) value: Value,
}

impl Record {
    fn from(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            key: text(message.key()),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
            value: serde_json::from_slice(message.payload().unwrap()).unwrap_or_default(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_durable(&self) -> bool {
        !self.headers.contains_key("ce_sub")
    }
}

/// Whether the call's last event is there.
pub(crate) fn is_over(records: &[Record]) -> bool {
    records.iter().any(|record| record.header("ce_type") == "call.record.v1")
}

/// The product, with a transcriber that needs no model.
pub(crate) fn sidetone(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.current_dir(folder).args(arguments).env("SIDETONE_ASR__BACKEND", "scripted");
    command
}

/// How many times real time a call is played where that does not matter: at twice as much a starved
/// machine, behind on the call itself, tries something else.
pub(crate) const SPEED: &str = "8";

/// Plays the demo call with a transcriber that needs no model. It delivers all before it ends,
/// however long that takes: what it left in its spool would be looked for in vain.
pub(crate) fn demo(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = sidetone(folder, &["demo", "--json"]);
    command.env("SIDETONE_SERVER__DRAIN_TIMEOUT_MS", PATIENCE.as_millis().to_string());
    command.args(arguments).envs(settings.iter().copied());
    command
}

pub(crate) fn lines(output: &[u8]) -> Vec<Value> {
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Whether an event that was printed is one that is never shed.
pub(crate) fn is_durable(event: &Value) -> bool {
    event.get("sub").is_none()
}

/// What was heard, by the events' ids. Never none.
pub(crate) fn finals(printed: &[Value]) -> HashMap<&str, &Value> {
    let finals = printed.iter().filter(|event| event["type"] == "transcript.final.v1");
    let finals: HashMap<_, _> = finals.map(|event| (event["id"].as_str().unwrap(), event)).collect();
    assert!(!finals.is_empty());
    finals
}

pub(crate) fn topic(test: &str) -> String {
    format!("sidetone.test.{test}.{}", std::process::id())
}

/// Each leg's durable events, once repeated ids are dropped, are numbered from 1 without gaps.
pub(crate) fn assert_complete(records: &[Record]) {
    let mut seen = HashSet::new();
    let mut legs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for record in records.iter().filter(|record| seen.insert(record.header("ce_id"))) {
        if record.is_durable() {
            legs.entry(record.header("ce_subject")).or_default().push(record.header("ce_seq").parse().unwrap());
        }
    }
    assert!(!legs.is_empty());
    for (leg, numbers) in legs {
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "leg {leg}");
    }
}
