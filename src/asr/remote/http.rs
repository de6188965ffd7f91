//! HTTP as remote transcribers are spoken to: no redirect is followed, and no more is read
//! of an answer than its bound.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;

pub(in crate::asr) use crate::http::{answer as body, fault, status};
use crate::types::BuildError;

/// Longest wait for a connection.
pub(in crate::asr) const CONNECT: Duration = Duration::from_secs(5);

/// A client; connects when it is used.
pub(in crate::asr) fn client(name: &str) -> Result<Client, BuildError> {
    Client::builder()
        .user_agent(concat!("sidetone/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| BuildError::new(name, error.without_url(), "look at the system's certificates and proxy"))
}
