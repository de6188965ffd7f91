//! `GET /media`: lets a leg in, or says why not, before any audio flows.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Gateway;
use super::leg::{self, Asked};
use crate::telemetry::LegRefused;
use crate::types::{ConversationId, Speaker};

/// Seconds after which a refused peer may try again.
const RETRY_AFTER_S: &str = "5";

/// Bytes that a leg's socket reads at once: some six frames. The library's default
/// is 128 KiB, cleared on every read.
const READ_BUFFER: usize = 4_096;

/// Bytes that may wait to be written to a peer that does not read.
const WRITE_BUFFER_MAX: usize = 65_536;

/// Takes a WebSocket from Vonage. Query: `conversation`, and `role` or `speaker`;
/// the NCCO's custom headers may say the same.
pub(super) async fn connect(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let conversation = match query.get("conversation").map(|id| ConversationId::parse(id)).transpose() {
        Ok(conversation) => conversation,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("conversation: {error}\n")).into_response(),
    };
    let speaker = query.get("speaker").or_else(|| query.get("role")).map(|name| Speaker::parse(name));
    let reason = if gateway.drain.is_cancelled() {
        "draining"
    } else if gateway.outbox.is_pressed() {
        "outbox_full"
    } else if let Some(place) = gateway.admission.try_enter() {
        let asked = Asked { conversation, speaker: speaker.unwrap_or_default() };
        let runner = Arc::clone(&gateway);
        return upgrade
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(gateway.server.message_bytes_max)
            .max_frame_size(gateway.server.message_bytes_max)
            .on_upgrade(move |socket| {
                let legs = runner.legs.clone();
                legs.track_future(leg::run(runner, socket, asked, place))
            });
    } else {
        "legs_max"
    };
    LegRefused { reason }.emit();
    let refusal = format!("no more legs now: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)], refusal).into_response()
}
