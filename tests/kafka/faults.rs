//! Three brokers, and what may happen to them under load. Each test ends by consuming the
//! topic and proving with `seq` that nothing durable is missing, out of order or doubled.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sidetone::config::KafkaSink;
use sidetone::event::body::{Dtmf, SpeechStarted};
use sidetone::event::{Author, Body, Origin};
use sidetone::publish::{Limits, Outbox};
use sidetone::sink::kafka::Kafka;
use sidetone::types::{ConversationId, LegId, Speaker, WallTime};

use super::support::{PATIENCE, asked_for, printed, records, script, topic};

/// Legs that write at once.
const LEGS: usize = 40;

/// Events a second, of all legs together.
const RATE: usize = 2_000;

struct Cluster {
    bootstrap: String,
    dir: tempfile::TempDir,
    /// Stopped ones, which would not die of SIGTERM.
    pids: HashMap<usize, String>,
}

impl Cluster {
    fn start(test: &str) -> Option<Self> {
        if !asked_for(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let started = script(&["cluster", dir.path().to_str().unwrap()]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let pid = |node: usize| std::fs::read_to_string(dir.path().join(format!("{node}/pid"))).unwrap();
        let pids = (1..=3).map(|node| (node, pid(node).trim().to_owned())).collect();
        Some(Self { bootstrap: printed(&started)["KAFKA_CLUSTER"].clone(), dir, pids })
    }

    fn node(&self, node: usize) -> PathBuf {
        self.dir.path().join(node.to_string())
    }

    fn act(&self, what: &str, node: usize) {
        let done = script(&[what, self.node(node).to_str().unwrap()]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn signal(&self, signal: &str, node: usize) {
        assert!(Command::new("kill").args([signal, &self.pids[&node]]).status().unwrap().success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 1..=3 {
            script(&["kill", self.node(node).to_str().unwrap()]);
        }
    }
}

/// How long each phase of a test lasts: short where nobody asked for more.
fn span(short: u64) -> Duration {
    let long = std::env::var_os("SIDETONE_TEST_KAFKA_LONG").is_some();
    Duration::from_secs(if long { short * 20 } else { short })
}

/// Publishes on a thread of its own until told to stop; gives what it published, by leg.
struct Load {
    outbox: Arc<Outbox>,
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<HashMap<String, u64>>,
}

impl Load {
    fn start(cluster: &Cluster, topic: &str, replication: u16) -> Self {
        let settings = KafkaSink {
            bootstrap: cluster.bootstrap.clone(),
            topic: topic.to_owned(),
            partitions: 6,
            replication,
            min_insync_replicas: 2,
            ..KafkaSink::default()
        };
        let limits = Limits { durable_max: 1_000_000, ephemeral_max: 1_000, live_max: 16 };
        let outbox = Arc::new(Outbox::start(vec![Box::new(Kafka::new(settings).unwrap())], limits, None).unwrap());
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let outbox = Arc::clone(&outbox);
            move || {
                let mut legs: Vec<_> = (0..LEGS).map(author).collect();
                let mut last = HashMap::new();
                let began = Instant::now();
                for round in 1_u32.. {
                    for (id, author) in &mut legs {
                        let dtmf = Dtmf { digit: "1".into(), duration_ms: None, at_ms: u64::from(round) };
                        let event = author.write(WallTime::default(), Body::Dtmf(dtmf));
                        last.insert(id.clone(), event.seq);
                        outbox.publish(event);
                        let speech = Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 0 });
                        outbox.publish(author.write(WallTime::default(), speech));
                    }
                    // The pace: until the next round is due, or the end comes.
                    let due = began + Duration::from_secs(1) * round * LEGS as u32 / RATE as u32;
                    let wait = due.saturating_duration_since(Instant::now());
                    if stopped.recv_timeout(wait) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                        break;
                    }
                }
                last
            }
        });
        Self { outbox, stop, thread }
    }

    /// Lets it run on for a while.
    fn for_a(&self, span: Duration) {
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(span);
        assert!(!self.thread.is_finished(), "the load ended early");
    }

    /// Ends it, delivers the rest, and compares with what the topic holds.
    fn prove(self, cluster: &Cluster, topic: &str) {
        self.stop.send(()).unwrap();
        let published = self.thread.join().unwrap();
        let expected: u64 = published.values().sum();
        assert_eq!(self.outbox.stop(PATIENCE), [], "not all is safe");
        let found = records(&cluster.bootstrap, topic, |records| {
            records.iter().filter(|record| record.is_durable()).count() as u64 >= expected
        });
        let mut next: HashMap<&str, u64> = HashMap::new();
        for record in found.iter().filter(|record| record.is_durable()) {
            let (leg, seq) = (record.header("ce_subject"), record.header("ce_seq").parse::<u64>().unwrap());
            let next = next.entry(leg).or_insert(1);
            assert_eq!(seq, *next, "leg {leg}: missing, doubled or out of order");
            *next += 1;
        }
        for (leg, last) in &published {
            assert_eq!(next.get(leg.as_str()), Some(&(last + 1)), "leg {leg}");
        }
        eprintln!("{topic}: {expected} durable events of {LEGS} legs, each once and in order");
    }
}

fn author(number: usize) -> (String, Author) {
    let id = format!("leg-{number}");
    let origin = Origin {
        conversation: ConversationId::parse(&format!("CON-{number}")).unwrap(),
        leg: LegId::parse(&id).unwrap(),
        speaker: Speaker::Caller,
        source: Arc::from("/sidetone/test"),
    };
    (id, Author::new(origin))
}

/// One cluster at a time: three JVMs are enough for two cores.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn brokers_killed_stopped_and_moved_under_load_cost_nothing() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(cluster) = Cluster::start("brokers_killed_stopped_and_moved_under_load_cost_nothing") else { return };

    let name = topic("killed-one");
    let load = Load::start(&cluster, &name, 3);
    load.for_a(span(2));
    cluster.act("kill", 2);
    load.for_a(span(4));
    cluster.act("restart", 2);
    load.for_a(span(2));
    load.prove(&cluster, &name);

    // It keeps its connections and answers nobody.
    let name = topic("stopped-one");
    let load = Load::start(&cluster, &name, 3);
    load.for_a(span(2));
    cluster.signal("-STOP", 1);
    load.for_a(span(6));
    cluster.signal("-CONT", 1);
    load.for_a(span(1));
    load.prove(&cluster, &name);

    let name = topic("moved");
    let load = Load::start(&cluster, &name, 3);
    load.for_a(span(2));
    move_leaders(&cluster, &name);
    load.for_a(span(2));
    load.prove(&cluster, &name);
}

/// Makes another replica of each partition the preferred one, and elects it.
fn move_leaders(cluster: &Cluster, topic: &str) {
    let partitions: Vec<_> = (0..6)
        .map(|partition| {
            let replicas: Vec<_> = (0..3).map(|n| (partition + n + 1) % 3 + 1).collect();
            serde_json::json!({"topic": topic, "partition": partition, "replicas": replicas})
        })
        .collect();
    let plan = cluster.dir.path().join("plan.json");
    std::fs::write(&plan, serde_json::json!({"version": 1, "partitions": partitions}).to_string()).unwrap();
    let (dir, plan) = (cluster.node(3), plan.to_str().unwrap().to_owned());
    let dir = dir.to_str().unwrap();
    for tool in [
        &["reassign.ReassignPartitionsCommand", "--execute", "--reassignment-json-file", &plan][..],
        &["LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions"],
    ] {
        let done = script(&[&["tool", dir], tool].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}
