//! `GET /v1/events`: every event from now on, as server-sent events.
//!
//! Each event's SSE `id` is its CloudEvents `id`, its SSE `event` the type, its
//! data the envelope in structured mode. A reader that falls behind is told how
//! many events it missed; nobody waits for it. The stream ends when the gateway has
//! stopped and the last word was said.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::{Event as SseEvent, KeepAlive};
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::Gateway;
use crate::event::Event;

/// Follows the events; `?conversation=` and `?type=` narrow them.
pub(super) async fn follow(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<HashMap<String, String>>,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let wanted = move |event: &Event| {
        query.get("conversation").is_none_or(|id| id == event.origin.conversation.as_str())
            && query.get("type").is_none_or(|kind| event.body.kind().starts_with(kind.as_str()))
    };
    let events = BroadcastStream::new(gateway.outbox.follow()).filter_map(move |received| {
        let sent = match received {
            Ok(event) => wanted(&event).then(|| to_sse(&event)),
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Some(SseEvent::default().event("missed").data(missed.to_string()))
            }
        };
        std::future::ready(sent.map(Ok))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn to_sse(event: &Event) -> SseEvent {
    let data = String::from_utf8(event.to_structured()).unwrap_or_default();
    SseEvent::default().id(event.id()).event(event.body.kind()).data(data)
}
