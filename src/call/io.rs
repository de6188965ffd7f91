//! What goes into a [`Call`](super::Call) and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::playback::{PlayRefused, Playback};
use crate::event::Event;
use crate::types::{ConversationId, KeyRule, LegId, Moment, PeerFault, Reply, Segment, Shadow, Speaker, WallTime};
use crate::vad;

/// Something that happened to a leg.
#[derive(Debug)]
pub enum Input<'a> {
    /// A text message from the peer.
    Text(&'a str),
    /// A binary message: little-endian 16-bit mono PCM.
    Audio(&'a [u8]),
    /// Any other sign of life, such as a pong.
    Alive,
    /// A transcriber's answer, a refusal included.
    Reply(Reply),
    /// What a second transcriber heard in a segment. Never waited for.
    Shadow(Shadow),
    /// Stop listening, as while a card number is read out. Frames count as paused.
    Pause {
        /// Why, in a word, for the event; at most [`REASON_LEN_MAX`] bytes of it are kept.
        reason: &'a str,
    },
    /// Listen again.
    Resume {
        /// Why, as above.
        reason: &'a str,
    },
    /// Whoever runs the call wants this leg closed: end it, keep its last words.
    Close,
    /// Play this to the other party, after what is played already.
    Play(Playback),
    /// Take back all that was not heard yet.
    StopPlayback,
    /// Nothing; time has passed.
    Timeout,
    /// The gateway is stopping: end the leg, keep its last words.
    Drain,
    /// The connection is gone: `None` for an orderly hang-up.
    Closed(Option<PeerFault>),
}

/// Something to do for a leg.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Give this audio to a transcriber; answer with [`Input::Reply`].
    Transcribe(Segment),
    /// Publish.
    Emit(Event),
    /// Send this binary message: one frame of audio.
    Send(Bytes),
    /// Send this text message.
    SendText(String),
    /// Something cannot be played; no event tells of it.
    PlayRefused {
        /// Its id.
        playback: Arc<str>,
        /// Why.
        why: PlayRefused,
    },
    /// Send a WebSocket ping.
    Ping,
    /// Count and perhaps log a mistake of the peer.
    Fault(PeerFault),
    /// Close the socket, for this reason.
    Close(Close),
    /// The leg is over; its last event was emitted. Nothing follows.
    Ended,
    /// Nothing to do until there is input or this moment comes.
    Idle {
        /// When to hand in [`Input::Timeout`].
        until: Option<Moment>,
    },
}

/// Longest reason of a pause that is published, in bytes.
pub const REASON_LEN_MAX: usize = 64;

/// Why we close a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The gateway is stopping: RFC 6455 code 1001.
    Drain,
    /// Whoever runs the call wants it so: code 1000.
    Asked,
    /// The peer made a mistake that ends the leg.
    Fault(PeerFault),
}

/// What was settled about a leg before its first message, as by a media token. The
/// default is a leg about which nothing was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Whether the speaker is settled, so that the first message cannot say otherwise.
    pub speaker_settled: bool,
    /// The participant's own leg at the platform; none where that is not known, or the
    /// leg hears the mix.
    pub participant: Option<LegId>,
    /// Whether nothing may be played to this leg.
    pub listen_only: bool,
    /// Which keys are published.
    pub keys: KeyRule,
}

/// Gives audio buffers, so that an utterance need not allocate one. Whoever
/// consumes a [`Segment`] gives its buffer back to the same place.
pub trait Buffers: Send + Sync {
    /// An empty buffer, with room for the longest segment if there is one to hand.
    fn take(&self) -> Vec<i16>;

    /// Gives back a buffer that is no longer needed.
    fn give(&self, buffer: Vec<i16>);
}

/// What a leg is made of and is called.
pub struct CallParts {
    /// The record key.
    pub conversation: ConversationId,
    /// The leg's own id, never used before.
    pub leg: LegId,
    /// Whom it lets us hear, as far as known; the first message may say otherwise.
    pub speaker: Speaker,
    /// CloudEvents `source`.
    pub source: Arc<str>,
    /// When this leg connected, on the call clock: 0 for a conversation's first leg.
    pub joined_at: Duration,
    /// What else was settled before it connected.
    pub terms: Terms,
    /// When this leg connected, on the wall.
    pub connected_at: WallTime,
    /// Makes its detector.
    pub vad: vad::Factory,
    /// Names of the backends, for `leg.started`.
    pub backends: BackendNames,
    /// Where its audio buffers come from.
    pub buffers: Arc<dyn Buffers>,
}

/// Which backends serve a leg.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendNames {
    /// Detector.
    pub vad: &'static str,
    /// Transcriber.
    pub asr: &'static str,
    /// Sentiment backend, if any.
    pub sentiment: Option<&'static str>,
}
