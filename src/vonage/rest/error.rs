//! Why a request to Vonage failed.

use std::io;
use std::time::Duration;

/// Longest text of a cause that is kept, in characters.
const CAUSE_MAX: usize = 200;

/// A request that failed, after all its attempts. Holds no number, token or body but for
/// `reason`: what [`ApiError::summary`](crate::vonage::rest_types::ApiError::summary)
/// makes of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// 401 or 403: our token is not taken.
    #[error("Vonage does not take our token ({status}): {reason}")]
    Unauthorised {
        /// The status.
        status: u16,
        /// What the API says.
        reason: String,
    },
    /// 404: no such thing, or not in any region that was asked.
    #[error("not found: {reason}")]
    NotFound {
        /// What the API says.
        reason: String,
    },
    /// 429.
    #[error("too many requests")]
    RateLimited {
        /// How long we are to wait, where the answer says.
        retry_after: Option<Duration>,
    },
    /// Another 4xx, or a redirect that is none to follow.
    #[error("refused ({status}): {reason}")]
    Rejected {
        /// The status.
        status: u16,
        /// What the API says.
        reason: String,
    },
    /// 5xx.
    #[error("Vonage failed ({status}): {reason}")]
    Failed {
        /// The status.
        status: u16,
        /// What the API says.
        reason: String,
    },
    /// There was no connection, so nothing was sent.
    #[error("no connection: {cause}")]
    Unreachable {
        /// Why, without a URL.
        cause: String,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection broke: {cause}")]
    Broken {
        /// Why, without a URL.
        cause: String,
    },
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is longer than we take.
    #[error("the answer is longer than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// A success whose body is not what it should be.
    #[error("the answer is malformed: expected {expected}")]
    Malformed {
        /// What it should be.
        expected: &'static str,
    },
    /// A URL that our token must not be sent to.
    #[error("will not send our token to {host:?}: expected https at vonage.com or nexmo.com, or a trusted host")]
    Untrusted {
        /// The host, cut short; empty where the URL has none.
        host: String,
    },
    /// An id that cannot be one.
    #[error("not an id: expected 1 to 128 visible ASCII characters, not \".\" or \"..\"")]
    BadId,
    /// What came is nothing that may be kept, as [`Through`](super::Through) says.
    #[error("what was downloaded must not be kept: {reason}")]
    Unfit {
        /// Why, in one word.
        reason: &'static str,
    },
    /// Our own disk, or the writer that was given.
    #[error("cannot write what was downloaded: {0}")]
    Disk(io::ErrorKind),
}

impl RestError {
    /// One word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unauthorised { .. } => "unauthorised",
            Self::NotFound { .. } => "not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::Rejected { .. } => "rejected",
            Self::Failed { .. } => "failed",
            Self::Unreachable { .. } => "unreachable",
            Self::Broken { .. } => "broken",
            Self::TimedOut => "timed_out",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::Untrusted { .. } => "untrusted",
            Self::BadId => "bad_id",
            Self::Unfit { reason } => reason,
            Self::Disk(_) => "disk",
        }
    }

    /// Whether what was asked for may have been done all the same: a call may exist that
    /// we do not know.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. } | Self::Broken { .. } | Self::TimedOut | Self::TooLarge { .. } | Self::Malformed { .. }
        )
    }
}

impl From<reqwest::Error> for RestError {
    fn from(error: reqwest::Error) -> Self {
        // A timeout while connecting is both; what counts is that nothing was sent.
        if error.is_connect() {
            Self::Unreachable { cause: told(error) }
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken { cause: told(error) }
        }
    }
}

/// An error's innermost cause, without the URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string().chars().filter(|c| !c.is_control()).take(CAUSE_MAX).collect()
}
