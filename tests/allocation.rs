//! The path of a frame allocates nothing: only an utterance's events do.
//!
//! A counting allocator stands in for the system's. It counts for each thread apart, so
//! that the test harness and other tests cannot disturb it; and it needs a binary of its
//! own, as there can be one global allocator only.

#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Map;
use sidetone::call::{BackendNames, Buffers, Call, CallConfig, CallParts, Input, Output, Playback, Terms, wire};
use sidetone::types::{
    ConversationId, Fault, LegId, Moment, Private, Rate, Reply, Segment, Speaker, Transcript, WallTime,
};
use sidetone::vad;

#[path = "core/sound.rs"]
#[allow(dead_code, reason = "shared with another test binary, which uses the rest")]
mod sound;

struct Counting;

thread_local! {
    /// Allocations of this thread, and their bytes.
    static COUNT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    // Unreachable while a thread ends; nobody asks any more then.
    let _ = COUNT.try_with(|count| {
        let (times, sum) = count.get();
        count.set((times + 1, sum + bytes as u64));
    });
}

// SAFETY: every call goes to the system's allocator unchanged. Counting touches a
// thread-local without a destructor and without lazy initialisation, so it does not
// allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Allocations, and their bytes, that `work` makes on this thread.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, (u64, u64)) {
    let before = COUNT.get();
    let result = work();
    let after = COUNT.get();
    (result, (after.0 - before.0, after.1 - before.1))
}

/// Buffers for the longest segment, made beforehand.
struct Filled(Mutex<Vec<Vec<i16>>>);

impl Filled {
    fn new(config: &CallConfig) -> Self {
        let longest = config.endpointing.max_segment_ms as usize * 16;
        Self(Mutex::new((0..8).map(|_| Vec::with_capacity(longest)).collect()))
    }
}

impl Buffers for Filled {
    fn take(&self) -> Vec<i16> {
        self.0.lock().unwrap().pop().expect("eight buffers are enough for one leg")
    }

    fn give(&self, buffer: Vec<i16>) {
        self.0.lock().unwrap().push(buffer);
    }
}

/// A leg, and what came out of the last input.
struct Bench {
    call: Call,
    buffers: Arc<Filled>,
    asked: Vec<Segment>,
    events: usize,
}

impl Bench {
    fn new(vad: vad::Factory) -> Self {
        let config = CallConfig::default();
        let buffers = Arc::new(Filled::new(&config));
        let parts = CallParts {
            conversation: ConversationId::parse("CON-test").unwrap(),
            leg: LegId::parse("leg-test").unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/sidetone/test"),
            joined_at: Duration::ZERO,
            terms: Terms::default(),
            connected_at: WallTime(0),
            vad,
            backends: BackendNames { vad: "test", asr: "test", sentiment: None },
            buffers: Arc::clone(&buffers) as Arc<dyn Buffers>,
        };
        Self { call: Call::new(Arc::new(config), parts, Moment(0)), buffers, asked: Vec::with_capacity(8), events: 0 }
    }

    /// Hands in an input and takes all that comes of it; allocates nothing itself.
    fn give(&mut self, now: Moment, input: Input<'_>) {
        self.events = 0;
        self.call.handle(now, input);
        loop {
            match self.call.poll() {
                Output::Idle { .. } => return,
                Output::Transcribe(segment) => self.asked.push(segment),
                Output::Emit(_) => self.events += 1,
                _ => {}
            }
        }
    }

    /// Answers all requests; gives what the leg allocated on that.
    fn answer(&mut self, now: Moment) -> (u64, u64) {
        let mut sum = (0, 0);
        while let Some(segment) = self.asked.pop() {
            let transcript = Transcript { text: Private("well, hello there".to_owned()), ..Transcript::default() };
            let reply = Reply {
                outcome: Ok(transcript),
                asr: "test",
                ..Reply::refused(segment.id, segment.kind, Fault::Shutdown)
            };
            self.buffers.give(segment.samples);
            let ((), (times, bytes)) = allocated(|| self.give(now, Input::Reply(reply)));
            sum = (sum.0 + times, sum.1 + bytes);
        }
        sum
    }
}

#[test]
fn a_frame_without_an_event_allocates_nothing() {
    assert!(vad::BACKENDS.len() >= 2);
    for backend in vad::BACKENDS.iter().filter(|backend| !backend.allocates()) {
        let vad = backend.build(&toml::Table::new(), &[]).unwrap();
        for rate in Rate::ALL {
            let audio = sound::speech_like(rate, 37);
            for message_bytes in [rate.frame_bytes(), rate.frame_bytes() / 2 + 1] {
                let name = format!("{} at {rate} in messages of {message_bytes} bytes", backend.name());
                check(&name, Bench::new(Arc::clone(&vad)), rate, &audio, message_bytes);
            }
        }
    }
}

fn check(name: &str, mut bench: Bench, rate: Rate, audio: &[u8], message_bytes: usize) {
    bench.give(Moment(0), Input::Text(&wire::connected(rate, &Map::new())));
    // A leg that was spoken to listens no worse for it.
    bench.give(Moment(0), Input::Play(Playback::new("greeting", rate, &[1; 1000], true).unwrap()));
    bench.give(Moment(0), Input::Text(r#"{"event":"websocket:notify","payload":{"n":1}}"#));
    let warm_up = rate.hz() as usize * 2 * 7;
    let (mut heard, mut frames, mut speaking, mut finals) = (0, 0, 0, 0_u64);
    let (mut times, mut bytes) = (0, 0);
    for message in audio.chunks(message_bytes) {
        heard += message.len();
        let now = Moment(0) + Duration::from_micros(heard as u64 * 500_000 / u64::from(rate.hz()));
        let ((), of_frame) = allocated(|| bench.give(now, Input::Audio(message)));
        let asked = bench.asked.len() as u64;
        let was_event = bench.events > 0;
        let of_answer = bench.answer(now);
        if heard <= warm_up {
            continue;
        }
        if was_event {
            finals += asked;
        } else {
            assert_eq!(of_frame, (0, 0), "{name}: allocations and bytes, {} ms in", rate.ms(heard as u64 / 2));
            frames += 1;
            speaking += u64::from(asked > 0);
        }
        times += of_frame.0 + of_answer.0;
        bytes += of_frame.1 + of_answer.1;
    }
    assert!(frames > 1000, "{name}: only {frames} messages were looked at");
    assert!(speaking >= 4, "{name}: speech never lasted long enough to ask for a partial");
    assert!(finals >= 8, "{name}: only {finals} utterances");
    println!("{name}: {} allocations of {} bytes an utterance", times / finals, bytes / finals);
}

#[test]
fn the_counter_counts() {
    let (list, (times, bytes)) = allocated(|| vec![1_u8; 4096]);
    assert!(times == 1 && bytes == 4096 && list.len() == 4096);
    let (list, _) = allocated(|| std::thread::spawn(|| vec![0_u8; 1 << 20]).join().unwrap());
    assert!(COUNT.get().1 < 1 << 20, "what another thread allocated was counted: {}", list.len());
}
