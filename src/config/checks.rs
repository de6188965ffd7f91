//! Ranges and names: what a value must be beyond its type.

use std::fmt::Display;

use super::{Config, Tables, Tokens, asr, flow, media, redaction, vonage};
use crate::types::Rate;

/// Longest that a place may be held for a call that was answered, in ms.
const PROMISE_MS_MAX: u64 = 60_000;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The key, with its section.
    pub(super) key: String,
    /// The value, and what was expected.
    pub(super) what: String,
}

/// Everything wrong with `config`; empty when it can be used.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expect = |key: &str, holds: bool, value: &dyn Display, expected: &str| {
        if !holds {
            problems.push(Problem { key: key.to_owned(), what: format!("is {value}; expected {expected}") });
        }
    };

    let server = &config.server;
    let name_ok =
        !server.name.is_empty() && server.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    expect("server.name", name_ok, &format!("{:?}", server.name), "letters, digits, '-', '_' and '.'");
    expect("server.legs_max", server.legs_max > 0, &server.legs_max, "at least 1");
    expect(
        "server.promise_ms",
        server.promise_ms <= PROMISE_MS_MAX,
        &server.promise_ms,
        "0 to 60000: longer, and callers who hung up keep others out",
    );
    let bytes = server.message_bytes_max;
    expect(
        "server.message_bytes_max",
        (960..=16 << 20).contains(&bytes),
        &bytes,
        "960 (one frame at 24 kHz) to 16777216",
    );
    expect("server.request_timeout_ms", server.request_timeout_ms > 0, &server.request_timeout_ms, "at least 1");
    expect("server.send_timeout_ms", server.send_timeout_ms > 0, &server.send_timeout_ms, "at least 1");
    expect("server.live_backlog_max", server.live_backlog_max > 0, &server.live_backlog_max, "at least 1");

    let url = server.public_url.as_str();
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let url_ok = url.is_empty()
        || rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/') && !rest.contains(['?', '#', ' ']));
    expect("server.public_url", url_ok, &format!("{url:?}"), "https://host, without a slash at the end");

    let call = &config.call;
    let rates = Rate::ALL.map(|rate| rate.hz().to_string()).join(", ");
    let rate_ok = Rate::from_hz(call.assumed_rate_hz).is_some();
    expect("call.assumed_rate_hz", rate_ok, &call.assumed_rate_hz, &format!("one of {rates}"));
    expect("call.pending_max", (1..=1024).contains(&call.pending_max), &call.pending_max, "1 to 1024");
    expect("call.speed_max", (1..=1000).contains(&call.speed_max), &call.speed_max, "1 to 1000");
    expect("call.hello_bytes_max", call.hello_bytes_max <= 1 << 20, &call.hello_bytes_max, "at most 1048576");
    let idle_ok = call.idle_timeout_ms > call.ping_after_ms;
    expect("call.idle_timeout_ms", idle_ok, &call.idle_timeout_ms, "more than call.ping_after_ms");
    expect("call.gap_timeout_ms", call.gap_timeout_ms >= 100, &call.gap_timeout_ms, "at least 100");
    expect("call.batch_ms", call.batch_ms <= 500, &call.batch_ms, "at most 500");
    let partial_ok = call.partial_interval_ms == 0 || call.partial_interval_ms >= 100;
    expect("call.partial_interval_ms", partial_ok, &call.partial_interval_ms, "0 (none) or at least 100");

    let e = &config.endpointing;
    expect("endpointing.open_threshold", (0.0..=1.0).contains(&e.open_threshold), &e.open_threshold, "0 to 1");
    let close_ok = (0.0..=e.open_threshold).contains(&e.close_threshold);
    expect("endpointing.close_threshold", close_ok, &e.close_threshold, "0 to endpointing.open_threshold");
    expect("endpointing.min_speech_ms", (20..=2_000).contains(&e.min_speech_ms), &e.min_speech_ms, "20 to 2000");
    expect("endpointing.hangover_ms", (20..=5_000).contains(&e.hangover_ms), &e.hangover_ms, "20 to 5000");
    expect("endpointing.pre_roll_ms", e.pre_roll_ms <= 2_000, &e.pre_roll_ms, "at most 2000");
    let long_hangover_ok = (20..=e.hangover_ms).contains(&e.long_hangover_ms);
    expect("endpointing.long_hangover_ms", long_hangover_ok, &e.long_hangover_ms, "20 to endpointing.hangover_ms");
    let max_ok = (1_000..=30_000).contains(&e.max_segment_ms) && e.max_segment_ms > e.pre_roll_ms + e.min_speech_ms;
    expect(
        "endpointing.max_segment_ms",
        max_ok,
        &e.max_segment_ms,
        "1000 to 30000, and more than pre-roll and min_speech_ms",
    );
    let long_ok = e.long_segment_ms <= e.max_segment_ms;
    expect("endpointing.long_segment_ms", long_ok, &e.long_segment_ms, "at most endpointing.max_segment_ms");

    let threads = config.inference.threads;
    expect("inference.threads", threads <= 256, &threads, "0 (one a core) to 256");
    let seconds = config.inference.queue_audio_max_s;
    expect("inference.queue_audio_max_s", (1..=86_400).contains(&seconds), &seconds, "1 to 86400");
    let seconds = config.inference.queue_scores_audio_max_s;
    expect("inference.queue_scores_audio_max_s", seconds <= 86_400, &seconds, "0 to 86400");

    let outbox = &config.sink.outbox;
    expect("sink.outbox.durable_max", outbox.durable_max >= 16, &outbox.durable_max, "at least 16");
    expect("sink.outbox.ephemeral_max", outbox.ephemeral_max > 0, &outbox.ephemeral_max, "at least 1");
    let spool = &config.sink.spool;
    expect("sink.spool.dir", !spool.dir.as_os_str().is_empty(), &"empty", "a folder");
    let interval = spool.fsync_interval_ms;
    expect("sink.spool.fsync_interval_ms", (10..=60_000).contains(&interval), &interval, "10 to 60000");
    let segment = spool.segment_bytes;
    expect("sink.spool.segment_bytes", (4_096..=256 << 20).contains(&segment), &segment, "4096 to 268435456");
    let bytes_ok = spool.bytes_max >= segment.saturating_mul(4);
    expect("sink.spool.bytes_max", bytes_ok, &spool.bytes_max, "at least 4 times sink.spool.segment_bytes");
    expect("sink.spool.memory_max", spool.memory_max >= 16, &spool.memory_max, "at least 16");
    let share = spool.replay_share;
    expect("sink.spool.replay_share", (1..=99).contains(&share), &share, "1 to 99");

    let is_loopback = server.listen.ip().to_canonical().is_loopback();
    let tokens =
        Tokens::new(&config.api.tokens).err().map(|bad| (format!("api.tokens[{}].{}", bad.index, bad.key), bad.what));
    let sections = vonage::check(&config.vonage, &config.control, is_loopback)
        .into_iter()
        .chain(flow::flows(&config.flow, config.vonage.has_api()).err().unwrap_or_default())
        .chain(redaction::check(&config.redaction))
        .chain(tokens);
    problems.extend(sections.map(|(key, what)| Problem { key, what }));
    problems.extend(media::check(&config.media, &config.playback).into_iter().map(|(key, what)| Problem { key, what }));

    problems.extend(config.sink.kafka.problems());

    let vads: Vec<_> = crate::vad::BACKENDS.iter().map(|b| b.name()).collect();
    let asrs: Vec<_> = crate::asr::BACKENDS.iter().map(|b| b.name()).collect();
    let mut scorers: Vec<_> = crate::sentiment::BACKENDS.iter().map(|b| b.name()).collect();
    check_family("vad", &config.vad.backend, &config.vad.tables, &vads, &mut problems);
    check_family("asr", &config.asr.backend, &config.asr.tables, &asrs, &mut problems);
    check_tables("asr.shadow", &config.asr.shadow.tables, &asrs, &mut problems);
    problems.extend(asr::check(config).into_iter().map(|(key, what)| Problem { key, what }));
    scorers.push("none");
    check_family("sentiment", &config.sentiment.backend, &config.sentiment.tables, &scorers, &mut problems);
    let breaker = config.sentiment.breaker.check("sentiment.breaker");
    problems.extend(breaker.into_iter().map(|(key, what)| Problem { key, what }));
    problems
}

fn check_family(section: &str, backend: &str, tables: &Tables, names: &[&str], problems: &mut Vec<Problem>) {
    if !names.contains(&backend) {
        let what = format!("is {backend:?}; expected one of {}", names.join(", "));
        problems.push(Problem { key: format!("{section}.backend"), what });
    }
    check_tables(section, tables, names, problems);
}

fn check_tables(section: &str, tables: &Tables, names: &[&str], problems: &mut Vec<Problem>) {
    for (name, table) in tables.iter() {
        if !names.contains(&name.as_str()) {
            let what = format!(
                "is not a key of [{section}] nor a backend; expected backend, or a table named {}",
                names.join(", ")
            );
            problems.push(Problem { key: format!("{section}.{name}"), what });
        } else if !table.is_table() {
            let what = format!("is {table}; expected a table of settings");
            problems.push(Problem { key: format!("{section}.{name}"), what });
        }
    }
}
