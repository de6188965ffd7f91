//! Hundreds of legs, one pool of transcribers, and a network, on a virtual clock.
//!
//! Everything random comes from one seed, so a failure replays: it names its seed, and
//! `SIDETONE_SEED=<seed> cargo test --test core simulation` runs that one too.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use serde_json::Map;
use sidetone::call::{CallConfig, Close, Input, Output, wire};
use sidetone::types::{Fault, Moment, PeerFault, Private, Rate, Reply, Segment, Transcript};

use crate::leg::{EPOCH, Leg};
use crate::sound::{Level, Voice};

const LEGS: usize = 300;

#[test]
fn three_hundred_legs_keep_their_promises_in_bad_weather() {
    let extra = std::env::var("SIDETONE_SEED").ok().map(|seed| seed.parse().expect("SIDETONE_SEED is a number"));
    let seeds = [1, 20_261_124].into_iter().chain(extra);
    let mut seen = Seen::default();
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).run()));
        match outcome {
            Ok(of_seed) => seen.add(&of_seed),
            Err(panic) => {
                eprintln!("the simulation failed; to run it again: SIDETONE_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    // Weather that is never bad proves nothing.
    println!("{seen:?}");
    let all = [seen.finals, seen.losses, seen.refused, seen.never, seen.faults, seen.late, seen.gaps, seen.paused];
    assert!(all.iter().all(|count| *count > 10), "{seen:?}");
    assert!(seen.drained > 10 && seen.lost > 10 && seen.hung_up > 10, "{seen:?}");
}

#[test]
fn a_seed_gives_the_same_simulation_again() {
    let run = || Simulation::with_legs(7, 20).run();
    assert_eq!(run(), run());
}

/// What happened, counted.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    finals: u64,
    losses: u64,
    refused: u64,
    never: u64,
    faults: u64,
    late: u64,
    gaps: u64,
    paused: u64,
    drained: u64,
    lost: u64,
    hung_up: u64,
    /// Of everything that came out, in order.
    hash: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.finals += other.finals;
        self.losses += other.losses;
        self.refused += other.refused;
        self.never += other.never;
        self.faults += other.faults;
        self.late += other.late;
        self.gaps += other.gaps;
        self.paused += other.paused;
        self.drained += other.drained;
        self.lost += other.lost;
        self.hung_up += other.hung_up;
        self.hash ^= other.hash;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// What happens next, and to which leg.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The peer sends its next message or messages, or goes.
    Peer,
    /// The leg's timer.
    Wake,
    Pause,
    Resume,
    Drain,
    /// A worker is done with the job of this number.
    Done(u64),
}

/// A peer: what it will send, and how badly.
struct Peer {
    rate: Rate,
    /// Whether it says hello, and after how many messages.
    hello_after: Option<usize>,
    said: bool,
    voice: Voice,
    /// Frames still to be said at one level.
    turn: (Level, u64),
    frames: u64,
    message_bytes: usize,
    /// Bytes spoken and not yet sent.
    unsent: Vec<u8>,
    sent: usize,
    gone: bool,
    /// When the leg's timer was set to.
    armed: Option<Moment>,
}

struct Simulation {
    dice: Dice,
    legs: Vec<(Leg, Peer)>,
    /// By time, then by the order in which they were planned.
    agenda: BinaryHeap<Reverse<(Moment, u64, usize, What)>>,
    planned: u64,
    pool: Pool,
    seen: Seen,
}

/// Workers and a bounded queue before them.
struct Pool {
    idle: usize,
    queue: VecDeque<(usize, Segment)>,
    queue_max: usize,
    /// Being decoded, by number.
    jobs: Vec<Option<(usize, Segment)>>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self::with_legs(seed, LEGS)
    }

    fn with_legs(seed: u64, count: usize) -> Self {
        let pool = Pool { idle: 1 + count / 6, queue: VecDeque::new(), queue_max: count / 10, jobs: Vec::new() };
        let agenda = BinaryHeap::new();
        let mut simulation =
            Self { dice: Dice(seed), legs: Vec::new(), agenda, planned: 0, pool, seen: Seen::default() };
        for leg in 0..count {
            simulation.connect(leg);
        }
        simulation
    }

    fn plan(&mut self, at: Moment, leg: usize, what: What) {
        self.planned += 1;
        self.agenda.push(Reverse((at, self.planned, leg, what)));
    }

    fn connect(&mut self, index: usize) {
        let dice = &mut self.dice;
        let after_ms = dice.below(5000);
        let mut config = CallConfig {
            reply_timeout: Duration::from_millis(500 + dice.below(4000)),
            tail_timeout: Duration::from_millis(200 + dice.below(4000)),
            pending_max: 1 + dice.below(4) as usize,
            partial_interval_ms: [0, 400, 1000][dice.below(3) as usize],
            assumed_rate: Rate::ALL[dice.below(3) as usize],
            ..CallConfig::default()
        };
        config.endpointing.hangover_ms = 100 + dice.below(500);
        config.endpointing.max_segment_ms = 1000 + dice.below(4000);
        config.endpointing.long_segment_ms = config.endpointing.max_segment_ms / 2;
        // Mostly the one that needs no resampling, which a debug build is slow at.
        let rate = [Rate::Hz16000, Rate::Hz16000, Rate::Hz16000, Rate::Hz8000, Rate::Hz24000][dice.below(5) as usize];
        let hello_after = match dice.below(10) {
            0 => None,
            1 => Some(dice.below(80) as usize),
            _ => Some(0),
        };
        let message_bytes = match dice.below(6) {
            0 => 1 + dice.below(3000) as usize,
            _ => rate.frame_bytes(),
        };
        let peer = Peer {
            rate,
            hello_after,
            said: false,
            voice: Voice::new(rate),
            turn: (Level::Silence, 10),
            frames: 50 + dice.below(250),
            message_bytes,
            unsent: Vec::new(),
            sent: 0,
            gone: false,
            armed: None,
        };
        let leg = Leg::new(config, after_ms);
        let now = leg.now();
        if dice.one_in(8) {
            let from = dice.below(4000);
            let to = from + dice.below(3000);
            self.plan(now + Duration::from_millis(from), index, What::Pause);
            self.plan(now + Duration::from_millis(to), index, What::Resume);
        }
        if self.dice.one_in(10) {
            let at = now + Duration::from_millis(self.dice.below(8000));
            self.plan(at, index, What::Drain);
        }
        self.legs.push((leg, peer));
        self.plan(now, index, What::Peer);
        self.arm(now, index);
    }

    fn run(mut self) -> Seen {
        let mut clock = EPOCH;
        while let Some(Reverse((at, _, leg, what))) = self.agenda.pop() {
            assert!(at >= clock, "the simulation itself runs backwards");
            clock = at;
            assert!(at < EPOCH + Duration::from_secs(600), "the simulation does not come to an end");
            match what {
                What::Peer => self.peer(at, leg),
                What::Wake => self.wake(at, leg),
                What::Pause => self.give(at, leg, Input::Pause { reason: "card" }),
                What::Resume => self.give(at, leg, Input::Resume { reason: "done" }),
                What::Drain => self.give(at, leg, Input::Drain),
                What::Done(job) => self.done(at, job as usize),
            }
        }
        for (index, (leg, _)) in self.legs.iter().enumerate() {
            let ended = leg.audit.closing().filter(|_| leg.audit.ended());
            let ended = ended.unwrap_or_else(|| panic!("leg {index} never ended"));
            self.seen.finals += ended.characteristics.finals;
            self.seen.losses += u64::from(!ended.complete);
            self.seen.gaps += u64::from(ended.characteristics.gap_ms > 0);
            self.seen.paused += u64::from(ended.ledger.paused > 0);
            match ended.reason.as_str() {
                "drained" => self.seen.drained += 1,
                "hangup" => self.seen.hung_up += 1,
                _ => self.seen.lost += 1,
            }
        }
        self.seen
    }

    fn give(&mut self, at: Moment, index: usize, input: Input<'_>) {
        let outputs = self.legs[index].0.give(at, input);
        for output in outputs {
            match output {
                Output::Transcribe(segment) => self.submit(at, index, segment),
                Output::Emit(event) => {
                    for byte in event.to_structured() {
                        self.seen.hash = (self.seen.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                    }
                }
                Output::Close(Close::Drain | Close::Fault(_)) => self.legs[index].1.gone = true,
                _ => {}
            }
        }
        self.arm(at, index);
    }

    /// Sets a leg's timer, as the server does: only ever to come sooner, so that it may be
    /// early; and timers are late by nature.
    fn arm(&mut self, at: Moment, index: usize) {
        let (leg, peer) = &mut self.legs[index];
        if let Some(until) = leg.until().filter(|until| peer.armed.is_none_or(|armed| *until < armed)) {
            peer.armed = Some(until);
            let late = Duration::from_micros(self.dice.below(3000));
            self.plan(until.max(at) + late, index, What::Wake);
        }
    }

    fn wake(&mut self, at: Moment, index: usize) {
        self.legs[index].1.armed = None;
        self.give(at, index, Input::Timeout);
    }

    // --- peers ----------------------------------------------------------------

    fn peer(&mut self, at: Moment, index: usize) {
        let peer = &mut self.legs[index].1;
        if peer.gone {
            // It sees the socket closed, and says so, or does not.
            return if self.dice.one_in(2) {
                self.give(at, index, Input::Closed(None))
            };
        }
        if peer.hello_after.is_some_and(|after| peer.sent >= after) && !peer.said {
            peer.said = true;
            let hello = wire::connected(peer.rate, &Map::new());
            self.give(at, index, Input::Text(&hello));
        }
        let peer = &mut self.legs[index].1;
        if peer.frames == 0 || self.dice.one_in(700) {
            peer.gone = true;
            let fault = match self.dice.below(3) {
                0 => Some(PeerFault::ConnectionLost),
                _ => None,
            };
            return self.give(at, index, Input::Closed(fault));
        }
        // One frame spoken; sent at once, in a burst with what was held up, or not yet.
        peer.speak(&mut self.dice);
        let (frame, jitter) = (Duration::from_millis(20), Duration::from_micros(self.dice.below(8000)));
        let next = match self.dice.below(200) {
            0 => {
                // The network stalls; what is spoken meanwhile comes at once.
                let frames = self.dice.below(90);
                (0..frames).for_each(|_| peer.speak(&mut self.dice));
                at + frame * frames as u32
            }
            // The platform sends nothing, as in silence.
            1 => at + Duration::from_millis(self.dice.below(4000)),
            _ => at + Duration::from_millis(16) + jitter,
        };
        let peer = &mut self.legs[index].1;
        let whole = peer.unsent.len() / peer.message_bytes * peer.message_bytes;
        let rest = peer.unsent.split_off(whole);
        let ready = std::mem::replace(&mut peer.unsent, rest);
        for message in ready.chunks(peer.message_bytes) {
            self.legs[index].1.sent += 1;
            self.give(at, index, Input::Audio(message));
        }
        if self.dice.one_in(300) {
            self.give(at, index, Input::Text(r#"{"event":"websocket:dtmf","digit":"5"}"#));
        }
        self.plan(next, index, What::Peer);
    }

    // --- the pool ---------------------------------------------------------------

    fn submit(&mut self, at: Moment, index: usize, segment: Segment) {
        if self.pool.queue.len() >= self.pool.queue_max || self.dice.one_in(40) {
            self.seen.refused += 1;
            let refusal = Reply::refused(segment.id, segment.kind, Fault::Overload);
            return self.give(at, index, Input::Reply(refusal));
        }
        self.pool.queue.push_back((index, segment));
        self.work(at);
    }

    /// Gives waiting segments to idle workers.
    fn work(&mut self, at: Moment) {
        while self.pool.idle > 0
            && let Some((index, segment)) = self.pool.queue.pop_front()
        {
            if self.dice.one_in(60) {
                // Lost without an answer; the worker is free again.
                self.seen.never += 1;
                continue;
            }
            self.pool.idle -= 1;
            let length_ms = segment.samples.len() as u64 / 16;
            let effort = match self.dice.below(12) {
                0 => 6000,
                1 => 0,
                _ => 50 + length_ms * (5 + self.dice.below(60)) / 100,
            };
            let job = self.pool.jobs.len() as u64;
            self.pool.jobs.push(Some((index, segment)));
            self.plan(at + Duration::from_millis(effort), index, What::Done(job));
        }
    }

    fn done(&mut self, at: Moment, job: usize) {
        let (index, segment) = self.pool.jobs[job].take().unwrap();
        self.pool.idle += 1;
        if self.legs[index].0.audit.ended() {
            self.seen.late += 1;
        }
        let outcome = match self.dice.below(20) {
            0 => Err(Fault::Crashed),
            1 => Err(Fault::Backend("refused".to_owned())),
            2 => Err(Fault::Looped),
            3 => Ok(String::new()),
            _ => Ok(format!("segment {} of leg {index}", segment.id)),
        };
        self.seen.faults += u64::from(outcome.is_err());
        let outcome = outcome.map(|text| Transcript { text: Private(text), ..Transcript::default() });
        let reply = Reply { outcome, asr: "simulated", ..Reply::refused(segment.id, segment.kind, Fault::Shutdown) };
        let again = self.dice.one_in(50).then(|| reply.clone());
        self.give(at, index, Input::Reply(reply));
        if let Some(again) = again {
            self.give(at, index, Input::Reply(again));
        }
        self.work(at);
    }
}

impl Peer {
    fn speak(&mut self, dice: &mut Dice) {
        if self.turn.1 == 0 {
            self.turn = match dice.below(5) {
                0 | 1 => (Level::Silence, 1 + dice.below(60)),
                2 => (Level::Doubt, 1 + dice.below(20)),
                _ => (Level::Speech, 1 + dice.below(80)),
            };
        }
        self.turn.1 -= 1;
        self.frames = self.frames.saturating_sub(1);
        self.unsent.extend(self.voice.bytes(self.turn.0, 20));
    }
}
