//! `GET /media`: lets a leg in, or says why not, before any audio flows.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::leg::{self, Asked};
use super::media_auth::{Denied, Pass, Shown};
use super::{Gateway, Peer};
use crate::telemetry::{LegRefused, MediaDenied};
use crate::types::{ConversationId, Speaker};

/// Seconds after which a refused peer may try again.
const RETRY_AFTER_S: &str = "5";

/// Why a leg was refused whose handshake is none.
const BAD_REQUEST: &str = "bad_request";

/// Bytes that a leg's socket reads at once: with their headers of 8, five frames at 16 kHz,
/// which is what waits for a quiet leg by default, and too little over to read the beginning of
/// the next. What is read in pieces costs a system call each. Longer messages are taken all the
/// same. The library's default is 128 KiB, cleared before every read.
const READ_BUFFER: usize = 5 * 648 + 12;

/// Bytes that may wait to be written to a peer that does not read.
const WRITE_BUFFER_MAX: usize = 65_536;

/// Takes a WebSocket from Vonage. Query: `token`; or `conversation`, and `role` or
/// `speaker`, and `listen_only=true`; the NCCO's custom headers may name the first two as
/// well. What a token says, neither can change.
pub(super) async fn connect(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            LegRefused { reason: BAD_REQUEST }.emit();
            return rejection.into_response();
        }
    };
    let wall = gateway.clock.wall();
    // A header that is not text is shown, but cannot be right.
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let shown = Shown { token: query.get("token").map(String::as_str), authorization };
    let pass = match gateway.media_auth.ways().judge(shown, wall) {
        Ok(pass) => pass,
        Err(denied) => return deny(denied),
    };
    let conversation = match query.get("conversation").map(|id| ConversationId::parse(id)).transpose() {
        Ok(conversation) => conversation,
        Err(error) => {
            LegRefused { reason: BAD_REQUEST }.emit();
            return (StatusCode::BAD_REQUEST, format!("conversation: {error}\n")).into_response();
        }
    };
    let heard = match &pass {
        Pass::Token(claims) => Some(claims.conversation.clone()),
        Pass::Open | Pass::Custom | Pass::Vonage(_) => conversation.clone(),
    };
    // From here on a stop waits for this leg; so either the stop is seen below, or the leg by it.
    let counted = gateway.legs.token();
    let speaker = query.get("speaker").or_else(|| query.get("role")).map(|name| Speaker::parse(name));
    let reason = if gateway.drain.is_cancelled() {
        "draining"
    } else if gateway.outbox.is_pressed() {
        "outbox_full"
    } else if let Some(place) = gateway.admission.try_enter(heard.as_ref(), gateway.clock.now()) {
        if let Err(denied) = gateway.media_auth.claim(&pass, wall, gateway.clock.now()) {
            return deny(denied);
        }
        let asked = match pass {
            Pass::Token(claims) => Asked::by(claims),
            Pass::Open | Pass::Custom | Pass::Vonage(_) => Asked {
                conversation,
                speaker: speaker.unwrap_or_default(),
                listen_only: query.get("listen_only").is_some_and(|value| value == "true"),
                ..Asked::default()
            },
        };
        let runner = Arc::clone(&gateway);
        let appetite = peer.map(|Extension(ConnectInfo(peer))| peer.appetite).unwrap_or_default();
        return upgrade
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(gateway.server.message_bytes_max)
            .max_frame_size(gateway.server.message_bytes_max)
            .on_upgrade(async move |socket| {
                leg::run(runner, socket, appetite, asked, place).await;
                drop(counted);
            });
    } else {
        "legs_max"
    };
    LegRefused { reason }.emit();
    let refusal = format!("no more legs now: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)], refusal).into_response()
}

fn deny(denied: Denied) -> Response {
    MediaDenied { reason: denied.as_str() }.emit();
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, format!("not let in: {}\n", denied.as_str())).into_response()
}
