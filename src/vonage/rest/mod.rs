//! The Voice REST client: the one part of [`vonage`](super) that has a socket, a clock
//! and random numbers.
//!
//! ```text
//! calls ──► client ──► one attempt after another, each with our token
//!             │  retry   whether and when to try again            pure
//!             │  trust   which URLs may be sent our token         pure
//!             └─ token   signs it, and again before it is over
//! recording ──► a file that a webhook told of, to disk or into memory
//! ```
//!
//! Where a request goes: to the region that the caller names, where that is one of
//! Vonage's or of `trusted_hosts`, else to [`Settings::base`]. A call lives in one region
//! and is 404 elsewhere; on 404 the bases in [`Settings::sweep`] are asked as well, each
//! once. That list is empty by default, since a 404 mostly says that the call is over,
//! and a sweep spends the 15 requests a second that all calls share.
//!
//! What is tried again: what is idempotent, after no connection, a broken one, a timeout,
//! 429 and 5xx; what is not, `POST` and the pressing of keys, only where it certainly was
//! not done: no connection, and 429; a hang-up also after 400, which Vonage answers
//! within about 2 s of a call's creation. Always within [`Settings::attempts_max`] and
//! [`Settings::total_timeout`].
//!
//! Invariant: our token goes to `https` at Vonage and to `trusted_hosts`, and nowhere
//! else, whatever a webhook or a redirect says; no answer is read beyond its bound; no
//! number, token or body is in an error but for what the API itself gives as its reason.

mod calls;
mod client;
mod error;
mod pages;
mod recording;
pub mod retry;
mod settings;
mod token;
mod trust;

pub use self::client::Client;
pub use self::error::RestError;
pub use self::pages::Pages;
pub use self::recording::{Downloaded, Through};
pub use self::settings::{BadSettings, Settings};

#[cfg(test)]
pub(crate) mod tests;
