//! Commands to a call: most go to Vonage for each leg meant; pauses and what is played
//! through our own sockets stay here.

use std::io::Cursor;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;

use super::calls::{find, known};
use super::extract::{self, Checked, CheckedQuery};
use super::problem::Problem;
use super::types::{HangUp, Mute, Pause, Play, PlayQuery, PressKeys, Resume, Say, Stop, Transfer};
use crate::audio::wav::{self, Wav};
use crate::control::{CallState, Role};
use crate::server::{Command, CommandRefused, Gateway};
use crate::types::{ConversationId, LegId};
use crate::vonage::ncco::Ncco;
use crate::vonage::rest::{Client, RestError};
use crate::vonage::rest_types::{StreamIntoCall, TalkIntoCall};
use crate::vonage::wire::{Num, Wire as _};

type Shared = State<Arc<Gateway>>;
type Done = Result<StatusCode, Problem>;

/// A leg that is commanded, and the region where it lives.
type Meant = (LegId, Option<String>);

/// `POST /v1/calls/{id}/hangup`
///
/// # Errors
/// 404, 409 where nobody is meant, 502 where Vonage did not do it.
pub(super) async fn hang_up(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<HangUp>) -> Done {
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref())?;
    for (leg, region) in &legs {
        // One leg's end may have taken this one along, which is as good.
        done(api.hang_up(leg.as_str(), region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/transfer`
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn transfer(
    State(gateway): Shared,
    Path(id): Path<String>,
    Checked(asked): Checked<Transfer>,
) -> Done {
    // Whom one means without saying is the party that the call is about.
    let caller = asked.leg.is_none().then_some(Role::Caller.as_str().to_owned());
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), caller.as_deref())?;
    for (leg, region) in &legs {
        let ncco = asked.ncco.as_ref().and_then(|ncco| Ncco::from_wire(ncco.0.clone()).ok());
        done(match (ncco, &asked.url) {
            (Some(ncco), _) => api.transfer(leg.as_str(), ncco, region.as_deref()).await,
            (None, Some(url)) => api.transfer_to(leg.as_str(), url, region.as_deref()).await,
            (None, None) => Ok(()),
        })?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/mute`
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn mute(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<Mute>) -> Done {
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref())?;
    for (leg, region) in &legs {
        done(api.mute(leg.as_str(), region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/unmute`
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn unmute(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<Mute>) -> Done {
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref())?;
    for (leg, region) in &legs {
        done(api.unmute(leg.as_str(), region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/say`
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn say(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<Say>) -> Done {
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref())?;
    let talk = TalkIntoCall {
        text: asked.text.0.as_str().into(),
        language: asked.language.clone().into(),
        style: asked.style.map(Num::from).into(),
        ..Default::default()
    };
    for (leg, region) in &legs {
        done(api.talk(leg.as_str(), &talk, region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/dtmf`
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn press(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<PressKeys>) -> Done {
    let (api, legs) = meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref())?;
    for (leg, region) in &legs {
        done(api.send_dtmf(leg.as_str(), asked.digits.clone(), region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/pause`
///
/// # Errors
/// 404; 409 once the call is over.
pub(super) async fn pause(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<Pause>) -> Done {
    set_paused(&gateway, &id, true, asked.reason.as_deref())
}

/// `POST /v1/calls/{id}/resume`
///
/// # Errors
/// As [`pause`].
pub(super) async fn resume(
    State(gateway): Shared,
    Path(id): Path<String>,
    Checked(Resume {}): Checked<Resume>,
) -> Done {
    set_paused(&gateway, &id, false, None)
}

fn set_paused(gateway: &Gateway, id: &str, paused: bool, reason: Option<&str>) -> Done {
    let id = known(gateway, id)?;
    let over = || Problem::new(StatusCode::CONFLICT).detail("the call is over, or too many calls are paused");
    gateway.controller.set_paused(&id, paused, reason).map_err(|_| over())?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/play`: a WAV file, or JSON that names one.
///
/// A WAV file goes through our own media socket where one may be heard, where speech stops
/// it; else Vonage fetches it from us.
///
/// # Errors
/// As [`hang_up`]; 415 for another body, 422 for a file that cannot be played.
pub(super) async fn play(State(gateway): Shared, Path(id): Path<String>, request: Request) -> Done {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !matches!(kind.split(';').next().unwrap_or_default().trim(), "audio/wav" | "audio/x-wav" | "audio/wave") {
        let Checked(asked) = Checked::<Play>::from_request(request, &gateway).await?;
        let stream = stream_of(&asked.url, asked.repeat);
        return play_by_vonage(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref(), &stream).await;
    }
    let (mut parts, body) = request.into_parts();
    let CheckedQuery(asked) =
        <CheckedQuery<PlayQuery> as axum::extract::FromRequestParts<_>>::from_request_parts(&mut parts, &gateway)
            .await?;
    let bytes = extract::bytes(Bytes::from_request(Request::from_parts(parts, body), &gateway).await)?;
    let call = known(&gateway, &id)?;
    let file = bytes.clone();
    let decoded = tokio::task::spawn_blocking(move || decode(&file)).await;
    let audio = decoded.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail("stopping"))??;
    let repeat = asked.repeat.unwrap_or(1);
    if repeat == 1 && play_by_socket(&gateway, &call, &asked, audio).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let clip = gateway.clips.keep(bytes, gateway.clock.now()).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail("too much audio waits to be fetched; try again later")
    })?;
    let url = format!("{}{}/{clip}", gateway.controller.settings().public_url, crate::server::clips::PATH);
    let stream = stream_of(&url, asked.repeat);
    play_by_vonage(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref(), &stream).await
}

/// Plays to those of our sockets that are heard; says whether there was one.
async fn play_by_socket(
    gateway: &Gateway,
    call: &ConversationId,
    asked: &PlayQuery,
    audio: Wav,
) -> Result<bool, Problem> {
    let legs: Vec<_> = gateway
        .directory
        .of(call)
        .into_iter()
        .filter(|leg| {
            let info = leg.info();
            let is_leg =
                asked.leg.as_ref().is_none_or(|leg| info.participant.as_ref().is_some_and(|p| p.as_str() == leg));
            let is_speaker = asked.speaker.as_ref().is_none_or(|speaker| info.speaker.as_str() == speaker);
            !info.listen_only && is_leg && is_speaker
        })
        .collect();
    let samples: Arc<[i16]> = audio.channels.into_iter().next().unwrap_or_default().into();
    let id = uuid::Uuid::new_v4().to_string();
    for leg in &legs {
        leg.play(&id, Arc::clone(&samples), audio.rate, true).await.map_err(|refused| match refused {
            CommandRefused::Gone => Problem::new(StatusCode::CONFLICT).detail("the leg is over"),
            other => Problem::new(StatusCode::CONFLICT).detail(other.to_string()),
        })?;
    }
    Ok(!legs.is_empty())
}

fn stream_of(url: &str, repeat: Option<u32>) -> StreamIntoCall {
    StreamIntoCall { stream_url: url.into(), repeat: repeat.map(Num::from).into(), ..Default::default() }
}

async fn play_by_vonage(
    gateway: &Gateway,
    id: &str,
    leg: Option<&str>,
    speaker: Option<&str>,
    stream: &StreamIntoCall,
) -> Done {
    let (api, legs) = meant(gateway, id, leg, speaker)?;
    for (leg, region) in &legs {
        done(api.stream(leg.as_str(), stream, region.as_deref()).await)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn decode(bytes: &[u8]) -> Result<Wav, Problem> {
    let bad = |what: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail(what);
    let wav = wav::decode(Cursor::new(bytes), std::path::Path::new("the body")).map_err(|e| bad(e.to_string()))?;
    match wav.channels.len() {
        1 => Ok(wav),
        n => Err(bad(format!("the body has {n} channels; expected 1"))),
    }
}

/// `POST /v1/calls/{id}/stop`: whatever is played or said.
///
/// # Errors
/// As [`hang_up`].
pub(super) async fn stop(State(gateway): Shared, Path(id): Path<String>, Checked(asked): Checked<Stop>) -> Done {
    let ours = gateway.directory.of(&known(&gateway, &id)?);
    let ours: Vec<_> = ours.iter().filter(|leg| !leg.info().listen_only).collect();
    for leg in &ours {
        // One that is over plays nothing any more.
        let _ = leg.try_send(Command::StopPlayback);
    }
    let (api, legs) = match meant(&gateway, &id, asked.leg.as_deref(), asked.speaker.as_deref()) {
        Ok(meant) => meant,
        Err(_) if !ours.is_empty() => return Ok(StatusCode::NO_CONTENT),
        Err(problem) => return Err(problem),
    };
    for (leg, region) in &legs {
        // Nothing to stop is what was wanted.
        for stopped in [
            api.stop_stream(leg.as_str(), region.as_deref()).await,
            api.stop_talk(leg.as_str(), region.as_deref()).await,
        ] {
            match stopped {
                Err(RestError::NotFound { .. } | RestError::Rejected { .. }) | Ok(_) => {}
                Err(error) => drop(done(Err::<(), _>(error))?),
            }
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The legs that a command is about, and who takes it there.
fn meant<'a>(
    gateway: &'a Gateway,
    id: &str,
    leg: Option<&str>,
    speaker: Option<&str>,
) -> Result<(&'a Client, Vec<Meant>), Problem> {
    let view = find(gateway, id)?;
    if view.state != CallState::Open {
        return Err(Problem::new(StatusCode::CONFLICT).detail("the call is over"));
    }
    let is_meant = |(id, role, _): &(LegId, Role, Option<String>)| {
        leg.is_none_or(|leg| id.as_str() == leg) && speaker.is_none_or(|speaker| role.as_str() == speaker)
    };
    let legs: Vec<Meant> =
        view.live.iter().filter(|who| is_meant(who)).map(|(id, _, at)| (id.clone(), at.clone())).collect();
    if legs.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT).detail("nobody on the call is meant by this"));
    }
    let api = gateway.controller.api().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail("vonage.private_key is not set, so Vonage cannot be asked")
    })?;
    Ok((api, legs))
}

/// What Vonage answered, as our answer.
fn done<T>(result: Result<T, RestError>) -> Result<(), Problem> {
    let Err(error) = result else { return Ok(()) };
    let status = match error {
        RestError::NotFound { .. } => StatusCode::CONFLICT,
        RestError::RateLimited { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    Err(Problem::new(status).detail(error.to_string()))
}
