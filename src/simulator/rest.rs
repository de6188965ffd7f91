//! The Voice REST API of an offline Vonage: who may ask, how often, and in what shape.
//!
//! Source: `vonage-voice.md` section 5. What is asked for is done by [`Voice`].
//!
//! Regions: a call lives in one, elsewhere it is 404. Where [`Settings::host`] is set, a
//! request about a call whose `Host` header says something else stands for another
//! region. So one listener is enough: `127.0.0.1:8080` may be the call's region, and
//! `localhost:8080` the rest of the world.

mod auth;
mod check;
mod reply;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use tokio::time::Instant;

use self::check::Checked;
use self::reply::{Error, done, ok};
use super::bucket::Bucket;
use super::voice::Voice;
use crate::types::{Moment, WallTime};
use crate::vonage::app_jwt::AppPublicKey;
use crate::vonage::rest_types::{CALLS_PER_SECOND, CallCommand, REQUESTS_PER_SECOND};

/// Longest body taken, in bytes: an NCCO may be inside.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// A hang-up so soon after a call's creation gets 400.
pub const TOO_EARLY: Duration = Duration::from_secs(2);

/// Who may ask, and how often.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose tokens are taken; without one, anybody may ask.
    pub key: Option<AppPublicKey>,
    /// The application that a token must name; none takes every application.
    pub application_id: Option<String>,
    /// The `Host` of the region where calls live; none finds them under every name.
    pub host: Option<String>,
    /// How often; to be shared with whoever runs `connect`, which counts as a call.
    pub rates: Arc<Rates>,
    /// Times faster than real time, above 0.
    pub pace: f64,
}

/// The two limits of an application.
#[derive(Debug)]
pub struct Rates {
    start: Instant,
    pace: f64,
    calls: Mutex<Bucket>,
    others: Mutex<Bucket>,
}

impl Rates {
    /// Vonage's limits, on a clock that runs `pace` times as fast (above 0).
    #[must_use]
    pub fn new(pace: f64) -> Self {
        Self::of(CALLS_PER_SECOND, REQUESTS_PER_SECOND, pace)
    }

    /// So many calls and so many other requests a second.
    #[must_use]
    pub fn of(calls: u32, others: u32, pace: f64) -> Self {
        Self {
            start: Instant::now(),
            pace,
            calls: Mutex::new(Bucket::new(calls)),
            others: Mutex::new(Bucket::new(others)),
        }
    }

    /// Whether one more call may be made now: `POST /v1/calls`, or a `connect`.
    pub fn call(&self) -> bool {
        self.take(&self.calls)
    }

    /// Whether one more other request may be made now.
    pub fn other(&self) -> bool {
        self.take(&self.others)
    }

    fn take(&self, bucket: &Mutex<Bucket>) -> bool {
        // Saturating: beyond half a million years the limit would no longer hold.
        let micros = self.start.elapsed().as_secs_f64() * self.pace * 1e6;
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Moment(micros as u64))
    }
}

/// What the handlers share.
struct Api<P> {
    platform: Arc<P>,
    settings: Settings,
    /// Calls created within [`TOO_EARLY`], oldest first.
    young: Mutex<VecDeque<(Instant, String)>>,
}

impl<P> Api<P> {
    /// Forgets who is no longer young.
    fn young(&self) -> MutexGuard<'_, VecDeque<(Instant, String)>> {
        // Clamped, since a span must be finite.
        let age = TOO_EARLY.div_f64(self.settings.pace.max(1e-6));
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        while young.front().is_some_and(|(created, _)| created.elapsed() >= age) {
            young.pop_front();
        }
        young
    }
}

type Shared<P> = State<Arc<Api<P>>>;
type Answered = Result<Response, Error>;

/// All endpoints, under `/v1`.
pub fn router<P: Voice>(platform: Arc<P>, settings: Settings) -> Router {
    let api = Arc::new(Api { platform, settings, young: Mutex::default() });
    Router::new()
        .route("/v1/calls", post(create::<P>).get(list::<P>))
        .route("/v1/calls/{uuid}", get(call::<P>).put(modify::<P>))
        .route("/v1/calls/{uuid}/stream", put(stream::<P>).delete(stream_stop::<P>))
        .route("/v1/calls/{uuid}/talk", put(talk::<P>).delete(talk_stop::<P>))
        .route("/v1/calls/{uuid}/dtmf", put(dtmf::<P>))
        .route("/v1/calls/{uuid}/input/dtmf", put(subscribe::<P>).delete(unsubscribe::<P>))
        .route("/v1/legs/{uuid}/recording", post(record::<P>))
        .route("/v1/files/{uuid}", get(file::<P>))
        .method_not_allowed_fallback(async || Error::Method)
        .fallback(async || Error::NotFound)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&api), admit::<P>))
        .with_state(api)
}

/// Who asks, how often, and in which region: before anything else is looked at.
async fn admit<P: Voice>(State(api): Shared<P>, request: Request, next: Next) -> Answered {
    api.settings.admit(&request)?;
    Ok(next.run(request).await)
}

impl Settings {
    fn admit(&self, request: &Request) -> Result<(), Error> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(key) = &self.key {
            let now = WallTime(chrono::Utc::now().timestamp_micros());
            auth::check(key, self.application_id.as_deref(), text(header::AUTHORIZATION), now)?;
        }
        let path = request.uri().path();
        let creates = path == "/v1/calls" && request.method() == Method::POST;
        if !(if creates { self.rates.call() } else { self.rates.other() }) {
            return Err(Error::TooMany);
        }
        let here = self.host.as_deref().is_none_or(|host| text(header::HOST) == Some(host));
        if path != "/v1/calls" && !here { Err(Error::NotFound) } else { Ok(()) }
    }
}

async fn create<P: Voice>(State(api): Shared<P>, body: Bytes) -> Answered {
    let created = api.platform.create(check::create(&body)?)?;
    if let Some(uuid) = created.uuid.get() {
        api.young().push_back((Instant::now(), uuid.clone()));
    }
    Ok(reply::json(StatusCode::CREATED, &created))
}

async fn list<P: Voice>(State(api): Shared<P>, RawQuery(query): RawQuery) -> Answered {
    Ok(ok(&api.platform.list(&check::list(query.as_deref().unwrap_or_default())?)))
}

async fn call<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>) -> Answered {
    api.platform.call(&uuid).map(|call| ok(&call)).ok_or(Error::NotFound)
}

async fn modify<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    let command = check::modify(&body)?;
    if command.action.get() == Some(&CallCommand::Hangup) && api.young().iter().any(|(_, young)| *young == uuid) {
        return Err(Error::BadRequest("the call was created a moment ago; try again".to_owned()));
    }
    api.platform.modify(&uuid, command)?;
    Ok(done())
}

async fn stream<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    Ok(ok(&api.platform.stream(&uuid, Some(check::stream(&body)?))?))
}

async fn stream_stop<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>) -> Answered {
    Ok(ok(&api.platform.stream(&uuid, None)?))
}

async fn talk<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    Ok(ok(&api.platform.talk(&uuid, Some(check::talk(&body)?))?))
}

async fn talk_stop<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>) -> Answered {
    Ok(ok(&api.platform.talk(&uuid, None)?))
}

async fn dtmf<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    Ok(ok(&api.platform.dtmf(&uuid, check::dtmf(&body)?)?))
}

async fn subscribe<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    api.platform.subscribe_dtmf(&uuid, Some(check::subscribe(&body)?))?;
    Ok(done())
}

async fn unsubscribe<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>) -> Answered {
    api.platform.subscribe_dtmf(&uuid, None)?;
    Ok(done())
}

async fn record<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>, body: Bytes) -> Answered {
    api.platform.record(&uuid, check::record(&body)?)?;
    Ok(done())
}

async fn file<P: Voice>(State(api): Shared<P>, Path(uuid): Path<String>) -> Answered {
    let file = api.platform.recording(&uuid).ok_or(Error::NotFound)?;
    let kind = match &*file {
        [b'R', b'I', b'F', b'F', ..] => "audio/wav",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        _ => "audio/mpeg",
    };
    Ok(([(header::CONTENT_TYPE, kind)], file).into_response())
}

impl From<Checked> for Error {
    fn from(checked: Checked) -> Self {
        Self::Invalid(checked)
    }
}

#[cfg(test)]
mod tests;
