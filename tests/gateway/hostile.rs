//! Peers that break the rules. Whatever one does costs its own leg at most: a
//! healthy leg beside it completes, the fault is counted, the ledger balances.

use std::net::SocketAddr;

use serde_json::Value;
use sidetone::simulator::player::{self, PlayError};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;

use super::support::events::{self, Follower, check_all, check_ledger, is, number, of, text};
use super::support::peer::{self, BINARY, Back, CONTINUATION, PING, PONG, Peer, TEXT, exchange, frame};
use super::support::process::{Gateway, get, metric};
use super::support::{DTMF, bytes, hello, leg, speech, until, within};

/// The healthy leg's conversation.
const GOOD: &str = "CON-good";

/// The hostile leg's.
const BAD: &str = "CON-bad";

/// A gateway with a healthy leg on it, and eyes on what it publishes.
struct Scene {
    gateway: Gateway,
    follower: Follower,
    healthy: JoinHandle<Result<(), PlayError>>,
}

impl Scene {
    async fn start(config: &str) -> Self {
        let gateway = Gateway::start(config).await;
        let mut follower = Follower::connect(gateway.address, "").await;
        let healthy = leg(gateway.address, GOOD, speech(), 4.0);
        let healthy = tokio::spawn(async move { player::play(&healthy, tokio::time::Instant::now()).await });
        follower.wait("leg.started.v1", GOOD).await;
        Self { gateway, follower, healthy }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    async fn peer(&self) -> Peer {
        Peer::connect(self.gateway.address, &format!("?conversation={BAD}")).await
    }

    /// A peer that has said hello and sent some healthy speech at 8 kHz; and the
    /// number of samples in that.
    async fn talker(&self) -> (Peer, u64) {
        let mut peer = self.peer().await;
        peer.text(&hello(8_000)).await;
        let samples = speech();
        let whole = &samples[..samples.len() / 160 * 160];
        for frame in whole.chunks(160) {
            peer.binary(&bytes(frame)).await;
        }
        (peer, whole.len() as u64)
    }

    /// The hostile leg's `leg.ended`.
    async fn ended(&mut self) -> Value {
        let ended = self.follower.wait("leg.ended.v1", BAD).await;
        check_ledger(&ended);
        ended
    }

    async fn faults(&self, fault: &str) -> f64 {
        self.gateway.metric(&format!("sidetone_peer_faults_total{{fault=\"{fault}\"}}")).await
    }

    /// The healthy leg was not touched, and all promises were kept. Gives the events of the hostile one.
    async fn end(mut self) -> Vec<Value> {
        within("the healthy leg to be played", self.healthy).await.unwrap().expect("the healthy leg was hurt");
        let ended = self.follower.wait("leg.ended.v1", GOOD).await;
        assert_eq!(
            (text(&ended, "/data/reason"), &ended["data"]["complete"], number(&ended, "/data/ledger/received")),
            ("hangup", &Value::Bool(true), speech().len() as u64),
            "the healthy leg was hurt: {ended}"
        );
        assert!(number(&ended, "/data/characteristics/finals") > 0, "the healthy leg was not heard: {ended}");
        let (_, folder) = self.gateway.stop().await;
        let events = events::read(&folder.path().join("sidetone-events.jsonl"));
        check_all(&events);
        assert!(events.iter().any(|event| is(event, "leg.ended.v1", GOOD)));
        of(&events, BAD).into_iter().cloned().collect()
    }
}

fn reason(ended: &Value) -> &str {
    text(ended, "/data/reason")
}

fn received(ended: &Value) -> u64 {
    number(ended, "/data/ledger/received")
}

// --- messages of the wrong size or kind ---------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_any_size_are_used_and_counted() {
    let mut scene = Scene::start("").await;
    let mut peer = scene.peer().await;
    peer.text(&hello(8_000)).await;
    let audio = bytes(&speech());
    let (mut sent, mut wrong) = (0, 0);
    for (n, size) in [2, 318, 322, 640, 4_000, 0, 65_536, 320].into_iter().cycle().take(24).enumerate() {
        let from = n * 100 % 4_000;
        let part: Vec<u8> = audio.iter().cycle().skip(from).take(size).copied().collect();
        peer.binary(&part).await;
        sent += size / 2;
        wrong += u64::from(size != 320);
    }
    assert_eq!(peer.hang_up().await, Back::Close(1000));
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("hangup", sent as u64));
    assert_eq!(scene.faults("frame_size").await, wrong as f64);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_bytes_lose_no_sample() {
    let mut scene = Scene::start("").await;
    let mut peer = scene.peer().await;
    peer.text(&hello(8_000)).await;
    let audio = bytes(&speech());
    let mut wrong = 0;
    for part in audio.chunks(321) {
        peer.binary(part).await;
        wrong += u64::from(part.len() % 2 == 1);
    }
    // One byte too many at the very end: half a sample, which is none.
    peer.binary(&[7]).await;
    peer.hang_up().await;
    let ended = scene.ended().await;
    assert_eq!(received(&ended), audio.len() as u64 / 2);
    assert!(number(&ended, "/data/characteristics/finals") > 0, "speech cut at odd bytes was not heard: {ended}");
    assert_eq!(scene.faults("odd_bytes").await, (wrong + 1) as f64);
    assert_eq!(scene.faults("half_sample").await, 1.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_before_the_first_text_is_kept() {
    let mut scene = Scene::start("[call]\nhello_timeout_ms = 60000\nhello_bytes_max = 1000000").await;
    let mut peer = scene.peer().await;
    let audio = bytes(&speech());
    for frame in audio[..audio.len() / 640 * 640].chunks(320) {
        peer.binary(frame).await;
    }
    peer.text(&hello(8_000)).await;
    peer.hang_up().await;
    let ended = scene.ended().await;
    assert_eq!(received(&ended), (audio.len() / 640 * 320) as u64);
    assert!(number(&ended, "/data/characteristics/finals") > 0, "early speech was not heard: {ended}");
    assert_eq!(scene.faults("early_audio").await, 1.0);
    assert_eq!(scene.faults("no_hello").await, 0.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_text_that_never_comes_is_assumed() {
    let mut scene = Scene::start("[call]\nhello_timeout_ms = 50\nassumed_rate_hz = 8000").await;
    let mut peer = scene.peer().await;
    let audio = bytes(&speech());
    for frame in audio.chunks(320) {
        peer.binary(frame).await;
    }
    let started = scene.follower.wait("leg.started.v1", BAD).await;
    assert_eq!((text(&started, "/data/hello"), number(&started, "/data/rate_hz")), ("assumed", 8_000));
    // Late is better than never, and a third time is too often.
    peer.text(&hello(8_000)).await;
    peer.text(&hello(8_000)).await;
    peer.hang_up().await;
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("hangup", audio.len() as u64 / 2));
    for fault in ["no_hello", "late_hello", "repeated_hello"] {
        assert_eq!(scene.faults(fault).await, 1.0, "{fault}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_from_the_start_is_a_leg_too() {
    let mut scene = Scene::start("[call]\nhello_timeout_ms = 50").await;
    let peer = scene.peer().await;
    scene.follower.wait("leg.started.v1", BAD).await;
    peer.hang_up().await;
    assert_eq!(received(&scene.ended().await), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_mean_nothing_are_counted_and_survived() {
    let mut scene = Scene::start("").await;
    let (mut peer, samples) = scene.talker().await;
    let deep = "[".repeat(60_000);
    for bad in
        ["", "{", "null", "[1]", "\"text\"", "{\"event\":7}", "{}", "\u{0}", "{\"event\":\"websocket:dtmf\"}", &deep]
    {
        peer.text(bad).await;
    }
    for unknown in [r#"{"event":"websocket:media"}"#, r#"{"event":""}"#] {
        peer.text(unknown).await;
    }
    peer.text(DTMF).await;
    peer.hang_up().await;
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("hangup", samples));
    assert_eq!(number(&ended, "/data/characteristics/dtmf"), 1);
    assert_eq!(scene.faults("bad_text").await, 10.0);
    assert_eq!(scene.faults("unknown_event").await, 2.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_rate_ends_the_leg_and_says_so() {
    for content_type in
        ["audio/l16;rate=44100", "audio/l16;rate=-1", "audio/opus", "", "audio/l16;rate=99999999999999999999"]
    {
        let mut scene = Scene::start("[call]\nhello_timeout_ms = 60000").await;
        let mut peer = scene.peer().await;
        peer.binary(&[1; 320]).await;
        peer.text(&format!(r#"{{"event":"websocket:connected","content-type":"{content_type}"}}"#)).await;
        assert_eq!(peer.back().await, Back::Close(1003), "{content_type:?}");
        let ended = scene.ended().await;
        assert_eq!(reason(&ended), "unsupported_format");
        assert_eq!(number(&ended, "/data/ledger/dropped/unsupported_format"), 160);
        assert_eq!(ended["data"]["complete"], false);
        assert_eq!(scene.faults("unsupported_format").await, 1.0);
        scene.end().await;
    }
}

// --- breaches of the protocol ---------------------------------------------------

/// Sends what ends the leg; the peer must be told this code, the leg end for this reason.
async fn breach(bytes: &[u8], code: u16, fault: &str) {
    let mut scene = Scene::start("").await;
    let (mut peer, samples) = scene.talker().await;
    peer.send_if_taken(bytes).await;
    assert_eq!(peer.back().await, Back::Close(code), "{fault}");
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), (fault, samples));
    assert!(number(&ended, "/data/characteristics/finals") > 0, "the words before the breach are lost: {ended}");
    assert_eq!(scene.faults(fault).await, 1.0);
    let events = scene.end().await;
    assert_eq!(events::kind(events.last().unwrap()), "leg.ended.v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_in_one_message_end_the_leg() {
    breach(&frame(0x80 | BINARY, true, &vec![0; 10 << 20]), 1009, "message_too_long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_cannot_be_ends_the_leg() {
    let mut head = frame(0x80 | BINARY, true, &[0; 70_000]);
    head.truncate(2);
    head.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    breach(&head, 1009, "message_too_long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_endless_fragments_ends_the_leg() {
    let mut parts = frame(BINARY, true, &[0; 30_000]);
    for _ in 0..3 {
        parts.extend(frame(CONTINUATION, true, &[0; 30_000]));
    }
    breach(&parts, 1009, "message_too_long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_utf8_ends_the_leg() {
    breach(&frame(0x80 | TEXT, true, b"{\"event\":\"\xff\xfe\"}"), 1007, "invalid_utf8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmasked_frame_ends_the_leg() {
    breach(&frame(0x80 | BINARY, false, &[0; 320]), 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_bits_end_the_leg() {
    breach(&frame(0xc0 | BINARY, true, &[0; 320]), 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_opcode_ends_the_leg() {
    breach(&frame(0x80 | 5, true, &[0; 320]), 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_of_nothing_ends_the_leg() {
    breach(&frame(0x80 | CONTINUATION, true, &[0; 320]), 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlong_ping_ends_the_leg() {
    breach(&frame(0x80 | PING, true, &[0; 200]), 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_noise_on_the_socket_ends_the_leg() {
    let noise: Vec<u8> = (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x70).collect();
    breach(&noise, 1002, "protocol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_none_is_refused_and_costs_nothing() {
    let scene = Scene::start("[server]\nrequest_timeout_ms = 3000").await;
    let address = scene.address();
    let upgrade = peer::request("");
    for (sent, status) in [
        ("GET /media HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), " 400 "),
        (upgrade.replace("Version: 13", "Version: 8").replace("GET /media", "GET /media?a=close"), " 400 "),
        (peer::request("?conversation=two%20words"), " 400 "),
        (peer::request(&format!("?conversation={}", "x".repeat(129))), " 400 "),
        (upgrade.replace("GET ", "POST "), " 405 "),
    ] {
        let sent = sent.replace("Host: gateway\r\n", "Host: gateway\r\nConnection: close\r\n");
        let answer = answer_to(address, &sent).await;
        assert!(answer.lines().next().unwrap_or_default().contains(status), "{sent:?} was answered {answer:?}");
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\r\n\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\r\n\r\n",
    ] {
        let mut whole = garbage.to_vec();
        whole.extend_from_slice(b"\r\n\r\n");
        exchange(address, &whole).await;
    }
    let huge = format!("GET /media?{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    exchange(address, huge.as_bytes()).await;
    assert_eq!(scene.gateway.metric("sidetone_legs_refused_total{reason=\"bad_request\"}").await, 4.0);
    assert_eq!(scene.gateway.metric("sidetone_legs_total").await, 1.0);
    assert!(scene.end().await.is_empty());
}

/// The head of the answer to a request.
async fn answer_to(address: SocketAddr, request: &str) -> String {
    let mut stream = within("a connection", tokio::net::TcpStream::connect(address)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    within("an answer", peer::head(&mut stream)).await
}

// --- connections that break -----------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_pinged_then_given_up() {
    let mut scene = Scene::start("[call]\nping_after_ms = 100\nidle_timeout_ms = 3000").await;
    let (mut peer, samples) = scene.talker().await;
    // It stays open and says nothing more: not even pong.
    let pinged = within("a ping", async {
        loop {
            match peer.read().await {
                Some((PING, _)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    });
    assert!(pinged.await, "the gateway gave up without a ping");
    assert_eq!(peer.back().await, Back::Close(1008));
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("idle", samples));
    assert_eq!(scene.faults("idle").await, 1.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_pings_is_not_given_up() {
    let mut scene = Scene::start("[call]\nping_after_ms = 500\nidle_timeout_ms = 5000").await;
    let (mut peer, _) = scene.talker().await;
    // Six seconds in all: longer than the idle timeout.
    for _ in 0..12 {
        let (opcode, payload) = within("a ping", peer.read()).await.expect("the gateway gave up a peer that answers");
        assert_eq!(opcode, PING);
        peer.send(PONG, &payload).await;
    }
    peer.hang_up().await;
    assert_eq!(reason(&scene.ended().await), "hangup");
    assert_eq!(scene.faults("idle").await, 0.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_a_frame_loses_no_word_before_it() {
    let mut scene = Scene::start("").await;
    let (mut peer, samples) = scene.talker().await;
    // A reset throws away what was not read: wait for proof that all was.
    peer.text(DTMF).await;
    scene.follower.wait("dtmf.v1", BAD).await;
    let whole = frame(0x80 | BINARY, true, &[0; 320]);
    peer.stream.write_all(&whole[..100]).await.unwrap();
    peer.reset();
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("connection_lost", samples));
    assert!(number(&ended, "/data/characteristics/finals") > 0, "{ended}");
    assert_eq!(scene.faults("connection_lost").await, 1.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_a_close_frame_is_a_lost_connection() {
    let mut scene = Scene::start("").await;
    let (mut peer, samples) = scene.talker().await;
    peer.stream.shutdown().await.unwrap();
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("connection_lost", samples));
    scene.end().await;
}

// --- peers that take, or give, too much -------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_hurts_nobody() {
    let mut scene =
        Scene::start("[call]\nping_after_ms = 100\nidle_timeout_ms = 300\n[server]\nsend_timeout_ms = 200").await;
    let mut peer = Peer::connect_narrow(scene.address(), &format!("?conversation={BAD}")).await;
    peer.text(&hello(8_000)).await;
    // Pings ask for pongs that are never read, until no more can be sent; if the
    // gateway lets that happen at all.
    let mut pings = Vec::new();
    for _ in 0..1_000 {
        pings.extend(frame(0x80 | PING, true, &[b'p'; 125]));
    }
    for _ in 0..100 {
        let sent = tokio::time::timeout(std::time::Duration::from_secs(2), peer.stream.write_all(&pings)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    let ended = scene.ended().await;
    assert!(["idle", "not_reading", "connection_lost"].contains(&reason(&ended)), "{ended}");
    drop(peer);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_that_comes_too_fast_ends_the_leg() {
    let mut scene = Scene::start("[call]\nspeed_max = 1").await;
    let mut peer = scene.peer().await;
    peer.text(&hello(8_000)).await;
    let minute_and_more = bytes(&vec![0; 8_000 * 600]);
    let flood: Vec<u8> = minute_and_more.chunks(320).flat_map(|audio| frame(0x80 | BINARY, true, audio)).collect();
    peer.send_if_taken(&flood).await;
    assert_eq!(peer.back().await, Back::Close(1008));
    let ended = scene.ended().await;
    assert_eq!(reason(&ended), "too_fast");
    let minute = 60 * 8_000;
    assert!((minute..minute * 3).contains(&received(&ended)), "{ended}");
    assert_eq!(scene.faults("too_fast").await, 1.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_keys_costs_its_own_leg_only() {
    let mut scene = Scene::start("[sink.outbox]\ndurable_max = 1024").await;
    let (mut peer, _) = scene.talker().await;
    let mut keys = Vec::new();
    for _ in 0..20_000 {
        keys.extend(frame(0x80 | TEXT, true, DTMF.as_bytes()));
    }
    peer.send_if_taken(&keys).await;
    peer.back().await;
    let ended = scene.ended().await;
    assert_eq!(reason(&ended), "too_fast");
    assert_eq!(scene.gateway.metric("sidetone_events_total{sink=\"file\",outcome=\"lost\"}").await, 0.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_holds_up_neither_the_stop_nor_the_last_words() {
    let mut scene = Scene::start("").await;
    let (mut peer, samples) = scene.talker().await;
    peer.text(DTMF).await;
    scene.follower.wait("dtmf.v1", BAD).await;
    let (mut reads, mut writes) = peer.stream.into_split();
    // More pings than the gateway can answer, so that its socket is always ready.
    let pings: Vec<u8> = (0..2_000).flat_map(|_| frame(0x80 | PING, true, b"")).collect();
    let flood = tokio::spawn(async move { while writes.write_all(&pings).await.is_ok() {} });
    let reader = tokio::spawn(async move { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await });
    within("the healthy leg to be played", &mut scene.healthy).await.unwrap().expect("the healthy leg was hurt");
    scene.follower.wait("leg.ended.v1", GOOD).await;
    assert!(!flood.is_finished(), "the flood has ended by itself");
    scene.gateway.signal("TERM");
    let ended = scene.ended().await;
    assert_eq!((reason(&ended), received(&ended)), ("drained", samples));
    assert_eq!(ended["data"]["complete"], true);
    let (status, log, folder) = scene.gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    check_all(&events::read(&folder.path().join("sidetone-events.jsonl")));
    within("the flood to end", flood).await.unwrap();
    // The reader ends with whatever the system says of a connection that is gone.
    let _ = within("the connection to end", reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_legs_share_a_clock_while_a_third_misbehaves() {
    let mut scene = Scene::start("").await;
    let query = format!("?conversation={BAD}");
    let mut first = Peer::connect(scene.address(), &format!("{query}&role=caller")).await;
    first.text(&hello(8_000)).await;
    let started = scene.follower.wait("leg.started.v1", BAD).await;
    assert_eq!(number(&started, "/data/at_ms"), 0, "the first leg is not at 0 on the call clock");
    // The third comes and goes, badly, again and again.
    for n in 0..5_u8 {
        let mut third = Peer::connect(scene.address(), &query).await;
        third.send_if_taken(&frame(0x80 | BINARY, n % 2 == 0, &[n; 70_000])).await;
        third.back().await;
    }
    let mut second = Peer::connect(scene.address(), &format!("{query}&role=agent")).await;
    second.text(&hello(8_000)).await;
    for peer in [&mut first, &mut second] {
        peer.text(DTMF).await;
    }
    // One key at the same moment on both legs: the same place on the call clock.
    let events = until("both keys", || async {
        let events = events::read_so_far(&scene.gateway.events_path());
        (of(&events, BAD).iter().filter(|event| events::kind(event) == "dtmf.v1").count() == 2).then_some(events)
    })
    .await;
    let all = of(&events, BAD);
    let leg_of = |role: &str| all.iter().find(|e| text(e, "/data/speaker") == role && e["data"].get("at_ms").is_some());
    let agent = leg_of("agent").expect("the agent's leg has started");
    assert!(number(agent, "/data/at_ms") > 0, "the second leg began a clock of its own: {agent}");
    let keys: Vec<_> = all.iter().filter(|e| events::kind(e) == "dtmf.v1").map(|e| number(e, "/data/at_ms")).collect();
    let written: Vec<_> = all
        .iter()
        .filter(|e| events::kind(e) == "dtmf.v1")
        .map(|e| chrono::DateTime::parse_from_rfc3339(text(e, "/time")).unwrap().timestamp_millis())
        .collect();
    let apart = (keys[0].abs_diff(keys[1]), written[0].abs_diff(written[1]));
    assert!(apart.0.abs_diff(apart.1) <= 5, "by the call clock {} ms apart, by the wall {} ms", apart.0, apart.1);
    first.hang_up().await;
    second.hang_up().await;
    for role in ["caller", "agent"] {
        until("both legs to end well", || async {
            let events = events::read_so_far(&scene.gateway.events_path());
            let ended = |e: &&Value| is(e, "leg.ended.v1", BAD) && text(e, "/data/speaker") == role;
            events.iter().find(ended).map(|e| assert_eq!(reason(e), "hangup"))
        })
        .await;
    }
    let (_, body) = get(scene.address(), "/metrics").await;
    assert!(metric(&body, "sidetone_peer_faults_total{fault=\"message_too_long\"}") >= 5.0, "{body}");
    scene.end().await;
}
