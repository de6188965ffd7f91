//! The spool from outside: the real binary, killed, stopped, poisoned, out of disk,
//! with a broker that is not there. With a real one: `tests/kafka_spool.rs`.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sidetone::simulator::player;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use self::support::events::{self, Follower, kind, number, text};
use self::support::peer::{Peer, head, request};
use self::support::process::{self, Gateway, Said, run_with};
use self::support::{DTMF, hello, leg, speech, until, within};

#[allow(dead_code, reason = "shared with another test binary, which uses the rest")]
#[path = "../gateway/support/mod.rs"]
mod support;

/// A broker at an address where nobody listens.
const AWAY: &str = "[sink.kafka]\nbootstrap = \"127.0.0.1:1\"\n[server]\ndrain_timeout_ms = 300\n";

async fn play(gateway: &Gateway, conversation: &str) {
    let mut follower = Follower::connect(gateway.address, "").await;
    player::play(&leg(gateway.address, conversation, speech(), 16.0), tokio::time::Instant::now()).await.unwrap();
    follower.wait("leg.ended.v1", conversation).await;
}

async fn sidetone(folder: &Path, arguments: &[&str]) -> Said {
    run_with(folder, arguments, |command| {
        command.env("SIDETONE_ASR__BACKEND", "scripted");
    })
    .await
}

async fn exported(folder: &Path) -> Vec<Value> {
    let said = sidetone(folder, &["spool", "export", "--config", "sidetone.toml"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    events::parse_lines(&said.out)
}

/// The durable events that the event file has.
fn in_the_file(folder: &Path) -> Vec<Value> {
    let all = events::read_so_far(&folder.join("sidetone-events.jsonl"));
    all.into_iter().filter(|event| event.get("sub").is_none()).collect()
}

async fn spooled(gateway: &Gateway) -> f64 {
    gateway.metric("sidetone_spool_events{sink=\"kafka\"}").await
}

async fn killed(gateway: Gateway) -> TempDir {
    gateway.signal("KILL");
    gateway.ended().await.2
}

fn spool_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.join("sidetone-spool/kafka").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "spool")).collect();
    files.sort();
    files
}

/// Each subject's `seq`, in order.
fn seqs(events: &[Value]) -> BTreeMap<&str, Vec<u64>> {
    let mut seqs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    events.iter().for_each(|event| seqs.entry(text(event, "/subject")).or_default().push(number(event, "/seq")));
    seqs
}

fn assert_no_gaps(events: &[Value]) {
    for (subject, seqs) in seqs(events) {
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "subject {subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_with_the_broker_away_loses_nothing_that_was_accepted() {
    let gateway = Gateway::start(AWAY).await;
    play(&gateway, "CON-first").await;
    // The file's own lane may be a moment behind the socket's end.
    let first = until("the whole call to be in the file", || async {
        let written = in_the_file(gateway.folder.path());
        written.iter().any(|event| event["type"] == "leg.ended.v1").then_some(written)
    })
    .await;
    assert!(first.len() >= 3, "{first:?}");
    until("all of it to be accepted", || async { (spooled(&gateway).await >= first.len() as f64).then_some(()) }).await;
    let folder = killed(gateway).await;
    assert_eq!(exported(folder.path()).await, first, "not the events that were published, or not in their order");

    // Once more, in the middle of a call; what the first process left is still there, before what is new.
    let gateway = Gateway::listening(folder, AWAY).await;
    gateway.ready().await;
    assert_eq!(gateway.metric("sidetone_spool_recovered_total{sink=\"kafka\"}").await, first.len() as f64);
    let mut peer = Peer::connect(gateway.address, "?conversation=CON-second").await;
    peer.text(&hello(8_000)).await;
    for _ in 0..200 {
        peer.text(DTMF).await;
    }
    let accepted = until("a good part of it to be accepted", || async {
        Some(spooled(&gateway).await).filter(|events| *events >= first.len() as f64 + 50.0)
    })
    .await;
    let folder = killed(gateway).await;
    let waiting = exported(folder.path()).await;
    assert!(waiting.len() as f64 >= accepted, "{} of {accepted} that were accepted", waiting.len());
    assert_eq!(waiting[..first.len()], first);
    assert_no_gaps(&waiting);
    let said = sidetone(folder.path(), &["spool", "inspect", "--config", "sidetone.toml"]).await;
    assert!(said.out.contains(&format!("waiting      {} events\n", waiting.len())), "{said:?}");
    assert!(said.out.contains("leg.ended.v1             1\n") && said.out.contains("not in use"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_the_broker_away_ends_well_and_keeps_events_for_the_next_start() {
    for mode in ["always", "overflow"] {
        let more = format!("{AWAY}[sink.spool]\nmode = {mode:?}\n");
        let gateway = Gateway::start(&more).await;
        play(&gateway, "CON-a").await;
        let (log, folder) = gateway.stop().await;
        assert!(log.contains("events wait in the spool for the next start"), "{log}");
        let written = in_the_file(folder.path());
        assert_eq!(exported(folder.path()).await, written, "{mode}");
        assert!(!folder.path().join("sidetone-dead-letters.jsonl").exists(), "{mode}: they are not dead");
        let gateway = Gateway::listening(folder, &more).await;
        gateway.ready().await;
        play(&gateway, "CON-b").await;
        let (log, folder) = gateway.stop().await;
        assert!(log.contains("the spool replays"), "{log}");
        let waiting = exported(folder.path()).await;
        assert_eq!(waiting, in_the_file(folder.path()), "{mode}");
        assert_no_gaps(&waiting);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_file_is_named_by_check_and_the_rest_is_kept() {
    let gateway = Gateway::start(&format!("{AWAY}[sink.spool]\nsegment_bytes = 4096\nbytes_max = 1000000\n")).await;
    let mut peer = Peer::connect(gateway.address, "?conversation=CON-a").await;
    peer.text(&hello(8_000)).await;
    // What comes at once is written at once; so that there are several files, it does not.
    for wave in 1..=6 {
        for _ in 0..10 {
            peer.text(DTMF).await;
        }
        let accepted = 1.0 + 10.0 * f64::from(wave);
        until("the keys to be accepted", || async { (spooled(&gateway).await >= accepted).then_some(()) }).await;
    }
    let folder = killed(gateway).await;
    let before = exported(folder.path()).await;
    let files = spool_files(folder.path());
    assert!(files.len() > 3, "{files:?}");
    let mut bytes = std::fs::read(&files[1]).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    std::fs::write(&files[2], "not a spool file").unwrap();
    let name = files[1].file_name().unwrap().to_str().unwrap();
    let check = ["check", "--config", "sidetone.toml"];
    let said = sidetone(folder.path(), &check).await;
    assert!(
        said.out.contains("BAD  spool          2 files cannot be read whole") && said.out.contains(name),
        "{said:?}"
    );

    let gateway =
        Gateway::listening(folder, &format!("{AWAY}[sink.spool]\nsegment_bytes = 4096\nbytes_max = 1000000\n")).await;
    gateway.ready().await;
    for reason in ["damaged", "foreign"] {
        let metric = format!("sidetone_spool_quarantined_total{{sink=\"kafka\",reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&metric).await, 1.0, "{metric}");
    }
    let said = sidetone(gateway.folder.path(), &["spool", "inspect", "--config", "sidetone.toml"]).await;
    assert!(said.out.contains(&format!("quarantine/{name}.damaged\n")), "{said:?}");
    let left: BTreeSet<_> = exported(gateway.folder.path()).await.iter().map(|event| event["id"].to_string()).collect();
    assert!(left.len() < before.len() && left.len() > before.len() / 2, "{} of {}", left.len(), before.len());
    let said = sidetone(gateway.folder.path(), &check).await;
    assert!(said.out.contains("BAD  spool ") && said.out.contains(&format!("{name}.damaged")), "{said:?}");
    killed(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_at_work_has_its_spool_to_itself_but_lets_others_look() {
    let gateway = Gateway::start(AWAY).await;
    play(&gateway, "CON-a").await;
    until("acceptance", || async { (spooled(&gateway).await >= 3.0).then_some(()) }).await;
    let folder = gateway.folder.path();
    let said = sidetone(folder, &["spool", "inspect", "--config", "sidetone.toml"]).await;
    assert!(said.code == Some(0) && said.out.contains("in use by a gateway"), "{said:?}");
    assert_eq!(exported(folder).await, in_the_file(folder));
    let wanted = format!(
        "sidetone: spool sidetone-spool/kafka is in use by process {}; a gateway replays by itself while it runs",
        gateway.pid()
    );
    for arguments in [&["spool", "replay", "--config", "sidetone.toml"][..], &["serve", "--config", "sidetone.toml"]] {
        let said = sidetone(folder, arguments).await;
        assert!(said.code == Some(1) && said.err.contains(&wanted), "{arguments:?}: {said:?}");
    }
    // Without it, `replay` tries, says why it did not work, and takes nothing away.
    let folder = killed(gateway).await;
    let before = exported(folder.path()).await;
    let said = sidetone(folder.path(), &["spool", "replay", "--config", "sidetone.toml", "--timeout", "1"]).await;
    let count = before.len();
    assert_eq!(said.out, format!("0 of {count} events were sent to 127.0.0.1:1\n"), "{said:?}");
    assert!(said.err.contains(&format!("{count} events wait still: no Kafka broker answers")), "{said:?}");
    assert_eq!((said.code, exported(folder.path()).await), (Some(1), before));
    let empty = tempfile::tempdir().unwrap();
    let said = sidetone(empty.path(), &["spool", "replay", "--kafka", "127.0.0.1:1"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "nothing waits in sidetone-spool/kafka\n"), "{said:?}");
}

/// A file system of one megabyte; `None` where we may not make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_closes_the_door_and_calls_in_progress_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::at(&folder.path().join("disk")) else {
        let skipped = b"skipped: a_full_disk_closes_the_door_and_calls_in_progress_go_on: tmpfs cannot be mounted\n";
        std::io::Write::write_all(&mut std::io::stderr(), skipped).unwrap();
        return;
    };
    let more = format!("{AWAY}[sink.spool]\ndir = \"disk\"\nmemory_max = 16\n[sink.outbox]\ndurable_max = 2048\n");
    let gateway = Gateway::listening(folder, &more).await;
    gateway.ready().await;
    // Many calls, since one that presses keys without end is ended.
    let mut peers = Vec::new();
    for n in 0..40 {
        let mut peer = Peer::connect(gateway.address, &format!("?conversation=CON-{n}")).await;
        peer.text(&hello(8_000)).await;
        peers.push(peer);
    }
    let mut keys = 0_u32;
    let mut calls = peers.iter_mut();
    let body = loop {
        let peer = calls.next().expect("the disk is still not full");
        for _ in 0..400 {
            peer.text(DTMF).await;
        }
        keys += 400;
        // So that it is the disk that is full, and not memory with what came at once.
        let body = until("all of it to be accepted, or the disk to be full", || async {
            let page = gateway.get("/metrics").await.1;
            let accepted = process::metric(&page, "sidetone_spool_events{sink=\"kafka\"}");
            let (status, body) = gateway.get("/readyz").await;
            let full = status == 503 && body.contains("the spool takes no events (No space left on device");
            (full || accepted >= f64::from(keys) + 40.0).then_some(full.then_some(body))
        })
        .await;
        if let Some(body) = body {
            break body;
        }
    };
    assert!(body.contains(r#""outbox":"full""#), "{body}");
    let mut late = TcpStream::connect(gateway.address).await.unwrap();
    late.write_all(request("").as_bytes()).await.unwrap();
    let answer = within("an answer", head(&mut late)).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // The calls go on, beyond what memory holds, to their proper end.
    while gateway.metric("sidetone_events_total{sink=\"kafka\",outcome=\"lost\"}").await == 0.0 {
        let peer = calls.next().expect("memory is still not full");
        for _ in 0..400 {
            peer.text(DTMF).await;
        }
        keys += 400;
    }
    let mut watch = Follower::connect(gateway.address, "?type=leg.ended").await;
    for (n, peer) in peers.into_iter().enumerate() {
        peer.hang_up().await;
        watch.wait("leg.ended.v1", &format!("CON-{n}")).await;
    }
    gateway.signal("TERM");
    let (status, log, folder) = gateway.ended().await;
    assert_eq!(status.code(), Some(1), "events were lost, and it says so: {log}");
    let said = log.lines().filter(|line| line.contains("durable events lost: there was no room")).count();
    assert!(said > 0 && said < 100, "{said} lines about losses");
    let written = in_the_file(folder.path());
    events::check_all(&events::read(&folder.path().join("sidetone-events.jsonl")));
    assert_eq!(written.iter().filter(|event| kind(event) == "dtmf.v1").count(), keys as usize);
    let waiting = exported(folder.path()).await;
    assert!(waiting.len() > 1_000 && waiting.len() < written.len(), "{} of {}", waiting.len(), written.len());
    assert_no_gaps(&waiting);
    drop(disk);
}
