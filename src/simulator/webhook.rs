//! The webhooks that a Vonage would send: the answer webhook, events, and the fallback of either.
//!
//! Source: `vonage-voice.md` sections 3 and 4. What is unconfirmed there is a setting.
//! Events of one leg go out in the order in which [`Sender::event`] was called, each
//! after the one before it was dealt with; legs do not wait for each other.

mod attempt;
mod lane;
mod tally;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use self::attempt::{Attempt, Client, Outcome};
use self::lane::Lanes;
pub use self::tally::Tally;
use super::fault::Faults;
use crate::types::Private;
use crate::vonage::ncco::{Method, Ncco};
use crate::vonage::webhook::{Event, parse_event};
use crate::vonage::wire::Map;

/// Attempts at one URL.
pub const ATTEMPTS: usize = 2;
/// Webhooks on their way at one time when nothing else is set. More wait.
pub const IN_FLIGHT_DEFAULT: usize = 64;

/// Shortest timeout, however fast the clock runs.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// What [`Settings::pace`] can be.
pub const PACE: RangeInclusive<f64> = 0.001..=1000.0;

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How they are signed; none sends them unsigned.
    pub signing: Option<Signing>,
    /// Asked when the answer URL, or an event URL whose reply counts, has failed.
    pub fallback_answer_url: Option<String>,
    /// Longest wait for a connection: 1000 ms.
    pub connect_timeout: Duration,
    /// Longest wait for the whole reply to an answer webhook or a fallback: 5000 ms.
    pub answer_timeout: Duration,
    /// Longest wait for the whole reply to an event: 10000 ms.
    pub event_timeout: Duration,
    /// Pause before the second attempt, undocumented: 500 ms.
    pub retry_pause: Duration,
    /// Whether the second attempt bears the `jti` of the first; unconfirmed.
    pub same_jti_on_retry: bool,
    /// Whether events whose reply does not count are tried again, too; unconfirmed.
    pub retry_plain_events: bool,
    /// Webhooks on their way at one time, at least 1.
    pub in_flight_max: usize,
    /// Times faster than real time, within [`PACE`]. Divides every time above and every
    /// delay; but no timeout falls below [`TIMEOUT_MIN`], for the application is no faster.
    pub pace: f64,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            signing: None,
            fallback_answer_url: None,
            connect_timeout: Duration::from_millis(1000),
            answer_timeout: Duration::from_millis(5000),
            event_timeout: Duration::from_millis(10_000),
            retry_pause: Duration::from_millis(500),
            same_jti_on_retry: false,
            retry_plain_events: true,
            in_flight_max: IN_FLIGHT_DEFAULT,
            pace: 1.0,
            faults: Faults::none(),
        }
    }
}

impl Settings {
    fn timeout(&self, span: Duration) -> Duration {
        // A timeout that is set shorter than the floor is meant.
        span.div_f64(self.pace).max(TIMEOUT_MIN.min(span))
    }
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The account.
    pub api_key: String,
    /// Its signature secret.
    pub secret: Private<String>,
    /// The application, where tokens name it.
    pub application_id: Option<String>,
}

/// The sender could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BadSender {
    /// `pace` is not within [`PACE`].
    #[error("pace is {pace}: expected {} to {}", PACE.start(), PACE.end())]
    Pace {
        /// What was asked for.
        pace: f64,
    },
    /// The HTTP client could not be made.
    #[error("the webhook sender cannot start: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends webhooks. Cheap to clone; clones share their order and their tally.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    client: Client,
    in_flight: Semaphore,
    lanes: Arc<Lanes>,
    tally: Mutex<Tally>,
}

/// What failed, for the fallback.
struct Failed {
    reason: String,
}

/// Which webhook it is: decides the timeout and what the fallback is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer,
    /// An event; whether an NCCO in its reply can count.
    Event {
        counts: bool,
    },
}

impl Sender {
    /// A sender of its own order and tally.
    ///
    /// # Errors
    /// [`BadSender`].
    pub fn new(settings: Settings) -> Result<Self, BadSender> {
        if !PACE.contains(&settings.pace) {
            return Err(BadSender::Pace { pace: settings.pace });
        }
        let client = Client::new(settings.timeout(settings.connect_timeout), settings.signing.clone())?;
        let in_flight = Semaphore::new(settings.in_flight_max.clamp(1, Semaphore::MAX_PERMITS));
        let lanes = Arc::default();
        Ok(Self(Arc::new(Inner { settings, client, in_flight, lanes, tally: Mutex::default() })))
    }

    /// Asks the answer URL what to do with a call: a query by `GET`, JSON by `POST`. Tries
    /// again and asks the fallback URL as documented. Whether the NCCO is any good is not
    /// looked at, but that it is an array of JSON. None: the call ends.
    pub async fn answer(&self, url: &str, method: Method, params: Map) -> Option<Ncco> {
        self.0.count(|tally| tally.answers += 1);
        self.0.deliver(Kind::Answer, url, method, &params).await
    }

    /// Sends an event. Its place in the leg's order is taken now, not when the future is
    /// first polled; whoever wants events that overtake each other must not wait for one
    /// before sending the next. An NCCO in the reply is given back; whether it is honoured
    /// is the caller's to decide.
    pub fn event(
        &self,
        url: &str,
        method: Method,
        event: Map,
    ) -> impl Future<Output = Option<Ncco>> + Send + use<> + 'static {
        let (inner, url) = (Arc::clone(&self.0), url.to_owned());
        let leg = ["uuid", "call_uuid", "conversation_uuid"].iter().find_map(|key| event.get(*key)?.as_str());
        let last = event.get("status").and_then(Value::as_str) == Some("completed");
        let mut turn = inner.lanes.join(leg.unwrap_or_default(), last);
        inner.count(|tally| tally.events += 1);
        async move {
            let kind = Kind::Event { counts: reply_counts(&event) };
            let settings = &inner.settings;
            let fate = settings.faults.webhook(turn.leg(), turn.number());
            turn.come().await;
            if fate.lost {
                inner.count(|tally| tally.lost += 1);
                return None;
            }
            if fate.after_next {
                inner.count(|tally| tally.reordered += 1);
                turn.let_next_pass(inner.paced(settings.faults.reorder_wait())).await;
            }
            if !fate.delay.is_zero() {
                inner.count(|tally| tally.delayed += 1);
                sleep(inner.paced(fate.delay)).await;
            }
            let reply = inner.deliver(kind, &url, method, &event).await;
            if fate.duplicate {
                inner.count(|tally| tally.duplicated += 1);
                // What is said to the repetition does not count: the first reply did.
                let _ = inner.attempts(kind, &url, method, &event, settings.event_timeout).await;
            }
            reply
        }
    }

    /// What was sent and what came of it, up to now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether an NCCO in the reply to this event can count.
fn reply_counts(event: &Map) -> bool {
    match parse_event(Value::Object(event.clone()).to_string().as_bytes()) {
        Ok(Event::Status(status)) => status.honours_ncco(),
        Ok(Event::Input(_) | Event::Notify(_)) => true,
        _ => false,
    }
}

impl Inner {
    fn count(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn paced(&self, span: Duration) -> Duration {
        span.div_f64(self.settings.pace)
    }

    /// To the URL, and if that fails and the reply matters, to the fallback URL.
    async fn deliver(&self, kind: Kind, url: &str, method: Method, params: &Map) -> Option<Ncco> {
        let settings = &self.settings;
        let timeout = if kind == Kind::Answer { settings.answer_timeout } else { settings.event_timeout };
        let failed = match self.attempts(kind, url, method, params, timeout).await {
            Ok(ncco) => return ncco,
            Err(failed) => failed,
        };
        let fallback = settings.fallback_answer_url.as_deref().filter(|_| kind != Kind::Event { counts: false });
        if let Some(fallback) = fallback {
            self.count(|tally| tally.fallbacks += 1);
            let mut params = params.clone();
            params.insert("reason".into(), failed.reason.into());
            let name = if kind == Kind::Answer { "answer" } else { "event" };
            params.insert("original_request".into(), json!({"url": url, "type": name}));
            if let Ok(ncco) = self.attempts(kind, fallback, method, &params, settings.answer_timeout).await {
                return ncco;
            }
        }
        self.count(|tally| tally.failed += 1);
        None
    }

    /// One URL, twice where that is documented.
    async fn attempts(
        &self,
        kind: Kind,
        url: &str,
        method: Method,
        params: &Map,
        timeout: Duration,
    ) -> Result<Option<Ncco>, Failed> {
        let once = kind == Kind::Event { counts: false } && !self.settings.retry_plain_events;
        let attempts = if once { 1 } else { ATTEMPTS };
        let mut attempt = Attempt::new(url, method, params, self.settings.timeout(timeout));
        let mut reason = String::new();
        for number in 0..attempts {
            if number > 0 {
                self.count(|tally| tally.retried += 1);
                sleep(self.paced(self.settings.retry_pause)).await;
                if !self.settings.same_jti_on_retry {
                    attempt.renew();
                }
            }
            // The semaphore is never closed; were it, the bound would be the callers' number.
            let place = self.in_flight.acquire().await;
            let (outcome, took) = self.client.send(&attempt).await;
            drop(place);
            self.count(|tally| tally.attempt(&outcome, took));
            match outcome {
                Outcome::Taken(reply) => {
                    return match reply.ncco() {
                        Some(Ok(ncco)) => Ok(Some(ncco)),
                        None | Some(Err(_)) if kind == (Kind::Event { counts: false }) => Ok(None),
                        None if kind != Kind::Answer => Ok(None),
                        bad => {
                            self.count(|tally| tally.bad_ncco += 1);
                            let reason = bad.and_then(Result::err).unwrap_or("The reply is empty.");
                            Err(Failed { reason: reason.to_owned() })
                        }
                    };
                }
                Outcome::Refused(status) => {
                    reason = format!("HTTP status {status}.");
                    if ![429, 503, 504].contains(&status) {
                        break;
                    }
                }
                Outcome::TimedOut => reason = "Connection timed out.".to_owned(),
                Outcome::Broken => reason = "Connection closed.".to_owned(),
                Outcome::Unsendable => {
                    reason = "The URL cannot be asked.".to_owned();
                    break;
                }
            }
        }
        Err(Failed { reason })
    }
}

#[cfg(test)]
mod tests;
