//! The durable lane on a real Apache Kafka that dies, hangs and comes back, under a
//! gateway that is killed and stopped: then the topic is read, and `seq` proves that
//! nothing durable is missing and nothing is out of order. Runs when asked for, with
//! `SIDETONE_TEST_KAFKA=1`; `SIDETONE_TEST_KAFKA_LONG=ROUNDS` makes it long.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::task::JoinHandle;

use self::support::events::{self, number, text};
use self::support::peer::Peer;
use self::support::process::{self, Gateway, Said, run_with};
use self::support::{DTMF, hello, until};

#[allow(dead_code, reason = "shared with another test binary, which uses the rest")]
#[path = "gateway/support/mod.rs"]
mod support;

/// Longest wait for anything a broker has to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two keys of one leg.
const KEY_EVERY: Duration = Duration::from_millis(20);

/// Legs that press keys at once. One that pressed many more in a second would be ended.
const LEGS: usize = 32;

/// A broker of our own, gone when the test is over, however it ends.
struct Broker {
    bootstrap: String,
    pid: String,
    dir: tempfile::TempDir,
}

impl Broker {
    /// `None`, with a word on standard error, where no broker was asked for.
    fn start(test: &str, more: &[&str]) -> Option<Self> {
        if std::env::var_os("SIDETONE_TEST_KAFKA").is_none() {
            let skipped = format!("skipped: {test}: SIDETONE_TEST_KAFKA is not set\n");
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self { bootstrap: String::new(), pid: String::new(), dir };
        let dir = broker.dir();
        broker.run(&[&["start", "--dir", &dir], more].concat());
        Some(broker)
    }

    fn run(&mut self, arguments: &[&str]) {
        let done = script(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        let printed = String::from_utf8(done.stdout).unwrap();
        let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if let Some((bootstrap, pid)) = value("KAFKA_BOOTSTRAP=").zip(value("KAFKA_PID=")) {
            (self.bootstrap, self.pid) = (bootstrap, pid);
        }
    }

    fn dir(&self) -> String {
        self.dir.path().to_str().unwrap().to_owned()
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let dir = self.dir();
        self.run(&["kill", &dir]);
    }

    /// With the same data, at the same port.
    fn restart(&mut self) {
        let dir = self.dir();
        self.run(&["restart", &dir]);
    }

    /// Runs one of the broker's own tools.
    fn tool(&self, verb: &str, arguments: &[&str]) {
        let dir = self.dir();
        let done = script(&[&[verb, &dir], arguments].concat());
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn signal(&self, name: &str) {
        process::signal(self.pid.parse().unwrap(), name);
    }

    /// Every record that the topic has, by partition and in order.
    fn records(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let (mut all, mut left) = (TopicPartitionList::new(), 0);
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
            all.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
            left += high - low;
        }
        consumer.assign(&all).unwrap();
        let mut records = Vec::new();
        while (records.len() as i64) < left {
            assert!(Instant::now() < until, "{} of {left} records came", records.len());
            if let Some(message) = consumer.poll(Duration::from_millis(200)) {
                records.push(Record::from(&message.unwrap()));
            }
        }
        records
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.signal("CONT");
        script(&["kill", &self.dir()]);
    }
}

fn script(arguments: &[&str]) -> Output {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
    // Output goes to files: the broker keeps what it was given open for as long as it runs.
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut command = Command::new(broker);
    command.args(arguments).stdin(Stdio::null()).stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let status = command.status().unwrap();
    Output { status, stdout: std::fs::read(out.path()).unwrap(), stderr: std::fs::read(err.path()).unwrap() }
}

struct Record {
    partition: i32,
    headers: HashMap<String, String>,
    value: Value,
}

impl Record {
    fn from(message: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
            value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Legs that press a key again and again, until told to hang up.
struct Load {
    stop: Arc<AtomicBool>,
    legs: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(address: SocketAddr, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let legs = (0..LEGS).map(|n| tokio::spawn(press(address, format!("{name}-{n}"), Arc::clone(&stop)))).collect();
        Self { stop, legs }
    }

    /// Hangs up; gives the number of keys pressed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let mut keys = 0;
        for leg in self.legs {
            keys += leg.await.unwrap();
        }
        keys
    }
}

async fn press(address: SocketAddr, conversation: String, stop: Arc<AtomicBool>) -> u64 {
    let mut peer = Peer::connect(address, &format!("?conversation={conversation}&role=caller")).await;
    peer.text(&hello(8_000)).await;
    let mut every = tokio::time::interval(KEY_EVERY);
    let mut keys = 0;
    while !stop.load(Ordering::SeqCst) {
        every.tick().await;
        let frame = support::peer::frame(0x80 | support::peer::TEXT, true, DTMF.as_bytes());
        // A gateway that was killed does not read any more.
        if !peer.send_if_taken(&frame).await {
            return keys;
        }
        keys += 1;
    }
    let close = support::peer::frame(0x80 | support::peer::CLOSE, true, &1000_u16.to_be_bytes());
    if peer.send_if_taken(&close).await {
        peer.back().await;
    }
    keys
}

/// A small memory and a small producer queue, so that most of an outage is on disk only.
fn settings(broker: &Broker, topic: &str) -> String {
    format!(
        "[sink.kafka]\nbootstrap = {:?}\ntopic = {topic:?}\npartitions = 3\n\
         properties = {{ \"queue.buffering.max.messages\" = \"300\", \"reconnect.backoff.max.ms\" = \"500\" }}\n\
         [sink.spool]\nmemory_max = 64\nsegment_bytes = 65536\nbytes_max = 1000000000\n\
         [call]\nspeed_max = 1000\n[server]\ndrain_timeout_ms = 2000\n",
        broker.bootstrap
    )
}

async fn spooled(gateway: &Gateway) -> f64 {
    gateway.metric("sidetone_spool_events{sink=\"kafka\"}").await
}

async fn spooled_at_least(gateway: &Gateway, events: f64) {
    until("the spool to fill", || async { (spooled(gateway).await >= events).then_some(()) }).await;
}

async fn drained(gateway: &Gateway) {
    until("the spool to be empty", || async { (spooled(gateway).await == 0.0).then_some(()) }).await;
}

async fn sidetone(folder: &Path, arguments: &[&str]) -> Said {
    run_with(folder, arguments, |_| {}).await
}

/// The durable events in the event file: what was published, whatever became of the broker.
fn published(folder: &Path) -> Vec<Value> {
    let all = events::read_so_far(&folder.join("sidetone-events.jsonl"));
    all.into_iter().filter(|event| event.get("sub").is_none()).collect()
}

/// The durable records, each once: what a consumer sees that drops repeated ids.
fn each_once<'a>(records: &'a [Record]) -> impl Iterator<Item = &'a Record> {
    let mut seen: HashSet<&'a str> = HashSet::new();
    let durable = records.iter().filter(|record| !record.headers.contains_key("ce_sub"));
    durable.filter(move |record| seen.insert(record.header("ce_id")))
}

fn seq(record: &Record) -> u64 {
    record.header("ce_seq").parse().unwrap()
}

/// What such a consumer sees of each subject is numbered from 1 without gaps, in order, on
/// one partition, and is what was published.
fn prove(records: &[Record], published: &[Value]) {
    let by_id: HashMap<&str, &Value> = published.iter().map(|event| (text(event, "/id"), event)).collect();
    let seen: HashSet<&str> = each_once(records).map(|record| record.header("ce_id")).collect();
    let mut subjects: BTreeMap<&str, (i32, Vec<u64>)> = BTreeMap::new();
    for record in each_once(records) {
        let (partition, seqs) = subjects.entry(record.header("ce_subject")).or_insert((record.partition, vec![]));
        assert_eq!(record.partition, *partition, "{}", record.header("ce_id"));
        seqs.push(seq(record));
        if let Some(event) = by_id.get(record.header("ce_id")) {
            assert_eq!(record.value, event["data"], "{}", record.header("ce_id"));
        }
    }
    for (subject, (_, seqs)) in &subjects {
        assert_eq!(*seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{subject}");
    }
    assert!(!subjects.is_empty(), "nothing arrived");
    let repeated = records.len() - seen.len();
    let line =
        format!("{} subjects, {} events, {repeated} records repeated or ephemeral\n", subjects.len(), seen.len());
    let _ = std::io::stderr().write_all(line.as_bytes());
    for event in published {
        assert!(seen.contains(text(event, "/id")), "{} did not arrive", event["id"]);
    }
}

fn rounds() -> usize {
    std::env::var("SIDETONE_TEST_KAFKA_LONG").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Events that an outage lasts for: a second or two in the short form.
fn outage() -> f64 {
    if rounds() > 1 { 20_000.0 } else { 2_000.0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_hangs_and_returns_under_load_costs_no_event() {
    let test = "a_broker_that_dies_hangs_and_returns_under_load_costs_no_event";
    let Some(mut broker) = Broker::start(test, &[]) else { return };
    let topic = format!("sidetone.test.outages.{}", std::process::id());
    let gateway = Gateway::start(&settings(&broker, &topic)).await;
    let mut keys = 0;
    for round in 0..rounds() {
        // SIGKILL, and a restart while the load goes on.
        let load = Load::start(gateway.address, &format!("CON-killed-{round}"));
        until("the first events to arrive", || async {
            let name = "sidetone_events_total{sink=\"kafka\",outcome=\"delivered\"}";
            (gateway.metric(name).await > 100.0).then_some(())
        })
        .await;
        broker.kill();
        spooled_at_least(&gateway, outage()).await;
        let (status, body) = gateway.get("/readyz").await;
        assert_eq!(status, 200, "calls can be taken while the spool has room: {body}");
        broker.restart();
        keys += load.end().await;
        drained(&gateway).await;
        // SIGSTOP: connections stay and nothing answers.
        let load = Load::start(gateway.address, &format!("CON-hung-{round}"));
        broker.signal("STOP");
        spooled_at_least(&gateway, outage()).await;
        broker.signal("CONT");
        keys += load.end().await;
        drained(&gateway).await;
    }
    let (_, folder) = gateway.stop().await;
    let published = published(folder.path());
    assert!(published.len() as u64 >= keys, "{} of {keys} keys", published.len());
    prove(&broker.records(&topic), &published);
    assert!(!folder.path().join("sidetone-dead-letters.jsonl").exists(), "something was given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_or_a_topic_taken_away_and_given_back_costs_no_event() {
    let acl = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let more = ["--set", acl, "--set", "allow.everyone.if.no.acl.found=true"];
    let test = "a_right_or_a_topic_taken_away_and_given_back_costs_no_event";
    let Some(broker) = Broker::start(test, &more) else { return };
    let topic = format!("sidetone.test.refused.{}", std::process::id());
    let gateway = Gateway::start(&settings(&broker, &topic).replace(
        "\"reconnect.backoff.max.ms\" = \"500\"",
        "\"topic.metadata.propagation.max.ms\" = \"1000\", \"topic.metadata.refresh.interval.ms\" = \"1000\"",
    ))
    .await;
    let acl = |verb: &str| {
        let force = if verb == "--remove" { &["--force"][..] } else { &[] };
        let arguments = ["AclCommand", verb, "--deny-principal", "User:ANONYMOUS", "--operation", "Write", "--topic"];
        broker.tool("tool", &[&arguments, &[topic.as_str()][..], force].concat());
    };
    let load = Load::start(gateway.address, "CON-right");
    spooled_at_least(&gateway, 1.0).await;
    acl("--add");
    spooled_at_least(&gateway, outage()).await;
    until("readiness to name the right", || async {
        gateway.get("/readyz").await.1.to_lowercase().contains("authori").then_some(())
    })
    .await;
    acl("--remove");
    load.end().await;
    drained(&gateway).await;
    let before = published(gateway.folder.path());
    prove(&broker.records(&topic), &before);

    broker.tool("topics", &["--delete", "--topic", &topic]);
    // What a topic acknowledged in its last moment is gone with it: these legs see it out.
    let last = Load::start(gateway.address, "CON-last");
    spooled_at_least(&gateway, outage()).await;
    last.end().await;
    let load = Load::start(gateway.address, "CON-topic");
    spooled_at_least(&gateway, outage() * 2.0).await;
    broker.tool("topics", &["--create", "--topic", &topic, "--partitions", "3"]);
    load.end().await;
    drained(&gateway).await;
    let (_, folder) = gateway.stop().await;
    let of_load = |conversation: &str| conversation.starts_with("CON-topic");
    let mut records = broker.records(&topic);
    records.retain(|record| of_load(record.header("ce_partitionkey")));
    let mut after = published(folder.path());
    after.retain(|event| of_load(text(event, "/partitionkey")));
    assert!(!folder.path().join("sidetone-dead-letters.jsonl").exists(), "something was given up");
    prove(&records, &after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_and_stopped_while_the_broker_is_away_loses_nothing_it_accepted() {
    let test = "a_gateway_killed_and_stopped_while_the_broker_is_away_loses_nothing_it_accepted";
    let Some(mut broker) = Broker::start(test, &[]) else { return };
    let topic = format!("sidetone.test.kills.{}", std::process::id());
    let settings = settings(&broker, &topic);
    let mut gateway = Gateway::start(&settings).await;
    let mut accepted = Vec::new();
    for round in 0..rounds() {
        // Killed with some events acknowledged, some in flight, most on disk.
        let load = Load::start(gateway.address, &format!("CON-a-{round}"));
        spooled_at_least(&gateway, 1.0).await;
        broker.kill();
        spooled_at_least(&gateway, outage()).await;
        gateway.signal("KILL");
        let folder = gateway.ended().await.2;
        load.end().await;
        let said = sidetone(folder.path(), &["spool", "export", "--config", "sidetone.toml"]).await;
        let waiting = events::parse_lines(&said.out);
        assert!(waiting.len() as f64 >= outage(), "{} wait", waiting.len());
        accepted.extend(waiting);
        // Started again with the broker still away, stopped with it away, and killed in mid-replay.
        gateway = Gateway::listening(folder, &settings).await;
        gateway.ready().await;
        let load = Load::start(gateway.address, &format!("CON-b-{round}"));
        spooled_at_least(&gateway, outage() * 1.5).await;
        load.end().await;
        let (log, folder) = gateway.stop().await;
        assert!(log.contains("events wait in the spool"), "{log}");
        gateway = Gateway::listening(folder, &settings).await;
        gateway.ready().await;
        let load = Load::start(gateway.address, &format!("CON-c-{round}"));
        broker.restart();
        until("some of the replay to arrive", || async {
            let name = "sidetone_events_total{sink=\"kafka\",outcome=\"delivered\"}";
            (gateway.metric(name).await > 100.0).then_some(())
        })
        .await;
        gateway.signal("KILL");
        let folder = gateway.ended().await.2;
        load.end().await;
        let said = sidetone(folder.path(), &["spool", "export", "--config", "sidetone.toml"]).await;
        accepted.extend(events::parse_lines(&said.out));
        gateway = Gateway::listening(folder, &settings).await;
        gateway.ready().await;
        drained(&gateway).await;
    }
    // The last time by hand: a stop with the broker away, then `spool replay`.
    broker.kill();
    let load = Load::start(gateway.address, "CON-d");
    spooled_at_least(&gateway, 500.0).await;
    load.end().await;
    let (_, folder) = gateway.stop().await;
    broker.restart();
    let said = sidetone(folder.path(), &["spool", "replay", "--config", "sidetone.toml"]).await;
    assert!(said.code == Some(0) && said.out.contains(" events were sent to 127.0.0.1"), "{said:?}");
    let said = sidetone(folder.path(), &["spool", "inspect", "--config", "sidetone.toml"]).await;
    assert!(said.out.contains("waiting      0 events\n"), "{said:?}");

    let records = broker.records(&topic);
    prove(&records, &accepted);
    assert!(!folder.path().join("sidetone-dead-letters.jsonl").exists(), "something was given up");
    // Beyond what was accepted: what the file has and the topic has not is the end of a
    // subject that a kill cut off, a few events at most.
    let seen: HashSet<_> = records.iter().map(|record| record.header("ce_id")).collect();
    let mut last: HashMap<String, u64> = HashMap::new();
    for record in &records {
        let last = last.entry(record.header("ce_subject").to_owned()).or_default();
        *last = (*last).max(record.header("ce_seq").parse().unwrap());
    }
    for event in published(folder.path()).iter().filter(|event| !seen.contains(text(event, "/id"))) {
        let arrived = last.get(text(event, "/subject")).copied().unwrap_or(0);
        assert!(number(event, "/seq") > arrived, "{} is a hole", event["id"]);
    }
}
