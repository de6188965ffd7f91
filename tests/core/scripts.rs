//! Runs the call scripts of `tests/calls/`, whose README has the format.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use sidetone::call::{CallConfig, Close, Input, Output, Playback};
use sidetone::types::{
    Disagreement, Fault, Moment, PeerFault, Private, Rate, Reply, SegmentId, SegmentKind, Shadow, Transcript,
};

use crate::leg::Leg;
use crate::sound::{Level, Voice};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/calls");

#[test]
fn every_call_script_gives_what_it_expects() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let paths = scripts();
    assert!(paths.len() >= 12, "only {} call scripts in {FOLDER}", paths.len());
    let mut wrong = String::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display();
        match Script::parse(&text).and_then(|mut script| script.run().map(|()| script)) {
            Err(problem) => writeln!(wrong, "{name}:{problem}").unwrap(),
            Ok(script) => {
                let differences = script.differences();
                if update && !differences.is_empty() {
                    std::fs::write(path, script.corrected()).unwrap();
                } else {
                    differences.iter().for_each(|difference| writeln!(wrong, "{name}:{difference}").unwrap());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}If what came out is right, run again with UPDATE_EXPECT=1 and review the diff.");
}

fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "call")).collect();
    scripts.sort();
    scripts
}

// --- a script ---------------------------------------------------------------

/// What is wrong with a script, and on which line.
#[derive(Debug)]
struct Problem {
    line: usize,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// An input line, and the lines after it up to the next one.
struct Block {
    line: usize,
    text: String,
    delay: u64,
    words: Vec<String>,
    /// Lines that expect something, with their numbers, and what they say.
    expected: Vec<(usize, String, Shown)>,
    /// Comments and empty lines below the input.
    remarks: Vec<String>,
    got: Vec<Shown>,
}

struct Script {
    /// All lines before the first input.
    head: Vec<String>,
    config: CallConfig,
    blocks: Vec<Block>,
}

/// One output in the words of a script: what it is, and what is said about it.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    what: String,
    fields: Vec<(String, String)>,
}

impl Script {
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut script = Self { head: Vec::new(), config: CallConfig::default(), blocks: Vec::new() };
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let at_line = |what: String| Problem { line, what };
            let words = words(text).map_err(at_line)?;
            match (words.first().map(String::as_str), script.blocks.last_mut()) {
                (Some(delay), _) if delay.starts_with('+') => script.blocks.push(Block {
                    line,
                    text: text.to_owned(),
                    delay: duration_ms(&delay[1..]).map_err(at_line)?,
                    words: words[1..].to_vec(),
                    expected: Vec::new(),
                    remarks: Vec::new(),
                    got: Vec::new(),
                }),
                (Some("expect"), Some(block)) => {
                    let shown = Shown::parse(&words[1..]).map_err(at_line)?;
                    block.expected.push((line, text.to_owned(), shown));
                }
                (Some("config"), None) => {
                    words[1..].iter().try_for_each(|word| configure(&mut script.config, word)).map_err(at_line)?;
                    script.head.push(text.to_owned());
                }
                (Some(word), _) if !word.starts_with('#') => {
                    let what = "a line begins with `+<delay> <input>`, `expect`, `#` or, before all inputs, `config`";
                    return Err(at_line(format!("{what}; this one with {word:?}")));
                }
                (_, Some(block)) => block.remarks.push(text.to_owned()),
                (_, None) => script.head.push(text.to_owned()),
            }
        }
        match script.blocks.is_empty() {
            true => Err(Problem { line: 1, what: "no input: nothing would be tested".to_owned() }),
            false => Ok(script),
        }
    }

    /// Runs the script; afterwards each block has what came out of it.
    fn run(&mut self) -> Result<(), Problem> {
        let mut run = Run::new(self.config.clone());
        for block in &mut self.blocks {
            run.pass(block.delay);
            // What came while time passed belongs to the line before.
            run.settle(&mut block.got);
            let outcome = run.input(&block.words, &block.text);
            outcome.map_err(|what| Problem { line: block.line, what })?;
        }
        run.end();
        let mut last = Vec::new();
        run.settle(&mut last);
        // Each block now holds what belongs to the one before it.
        for i in 1..self.blocks.len() {
            self.blocks[i - 1].got = std::mem::take(&mut self.blocks[i].got);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.got = last;
        }
        Ok(())
    }

    fn differences(&self) -> Vec<Problem> {
        self.blocks.iter().filter_map(Block::difference).collect()
    }

    /// The script with the expectations that do not hold replaced by what came out.
    fn corrected(&self) -> String {
        let mut lines = self.head.clone();
        for block in &self.blocks {
            lines.push(block.text.clone());
            if block.difference().is_none() {
                lines.extend(block.expected.iter().map(|(_, text, _)| text.clone()));
            } else {
                lines.extend(block.got.iter().map(Shown::brief));
            }
            lines.extend(block.remarks.iter().cloned());
        }
        lines.join("\n") + "\n"
    }
}

impl Block {
    fn difference(&self) -> Option<Problem> {
        for (i, (line, text, expected)) in self.expected.iter().enumerate() {
            let what = match self.got.get(i) {
                Some(got) if expected.agrees_with(got) => continue,
                Some(got) => format!("expected\n  {}\nbut what came is\n{}", text.trim(), got.brief()),
                None => format!("expected\n  {}\nbut nothing more came", text.trim()),
            };
            return Some(Problem { line: *line, what });
        }
        let got = self.got.get(self.expected.len())?;
        let after = self.expected.last().map_or(self.line, |(line, ..)| *line);
        Some(Problem { line: after, what: format!("after this line came, and was not expected\n{}", got.brief()) })
    }
}

// --- a line -----------------------------------------------------------------

/// Splits a line at spaces outside of double quotes, which stay. JSON after `text` is
/// one word.
fn words(line: &str) -> Result<Vec<String>, String> {
    if line.trim_start().starts_with('#') {
        return Ok(vec!["#".to_owned()]);
    }
    let mut words = vec![String::new()];
    let mut quoted = false;
    for (at, char) in line.char_indices() {
        let is_text = words.get(words.len().wrapping_sub(2)).is_some_and(|word| word == "text");
        match char {
            '{' if !quoted && is_text && words.last().is_some_and(String::is_empty) => {
                words.pop();
                words.push(line[at..].to_owned());
                return Ok(words);
            }
            ' ' | '\t' if !quoted => {
                if words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                }
            }
            '"' => {
                quoted = !quoted;
                words.last_mut().expect("never empty").push('"');
            }
            other => words.last_mut().expect("never empty").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(words) }
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

/// `600ms`, `1.5s`, or milliseconds without a unit.
fn duration_ms(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => text.strip_suffix('s').map_or((text, 1.0), |number| (number, 1000.0)),
    };
    let ms = number.parse::<f64>().ok().map(|number| number * unit).filter(|ms| *ms >= 0.0);
    ms.map(|ms| ms as u64).ok_or_else(|| format!("{text:?} is no duration; write 600ms or 1.5s"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number"))
}

fn rate(text: &str) -> Result<Rate, String> {
    let rate = text.parse().ok().and_then(Rate::from_hz);
    rate.ok_or_else(|| format!("{text:?} is no rate; write 8000, 16000 or 24000"))
}

fn configure(config: &mut CallConfig, word: &str) -> Result<(), String> {
    let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is no key=value"))?;
    let ms = || duration_ms(value);
    let span = || duration_ms(value).map(Duration::from_millis);
    let speech = &mut config.endpointing;
    match key {
        "min_speech" => speech.min_speech_ms = ms()?,
        "hangover" => speech.hangover_ms = ms()?,
        "pre_roll" => speech.pre_roll_ms = ms()?,
        "long_segment" => speech.long_segment_ms = ms()?,
        "long_hangover" => speech.long_hangover_ms = ms()?,
        "max_segment" => speech.max_segment_ms = ms()?,
        "partial_interval" => config.partial_interval_ms = ms()?,
        "hello_timeout" => config.hello_timeout = span()?,
        "hello_bytes_max" => config.hello_bytes_max = number(value)? as usize,
        "assumed_rate" => config.assumed_rate = rate(value)?,
        "reply_timeout" => config.reply_timeout = span()?,
        "tail_timeout" => config.tail_timeout = span()?,
        "gap_timeout" => config.gap_timeout = span()?,
        "ping_after" => config.ping_after = span()?,
        "idle_timeout" => config.idle_timeout = span()?,
        "lead" => config.speaking.lead = span()?,
        "queue_max" => config.speaking.queue_max = number(value)? as usize,
        "echo_timeout" => config.speaking.echo_timeout = span()?,
        "clear_timeout" => config.speaking.clear_timeout = span()?,
        "pending_max" => config.pending_max = number(value)? as usize,
        "speed_max" => config.speed_max = number(value)?,
        _ => return Err(format!("there is no setting {key:?}")),
    }
    Ok(())
}

impl Shown {
    fn parse(words: &[String]) -> Result<Self, String> {
        let (what, fields) = words.split_first().ok_or("expect what?")?;
        let fields = fields.iter().map(|word| {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is no key=value"))?;
            Ok((key.to_owned(), unquoted(value).to_owned()))
        });
        Ok(Self { what: what.clone(), fields: fields.collect::<Result<_, String>>()? })
    }

    /// Whether all that is said here is true of `got`, of which more may be true.
    fn agrees_with(&self, got: &Self) -> bool {
        self.what == got.what && self.fields.iter().all(|field| got.fields.contains(field))
    }

    /// Takes in another frame, sent at `at_ms`.
    fn one_more(&mut self, at_ms: u64) {
        let frames: u64 = self.fields[1].1.parse().unwrap();
        self.fields[1].1 = (frames + 1).to_string();
        self.fields.truncate(2);
        self.fields.push(("last".to_owned(), at_ms.to_string()));
    }

    /// As it is written into a script: without what is nothing, or what no script is about.
    fn brief(&self) -> String {
        let dull = ["conversation", "leg", "seq", "connected_at", "vad", "asr", "language", "level_dbfs"];
        let mut line = format!("  expect {}", self.what);
        for (key, value) in &self.fields {
            let first = key.split('.').next().unwrap_or(key);
            let speaker = key == "speaker" && self.what != "leg.started";
            let figures = first == "timing" || first == "characteristics";
            let nothing = matches!(value.as_str(), "" | "null" | "{}" | "[]") || (first == "ledger" && value == "0");
            let usual = key == "listen_only" && value == "false";
            if dull.contains(&first) || speaker || figures || nothing || usual {
                continue;
            }
            match value.contains([' ', '"']) {
                true => write!(line, " {key}=\"{value}\"").unwrap(),
                false => write!(line, " {key}={value}").unwrap(),
            }
        }
        line
    }

    fn of(output: &Output, at_ms: u64, start_ms: u64) -> Self {
        let mut fields = vec![("at".to_owned(), at_ms.to_string())];
        let mut field = |key: &str, value: &dyn fmt::Display| fields.push((key.to_owned(), value.to_string()));
        let what = match output {
            Output::Emit(event) => {
                let value = serde_json::from_slice(&event.value()).unwrap();
                flatten(&mut fields, String::new(), &value);
                event.body.kind().trim_end_matches(".v1")
            }
            Output::Transcribe(segment) => {
                let kind = if segment.kind == SegmentKind::Final { "final" } else { "partial" };
                field("kind", &kind);
                field("segment", &segment.id);
                field("start_ms", &(start_ms + segment.start.ms()));
                field("ms", &(segment.samples.len() / 16));
                "transcribe"
            }
            Output::Close(Close::Drain) => {
                field("reason", &"drain");
                "close"
            }
            Output::Close(Close::Asked) => {
                field("reason", &"asked");
                "close"
            }
            Output::Close(Close::Fault(fault)) => {
                field("reason", fault);
                "close"
            }
            Output::Send(_) => {
                field("frames", &1);
                "send"
            }
            Output::SendText(text) => {
                let text: Value = serde_json::from_str(text).unwrap();
                flatten(&mut fields, String::new(), &text);
                "send-text"
            }
            Output::PlayRefused { playback, why } => {
                field("playback", playback);
                field("why", why);
                "refused"
            }
            Output::Ping => "ping",
            Output::Ended => "ended",
            Output::Fault(_) | Output::Idle { .. } => unreachable!("faults are counted, idleness is not shown"),
        };
        Self { what: what.to_owned(), fields }
    }
}

/// Each leaf of `value` by its path.
fn flatten(fields: &mut Vec<(String, String)>, path: String, value: &Value) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(k, v)| flatten(fields, join(k), v)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(i, v)| flatten(fields, join(&i.to_string()), v));
        }
        Value::String(text) => fields.push((path, text.clone())),
        other => fields.push((path, other.to_string())),
    }
}

// --- a run ------------------------------------------------------------------

struct Run {
    leg: Leg,
    opened: Moment,
    /// Position 0 of the audio, in ms since the conversation began, which is when the leg connected.
    start_ms: u64,
    heard: bool,
    voices: Vec<(Rate, Voice)>,
    faults: Vec<(PeerFault, usize)>,
    shown: Vec<Shown>,
}

impl Run {
    fn new(config: CallConfig) -> Self {
        let leg = Leg::new(config, 0);
        let voices = Rate::ALL.map(|rate| (rate, Voice::new(rate))).into();
        let opened = leg.now();
        Self { leg, opened, start_ms: 0, heard: false, voices, faults: Vec::new(), shown: Vec::new() }
    }

    fn note(&mut self, at: Moment, output: &Output) {
        let at_ms = at.since(self.opened).as_millis() as u64;
        if let Output::Fault(fault) = output {
            match self.faults.iter_mut().find(|(known, _)| known == fault) {
                Some((_, times)) => *times += 1,
                None => self.faults.push((*fault, 1)),
            }
        } else {
            let shown = Shown::of(output, at_ms, self.start_ms);
            match self.shown.last_mut().filter(|last| last.what == "send" && shown.what == "send") {
                Some(last) => last.one_more(at_ms),
                None => self.shown.push(shown),
            }
        }
    }

    /// Hands over what has come since the last time, faults first.
    fn settle(&mut self, into: &mut Vec<Shown>) {
        let faults = self.faults.drain(..).map(|(fault, times)| {
            let mut fields = vec![("name".to_owned(), fault.to_string())];
            if times > 1 {
                fields.push(("times".to_owned(), times.to_string()));
            }
            Shown { what: "fault".to_owned(), fields }
        });
        into.extend(faults);
        into.append(&mut self.shown);
    }

    fn pass(&mut self, ms: u64) {
        let to = self.leg.now() + Duration::from_millis(ms);
        for (at, output) in self.leg.pass(to) {
            self.note(at, &output);
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let now = self.leg.now();
        for output in self.leg.give(now, input) {
            self.note(now, &output);
        }
    }

    fn audio(&mut self, bytes: &[u8]) {
        if !std::mem::replace(&mut self.heard, true) {
            self.start_ms = self.leg.now().since(self.opened).as_millis() as u64;
        }
        self.give(Input::Audio(bytes));
    }

    /// Lets time pass until the leg is over.
    fn end(&mut self) {
        while let Some(until) = self.leg.until() {
            for (at, output) in self.leg.pass(until) {
                self.note(at, &output);
            }
        }
        assert!(self.leg.audit.ended());
    }

    fn input(&mut self, words: &[String], line: &str) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["connect", headers @ ..] => {
                let mut message = Map::from_iter([("event".to_owned(), "websocket:connected".into())]);
                for word in headers {
                    let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is no header=value"))?;
                    match key {
                        "rate" => message.insert("content-type".into(), format!("audio/l16;rate={value}").into()),
                        _ => message.insert(key.to_owned(), unquoted(value).into()),
                    };
                }
                self.give(Input::Text(&Value::Object(message).to_string()));
            }
            ["text", text] => self.give(Input::Text(unquoted(text))),
            ["key", digit] => self.give(Input::Text(&format!(r#"{{"event":"websocket:dtmf","digit":"{digit}"}}"#))),
            [level @ ("speech" | "doubt" | "silence"), length, options @ ..] => {
                self.sound(level, duration_ms(length)?, options)?;
            }
            ["audio", "hex", hex] => {
                let byte = |i| hex.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
                self.audio(&bytes.ok_or_else(|| format!("{hex:?} is not pairs of hex digits"))?);
            }
            ["audio", "bytes", count] => self.audio(&vec![0; number(count)? as usize]),
            ["reply", "partial", segment, rest @ ..] => self.reply(SegmentKind::Partial, segment, rest)?,
            ["reply", segment, rest @ ..] => self.reply(SegmentKind::Final, segment, rest)?,
            ["shadow", segment, text] => {
                let text = Private(unquoted(text).to_owned());
                let words = text.0.split_whitespace().count() as u64;
                self.give(Input::Shadow(Shadow {
                    id: SegmentId(number(segment)?),
                    text,
                    confidence: None,
                    asr: "second",
                    first: "test",
                    disagreement: Disagreement { words, ..Disagreement::default() },
                }));
            }
            ["pause", reason] => self.give(Input::Pause { reason: unquoted(reason) }),
            ["resume", reason] => self.give(Input::Resume { reason: unquoted(reason) }),
            ["play", id, length, options @ ..] => {
                let rate = self.leg.rate();
                let barge_in = match options {
                    [] => false,
                    ["barge-in"] => true,
                    _ => return Err(format!("{options:?}: only barge-in can follow")),
                };
                let samples = vec![1000; (duration_ms(length)? * u64::from(rate.hz()) / 1000) as usize];
                let playback =
                    Playback::new(unquoted(id), rate, &samples, barge_in).map_err(|error| error.to_string())?;
                self.give(Input::Play(playback));
            }
            ["stop-playback"] => self.give(Input::StopPlayback),
            ["echo", number] => {
                self.give(Input::Text(&format!(r#"{{"event":"websocket:notify","payload":{{"n":{number}}}}}"#)));
            }
            ["cleared"] => self.give(Input::Text(r#"{"event":"websocket:cleared"}"#)),
            ["close"] => self.give(Input::Close),
            ["alive"] => self.give(Input::Alive),
            ["drain"] => self.give(Input::Drain),
            ["hangup"] => self.give(Input::Closed(None)),
            ["lost", fault] => {
                let known = PeerFault::ALL.into_iter().find(|known| known.as_str() == *fault);
                self.give(Input::Closed(Some(known.ok_or_else(|| format!("there is no fault {fault:?}"))?)));
            }
            ["wait", length] => self.pass(duration_ms(length)?),
            _ => return Err(format!("no such input: {:?}; tests/calls/README.md has them all", line.trim())),
        }
        Ok(())
    }

    fn sound(&mut self, level: &str, ms: u64, options: &[&str]) -> Result<(), String> {
        let level = match level {
            "speech" => Level::Speech,
            "doubt" => Level::Doubt,
            _ => Level::Silence,
        };
        let mut at_rate = self.leg.rate();
        let (mut message, mut at_once) = (None, false);
        for option in options {
            match option.split_once('=') {
                Some(("bytes", count)) => message = Some(number(count)?.max(1) as usize),
                Some(("rate", hz)) => at_rate = rate(hz)?,
                None if *option == "at-once" => at_once = true,
                _ => return Err(format!("{option:?} is neither bytes=, rate= nor at-once")),
            }
        }
        let (_, voice) = self.voices.iter_mut().find(|(rate, _)| *rate == at_rate).expect("there is one of each");
        let bytes = voice.bytes(level, ms);
        let start = self.leg.now();
        let mut heard = 0;
        for message in bytes.chunks(message.unwrap_or(at_rate.frame_bytes())) {
            self.audio(message);
            heard += message.len() as u64;
            if !at_once {
                let due = start + Duration::from_micros(heard * 500_000 / u64::from(at_rate.hz()));
                for (at, output) in self.leg.pass(due) {
                    self.note(at, &output);
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, kind: SegmentKind, segment: &str, rest: &[&str]) -> Result<(), String> {
        let outcome = match rest {
            ["fault", name] => Err(match *name {
                "overload" => Fault::Overload,
                "shutdown" => Fault::Shutdown,
                "crashed" => Fault::Crashed,
                "backend" => Fault::Backend("no".to_owned()),
                "looped" => Fault::Looped,
                _ => return Err(format!("{name:?} is none of overload, shutdown, crashed, backend, looped")),
            }),
            [text] if text.starts_with('"') => {
                let text = Private(unquoted(text).to_owned());
                Ok(Transcript { text, language: "en", ..Transcript::default() })
            }
            _ => return Err("a reply is \"text\" or fault <name>".to_owned()),
        };
        self.give(Input::Reply(Reply {
            id: SegmentId(number(segment)?),
            kind,
            outcome,
            entities: Vec::new(),
            sentiment: None,
            asr: "test",
            scorer: None,
            overheard: kind == SegmentKind::Final,
            queued: Duration::ZERO,
            decoded: Duration::ZERO,
        }));
        Ok(())
    }
}

// --- the runner itself ---------------------------------------------------------

fn outcome(script: &str) -> (Vec<String>, String) {
    let mut script = Script::parse(script).unwrap();
    script.run().unwrap();
    (script.differences().iter().map(ToString::to_string).collect(), script.corrected())
}

#[test]
fn the_example_in_the_readme_holds() {
    let readme = std::fs::read_to_string(Path::new(FOLDER).join("README.md")).unwrap();
    let example = readme.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    assert_eq!(outcome(example).0, [""; 0]);
}

#[test]
fn a_script_that_expects_nothing_is_corrected_to_one_that_holds() {
    let (wrong, corrected) = outcome("# a key\n+0 connect\n\n+20 key 5\n# the end\n+1s hangup");
    assert!(wrong.len() == 3 && wrong[1].starts_with("4: after this line came"), "{wrong:?}");
    let expected = "# a key\n+0 connect\n  expect leg.started at=0 speaker=unknown at_ms=0 rate_hz=16000 hello=received\n\n\
        +20 key 5\n  expect dtmf at=20 digit=5 at_ms=20\n# the end\n+1s hangup\n";
    assert!(corrected.starts_with(expected), "{corrected}");
    assert_eq!(outcome(&corrected), (vec![], corrected.clone()));
}

#[test]
fn expectations_that_hold_stay_as_they_were_written() {
    let script = "+0 connect\n   expect leg.started\n+0 key 5\n  expect dtmf digit=6\n+0 hangup";
    let (wrong, corrected) = outcome(script);
    assert!(wrong[0].starts_with("4: expected\n  expect dtmf digit=6\nbut what came is\n  expect dtmf"), "{wrong:?}");
    assert!(
        corrected.starts_with("+0 connect\n   expect leg.started\n+0 key 5\n  expect dtmf at=0 digit=5 "),
        "{corrected}"
    );
}

#[test]
fn what_is_missing_is_reported_where_it_was_expected() {
    let (wrong, _) =
        outcome("+0 connect\n  expect leg.started\n  expect ping\n+0 hangup\n  expect leg.ended\n  expect ended");
    assert_eq!(wrong, ["3: expected\n  expect ping\nbut nothing more came"]);
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    for (script, line, word) in [
        ("", 1, "no input"),
        ("+0 connect\nexpekt leg.started", 2, "expekt"),
        ("+0 connect\nconfig gap_timeout=1s", 2, "config"),
        ("config gap=1s\n+0 connect", 1, "gap"),
        ("+fast connect", 1, "fast"),
        ("+0 connect\n+0 sing 3s", 2, "sing"),
        ("+0 speech 3s loud", 1, "loud"),
        ("+0 reply 1 fault tired", 1, "tired"),
        ("+0 reply 1 hello", 1, "text"),
        ("+0 lost patience", 1, "patience"),
        ("+0 text \"open", 1, "quote"),
        ("+0 audio hex 0", 1, "hex"),
    ] {
        let problem = Script::parse(script).and_then(|mut script| script.run()).expect_err(script);
        assert!(problem.line == line && problem.what.contains(word), "{script:?}: {problem}");
    }
}
