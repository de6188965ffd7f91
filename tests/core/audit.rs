//! What a leg promises, checked against every input and output as they pass.
//!
//! The audit keeps its own books, from the inputs and the contract alone: it knows
//! nothing of how `Call` works inside.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sidetone::call::{CallConfig, Close, Endpointing, Input, Output, wire};
use sidetone::event::body::{Hello, LegEnded, PlaybackEnded, TranscriptDropped, TranscriptFinal};
use sidetone::event::{Body, Event, Lane};
use sidetone::types::rate::{FRAME_MS, FRAME_SAMPLES};
use sidetone::types::{
    ConversationId, DropReason, Fault, Moment, Rate, Reply, Segment, SegmentKind, Transcript, WallTime,
};

/// Books on one leg.
pub(crate) struct Audit {
    config: Arc<CallConfig>,
    conversation: ConversationId,
    epoch: Moment,
    opened_at: Moment,
    connected_at: WallTime,
    now: Moment,

    // What went in.
    bytes: u64,
    audio_started: Option<Moment>,
    paused: bool,
    paused_samples: u64,
    /// Whether the frame now incomplete began during a pause.
    tainted: bool,
    /// Pauses and resumptions before the rate was known, and bytes that had come by then.
    early_turns: Vec<(u64, bool)>,
    /// Pauses and resumptions that no event has told of yet.
    turns: VecDeque<bool>,
    asked_to_close: bool,
    keys: u64,
    heard_at: Moment,
    /// Arrival of the newest audio, or the leg's start if that came later.
    audio_at: Moment,
    empty_partials: u64,

    // How far it has come.
    listening: bool,
    draining: bool,
    over_at: Option<Moment>,
    rate: Option<Rate>,
    closing: Option<LegEnded>,
    ended: bool,

    // What is played to it.
    /// Ids of playbacks that are not over.
    playbacks: Vec<String>,
    /// When all frames sent will have been heard.
    played_at: Moment,
    /// Until then a `clear` is unanswered.
    held_until: Option<Moment>,

    // Numbering.
    seq: u64,
    sub: u64,
    ids: HashSet<String>,
    last_time: WallTime,

    // Segments.
    segments: u64,
    open: Option<u64>,
    /// What speech marks and partials said of segments without a terminal event: start and
    /// furthest end.
    said: BTreeMap<u64, (u64, u64)>,
    requests: BTreeMap<u64, Request>,
    requested: u64,
    partials_asked: u64,
    /// The partial asked for last and not answered yet, and when that was.
    partial_awaited: Option<(u64, Moment)>,
    partials: u64,
    terminals: u64,
    terminal_end_ms: u64,
    finals: u64,
    losses: u64,
    /// Speech with a score, in ms, and the sum of its scores by its length.
    scored: (u64, f64),
    words: u64,
    /// Incoming samples by `transcribed` or the reason of the drop, last segment apart.
    booked: BTreeMap<String, u64>,
    last_booked: Option<(String, u64)>,
    /// Segments whose answer said that a second transcriber hears them, and that it was not told
    /// of yet; and what it was said to have heard.
    overheard: HashSet<u64>,
    shadows: BTreeMap<u64, Vec<String>>,
}

/// A final segment given to a transcriber.
struct Request {
    at: Moment,
    start_ms: u64,
    end_ms: u64,
    reply: Option<(Moment, Result<Transcript, Fault>)>,
}

/// Frames that the longest segment may have: the configured most, unless the audio from
/// before speech was noticed, and the frame that then asks for the cut, are more already.
pub(crate) fn longest_segment(endpointing: &Endpointing) -> u64 {
    let frames = |ms: u64| ms.div_ceil(FRAME_MS);
    let before = frames(endpointing.pre_roll_ms) + frames(endpointing.min_speech_ms).max(1);
    frames(endpointing.max_segment_ms).max(before + 1)
}

impl Audit {
    pub(crate) fn new(
        config: Arc<CallConfig>,
        conversation: ConversationId,
        epoch: Moment,
        opened_at: Moment,
        connected_at: WallTime,
    ) -> Self {
        Self {
            config,
            conversation,
            epoch,
            opened_at,
            connected_at,
            now: opened_at,
            bytes: 0,
            audio_started: None,
            paused: false,
            paused_samples: 0,
            tainted: false,
            early_turns: Vec::new(),
            turns: VecDeque::new(),
            asked_to_close: false,
            keys: 0,
            heard_at: opened_at,
            audio_at: opened_at,
            empty_partials: 0,
            listening: true,
            draining: false,
            over_at: None,
            rate: None,
            closing: None,
            ended: false,
            playbacks: Vec::new(),
            played_at: opened_at,
            held_until: None,
            seq: 0,
            sub: 0,
            ids: HashSet::new(),
            last_time: connected_at,
            segments: 0,
            open: None,
            said: BTreeMap::new(),
            requests: BTreeMap::new(),
            requested: 0,
            partials_asked: 0,
            partial_awaited: None,
            partials: 0,
            terminals: 0,
            terminal_end_ms: 0,
            finals: 0,
            losses: 0,
            scored: (0, 0.0),
            words: 0,
            booked: BTreeMap::new(),
            last_booked: None,
            overheard: HashSet::new(),
            shadows: BTreeMap::new(),
        }
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn closing(&self) -> Option<&LegEnded> {
        self.closing.as_ref()
    }

    pub(crate) fn started(&self) -> bool {
        self.rate.is_some()
    }

    /// Bytes of audio handed in while the leg listened.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Segments given out whose answer has not come.
    pub(crate) fn unanswered(&self) -> usize {
        self.requests.values().filter(|request| request.reply.is_none()).count()
    }

    /// Requests for partial or final text made so far.
    pub(crate) fn asked(&self) -> u64 {
        self.requested + self.partials_asked
    }

    /// To be told that the leg is moved into another conversation, which began `ms` before
    /// it connected. Once announced, a leg stays where it is.
    pub(crate) fn join(&mut self, conversation: ConversationId, ms: u64) {
        if !self.started() {
            let epoch = Moment(self.opened_at.0.saturating_sub(ms * 1000));
            (self.conversation, self.epoch) = (conversation, epoch);
        }
    }

    /// To be told that the leg is told that its conversation was paused all along.
    pub(crate) fn start_paused(&mut self) {
        if !self.started() && self.listening {
            self.paused = true;
            self.early_turns = vec![(0, true)];
        }
    }

    // --- inputs -------------------------------------------------------------

    /// To be told of an input before the leg is.
    pub(crate) fn input(&mut self, now: Moment, input: &Input<'_>) {
        self.now = self.now.max(now);
        match input {
            Input::Audio([]) => self.heard_at = self.now,
            Input::Audio(bytes) if self.listening => self.audio(bytes.len() as u64),
            Input::Text(text) => {
                self.heard_at = self.now;
                self.held_until.take_if(|_| text.contains("websocket:cleared"));
            }
            Input::Alive => self.heard_at = self.now,
            Input::Pause { .. } => self.turn(true),
            Input::Resume { .. } => self.turn(false),
            Input::Close if self.listening => self.asked_to_close = true,
            Input::Reply(reply) => self.reply(reply),
            Input::Shadow(shadow) => self.shadows.entry(shadow.id.0).or_default().push(shadow.text.0.clone()),
            Input::Play(playback) if self.closing.is_none() => self.playbacks.push(playback.id().to_string()),
            Input::Drain if self.listening => self.draining = true,
            Input::Closed(_) => self.over(),
            _ => {}
        }
    }

    fn audio(&mut self, len: u64) {
        (self.heard_at, self.audio_at) = (self.now, self.now);
        self.audio_started.get_or_insert(self.now);
        if let Some(rate) = self.rate {
            self.count_paused(rate, self.bytes, len, self.paused);
        }
        self.bytes += len;
    }

    /// Counts the frames that end within `len` bytes after `before` and are paused: all of
    /// them, or the first one, if it began during a pause.
    fn count_paused(&mut self, rate: Rate, before: u64, len: u64, paused: bool) {
        let frame = rate.frame_bytes() as u64;
        let frames = (before + len) / frame - before / frame;
        let counted = if paused { frames } else { frames.min(u64::from(self.tainted)) };
        self.tainted &= frames == 0;
        self.paused_samples += counted * rate.frame_samples() as u64;
    }

    /// A pause or a resumption: what began during a pause is paused to the end of its frame.
    fn turn(&mut self, paused: bool) {
        if !self.listening || self.paused == paused {
            return;
        }
        self.paused = paused;
        match self.rate {
            Some(rate) => {
                self.tainted = !paused && !self.bytes.is_multiple_of(rate.frame_bytes() as u64);
                self.turns.push_back(paused);
            }
            // There and back without a byte between is no turn.
            None => match self.early_turns.pop_if(|(at, _)| *at == self.bytes) {
                Some(_) => {}
                None => self.early_turns.push((self.bytes, paused)),
            },
        }
    }

    /// The rate is known: what came before can be counted.
    fn catch_up(&mut self, rate: Rate) {
        let (mut from, mut paused) = (0, false);
        for (at, turned) in std::mem::take(&mut self.early_turns) {
            self.count_paused(rate, from, at - from, paused);
            (from, paused) = (at, turned);
            self.tainted = !paused && !at.is_multiple_of(rate.frame_bytes() as u64);
            self.turns.push_back(turned);
        }
        self.count_paused(rate, from, self.bytes - from, paused);
        if self.over_at.is_some() {
            self.count_rest(rate);
        }
    }

    /// Counts the frame that stayed incomplete.
    fn count_rest(&mut self, rate: Rate) {
        if self.paused || self.tainted {
            self.paused_samples += self.bytes % rate.frame_bytes() as u64 / 2;
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply.kind {
            SegmentKind::Partial => {
                self.partial_awaited.take_if(|(id, _)| *id == reply.id.0);
                self.empty_partials += u64::from(reply.outcome.as_ref().is_ok_and(|t| t.text.0.is_empty()));
            }
            SegmentKind::Final => {
                if let Some(request) = self.requests.get_mut(&reply.id.0) {
                    if request.reply.is_none() && reply.overheard {
                        self.overheard.insert(reply.id.0);
                    }
                    request.reply.get_or_insert((self.now, reply.outcome.clone()));
                }
            }
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.listening) {
            self.over_at = Some(self.now);
            self.rate.into_iter().for_each(|rate| self.count_rest(rate));
        }
    }

    // --- outputs ------------------------------------------------------------

    /// To be shown everything the leg gives out, idleness apart.
    pub(crate) fn output(&mut self, output: &Output) {
        assert!(!self.ended, "after its end the leg gave out {output:?}");
        match output {
            Output::Transcribe(segment) => self.transcribe(segment),
            Output::Emit(event) => self.event(event),
            Output::Send(frame) => self.frame(frame.len()),
            Output::SendText(text) => self.sent_text(text),
            Output::PlayRefused { playback, .. } => {
                let taken = self.playbacks.pop().expect("refused without having been asked");
                assert_eq!(taken, **playback, "refused");
            }
            Output::Ping => assert!(self.listening, "pinged a peer that is gone"),
            Output::Fault(_) => {}
            Output::Close(close) => {
                assert!(self.listening, "closed a socket that was closed before: {close:?}");
                assert_eq!(*close == Close::Drain, self.draining, "{close:?}");
                assert_eq!(*close == Close::Asked, self.asked_to_close, "{close:?}");
                self.over();
            }
            Output::Ended => {
                assert!(self.closing.is_some(), "the leg ended without a leg.ended");
                self.ended = true;
            }
            Output::Idle { .. } => unreachable!("idleness is not shown to the audit"),
        }
        assert!(!(self.draining && self.listening), "drained, and the socket stays open: {output:?}");
    }

    /// To be shown how long the leg wants to be left alone.
    pub(crate) fn idle(&self, until: Option<Moment>) {
        if self.ended {
            assert_eq!(until, None, "the leg is over and wants to be woken");
            return;
        }
        let until = until.expect("a leg that is not over always has something to wait for");
        if self.listening {
            let given_up = self.heard_at + self.config.idle_timeout;
            assert!(until <= given_up, "would sleep until {until:?}, past the idle timeout at {given_up:?}");
        }
        if self.open.is_some() {
            let gap_at = self.audio_at + self.config.gap_timeout;
            assert!(until <= gap_at, "would sleep until {until:?} within speech, though a gap begins at {gap_at:?}");
        }
    }

    // --- what is played to it -------------------------------------------------

    fn frame(&mut self, bytes: usize) {
        assert_eq!(Some(bytes), self.rate.map(Rate::frame_bytes), "a frame that is none");
        assert!(self.listening && !self.playbacks.is_empty(), "a frame of nothing, or to nobody");
        assert!(self.held_until.is_none_or(|until| until <= self.now), "sent after a clear");
        self.played_at = self.played_at.max(self.now) + Duration::from_millis(FRAME_MS);
        let lead = self.played_at.since(self.now);
        assert!(lead <= self.config.speaking.lead, "{lead:?} ahead");
    }

    fn sent_text(&mut self, text: &str) {
        assert!(self.listening && !self.playbacks.is_empty(), "to nobody, or about nothing: {text}");
        if text == wire::CLEAR {
            self.played_at = self.now;
            self.held_until = Some(self.now + self.config.speaking.clear_timeout);
        } else {
            assert!(text.starts_with(r#"{"action":"notify","payload":{"mark":""#), "{text}");
        }
    }

    fn playback_ended(&mut self, ended: &PlaybackEnded) {
        assert!(ended.played_ms <= ended.length_ms, "{ended:?}");
        assert!(!self.playbacks.is_empty() && self.playbacks.remove(0) == ended.playback, "{ended:?}");
    }

    fn base_ms(&self) -> u64 {
        self.audio_started.unwrap_or(self.opened_at).since(self.epoch).as_millis() as u64
    }

    fn transcribe(&mut self, segment: &Segment) {
        let (id, frames) = (segment.id.0, (segment.samples.len() / FRAME_SAMPLES) as u64);
        assert!(self.rate.is_some() && self.closing.is_none(), "a segment before leg.started or after leg.ended");
        assert!(!segment.samples.is_empty(), "segment {id} is empty");
        assert_eq!(segment.samples.len() % FRAME_SAMPLES, 0, "segment {id} is not made of whole frames");
        let longest = longest_segment(&self.config.endpointing);
        assert!(frames <= longest, "segment {id} has {frames} frames, more than {longest}");
        let start_ms = self.base_ms() + segment.start.ms();
        match segment.kind {
            SegmentKind::Partial => {
                assert!(self.open.is_some_and(|open| id >= open), "partial of segment {id}, open is {:?}", self.open);
                self.partials_asked += 1;
                if let Some((_, asked_at)) = self.partial_awaited.replace((id, self.now)) {
                    let given_up = asked_at + self.config.reply_timeout;
                    assert!(self.now >= given_up, "a second partial was asked for while one is awaited");
                }
            }
            SegmentKind::Final => {
                match self.open {
                    // Cut: what follows is the next segment, and open.
                    Some(open) => {
                        assert!(id >= open, "segment {id} was cut while {open} is open");
                        (self.open, self.segments) = (Some(id + 1), id + 1);
                    }
                    None => assert_eq!(id, self.segments, "what closed is not the newest segment"),
                }
                let room = self.config.pending_max.max(1);
                assert!(self.unanswered() < room, "more than {room} segments await an answer");
                let end_ms = start_ms + frames * FRAME_MS;
                let again = self.requests.insert(id, Request { at: self.now, start_ms, end_ms, reply: None });
                assert!(again.is_none(), "segment {id} was given out twice");
                self.requested += 1;
            }
        }
    }

    fn event(&mut self, event: &Event) {
        assert!(self.closing.is_none(), "after leg.ended the leg wrote {event:?}");
        match event.lane() {
            Lane::Durable => (self.seq, self.sub) = (self.seq + 1, 0),
            Lane::Ephemeral => self.sub += 1,
        }
        assert_eq!((event.seq, event.sub), (self.seq, self.sub), "numbering of {event:?}");
        assert_eq!(event.origin.conversation, self.conversation);
        assert!(self.ids.insert(event.id()), "the id {} was used before", event.id());
        assert_eq!(event.time, self.connected_at + self.now.since(self.opened_at), "time of {event:?}");
        assert!(event.time >= self.last_time, "time ran backwards before {event:?}");
        self.last_time = event.time;
        let is_start = matches!(event.body, Body::LegStarted(_));
        assert_eq!(is_start, self.seq == 1 && self.sub == 0, "leg.started comes first and once, not {event:?}");

        let base = self.base_ms();
        match &event.body {
            Body::LegStarted(started) => {
                self.rate = Rate::from_hz(started.rate_hz);
                self.audio_at = self.now;
                assert!(self.rate.is_some(), "{} Hz", started.rate_hz);
                assert_eq!(started.at_ms, self.opened_at.since(self.epoch).as_millis() as u64);
                self.rate.into_iter().for_each(|rate| self.catch_up(rate));
                if started.hello == Hello::Assumed {
                    assert_eq!(self.rate, Some(self.config.assumed_rate));
                }
            }
            Body::SpeechStarted(speech) => {
                assert_eq!((self.open, speech.segment), (None, self.segments + 1), "speech.started");
                assert!(speech.start_ms >= base, "speech before the audio: {speech:?}");
                self.segments += 1;
                self.open = Some(self.segments);
                self.say(speech.segment, speech.start_ms, speech.start_ms);
            }
            Body::SpeechEnded(speech) => {
                // Higher than what was open where cut segments were dropped as overload.
                assert!(self.open.take().is_some_and(|open| speech.segment >= open), "{speech:?}");
                assert!(base <= speech.start_ms && speech.start_ms <= speech.end_ms, "{speech:?}");
                self.segments = speech.segment;
                self.say(speech.segment, speech.start_ms, speech.end_ms);
            }
            Body::TranscriptPartial(partial) => {
                assert!(self.open.is_some_and(|open| partial.segment >= open), "{partial:?}, open is {:?}", self.open);
                assert!(base <= partial.start_ms && partial.start_ms <= partial.end_ms, "{partial:?}");
                assert!(!partial.text.is_empty());
                // Its end may be in the next segment by now: a cut falls on what was heard before.
                self.say(partial.segment, partial.start_ms, partial.start_ms);
                self.partials += 1;
            }
            Body::TranscriptFinal(done) => self.transcript(done),
            Body::TranscriptDropped(dropped) => self.dropped(dropped),
            Body::TranscriptShadow(shadow) => {
                assert!(shadow.segment <= self.terminals, "{shadow:?} comes before its segment");
                assert!(self.overheard.remove(&shadow.segment), "{shadow:?} is the second, or of no answer");
                assert!(self.shadows[&shadow.segment].contains(&shadow.text), "{shadow:?} was not heard");
            }
            Body::CapturePaused(_) => {
                assert_eq!((self.turns.pop_front(), self.open), (Some(true), None), "capture.paused");
            }
            Body::CaptureResumed(_) => {
                assert_eq!((self.turns.pop_front(), self.open), (Some(false), None), "capture.resumed");
            }
            Body::Dtmf(_) => {
                assert!(self.listening && !self.paused, "a key was heard by a leg that does not listen");
                self.keys += 1;
            }
            Body::PlaybackEnded(ended) => self.playback_ended(ended),
            Body::LegEnded(ended) => self.leg_ended(ended),
            other => panic!("a leg does not author {}", other.kind()),
        }
    }

    /// Notes what an ephemeral event said of a segment.
    fn say(&mut self, segment: u64, start_ms: u64, end_ms: u64) {
        let said = self.said.entry(segment).or_insert((start_ms, end_ms));
        assert_eq!(said.0, start_ms, "segment {segment} has two starts");
        said.1 = said.1.max(end_ms);
    }

    /// Takes a terminal event's segment off the list of those awaited.
    fn terminal(&mut self, segment: u64, start_ms: u64, end_ms: u64, booked: &str) -> Option<Request> {
        assert_eq!(segment, self.terminals + 1, "terminal events come once each, in speech order");
        assert!(start_ms >= self.terminal_end_ms, "segment {segment} begins before the one before it has ended");
        assert!(self.base_ms() <= start_ms && start_ms < end_ms, "segment {segment}: {start_ms} to {end_ms} ms");
        (self.terminals, self.terminal_end_ms) = (segment, end_ms);
        if let Some((said_start, said_end)) = self.said.remove(&segment) {
            let agreed = said_start == start_ms && said_end <= end_ms;
            assert!(agreed, "segment {segment} is {start_ms} to {end_ms} ms, was said {said_start} to {said_end}");
        }
        let rate = self.rate.expect("leg.started came before");
        let samples = (end_ms - start_ms) * u64::from(rate.hz()) / 1000;
        if let Some((place, samples)) = self.last_booked.replace((booked.to_owned(), samples)) {
            *self.booked.entry(place).or_default() += samples;
        }
        let request = self.requests.remove(&segment);
        if let Some(request) = &request {
            assert_eq!((start_ms, end_ms), (request.start_ms, request.end_ms), "segment {segment} moved");
        } else if let Some(open) = self.open.as_mut().filter(|open| **open <= segment) {
            // Cut, and dropped for want of room: nothing else told of the cut.
            *open = segment + 1;
            self.segments = segment + 1;
        }
        request
    }

    fn transcript(&mut self, done: &TranscriptFinal) {
        if let Some(sentiment) = &done.sentiment {
            let ms = done.end_ms - done.start_ms;
            self.scored.0 += ms;
            self.scored.1 += ms as f64 * f64::from(sentiment.compound);
        }
        let request = self.terminal(done.segment, done.start_ms, done.end_ms, "transcribed");
        let reply = request.expect("text of a segment that nobody was asked for").reply;
        let (_, outcome) = reply.expect("text of a segment that nobody answered");
        assert_eq!(outcome.unwrap().text.0.trim(), done.text, "segment {}", done.segment);
        assert!(!done.text.trim().is_empty());
        for word in &done.words {
            let inside = done.start_ms <= word.start_ms && word.start_ms <= word.end_ms && word.end_ms <= done.end_ms;
            assert!(inside, "{word:?} is not within {} to {} ms", done.start_ms, done.end_ms);
        }
        assert!((-100.0..=0.1).contains(&done.level_dbfs), "{} dBFS", done.level_dbfs);
        let timing = &done.timing;
        assert!(timing.endpoint_ms <= timing.total_ms + 0.1, "{timing:?}");
        self.finals += 1;
        self.words += done.text.split_whitespace().count() as u64;
    }

    fn dropped(&mut self, dropped: &TranscriptDropped) {
        let reason = DropReason::ALL.into_iter().find(|reason| reason.as_str() == dropped.reason).unwrap();
        let request = self.terminal(dropped.segment, dropped.start_ms, dropped.end_ms, reason.as_str());
        let Some(Request { at, reply, .. }) = request else {
            assert_eq!(reason, DropReason::Overload, "segment {} was never given out", dropped.segment);
            return self.losses += 1;
        };
        let answered_at = reply.as_ref().map_or(self.now, |(at, _)| *at);
        match reason {
            DropReason::Timeout => {
                assert!(answered_at >= at + self.config.reply_timeout, "timed out before its time: {dropped:?}");
            }
            DropReason::TailTimeout => {
                let over_at = self.over_at.expect("a tail before the end");
                assert!(answered_at >= over_at + self.config.tail_timeout, "given up before its time: {dropped:?}");
            }
            _ => match reply.expect("dropped, and nobody said why").1 {
                Ok(transcript) => {
                    assert!(transcript.text.0.trim().is_empty(), "text was thrown away: {dropped:?}");
                    assert_eq!(reason, DropReason::NoSpeech);
                }
                Err(fault) => assert_eq!(reason, fault.drop_reason()),
            },
        }
        self.losses += u64::from(reason.is_loss());
    }

    // --- the closing account ------------------------------------------------

    fn leg_ended(&mut self, ended: &LegEnded) {
        assert!(!self.listening, "leg.ended while the leg listens");
        assert!(self.playbacks.is_empty(), "without an outcome: {:?}", self.playbacks);
        assert_eq!(self.open, None, "leg.ended within speech");
        assert!(self.requests.is_empty(), "leg.ended before the segments {:?}", self.requests.keys());
        assert_eq!(self.terminals, self.segments, "segments opened, and terminal events");

        let rate = self.rate.expect("leg.started came before");
        let ledger = &ended.ledger;
        let dropped: u64 = ledger.dropped.values().sum();
        assert_eq!(ledger.rate_hz, rate.hz());
        assert_eq!(ledger.received, self.bytes / 2, "samples received");
        assert_eq!(
            ledger.received,
            ledger.transcribed + ledger.silent + ledger.paused + dropped,
            "the ledger does not balance: {ledger:?}"
        );
        let refused = ledger.dropped.contains_key(DropReason::UnsupportedFormat.as_str());
        assert!(!refused || (self.segments == 0 && dropped == ledger.received), "{ledger:?}");
        let paused = if refused { 0 } else { self.paused_samples };
        assert_eq!(ledger.paused, paused, "samples received while paused");
        if !refused {
            self.check_places(ended, rate);
        }
        assert_eq!(ended.complete, self.losses == 0 && !refused, "complete, with {} losses", self.losses);

        let trend = ended.sentiment.as_ref();
        assert_eq!(trend.map_or(0, |trend| trend.scored_ms), self.scored.0, "speech with a score: {trend:?}");
        if let Some(trend) = trend {
            let parts: u64 = trend.quarters.iter().map(|quarter| quarter.scored_ms).sum();
            assert!(trend.quarters.len() == 4 && parts.abs_diff(self.scored.0) <= 4, "{trend:?}");
            let mean = self.scored.1 / self.scored.0 as f64;
            assert!((f64::from(trend.compound) - mean).abs() < 2e-3, "{trend:?}, expected {mean}");
        }

        let about = &ended.characteristics;
        assert_eq!(
            (about.segments, about.finals, about.dropped, about.words, about.dtmf),
            (self.segments, self.finals, self.terminals - self.finals, self.words, self.keys)
        );
        let delivered = self.partials + about.partials_shed;
        assert!(delivered <= self.partials_asked, "{delivered} of {} partials", self.partials_asked);
        assert!(self.partials_asked - delivered <= self.empty_partials, "partials shed and not counted: {about:?}");
        assert_eq!(about.audio_ms, rate.ms(ledger.received));
        assert!(about.speech_ms <= about.audio_ms + FRAME_MS, "more speech than audio: {about:?}");

        if refused {
            assert_eq!(ended.end_ms, self.base_ms());
        } else {
            let frames = ledger.received.div_ceil(rate.frame_samples() as u64);
            let end_ms = self.base_ms() + frames * FRAME_MS + about.gap_ms;
            // At 8 and 24 kHz the filter's last frame may be put out at the end.
            let flushed = rate != Rate::Hz16000 && ended.end_ms == end_ms + FRAME_MS;
            assert!(ended.end_ms == end_ms || flushed, "ended at {} ms, not {end_ms}", ended.end_ms);
        }
        assert!(self.terminal_end_ms <= ended.end_ms || self.segments == 0, "speech after the end of the audio");
        self.closing = Some(ended.clone());
    }

    /// Each place in the ledger has what the terminal events put there. Of the very last
    /// segment, two frames at most were not received: the silence that fills its last
    /// frame, and what the resampler still held.
    fn check_places(&mut self, ended: &LegEnded, rate: Rate) {
        let mut expected = std::mem::take(&mut self.booked);
        let mut slack = None;
        if let Some((place, samples)) = self.last_booked.take() {
            *expected.entry(place.clone()).or_default() += samples;
            slack = Some(place);
        }
        let mut got = ended.ledger.dropped.clone();
        got.insert("transcribed".to_owned(), ended.ledger.transcribed);
        for reason in DropReason::ALL.map(DropReason::as_str).into_iter().chain(["transcribed"]) {
            let expected = expected.get(reason).copied().unwrap_or_default();
            let got = got.get(reason).copied().unwrap_or_default();
            let most = if slack.as_deref() == Some(reason) { rate.frame_samples() as u64 * 2 } else { 1 };
            assert!(got <= expected && expected - got < most, "{reason}: {got} samples for segments of {expected}");
        }
    }
}
