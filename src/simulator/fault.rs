//! Misbehaviour on request: what goes wrong, where, and by how much.
//!
//! Pure and seeded. What happens to a socket, frame or webhook depends on the seed, the
//! number of the socket or leg, and the kind of fault, and on nothing else: neither on
//! what other legs do meanwhile nor on which other faults are wanted. So a run that
//! failed can be run again.
//!
//! A fault strikes exactly once in every so many occasions, at a random one of them. A
//! coin tossed for each would sometimes spare a whole call, and a test would pass that
//! tested nothing.

mod draw;
mod settings;

use std::time::Duration;

use self::draw::{Draw, OneIn};
pub use self::settings::{Kind, Settings, UnknownFault, Wanted};
use crate::types::rate::FRAME_MS;

/// The faults of one run.
#[derive(Debug, Clone)]
pub struct Faults {
    seed: u64,
    wanted: Wanted,
    settings: Settings,
}

/// When a socket's first text message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// First of all, as it should be.
    AtOnce,
    /// So much later; audio goes before it.
    Late(Duration),
    /// Never.
    Never,
}

/// What becomes of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFate {
    /// It is sent. Frames never overtake each other: one that is due before the last was
    /// sent goes right after it.
    Send {
        /// How long after its time.
        late: Duration,
        /// The message's wrong length: the frame is cut, or filled up with zeros. None
        /// leaves it whole.
        bytes: Option<usize>,
    },
    /// It is held back and sent in one go with the next that is sent.
    Hold,
    /// It is never sent, and the next keeps its own time.
    Skip,
}

/// What becomes of one socket.
#[derive(Debug, Clone)]
pub struct SocketFaults {
    /// It cannot be connected at all: the leg fails.
    pub fail_connect: bool,
    /// The first text message.
    pub hello: Hello,
    /// The connection is dropped, without a close frame, this long after the first frame.
    pub abrupt_close_after: Option<Duration>,
    jitter: Option<(Draw, Duration)>,
    burst: Option<Run>,
    gap: Option<Run>,
    wrong: Option<(OneIn, Draw)>,
}

/// What becomes of one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookFate {
    /// It is never sent.
    pub lost: bool,
    /// It is sent so much later, and holds up the leg's later ones.
    pub delay: Duration,
    /// It is sent a second time after it was answered.
    pub duplicate: bool,
    /// The leg's next webhook goes first.
    pub after_next: bool,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0, Wanted::default(), Settings::default())
    }

    /// These faults, this strong.
    #[must_use]
    pub fn new(seed: u64, wanted: Wanted, settings: Settings) -> Self {
        Self { seed, wanted, settings }
    }

    /// Whether a fault is wanted.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.wanted.has(kind)
    }

    /// How long one webhook waits for another to overtake it, at most.
    #[must_use]
    pub fn reorder_wait(&self) -> Duration {
        self.settings.webhook_reorder_wait
    }

    /// What becomes of the socket dialled as number `number` of this run, from 0. The
    /// sockets that failed count too.
    #[must_use]
    pub fn socket(&self, number: u64) -> SocketFaults {
        let s = &self.settings;
        let draw = |kind: Kind| Draw::new(self.seed, number, kind.as_str());
        // One choice of place for the three: so the same socket is not to fail, to be
        // silent and to be late, where there are enough sockets in a round.
        let strikes = |kind: Kind, one_in: u32, offset: u64| {
            self.has(kind) && OneIn::new(self.seed, 0, "socket", one_in).shifted(offset).strikes_at(number)
        };
        let hello = if strikes(Kind::LateHello, s.late_hello_one_in, 1) {
            Hello::Late(draw(Kind::LateHello).span(&s.late_hello_by))
        } else if strikes(Kind::NoHello, s.no_hello_one_in, 2) {
            Hello::Never
        } else {
            Hello::AtOnce
        };
        let run = |kind: Kind, one_in: u32, frames: &std::ops::RangeInclusive<u64>| {
            self.has(kind).then(|| Run::new(OneIn::new(self.seed, number, kind.as_str(), one_in), draw(kind), frames))
        };
        SocketFaults {
            fail_connect: strikes(Kind::FailedSockets, s.failed_socket_one_in, 0),
            hello,
            abrupt_close_after: strikes(Kind::AbruptClose, s.abrupt_close_one_in, 1)
                .then(|| draw(Kind::AbruptClose).span(&s.abrupt_close_after)),
            jitter: self.has(Kind::Jitter).then(|| (draw(Kind::Jitter), s.jitter_max)),
            burst: run(Kind::Bursts, s.burst_one_in, &s.burst_frames),
            gap: run(Kind::Gaps, s.gap_one_in, &s.gap_frames),
            wrong: self.has(Kind::WrongFrames).then(|| {
                let one_in = OneIn::new(self.seed, number, Kind::WrongFrames.as_str(), s.wrong_frame_one_in);
                (one_in, draw(Kind::WrongFrames))
            }),
        }
    }

    /// What becomes of webhook number `number`, from 0, of the leg with this number.
    #[must_use]
    pub fn webhook(&self, leg: u64, number: u64) -> WebhookFate {
        let s = &self.settings;
        let strikes = |kind: Kind, one_in: u32, offset: u64| {
            self.has(kind) && OneIn::new(self.seed, leg, "webhook", one_in).shifted(offset).strikes_at(number)
        };
        let mut draw = Draw::new(self.seed, leg.rotate_left(32) ^ number, Kind::WebhookDelay.as_str());
        let delay = if strikes(Kind::WebhookDelay, s.webhook_delay_one_in, 2) {
            draw.span(&s.webhook_delay)
        } else {
            Duration::ZERO
        };
        WebhookFate {
            lost: strikes(Kind::WebhookLost, s.webhook_lost_one_in, 3),
            delay,
            duplicate: strikes(Kind::WebhookDuplicate, s.webhook_duplicate_one_in, 0),
            after_next: strikes(Kind::WebhookReorder, s.webhook_reorder_one_in, 1),
        }
    }
}

impl SocketFaults {
    /// What becomes of the next frame, whose right length is `frame_bytes`. To be asked
    /// for each frame once, in order.
    pub fn frame(&mut self, frame_bytes: usize) -> FrameFate {
        // Every stream moves on at every frame, whichever fault wins: so none depends on
        // which others are wanted.
        let late = self.jitter.as_mut().map_or(Duration::ZERO, |(draw, most)| draw.span(&(Duration::ZERO..=*most)));
        let held = self.burst.as_mut().is_some_and(Run::next);
        let skipped = self.gap.as_mut().is_some_and(Run::next);
        let bytes = self.wrong.as_mut().and_then(|(one_in, draw)| one_in.next().then(|| draw.wrong(frame_bytes)));
        if skipped {
            FrameFate::Skip
        } else if held {
            FrameFate::Hold
        } else {
            FrameFate::Send { late, bytes }
        }
    }
}

/// A fault that, once it strikes, lasts for some frames.
#[derive(Debug, Clone)]
struct Run {
    one_in: OneIn,
    draw: Draw,
    frames: std::ops::RangeInclusive<u64>,
    left: u64,
}

impl Run {
    fn new(one_in: OneIn, draw: Draw, frames: &std::ops::RangeInclusive<u64>) -> Self {
        Self { one_in, draw, frames: frames.clone(), left: 0 }
    }

    fn next(&mut self) -> bool {
        if self.one_in.next() {
            self.left = self.draw.count(&self.frames);
        }
        let on = self.left > 0;
        self.left = self.left.saturating_sub(1);
        on
    }
}

/// Frames in a time, for the settings.
const fn frames(ms: u64) -> u64 {
    ms / FRAME_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 640;
    const MINUTE: usize = 3000;

    fn faults(seed: u64, list: &str) -> Faults {
        Faults::new(seed, list.parse().unwrap(), Settings::default())
    }

    fn minute(mut socket: SocketFaults) -> Vec<FrameFate> {
        (0..MINUTE).map(|_| socket.frame(FRAME)).collect()
    }

    fn wrong(fate: &FrameFate) -> bool {
        matches!(fate, FrameFate::Send { bytes: Some(_), .. })
    }

    #[test]
    fn without_faults_nothing_goes_wrong() {
        let none = Faults::none();
        let socket = none.socket(7);
        assert_eq!((socket.fail_connect, socket.hello, socket.abrupt_close_after), (false, Hello::AtOnce, None));
        let good = FrameFate::Send { late: Duration::ZERO, bytes: None };
        assert!(minute(socket).iter().all(|fate| *fate == good));
        assert!((0..100).all(|n| none.webhook(1, n) == WebhookFate::default()));
    }

    #[test]
    fn with_all_faults_a_call_of_a_minute_meets_every_one_and_goes_on() {
        for seed in 0..50 {
            let all = faults(seed, "all");
            // Two speakers, and the sockets that replace those that fail or drop.
            let sockets: Vec<_> = (0..3).map(|n| all.socket(n)).collect();
            let count = |is: &dyn Fn(&SocketFaults) -> bool| sockets.iter().filter(|socket| is(socket)).count();
            assert_eq!(count(&|s| s.fail_connect), 1, "{seed}");
            assert_eq!(count(&|s| matches!(s.hello, Hello::Late(_))), 1, "{seed}");
            assert_eq!(count(&|s| s.hello == Hello::Never), 1, "{seed}");
            assert_eq!(count(&|s| s.abrupt_close_after.is_some()), 1, "{seed}");
            assert_eq!(count(&|s| s.fail_connect && s.hello != Hello::AtOnce), 0, "{seed}");
            for socket in sockets {
                let fates = minute(socket);
                assert!(fates.contains(&FrameFate::Hold) && fates.contains(&FrameFate::Skip), "{seed}");
                assert!(fates.iter().any(wrong), "{seed}");
                let sent = fates.iter().filter(|fate| matches!(fate, FrameFate::Send { bytes: None, .. })).count();
                assert!(sent > MINUTE * 3 / 4, "{seed}: only {sent} frames were left whole");
                let late = fates.iter().filter(|fate| matches!(fate, FrameFate::Send { late, .. } if !late.is_zero()));
                assert!(late.count() > MINUTE / 2, "{seed}");
            }
            // started, ringing, answered, completed
            let fates: Vec<_> = (0..4).map(|n| all.webhook(seed, n)).collect();
            assert_eq!(fates.iter().filter(|fate| fate.duplicate).count(), 1, "{seed}");
            assert_eq!(fates.iter().filter(|fate| fate.after_next).count(), 1, "{seed}");
            assert_eq!(fates.iter().filter(|fate| !fate.delay.is_zero()).count(), 1, "{seed}");
            assert!(fates.iter().all(|fate| !fate.lost), "all must not lose webhooks");
        }
        assert!((0..4).any(|n| faults(1, "webhook_lost").webhook(3, n).lost));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
        let run = |seed| {
            let all = faults(seed, "all");
            let sockets = (0..6).map(|n| format!("{:?}", all.socket(n)));
            let frames = (0..6).map(|n| format!("{:?}", minute(all.socket(n))));
            let webhooks = (0..40).map(|n| format!("{:?}", all.webhook(2, n)));
            sockets.chain(frames).chain(webhooks).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert!(run(1).iter().zip(run(2)).filter(|(one, two)| **one != *two).count() > 12);
    }

    #[test]
    fn a_fault_does_not_depend_on_the_others() {
        let places = |list: &str, is: fn(&FrameFate) -> bool| {
            let fates = minute(faults(5, list).socket(1));
            fates.iter().enumerate().filter(|(_, fate)| is(fate)).map(|(n, _)| n).collect::<Vec<_>>()
        };
        let skip = |fate: &FrameFate| *fate == FrameFate::Skip;
        let alone = places("gaps", skip);
        assert!(!alone.is_empty());
        assert_eq!(places("all", skip), alone);
        let hello = |list| faults(5, list).socket(1).hello;
        assert_eq!(hello("late_hello, jitter"), hello("late_hello"));
    }

    #[test]
    fn wrong_frames_are_wrong_and_bounded() {
        let mut lengths = Vec::new();
        for leg in 0..20 {
            for fate in minute(faults(9, "wrong_frames").socket(leg)) {
                if let FrameFate::Send { bytes: Some(bytes), .. } = fate {
                    lengths.push(bytes);
                }
            }
        }
        assert!(lengths.len() > 100);
        assert!(lengths.iter().all(|bytes| *bytes != FRAME && (1..=2 * FRAME).contains(bytes)));
        assert!(lengths.iter().any(|bytes| bytes % 2 == 1), "half samples must occur");
        assert!(lengths.contains(&(FRAME / 2)) && lengths.contains(&(2 * FRAME)));
    }

    #[test]
    fn bursts_and_gaps_have_their_lengths() {
        let longest = |list: &str, wanted: FrameFate| {
            let fates = minute(faults(3, list).socket(0));
            let runs = fates.split(|fate| *fate != wanted).map(<[_]>::len).filter(|n| *n > 0).collect::<Vec<_>>();
            (*runs.iter().min().unwrap(), *runs.iter().max().unwrap())
        };
        let s = Settings::default();
        let within = |(least, most): (usize, usize), frames: &std::ops::RangeInclusive<u64>| {
            // Two may meet and join.
            frames.contains(&(least as u64)) && most as u64 <= 2 * frames.end()
        };
        assert!(within(longest("gaps", FrameFate::Skip), &s.gap_frames));
        assert!(within(longest("bursts", FrameFate::Hold), &s.burst_frames));
    }
}
