//! Which faults are wanted, and how strong they are.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::frames;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A kind of misbehaviour.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// A socket's first text message comes late, audio before it.
    LateHello = "late_hello",
    /// It never comes.
    NoHello = "no_hello",
    /// Frames come unevenly.
    Jitter = "jitter",
    /// Frames are held back and come at once.
    Bursts = "bursts",
    /// Frames are not sent.
    Gaps = "gaps",
    /// Messages are not one frame long.
    WrongFrames = "wrong_frames",
    /// A connection breaks without a close frame.
    AbruptClose = "abrupt_close",
    /// A socket cannot be connected.
    FailedSockets = "failed_sockets",
    /// A leg's webhook is overtaken by its next one.
    WebhookReorder = "webhook_reorder",
    /// A webhook comes twice.
    WebhookDuplicate = "webhook_duplicate",
    /// A webhook comes late.
    WebhookDelay = "webhook_delay",
    /// A webhook never comes. Not part of `all`: what no application hears of, none can mend.
    WebhookLost = "webhook_lost",
}

/// Which faults are wanted: `all`, or names with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted(Vec<Kind>);

impl Wanted {
    /// Whether this one is.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }

    /// All of them.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.0
    }
}

/// A name that is no fault's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no fault: expected \"all\" or some of {}, with commas between", Names)]
pub struct UnknownFault {
    /// What was asked for, cut to 40 characters.
    pub name: String,
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

impl FromStr for Wanted {
    type Err = UnknownFault;

    /// Reads `all`, or names with commas between; spaces do not matter. Nothing wants nothing.
    fn from_str(list: &str) -> Result<Self, UnknownFault> {
        let mut wanted = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "all" {
                wanted.extend(Kind::ALL.iter().filter(|kind| **kind != Kind::WebhookLost));
                continue;
            }
            let kind = Kind::ALL.iter().find(|kind| kind.as_str() == name);
            wanted.push(*kind.ok_or_else(|| UnknownFault { name: name.chars().take(40).collect() })?);
        }
        Ok(Self(wanted))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|kind| kind.as_str()).collect();
        f.write_str(&names.join(","))
    }
}

/// How often and how strongly each fault strikes. With the defaults, a call of a minute
/// with two media sockets meets every fault and lives through it. `one_in` counts
/// sockets, frames or a leg's webhooks, at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Sockets of which one says hello late.
    pub late_hello_one_in: u32,
    /// How late.
    pub late_hello_by: RangeInclusive<Duration>,
    /// Sockets of which one never says hello.
    pub no_hello_one_in: u32,
    /// Most that a frame is late.
    pub jitter_max: Duration,
    /// Frames of which one begins a burst.
    pub burst_one_in: u32,
    /// Frames that a burst holds back.
    pub burst_frames: RangeInclusive<u64>,
    /// Frames of which one begins a gap.
    pub gap_one_in: u32,
    /// Frames that are missing in a gap.
    pub gap_frames: RangeInclusive<u64>,
    /// Frames of which one has the wrong size.
    pub wrong_frame_one_in: u32,
    /// Sockets of which one breaks.
    pub abrupt_close_one_in: u32,
    /// How long after its first frame.
    pub abrupt_close_after: RangeInclusive<Duration>,
    /// Sockets of which one cannot be connected.
    pub failed_socket_one_in: u32,
    /// Webhooks of which one is overtaken.
    pub webhook_reorder_one_in: u32,
    /// How long it waits for that.
    pub webhook_reorder_wait: Duration,
    /// Webhooks of which one comes twice.
    pub webhook_duplicate_one_in: u32,
    /// Webhooks of which one is late.
    pub webhook_delay_one_in: u32,
    /// How late.
    pub webhook_delay: RangeInclusive<Duration>,
    /// Webhooks of which one is lost.
    pub webhook_lost_one_in: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            late_hello_one_in: 3,
            late_hello_by: ms(200)..=ms(1500),
            no_hello_one_in: 3,
            jitter_max: ms(60),
            burst_one_in: 250,
            burst_frames: frames(100)..=frames(500),
            gap_one_in: 500,
            gap_frames: frames(200)..=frames(800),
            wrong_frame_one_in: 300,
            abrupt_close_one_in: 3,
            abrupt_close_after: ms(10_000)..=ms(30_000),
            failed_socket_one_in: 3,
            webhook_reorder_one_in: 4,
            webhook_reorder_wait: ms(2000),
            webhook_duplicate_one_in: 4,
            webhook_delay_one_in: 4,
            webhook_delay: ms(300)..=ms(1500),
            webhook_lost_one_in: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let read = |list: &str| list.parse::<Wanted>().map(|wanted| wanted.to_string());
        assert_eq!(read("").unwrap(), "");
        assert_eq!(read(" gaps , no_hello,").unwrap(), "gaps,no_hello");
        let all: Wanted = "all".parse().unwrap();
        assert_eq!(all.kinds().len(), Kind::ALL.len() - 1);
        assert!(!all.has(Kind::WebhookLost));
        assert!("all,webhook_lost".parse::<Wanted>().unwrap().has(Kind::WebhookLost));
        for kind in Kind::ALL {
            assert_eq!(read(kind.as_str()).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        assert_eq!(
            "gaps,Jitter".parse::<Wanted>().unwrap_err().to_string(),
            "\"Jitter\" is no fault: expected \"all\" or some of late_hello, no_hello, jitter, bursts, gaps, \
             wrong_frames, abrupt_close, failed_sockets, webhook_reorder, webhook_duplicate, webhook_delay, \
             webhook_lost, with commas between"
        );
    }
}
