//! The tools of the checks: webhooks by hand, and the calls that were begun.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, Url};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Stop, Target, bad, skip};
use crate::http::{self, BodyError};
use crate::types::WallTime;
use crate::vonage::ncco::{Ncco, Severity, validate};
use crate::vonage::signature::{self, Claims, Payload};
use crate::vonage::wire::Map;

/// Longest wait for a connection: ten times what Vonage grants, for a gateway far away.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for a reply: what Vonage grants events.
const REPLY: Duration = Duration::from_secs(10);
/// Longest wait for an answer webhook's reply.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// A gateway to be checked, and what is needed for it.
#[derive(Debug)]
pub struct Bench {
    pub(super) target: Target,
    http: reqwest::Client,
    calls: Mutex<Vec<Call>>,
}

/// A call that the gateway was told of.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) uuid: String,
    pub(super) conversation: String,
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

impl Bench {
    /// Makes ready to check a gateway. Nothing is sent yet.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(target: Target) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REPLY)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // What one check does to a connection must not reach the next.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Self { target, http, calls: Mutex::default() })
    }

    /// A call that nobody has heard of yet; to be ended after the check.
    pub(super) fn begin(&self) -> Call {
        let id = uuid::Uuid::new_v4();
        let call = Call { uuid: id.to_string(), conversation: format!("CON-{}", uuid::Uuid::new_v4()) };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        call
    }

    /// Tells the gateway that the calls begun are over. What it says to that does not count.
    pub(super) async fn end_calls(&self) {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        for call in calls {
            let _ = self.event(&call.status("completed")).await;
        }
    }

    pub(super) fn answer_url(&self) -> Result<&str, Stop> {
        self.target.answer_url.as_deref().map_or_else(|| skip("no answer URL was given"), Ok)
    }

    pub(super) fn event_url(&self) -> Result<&str, Stop> {
        self.target.event_url.as_deref().map_or_else(|| skip("no event URL was given"), Ok)
    }

    /// The `Authorization` header that Vonage would make now; none where nothing is signed.
    pub(super) fn sign(&self, payload: Payload<'_>) -> Option<String> {
        let signing = self.target.signing.as_ref()?;
        Some(signature::sign(&signing.secret.0, &self.claims(payload)?))
    }

    /// Fresh claims; none where nothing is signed.
    pub(super) fn claims(&self, payload: Payload<'_>) -> Option<Claims> {
        let signing = self.target.signing.as_ref()?;
        let now = WallTime(chrono::Utc::now().timestamp_micros());
        let jti = uuid::Uuid::new_v4().to_string();
        let claims = Claims::of(payload, &signing.api_key, &jti, now);
        Some(Claims { application_id: signing.application_id.clone(), ..claims })
    }

    /// Posts JSON, signed.
    pub(super) async fn post(&self, url: &str, body: impl Into<Bytes>) -> Result<Reply, Stop> {
        let body = body.into();
        let authorization = self.sign(Payload::Body(&body));
        self.post_as(url, body, authorization).await
    }

    /// Posts JSON with this header, or without one.
    pub(super) async fn post_as(
        &self,
        url: &str,
        body: impl Into<Bytes>,
        authorization: Option<String>,
    ) -> Result<Reply, Stop> {
        send(self.http.post(url).header(CONTENT_TYPE, "application/json").body(body.into()), authorization).await
    }

    /// Asks with parameters in the query, signed.
    pub(super) async fn get(&self, url: &str, params: &Map) -> Result<Reply, Stop> {
        let Ok(mut url) = Url::parse(url) else { return bad("its URL is none") };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        url.query_pairs_mut().extend_pairs(params.iter().map(|(name, value)| (name, text(value))));
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let authorization = self.sign(Payload::Query(&pairs));
        send(self.http.get(url), authorization).await
    }

    /// Sends an event, signed.
    pub(super) async fn event(&self, event: &Value) -> Result<Reply, Stop> {
        self.post(self.event_url()?, event.to_string()).await
    }

    /// Sends an event that must be taken.
    pub(super) async fn event_taken(&self, event: &Value) -> Result<Reply, Stop> {
        let reply = self.event(event).await?;
        if reply.is_taken() { Ok(reply) } else { bad(format!("an event got {}", reply.status)) }
    }

    /// Asks for the NCCO of a new call by POST.
    pub(super) async fn answered(&self) -> Result<(Call, Ncco), Stop> {
        let call = self.begin();
        let ncco = self.post(self.answer_url()?, call.answer().to_string()).await?.ncco()?;
        Ok((call, ncco))
    }
}

async fn send(request: RequestBuilder, authorization: Option<String>) -> Result<Reply, Stop> {
    let request = match authorization {
        Some(authorization) => request.header(AUTHORIZATION, authorization),
        None => request,
    };
    let start = Instant::now();
    let failed = |error: reqwest::Error| Stop::Bad(problem(&error));
    let response = request.send().await.map_err(failed)?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    let body = match http::body(response, REPLY_BYTES_MAX).await {
        Ok(body) => body.into(),
        Err(BodyError::TooLong) => return bad(format!("the reply is longer than {REPLY_BYTES_MAX} bytes")),
        Err(BodyError::Broken(error)) => return Err(failed(error)),
    };
    Ok(Reply { status, kind, body, took: start.elapsed() })
}

/// What went wrong, without the URL, which may hold a number.
fn problem(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no reply within {} s", REPLY.as_secs())
    } else if error.is_connect() {
        "it cannot be connected to".to_owned()
    } else {
        "the connection was closed before the reply".to_owned()
    }
}

impl Reply {
    /// As Vonage takes it: 200 to 205.
    pub(super) fn is_taken(&self) -> bool {
        (200..=205).contains(&self.status)
    }

    /// A good NCCO in a good reply.
    pub(super) fn ncco(&self) -> Result<Ncco, Stop> {
        if self.status != 200 {
            return bad(format!("the reply's status is {}: expected 200", self.status));
        }
        let kind = self.kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return bad(format!("the reply's content type is {kind:?}: expected application/json"));
        }
        let ncco = Ncco::parse(&self.body).map_err(|error| Stop::Bad(error.to_string()))?;
        match validate(&ncco).into_iter().find(|problem| problem.severity == Severity::Error) {
            Some(problem) => bad(format!("the NCCO breaks a rule: {problem}")),
            None => Ok(ncco),
        }
    }
}

impl Call {
    /// The answer webhook.
    pub(super) fn answer(&self) -> Value {
        json!({"to": "442079460000", "from": "447700900000", "uuid": self.uuid,
            "conversation_uuid": self.conversation, "endpoint_type": "phone"})
    }

    /// An event of this status.
    pub(super) fn status(&self, status: &str) -> Value {
        let mut event = json!({"to": "442079460000", "from": "447700900000", "uuid": self.uuid,
            "conversation_uuid": self.conversation, "status": status, "direction": "inbound",
            "timestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)});
        if status == "completed" {
            for (key, value) in [("duration", "1"), ("rate", "0.00450000"), ("price", "0.00007500"), ("network", "")] {
                event[key] = value.into();
            }
        }
        event
    }
}
