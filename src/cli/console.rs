//! A call on the terminal: partial text growing, final lines, the account at the end.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{OwoColorize as _, Style};

use crate::event::body::{Label, LegEnded, SentimentScore, TranscriptFinal};
use crate::event::call::Listening;
use crate::event::{Body, Event};
use crate::sink::{Refusal, Sink};
use crate::types::Speaker;

/// Columns before the text: `00:05.2 caller  negative -0.57  `.
const INDENT: usize = 32;

/// Shows events to a person. On a terminal the text so far of each speaker stands
/// below the final lines; elsewhere there are only final lines.
pub(super) struct Console {
    screen: Option<MultiProgress>,
    growing: BTreeMap<String, ProgressBar>,
    /// By leg: time from speech to text of each final, in ms.
    delays: BTreeMap<String, Vec<f32>>,
    colour: bool,
}

impl Console {
    pub(super) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let screen = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { screen, growing: BTreeMap::new(), delays: BTreeMap::new(), colour }
    }

    fn print(&self, line: &str) {
        let printed = match &self.screen {
            Some(screen) => screen.println(line),
            None => writeln!(io::stdout(), "{line}"),
        };
        // A terminal that went away is no reason to stop the call.
        drop(printed);
    }

    fn paint(&self, text: impl std::fmt::Display, style: Style) -> String {
        if self.colour { text.style(style).to_string() } else { text.to_string() }
    }

    fn grow(&mut self, event: &Event, at_ms: u64, text: &str) {
        let Some(screen) = &self.screen else { return };
        // The newest words are the interesting ones, and there is one line for them.
        let room = usize::from(screen_width()).saturating_sub(INDENT + 3).max(20);
        let from = text.char_indices().rev().nth(room).map_or(0, |(at, _)| at);
        let line = self.columns(event, at_ms, None)
            + &self.paint(format!("{} …", &text[from..]), Style::new().italic().dimmed());
        let bar = self.growing.entry(event.origin.leg.to_string()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            screen.add(ProgressBar::new_spinner().with_style(style))
        });
        bar.set_message(line);
        bar.tick();
    }

    fn settle(&mut self, event: &Event) {
        if let (Some(screen), Some(bar)) = (&self.screen, self.growing.remove(event.origin.leg.as_str())) {
            bar.finish_and_clear();
            screen.remove(&bar);
        }
    }

    fn final_line(&self, event: &Event, text: &TranscriptFinal) -> String {
        let columns = self.columns(event, text.start_ms, text.sentiment.as_ref());
        let width = if self.screen.is_some() { usize::from(screen_width()) } else { usize::MAX };
        let lines = textwrap::wrap(&text.text, width.saturating_sub(INDENT).max(20));
        columns + &lines.join(&format!("\n{:INDENT$}", ""))
    }

    /// Time, speaker and sentiment: [`INDENT`] columns.
    fn columns(&self, event: &Event, at_ms: u64, sentiment: Option<&SentimentScore>) -> String {
        let speaker = &event.origin.speaker;
        let sentiment = sentiment.map_or_else(
            || format!("{:15}", ""),
            |score| {
                self.paint(format!("{:<8} {:+.2} ", label(score.label), score.compound), sentiment_style(score.label))
            },
        );
        format!(
            "{} {} {sentiment} ",
            self.paint(clock(at_ms), Style::new().dimmed()),
            self.paint(format!("{:<7.7}", speaker.as_str()), speaker_style(speaker)),
        )
    }

    fn account(&self, event: &Event, ended: &LegEnded) -> String {
        let ledger = &ended.ledger;
        let s = |samples: u64| format!("{:.1}", samples as f64 / f64::from(ledger.rate_hz));
        let dropped: u64 = ledger.dropped.values().sum();
        let reasons: Vec<_> = ledger.dropped.iter().map(|(reason, n)| format!("{reason} {}", s(*n))).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let verdict = if ended.complete { "nothing lost" } else { "INCOMPLETE" };
        let c = &ended.characteristics;
        let mut delays = self.delays.get(event.origin.leg.as_str()).cloned().unwrap_or_default();
        delays.sort_unstable_by(f32::total_cmp);
        let median =
            delays.get(delays.len() / 2).map_or_else(String::new, |ms| format!(", speech to text {ms:.0} ms (median)"));
        let pace = c.words_per_minute.map_or_else(String::new, |wpm| format!(", {wpm:.0} words a minute"));
        let level = c.speech_dbfs.map_or_else(String::new, |dbfs| format!(", {dbfs:.0} dBFS"));
        format!(
            "{} {} s received = {} transcribed + {} silent + {} paused + {} dropped{reasons}: {verdict}\n        {} utterances, {} words{pace}{level}{median}",
            self.paint(format!("{:<7}", event.origin.speaker.as_str()), speaker_style(&event.origin.speaker)),
            s(ledger.received),
            s(ledger.transcribed),
            s(ledger.silent),
            s(ledger.paused),
            s(dropped),
            c.finals,
            c.words,
        )
    }
}

impl Sink for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        match &event.body {
            Body::TranscriptPartial(partial) => self.grow(event, partial.start_ms, &partial.text),
            Body::TranscriptFinal(text) => {
                self.settle(event);
                self.delays.entry(event.origin.leg.to_string()).or_default().push(text.timing.total_ms);
                self.print(&self.final_line(event, text));
            }
            Body::TranscriptDropped(dropped) => {
                self.settle(event);
                let line =
                    format!("{} {:<7} [{}]", clock(dropped.start_ms), event.origin.speaker.as_str(), dropped.reason);
                self.print(&self.paint(line, Style::new().dimmed()));
            }
            Body::Dtmf(dtmf) => {
                // The digit itself stays off the screen: it may be part of a card number.
                self.print(&format!("{} {:<7} pressed a key", clock(dtmf.at_ms), event.origin.speaker.as_str()));
            }
            Body::LegEnded(ended) => {
                self.settle(event);
                self.print(&self.account(event, ended));
            }
            Body::LegStarted(_) | Body::SpeechStarted(_) | Body::SpeechEnded(_) => {}
            Body::CapturePaused(_) | Body::CaptureResumed(_) | Body::PlaybackEnded(_) => {}
            // It would be read as said twice.
            Body::TranscriptShadow(_) => {}
            body => {
                if let Some(line) = call_line(body) {
                    self.print(&self.paint(format!("        {line}"), Style::new().dimmed()));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        Ok(())
    }
}

/// What the controller says, for those of its events that a viewer would miss. Numbers
/// and addresses stay off the screen.
fn call_line(body: &Body) -> Option<String> {
    Some(match body {
        Body::CallStarted(started) => {
            let flow = started.flow.as_ref().map_or_else(String::new, |flow| format!(", flow {flow}"));
            format!("{} call{flow}", started.direction.as_deref().unwrap_or("a"))
        }
        Body::CallJoined(joined) => format!("{} joined", joined.role),
        Body::CallListening(listening) => match (listening.state, &listening.reason) {
            (Listening::Separate, _) => format!("a socket of its own hears the {}", listening.role),
            (Listening::Mixed, _) => "one socket hears everybody".to_owned(),
            (Listening::None, reason) => {
                format!("nobody hears the {}: {}", listening.role, reason.as_deref().unwrap_or("unknown"))
            }
            (Listening::Ended, _) => return None,
        },
        Body::CallFailed(failed) => format!("{} was not reached: {}", failed.role, failed.status),
        Body::CallCompleted(completed) => format!("{} left", completed.role),
        Body::CallRecord(record) => format!(
            "call record: {:.1} s, {} legs at Vonage, {} media legs, {}{}",
            record.duration_s,
            record.participants.len(),
            record.legs.len(),
            if record.complete { "complete" } else { "INCOMPLETE" },
            if record.remarks.is_empty() { String::new() } else { format!(" ({})", record.remarks.join(", ")) },
        ),
        _ => return None,
    })
}

fn screen_width() -> u16 {
    console::Term::stdout().size().1
}

/// `mm:ss.t`
pub(super) fn clock(ms: u64) -> String {
    format!("{:02}:{:02}.{}", ms / 60_000, ms / 1000 % 60, ms / 100 % 10)
}

fn label(label: Label) -> &'static str {
    match label {
        Label::Negative => "negative",
        Label::Neutral => "neutral",
        Label::Positive => "positive",
    }
}

fn sentiment_style(label: Label) -> Style {
    match label {
        Label::Negative => Style::new().red(),
        Label::Neutral => Style::new().dimmed(),
        Label::Positive => Style::new().green(),
    }
}

fn speaker_style(speaker: &Speaker) -> Style {
    match speaker {
        Speaker::Caller => Style::new().yellow().bold(),
        Speaker::Agent => Style::new().cyan().bold(),
        _ => Style::new().bold(),
    }
}
