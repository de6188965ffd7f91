//! What a streaming vendor's protocol is made of: its rules, and the conversation. Pure: texts in,
//! texts out.

use std::time::Duration;

use crate::types::{Fault, Transcript};

/// How a vendor wants its connections treated.
#[derive(Debug, Clone)]
pub(in crate::asr) struct Rules {
    /// Most and fewest samples in one message of audio; the last one is filled up with silence.
    pub(in crate::asr) chunk: (usize, usize),
    /// Sent after this much without anything else, so that the vendor does not hang up.
    pub(in crate::asr) keep_alive: Option<(Duration, &'static str)>,
    /// Sent before we hang up.
    pub(in crate::asr) farewell: Option<&'static str>,
    /// Whether a connection serves one utterance after another.
    pub(in crate::asr) reusable: bool,
    /// A connection older than this is not used again.
    pub(in crate::asr) session_max: Duration,
    /// A connection without use for so long is closed.
    pub(in crate::asr) idle_timeout: Duration,
    /// Audio is sent at most so many times faster than real time, over the connection's
    /// life; 0 for as fast as it is taken.
    pub(in crate::asr) pace: f64,
}

/// What a vendor's message means for the utterance under way.
#[derive(Debug, PartialEq)]
pub(in crate::asr) enum Heard {
    /// Nothing.
    Nothing,
    /// Text so far.
    Interim(String),
    /// The whole of it.
    Whole(Transcript),
}

/// One connection's half of a conversation in a vendor's own terms. Pure.
pub(in crate::asr) trait Dialogue: Send {
    /// What is said first.
    fn hello(&mut self) -> Option<String> {
        None
    }

    /// An utterance begins; `sent` samples were sent before it on this connection.
    fn begin(&mut self, sent: u64);

    /// All of the utterance was sent, to sample `sent` of this connection: what asks for the
    /// whole of it.
    fn finish(&mut self, sent: u64) -> String;

    /// Takes a text message.
    ///
    /// # Errors
    /// What is wrong with it, or what it says is wrong; the connection is then closed.
    fn hear(&mut self, text: &str) -> Result<Heard, Fault>;

    /// One message of audio was sent.
    fn spoken(&mut self) {}

    /// Nothing more was heard for a while after [`Dialogue::finish`]: the whole, where what
    /// was heard can be no less.
    fn settle(&mut self) -> Option<Transcript> {
        None
    }

    /// What a close frame means.
    fn closed(&self, code: u16, reason: &str) -> Fault {
        let _ = (code, reason);
        Fault::Disconnected
    }
}
