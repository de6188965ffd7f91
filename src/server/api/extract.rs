//! Bodies and queries of requests, read and checked; what is wrong is a [`Problem`] that
//! says where.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::problem::{InvalidParameter, Problem};
use super::types::Asked;

/// What stands before the name and the reason in the framework's refusal of a query.
const QUERY_REFUSED: &str = "Failed to deserialize query string: ";

/// A JSON body that passed its checks.
#[derive(Debug, Clone)]
pub struct Checked<T>(pub T);

impl<T: Asked, S: Send + Sync> FromRequest<S> for Checked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = has_json(request.headers());
        let body = bytes(Bytes::from_request(request, state).await)?;
        if T::OPTIONAL && body.is_empty() {
            return json(b"{}").map(Self);
        }
        if !is_json {
            return Err(
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail("expected content-type: application/json")
            );
        }
        checked(json(&body)?).map(Self)
    }
}

/// A query that passed its checks.
#[derive(Debug, Clone)]
pub struct CheckedQuery<T>(pub T);

impl<T: Asked, S: Send + Sync> FromRequestParts<S> for CheckedQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.strip_prefix(QUERY_REFUSED).unwrap_or(&text);
            let (name, reason) = reason.split_once(": ").unwrap_or(("query", reason));
            Problem::invalid(vec![InvalidParameter::new(name, reason)])
        })?;
        checked(query).map(Self)
    }
}

fn checked<T: Asked>(asked: T) -> Result<T, Problem> {
    let wrong = asked.check();
    if wrong.is_empty() { Ok(asked) } else { Err(Problem::invalid(wrong)) }
}

/// A body's bytes, or why it could not be read.
///
/// # Errors
/// 413 where it is longer than the route allows, 400 where the connection broke.
pub(super) fn bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        Problem::new(rejection.into_response().status()).detail("the body could not be read whole")
    })
}

/// Reads JSON.
///
/// # Errors
/// 400 where it is none, 422 with the place where it is of another shape.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (name, error) = (error.path().to_string(), error.into_inner());
        if error.is_data() {
            let reason = error.to_string();
            // The place in the text is of no use besides the path.
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let name = if name == "." { "body" } else { &name };
            return Problem::invalid(vec![InvalidParameter::new(name, reason)]);
        }
        not_json(&error)
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(read)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST).detail(format!("the body is not JSON: {error}"))
}

fn has_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
