//! What the centre does with calls, as pure state machines.
//!
//! ```text
//! answer webhook ──► Centre ──► NCCO: greet, consent, record, conversation   (flow, plan)
//! event webhook ───►   │
//! media leg up, over ──►│──► Ask: one listener socket a speaker, the agent's leg, polls
//! REST outcome ────►   │──► Emit: call.* events, and one record at the end
//! time ────────────►   │
//! ```
//!
//! [`Centre`] holds every call that this gateway follows. It is handed what happened with
//! the time at which it did, answers webhooks from memory, and says through
//! [`Centre::poll`] what is to be done. It never waits.
//!
//! Webhooks come late, twice, out of order or never. So nothing here is a chain of states
//! that one missing event could break: a call is a set of facts, each learned at most
//! once, and what is to be done follows from the facts known (`call.rs`). What no webhook
//! told is asked for ([`Centre`] sweeps).
//!
//! Invariants, held by property tests over webhooks in any order:
//! - a participant that joined is asked to be heard once, and never one of our listeners;
//! - a listener is hung up when whom it hears has left;
//! - every call that began has exactly one `call.record.v1`, its last event but for late news;
//! - a recording is kept only where every pause that may concern it is known;
//! - no more than three calls are created a second, and no queue here is without a bound.
//!
//! Invariant: pure. It knows no socket, clock, task or random number.

mod bucket;
mod call;
mod centre;
mod flow;
mod hours;
mod listening;
mod participant;
mod plan;
mod record;
mod recording;
mod role;
mod settings;

pub use self::bucket::Bucket;
pub use self::call::CallState;
pub use self::centre::{Asked, CallView, Centre, Footprint, Now, Outcome, Output, Request, UnknownCall};
pub use self::flow::{BadFlow, Flow, Listen, Pattern, Target, choose};
pub use self::hours::{BadHours, Hours};
pub use self::plan::{EVENT_PATH, MEDIA_PATH, MediaPass, Tag, fallback, samples};
pub use self::recording::Keep;
pub use self::role::Role;
pub use self::settings::{Limits, Settings};
