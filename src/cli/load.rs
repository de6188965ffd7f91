//! `sidetone load`: a crowd of legs, and the figures of what a gateway made of it.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::demo::DEMO_CALL;
use super::{Common, Done, Failure};
use crate::audio::resample::convert;
use crate::audio::wav;
use crate::load::figures::{PhaseFigures, Report, Spread, page};
use crate::load::plan::{DURATION_MIN, Pattern};
use crate::load::process::Pin;
use crate::load::server::{Transcriber, configuration};
use crate::load::speech::Speech;
use crate::load::{self, Progress, Settings, Target};
use crate::types::Rate;

/// Most legs at a time: beyond it one address of a loopback has no ports left.
const LEGS_MAX: usize = 20_000;

/// Longest run, in s.
const DURATION_MAX_S: u64 = 7 * 24 * 3_600;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Media socket of a running gateway [default: start one of its own]
    #[arg(long, value_name = "ws://HOST:PORT/media")]
    url: Option<String>,
    /// Metrics of that gateway [default: /metrics on the same host]
    #[arg(long, value_name = "URL", requires = "url")]
    metrics: Option<String>,
    /// Process of that gateway on this machine, for processor time and memory
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// Authorization header of its media sockets; better in the environment than here
    #[arg(long, value_name = "VALUE", requires = "url", env = "SIDETONE_LOAD_AUTHORIZATION", hide_env_values = true)]
    authorization: Option<String>,
    /// API token for its live events; better in the environment than here
    #[arg(long, value_name = "TOKEN", requires = "url", env = "SIDETONE_LOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Legs at a time; for overload, what the gateway is told to take
    #[arg(long, default_value = "100", value_name = "COUNT", value_parser = legs)]
    legs: usize,
    /// Length of the run: 90s, 5m, 1h
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration)]
    duration: Duration,
    /// Rate of the audio, in Hz
    #[arg(long, default_value = "16000", value_name = "8000|16000", value_parser = rate)]
    rate: Rate,
    /// How the number of legs goes: steady, ramp, burst, churn or overload
    #[arg(long, default_value = "steady", value_name = "NAME", value_parser = pattern)]
    pattern: Pattern,
    /// Recordings of speech, one voice a channel [default: the demo call]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    speech: Vec<PathBuf>,
    /// Share of time in which each leg speaks, 0 to 1
    #[arg(long, default_value = "0.45", value_name = "SHARE", value_parser = talk)]
    talk: f32,
    /// Transcriber of a gateway of its own: none listens only, default is the configuration's
    #[arg(long, default_value = "none", value_name = "none|default", value_parser = transcriber, conflicts_with = "url")]
    transcriber: Transcriber,
    /// Read the events from these brokers instead of the live stream
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Cores: auto puts the driver on the first and the gateway on the others; off; or 0:1-3
    #[arg(long, default_value = "auto", value_name = "auto|off|DRIVER:GATEWAY")]
    pin: Pin,
    /// A leg with a final later than this is not counted as sustained
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = duration)]
    within: Duration,
    /// What pauses, utterances and calls are drawn from
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
    /// Write the report as a page, with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn legs(text: &str) -> Result<usize, String> {
    let expected = format!("expected 1 to {LEGS_MAX}");
    text.parse().ok().filter(|legs| (1..=LEGS_MAX).contains(legs)).ok_or(expected)
}

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "8000" => Ok(Rate::Hz8000),
        "16000" => Ok(Rate::Hz16000),
        _ => Err("expected 8000 or 16000".to_owned()),
    }
}

fn talk(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|talk| (0.0..=1.0).contains(talk)).ok_or_else(|| "expected 0 to 1".to_owned())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let names = || Pattern::ALL.map(Pattern::name).join(", ");
    Pattern::ALL
        .into_iter()
        .find(|pattern| pattern.name() == text)
        .ok_or_else(|| format!("expected one of {}", names()))
}

fn transcriber(text: &str) -> Result<Transcriber, String> {
    match text {
        "none" => Ok(Transcriber::None),
        "default" => Ok(Transcriber::Default),
        _ => Err("expected none or default".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => 0.0,
    };
    let seconds = digits.parse::<f64>().ok().map(|number| number * unit).filter(|seconds| seconds.is_finite());
    let least = DURATION_MIN.as_secs_f64();
    let fits = seconds.filter(|seconds| (least..=DURATION_MAX_S as f64).contains(seconds));
    fits.map(Duration::from_secs_f64).ok_or_else(|| "expected 1s to 168h, such as 90s, 5m or 1h".to_owned())
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let mut settings = Vec::new();
    if common.log.is_none() {
        settings.push(("log.filter", toml::Value::String("warn".to_owned())));
    }
    if let Some(brokers) = &options.kafka {
        settings.push(("sink.kafka.bootstrap", toml::Value::String(brokers.clone())));
    }
    let config = common.load(settings)?;
    let speech = options.speech()?;
    let settings = options.settings(config)?;
    // Written before anything else, so that nobody waits for a page that cannot be.
    let mut html = match &options.html {
        Some(path) => {
            Some(std::fs::File::create(path).map_err(|error| Failure(format!("--html {}: {error}", path.display())))?)
        }
        None => None,
    };
    // One thread, on the driver's cores: all that takes time has one of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bar = ProgressBar::new(settings.duration.as_secs());
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:24} {wide_msg}") {
        bar.set_style(style);
    }
    let driven = runtime.block_on(async {
        let stop = CancellationToken::new();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                stop.cancel();
            }
        });
        let mut observe = |progress: &Progress| {
            bar.set_position(progress.at.as_secs());
            bar.set_message(line(progress));
        };
        load::run(&settings, speech, &stop, &mut observe).await.map_err(Failure)
    });
    bar.finish_and_clear();
    let report = driven?;
    if let Some(file) = &mut html {
        file.write_all(page(&report).as_bytes())?;
    }
    if options.json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(io::stdout(), "{}", summary(&report))?;
    }
    if report.complete { Ok(ExitCode::SUCCESS) } else { Err(Failure(report.problems.join("\n"))) }
}

impl Options {
    /// What the legs say, at their rate.
    fn speech(&self) -> Result<Speech, Failure> {
        let mut voices = Vec::new();
        let mut add = |recording: wav::Wav| {
            voices.extend(recording.channels.iter().map(|samples| convert(samples, recording.rate, self.rate)));
        };
        if self.speech.is_empty() {
            add(wav::decode(Cursor::new(DEMO_CALL), Path::new("the demo call"))?);
        }
        for path in &self.speech {
            add(wav::read(path)?);
        }
        Speech::new(&voices, self.rate).map_err(|problem| Failure(format!("--speech: {problem}")))
    }

    fn settings(&self, config: crate::config::Config) -> Result<Settings, Failure> {
        let kafka = self.kafka.as_ref().map(|_| Box::new(config.sink.kafka.clone()));
        let target = match &self.url {
            Some(url) => Target::Running {
                url: url.clone(),
                metrics: self.metrics.clone(),
                pid: self.pid,
                authorization: self.authorization.clone(),
                token: self.token.clone(),
            },
            None => {
                let config = configuration(config, self.transcriber, self.pattern, self.legs, self.kafka.as_deref());
                super::models::ensure(&config)?;
                Target::Own(Box::new(config))
            }
        };
        Ok(Settings {
            target,
            pattern: self.pattern,
            legs: self.legs,
            duration: self.duration,
            rate: self.rate,
            talk: self.talk,
            seed: self.seed,
            pin: self.pin.clone(),
            within: self.within,
            kafka,
        })
    }
}

/// How far it is, in one line.
fn line(progress: &Progress) -> String {
    let late = progress.late_driver + progress.late_gateway;
    let refused = if progress.refused > 0 { format!(", {} refused", progress.refused) } else { String::new() };
    let cpu = progress.cpu_percent.map_or_else(String::new, |percent| format!(" · gateway {percent:.0} % of a core"));
    let newest = progress.newest_ms.map_or_else(String::new, |ms| format!(", {ms:.0} ms"));
    format!(
        "{} · {} legs{refused} · {} frames, {late} late · {} finals{newest}{cpu}",
        progress.phase, progress.legs, progress.frames, progress.finals
    )
}

/// The report for people.
fn summary(report: &Report) -> String {
    let (asked, legs, frames, ledger) = (&report.asked, &report.legs, &report.frames, &report.ledger);
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>();
    let mut lines = vec![
        format!(
            "{} legs, {}, {:.0} s, {} Hz, speech {:.0} % of the time; load average {} before, {} after",
            asked.legs,
            asked.pattern,
            asked.duration_s,
            asked.rate_hz,
            asked.talk * 100.0,
            report.machine.load_before,
            report.machine.load_after
        ),
        format!(
            "legs     {} sustained of {} let in; {} refused, {} not reached, {} cut; {} at most",
            legs.sustained,
            legs.connected,
            sum(&legs.refused),
            sum(&legs.failed),
            sum(&legs.cut),
            legs.peak
        ),
        format!(
            "frames   {} due, {} sent; late: {} by the driver (p99 {:.1} ms), {} by the gateway",
            frames.due, frames.sent, frames.late_driver, frames.driver_lag.p99, frames.late_gateway
        ),
        format!(
            "samples  {} sent, {} received = {} transcribed + {} silent + {} paused + {} dropped: {}",
            ledger.sent,
            ledger.received,
            ledger.transcribed,
            ledger.silent,
            ledger.paused,
            sum(&ledger.dropped),
            if ledger.accounted { "all accounted for" } else { "NOT ACCOUNTED FOR" }
        ),
    ];
    let spread = |what: &str, Spread { count, p50, p95, p99, p999, .. }: Spread| {
        format!("{what} p50 {p50:.0}, p95 {p95:.0}, p99 {p99:.0}, p99.9 {p999:.0} ms ({count} finals)")
    };
    lines.push(spread("delay    from the last sample of speech to the event:", report.latency.total));
    if let Some(server) = &report.server {
        lines.push(format!(
            "gateway  {:.1} µs a frame: {:.1} user + {:.1} kernel ({:.1} of it inference), {:.3} % of a core a leg; {:.1} KiB a leg; {} threads",
            server.user_us_a_frame + server.system_us_a_frame,
            server.user_us_a_frame,
            server.system_us_a_frame,
            server.inference_us_a_frame,
            server.user_percent_a_leg + server.system_percent_a_leg,
            server.rss_kib_a_leg,
            server.threads
        ));
    }
    lines.push(format!(
        "driver   {:.1} µs a frame, {:.1} of it sending",
        report.driver.us_a_frame, report.driver.wheel_us_a_frame
    ));
    let shed = &report.shed;
    // Where none has any, none was asked for.
    let sentiment = if shed.finals_with_sentiment > 0 { shed.finals_without_sentiment } else { 0 };
    let segments = sum(&shed.segments);
    lines.push(format!(
        "shed     {} partials, sentiment of {sentiment} finals; {segments} segments without text",
        shed.partials
    ));
    lines.extend(report.phases.iter().map(phase));
    lines.extend(report.remarks.iter().map(|remark| format!("         {remark}")));
    lines.join("\n") + "\n"
}

fn phase(phase: &PhaseFigures) -> String {
    let or_none =
        |value: Option<f64>, unit: &str| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}{unit}"));
    format!(
        "{:<8} {:>5} legs, {:>4} refused, core {:>7}, {:>5} finals p95 {:>6.0} ms, {} partials, behind {}",
        phase.name,
        phase.legs,
        phase.refused,
        or_none(phase.cpu_percent, " %"),
        phase.finals,
        phase.latency.p95,
        phase.partials.map_or_else(|| "–".to_owned(), |partials| partials.to_string()),
        or_none(phase.behind_s, " s"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_none_say_what_is_expected() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!((duration("1.5m"), duration("2h")), (Ok(Duration::from_secs(90)), Ok(Duration::from_secs(7_200))));
        for bad in ["", "0s", "5d", "s", "-1s", "1e99h", "NaN"] {
            assert!(duration(bad).is_err_and(|error| error.contains("such as 90s")), "{bad}");
        }
        assert!(legs("0").is_err() && legs("20001").is_err() && legs("20000") == Ok(20_000));
        assert!(talk("1.1").is_err() && talk("NaN").is_err() && talk("1") == Ok(1.0));
        assert!(rate("24000").is_err() && rate("8000") == Ok(Rate::Hz8000));
        assert!(pattern("wild").unwrap_err().contains("steady, ramp, burst, churn, overload"));
    }
}
