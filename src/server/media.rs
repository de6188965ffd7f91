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

/// Why a leg was refused whose handshake is none.
const BAD_REQUEST: &str = "bad_request";

/// Bytes that a leg's socket reads at once: with its header of 8, one frame at 16 kHz
/// or two at 8 kHz, and too little over to read the beginning of the next. What is read
/// in pieces costs a system call each. Longer messages are taken all the same. The
/// library's default is 128 KiB, cleared before every read.
const READ_BUFFER: usize = 660;

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
        Err(rejection) => {
            LegRefused { reason: BAD_REQUEST }.emit();
            return rejection.into_response();
        }
    };
    let conversation = match query.get("conversation").map(|id| ConversationId::parse(id)).transpose() {
        Ok(conversation) => conversation,
        Err(error) => {
            LegRefused { reason: BAD_REQUEST }.emit();
            return (StatusCode::BAD_REQUEST, format!("conversation: {error}\n")).into_response();
        }
    };
    // From here on a stop waits for this leg; so either the stop is seen below, or the leg by it.
    let counted = gateway.legs.token();
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
            .on_upgrade(async move |socket| {
                leg::run(runner, socket, asked, place).await;
                drop(counted);
            });
    } else {
        "legs_max"
    };
    LegRefused { reason }.emit();
    let refusal = format!("no more legs now: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)], refusal).into_response()
}
