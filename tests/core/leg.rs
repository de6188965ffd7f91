//! A leg on a virtual clock, under audit.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sidetone::call::{BackendNames, Buffers, Call, CallConfig, CallParts, Input, Output, Terms};
use sidetone::event::Body;
use sidetone::types::{ConversationId, LegId, Moment, Rate, SegmentKind, Speaker, WallTime};
use sidetone::vad;

use crate::audit::Audit;
use crate::sound::loudness;

/// When every test's conversation began. Not 0, so that a missing subtraction shows.
pub(crate) const EPOCH: Moment = Moment(5_000_000);

/// A `Call` whose every input and output is audited.
pub(crate) struct Leg {
    pub(crate) call: Call,
    pub(crate) audit: Audit,
    now: Moment,
    until: Option<Moment>,
    /// The most playbacks that can be under way.
    call_queue: usize,
    gap_timeout: Duration,
    /// Frames that the call said may be handed in together, and that are still to come.
    undecided: u32,
    buffers: Arc<Counted>,
}

/// Buffers taken and not given back.
#[derive(Default)]
struct Counted(AtomicI64);

impl Buffers for Counted {
    fn take(&self) -> Vec<i16> {
        self.0.fetch_add(1, Ordering::Relaxed);
        // Not empty, as a careless pool's would be.
        vec![i16::MAX; 3]
    }

    fn give(&self, _: Vec<i16>) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Leg {
    /// A leg that connects `after_ms` into its conversation and hears by [`loudness`].
    pub(crate) fn new(config: CallConfig, after_ms: u64) -> Self {
        Self::with_vad(config, after_ms, loudness())
    }

    pub(crate) fn with_vad(config: CallConfig, after_ms: u64, vad: vad::Factory) -> Self {
        let config = Arc::new(config);
        let buffers = Arc::new(Counted::default());
        let connected_at = WallTime(1_700_000_000_000_000);
        let now = Moment(EPOCH.0 + after_ms * 1000);
        let parts = CallParts {
            conversation: ConversationId::parse("CON-test").unwrap(),
            leg: LegId::parse("leg-test").unwrap(),
            speaker: Speaker::Unknown,
            source: Arc::from("/sidetone/test"),
            joined_at: Duration::from_millis(after_ms),
            terms: Terms::default(),
            connected_at,
            vad,
            backends: BackendNames { vad: "test", asr: "test", sentiment: None },
            buffers: Arc::clone(&buffers) as Arc<dyn Buffers>,
        };
        let audit = Audit::new(Arc::clone(&config), parts.conversation.clone(), EPOCH, now, connected_at);
        let (call_queue, gap_timeout) = (config.speaking.queue_max, config.gap_timeout);
        let mut call = Call::new(config, parts, now);
        let Output::Idle { until } = call.poll() else { panic!("a new leg has nothing to say") };
        Self { call, audit, now, until, call_queue, gap_timeout, undecided: 1, buffers }
    }

    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    /// When the leg wants to be woken.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.until
    }

    /// The rate of the leg's audio.
    pub(crate) fn rate(&self) -> Rate {
        self.call.rate()
    }

    /// Moves the leg into another conversation, which began `ms` before the leg connected.
    pub(crate) fn join(&mut self, ms: u64) {
        let conversation = ConversationId::parse("CON-joined").unwrap();
        self.audit.join(conversation.clone(), ms);
        self.call.join(conversation, Duration::from_millis(ms));
    }

    /// Tells the leg that its conversation is paused, whatever it has heard so far.
    pub(crate) fn start_paused(&mut self) {
        self.audit.start_paused();
        self.call.start_paused("card");
    }

    /// Hands in one input and gives what came of it.
    pub(crate) fn give(&mut self, now: Moment, input: Input<'_>) -> Vec<Output> {
        let room = self.room_for(&input);
        self.audit.input(now, &input);
        let frame_in_time = matches!(&input, Input::Audio(bytes) if bytes.len() == self.rate().frame_bytes())
            && now.since(self.now) < self.gap_timeout;
        self.call.handle(now, input);
        self.now = self.now.max(now);
        let mut outputs = Vec::new();
        loop {
            match self.call.poll() {
                Output::Idle { until } => {
                    self.until = until;
                    self.audit.idle(until);
                    break;
                }
                output => {
                    self.audit.output(&output);
                    outputs.push(output);
                }
            }
        }
        let decided = |output: &Output| match output {
            Output::Emit(event) => matches!(event.body, Body::SpeechStarted(_)),
            Output::Transcribe(segment) => segment.kind == SegmentKind::Final,
            _ => false,
        };
        self.undecided = self.undecided.saturating_sub(1);
        assert!(
            !frame_in_time || self.undecided == 0 || !outputs.iter().any(decided),
            "a frame of a batch decided something, {} before its last",
            self.undecided
        );
        if !frame_in_time || self.undecided == 0 {
            self.undecided = self.call.batch();
            assert!(self.undecided >= 1);
        }
        assert!(outputs.len() <= room, "{} outputs at once, more than {room}", outputs.len());
        if self.audit.ended() {
            let held = self.buffers.0.load(Ordering::Relaxed);
            assert_eq!(held, self.audit.asked() as i64, "buffers taken, and buffers given out");
        }
        outputs
    }

    /// The most outputs that `input` may bring about: a few a frame, two for each
    /// segment awaited, and a few.
    fn room_for(&self, input: &Input<'_>) -> usize {
        let bytes = match input {
            Input::Audio(bytes) => bytes.len(),
            _ => 0,
        };
        let waiting = if self.audit.started() { 0 } else { self.audit.bytes() };
        // A segment not settled yet holds a frame at least.
        let unsettled = self.call.ledger().in_flight() as usize / self.rate().frame_samples();
        let playing = 11 + 2 * self.call_queue;
        playing + 16 + 4 * (bytes + waiting) / 320 + 2 * unsettled
    }

    /// Lets time pass, waking the leg whenever it asked to be.
    pub(crate) fn pass(&mut self, to: Moment) -> Vec<(Moment, Output)> {
        let mut all = Vec::new();
        let mut woken_at = None;
        while let Some(until) = self.until.filter(|until| *until <= to) {
            let at = until.max(self.now);
            let outputs = self.give(at, Input::Timeout);
            // Once more at the same moment is what a timeout of 0 may need.
            assert!(woken_at != Some(at) || !outputs.is_empty(), "woken twice at {at:?} for nothing");
            woken_at = Some(at);
            all.extend(outputs.into_iter().map(|output| (at, output)));
        }
        self.now = self.now.max(to);
        all
    }

    /// Hangs up, if nobody has, and waits for the end.
    pub(crate) fn end(&mut self) -> Vec<Output> {
        let mut all = self.give(self.now, Input::Closed(None));
        for _ in 0..10_000 {
            let Some(until) = self.until else { break };
            all.extend(self.pass(until).into_iter().map(|(_, output)| output));
        }
        assert!(self.audit.ended(), "hung up, and every answer timed out, and the leg is still there");
        assert!(self.call.ledger().in_flight() == 0);
        all
    }
}
