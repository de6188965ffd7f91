//! One table of what all the others measure: runs each bench, and `sidetone load`, by turns
//! and alone, and prints the rows that the README shows. About seven minutes; a machine
//! that does nothing else gives the better figures.
//!
//! `cargo bench --bench table -- --write` puts them into the README, between its two markers.
// A bench that cannot go on has nobody to tell but the person who started it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

const BEGIN: &str = "<!-- figures: cargo bench --bench table -- --write -->";
const END: &str = "<!-- end of figures -->";

/// Benches that tell figures, as lines `figure NAME VALUE`; their arguments.
const BENCHES: &[(&str, &[&str])] = &[
    ("leg_cost", &["--legs", "800"]),
    ("answer", &[]),
    ("pipeline", &["--rounds", "5"]),
    ("publish", &["--events", "200000", "--rounds", "5"]),
];

/// Runs of `sidetone load`: the name of their figures, and their arguments.
const LOADS: &[(&str, &[&str])] = &[
    ("listen", &["--legs", "2000", "--duration", "40s"]),
    ("transcribe", &["--legs", "100", "--duration", "40s", "--transcriber", "default"]),
];

/// The table: what a row says, with figures in braces, and the command that gives them.
const ROWS: &[(&str, &str, &str)] = &[
    (
        "CPU for a 20 ms frame of the demo call, bare WebSocket sink of the same library, 800 legs",
        "{leg_cost.bare} µs",
        "leg_cost",
    ),
    (
        "the same with Sidetone listening, `webrtc`, ledger on",
        "{leg_cost.webrtc} µs, {leg_cost.webrtc.ratio} ×",
        "leg_cost",
    ),
    ("the same, `neural`", "{leg_cost.neural} µs, {leg_cost.neural.ratio} ×", "leg_cost"),
    (
        "the same, `cascade`, the default; in silence",
        "{leg_cost.cascade} µs, {leg_cost.cascade.ratio} ×; {leg_cost.silent.ratio} ×",
        "leg_cost",
    ),
    ("memory of an idle leg; in silence", "{leg_cost.idle} KiB; {leg_cost.silent} KiB", "leg_cost"),
    ("2,000 legs listening, real speech: sustained; of one core", "{listen.sustained}; {listen.core} %", "listen"),
    ("the same: last sample of speech to the event, of it 500 ms the wait for more, p95", "{listen.p95} ms", "listen"),
    ("100 legs transcribed on one core: sustained", "{transcribe.sustained}", "transcribe"),
    ("the same: last sample of speech to the text, p50; p95", "{transcribe.p50} ms; {transcribe.p95} ms", "transcribe"),
    ("speech decoded a second of CPU, engine alone", "{pipeline.alone} s", "pipeline"),
    ("the same through detection, cutting, queue, redaction, sentiment, events", "{pipeline.ratio} ×", "pipeline"),
    ("1,000 signed answer webhooks a second on one core, with as many events: p99", "{answer.sidetone} ms", "answer"),
    ("the same, a bare axum handler that gives a fixed reply", "{answer.bare-handler} ms", "answer"),
    ("events published until acknowledged, to a bare rdkafka producer's", "{publish.ratio} ×", "publish"),
];

fn main() {
    let write = std::env::args().any(|arg| arg == "--write");
    let mut figures = BTreeMap::new();
    for (name, args) in BENCHES {
        eprintln!("{}", bench(name, args));
        figures.extend(told(name, args));
    }
    for (name, args) in LOADS {
        eprintln!("{}", load(args));
        figures.extend(loaded(name, args));
    }
    let rows: Result<Vec<_>, _> = ROWS.iter().map(|row| filled(row, &figures)).collect();
    match rows {
        Ok(rows) => {
            let table = format!("| what | figure | command |\n|---|---|---|\n{}", rows.concat());
            println!("{table}");
            if write {
                put(&table);
            }
        }
        Err(missing) => {
            eprintln!("not measured: {missing}; the README is as it was");
            std::process::exit(1);
        }
    }
}

fn bench(name: &str, args: &[&str]) -> String {
    let more = if args.is_empty() { String::new() } else { format!(" -- {}", args.join(" ")) };
    format!("cargo bench --bench {name}{more}")
}

fn load(args: &[&str]) -> String {
    format!("sidetone load {}", args.join(" "))
}

/// The figures that a bench tells.
fn told(name: &str, args: &[&str]) -> Vec<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--locked", "--bench", name, "--"]).args(args);
    let said = printed(command);
    let figure = |line: &str| {
        let (name, value) = line.trim().strip_prefix("figure ")?.split_once(' ')?;
        Some((name.to_owned(), value.to_owned()))
    };
    said.lines().filter_map(figure).collect()
}

/// The figures of a crowd of legs.
fn loaded(name: &str, args: &[&str]) -> Vec<(String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.arg("load").args(args).arg("--json");
    let Ok(report) = serde_json::from_str::<serde_json::Value>(&printed(command)) else { return Vec::new() };
    let number = |pointer: &str| report.pointer(pointer).and_then(serde_json::Value::as_f64);
    let legs = number("/legs/peak").unwrap_or_default();
    let of_a_leg = number("/server/user_percent_a_leg").zip(number("/server/system_percent_a_leg"));
    [
        ("core", of_a_leg.map(|(user, system)| legs * (user + system))),
        ("sustained", number("/legs/sustained")),
        ("p50", number("/latency/total/p50")),
        ("p95", number("/latency/total/p95")),
    ]
    .into_iter()
    .filter_map(|(what, value)| Some((format!("{name}.{what}"), format!("{:.0}", value?))))
    .collect()
}

fn printed(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A row with its figures, or the name of one that there is not.
fn filled((what, figure, of): &(&str, &str, &str), figures: &BTreeMap<String, String>) -> Result<String, String> {
    let mut parts = figure.split(['{', '}']);
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let Some(name) = parts.next() {
        text.push_str(figures.get(name).ok_or_else(|| name.to_owned())?);
        text.push_str(parts.next().unwrap_or_default());
    }
    let command = LOADS.iter().find(|(name, _)| name == of).map(|(_, args)| load(args));
    let command = command.unwrap_or_else(|| {
        BENCHES.iter().find(|(name, _)| name == of).map_or_else(String::new, |(name, args)| bench(name, args))
    });
    Ok(format!("| {what} | {text} | `{command}` |\n"))
}

fn put(table: &str) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has lost the first marker");
    let (_, after) = rest.split_once(END).expect("the README has lost the second marker");
    std::fs::write(readme, format!("{before}{BEGIN}\n{table}{END}{after}")).unwrap();
}
