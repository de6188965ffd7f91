//! Bugs that were found here, each kept as a short leg that shows it.

use std::time::Duration;

use serde_json::Map;
use sidetone::call::{CallConfig, Endpointing, Input, Output, wire};
use sidetone::event::Body;
use sidetone::event::body::{LegEnded, TranscriptFinal, TranscriptPartial};
use sidetone::types::{Moment, PeerFault, Private, Rate, Reply, SegmentId, SegmentKind, Transcript, Word};

use crate::leg::Leg;
use crate::sound::{Level, Voice};

/// A leg at 16 kHz that has said hello, and its outputs so far.
struct Told {
    leg: Leg,
    voice: Voice,
    outputs: Vec<Output>,
}

impl Told {
    fn new(config: CallConfig) -> Self {
        let mut leg = Leg::new(config, 0);
        let outputs = leg.give(leg.now(), Input::Text(&wire::connected(Rate::Hz16000, &Map::new())));
        Self { leg, voice: Voice::new(Rate::Hz16000), outputs }
    }

    fn give(&mut self, input: Input<'_>) {
        self.outputs.extend(self.leg.give(self.leg.now(), input));
    }

    fn pass(&mut self, ms: u64) {
        let passed = self.leg.pass(self.leg.now() + Duration::from_millis(ms));
        self.outputs.extend(passed.into_iter().map(|(_, output)| output));
    }

    /// Sound in real time, frame by frame.
    fn hears(&mut self, level: Level, ms: u64) {
        for frame in self.voice.bytes(level, ms).chunks(640) {
            self.give(Input::Audio(frame));
            self.pass(20);
        }
    }

    fn told(&mut self, id: u64, kind: SegmentKind, text: &str) {
        let transcript = Transcript { text: Private(text.to_owned()), ..Transcript::default() };
        self.replies(id, kind, transcript);
    }

    fn replies(&mut self, id: u64, kind: SegmentKind, transcript: Transcript) {
        self.give(Input::Reply(Reply {
            id: SegmentId(id),
            kind,
            outcome: Ok(transcript),
            entities: Vec::new(),
            sentiment: None,
            asr: "test",
            scorer: None,
            overheard: false,
            queued: Duration::ZERO,
            decoded: Duration::ZERO,
        }));
    }

    fn ends(&mut self) -> LegEnded {
        self.outputs.extend(self.leg.end());
        self.leg.audit.closing().unwrap().clone()
    }

    /// Numbers of the segments given out for a final text.
    fn asked(&self) -> Vec<u64> {
        let finals = self.outputs.iter().filter_map(|output| match output {
            Output::Transcribe(segment) if segment.kind == SegmentKind::Final => Some(segment.id.0),
            _ => None,
        });
        finals.collect()
    }

    fn partials_asked(&self) -> usize {
        let partial = |output: &&Output| matches!(output, Output::Transcribe(s) if s.kind == SegmentKind::Partial);
        self.outputs.iter().filter(partial).count()
    }

    fn partials(&self) -> Vec<&TranscriptPartial> {
        let partials = self.outputs.iter().filter_map(|output| match output {
            Output::Emit(event) => match &event.body {
                Body::TranscriptPartial(partial) => Some(partial),
                _ => None,
            },
            _ => None,
        });
        partials.collect()
    }

    fn finals(&self) -> Vec<&TranscriptFinal> {
        let finals = self.outputs.iter().filter_map(|output| match output {
            Output::Emit(event) => match &event.body {
                Body::TranscriptFinal(done) => Some(done),
                _ => None,
            },
            _ => None,
        });
        finals.collect()
    }
}

/// Speech opens with its first frame and is cut when it is five frames long.
fn five_frames() -> CallConfig {
    let endpointing = Endpointing {
        min_speech_ms: 20,
        hangover_ms: 200,
        pre_roll_ms: 0,
        long_segment_ms: 100,
        long_hangover_ms: 200,
        max_segment_ms: 100,
        ..Endpointing::default()
    };
    CallConfig { endpointing, partial_interval_ms: 0, ..CallConfig::default() }
}

#[test]
fn a_cut_leaves_no_empty_segment_for_a_hang_up_to_close() {
    let mut told = Told::new(five_frames());
    // The quietest frame, where the cut falls, is the newest one.
    told.hears(Level::Speech, 80);
    told.hears(Level::Silence, 20);
    told.ends();
    // The audit refuses empty segments; both halves must be there.
    assert_eq!(told.asked(), [1, 2]);
}

#[test]
fn a_cut_within_the_very_last_frame_books_each_sample_where_it_belongs() {
    let mut told = Told::new(five_frames());
    told.hears(Level::Speech, 40);
    told.hears(Level::Silence, 20);
    // The fifth frame, which asks for the cut, is half a frame.
    told.hears(Level::Speech, 30);
    told.give(Input::Closed(None));
    told.told(1, SegmentKind::Final, "one");
    let ledger = told.ends().ledger;
    assert_eq!(told.asked(), [1, 2]);
    let sent = 3 * 320;
    assert_eq!((ledger.transcribed, ledger.dropped["tail_timeout"]), (sent, 1440 - sent));
}

#[test]
fn a_connection_lost_for_its_format_before_the_first_message_is_still_a_whole_leg() {
    let mut leg = Leg::new(CallConfig::default(), 0);
    leg.give(leg.now(), Input::Audio(&[0; 640]));
    leg.give(leg.now(), Input::Closed(Some(PeerFault::UnsupportedFormat)));
    assert!(leg.audit.ended());
    assert_eq!(leg.audit.closing().unwrap().ledger.silent, 320);
}

#[test]
fn a_clock_set_back_is_taken_as_no_time_passed() {
    let mut told = Told::new(CallConfig::default());
    told.hears(Level::Speech, 2000);
    let earlier = Moment(told.leg.now().0 - 1_500_000);
    let frame = told.voice.bytes(Level::Speech, 20);
    told.outputs.extend(told.leg.give(earlier, Input::Audio(&frame)));
    // The audit refuses events whose time runs back.
    told.outputs.extend(told.leg.give(earlier, Input::Text(r#"{"event":"websocket:dtmf","digit":1}"#)));
    told.hears(Level::Speech, 100);
    // When the clock is right again, that was no gap.
    assert_eq!(told.asked(), [] as [u64; 0]);
    assert_eq!(told.ends().characteristics.segments, 1);
}

#[test]
fn an_empty_message_is_no_audio() {
    let mut told = Told::new(CallConfig::default());
    told.give(Input::Audio(&[]));
    told.pass(700);
    told.hears(Level::Speech, 400);
    for _ in 0..30 {
        told.pass(50);
        told.give(Input::Audio(&[]));
    }
    assert_eq!(told.asked(), [1], "speech goes on although nothing was heard for longer than the gap timeout");
    told.told(1, SegmentKind::Final, "late");
    assert_eq!(told.finals()[0].start_ms, 700, "the audio began with its first byte");
}

#[test]
fn partials_that_the_end_of_speech_overtook_are_counted_as_shed() {
    let mut told = Told::new(CallConfig { partial_interval_ms: 200, ..CallConfig::default() });
    told.hears(Level::Speech, 600);
    assert_eq!(told.partials_asked(), 1);
    assert_eq!(told.ends().characteristics.partials_shed, 1);
}

#[test]
fn a_partial_that_is_never_answered_does_not_end_partials_for_the_leg() {
    let reply_timeout = Duration::from_secs(1);
    let mut told = Told::new(CallConfig { partial_interval_ms: 200, reply_timeout, ..CallConfig::default() });
    told.hears(Level::Speech, 600);
    told.hears(Level::Silence, 600);
    told.hears(Level::Speech, 600);
    assert_eq!(told.partials_asked(), 2);
    told.told(2, SegmentKind::Partial, "again");
    assert_eq!(told.partials().len(), 1);
    assert_eq!(told.ends().characteristics.partials_shed, 1);
}

#[test]
fn a_stray_partial_of_another_segment_is_not_given_the_times_of_this_one() {
    let mut told = Told::new(CallConfig { partial_interval_ms: 600, ..CallConfig::default() });
    told.hears(Level::Speech, 1000);
    told.hears(Level::Silence, 600);
    told.hears(Level::Speech, 120);
    assert_eq!(told.partials_asked(), 1);
    // Nobody asked for one of segment 2 yet.
    told.told(2, SegmentKind::Partial, "stray");
    assert_eq!(told.partials(), [] as [&TranscriptPartial; 0]);
    told.ends();
}

#[test]
fn answers_that_wait_for_an_earlier_one_take_no_room() {
    let mut told = Told::new(CallConfig { pending_max: 2, ..CallConfig::default() });
    for id in 1..=4 {
        told.hears(Level::Speech, 200);
        told.hears(Level::Silence, 600);
        if id > 1 {
            told.told(id, SegmentKind::Final, "answered at once");
        }
    }
    assert_eq!(told.asked(), [1, 2, 3, 4], "dropped for overload with one segment unanswered");
    told.told(1, SegmentKind::Final, "at last");
    assert_eq!(told.finals().len(), 4);
    told.ends();
}

#[test]
fn words_stay_within_their_segment_whatever_a_transcriber_says() {
    let mut told = Told::new(CallConfig::default());
    told.hears(Level::Speech, 400);
    told.hears(Level::Silence, 600);
    let word = |start_ms, end_ms| Word { text: Private("word".into()), start_ms, end_ms, confidence: None };
    let words = vec![word(10, 90), word(500, 100), word(900, 99_999), word(u64::MAX, u64::MAX)];
    let transcript = Transcript { text: Private("four odd words here".into()), words, ..Transcript::default() };
    told.replies(1, SegmentKind::Final, transcript);
    let done = told.finals()[0];
    let times: Vec<_> = done.words.iter().map(|w| (w.start_ms - done.start_ms, w.end_ms - done.start_ms)).collect();
    let length = done.end_ms - done.start_ms;
    assert_eq!(times, [(10, 90), (500, 500), (900.min(length), length), (length, length)]);
    told.ends();
}
