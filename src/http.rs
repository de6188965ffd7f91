//! Answers over HTTP, whoever gives them: read no further than a bound, and what is wrong with
//! them by its name.
//!
//! Below every module that asks somebody else over HTTP; looks at `tls` and
//! [`types`](crate::types) only.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::tls;
use crate::types::Fault;

/// Longest pause that a backend may ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the bound, or says so.
    #[error("the body is too long")]
    TooLong,
    /// The connection broke, or the wait was over.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// The whole body of an answer, of at most `bytes_max`.
///
/// # Errors
/// [`BodyError`].
pub async fn body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    if response.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(BodyError::TooLong);
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > bytes_max {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The body of a backend's answer, where its status says that it is one.
///
/// # Errors
/// What is wrong with the answer, as of [`status`] and [`fault`], or [`Fault::Oversized`].
pub async fn answer(response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    status(response.status().as_u16(), response.headers())?;
    body(response, bytes_max).await.map_err(|error| match error {
        BodyError::TooLong => Fault::Oversized,
        BodyError::Broken(error) => fault(&error),
    })
}

/// Whether a backend's status is success.
///
/// # Errors
/// What another one means.
pub fn status(status: u16, headers: &HeaderMap) -> Result<(), Fault> {
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
#[must_use]
pub fn fault(error: &reqwest::Error) -> Fault {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: impl Into<reqwest::Body>) -> Response {
        axum::http::Response::new(body.into()).into()
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_no_further() {
        // One tells its length beforehand, one does not.
        let parts = || ["four", "four"].map(Ok::<_, std::io::Error>);
        let streamed = || reqwest::Body::wrap_stream(futures_util::stream::iter(parts()));
        assert_eq!(body(answer("fourfour"), 8).await.unwrap(), b"fourfour");
        assert_eq!(body(answer(streamed()), 8).await.unwrap(), b"fourfour");
        assert!(matches!(body(answer("fourfour"), 7).await, Err(BodyError::TooLong)));
        assert!(matches!(body(answer(streamed()), 7).await, Err(BodyError::TooLong)));
    }
}
