//! How fast calls are answered: signed answer webhooks at a steady pace, each followed a
//! second later by the event that the call is over, on one core; beside a bare axum handler
//! that gives the same reply to anything, in the same run.
//!
//! ```text
//! this process, core B                          child, core A
//!   webhooks, signed beforehand, each at its ──► the server under test
//!   time whatever became of those before         (a bare handler, or the whole gateway)
//! ```
//!
//! A reply's time counts from when its webhook was due, not from when it could be sent: a
//! server that falls behind cannot hide it.
//!
//! `cargo bench --bench answer -- --rate ANSWERS_A_SECOND --seconds N --rounds N`
// A bench that cannot go on has nobody to tell but the person who started it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use sidetone::load::process;

use self::child::{Child, Cores};
use self::server::Kind;

#[path = "child.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod child;
#[path = "answer/driver.rs"]
mod driver;
#[path = "figures.rs"]
mod figures;
#[path = "answer/server.rs"]
mod server;
#[path = "answer/webhooks.rs"]
mod webhooks;

/// Answers before the measured ones.
const WARM_UP: usize = 500;

/// One server in one round.
struct Visit {
    kind: Kind,
    /// Microseconds of CPU a webhook.
    cpu: f64,
    /// From when each answer was due to its last byte, sorted.
    delays: Vec<Duration>,
}

fn main() {
    if let Some(kind) = child::role() {
        return server::run(Kind::named(&kind).unwrap());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or(default, |value| value.parse().unwrap())
    };
    let (rate, seconds, rounds) = (option("--rate", 1_000), option("--seconds", 10), option("--rounds", 3));
    let Some(cores) = child::two_cores() else {
        println!("answer needs two cores: one for the server, one for the driver");
        return;
    };
    println!("{rate} answers and as many events a second for {seconds} s, {rounds} rounds; load {}", process::load());
    let mut visits = Vec::new();
    for round in 1..=rounds {
        for kind in Kind::ALL {
            eprintln!("round {round}: {}", kind.name());
            visits.push(visit(kind, rate, rate * seconds, &cores));
        }
    }
    report(&visits);
}

fn visit(kind: Kind, rate: usize, answers: usize, cores: &Cores) -> Visit {
    let child = Child::start(kind.name(), cores);
    driver::play(&child.address, webhooks::calls("warm", WARM_UP, rate, &child.address));
    let sent = webhooks::calls("call", answers, rate, &child.address);
    let count = sent.len();
    let before = child.cpu().serving.total();
    let mut delays = driver::play(&child.address, sent);
    let cpu = (child.cpu().serving.total() - before) / count as f64;
    delays.sort_unstable();
    Visit { kind, cpu, delays }
}

fn report(visits: &[Visit]) {
    println!("\n  server         CPU, µs a webhook  ratio   answer, ms: p50    p95    p99    most (the worst round)");
    let bare = median(visits, Kind::Bare, |visit| visit.cpu);
    for kind in Kind::ALL {
        let cpu = median(visits, kind, |visit| visit.cpu);
        let at = |share: f64| {
            let of = |visit: &Visit| visit.delays[((visit.delays.len() - 1) as f64 * share) as usize];
            visits.iter().filter(|visit| visit.kind == kind).map(of).max().unwrap().as_secs_f64() * 1000.0
        };
        println!(
            "  {:<14} {cpu:>17.1}  {:>5.2}  {:>15.2}  {:>5.2}  {:>5.2}  {:>6.2}",
            kind.name(),
            cpu / bare,
            at(0.5),
            at(0.95),
            at(0.99),
            at(1.0)
        );
        figures::tell(&format!("answer.{}", kind.name()), at(0.99), 1);
    }
}

fn median(visits: &[Visit], kind: Kind, figure: impl Fn(&Visit) -> f64) -> f64 {
    figures::spread(visits.iter().filter(|visit| visit.kind == kind).map(figure).collect()).1
}
