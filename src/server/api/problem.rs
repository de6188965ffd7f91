//! Every error of our API, as `application/problem+json` (RFC 9457).
//!
//! Handlers answer with a [`Problem`]; what the web framework itself refuses is given
//! the same shape by `shape`, so that a client has one kind of error to read.

use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Longest text of a refusal that is taken over as its `detail`, in bytes.
const DETAIL_BYTES_MAX: usize = 4_096;

/// One error, as RFC 9457 wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Which kind of error, for machines: `urn:sidetone:problem:` and a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of error, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Each part of the request that is wrong, where that can be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invalid_parameters: Vec<InvalidParameter>,
}

/// A part of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InvalidParameter {
    /// Its path in the body, or its name in the query: `to.number`.
    pub name: String,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl InvalidParameter {
    /// One of these.
    #[must_use]
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into() }
    }
}

impl Problem {
    /// An error of this status, its kind and title those of the status.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let (word, title) = match status {
            StatusCode::BAD_REQUEST => ("bad-request", "The request cannot be read"),
            StatusCode::UNAUTHORIZED => ("unauthenticated", "A bearer token is needed"),
            StatusCode::FORBIDDEN => ("forbidden", "The token does not allow this"),
            StatusCode::NOT_FOUND => ("not-found", "There is no such thing"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "This cannot be done here"),
            StatusCode::CONFLICT => ("conflict", "The call is not in a state for this"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "The body is of another type than expected"),
            StatusCode::UNPROCESSABLE_ENTITY => ("invalid", "The request is not valid"),
            StatusCode::TOO_MANY_REQUESTS => ("too-many-requests", "Too many requests"),
            StatusCode::NOT_IMPLEMENTED => ("not-implemented", "This is not available in this version"),
            StatusCode::BAD_GATEWAY => ("vonage", "Vonage did not do it"),
            StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "Not available now"),
            status if status.is_server_error() => ("internal", "Something is wrong on our side"),
            _ => ("refused", "The request was refused"),
        };
        Self {
            kind: format!("urn:sidetone:problem:{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            invalid_parameters: Vec::new(),
        }
    }

    /// With what is wrong with this request.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// 422, for parts of the request that are wrong.
    #[must_use]
    pub fn invalid(parameters: Vec<InvalidParameter>) -> Self {
        let text: Vec<_> = parameters.iter().map(|wrong| format!("{}: {}", wrong.name, wrong.reason)).collect();
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY).detail(text.join("; "));
        Self { invalid_parameters: parameters, ..problem }
    }

    /// 404, for a call that is not known, or not any more.
    #[must_use]
    pub fn no_such_call() -> Self {
        Self::new(StatusCode::NOT_FOUND).detail("no such call, or it was over too long ago")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(CONTENT_TYPE, MEDIA_TYPE)], Json(self)).into_response()
    }
}

/// Gives an error that has another shape this one; its status and headers stay.
pub(super) async fn shape(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind == MEDIA_TYPE.as_bytes() {
        return response;
    }
    let is_text = kind.starts_with(b"text/plain");
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut problem = Problem::new(status);
    if is_text && !text.trim().is_empty() {
        problem = problem.detail(text.trim());
    }
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let (_, body) = Json(problem).into_response().into_parts();
    Response::from_parts(parts, Body::new(body))
}

#[cfg(test)]
mod tests {
    use axum::http::header::ALLOW;
    use serde_json::{Value, json};

    use super::*;

    async fn read(response: Response) -> (u16, String, Value) {
        let (status, kind) =
            (response.status().as_u16(), response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, kind, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_problem_is_written_as_the_standard_says() {
        let problem = Problem::invalid(vec![InvalidParameter::new("to.number", "expected digits")]);
        let expected = json!({"type": "urn:sidetone:problem:invalid", "title": "The request is not valid", "status": 422,
            "detail": "to.number: expected digits",
            "invalid_parameters": [{"name": "to.number", "reason": "expected digits"}]});
        assert_eq!(read(problem.into_response()).await, (422, MEDIA_TYPE.into(), expected));
        let bare =
            json!({"type": "urn:sidetone:problem:internal", "title": "Something is wrong on our side", "status": 507});
        assert_eq!(read(Problem::new(StatusCode::INSUFFICIENT_STORAGE).into_response()).await.2, bare);
    }

    #[tokio::test]
    async fn other_errors_are_given_the_shape_and_keep_their_headers() {
        let plain = (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET")], "not\n").into_response();
        let shaped = shape(plain).await;
        assert_eq!(shaped.headers()[ALLOW], "GET");
        let expected = json!({"type": "urn:sidetone:problem:method-not-allowed", "title": "This cannot be done here",
            "status": 405, "detail": "not"});
        assert_eq!(read(shaped).await, (405, MEDIA_TYPE.into(), expected));
        let html = (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "text/html")], "<p>").into_response();
        assert_eq!(read(shape(html).await).await.2["detail"], Value::Null);
        let long = (StatusCode::BAD_REQUEST, "x".repeat(DETAIL_BYTES_MAX + 1)).into_response();
        assert_eq!(read(shape(long).await).await.2["detail"], Value::Null);
        let fine = read(shape("fine".into_response()).await).await;
        assert_eq!((fine.0, fine.1.as_str()), (200, "text/plain; charset=utf-8"));
        let own = Problem::no_such_call();
        assert_eq!(read(shape(own.clone().into_response()).await).await.2, serde_json::to_value(own).unwrap());
    }
}
