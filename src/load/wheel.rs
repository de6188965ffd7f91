//! The thread that sends: all legs, evenly over the 20 ms, round and round.
//!
//! ```text
//! slot    0     1     2  …  19     a slot is served every 20 ms
//! legs   a k   b l   c m … j t     one `write` for each leg in it
//! ```
//!
//! A frame that a socket does not take is not lost: it is written when the socket has room,
//! and its lateness is the gateway's. All other lateness is this thread's own.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

use super::figures::{Fate, LegPlayed, Sent, micros, note};
use super::frame::{Inbound, Incoming, Opcode, masked};
use super::process;
use super::speech::{Speech, Turns};
use crate::types::rate::FRAME_MS;

/// Turns of the wheel for each frame: it moves every millisecond.
const SLOTS: u64 = FRAME_MS;
const TICK: Duration = Duration::from_millis(FRAME_MS / SLOTS);
const FRAME: Duration = Duration::from_millis(FRAME_MS);
const TICKS_A_SECOND: u64 = 1_000 / (FRAME_MS / SLOTS);

/// Frames that may wait on a leg: ten seconds. A gateway further behind is not served any more.
const BACKLOG_MAX: u64 = 500;

/// Longest wait for a gateway to answer our close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// Sockets looked at in one go.
const EVENTS_MAX: usize = 256;

/// A leg that was let in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) leg: u32,
    pub(super) socket: TcpStream,
    /// When it hangs up, since the run's start.
    pub(super) until: Duration,
}

/// What legs are sent.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) speech: Arc<Speech>,
    pub(super) talk: f32,
    pub(super) seed: u64,
}

/// Counted so far, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) legs: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) late_driver: AtomicU64,
    pub(super) late_gateway: AtomicU64,
    pub(super) cut: AtomicU64,
    /// Set from outside: all hang up now.
    pub(super) stop: AtomicBool,
}

/// What the thread has to tell at its end.
pub(super) struct Outcome {
    pub(super) legs: Vec<LegPlayed>,
    pub(super) seconds: Vec<Sent>,
    /// How late it came to frames, in µs.
    pub(super) lag: Histogram<u64>,
    /// How late frames were that the gateway kept waiting, in µs.
    pub(super) held: Histogram<u64>,
    pub(super) cpu_us: f64,
}

struct Leg {
    socket: TcpStream,
    inbound: Inbound,
    turns: Turns,
    first_due: Duration,
    until: Duration,
    due: u64,
    sent: u64,
    /// The frame under way, and how much of it was written.
    at: u32,
    written: usize,
    /// Whether the socket had no room when it was last tried.
    blocked: bool,
    closing: bool,
}

/// Starts the thread. It ends when no more legs can come and those that came are over.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn spawn(
    start: Instant,
    content: Content,
    arrivals: Receiver<Arrival>,
    live: Arc<Live>,
) -> std::io::Result<std::thread::JoinHandle<std::io::Result<Outcome>>> {
    let thread = std::thread::Builder::new().name("wheel".to_owned());
    thread.spawn(move || Ok(Wheel::new(start, content, live)?.run(&arrivals)))
}

struct Wheel {
    start: Instant,
    content: Content,
    live: Arc<Live>,
    epoll: OwnedFd,
    /// By number.
    legs: Vec<Option<Box<Leg>>>,
    slots: [Vec<u32>; SLOTS as usize],
    closing: VecDeque<(Duration, u32)>,
    ticks: u64,
    close: Vec<u8>,
    second: Sent,
    second_lag: Histogram<u64>,
    done: Outcome,
}

impl Wheel {
    fn new(start: Instant, content: Content, live: Arc<Live>) -> std::io::Result<Self> {
        Ok(Self {
            start,
            content,
            live,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            legs: Vec::new(),
            slots: std::array::from_fn(|_| Vec::new()),
            closing: VecDeque::new(),
            ticks: 0,
            close: masked(Opcode::Close, &1000_u16.to_be_bytes()),
            second: Sent::default(),
            second_lag: micros(),
            done: Outcome { legs: Vec::new(), seconds: Vec::new(), lag: micros(), held: micros(), cpu_us: 0.0 },
        })
    }

    fn run(mut self, arrivals: &Receiver<Arrival>) -> Outcome {
        let mut more = true;
        loop {
            while more {
                match arrivals.try_recv() {
                    Ok(arrival) => self.enter(arrival),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => more = false,
                }
            }
            let now = (self.start.elapsed().as_nanos() / TICK.as_nanos()) as u64;
            while self.ticks < now {
                self.ticks += 1;
                self.tick();
            }
            self.read();
            self.give_up_closing();
            self.publish();
            if !more && self.second.legs == 0 && self.closing.is_empty() {
                break;
            }
            let next = TICK * (self.ticks + 1) as u32;
            std::thread::park_timeout(next.saturating_sub(self.start.elapsed()));
        }
        self.end_second();
        self.done.cpu_us = process::thread_cpu_us();
        self.done
    }

    /// Puts a leg where there are fewest; its first frame is due when that slot is next.
    fn enter(&mut self, arrival: Arrival) {
        let Arrival { leg: number, socket, until } = arrival;
        let slot = (0..SLOTS).min_by_key(|slot| self.slots[*slot as usize].len()).unwrap_or_default();
        let after = (slot + SLOTS - self.ticks % SLOTS - 1) % SLOTS + 1;
        let first_due = TICK * (self.ticks + after) as u32;
        let data = epoll::EventData::new_u64(u64::from(number));
        let watched = epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN | epoll::EventFlags::RDHUP);
        let mut turns = Turns::new(self.content.seed, u64::from(number), self.content.talk, &self.content.speech);
        let at = turns.next(&self.content.speech);
        let leg = Box::new(Leg {
            socket,
            inbound: Inbound::default(),
            turns,
            first_due,
            until,
            due: 0,
            sent: 0,
            at,
            written: 0,
            blocked: false,
            closing: false,
        });
        if self.legs.len() <= number as usize {
            self.legs.resize_with(number as usize + 1, || None);
        }
        self.legs[number as usize] = Some(leg);
        self.slots[slot as usize].push(number);
        self.second.legs += 1;
        if let Err(error) = watched {
            self.over(number, Fate::Cut(error.to_string()));
        }
    }

    fn tick(&mut self) {
        if self.ticks.is_multiple_of(TICKS_A_SECOND) {
            self.end_second();
        }
        let due = TICK * self.ticks as u32;
        let stop = self.live.stop.load(Ordering::Relaxed);
        let slot = (self.ticks % SLOTS) as usize;
        let mut place = 0;
        while let Some(&number) = self.slots[slot].get(place) {
            if self.serve(number, due, stop) {
                place += 1;
            } else {
                self.slots[slot].swap_remove(place);
            }
        }
    }

    /// Sends what is due on a leg; `false` when it has nothing more to send.
    fn serve(&mut self, number: u32, due: Duration, stop: bool) -> bool {
        let Some(leg) = self.legs.get_mut(number as usize).and_then(Option::as_mut) else { return false };
        if leg.closing {
            return false;
        }
        let over = stop || due >= leg.until;
        if !over {
            leg.due = ((due - leg.first_due.min(due)).as_nanos() / FRAME.as_nanos()) as u64 + 1;
        }
        while leg.sent < leg.due {
            let message = self.content.speech.messages.get(leg.at);
            let late = self.start.elapsed().saturating_sub(leg.first_due + FRAME * leg.sent as u32);
            match leg.socket.write(&message[leg.written..]) {
                Ok(0) => return self.over(number, Fate::Cut("connection lost".to_owned())),
                Ok(written) if leg.written + written < message.len() => {
                    leg.written += written;
                    leg.blocked = true;
                    break;
                }
                Ok(_) => {
                    (leg.written, leg.at) = (0, leg.turns.next(&self.content.speech));
                    leg.sent += 1;
                    let late_us = late.as_micros() as u64;
                    let is_late = u64::from(late > FRAME);
                    self.second.frames += 1;
                    if leg.blocked {
                        note(&mut self.done.held, late_us);
                        self.second.late_gateway += is_late;
                    } else {
                        note(&mut self.second_lag, late_us);
                        self.second.late_driver += is_late;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    leg.blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(number, Fate::Cut("connection lost".to_owned())),
            }
        }
        if leg.sent == leg.due {
            leg.blocked = false;
        } else if leg.due - leg.sent > BACKLOG_MAX {
            return self.over(number, Fate::Cut("the gateway took no more audio".to_owned()));
        }
        if over && (leg.sent == leg.due || due > leg.until + FRAME * BACKLOG_MAX as u32) {
            return self.hang_up(number);
        }
        true
    }

    /// Closes as a peer does whose call is over, and waits for the answer.
    fn hang_up(&mut self, number: u32) -> bool {
        let Some(leg) = self.legs.get_mut(number as usize).and_then(Option::as_mut) else { return false };
        leg.closing = true;
        // A socket without room for eight bytes is closed without a word.
        if leg.socket.write(&self.close).ok() != Some(self.close.len()) {
            let _ = leg.socket.shutdown(Shutdown::Write);
        }
        self.closing.push_back((self.start.elapsed() + CLOSE_PATIENCE, number));
        self.second.legs -= 1;
        false
    }

    /// Forgets a leg. Always `false`: it has nothing more to send.
    fn over(&mut self, number: u32, fate: Fate) -> bool {
        if let Some(leg) = self.legs.get_mut(number as usize).and_then(Option::take) {
            self.second.legs -= u64::from(!leg.closing);
            let fate = if leg.closing { Fate::Played } else { fate };
            if fate != Fate::Played {
                self.live.cut.fetch_add(1, Ordering::Relaxed);
            }
            let Leg { first_due, due, sent, .. } = *leg;
            self.done.legs.push(LegPlayed { leg: number, first_due, due, sent, fate });
        }
        false
    }

    /// Takes what gateways have sent.
    fn read(&mut self) {
        let mut found = Vec::with_capacity(EVENTS_MAX);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What cannot be asked now can be asked a millisecond later.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut found), Some(&at_once));
        for event in found {
            let number = event.data.u64() as u32;
            if let Some(end) = self.legs.get_mut(number as usize).and_then(Option::as_mut).and_then(|leg| take(leg)) {
                self.over(number, Fate::Cut(end));
            }
        }
    }

    fn give_up_closing(&mut self) {
        while let Some((until, number)) = self.closing.front().copied() {
            let gone = self.legs.get(number as usize).is_none_or(Option::is_none);
            if !gone && self.start.elapsed() < until {
                break;
            }
            self.closing.pop_front();
            self.over(number, Fate::Played);
        }
    }

    fn end_second(&mut self) {
        self.second.lag_p99 = self.second_lag.value_at_quantile(0.99) as f64 / 1000.0;
        // Both have the same bounds.
        let _ = self.done.lag.add(&self.second_lag);
        self.second_lag.reset();
        self.done.seconds.push(self.second);
        self.second = Sent { legs: self.second.legs, ..Sent::default() };
    }

    fn publish(&self) {
        let total = |of: fn(&Sent) -> u64| self.done.seconds.iter().map(of).sum::<u64>() + of(&self.second);
        // Often enough for people.
        if self.ticks.is_multiple_of(128) {
            self.live.frames.store(total(|s| s.frames), Ordering::Relaxed);
            self.live.late_driver.store(total(|s| s.late_driver), Ordering::Relaxed);
            self.live.late_gateway.store(total(|s| s.late_gateway), Ordering::Relaxed);
        }
        self.live.legs.store(self.second.legs, Ordering::Relaxed);
    }
}

/// Reads a leg's socket until there is nothing; gives why it ended, if it did.
fn take(leg: &mut Leg) -> Option<String> {
    let mut bytes = [0; 4_096];
    loop {
        let read = match leg.socket.read(&mut bytes) {
            Ok(0) => return Some("closed by the gateway".to_owned()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Some("connection lost".to_owned()),
        };
        let Leg { inbound, socket, written, .. } = leg;
        let mut closed = None;
        inbound.feed(&bytes[..read], |incoming| match incoming {
            // Not into the middle of a frame; audio shows that we live as well.
            Incoming::Ping(payload) if *written == 0 => {
                let _ = socket.write(&masked(Opcode::Pong, &payload));
            }
            Incoming::Close(code) => closed = Some(code),
            Incoming::Ping(_) | Incoming::Other => {}
        });
        if let Some(code) = closed {
            return Some(code.map_or_else(
                || "closed by the gateway".to_owned(),
                |code| format!("closed by the gateway with code {code}"),
            ));
        }
    }
}
