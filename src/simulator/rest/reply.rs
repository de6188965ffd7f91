//! Replies, and errors in the shapes of Vonage.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::check::Checked;
use crate::simulator::voice::Refusal;
use crate::vonage::rest_types::ApiError;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Error {
    /// 401.
    Unauthorized,
    /// 404: no such call here, or no such endpoint.
    NotFound,
    /// 405.
    Method,
    /// 429.
    TooMany,
    /// 400, with the names of what is wrong.
    Invalid(Checked),
    /// 400.
    BadRequest(String),
    /// 409.
    Conflict(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::BadRequest(why) => Self::BadRequest(why),
            Refusal::Conflict(why) => Self::Conflict(why),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let short = |status, kind: &str, title: &str| {
            json(status, &ApiError { kind: kind.into(), error_title: title.into(), ..Default::default() })
        };
        match self {
            Self::Unauthorized => short(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized"),
            Self::NotFound => short(StatusCode::NOT_FOUND, "NOT_FOUND", "Not Found"),
            Self::Method => short(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Method Not Allowed"),
            Self::TooMany => short(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too Many Requests"),
            Self::BadRequest(why) => long(StatusCode::BAD_REQUEST, "Bad Request", &why, None),
            Self::Conflict(why) => long(StatusCode::CONFLICT, "Conflict", &why, None),
            Self::Invalid(checked) => {
                let named = checked.0.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
                long(StatusCode::BAD_REQUEST, "Bad Request", "Invalid parameters", Some(named))
            }
        }
    }
}

/// RFC 7807.
fn long(status: StatusCode, title: &str, detail: &str, invalid: Option<Value>) -> Response {
    let error = ApiError {
        kind: "https://developer.vonage.com/api-errors".into(),
        title: title.into(),
        detail: detail.into(),
        instance: uuid::Uuid::new_v4().simple().to_string().into(),
        invalid_parameters: invalid.into(),
        ..Default::default()
    };
    json(status, &error)
}

/// A JSON reply. Our types can always be written.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// 200.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// 204.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
