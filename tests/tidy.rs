//! The rules of `src/lib.rs` about who may look at whom, and the house's manners.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its text without comments and tests.
struct Source {
    path: String,
    whole: String,
    code: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == format!("{place}.rs") || self.path.starts_with(&format!("{place}/")))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 40, "only {} files were found below src/", found.len());
    let source = |path: &PathBuf| {
        let whole = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Source { code: code_of(&whole), path, whole }
    };
    found.iter().filter(|path| !path.ends_with("store_tests.rs") && !path.ends_with("tests.rs")).map(source).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Tests stand last in a file, so all from the first `#[cfg(test)]` on is left out.
fn code_of(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\n").next().unwrap();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Fails with every place in `places` where `banned` occurs.
fn ban(sources: &[Source], banned: &[&str], why: &str, applies: impl Fn(&Source) -> bool) {
    let watched: Vec<_> = sources.iter().filter(|source| applies(source)).collect();
    assert!(!watched.is_empty(), "nothing was checked: {why}");
    let broken: Vec<_> = watched
        .iter()
        .flat_map(|source| {
            let hits = banned.iter().filter(|word| source.code.contains(**word));
            hits.map(|word| format!("src/{}: {word}", source.path))
        })
        .collect();
    assert!(broken.is_empty(), "{why}:\n{}", broken.join("\n"));
}

#[test]
fn the_pure_parts_know_no_task_socket_clock_or_lock() {
    let banned = [
        "tokio",
        "axum",
        "reqwest",
        "rdkafka",
        "tracing",
        "metrics::",
        "std::net",
        "std::fs",
        "std::thread",
        "std::env",
        "Instant::now",
        "SystemTime",
        "Utc::now",
        "rand::",
        "Uuid",
        "mpsc",
        "Mutex",
        "RwLock",
        "OnceLock",
        "Atomic",
    ];
    ban(&sources(), &banned, "pure parts take time and bytes as arguments", |source| {
        // wav reads files for the command line; the media path never sees it.
        // RS256 demands a source of randomness for padding that it does not use.
        // Faults are drawn from streams that the caller seeds.
        // The Voice REST client is the one part of vonage that has a socket.
        let exempt = ["audio/wav.rs", "vonage/app_jwt.rs", "simulator/fault/draw.rs"].contains(&source.path.as_str())
            || source.is_in(&["vonage/rest"]) && source.path != "vonage/rest/retry.rs";
        let pure = ["types", "audio", "call", "control", "event", "eval", "redact", "vonage"];
        let pure_parts = [
            "simulator/bucket",
            "simulator/fault",
            "load/plan",
            "load/speech",
            "load/frame",
            "load/figures",
            "inference/breaker",
            "inference/course",
        ];
        (source.is_in(&pure) || source.is_in(&pure_parts)) && !exempt
    });
}

#[test]
fn nobody_looks_up() {
    let sources = sources();
    let module = |name: &&str| format!("crate::{name}");
    let all = [
        "app",
        "asr",
        "audio",
        "call",
        "cli",
        "config",
        "control",
        "event",
        "inference",
        "load",
        "models",
        "publish",
        "redact",
        "sentiment",
        "server",
        "simulator",
        "sink",
        "telemetry",
        "vad",
    ];
    for (place, may) in [
        ("types", &[][..]),
        ("audio", &["types"]),
        ("vad", &["types", "onnx"]),
        ("sentiment", &["types", "onnx"]),
        ("asr", &["types", "models", "onnx"]),
        ("event", &["types"]),
        ("redact", &["types"]),
        ("call", &["types", "audio", "vad", "event", "redact"]),
        ("vonage", &["types"]),
        ("control", &["types", "event", "redact", "vonage"]),
        ("inference", &["types", "audio", "asr", "redact", "sentiment", "telemetry", "call"]),
        ("sink", &["types", "event", "config", "telemetry"]),
        ("publish", &["types", "event", "sink", "telemetry"]),
        ("simulator", &["types", "audio", "call", "vonage"]),
        ("load", &["types", "audio", "call", "config", "event", "sink"]),
        ("models", &["types"]),
        ("telemetry", &["types", "call"]),
    ] {
        let banned: Vec<_> = all.iter().filter(|name| **name != place && !may.contains(*name)).map(module).collect();
        let banned: Vec<_> = banned.iter().map(String::as_str).collect();
        ban(&sources, &banned, &format!("{place} may look only at {may:?}"), |source| source.is_in(&[place]));
    }
}

#[test]
fn inference_knows_of_call_only_where_buffers_come_from() {
    for source in sources().iter().filter(|source| source.is_in(&["inference"])) {
        let others = source
            .code
            .match_indices("crate::call::")
            .filter(|(at, _)| !source.code[at + "crate::call::".len()..].starts_with("Buffers"));
        assert_eq!(others.count(), 0, "src/{} looks at more of call than Buffers", source.path);
    }
}

#[test]
fn foreign_crates_have_one_door_each() {
    let sources = sources();
    for (name, door) in [
        ("rdkafka::", &["sink/kafka"][..]),
        (
            "ort::",
            &["onnx", "asr/local", "asr/moonshine", "asr/transducer", "asr/whisper", "vad/silero", "sentiment/neural"],
        ),
        ("webrtc_vad::", &["vad/webrtc"]),
        ("earshot::", &["vad/neural"]),
        ("vader_parity::", &["sentiment/lexicon"]),
        ("rubato::", &["audio/resample", "eval/telephone"]),
    ] {
        // `ort::` is in `report::` too: a crate's name begins a word.
        let begins = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let named = |source: &&Source| source.code.match_indices(name).any(|(at, _)| begins(&source.code[..at]));
        let (inside, outside): (Vec<_>, Vec<_>) =
            sources.iter().filter(named).map(|source| source.path.as_str()).partition(|path| {
                door.iter().any(|place| *path == format!("{place}.rs") || path.starts_with(&format!("{place}/")))
            });
        assert!(!inside.is_empty(), "nobody in {door:?} mentions {name}: nothing was checked");
        assert!(outside.is_empty(), "{name} belongs in {door:?}:\n{}", outside.join("\n"));
    }
}

#[test]
fn only_config_reads_the_environment() {
    ban(
        &sources(),
        &["env::var", "env::temp_dir", "env::home_dir", "env::args"],
        "the environment is read by config alone",
        |source| {
            // NO_COLOR is a convention about the terminal, not a setting of ours.
            !source.is_in(&["config"]) && source.path != "cli/console.rs"
        },
    );
}

#[test]
fn nothing_is_printed_unbounded_detached_or_unwrapped() {
    let banned = ["println!", "eprintln!", "print!(", "dbg!", "unbounded", ".unwrap()", "todo!", "use super::*;"];
    ban(&sources(), &banned, "see src/lib.rs: what may never happen", |_| true);
}

#[test]
fn no_thread_sleeps_but_where_that_is_the_purpose() {
    ban(&sources(), &["thread::sleep"], "wait for something, with a bound", |source| source.path != "asr/scripted.rs");
}

#[test]
fn every_backend_file_is_in_its_familys_list() {
    for family in ["vad", "asr", "sentiment"] {
        let list =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{family}/mod.rs"))).unwrap();
        let list = list.split("static BACKENDS").nth(1).unwrap().split(';').next().unwrap().to_owned();
        let sources = sources();
        let backends: Vec<_> = sources
            .iter()
            .filter(|source| source.is_in(&[family]) && source.code.contains("impl Backend for"))
            .collect();
        assert!(!backends.is_empty(), "no backend was found in {family}");
        for backend in backends {
            let name = backend.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap();
            assert!(list.contains(&format!("{name}::")), "src/{} is not in {family}::BACKENDS", backend.path);
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_one_idea() {
    for source in sources() {
        assert!(source.whole.starts_with("//! "), "src/{} does not say what it is", source.path);
        let lines = source.code.lines().count();
        assert!(lines <= 500, "src/{} has {lines} lines of code: more than one idea", source.path);
    }
}
