//! What a leg costs on a real socket, transcription left out, next to a bare sink of
//! the same WebSocket library in the same run.
//!
//! ```text
//! this process, core B                        child, core A
//!   one thread writes every leg's frames ──►  the server under test
//!   at pace; reads /proc of the child         (a bare sink, or the whole gateway)
//! ```
//!
//! Each round gives each server a fresh child and takes it through: nobody, legs
//! connected, silence, the demo call. Medians over the rounds are printed.
//!
//! `--legs`, `--rounds`, `--seconds`; `--in-turn 5`: of five legs one sends at a time;
//! `--soak 20000`: so many short calls instead, and the memory as they come and go.
// A bench that cannot go on has nobody to tell but the person who started it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use sidetone::load::frame::Messages;
use sidetone::load::process;
use sidetone::types::Rate;

use self::child::{Child, Cpu};
use self::driver::Driver;
use self::figures::spread;
use self::server::Kind;

#[path = "child.rs"]
mod child;
#[path = "demo_audio.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod demo_audio;
#[path = "leg_cost/driver.rs"]
mod driver;
#[path = "figures.rs"]
mod figures;
#[path = "leg_cost/server.rs"]
mod server;

const RATE: Rate = Rate::Hz16000;

/// Played before each measured stretch, so that nothing is paid for the first time.
const WARM_UP: Duration = Duration::from_millis(500);

/// A call of the soak.
const SHORT: Duration = Duration::from_millis(600);

/// Between connecting and looking at the memory.
const SETTLE: Duration = Duration::from_millis(700);

/// How much is measured.
struct Size {
    legs: usize,
    /// Of so many legs one sends, in turn.
    in_turn: usize,
    rounds: usize,
    silence: Duration,
    speech: Duration,
}

/// What one server did with one kind of audio.
#[derive(Clone, Copy)]
struct Stretch {
    /// Microseconds a frame on the threads that serve legs.
    cpu: Cpu,
    /// Microseconds a frame on the inference threads: their queue and the scripted answers.
    inference: f64,
    late: u64,
    /// The slowest leg's answer to a ping sent behind its last frame.
    behind: Duration,
}

/// One server in one round.
#[derive(Clone, Copy)]
struct Visit {
    kind: Kind,
    silence: Stretch,
    speech: Stretch,
    /// KiB a leg: connected, in silence, in the demo call.
    memory: [f64; 3],
}

fn main() {
    if let Some(kind) = child::role() {
        return server::run(Kind::named(&kind).unwrap());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse().ok());
    let long = args.iter().any(|arg| arg == "--long");
    let (legs, rounds, seconds) = if long { (600, 5, 15) } else { (200, 5, 5) };
    let speech = Duration::from_secs(option("--seconds").unwrap_or(seconds));
    let size = Size {
        legs: option("--legs").unwrap_or(legs as u64) as usize,
        in_turn: option("--in-turn").unwrap_or(1) as usize,
        rounds: option("--rounds").unwrap_or(rounds) as usize,
        silence: speech / 2,
        speech,
    };
    let Some(cores) = child::two_cores() else {
        println!("leg_cost needs two cores: one for the server, one for the driver");
        return;
    };
    process::allow_sockets(size.legs).unwrap();
    println!(
        "{} legs at {RATE}, 50 frames/s each, one in {} at a time, {} rounds of {:?} silence and {:?} demo call; load {}",
        size.legs,
        size.in_turn,
        size.rounds,
        size.silence,
        size.speech,
        process::load()
    );
    if let Some(calls) = option("--soak") {
        return soak(calls as usize, &size, &cores);
    }
    let mut visits = Vec::new();
    for round in 1..=size.rounds {
        for kind in Kind::ALL {
            eprintln!("round {round}: {}", kind.name());
            visits.push(visit(kind, &size, &cores));
        }
    }
    report(&size, &visits);
}

fn visit(kind: Kind, size: &Size, cores: &child::Cores) -> Visit {
    let child = Child::start(kind.name(), cores);
    let empty = child.rss_kib();
    let per_leg = || (child.rss_kib() - empty) / size.legs as f64;
    let mut driver = Driver::connect(&child.address, 0..size.legs);
    std::thread::sleep(SETTLE);
    let connected = per_leg();
    let silence = stretch(&mut driver, &child, &driver::silence(), size.silence, size.in_turn);
    let silent = per_leg();
    let speech = stretch(&mut driver, &child, &driver::demo_call(), size.speech, size.in_turn);
    let talking = per_leg();
    Visit { kind, silence, speech, memory: [connected, silent, talking] }
}

/// Short calls one after the other, as many at a time as there are legs: does memory grow?
fn soak(calls: usize, size: &Size, cores: &child::Cores) {
    let child = Child::start(Kind::Cascade.name(), cores);
    let audio = driver::demo_call();
    println!("\ncalls of {SHORT:?}: resident set, KiB");
    for first in (0..calls).step_by(size.legs) {
        if first % (calls / 10).next_multiple_of(size.legs) == 0 {
            println!("  after {first:>6}: {:>7.0}", child.rss_kib());
        }
        let mut driver = Driver::connect(&child.address, first..first + size.legs);
        driver.play(&audio, SHORT, 1);
        driver.hang_up();
    }
    println!("  after {calls:>6}: {:>7.0}", child.rss_kib());
}

fn stretch(driver: &mut Driver, child: &Child, audio: &Messages, length: Duration, in_turn: usize) -> Stretch {
    driver.play(audio, WARM_UP, in_turn);
    let before = child.cpu();
    let played = driver.play(audio, length, in_turn);
    let after = child.cpu();
    let each = |total: f64| total / played.frames as f64;
    Stretch {
        cpu: Cpu {
            user: each(after.serving.user - before.serving.user),
            system: each(after.serving.system - before.serving.system),
        },
        inference: each(after.inference - before.inference),
        late: played.late,
        behind: driver.ping(),
    }
}

fn report(size: &Size, visits: &[Visit]) {
    for (audio, pick) in [("silence", (|v| v.silence) as fn(&Visit) -> Stretch), ("demo call", |v| v.speech)] {
        println!("\n{audio}: CPU, µs per frame, median (least to most)");
        println!("  server            user  kernel   total               ratio  inference  late  behind  legs a core");
        let of = |kind: Kind, figure: &dyn Fn(Stretch) -> f64| {
            spread(visits.iter().filter(|visit| visit.kind == kind).map(|visit| figure(pick(visit))).collect())
        };
        let bare = of(Kind::ALL[0], &|s| s.cpu.total()).1;
        for kind in Kind::ALL {
            let (least, total, most) = of(kind, &|s| s.cpu.total());
            println!(
                "  {:<16} {:>5.2}  {:>6.2}  {total:>6.2} ({least:>5.2}–{most:>5.2})  {:>5.2}  {:>9.2}  {:>4.0}  {:>3.0} ms  {:>11.0}",
                kind.name(),
                of(kind, &|s| s.cpu.user).1,
                of(kind, &|s| s.cpu.system).1,
                total / bare,
                of(kind, &|s| s.inference).1,
                of(kind, &|s| s.late as f64).2,
                of(kind, &|s| s.behind.as_secs_f64() * 1000.0).2,
                // What the figures come to; nobody tried.
                1e6 / 50.0 / total,
            );
        }
    }
    println!("\nmemory: KiB of resident set per leg ({} legs), the kernel's socket buffers not counted", size.legs);
    println!("  server            connected  in silence  in the demo call");
    for kind in Kind::ALL {
        let of = |at: usize| {
            spread(visits.iter().filter(|visit| visit.kind == kind).map(|visit| visit.memory[at]).collect()).1
        };
        println!("  {:<16} {:>10.1}  {:>10.1}  {:>16.1}", kind.name(), of(0), of(1), of(2));
    }
    tell(visits);
}

/// The table of all benches has the demo call's cost, and the default detector's in silence.
fn tell(visits: &[Visit]) {
    let median = |kind: Kind, figure: fn(&Visit) -> f64| {
        spread(visits.iter().filter(|visit| visit.kind == kind).map(figure).collect()).1
    };
    let cost = |kind: Kind| median(kind, |visit| visit.speech.cpu.total());
    for (name, kind) in
        [("bare", Kind::Bare), ("webrtc", Kind::Webrtc), ("neural", Kind::Neural), ("cascade", Kind::Cascade)]
    {
        figures::tell(&format!("leg_cost.{name}"), cost(kind), 1);
        figures::tell(&format!("leg_cost.{name}.ratio"), cost(kind) / cost(Kind::Bare), 2);
    }
    let quiet = |kind: Kind| median(kind, |visit| visit.silence.cpu.total());
    figures::tell("leg_cost.silent.ratio", quiet(Kind::Cascade) / quiet(Kind::Bare), 2);
    figures::tell("leg_cost.idle", median(Kind::Cascade, |visit| visit.memory[0]), 1);
    figures::tell("leg_cost.silent", median(Kind::Cascade, |visit| visit.memory[1]), 1);
}
