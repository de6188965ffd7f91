//! One request: where it goes, what it carries, how often it is tried, how much of the
//! answer is read.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};

use super::retry::{self, Next, Repeat, Tries};
use super::token::{Purpose, Tokens, wall};
use super::{BadSettings, RestError, Settings, trust};
use crate::http::BodyError;
use crate::types::LegId;
use crate::vonage::app_jwt::AppKey;
use crate::vonage::rest_types::ApiError;
use crate::vonage::wire::Wire;

/// Most bytes read of an error's body.
const ERROR_BYTES_MAX: usize = 16_384;

/// Talks to the Voice REST API as one application. One for each gateway; a clone shares
/// connections and token.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    settings: Settings,
    tokens: Tokens,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// One request, without its base.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Path segments, not yet escaped.
    pub(super) path: &'a [&'a str],
    /// Names and values, not yet escaped.
    pub(super) query: &'a [(&'static str, String)],
    /// A JSON document.
    pub(super) body: Option<Vec<u8>>,
    pub(super) repeat: Repeat,
    /// Whether a call that is not found may be looked for elsewhere.
    pub(super) sweep: bool,
}

impl Client {
    /// A client of the application with this id and private key. Does not connect.
    ///
    /// # Errors
    /// [`BadSettings`]: a setting that cannot be, or a system without usable
    /// certificates.
    pub fn new(settings: Settings, application_id: &str, key: AppKey) -> Result<Self, BadSettings> {
        settings.check()?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("sidetone/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(Policy::none());
        if !settings.system_proxy {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| BadSettings {
            key: "TLS",
            value: error.without_url().to_string(),
            expected: "certificates and a proxy that can be used",
        })?;
        let tokens = Tokens::new(application_id, key, settings.token_life);
        Ok(Self(Arc::new(Inner { http, settings, tokens })))
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Whether our token may be sent to a URL: a `region_url`, a `recording_url`.
    #[must_use]
    pub fn trusts(&self, url: &str) -> bool {
        trust::url(url, &self.0.settings.trusted_hosts).is_ok()
    }

    /// Sends a request and reads the answer as a `T`; an empty body as an empty object.
    pub(super) async fn send<T: Wire>(
        &self,
        request: Request<'_>,
        region: Option<&str>,
        expected: &'static str,
    ) -> Result<T, RestError> {
        let started = Instant::now();
        let mut missing = None;
        for base in self.bases(region, request.sweep)? {
            let url = address(base, request.path, request.query)?;
            let limit = self.settings().total_timeout;
            let answered =
                self.patiently(request.repeat, started, limit, || self.attempt(&request, url.clone(), limit, started));
            match answered.await {
                Err(error @ RestError::NotFound { .. }) => missing = missing.or(Some(error)),
                other => return read(&other?, expected),
            }
        }
        Err(missing.unwrap_or(RestError::TimedOut))
    }

    /// Where to ask, in order: the region where we trust it, or the base; then the sweep.
    fn bases(&self, region: Option<&str>, sweep: bool) -> Result<Vec<Url>, RestError> {
        let settings = self.settings();
        let first = region.and_then(|region| trust::base(region, &settings.trusted_hosts));
        let first = match first {
            Some(region) => region,
            None => trust::url(&settings.base, &settings.trusted_hosts)?,
        };
        let mut bases = vec![first];
        for base in settings.sweep.iter().filter(|_| sweep) {
            let base = trust::url(base, &settings.trusted_hosts)?;
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        Ok(bases)
    }

    /// Does something until it succeeds, fails for good, or `limit` after `started`.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, RestError>>>(
        &self,
        repeat: Repeat,
        started: Instant,
        limit: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, RestError> {
        let mut made = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            made += 1;
            let tries = Tries { attempt: made, elapsed: started.elapsed(), limit, random: random() };
            match retry::decide(self.settings(), repeat, &error, tries) {
                Next::Retry(pause) => tokio::time::sleep(pause).await,
                Next::GiveUp => return Err(error),
            }
        }
    }

    /// One attempt at an API request: the body of a success.
    async fn attempt(
        &self,
        request: &Request<'_>,
        url: Url,
        limit: Duration,
        started: Instant,
    ) -> Result<Vec<u8>, RestError> {
        let settings = self.settings();
        let left = limit.saturating_sub(started.elapsed()).min(settings.request_timeout);
        let mut http = self
            .0
            .http
            .request(request.method.clone(), url)
            .bearer_auth(self.0.tokens.get(Purpose::Calls, wall()))
            .header(ACCEPT, "application/json")
            .timeout(left);
        if let Some(body) = &request.body {
            http = http.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = succeeded(http.send().await?).await?;
        body(response, settings.response_bytes_max).await
    }

    /// One attempt to `GET` a file, with our token, from where it may be sent. Answers when
    /// the body begins.
    pub(super) async fn get_file(&self, url: &Url, timeout: Duration) -> Result<Response, RestError> {
        let token = self.0.tokens.get(Purpose::Files, wall());
        let sent = self.0.http.get(url.clone()).bearer_auth(token).timeout(timeout).send();
        let wait = self.settings().request_timeout.min(timeout);
        tokio::time::timeout(wait, sent).await.map_err(|_| RestError::TimedOut)?.map_err(Into::into)
    }
}

/// Reads a success's body.
pub(super) fn read<T: Wire>(body: &[u8], expected: &'static str) -> Result<T, RestError> {
    let malformed = RestError::Malformed { expected };
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let value = serde_json::from_slice(body).map_err(|_| malformed.clone())?;
    T::from_wire(value).map_err(|_| malformed)
}

/// The answer, where it is a success; else its error.
pub(super) async fn succeeded(response: Response) -> Result<Response, RestError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let wait = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok());
    let retry_after = wait.and_then(|header| retry::retry_after(header, wall()));
    // An error without a readable body is an error all the same.
    let reason = ApiError::parse(&body(response, ERROR_BYTES_MAX).await.unwrap_or_default()).summary();
    let code = status.as_u16();
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RestError::Unauthorised { status: code, reason },
        StatusCode::NOT_FOUND => RestError::NotFound { reason },
        StatusCode::TOO_MANY_REQUESTS => RestError::RateLimited { retry_after },
        _ if status.is_server_error() => RestError::Failed { status: code, reason },
        _ => RestError::Rejected { status: code, reason },
    })
}

/// The whole body, where it is not longer than `max`.
pub(super) async fn body(response: Response, max: usize) -> Result<Vec<u8>, RestError> {
    crate::http::body(response, max).await.map_err(|error| match error {
        BodyError::TooLong => RestError::TooLarge { max: max as u64 },
        BodyError::Broken(error) => error.into(),
    })
}

/// `base/path?query`, everything escaped.
fn address(mut base: Url, path: &[&str], query: &[(&'static str, String)]) -> Result<Url, RestError> {
    {
        let mut segments = base.path_segments_mut().map_err(|()| RestError::BadId)?;
        segments.clear();
        for segment in path {
            // These two would be left out, and another resource asked for.
            if matches!(*segment, "." | "..") || LegId::parse(segment).is_err() {
                return Err(RestError::BadId);
            }
            segments.push(segment);
        }
    }
    if !query.is_empty() {
        base.query_pairs_mut().extend_pairs(query);
    }
    Ok(base)
}

/// From 0 to 1, 1 left out.
fn random() -> f64 {
    let mut bytes = [0; 8];
    // Without randomness all pauses are the longest; nothing else depends on it.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64,
        Err(_) => 1.0,
    }
}
