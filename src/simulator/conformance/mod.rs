//! Whether a gateway serves Vonage as Vonage expects it to: checks from the outside, against
//! any gateway, ours included.
//!
//! Every rule is one of `vonage-voice.md`, sections 1 to 4; what is unconfirmed there is
//! demanded of nobody, but where the gateway must live with either way. Calls that a check
//! begins are ended by a `completed` event after it.

mod answer;
mod bench;
mod body;
mod event;
mod forge;
mod line;
mod media;
mod signature;
mod way;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use reqwest::Url;
use serde::Serialize;
use tokio::time::{Instant, timeout};

pub use self::bench::Bench;
use super::webhook::Signing;

/// Longest that one check may take.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// What is checked, and how to get there. A check that needs what is not given is skipped.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Where answer webhooks go.
    pub answer_url: Option<String>,
    /// Where events go.
    pub event_url: Option<String>,
    /// A media socket that can be opened any number of times; without it, the one in an
    /// answered NCCO.
    pub media_url: Option<String>,
    /// The media socket where there is none in an NCCO either.
    pub assumed_media_url: Option<String>,
    /// How to sign; without it, webhooks go unsigned.
    pub signing: Option<Signing>,
}

/// A base URL that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no base URL: expected http://host:port or https://host")]
pub struct BadBase {
    /// What was given.
    pub url: String,
}

impl Target {
    /// The paths of this gateway's own, below a base URL.
    ///
    /// # Errors
    /// [`BadBase`].
    pub fn at(base: &str) -> Result<Self, BadBase> {
        let bad = || BadBase { url: base.to_owned() };
        let url = Url::parse(base).map_err(|_| bad())?;
        let scheme = match url.scheme() {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(bad()),
        };
        let base = base.trim_end_matches('/');
        let rest = base.split_once("://").map(|(_, rest)| rest).ok_or_else(bad)?;
        Ok(Self {
            answer_url: Some(format!("{base}/v1/vonage/answer")),
            event_url: Some(format!("{base}/v1/vonage/event")),
            media_url: None,
            assumed_media_url: Some(format!("{scheme}://{rest}/media")),
            signing: None,
        })
    }
}

/// One check.
pub struct Check {
    /// Its name: `family.rule`.
    pub name: &'static str,
    /// What is done, and what must come of it.
    pub about: &'static str,
    run: for<'a> fn(&'a Bench) -> LocalBoxFuture<'a, Verdict>,
}

/// What a check found out: something to tell where all is well.
type Verdict = Result<String, Stop>;

/// Why a check ended early.
#[derive(Debug)]
enum Stop {
    /// The gateway did something wrong.
    Bad(String),
    /// The check cannot be made.
    Skip(String),
}

fn bad<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Bad(why.into()))
}

fn skip<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(why.into()))
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Bad,
    /// Not checked.
    Skipped,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// [`Check::name`].
    pub check: &'static str,
    /// [`Check::about`].
    pub about: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, or what there is to tell. Empty where there is nothing.
    pub why: String,
    /// How long it took.
    pub took_ms: u64,
}

/// Every check, in the order in which they are made.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [answer::CHECKS, signature::CHECKS, event::CHECKS, body::CHECKS, media::CHECKS].into_iter().flatten()
}

impl Check {
    /// Makes the check, within [`CHECK_TIMEOUT`], and ends the calls it began.
    pub async fn make(&self, bench: &Bench) -> Finding {
        let start = Instant::now();
        let ended = timeout(CHECK_TIMEOUT, (self.run)(bench)).await;
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        bench.end_calls().await;
        let (outcome, why) = match ended {
            Ok(Ok(told)) => (Outcome::Ok, told),
            Ok(Err(Stop::Bad(why))) => (Outcome::Bad, why),
            Ok(Err(Stop::Skip(why))) => (Outcome::Skipped, why),
            Err(_) => (Outcome::Bad, format!("no end within {} s", CHECK_TIMEOUT.as_secs())),
        };
        Finding { check: self.name, about: self.about, outcome, why, took_ms }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_all_is_said() {
        let names: Vec<_> = checks().map(|check| check.name).collect();
        assert!(names.len() > 30, "only {} checks", names.len());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(checks().all(|check| !check.about.is_empty() && check.name.contains('.')));
    }

    #[test]
    fn a_base_url_gives_our_own_paths() {
        let target = Target::at("https://gw.example:8443/").unwrap();
        assert_eq!(target.answer_url.as_deref(), Some("https://gw.example:8443/v1/vonage/answer"));
        assert_eq!(target.event_url.as_deref(), Some("https://gw.example:8443/v1/vonage/event"));
        assert_eq!(target.assumed_media_url.as_deref(), Some("wss://gw.example:8443/media"));
        for base in ["", "gw.example", "ws://gw.example", "http://"] {
            assert!(Target::at(base).is_err(), "{base}");
        }
    }
}
