//! What operators and their machines ask: alive, ready, metrics, the contract.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use metrics::gauge;
use serde_json::{Value, json};

use super::Gateway;
use crate::event::schema;
use crate::inference::Readiness;
use crate::inference::breaker::Standing;

/// `GET /healthz`
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: 200 when a call can be taken, else 503; either way what each part says.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let model = match &*gateway.pool.readiness().borrow() {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Warming => "warming".to_owned(),
        Readiness::Failed(error) => format!("failed: {error}"),
    };
    let legs = if gateway.admission.is_full(gateway.clock.now()) { "full" } else { "ready" };
    let outbox = if gateway.outbox.is_pressed() { "full" } else { "ready" };
    let draining = gateway.drain.is_cancelled();
    let standings = gateway.pool.standings();
    // While one of them may be asked, calls can be taken.
    let refused = !standings.is_empty() && standings.iter().all(|(_, standing)| *standing == Standing::Refused);
    let transcribers: serde_json::Map<String, Value> =
        standings.into_iter().map(|(name, standing)| (name.to_owned(), standing.as_str().into())).collect();
    let scorer: serde_json::Map<String, Value> = gateway
        .pool
        .scorer_standing()
        .map(|(name, standing)| (name.to_owned(), standing.as_str().into()))
        .into_iter()
        .collect();
    let shadow: serde_json::Map<String, Value> =
        gateway.pool.shadow_standing().map(|(name, standing)| (name.to_owned(), standing.into())).into_iter().collect();
    let ready = model == "ready" && !refused && legs == "ready" && outbox == "ready" && !draining;
    // A scorer, a shadow or a sink in trouble is shown, but calls can be taken: a text goes without
    // a score and unmeasured, and events while the outbox has room.
    let sinks: serde_json::Map<String, Value> =
        gateway.outbox.troubles().into_iter().map(|(name, trouble)| (name.to_owned(), trouble.into())).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "model": model, "transcribers": transcribers, "scorer": scorer, "shadow": shadow, "legs": legs, "outbox": outbox, "draining": draining, "sinks_in_trouble": sinks});
    (status, Json(body))
}

/// `GET /metrics`
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> String {
    let backlog = gateway.pool.backlog();
    gauge!("sidetone_audio_behind_seconds").set(backlog.audio_s);
    gauge!("sidetone_queued_segments", "kind" => "final").set(backlog.finals as f64);
    gauge!("sidetone_queued_segments", "kind" => "partial").set(backlog.partials as f64);
    gateway.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default()
}

/// `GET /v1/asyncapi.json`
pub(super) async fn asyncapi() -> Json<Value> {
    Json(schema::asyncapi())
}

/// `GET /v1/schemas`
pub(super) async fn schemas() -> Json<Value> {
    Json(
        schema::all()
            .into_iter()
            .map(|event| (event.kind.to_owned(), event.schema))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    )
}
