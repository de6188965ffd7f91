//! What must hold whatever comes in.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use sidetone::audio::pcm::Framer;
use sidetone::call::{CallConfig, Endpointing, Input, Output, Playback, Speaking, wire};
use sidetone::event::Body;
use sidetone::types::{
    Disagreement, Fault, Moment, PeerFault, Private, Rate, Reply, Segment, SegmentId, SegmentKind, Sentiment,
    SentimentLabel, Shadow, Transcript, Word,
};
use sidetone::vad;

use crate::leg::{EPOCH, Leg};
use crate::sound::{Level, Voice, loudness, speech_like};

/// So many cases as a debug build on a slow machine gets through in seconds; more, or
/// fewer, where `PROPTEST_CASES` says so.
fn cases(cases: u32) -> ProptestConfig {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/properties.regressions");
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(kept)) as Box<_>);
    let default = ProptestConfig { failure_persistence, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

// --- arbitrary legs ---------------------------------------------------------

/// One thing that happens to a leg.
#[derive(Debug, Clone)]
enum Step {
    Hello {
        content_type: Option<String>,
    },
    Text(String),
    Key(u8),
    /// Sound in messages of `cut` bytes, at its own pace or all at once.
    Sound {
        level: Level,
        ms: u64,
        cut: usize,
        at_once: bool,
    },
    Bytes(Vec<u8>),
    /// More silence at once than anyone could have spoken.
    Flood {
        seconds: u64,
    },
    /// More keys than anyone has fingers for.
    Drumming {
        keys: u64,
    },
    Reply {
        to: To,
        outcome: Result<Transcript, Fault>,
    },
    /// What a second transcriber heard in a segment asked for before, counted as in [`To`].
    Shadow(To),
    Pause,
    Resume,
    Close,
    Play {
        id: u8,
        ms: u64,
        barge_in: bool,
    },
    StopPlayback,
    /// The platform's word on a mark.
    Echo(u64),
    Alive,
    Timeout,
    Drain,
    Closed(Option<PeerFault>),
    /// It turns out to belong to a conversation that began this long before.
    Join(u64),
    /// And that one is paused.
    StartPaused,
    /// Time passes, and the leg is woken when it asked to be.
    Pass(u64),
    /// Time passes, and nobody wakes the leg.
    Oversleep(u64),
    /// The clock is set back.
    Back(u64),
}

/// Whom a reply answers.
#[derive(Debug, Clone)]
enum To {
    /// A request made before, counted from the newest; answered before, perhaps.
    Asked(usize),
    /// Perhaps nobody.
    Anybody(u64, SegmentKind),
}

fn content_type() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        6 => prop_oneof![Just(8000), Just(16_000), Just(24_000)].prop_map(|hz| Some(format!("audio/l16;rate={hz}"))),
        1 => prop_oneof![Just("audio/l16;rate=44100"), Just("audio/pcmu"), Just("")].prop_map(|text| Some(text.into())),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"event":"websocket:cleared"}"#.to_owned()),
        Just(r#"{"event":"websocket:notify","payload":{"a":[1]}}"#.to_owned()),
        Just(r#"{"event":"websocket:dtmf"}"#.to_owned()),
        Just(r#"{"event":"websocket:connected","headers":{"role":"agent","event":"x"},"content-type":7}"#.to_owned()),
        ".{0,30}",
        r#"\{"event":"[a-z:]{0,12}"\}"#,
    ]
}

fn outcome() -> impl Strategy<Value = Result<Transcript, Fault>> {
    let any_ms = prop_oneof![4 => 0..3000_u64, 1 => any::<u64>()];
    let word = (any_ms.clone(), any_ms, any::<Option<f32>>()).prop_map(|(start_ms, end_ms, confidence)| Word {
        text: Private("hello".into()),
        start_ms,
        end_ms,
        confidence,
    });
    prop_oneof![
        6 => ("[a-z ]{0,12}", vec(word, 0..3), any::<Option<f32>>()).prop_map(|(text, words, confidence)| {
            Ok(Transcript { text: Private(text), words, confidence, language: "en" })
        }),
        1 => prop_oneof![
            Just(Fault::Overload),
            Just(Fault::Shutdown),
            Just(Fault::Crashed),
            Just(Fault::Backend("no".into())),
            Just(Fault::Looped),
        ].prop_map(Err),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let level = prop_oneof![3 => Just(Level::Speech), 1 => Just(Level::Doubt), 2 => Just(Level::Silence)];
    let cut = prop_oneof![2 => Just(640_usize), 1 => Just(320), 1 => Just(960), 2 => 1..5000_usize];
    let kind = prop_oneof![Just(SegmentKind::Final), Just(SegmentKind::Partial)];
    let to = prop_oneof![
        6 => (0..6_usize).prop_map(To::Asked),
        1 => (prop_oneof![0..8_u64, any::<u64>()], kind).prop_map(|(id, kind)| To::Anybody(id, kind)),
    ];
    let shadowed = to.clone();
    let span = || prop_oneof![3 => 0..200_u64, 2 => 0..3000_u64, 1 => 0..100_000_u64];
    let fault = prop::option::of(prop::sample::select(&PeerFault::ALL[..]));
    prop_oneof![
        4 => content_type().prop_map(|content_type| Step::Hello { content_type }),
        2 => text().prop_map(Step::Text),
        2 => (0..10_u8).prop_map(Step::Key),
        30 => (level, 0..1200_u64, cut, any::<bool>())
            .prop_map(|(level, ms, cut, at_once)| Step::Sound { level, ms, cut, at_once }),
        4 => vec(any::<u8>(), 0..2000).prop_map(Step::Bytes),
        16 => (to, outcome()).prop_map(|(to, outcome)| Step::Reply { to, outcome }),
        8 => shadowed.prop_map(Step::Shadow),
        2 => Just(Step::Pause),
        3 => Just(Step::Resume),
        1 => Just(Step::Close),
        6 => (any::<u8>(), 1..2_000_u64, any::<bool>()).prop_map(|(id, ms, barge_in)| Step::Play { id, ms, barge_in }),
        1 => Just(Step::StopPlayback),
        3 => (0..6_u64).prop_map(Step::Echo),
        2 => Just(Step::Alive),
        3 => Just(Step::Timeout),
        1 => Just(Step::Drain),
        1 => fault.prop_map(Step::Closed),
        1 => (0..1000_u64).prop_map(Step::Join),
        1 => Just(Step::StartPaused),
        8 => span().prop_map(Step::Pass),
        3 => span().prop_map(Step::Oversleep),
        2 => span().prop_map(Step::Back),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Most legs say hello first, as they should; some never do.
    let hello = prop_oneof![
        3 => content_type().prop_map(|content_type| vec![Step::Hello { content_type }]),
        1 => Just(Vec::new()),
    ];
    let flood = prop_oneof![
        19 => Just(Vec::new()),
        1 => (1..70_u64).prop_map(|seconds| vec![Step::Flood { seconds }]),
        1 => (1..1000_u64).prop_map(|keys| vec![Step::Drumming { keys }]),
    ];
    (hello, vec(step(), 0..25), flood, vec(step(), 0..15))
        .prop_map(|(hello, first, flood, rest)| [hello, first, flood, rest].concat())
}

fn endpointing() -> impl Strategy<Value = Endpointing> {
    let ms = |max: u64| 0..max;
    (ms(200), ms(300), ms(300), ms(700), ms(200), ms(1500)).prop_map(
        |(min_speech_ms, hangover_ms, pre_roll_ms, long_segment_ms, long_hangover_ms, max_segment_ms)| Endpointing {
            open_threshold: 0.5,
            close_threshold: 0.35,
            min_speech_ms,
            hangover_ms,
            pre_roll_ms,
            long_segment_ms,
            long_hangover_ms,
            max_segment_ms,
        },
    )
}

fn config() -> impl Strategy<Value = CallConfig> {
    let span = |max: u64| prop_oneof![1 => Just(0), 9 => 0..max].prop_map(Duration::from_millis);
    let odd = (
        endpointing(),
        prop_oneof![Just(0), 0..500_u64],
        span(2000),
        0..50_000_usize,
        prop::sample::select(&Rate::ALL[..]),
        span(4000),
        span(4000),
        span(2000),
        (span(20_000), span(60_000)),
        (0..4_usize, 0..4_u64),
    )
        .prop_map(
            |(
                endpointing,
                partial_interval_ms,
                hello_timeout,
                hello_bytes_max,
                assumed_rate,
                reply_timeout,
                tail_timeout,
                gap_timeout,
                (ping_after, idle_after),
                (pending_max, speed_max),
            )| {
                CallConfig {
                    endpointing,
                    speaking: Speaking::default(),
                    partial_interval_ms,
                    hello_timeout,
                    hello_bytes_max,
                    assumed_rate,
                    reply_timeout,
                    tail_timeout,
                    gap_timeout,
                    batch: Duration::from_millis(100),
                    ping_after,
                    idle_timeout: ping_after + idle_after,
                    pending_max,
                    speed_max,
                }
            },
        );
    let brisk = endpointing().prop_map(|endpointing| CallConfig { endpointing, ..CallConfig::default() });
    prop_oneof![1 => Just(CallConfig::default()), 3 => brisk, 2 => odd]
}

/// Runs a leg through `steps` and to its end; every output is audited on the way.
/// Gives all it put out, as text.
fn run(config: CallConfig, steps: &[Step]) -> Vec<String> {
    let mut driver = Driver { leg: Leg::new(config, 1234), now: EPOCH, asked: Vec::new(), log: Vec::new() };
    driver.now = driver.leg.now();
    for step in steps {
        driver.step(step);
    }
    let outputs = driver.leg.end();
    driver.note(outputs);
    // What comes after the end is nobody's business.
    for step in steps.iter().take(5) {
        driver.step(step);
    }
    driver.log
}

struct Driver {
    leg: Leg,
    now: Moment,
    asked: Vec<(SegmentId, SegmentKind)>,
    log: Vec<String>,
}

impl Driver {
    fn note(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            if let Output::Transcribe(segment) = &output {
                self.asked.push((segment.id, segment.kind));
            }
            self.log.push(match &output {
                Output::Emit(event) => String::from_utf8(event.to_structured()).unwrap(),
                other => format!("{other:?}"),
            });
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let outputs = self.leg.give(self.now, input);
        self.note(outputs);
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        let outputs = self.leg.pass(self.now);
        self.note(outputs.into_iter().map(|(_, output)| output).collect());
    }

    /// Whom it is to, if anybody.
    fn named(&self, to: &To) -> Option<(SegmentId, SegmentKind)> {
        match to {
            To::Asked(_) if self.asked.is_empty() => None,
            To::Asked(back) => Some(self.asked[self.asked.len() - 1 - back % self.asked.len()]),
            To::Anybody(id, kind) => Some((SegmentId(*id), *kind)),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Hello { content_type: None } => self.give(Input::Text(r#"{"event":"websocket:connected"}"#)),
            Step::Hello { content_type: Some(content_type) } => {
                let hello = serde_json::json!({"event": "websocket:connected", "content-type": content_type});
                self.give(Input::Text(&hello.to_string()));
            }
            Step::Text(text) => self.give(Input::Text(text)),
            Step::Key(digit) => self.give(Input::Text(&format!(r#"{{"event":"websocket:dtmf","digit":{digit}}}"#))),
            Step::Sound { level, ms, cut, at_once } => {
                let bytes = Voice::new(self.leg.rate()).bytes(*level, *ms);
                for message in bytes.chunks(*cut) {
                    if !at_once {
                        self.pass(self.leg.rate().ms(message.len() as u64 / 2));
                    }
                    self.give(Input::Audio(message));
                }
            }
            Step::Bytes(bytes) => self.give(Input::Audio(bytes)),
            Step::Flood { seconds } => {
                let bytes = vec![0; self.leg.rate().hz() as usize * 2 * *seconds as usize];
                self.give(Input::Audio(&bytes));
            }
            Step::Drumming { keys } => (0..*keys).for_each(|_| self.step(&Step::Key(0))),
            Step::Reply { to, outcome } => {
                let Some((id, kind)) = self.named(to) else { return };
                self.give(Input::Reply(reply(id, kind, outcome.clone())));
            }
            Step::Shadow(to) => {
                let Some((id, _)) = self.named(to) else { return self.give(Input::Timeout) };
                let (text, disagreement) = (Private("shadow".into()), Disagreement::default());
                let shadow = Shadow { id, text, confidence: None, asr: "second", first: "test", disagreement };
                self.give(Input::Shadow(shadow));
            }
            Step::Pause => self.give(Input::Pause { reason: "card" }),
            Step::Resume => self.give(Input::Resume { reason: "done" }),
            Step::Play { id, ms, barge_in } => {
                let rate = self.leg.rate();
                let samples = vec![100; (*ms as usize * rate.frame_samples()).div_ceil(20)];
                self.give(Input::Play(Playback::new(&id.to_string(), rate, &samples, *barge_in).unwrap()));
            }
            Step::StopPlayback => self.give(Input::StopPlayback),
            Step::Echo(n) => {
                self.give(Input::Text(&format!(r#"{{"event":"websocket:notify","payload":{{"n":{n}}}}}"#)));
            }
            Step::Close => self.give(Input::Close),
            Step::Alive => self.give(Input::Alive),
            Step::Timeout => self.give(Input::Timeout),
            Step::Drain => self.give(Input::Drain),
            Step::Closed(fault) => self.give(Input::Closed(*fault)),
            Step::StartPaused => self.leg.start_paused(),
            Step::Join(ms) => self.leg.join(*ms),
            Step::Pass(ms) => self.pass(*ms),
            Step::Oversleep(ms) => self.now = self.now + Duration::from_millis(*ms),
            Step::Back(ms) => self.now = Moment(self.now.0.saturating_sub(ms * 1000)),
        }
    }
}

fn reply(id: SegmentId, kind: SegmentKind, outcome: Result<Transcript, Fault>) -> Reply {
    // Two in three have a score, and it is the text's own.
    let compound = (id.0 % 3) as f32 * 0.7 - 0.7;
    let sentiment = Sentiment {
        label: SentimentLabel::from_compound(compound),
        compound,
        negative: 0.0,
        neutral: 1.0,
        positive: 0.0,
    };
    Reply {
        id,
        kind,
        outcome,
        entities: Vec::new(),
        sentiment: (id.0 % 3 != 1).then_some(Ok(sentiment)),
        asr: "test",
        scorer: None,
        overheard: id.0 % 4 != 3,
        queued: Duration::from_millis(1),
        decoded: Duration::from_millis(2),
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// The ledger balances, every segment has one terminal event, numbering has no gap:
    /// see `Audit` for the whole list.
    #[test]
    fn a_leg_keeps_its_promises_whatever_comes(config in config(), steps in steps()) {
        run(config, &steps);
    }
}

/// What is in a log but for what a second transcriber heard, and for numbers that move with it.
fn without_shadows(log: Vec<String>) -> Vec<String> {
    let unnumbered = |line: String| match serde_json::from_str::<serde_json::Value>(&line) {
        Ok(mut event) => {
            ["id", "seq", "sub"].iter().for_each(|name| drop(event.as_object_mut().unwrap().remove(*name)));
            event["data"].as_object_mut().unwrap().remove("seq");
            event.to_string()
        }
        Err(_) => line,
    };
    log.into_iter().filter(|line| !line.contains("transcript.shadow.v1")).map(unnumbered).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    /// Whatever a second transcriber hears, and whenever: nothing else of a leg changes.
    #[test]
    fn a_leg_is_the_same_without_its_shadow(config in config(), steps in steps()) {
        let alone: Vec<_> = steps.iter().cloned().map(|step| match step {
            // Any input makes the leg look at the time.
            Step::Shadow(_) => Step::Timeout,
            step => step,
        }).collect();
        prop_assert_eq!(without_shadows(run(config.clone(), &steps)), without_shadows(run(config, &alone)));
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_recorded_leg_replays_byte_for_byte(config in config(), steps in steps()) {
        prop_assert_eq!(run(config.clone(), &steps), run(config, &steps));
    }
}

// --- the same audio, cut differently -----------------------------------------

/// A deterministic transcriber: its text tells every sample of the segment.
fn transcribe(segment: &Segment) -> Reply {
    let hash = segment.samples.iter().fold(segment.start.0, |hash, &sample| {
        (hash ^ u64::from(sample as u16)).wrapping_mul(0x0100_0000_01b3).rotate_left(5)
    });
    let text = format!("{} samples {hash:x}", segment.samples.len());
    reply(segment.id, segment.kind, Ok(Transcript { text: Private(text), ..Transcript::default() }))
}

/// When the transcriber answers, in ways that do not depend on how audio is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answers {
    /// After the hang-up, last request first.
    AtTheEnd,
    /// Each time another this many bytes have come.
    Every(usize),
}

/// Hands `audio` in, cut into messages of `sizes` over and over, and the first text when
/// `hello_at` bytes have come; gives the leg's events without what depends on the clock of
/// arrival.
fn events(
    rate: Rate,
    vad: &vad::Factory,
    audio: &[u8],
    sizes: &[usize],
    hello_at: u64,
    answers: Answers,
) -> Vec<Value> {
    let partial_interval_ms = if answers == Answers::AtTheEnd { 0 } else { 400 };
    let endpointing = Endpointing { max_segment_ms: 1500, long_segment_ms: 1000, ..Endpointing::default() };
    let config = CallConfig { endpointing, partial_interval_ms, ..CallConfig::default() };
    let mut leg = Leg::with_vad(config, 0, Arc::clone(vad));
    let start = leg.now();
    let mut hello = Some(wire::connected(rate, &serde_json::Map::new()));
    let mut outputs = Vec::new();
    let mut asked = Vec::new();
    let lots = match answers {
        Answers::AtTheEnd => audio.chunks(audio.len()),
        Answers::Every(bytes) => audio.chunks(bytes),
    };
    let mut sizes = sizes.iter().cycle();
    let mut heard = 0;
    for mut lot in lots {
        while !lot.is_empty() {
            let (message, rest) = lot.split_at((*sizes.next().unwrap()).clamp(1, lot.len()));
            // Every byte arrives when it is spoken.
            let now = start + Duration::from_micros(heard * 500_000 / u64::from(rate.hz()));
            outputs.extend(leg.pass(now).into_iter().map(|(_, output)| output));
            if let Some(hello) = hello.take_if(|_| heard >= hello_at) {
                outputs.extend(leg.give(now, Input::Text(&hello)));
            }
            outputs.extend(leg.give(now, Input::Audio(message)));
            (lot, heard) = (rest, heard + message.len() as u64);
        }
        asked.extend(requests(&mut outputs));
        if answers != Answers::AtTheEnd {
            for segment in asked.drain(..) {
                outputs.extend(leg.give(leg.now(), Input::Reply(transcribe(&segment))));
            }
        }
    }
    outputs.extend(leg.give(leg.now(), Input::Closed(None)));
    asked.extend(requests(&mut outputs));
    for segment in asked.into_iter().rev() {
        outputs.extend(leg.give(leg.now(), Input::Reply(transcribe(&segment))));
    }
    outputs.extend(leg.end());
    outputs.iter().filter_map(timeless).collect()
}

fn requests(outputs: &mut Vec<Output>) -> Vec<Segment> {
    let taken = outputs.extract_if(.., |output| matches!(output, Output::Transcribe(_)));
    taken.filter_map(|output| if let Output::Transcribe(segment) = output { Some(segment) } else { None }).collect()
}

fn timeless(output: &Output) -> Option<Value> {
    let Output::Emit(event) = output else { return None };
    let mut event: Value = serde_json::from_slice(&event.to_structured()).unwrap();
    event.as_object_mut().unwrap().remove("time");
    event["data"].as_object_mut().unwrap().remove("timing");
    Some(event)
}

/// Detectors to try: the real ones, and the one that only measures.
static DETECTORS: LazyLock<Vec<vad::Factory>> = LazyLock::new(|| {
    assert!(vad::BACKENDS.len() >= 2);
    let real = vad::BACKENDS.iter().filter(|backend| backend.models(&toml::Table::new()).is_empty());
    let real = real.map(|backend| backend.build(&toml::Table::new(), &[]).unwrap());
    real.chain([loudness()]).collect()
});

static SPEECH: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| Rate::ALL.map(|rate| speech_like(rate, 7)).into());

/// What `events` gives for each rate and detector when the audio is cut into frames, and
/// when it comes in one piece.
type Reference = Vec<(Vec<Value>, Vec<Value>)>;

const LOT: usize = 9_001;

static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (rate, audio) in Rate::ALL.into_iter().zip(&*SPEECH) {
        for vad in &*DETECTORS {
            let frames = events(rate, vad, audio, &[rate.frame_bytes()], 0, Answers::AtTheEnd);
            let kinds = |kind: &str| frames.iter().filter(|event| event["type"] == kind).count();
            assert!(kinds("transcript.final.v1") >= 3 && kinds("speech.ended.v1") >= 2, "{frames:#?}");
            let lots = events(rate, vad, audio, &[LOT], 0, Answers::Every(LOT));
            assert!(lots.iter().any(|event| event["type"] == "transcript.partial.v1"), "{lots:#?}");
            all.push((frames, lots));
        }
    }
    all
});

proptest! {
    #![proptest_config(cases(36))]

    #[test]
    fn the_same_audio_gives_the_same_events_however_it_is_cut(
        rate in 0..3_usize,
        detector in 0..3_usize,
        sizes in prop_oneof![vec(1..5000_usize, 1..20), vec(1..40_usize, 1..20)],
        hello_at in prop_oneof![Just(0), 0..3000_u64],
        at_the_end in any::<bool>(),
    ) {
        let (whole, lots) = &REFERENCE[rate * DETECTORS.len() + detector];
        let (expected, answers) = if at_the_end { (whole, Answers::AtTheEnd) } else { (lots, Answers::Every(LOT)) };
        let got = events(Rate::ALL[rate], &DETECTORS[detector], &SPEECH[rate], &sizes, hello_at, answers);
        for (got, expected) in got.iter().zip(expected) {
            prop_assert_eq!(got, expected);
        }
        prop_assert_eq!(got.len(), expected.len());
    }

    #[test]
    fn no_segment_is_longer_than_its_bound_and_no_two_overlap(
        endpointing in endpointing(),
        rate in prop::sample::select(&Rate::ALL[..]),
        sounds in vec((any::<bool>(), 20..3000_u64), 1..8),
    ) {
        // The audit knows both rules; here is nothing but speech and pauses, to reach them.
        let config = CallConfig { endpointing: endpointing.clone(), partial_interval_ms: 200, ..CallConfig::default() };
        let mut leg = Leg::new(config, 0);
        let hello = wire::connected(rate, &serde_json::Map::new());
        let mut outputs = leg.give(leg.now(), Input::Text(&hello));
        let mut voice = Voice::new(rate);
        for (speech, ms) in sounds {
            let bytes = voice.bytes(if speech { Level::Speech } else { Level::Silence }, ms);
            for message in bytes.chunks(rate.frame_bytes()) {
                outputs.extend(leg.pass(leg.now() + Duration::from_millis(20)).into_iter().map(|(_, output)| output));
                outputs.extend(leg.give(leg.now(), Input::Audio(message)));
                for segment in requests(&mut outputs) {
                    let frames = segment.samples.len() as u64 / 320;
                    prop_assert!(frames <= crate::audit::longest_segment(&endpointing));
                    outputs.extend(leg.give(leg.now(), Input::Reply(transcribe(&segment))));
                }
            }
        }
        outputs.extend(leg.end());
        let spans = outputs.iter().filter_map(|output| match output {
            Output::Emit(event) => match &event.body {
                Body::TranscriptFinal(done) => Some((done.start_ms, done.end_ms)),
                Body::TranscriptDropped(dropped) => Some((dropped.start_ms, dropped.end_ms)),
                _ => None,
            },
            _ => None,
        });
        let spans: Vec<_> = spans.collect();
        for pair in spans.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0, "{:?}", pair);
        }
    }
}

// --- parsers -----------------------------------------------------------------

/// Text that is nearly a message: what a mutation of a real one looks like.
fn nearly_json() -> impl Strategy<Value = String> {
    let message = prop::sample::select(
        &[
            r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000","headers":{"a":1}}"#,
            r#"{"event":"websocket:dtmf","digit":"5","duration":260}"#,
            r#"{"event":"websocket:dtmf","dtmf":{"digit":7,"duration":"9"}}"#,
            r#"{"event":"websocket:notify","payload":[[[[{}]]]]}"#,
        ][..],
    );
    (message, any::<prop::sample::Index>(), 0..8_usize, ".{0,8}").prop_map(|(message, at, gone, put)| {
        let at = at.index(message.len());
        format!("{}{put}{}", &message[..at], &message[(at + gone).min(message.len())..])
    })
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof!["\\PC{0,60}", ".{0,60}", nearly_json()]) {
        if let Ok(wire::Message::Connected { headers, .. }) = wire::parse(&text) {
            prop_assert!(headers.len() <= wire::HEADERS_MAX);
        }
    }

    #[test]
    fn no_bytes_make_the_framer_panic_or_lose_one(
        rate in prop::sample::select(&Rate::ALL[..]),
        messages in vec(prop_oneof![vec(any::<u8>(), 0..3), vec(any::<u8>(), 0..2500)], 0..8),
    ) {
        let mut framer = Framer::new(rate);
        let mut out = vec![0_i16; rate.frame_samples()];
        let mut got = Vec::new();
        for message in &messages {
            let mut rest = &message[..];
            while framer.next_frame(&mut rest, &mut out) {
                got.extend(out.iter().flat_map(|sample| sample.to_le_bytes()));
            }
            prop_assert!(rest.is_empty());
        }
        let (samples, half) = framer.finish(&mut out);
        got.extend(out[..samples].iter().flat_map(|sample| sample.to_le_bytes()));
        let mut fed = messages.concat();
        prop_assert_eq!(half, fed.len() % 2 == 1);
        fed.truncate(fed.len() / 2 * 2);
        prop_assert_eq!(got, fed);
    }
}

#[test]
fn no_more_headers_are_kept_than_the_bound() {
    let headers: serde_json::Map<_, _> = (0..1000).map(|i| (format!("h{i}"), i.into())).collect();
    let Ok(wire::Message::Connected { headers, .. }) = wire::parse(&wire::connected(Rate::Hz8000, &headers)) else {
        panic!("refused for its headers");
    };
    assert_eq!(headers.len(), wire::HEADERS_MAX);
}

#[test]
fn deeply_nested_text_is_refused_rather_than_followed() {
    let deep = format!(r#"{{"event":"websocket:notify","payload":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(wire::parse(&deep), Err(PeerFault::BadText));
}
