//! Calls, as the API shows them: what the controller knows, and what was said.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::extract::{Checked, CheckedQuery};
use super::problem::{InvalidParameter, Problem};
use super::types::{
    CallDetail, CallList, CallState, CallSummary, CallTo, Direction, ListCalls, Outbound, PAGE_DEFAULT, Participant,
    Transcript, TranscriptSegment,
};
use crate::control::{self, CallView};
use crate::event::{Body, Event};
use crate::server::Gateway;
use crate::types::{ConversationId, Private};
use crate::vonage::ncco::{App, Endpoint, Phone, Sip, Vbc};

type Shared = State<Arc<Gateway>>;

/// `GET /v1/calls`
///
/// # Errors
/// 422 for a cursor that is none of ours.
pub(super) async fn list(
    State(gateway): Shared,
    CheckedQuery(asked): CheckedQuery<ListCalls>,
) -> Result<Json<CallList>, Problem> {
    let from = asked.from.as_deref().and_then(|from| chrono::DateTime::parse_from_rfc3339(from).ok());
    let from = from.map(|from| from.timestamp_micros());
    let mut calls = gateway.controller.views().filter(|view| {
        let begun = chrono::DateTime::parse_from_rfc3339(&view.record.started).map(|at| at.timestamp_micros());
        asked.status.is_none_or(|status| status == state(view))
            && from.is_none_or(|from| begun.is_ok_and(|at| at >= from))
    });
    if let Some(cursor) = &asked.cursor {
        // The cursor is the last call of the page before; calls that ended since may be gone.
        if !calls.by_ref().any(|view| view.id.as_str() == cursor) {
            let wrong = InvalidParameter::new("cursor", "is no call that is known any more; begin again without it");
            return Err(Problem::invalid(vec![wrong]));
        }
    }
    let limit = usize::from(asked.limit.unwrap_or(PAGE_DEFAULT));
    let mut page: Vec<_> = calls.by_ref().take(limit).map(|view| summary(&view)).collect();
    let more = calls.next().is_some();
    let next = page.last_mut().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(CallList { calls: page, next }))
}

/// `GET /v1/calls/{id}`
///
/// # Errors
/// 404.
pub(super) async fn one(State(gateway): Shared, Path(id): Path<String>) -> Result<Json<CallDetail>, Problem> {
    let view = find(&gateway, &id)?;
    let legs = gateway.directory.of(&view.id);
    let participants = view.record.participants.iter().filter(|who| !matches!(&*who.role, "listener" | "mixed"));
    let participants = participants.map(|who| Participant {
        leg: who.participant.clone(),
        speaker: who.role.clone(),
        status: last_state(who),
        answered_at: who.states.get("answered").cloned(),
        ended_at: who.outcome.as_ref().and_then(|outcome| who.states.get(outcome)).cloned(),
        heard_by: legs
            .iter()
            .map(|leg| leg.info())
            .find(|leg| leg.participant.as_ref().is_some_and(|heard| heard.as_str() == who.participant))
            .map(|leg| leg.id.to_string()),
    });
    Ok(Json(CallDetail { summary: summary(&view), paused: view.paused, participants: participants.collect() }))
}

/// `GET /v1/calls/{id}/transcript`
///
/// # Errors
/// 404.
pub(super) async fn transcript(State(gateway): Shared, Path(id): Path<String>) -> Result<Json<Transcript>, Problem> {
    let view = find(&gateway, &id)?;
    let segments = gateway.transcripts.of(&view.id).iter().filter_map(|event| segment(event)).collect();
    let complete = view.state == control::CallState::Closed && view.record.complete;
    Ok(Json(Transcript { id, complete, segments }))
}

/// `POST /v1/calls`
///
/// # Errors
/// 422 for a flow that is not configured, 503 where no call can be made.
pub(super) async fn dial(
    State(gateway): Shared,
    Checked(asked): Checked<Outbound>,
) -> Result<(StatusCode, Json<CallSummary>), Problem> {
    let flows = &gateway.controller.settings().flows;
    let flow = match &asked.flow {
        Some(name) => flows.iter().find(|flow| *flow.name == **name),
        None => flows.first(),
    };
    let Some(flow) = flow else {
        return Err(Problem::invalid(vec![InvalidParameter::new(
            "flow",
            "is not the name of a flow that is configured",
        )]));
    };
    let endpoint: Endpoint = match &asked.to {
        CallTo::Phone { number } => Phone { number: number.0.as_str().into(), ..Default::default() }.into(),
        CallTo::Sip { uri } => Sip { uri: uri.clone().into(), ..Default::default() }.into(),
        CallTo::App { user } => App { user: user.0.as_str().into(), ..Default::default() }.into(),
        CallTo::Vbc { extension } => Vbc { extension: extension.0.as_str().into(), ..Default::default() }.into(),
    };
    let from = asked.from.as_ref().map(|number| number.0.as_str());
    let dialled = gateway.controller.dial(flow, &endpoint, from).map_err(|reason| {
        let why = match reason {
            "no_api" => "vonage.private_key is not set, so no calls can be made",
            "queue_full" => "too many calls wait to be made",
            _ => "too many calls are followed",
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail(why)
    })?;
    let view = gateway.controller.view(&dialled).ok_or_else(Problem::no_such_call)?;
    Ok((StatusCode::CREATED, Json(summary(&view))))
}

/// The id of a call that is known here.
pub(super) fn known(gateway: &Gateway, id: &str) -> Result<ConversationId, Problem> {
    let id = ConversationId::parse(id).map_err(|_| Problem::no_such_call())?;
    gateway.controller.state(&id).map(|_| id).ok_or_else(Problem::no_such_call)
}

/// The call with this id, as it stands now.
pub(super) fn find(gateway: &Gateway, id: &str) -> Result<CallView, Problem> {
    let id = ConversationId::parse(id).map_err(|_| Problem::no_such_call())?;
    gateway.controller.view(&id).ok_or_else(Problem::no_such_call)
}

fn state(view: &CallView) -> CallState {
    match view.state {
        control::CallState::Open if view.record.answered.is_none() => CallState::Ringing,
        control::CallState::Open => CallState::Active,
        control::CallState::Closing | control::CallState::Closed => CallState::Ended,
    }
}

fn summary(view: &CallView) -> CallSummary {
    let record = &view.record;
    let status = state(view);
    CallSummary {
        id: view.id.to_string(),
        status,
        direction: match record.direction.as_deref() {
            Some("inbound") => Some(Direction::Inbound),
            Some("outbound") => Some(Direction::Outbound),
            _ => None,
        },
        from: record.from.clone().map(Private),
        to: record.to.clone().map(Private),
        flow: record.flow.clone(),
        started_at: record.started.clone(),
        ended_at: (status == CallState::Ended).then(|| record.ended.clone()),
    }
}

/// The word of the state that was reached last.
fn last_state(who: &crate::event::call::RecordParticipant) -> String {
    let latest = || who.states.iter().max_by(|a, b| a.1.cmp(b.1)).map(|(word, _)| word.clone());
    who.outcome.clone().or_else(latest).unwrap_or_else(|| "started".to_owned())
}

fn segment(event: &Event) -> Option<TranscriptSegment> {
    let (leg, speaker) = (event.origin.leg.to_string(), event.origin.speaker.to_string());
    Some(match &event.body {
        Body::TranscriptFinal(said) => TranscriptSegment {
            leg,
            speaker,
            segment: said.segment,
            start_ms: said.start_ms,
            end_ms: said.end_ms,
            text: Some(Private(said.text.clone())),
            dropped: None,
            words: Private(said.words.clone()),
            language: Some(said.language.clone()),
            sentiment: said.sentiment.clone(),
        },
        Body::TranscriptDropped(lost) => TranscriptSegment {
            leg,
            speaker,
            segment: lost.segment,
            start_ms: lost.start_ms,
            end_ms: lost.end_ms,
            text: None,
            dropped: Some(lost.reason.clone()),
            words: Private(Vec::new()),
            language: None,
            sentiment: None,
        },
        _ => return None,
    })
}
