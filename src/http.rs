//! Bodies of HTTP answers, whoever gives them, read no further than a bound.
//!
//! Below every module that asks somebody else over HTTP; looks at nobody.

use reqwest::Response;

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
