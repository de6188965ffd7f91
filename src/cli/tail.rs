//! `sidetone tail`: the events on Kafka, each once, and what is missing.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::console::Console;
use super::{Common, Done, Failure};
use crate::event::Event;
use crate::event::follow::{Follower, Seen};
use crate::sink::Sink as _;
use crate::sink::kafka::Decoder;
use crate::sink::kafka::reader::{Reader, Start};

/// Longest wait for a record before signals are looked at.
const WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Brokers, as if they were configured
    #[arg(long, value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// Read only this topic [default: all that the configuration names]
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// Share the topics with others of this group, and go on where it left off; without one, read all
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Where to begin: `beginning`, `end`, or a time such as 2026-01-31T09:00:00Z
    #[arg(long, default_value = "end", value_name = "WHERE", value_parser = start)]
    from: Start,
    /// Only this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Only types that begin so, as `transcript` or `call.record`
    #[arg(long = "type", value_name = "PREFIX")]
    kind: Vec<String>,
    /// Only this speaker
    #[arg(long, value_name = "NAME")]
    speaker: Option<String>,
    /// Print every event as one CloudEvents JSON object a line
    #[arg(long)]
    json: bool,
    /// Stop after what is there now; fail if something is missing in it
    #[arg(long, conflicts_with = "group")]
    until_end: bool,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        time => match chrono::DateTime::parse_from_rfc3339(time) {
            Ok(time) => Ok(Start::Time(time.timestamp_millis())),
            Err(_) => Err("expected beginning, end, or a time such as 2026-01-31T09:00:00Z".to_owned()),
        },
    }
}

impl Options {
    fn shows(&self, event: &Event) -> bool {
        let kind = event.body.kind();
        self.conversation.as_deref().is_none_or(|id| event.origin.conversation.as_str() == id)
            && self.speaker.as_deref().is_none_or(|speaker| event.origin.speaker.as_str() == speaker)
            && (self.kind.is_empty() || self.kind.iter().any(|prefix| kind.starts_with(prefix.as_str())))
    }
}

/// What was seen, for the last line.
#[derive(Default)]
struct Account {
    shown: u64,
    again: u64,
    strange: u64,
}

pub(super) fn run(common: &Common, options: Options) -> Done {
    let mut settings = Vec::new();
    if let Some(brokers) = &options.kafka {
        settings.push(("sink.kafka.bootstrap", toml::Value::String(brokers.clone())));
    }
    if common.log.is_none() {
        settings.push(("log.filter", toml::Value::String("warn".to_owned())));
    }
    let config = common.load(settings)?;
    let kafka = &config.sink.kafka;
    if kafka.bootstrap.is_empty() {
        return Err(Failure("no brokers: give --kafka HOST:PORT or set sink.kafka.bootstrap".to_owned()));
    }
    if options.group.is_some() && matches!(options.from, Start::Time(_)) {
        return Err(Failure(
            "--from TIME is for reading without --group: a group goes on where it left off".to_owned(),
        ));
    }
    let all = kafka.event_topics();
    let topics: Vec<String> = if options.topic.is_empty() {
        all.iter().map(|&topic| topic.to_owned()).collect()
    } else {
        options.topic.clone()
    };
    // Of a leg that is spread over topics some tell only a part; and in a group partitions come and go.
    let whole = all.iter().all(|topic| topics.iter().any(|read| read == topic)) || kafka.routes.is_empty();
    let watches = whole && options.group.is_none();
    let mut reader = Reader::new(kafka, &topics, options.group.as_deref(), options.from).map_err(Failure)?;
    let mut decoder = Decoder::new(kafka).map_err(Failure)?;
    let stop = interrupted()?;
    let mut follower = Follower::new(options.from == Start::Beginning);
    let mut console = Console::new();
    let mut account = Account::default();
    while !(stop.load(Ordering::Relaxed) || options.until_end && reader.is_done()) {
        let Some(incoming) = reader.next(WAIT).map_err(Failure)? else { continue };
        let data = decoder.decode(&incoming.value);
        let Ok(event) =
            data.and_then(|data| Event::from_parts(&incoming.attributes, data).map_err(|error| error.to_string()))
        else {
            account.strange += 1;
            continue;
        };
        match follower.see(event.origin.leg.as_str(), event.seq, event.sub) {
            Seen::Again => {
                account.again += 1;
                continue;
            }
            // From several topics they come in any order: told at the end.
            Seen::Gap(missing) if watches && topics.len() == 1 => writeln!(
                io::stderr(),
                "sidetone: {missing} durable events of {} are missing before number {}",
                event.origin.leg,
                event.seq
            )?,
            Seen::Gap(_) | Seen::New => {}
        }
        if !options.shows(&event) {
            continue;
        }
        account.shown += 1;
        if options.json {
            let mut line = event.to_structured();
            line.push(b'\n');
            io::stdout().write_all(&line)?;
        } else {
            let _ = console.send(&Arc::new(event));
        }
    }
    let missing = if watches { follower.missing() } else { 0 };
    let Account { shown, again, strange } = account;
    let strange =
        if strange > 0 { format!(", {strange} records that are no events known here") } else { String::new() };
    let summary = format!("{shown} events, {again} repeated ones dropped, {missing} missing{strange}");
    if options.until_end && missing > 0 {
        return Err(Failure(summary));
    }
    writeln!(io::stderr(), "sidetone: {summary}")?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes true when the user or the system asks for an end.
fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn({
        let stop = Arc::clone(&stop);
        move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_where_it_is_said() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("end"), Ok(Start::End));
        assert_eq!(start("1970-01-01T00:00:01Z"), Ok(Start::Time(1000)));
        assert!(start("yesterday").unwrap_err().contains("expected beginning, end, or a time"));
    }
}
