//! What goes out of the centre, and what comes back for it.

use std::time::Duration;

use crate::control::plan::Tag;
use crate::control::recording::Keep;
use crate::event::Event;
use crate::types::{ConversationId, LegId, Moment, WallTime};
use crate::vonage::ncco::Ncco;
use crate::vonage::rest_types::CreateCall;

/// The moment at which something happens, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub mono: Moment,
    /// UTC.
    pub wall: WallTime,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Publish.
    Emit(Event),
    /// Ask Vonage; the outcome of a creation or poll comes back.
    Ask(Request),
    /// Keep a copy of a recording. Answer with [`Centre::copied`](super::Centre::copied), always:
    /// the call is remembered until then.
    Keep(Box<Keep>),
    /// The call is over: its pause, if any, is to be forgotten, and a media leg of it that is
    /// still connected is to be closed. It belongs to a leg whose creation and every webhook
    /// got lost on their way, so that nobody could hang it up. Said again for each that
    /// connects later.
    Forget(ConversationId),
    /// Nothing to do until there is input or this moment comes.
    Idle {
        /// When to call [`Centre::on_time`].
        until: Option<Moment>,
    },
}

/// Something to ask of the Voice API. `region` is the REST base where the leg lives, as a
/// webhook told: the client decides whether it may be trusted.
#[derive(Debug)]
pub enum Request {
    /// Make a leg. Answer with [`Centre::created`].
    Create {
        /// For whom, as in the leg's event URL.
        asked: Asked,
        /// The leg.
        call: Box<CreateCall>,
    },
    /// End a leg.
    HangUp {
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
    },
    /// Have a leg go on with another NCCO.
    Transfer {
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
        /// What is next.
        ncco: Ncco,
    },
    /// Look a leg up. Answer with [`Centre::polled`].
    Poll {
        /// Our call.
        call: ConversationId,
        /// The leg.
        leg: LegId,
        /// Where it lives.
        region: Option<String>,
    },
}

/// Whom a leg was asked for.
pub type Asked = Tag;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// Not now: too many requests. Not before this has passed, where it was told.
    Limited(Option<Duration>),
    /// The leg is not known.
    Gone,
    /// It was not done, for this reason in one word.
    Failed(&'static str),
}

/// A call that is not followed here, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such call here")]
pub struct UnknownCall;
