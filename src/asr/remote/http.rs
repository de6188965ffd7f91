//! HTTP as remote transcribers are spoken to: no redirect is followed, and no more is read
//! of an answer than its bound.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::http::BodyError;
use crate::tls;
use crate::types::{BuildError, Fault};

/// Longest wait for a connection.
pub(in crate::asr) const CONNECT: Duration = Duration::from_secs(5);
/// Longest pause that a vendor may ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A client; connects when it is used.
pub(in crate::asr) fn client(name: &str) -> Result<Client, BuildError> {
    Client::builder()
        .user_agent(concat!("sidetone/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| BuildError::new(name, error.without_url(), "look at the system's certificates and proxy"))
}

/// The body of an answer with status 200, of at most `bytes_max`.
pub(in crate::asr) async fn body(response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    status(response.status().as_u16(), response.headers())?;
    crate::http::body(response, bytes_max).await.map_err(|error| match error {
        BodyError::TooLong => Fault::Oversized,
        BodyError::Broken(error) => fault(&error),
    })
}

/// What a status other than success means.
pub(in crate::asr) fn status(status: u16, headers: &HeaderMap) -> Result<(), Fault> {
    match status {
        200..=299 => Ok(()),
        401 | 403 => Err(Fault::Unauthorised),
        429 | 503 => {
            // A date is allowed here too; then the breaker's own cool-down serves.
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
            match (status, retry_after) {
                (503, None) => Err(Fault::Refused(503)),
                _ => Err(Fault::Limited { retry_after }),
            }
        }
        other => Err(Fault::Refused(other)),
    }
}

/// What an error of the client means; its own words might quote the address.
pub(in crate::asr) fn fault(error: &reqwest::Error) -> Fault {
    if tls::is_distrust(error) {
        Fault::Untrusted
    } else if error.is_connect() {
        Fault::Unreachable
    } else if error.is_timeout() {
        Fault::Timeout
    } else {
        Fault::Disconnected
    }
}
