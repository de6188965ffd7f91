//! `POST /v1/ncco/validate`: says what is wrong with an NCCO before a caller hears it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::Value;

use super::extract;
use super::problem::{InvalidParameter, Problem};
use super::types::{NccoProblem, NccoReport, Severity};
use crate::vonage::ncco::{self, BadNcco, Ncco};
use crate::vonage::wire::{Wire as _, kind};

/// Judges the NCCO in the body, whatever the body's media type is said to be. Needs no
/// state.
///
/// # Errors
/// 400 where the body is not JSON, 413 where it is too long, 422 where it is no array.
pub async fn validate(body: Result<Bytes, BytesRejection>) -> Result<Json<NccoReport>, Problem> {
    let body = extract::bytes(body)?;
    let ncco = Ncco::parse(&body).map_err(|bad| match bad {
        BadNcco::NotJson { .. } => Problem::new(StatusCode::BAD_REQUEST).detail(bad.to_string()),
        BadNcco::NotArray(_) => Problem::invalid(vec![InvalidParameter::new("body", bad.to_string())]),
    })?;
    Ok(Json(report(&ncco)))
}

fn report(ncco: &Ncco) -> NccoReport {
    let problems: Vec<_> = ncco::validate(ncco)
        .into_iter()
        .map(|problem| NccoProblem {
            message: problem.to_string(),
            severity: match problem.severity {
                ncco::Severity::Error => Severity::Error,
                ncco::Severity::Warning => Severity::Warning,
            },
            path: problem.path,
            rule: problem.rule.into_owned(),
        })
        .collect();
    NccoReport { valid: problems.iter().all(|problem| problem.severity == Severity::Warning), problems }
}

/// The errors of an NCCO that is the member `ncco` of a body.
pub(super) fn errors(value: &Value) -> Vec<InvalidParameter> {
    match Ncco::from_wire(value.clone()) {
        Err(odd) => vec![InvalidParameter::new("ncco", BadNcco::NotArray(kind(&odd)).to_string())],
        Ok(ncco) => {
            let found = ncco::validate(&ncco).into_iter().filter(|problem| problem.severity == ncco::Severity::Error);
            found
                .map(|problem| {
                    InvalidParameter::new(
                        format!("ncco{}", problem.path),
                        format!("{} ({})", problem.rule, problem.value),
                    )
                })
                .collect()
        }
    }
}
