//! `sidetone load` from outside: the real binary against a gateway of its own, and against
//! one that refuses, goes away, or is not there.
//!
//! Nothing here says how fast anything is: the machine may be busy.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

#[allow(dead_code, reason = "shared with other binaries, which use more of it")]
#[path = "../gateway/support/mod.rs"]
mod support;

use support::process::{Gateway, Said, run, sidetone, signal};
use support::{until, within};

/// Longer than any final can take: what is slow here says nothing.
const PATIENT: [&str; 2] = ["--within", "10m"];

async fn load(folder: &Path, arguments: &[&str]) -> Said {
    run(folder, &[&["load", "--json"], &PATIENT[..], arguments].concat()).await
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {report}"))
}

fn sum(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).unwrap().as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// Every sample that was sent was received, and is on one page of the ledger.
fn accounted(report: &Value) {
    let ledger = |page: &str| number(report, &format!("/ledger/{page}"));
    assert_eq!(report["ledger"]["accounted"], Value::Bool(true), "{report}");
    assert_eq!((ledger("sent"), ledger("missing")), (ledger("received"), 0), "{report}");
    let pages = ledger("transcribed") + ledger("silent") + ledger("paused") + sum(report, "/ledger/dropped");
    assert_eq!(ledger("received"), pages, "{report}");
    assert_eq!(number(report, "/frames/due"), number(report, "/frames/sent"), "{report}");
    let samples = number(report, "/asked/rate_hz") / 50;
    assert_eq!(ledger("sent"), number(report, "/frames/sent") * samples, "{report}");
}

/// All legs came, stayed until their end, and lost nothing.
fn all_played(report: &Value, legs: u64) {
    for pointer in ["/legs/dialled", "/legs/connected", "/legs/played", "/legs/sustained", "/ledger/legs"] {
        assert_eq!(number(report, pointer), legs, "{pointer}: {report}");
    }
    assert_eq!([sum(report, "/legs/refused"), sum(report, "/legs/failed"), sum(report, "/legs/cut")], [0, 0, 0]);
    accounted(report);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_legs_lose_nothing_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let said = load(folder.path(), &["--legs", "20", "--duration", "5s", "--html", "report.html"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let report = report(&said);
    all_played(&report, 20);
    assert_eq!((&report["complete"], &report["problems"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    assert!(number(&report, "/ledger/transcribed") > 0, "nobody said anything: {report}");
    assert_eq!(number(&report, "/latency/total/count"), number(&report, "/shed/finals_without_sentiment"), "{report}");
    assert!(report["server"]["rss_idle_kib"].as_u64().is_some_and(|kib| kib > 0), "{report}");
    assert!(report["seconds"].as_array().unwrap().len() > 5, "five seconds, and the hanging up");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["report.html"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_repeats_a_run_and_people_get_words() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--legs", "3", "--duration", "2s", "--rate", "8000", "--talk", "1"];
    let said = run(folder.path(), &[&["load"][..], &PATIENT, &short].concat()).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    for words in ["3 sustained of 3 let in", "all accounted for", "µs a frame", "steady "] {
        assert!(said.out.contains(words), "{words:?} is not in\n{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-call/call.wav");
    let speech = speech.to_str().unwrap();
    for (pattern, legs) in [("churn", 4..=12), ("ramp", 4..=4), ("burst", 4..=4)] {
        let arguments = ["--pattern", pattern, "--legs", "4", "--duration", "12s", "--speech", speech];
        let said = load(folder.path(), &arguments).await;
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{pattern}: {said:?}");
        let report = report(&said);
        let dialled = number(&report, "/legs/dialled");
        assert!(legs.contains(&dialled) && (pattern != "churn" || dialled > 4), "{pattern}: {dialled}");
        all_played(&report, dialled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_legs_are_refused_and_too_much_speech_sheds() {
    let folder = tempfile::tempdir().unwrap();
    // Answers that take longer than four legs can wait for.
    let config = "[asr]\nbackend = \"scripted\"\n[asr.scripted]\ndelay_ms = 700\n[inference]\nthreads = 1\n";
    std::fs::write(folder.path().join("slow.toml"), config).unwrap();
    let arguments = ["--config", "slow.toml", "--transcriber", "default", "--pattern", "overload", "--legs", "6"];
    let said = load(folder.path(), &[&arguments[..], &["--duration", "15s", "--talk", "0.9"]].concat()).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let report = report(&said);
    assert_eq!(number(&report, "/legs/dialled"), 9);
    assert_eq!(report["legs"]["refused"], serde_json::json!({"HTTP 503: no more legs now: legs_max": 3}));
    assert_eq!(number(&report, "/legs/played"), 6, "{report}");
    accounted(&report);
    assert!(number(&report, "/shed/partials") > 0, "no partial gave way: {report}");
    let phases: Vec<_> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["rising", "overload", "relief"]);
    let refused: u64 = report["phases"].as_array().unwrap().iter().map(|phase| number(phase, "/refused")).sum();
    assert_eq!(refused, 3, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quiet.wav"), b"no sound").unwrap();
    for (arguments, code, expected) in [
        (&["--legs", "0"][..], 2, "'--legs <COUNT>': expected 1 to 20000"),
        (&["--legs", "many"], 2, "'--legs <COUNT>': expected 1 to 20000"),
        (&["--duration", "5d"], 2, "'--duration <TIME>': expected 1s to 168h, such as 90s, 5m or 1h"),
        (&["--rate", "44100"], 2, "'--rate <8000|16000>': expected 8000 or 16000"),
        (&["--talk", "2"], 2, "'--talk <SHARE>': expected 0 to 1"),
        (&["--pattern", "wild"], 2, "'--pattern <NAME>': expected one of steady, ramp, burst, churn, overload"),
        (&["--transcriber", "best"], 2, "'--transcriber <none|default>': expected none or default"),
        (&["--pin", "here"], 2, "expected auto, off, or the driver's cores and the gateway's, such as 0:1-3"),
        (&["--url", "ws://127.0.0.1:1/media", "--transcriber", "none"], 2, "cannot be used with"),
        (&["--metrics", "http://127.0.0.1:1/metrics"], 2, "--url"),
        (&["--url", "http://127.0.0.1:1/media"], 1, "--url is \"http://127.0.0.1:1/media\": http is no scheme"),
        (&["--url", "ws://127.0.0.1:1/media", "--metrics", "here"], 1, "--metrics is \"here\": "),
        (&["--speech", "nowhere.wav"], 1, "sidetone: nowhere.wav: "),
        (&["--speech", "quiet.wav"], 1, "sidetone: quiet.wav: "),
        (&["--html", "no/where.html"], 1, "sidetone: --html no/where.html: "),
        (&["--pin", "0:1000"], 1, "cannot keep to core 1000"),
    ] {
        // A port that nobody serves is not asked for what is refused before.
        let said = run(folder.path(), &[&["load"], arguments].concat()).await;
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(expected), "{arguments:?} said\n{}\nnot\n{expected}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap();
    let said = load(folder.path(), &["--url", &format!("ws://{address}/media"), "--duration", "1s"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    let origin = format!("sidetone: http://{address}: the events cannot be read: ");
    assert!(said.err.starts_with(&origin) && said.err.to_lowercase().contains("connection refused"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fails_to_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[asr]\nbackend = \"scripted\"\n[asr.scripted]\npanic_every = 1\n";
    std::fs::write(folder.path().join("bad.toml"), config).unwrap();
    let said = load(folder.path(), &["--config", "bad.toml", "--transcriber", "default", "--duration", "1s"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.err.contains("the gateway did not start:"), "{}", said.err);
    assert!(said.err.contains("scripted: crashed while it was opened"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_legs_are_told_and_the_others_play_on() {
    let gateway = Gateway::start("[server]\nlegs_max = 3\n").await;
    let url = format!("ws://{}/media", gateway.address);
    let pid = gateway.pid().to_string();
    let said = load(gateway.folder.path(), &["--url", &url, "--pid", &pid, "--legs", "5", "--duration", "3s"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.err, "sidetone: legs were refused: 2 × HTTP 503: no more legs now: legs_max\n");
    let report = report(&said);
    assert_eq!((number(&report, "/legs/connected"), number(&report, "/legs/played")), (3, 3), "{report}");
    assert_eq!((&report["complete"], sum(&report, "/legs/refused")), (&Value::Bool(false), 2));
    accounted(&report);
    gateway.stop().await;
}

/// A running `sidetone load`; ends with its test.
struct Loading(Child);

impl Drop for Loading {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Loading {
    /// Starts one that would last for an hour, and waits until the gateway has its legs.
    async fn start(gateway: SocketAddr, legs: u32) -> Self {
        let url = format!("ws://{gateway}/media");
        let mut command = sidetone();
        command.args(["load", "--json", "--duration", "1h", "--legs", &legs.to_string(), "--url", &url]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut loading = Self(command.spawn().unwrap());
        let line = format!("sidetone_legs {legs}\n");
        until("the legs to be there", || {
            if let Some(status) = loading.0.try_wait().unwrap() {
                let complained = loading.0.stderr.take().map(std::io::read_to_string);
                panic!("the load ended before its legs were there, {status}: {complained:?}");
            }
            async { support::process::get(gateway, "/metrics").await.1.contains(&line).then_some(()) }
        })
        .await;
        loading
    }

    async fn ended(mut self) -> Said {
        let (mut out, mut err) = (self.0.stdout.take().unwrap(), self.0.stderr.take().unwrap());
        let all = tokio::task::spawn_blocking(move || {
            // What it says on standard error is short: it does not wait for us to read it.
            let (said, complained) = (std::io::read_to_string(&mut out), std::io::read_to_string(&mut err));
            Said { code: self.0.wait().unwrap().code(), out: said.unwrap(), err: complained.unwrap() }
        });
        within("the load to end", all).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_goes_away_leaves_a_partial_report() {
    let gateway = Gateway::start("").await;
    let loading = Loading::start(gateway.address, 4).await;
    gateway.signal("KILL");
    let said = loading.ended().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.starts_with("sidetone: the gateway"), "{}", said.err);
    assert!(said.err.contains("during the run") && said.err.contains("legs ended before their time: "), "{}", said.err);
    let report = report(&said);
    assert_eq!((number(&report, "/legs/connected"), sum(&report, "/legs/cut")), (4, 4), "{report}");
    assert_eq!(report["complete"], Value::Bool(false));
    assert_eq!(number(&report, "/ledger/missing"), 4, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_run_in_order() {
    let gateway = Gateway::start("").await;
    let loading = Loading::start(gateway.address, 4).await;
    signal(loading.0.id(), "INT");
    let said = loading.ended().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("as was asked"), "{}", said.err);
    let report = report(&said);
    assert_eq!((number(&report, "/legs/played"), number(&report, "/ledger/legs")), (4, 4), "{report}");
    accounted(&report);
    gateway.stop().await;
}
