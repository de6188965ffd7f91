//! One request of a webhook, and what came back.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::Signing;
use crate::http::{self, BodyError};
use crate::types::WallTime;
use crate::vonage::ncco::{Method, Ncco};
use crate::vonage::signature::{self, Claims, Payload};
use crate::vonage::wire::Map;

/// Longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// A webhook on its way to one URL.
#[derive(Debug)]
pub(super) struct Attempt {
    /// None where the URL is none.
    url: Option<Url>,
    /// None for a GET: all is in the URL.
    body: Option<Bytes>,
    timeout: Duration,
    jti: String,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// 200 to 205.
    Taken(Reply),
    /// Another status.
    Refused(u16),
    /// No whole reply in time.
    TimedOut,
    /// Refused, closed or reset connection.
    Broken,
    /// No such URL, bad TLS, a reply without end: a second attempt would fare no better.
    Unsendable,
}

/// A reply that was taken.
#[derive(Debug)]
pub(super) struct Reply {
    json: bool,
    body: Bytes,
}

impl Reply {
    /// The NCCO in it, or why there is none; nothing where the reply is empty.
    pub(super) fn ncco(&self) -> Option<Result<Ncco, &'static str>> {
        if self.body.trim_ascii().is_empty() {
            return None;
        }
        if !self.json {
            return Some(Err("The reply's content type is not application/json."));
        }
        Some(Ncco::parse(&self.body).map_err(|_| "The reply is no NCCO."))
    }
}

impl Attempt {
    pub(super) fn new(url: &str, method: Method, params: &Map, timeout: Duration) -> Self {
        let mut url = Url::parse(url).ok();
        let body = match method {
            Method::Post => Some(Value::Object(params.clone()).to_string().into()),
            Method::Get => {
                if let Some(url) = &mut url {
                    // Objects are unconfirmed in a query; JSON is what can be read again.
                    url.query_pairs_mut().extend_pairs(params.iter().map(|(name, value)| (name, text(value))));
                }
                None
            }
        };
        Self { url, body, timeout, jti: new_jti() }
    }

    /// Makes it another delivery of the same webhook.
    pub(super) fn renew(&mut self) {
        self.jti = new_jti();
    }
}

fn new_jti() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A value as a query has it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The HTTP client, and the secret it signs with.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    signing: Option<Signing>,
}

impl Client {
    pub(super) fn new(connect_timeout: Duration, signing: Option<Signing>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // Attempts are counted: none may be made behind our back.
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()?;
        Ok(Self { http, signing })
    }

    /// Sends one attempt; how long it took goes with what came of it.
    pub(super) async fn send(&self, attempt: &Attempt) -> (Outcome, Duration) {
        let start = Instant::now();
        let outcome = match self.request(attempt) {
            None => Outcome::Unsendable,
            Some(request) => match request.send().await {
                Ok(response) => read(response).await,
                Err(error) => failure(&error),
            },
        };
        (outcome, start.elapsed())
    }

    fn request(&self, attempt: &Attempt) -> Option<reqwest::RequestBuilder> {
        let url = attempt.url.clone()?;
        let pairs: Vec<_>;
        let payload = match &attempt.body {
            Some(body) => Payload::Body(body),
            None => {
                pairs = url.query_pairs().into_owned().collect();
                Payload::Query(&pairs)
            }
        };
        let authorization = self.signing.as_ref().map(|signing| {
            let now = WallTime(chrono::Utc::now().timestamp_micros());
            let claims = Claims {
                application_id: signing.application_id.clone(),
                ..Claims::of(payload, &signing.api_key, &attempt.jti, now)
            };
            signature::sign(&signing.secret.0, &claims)
        });
        let request = match &attempt.body {
            Some(body) => self.http.post(url).header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => self.http.get(url),
        };
        let request = request.timeout(attempt.timeout);
        Some(match authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        })
    }
}

async fn read(response: Response) -> Outcome {
    let status = response.status().as_u16();
    if !(200..=205).contains(&status) {
        return Outcome::Refused(status);
    }
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok()?.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    match http::body(response, REPLY_BYTES_MAX).await {
        Ok(body) => Outcome::Taken(Reply { json, body: body.into() }),
        Err(BodyError::TooLong) => Outcome::Unsendable,
        Err(BodyError::Broken(error)) => failure(&error),
    }
}

fn failure(error: &reqwest::Error) -> Outcome {
    if error.is_timeout() {
        return Outcome::TimedOut;
    }
    let mut causes = std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source());
    // A certificate that does not hold reaches us as data that cannot be read.
    let bad_tls = causes
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData));
    if error.is_builder() || bad_tls { Outcome::Unsendable } else { Outcome::Broken }
}
