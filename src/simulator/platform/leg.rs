//! One leg: who it is, where it sits, what it says and hears, and what became of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::simulator::person::{Act, Person, Surroundings, Voice};
use crate::simulator::playback::Playback;
use crate::simulator::recording::Tape;
use crate::simulator::socket::Outgoing;
use crate::types::rate::{FRAME_SAMPLES, Frame};
use crate::vonage::ncco::{Method, Ncco};
use crate::vonage::webhook::{EndpointKind, Status};
use crate::vonage::wire::Map;

/// A leg's id; cheap to clone.
pub(super) type LegId = Arc<str>;

/// Commands that wait for a leg's task, at most.
pub(super) const COMMANDS_MAX: usize = 16;
/// Keys kept that were pressed during a talk with `bargeIn`.
const TYPED_MAX: usize = 20;

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The URL.
    pub url: String,
    /// How.
    pub method: Method,
}

/// Who ended a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndBy {
    /// The participant hung up.
    User,
    /// The platform, or the application through it.
    Platform,
    /// The application's side of a media socket closed or broke.
    Socket,
}

/// What a leg's task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// The leg is over.
    End(EndBy),
    /// It goes on with this NCCO.
    Replace(Ncco),
}

/// What a leg hears besides its conversation: a talk (silence of its length) or a file.
pub(super) struct Announcement {
    pub(super) voice: Option<Voice>,
    /// Length of one round, in ticks.
    pub(super) ticks: u64,
    /// Rounds left; none is for ever.
    pub(super) rounds: Option<u64>,
    pub(super) barge_in: bool,
    /// Gone when it is over.
    pub(super) over: Option<oneshot::Sender<()>>,
    pub(super) at: u64,
}

impl Announcement {
    fn tick(&mut self) -> Option<Frame> {
        let from = usize::try_from(self.at).ok()?.checked_mul(FRAME_SAMPLES)?;
        self.at += 1;
        let rest = self.voice.as_ref()?.get(from..)?;
        let mut frame = [0; FRAME_SAMPLES];
        frame.iter_mut().zip(rest).for_each(|(to, sample)| *to = *sample);
        Some(frame)
    }

    /// Whether it is over; begins the next round where there is one.
    fn is_over(&mut self) -> bool {
        if self.at < self.ticks {
            return false;
        }
        self.at = 0;
        match &mut self.rounds {
            None => false,
            Some(rounds) => {
                *rounds = rounds.saturating_sub(1);
                *rounds == 0
            }
        }
    }
}

/// The platform's end of a media socket.
pub(super) struct Line {
    /// To the socket's task; when it is gone the socket is closed.
    pub(super) out: mpsc::Sender<Outgoing>,
    pub(super) playback: Playback,
}

/// What a leg's audio comes from.
pub(super) enum Source {
    /// Nothing yet, or no more.
    None,
    Person(Box<Person>),
    Socket(Box<Line>),
}

/// A recording under way.
pub(super) struct Recording {
    pub(super) id: String,
    pub(super) tape: Tape,
    pub(super) began: Duration,
    pub(super) hook: Hook,
    pub(super) end_on_silence_ms: Option<u64>,
    pub(super) end_on_key: Option<char>,
    pub(super) time_out_ms: u64,
    /// Gone when it is over.
    pub(super) over: Option<oneshot::Sender<()>>,
}

/// Who is told of a leg's keys.
#[derive(Default)]
pub(super) struct Keypad {
    /// An `input` waits, for keys or speech: a caller stays for it.
    pub(super) listening: bool,
    /// Where it wants its keys.
    pub(super) input: Option<mpsc::Sender<char>>,
    /// An asynchronous `input`: a webhook for each key.
    pub(super) each: Option<Hook>,
    /// A subscription by REST.
    pub(super) subscribed: Option<Hook>,
    /// Pressed during a talk with `bargeIn`, for the `input` that follows.
    pub(super) typed: VecDeque<char>,
}

impl Keypad {
    pub(super) fn keep(&mut self, key: char) {
        if self.typed.len() < TYPED_MAX {
            self.typed.push_back(key);
        }
    }
}

/// What passed over a leg.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Frames sent to the application, or heard by the person.
    pub(super) sent: u64,
    /// Frames that found the socket's queue full.
    pub(super) congested: u64,
    /// Frames that came from the application, or were said by the person.
    pub(super) said: u64,
    pub(super) keys: u64,
    /// Frames of a wrong size that came from the application.
    pub(super) wrong_size: u64,
    pub(super) overflow: u64,
}

/// A file of what a party heard.
pub(super) type Heard = hound::WavWriter<BufWriter<File>>;

pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) kind: EndpointKind,
    pub(super) outbound: bool,
    /// What stands in webhooks: numbers, addresses, URIs.
    pub(super) from: String,
    pub(super) to: String,
    /// Of socket and SIP legs.
    pub(super) headers: Option<Map>,
    /// The conversation it was created in.
    pub(super) home: String,
    /// The one it is in.
    pub(super) conversation: String,
    pub(super) parent: Option<LegId>,
    /// Number of the script's call that it belongs to.
    pub(super) call: Option<usize>,
    pub(super) caller: bool,
    pub(super) hook: Hook,
    pub(super) control: mpsc::Sender<Command>,
    pub(super) gone: CancellationToken,
    /// Over when the flow that connected it has it no more: it is gone, or transferred.
    pub(super) bridge: CancellationToken,
    pub(super) created: Duration,
    pub(super) answered: Option<Duration>,
    pub(super) ended: Option<Duration>,
    pub(super) status: Status,
    pub(super) statuses: Vec<Status>,
    pub(super) source: Source,
    pub(super) announcement: Option<Announcement>,
    pub(super) keypad: Keypad,
    pub(super) recordings: Vec<Recording>,
    pub(super) heard: Option<Heard>,
    pub(super) counts: Counts,
    /// What went wrong, for the report.
    pub(super) problems: Vec<String>,
}

/// Problems kept of one leg.
const PROBLEMS_MAX: usize = 16;

impl Leg {
    pub(super) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    pub(super) fn person(&mut self) -> Option<&mut Person> {
        match &mut self.source {
            Source::Person(person) => Some(person),
            _ => None,
        }
    }

    /// Whether a person is on it, and has said all.
    pub(super) fn said_all(&self) -> Option<bool> {
        match &self.source {
            Source::Person(person) => Some(person.is_done()),
            _ => None,
        }
    }

    /// Commands its task, if that still listens.
    pub(super) fn command(&self, command: Command) {
        // A task with so many commands before it will end without this one, too.
        let _ = self.control.try_send(command);
    }

    pub(super) fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }

    /// 20 ms of what it says, and what its person does.
    pub(super) fn speak(&mut self, mut now: Surroundings) -> Act {
        now.announcement = self.announcement.is_some() || self.keypad.listening;
        let act = match &mut self.source {
            Source::None => Act::default(),
            Source::Person(person) => person.tick(now),
            Source::Socket(line) => {
                let (frame, reached) = line.playback.tick();
                for payload in reached {
                    self.counts.congested += u64::from(line.out.try_send(Outgoing::notify(payload)).is_err());
                }
                self.counts.overflow = line.playback.overflow();
                Act { frame, ..Act::default() }
            }
        };
        self.counts.said += u64::from(act.frame.is_some());
        act
    }

    /// 20 ms of what it hears, due at `at`. Gives the recordings that are over.
    pub(super) fn hear(&mut self, said: Option<&Frame>, mixed: Frame, at: Duration) -> Vec<Recording> {
        let mut heard = mixed;
        if let Some(announcement) = &mut self.announcement {
            if let Some(frame) = announcement.tick() {
                heard.iter_mut().zip(&frame).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
            }
            if announcement.is_over() {
                self.announcement = None;
            }
        }
        match &self.source {
            Source::None => return Vec::new(),
            Source::Person(_) => self.counts.sent += 1,
            Source::Socket(line) => match line.out.try_send(Outgoing::Frame(Box::new(heard), at)) {
                Ok(()) => self.counts.sent += 1,
                Err(_) => self.counts.congested += 1,
            },
        }
        self.write_heard(&heard);
        for recording in &mut self.recordings {
            recording.tape.push(said, &heard);
        }
        let over = |r: &mut Recording| {
            r.tape.ms() >= r.time_out_ms || r.end_on_silence_ms.is_some_and(|ms| r.tape.silent_ms() >= ms)
        };
        self.recordings.extract_if(.., over).collect()
    }

    fn write_heard(&mut self, frame: &Frame) {
        // A buffered write of 640 bytes: cheap enough for the tick.
        if let Some(file) = &mut self.heard
            && let Err(error) = frame.iter().try_for_each(|sample| file.write_sample(*sample))
        {
            self.heard = None;
            self.problem(format!("what was heard cannot be written: {error}"));
        }
    }

    /// Ends what plays into it, and listens to it.
    pub(super) fn hush(&mut self) {
        self.announcement = None;
        self.keypad.input = None;
        self.keypad.listening = false;
    }

    /// A text for its socket, where it has one.
    pub(super) fn text(&mut self, text: Outgoing) {
        if let Source::Socket(line) = &self.source
            && line.out.try_send(text).is_err()
        {
            self.counts.congested += 1;
        }
    }

    /// Times as REST and webhooks tell them: talk in whole seconds, rounded up.
    pub(super) fn seconds(&self, now: Duration) -> u64 {
        let talk = self.answered.map_or(Duration::ZERO, |from| self.ended.unwrap_or(now).saturating_sub(from));
        talk.as_millis().div_ceil(1000) as u64
    }

    /// `from` and `to` as REST shows them.
    pub(super) fn sides(&self) -> (Map, Map) {
        let side = |kind: &EndpointKind, address: &str| {
            let key = match kind {
                EndpointKind::Phone => "number",
                EndpointKind::App => "user",
                EndpointKind::Vbc => "extension",
                _ => "uri",
            };
            Map::from_iter([("type".to_owned(), Value::from(kind.as_str())), (key.to_owned(), Value::from(address))])
        };
        let (ours, theirs) = (EndpointKind::Phone, self.kind.clone());
        if self.outbound {
            (side(&ours, &self.from), side(&theirs, &self.to))
        } else {
            (side(&theirs, &self.from), side(&ours, &self.to))
        }
    }
}
