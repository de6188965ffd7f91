//! A gateway's life: ready, full, draining, stopped, started again; and what it says
//! when it cannot be.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sidetone::app::App;
use sidetone::config::{self, Config, Source};
use sidetone::event::Event;
use sidetone::simulator::player;
use sidetone::sink::{Refusal, Sink};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::events::{self, Follower, check_all, is, kind, number, of, text};
use super::support::peer::{Back, Peer, frame, head, request};
use super::support::process::{self, Gateway, get, run, run_with, sidetone};
use super::support::{DTMF, bytes, hello, leg, speech, until, within};

const CALL: &str = "CON-call";

/// A leg in the middle of a sentence.
async fn talking(gateway: &Gateway, conversation: &str) -> Peer {
    let mut peer = Peer::connect(gateway.address, &format!("?conversation={conversation}&role=caller")).await;
    peer.text(&hello(8_000)).await;
    for frame in bytes(&speech()[..2 * 8_000]).chunks(320) {
        peer.binary(frame).await;
    }
    peer
}

/// Plays a whole call and waits for its end.
async fn play(gateway: &Gateway, conversation: &str) {
    let mut follower = Follower::connect(gateway.address, "").await;
    player::play(&leg(gateway.address, conversation, speech(), 16.0), tokio::time::Instant::now()).await.unwrap();
    follower.wait("leg.ended.v1", conversation).await;
}

/// The status and the head of the answer to a handshake.
async fn knock(gateway: &Gateway) -> String {
    let mut stream = within("a connection", TcpStream::connect(gateway.address)).await.unwrap();
    stream.write_all(request("").as_bytes()).await.unwrap();
    within("an answer to the handshake", head(&mut stream)).await
}

fn refused(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{answer:?}");
}

async fn readiness(gateway: &Gateway) -> (u16, Value) {
    let (status, body) = gateway.get("/readyz").await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_while_the_gateway_was_held_up_is_no_hole_in_the_audio() {
    let gateway = Gateway::start("[call]\ngap_timeout_ms = 2000").await;
    let mut follower = Follower::connect(gateway.address, "").await;
    let mut peer = Peer::connect(gateway.address, &format!("?conversation={CALL}&role=caller")).await;
    peer.text(&hello(8_000)).await;
    // As it is said: 1.5 s, 2.5 s of which the gateway hears nothing, and the rest.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for (n, frame) in bytes(&speech()).chunks(320).enumerate() {
        pace.tick().await;
        match n {
            75 => gateway.signal("STOP"),
            200 => gateway.signal("CONT"),
            _ => {}
        }
        peer.binary(frame).await;
    }
    peer.hang_up().await;
    let ended = follower.wait("leg.ended.v1", CALL).await;
    assert_eq!(number(&ended, "/data/characteristics/gap_ms"), 0, "{ended}");
    assert_eq!(number(&ended, "/data/ledger/received"), speech().len() as u64, "{ended}");
}

// --- ready, full --------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_model_warms_lives_but_is_not_ready() {
    let slow = "[asr.scripted]\ndelay_ms = 60000";
    let gateway = Gateway::listening(tempfile::tempdir().unwrap(), slow).await;
    assert_eq!(gateway.get("/healthz").await, (200, "alive\n".to_owned()));
    let (status, body) = readiness(&gateway).await;
    assert_eq!((status, &body["ready"], &body["model"]), (503, &Value::Bool(false), &"warming".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_gateway_is_ready() {
    let gateway = Gateway::start("").await;
    let (status, body) = readiness(&gateway).await;
    assert_eq!((status, &body["ready"], &body["model"]), (200, &Value::Bool(true), &"ready".into()));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcriber_that_crashes_while_it_is_opened_ends_the_gateway_with_its_name() {
    let gateway = Gateway::listening(tempfile::tempdir().unwrap(), "[asr.scripted]\npanic_every = 1").await;
    let (status, log, _) = gateway.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("sidetone: scripted: crashed while it was opened; see the log above"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leg_too_many_is_refused_until_there_is_room() {
    let gateway = Gateway::start("[server]\nlegs_max = 2").await;
    let first = talking(&gateway, CALL).await;
    let _second = talking(&gateway, CALL).await;
    refused(&knock(&gateway).await);
    let (status, body) = readiness(&gateway).await;
    assert_eq!((status, &body["legs"]), (503, &"full".into()));
    assert_eq!(gateway.metric("sidetone_legs_refused_total{reason=\"legs_max\"}").await, 1.0);
    first.hang_up().await;
    gateway.ready().await;
    assert!(knock(&gateway).await.starts_with("HTTP/1.1 101 "));
    gateway.stop().await;
}

/// Never takes an event.
struct Busy;

impl Sink for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }

    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn send(&mut self, _: &Arc<Event>) -> Result<(), Refusal> {
        Err(Refusal::Busy)
    }

    fn poll(&mut self, wait: Duration) -> bool {
        std::thread::sleep(wait);
        true
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        Ok(())
    }
}

/// As the gateways of the other tests, but in this process.
fn in_process(folder: &Path, more: &str) -> Config {
    let file = folder.join("sidetone.toml");
    std::fs::write(&file, process::config(more).to_string()).unwrap();
    config::load(&Source { file: Some(&file), ..Source::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_takes_nothing_closes_the_door_and_is_reported_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = in_process(folder.path(), "[sink.outbox]\ndurable_max = 16\n[server]\ndrain_timeout_ms = 500");
    let app = App::start(&config, vec![Box::new(Busy)], None).await.unwrap();
    app.warm().await.unwrap();
    let mut peer = Peer::connect(app.address(), &format!("?conversation={CALL}")).await;
    peer.text(&hello(8_000)).await;
    // Three quarters of 16, and the one that the sink is being offered.
    for _ in 0..12 {
        peer.text(DTMF).await;
    }
    until("the gateway to say that its outbox is full", || async {
        let (status, body) = get(app.address(), "/readyz").await;
        (status == 503 && body.contains(r#""outbox":"full""#)).then_some(())
    })
    .await;
    let mut late = TcpStream::connect(app.address()).await.unwrap();
    late.write_all(request("").as_bytes()).await.unwrap();
    refused(&within("an answer", head(&mut late)).await);
    // The leg that is there goes on; then all that could not be delivered is counted.
    peer.hang_up().await;
    let left = within("the stop", app.stop()).await;
    assert_eq!(left, [("busy", 14)], "leg.started, twelve keys, leg.ended");
}

// --- the end ------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_mid_call_publishes_the_last_words() {
    let gateway = Gateway::start("").await;
    let live = Follower::connect(gateway.address, "").await;
    let mut peer = talking(&gateway, CALL).await;
    let mut watch = Follower::connect(gateway.address, "").await;
    peer.text(DTMF).await;
    watch.wait("dtmf.v1", CALL).await;
    gateway.signal("TERM");
    assert_eq!(peer.back().await, Back::Close(1001));
    let (status, log, folder) = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let written = events::read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&written);
    let ended = written.iter().find(|event| is(event, "leg.ended.v1", CALL)).expect("no leg.ended");
    assert_eq!((text(ended, "/data/reason"), &ended["data"]["complete"]), ("drained", &Value::Bool(true)));
    assert_eq!(number(ended, "/data/ledger/received"), 2 * 8_000);
    assert_eq!(written.iter().filter(|event| is(event, "transcript.final.v1", CALL)).count(), 1, "{written:#?}");
    // Live readers got the last words too.
    let lived: Vec<_> = live.rest().await.into_iter().map(|sent| sent.json()).collect();
    assert_eq!(ids(&lived), ids(&written));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_says_so_and_takes_no_more() {
    let gateway = Gateway::start("[asr.scripted]\ndelay_ms = 1000\n[call]\npartial_interval_ms = 0").await;
    let mut watch = Follower::connect(gateway.address, "").await;
    let mut peers = Vec::new();
    // Ten legs' last words, one after another on one thread: time enough to look around.
    for n in 0..10 {
        let mut peer = talking(&gateway, &format!("{CALL}-{n}")).await;
        peer.text(DTMF).await;
        watch.wait("dtmf.v1", &format!("{CALL}-{n}")).await;
        peers.push(peer);
    }
    gateway.signal("TERM");
    assert_eq!(peers[0].back().await, Back::Close(1001));
    let (status, body) = readiness(&gateway).await;
    assert_eq!((status, &body["draining"]), (503, &Value::Bool(true)));
    assert_eq!(gateway.get("/healthz").await.0, 200);
    refused(&knock(&gateway).await);
    assert_eq!(gateway.metric("sidetone_legs_refused_total{reason=\"draining\"}").await, 1.0);
    let (status, log, folder) = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let written = events::read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&written);
    let finals = written.iter().filter(|event| kind(event) == "transcript.final.v1").count();
    assert_eq!(finals, 10, "each leg's last words");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_runs_out_of_time_still_closes_every_account() {
    let config = "[asr.scripted]\ndelay_ms = 4000\n[server]\ndrain_timeout_ms = 1000\n[call]\npartial_interval_ms = 0";
    let gateway = Gateway::start(config).await;
    let mut watch = Follower::connect(gateway.address, "").await;
    let mut peers = Vec::new();
    for n in 0..3 {
        let mut peer = talking(&gateway, &format!("{CALL}-{n}")).await;
        peer.text(DTMF).await;
        watch.wait("dtmf.v1", &format!("{CALL}-{n}")).await;
        peers.push(peer);
    }
    gateway.signal("TERM");
    let (_, _, folder) = gateway.ended().await;
    let written = events::read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&written);
    assert_eq!(written.iter().filter(|event| kind(event) == "leg.ended.v1").count(), 3, "{written:#?}");
    // The thread finishes what it holds; what waited is refused, and says so.
    let dropped: Vec<_> = written.iter().filter(|event| kind(event) == "transcript.dropped.v1").collect();
    assert_eq!(dropped.len(), 2, "{written:#?}");
    assert!(dropped.iter().all(|event| text(event, "/data/reason") == "shutdown"), "{dropped:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_let_in_during_the_stop_is_accounted_for() {
    for round in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let config = in_process(folder.path(), &format!("[sink.file]\npath = {path:?}"));
        let sinks = sidetone::app::sinks(&config).unwrap();
        let app = App::start(&config, sinks, None).await.unwrap();
        app.warm().await.unwrap();
        let address = app.address();
        let knockers: Vec<_> = (0..8)
            .map(|n| {
                tokio::spawn(async move {
                    let mut let_in = Vec::new();
                    for m in 0.. {
                        let conversation = format!("CON-{round}-{n}-{m}");
                        let Ok(mut stream) = TcpStream::connect(address).await else { break };
                        let query = format!("?conversation={conversation}");
                        if stream.write_all(request(&query).as_bytes()).await.is_err() {
                            break;
                        }
                        if !head(&mut stream).await.starts_with("HTTP/1.1 101 ") {
                            break;
                        }
                        let_in.push((conversation, stream));
                    }
                    let_in
                })
            })
            .collect();
        let mut watch = Follower::connect(address, "?type=leg.").await;
        // The stop comes while legs do.
        let hello = Peer::connect(address, &format!("?conversation={CALL}")).await;
        hello.hang_up().await;
        watch.wait("leg.ended.v1", CALL).await;
        let left = within("the stop", app.stop()).await;
        assert_eq!(left, []);
        let written = events::read(&path);
        check_all(&written);
        for knocker in knockers {
            for (conversation, _) in within("the last knock", knocker).await.unwrap() {
                let account = of(&written, &conversation);
                assert!(
                    account.iter().any(|event| kind(event) == "leg.ended.v1"),
                    "{conversation} was let in and not accounted for"
                );
            }
        }
    }
}

// --- the event file -----------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_appends() {
    let gateway = Gateway::start("").await;
    play(&gateway, "CON-first").await;
    let (_, folder) = gateway.stop().await;
    let path = folder.path().join("sidetone-events.jsonl");
    let before = std::fs::read_to_string(&path).unwrap();
    let gateway = Gateway::listening(folder, "").await;
    gateway.ready().await;
    play(&gateway, "CON-second").await;
    let (_, folder) = gateway.stop().await;
    let after = std::fs::read_to_string(folder.path().join("sidetone-events.jsonl")).unwrap();
    assert!(after.starts_with(&before));
    let all = events::parse_lines(&after);
    check_all(&all);
    for conversation in ["CON-first", "CON-second"] {
        assert!(all.iter().any(|event| is(event, "leg.ended.v1", conversation)), "{conversation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_crash_cut_off_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidetone-events.jsonl");
    let torn = r#"{"specversion":"1.0","id":"x:1","sour"#;
    std::fs::write(&path, torn).unwrap();
    let gateway = Gateway::listening(folder, "").await;
    gateway.ready().await;
    play(&gateway, CALL).await;
    let (_, folder) = gateway.stop().await;
    let text = std::fs::read_to_string(folder.path().join("sidetone-events.jsonl")).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, torn, "the first event was glued to the torn line");
    check_all(&events::parse_lines(rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_configuration_events_go_to_a_file_here() {
    let mut command = sidetone();
    command.arg("serve").envs([
        ("SIDETONE_ASR__BACKEND", "scripted"),
        ("SIDETONE_SERVER__LISTEN", "127.0.0.1:0"),
        ("SIDETONE_LOG__FORMAT", "json"),
    ]);
    let gateway = Gateway::spawn(tempfile::tempdir().unwrap(), command).await;
    gateway.ready().await;
    play(&gateway, CALL).await;
    let (_, folder) = gateway.stop().await;
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["sidetone-events.jsonl"]);
    check_all(&events::read(&folder.path().join("sidetone-events.jsonl")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_while_it_lasts_and_at_the_end() {
    let gateway = Gateway::start("[sink.file]\npath = \"/dev/full\"\n[server]\ndrain_timeout_ms = 500").await;
    play(&gateway, CALL).await;
    let body = until("/readyz to name the file", || async {
        let (_, body) = readiness(&gateway).await;
        body["sinks_in_trouble"]["file"].as_str().map(str::to_owned)
    })
    .await;
    assert!(body.contains("/dev/full") && body.contains("No space left on device"), "{body}");
    assert!(gateway.metric("sidetone_sink_troubles_total{sink=\"file\"}").await > 0.0);
    gateway.signal("TERM");
    let (status, log, _) = gateway.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("sidetone: durable events were not delivered before the stop: file: "), "{log}");
}

// --- the live stream ----------------------------------------------------------------

fn ids(events: &[Value]) -> BTreeSet<&str> {
    events.iter().map(|event| text(event, "/id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_stream_is_the_file() {
    let gateway = Gateway::start("").await;
    let all = Follower::connect(gateway.address, "").await;
    let one = Follower::connect(gateway.address, "?conversation=CON-a").await;
    let finals = Follower::connect(gateway.address, "?type=transcript.final").await;
    let both = Follower::connect(gateway.address, "?conversation=CON-b&type=leg.ended.v1").await;
    let none = Follower::connect(gateway.address, "?conversation=CON-").await;
    play(&gateway, "CON-a").await;
    play(&gateway, "CON-b").await;
    let (_, folder) = gateway.stop().await;
    let written = events::read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&written);
    let expect = |wanted: &dyn Fn(&Value) -> bool| {
        written
            .iter()
            .filter(|event| wanted(event))
            .map(|event| (text(event, "/id").to_owned(), event.clone()))
            .collect()
    };
    let followers: [(&str, Follower, std::collections::BTreeMap<String, Value>); 5] = [
        ("all", all, expect(&|_| true)),
        ("one conversation", one, expect(&|event| text(event, "/partitionkey") == "CON-a")),
        ("one kind", finals, expect(&|event| kind(event) == "transcript.final.v1")),
        ("both", both, expect(&|event| is(event, "leg.ended.v1", "CON-b"))),
        ("neither", none, expect(&|_| false)),
    ];
    for (name, follower, expected) in followers {
        let sent = follower.rest().await;
        let got: std::collections::BTreeMap<_, _> = sent.iter().map(|sent| (sent.id.clone(), sent.json())).collect();
        assert_eq!(got.len(), sent.len(), "{name}: an id came twice");
        assert_eq!(got, expected, "{name}");
        assert!(name == "neither" || !got.is_empty(), "{name}: nothing came");
        assert!(sent.iter().all(|sent| sent.kind == kind(&sent.json())), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let gateway = Gateway::start("[server]\nlive_backlog_max = 4").await;
    // A reader with a narrow window that does not read.
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let mut stuck = socket.connect(gateway.address).await.unwrap();
    for stream in [&mut slow, &mut stuck] {
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(within("the head of the live stream", head(stream)).await.contains("200 OK"));
    }
    let mut sent = 0;
    // Keys in plenty, leg after leg, until more is under way than any buffer takes.
    while sent < 20_000 {
        let conversation = format!("{CALL}-{sent}");
        let mut watch = Follower::connect(gateway.address, "?type=leg.ended").await;
        let mut peer = Peer::connect(gateway.address, &format!("?conversation={conversation}")).await;
        peer.text(&hello(8_000)).await;
        let keys: Vec<u8> = (0..500).flat_map(|_| frame(0x81, true, DTMF.as_bytes())).collect();
        peer.send_if_taken(&keys).await;
        peer.hang_up().await;
        watch.wait("leg.ended.v1", &conversation).await;
        sent += 500;
    }
    gateway.signal("TERM");
    let mut received = Vec::new();
    let _ = within("the end of the live stream", tokio::io::AsyncReadExt::read_to_end(&mut stuck, &mut received)).await;
    let received = String::from_utf8_lossy(&received);
    let missed: u64 = received
        .split("event: missed\ndata: ")
        .skip(1)
        .filter_map(|rest| rest.lines().next().and_then(|count| count.parse::<u64>().ok()))
        .sum();
    let got = received.matches("\ndata: {").count() as u64;
    assert!(missed > 0, "a reader that was {got} events into {sent} was told of no hole");
    let (_, log, folder) = gateway.ended().await;
    let written = events::read(&folder.path().join("sidetone-events.jsonl")).len() as u64;
    assert!(got + missed <= written, "{got} came and {missed} were missed of {written}\n{log}");
}

// --- what it says when it cannot start --------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("key.toml", "[server]\nlegs = 5\n");
    write("value.toml", "[call]\nassumed_rate_hz = 44100\n[server]\nlegs_max = 0\n");
    write("syntax.toml", "[server\n");
    write("backend.toml", "[asr]\nbackend = \"whispr\"\n");
    write("setting.toml", "[asr]\nbackend = \"scripted\"\n[asr.scripted]\ndelay = 3\n");
    let taken = port.to_string();
    for (arguments, expected) in [
        (
            &["serve", "--events", "nowhere/events.jsonl"][..],
            "sidetone: event file nowhere/events.jsonl cannot be written: No such file or directory (os error 2); \
             choose another with --events or sink.file.path, or \"\" for none\n"
                .to_owned(),
        ),
        (
            &["serve", "--events", "."],
            "sidetone: event file . cannot be written: Is a directory (os error 21); \
             choose another with --events or sink.file.path, or \"\" for none\n"
                .to_owned(),
        ),
        (
            &["serve", "--listen", &taken],
            format!(
                "sidetone: cannot listen on {taken}: Address already in use (os error 98); \
                 choose another with --listen or server.listen\n"
            ),
        ),
        (
            &["serve", "--config", "key.toml"],
            "sidetone: key.toml: server.legs: unknown field `legs`, expected one of ".into(),
        ),
        (
            &["serve", "--config", "value.toml"],
            "sidetone: value.toml: server.legs_max is 0; expected at least 1\n\
             sidetone: value.toml: call.assumed_rate_hz is 44100; expected one of 8000, 16000, 24000\n"
                .into(),
        ),
        (&["serve", "--config", "syntax.toml"], "sidetone: syntax.toml: TOML parse error at line 1, column 8".into()),
        (&["serve", "--config", "none.toml"], "sidetone: none.toml: cannot be read: No such file or directory".into()),
        (
            &["serve", "--config", "backend.toml"],
            "sidetone: backend.toml: asr.backend is \"whispr\"; expected one of whisper, moonshine, openai, deepgram, assemblyai, vosk, transducer, scripted\n".into(),
        ),
        (
            &["serve", "--config", "setting.toml", "--listen", "127.0.0.1:0"],
            "sidetone: asr.scripted: delay: unknown field `delay`, expected one of ".into(),
        ),
        (&["serve", "--log", "a=b=c"], "sidetone: log.filter is \"a=b=c\": ".into()),
    ] {
        let said = run_with(folder.path(), arguments, |command| {
            if !arguments.contains(&"backend.toml") {
                command.env("SIDETONE_ASR__BACKEND", "scripted");
            }
        })
        .await;
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        assert!(said.err.starts_with(&expected), "{arguments:?} said\n{}\nnot\n{expected}", said.err);
        assert_eq!(said.out, "", "{arguments:?}");
    }
    let said = run(folder.path(), &["serve", "--listen", "here"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("'--listen <ADDRESS>'"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_named_and_its_events_are_kept() {
    let gateway = Gateway::start(
        "[sink.kafka]\nbootstrap = \"127.0.0.1:1\"\n[sink.spool]\nmode = \"off\"\n[server]\ndrain_timeout_ms = 500",
    )
    .await;
    let named = |said: &str| {
        let remedy = "check sink.kafka.bootstrap, that the broker runs, and that its advertised listeners can be \
                      reached from here";
        said.contains("no Kafka broker answers at 127.0.0.1:1 (")
            && said.contains("Connection refused")
            && said.contains(remedy)
    };
    let trouble = until("/readyz to name the broker", || async {
        let (status, body) = readiness(&gateway).await;
        assert_eq!(status, 200, "calls can be taken while the outbox has room: {body}");
        body["sinks_in_trouble"]["kafka"].as_str().map(str::to_owned)
    })
    .await;
    assert!(named(&trouble), "{trouble}");
    play(&gateway, CALL).await;
    assert!(gateway.metric("sidetone_sink_troubles_total{sink=\"kafka\"}").await > 0.0);
    gateway.signal("TERM");
    let (status, log, folder) = gateway.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    let written = events::read(&folder.path().join("sidetone-events.jsonl"));
    check_all(&written);
    let durable = written.iter().filter(|event| event.get("sub").is_none()).count();
    let last = format!(
        "sidetone: durable events were not delivered before the stop: kafka: {durable}; \
         the event file sidetone-events.jsonl has them"
    );
    assert!(log.ends_with(&last), "{log}\ndoes not end with\n{last}");
    // `check` says the same before anything is started.
    let arguments = ["check", "--listen", "127.0.0.1:0", "--kafka", "127.0.0.1:1"];
    let said = run_with(folder.path(), &arguments, |command| {
        command.env("SIDETONE_ASR__BACKEND", "scripted");
    })
    .await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = said.out.lines().find(|line| line.starts_with("BAD  kafka ")).unwrap_or_default();
    assert!(named(line), "{said:?}");
}
