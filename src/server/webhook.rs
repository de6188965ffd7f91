//! Vonage's webhooks: `/v1/vonage/answer`, `/v1/vonage/event`, `/v1/vonage/fallback`, each
//! by GET or POST.
//!
//! Answered from memory: nothing here waits for Vonage, a sink or inference. What must be
//! asked of Vonage is asked afterwards.

use std::future::ready;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::Gateway;
use super::webhook_door::{Admitted, Refused};
use crate::control::{Tag, UnknownCall};
use crate::telemetry::{WebhookRefused, WebhookTaken};
use crate::types::ConversationId;
use crate::vonage::signature::{BadSignature, Payload};
use crate::vonage::webhook::{self, Answer, BadWebhook, Event, FallbackOf};

/// What is done with a webhook: its reply, empty for none.
type Handler = fn(&Gateway, Request<'_>) -> Result<Bytes, BadWebhook>;

/// A webhook, by whichever method.
struct Request<'a> {
    /// Decoded pairs of the query, in order.
    query: &'a [(String, String)],
    /// The whole query, as it came.
    raw_query: &'a str,
    /// None where it came by GET.
    body: Option<&'a [u8]>,
}

/// Call details; replied to with an NCCO.
pub(super) fn answer() -> MethodRouter<Arc<Gateway>> {
    by_either_method("answer", on_answer)
}

/// What became of a leg, or what a caller entered; some are replied to with an NCCO.
pub(super) fn event() -> MethodRouter<Arc<Gateway>> {
    by_either_method("event", on_event)
}

/// What one of the others could not be asked; replied to as that one.
pub(super) fn fallback() -> MethodRouter<Arc<Gateway>> {
    by_either_method("fallback", on_fallback)
}

fn by_either_method(kind: &'static str, handle: Handler) -> MethodRouter<Arc<Gateway>> {
    let handler = move |State(gateway): State<Arc<Gateway>>,
                        method: Method,
                        uri: Uri,
                        headers: HeaderMap,
                        body: Result<Bytes, BytesRejection>| {
        ready(take(&gateway, kind, &method, &uri, &headers, body, handle))
    };
    get(handler).post(handler)
}

fn take(
    gateway: &Gateway,
    kind: &'static str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    handle: Handler,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            WebhookRefused { kind, reason: "body" }.emit();
            return rejection.into_response();
        }
    };
    let raw_query = uri.query().unwrap_or_default();
    let query: Vec<(String, String)> = form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
    let posted = *method == Method::POST;
    let payload = if posted { Payload::Body(&body) } else { Payload::Query(&query) };
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let (wall, now) = (gateway.clock.wall(), gateway.clock.now());
    let id = match gateway.door.admit(authorization, payload, wall, now) {
        Ok(Admitted::New(id)) => id,
        Ok(Admitted::Again(reply)) => {
            WebhookTaken { kind, outcome: "repeated" }.emit();
            return reply_with(reply);
        }
        Ok(Admitted::Pending) => {
            WebhookTaken { kind, outcome: "pending" }.emit();
            return again_later("being handled\n");
        }
        Err(refused) => return refuse(kind, refused),
    };
    let request = Request { query: &query, raw_query, body: posted.then_some(&body[..]) };
    match handle(gateway, request) {
        Ok(reply) => {
            gateway.door.answered(id.as_deref(), Some(reply.clone()));
            WebhookTaken { kind, outcome: "handled" }.emit();
            reply_with(reply)
        }
        Err(bad) => {
            gateway.door.answered(id.as_deref(), None);
            WebhookRefused { kind, reason: "unreadable" }.emit();
            (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response()
        }
    }
}

fn refuse(kind: &'static str, refused: Refused) -> Response {
    WebhookRefused { kind, reason: refused.as_str() }.emit();
    match refused {
        // A rare fault on Vonage's side: what we answer so is sent again.
        Refused::Signature(BadSignature::Missing) => again_later("the request is not signed\n"),
        other => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], format!("{other}\n")).into_response()
        }
    }
}

fn again_later(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], why).into_response()
}

/// An NCCO, or nothing.
fn reply_with(reply: Bytes) -> Response {
    if reply.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], reply).into_response()
}

fn on_answer(gateway: &Gateway, request: Request<'_>) -> Result<Bytes, BadWebhook> {
    let answer = match request.body {
        Some(body) => webhook::parse_answer(body)?,
        None => webhook::parse_answer_query(request.query)?,
    };
    Ok(give_answer(gateway, &answer))
}

fn give_answer(gateway: &Gateway, answer: &Answer) -> Bytes {
    let room = |call: &ConversationId| {
        let open = !gateway.drain.is_cancelled() && !gateway.outbox.is_pressed();
        open && gateway.admission.promise(call, gateway.clock.now())
    };
    gateway.controller.answer(answer, room)
}

fn on_event(gateway: &Gateway, request: Request<'_>) -> Result<Bytes, BadWebhook> {
    let event = match request.body {
        Some(body) => webhook::parse_event(body)?,
        None => webhook::parse_event_query(request.query)?,
    };
    Ok(give_event(gateway, Tag::read(request.raw_query).as_ref(), &event))
}

fn give_event(gateway: &Gateway, tag: Option<&Tag>, event: &Event) -> Bytes {
    match gateway.controller.event(tag, event) {
        Ok(ncco) => ncco.map(|ncco| ncco.to_bytes().into()).unwrap_or_default(),
        // Sending it again would not tell us more.
        Err(UnknownCall) => {
            WebhookTaken { kind: "event", outcome: "unattributed" }.emit();
            Bytes::new()
        }
    }
}

/// Vonage asks again, here, what was not answered in time; answering twice is harmless.
fn on_fallback(gateway: &Gateway, request: Request<'_>) -> Result<Bytes, BadWebhook> {
    let fallback = match request.body {
        Some(body) => webhook::parse_fallback(body)?,
        None => webhook::parse_fallback_query(request.query)?,
    };
    Ok(match &fallback.of {
        FallbackOf::Answer(answer) => give_answer(gateway, answer),
        FallbackOf::Event(event) => {
            let url = fallback.original.get().and_then(|original| original.url.get());
            let tag = url.and_then(|url| url.split_once('?')).and_then(|(_, query)| Tag::read(query));
            give_event(gateway, tag.as_ref(), event)
        }
    })
}
