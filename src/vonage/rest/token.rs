//! Our token: signed when it is first needed, and again before it is over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::types::WallTime;
use crate::vonage::app_jwt::{AppClaims, AppKey};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls and legs: the token is good for these paths only.
    Calls,
    /// Files: recordings lie at paths that no rule of Vonage's names, so the token has none.
    Files,
}

/// Signs tokens and keeps the latest of each purpose.
pub(super) struct Tokens {
    application_id: String,
    key: AppKey,
    life: Duration,
    calls: Mutex<Option<Signed>>,
    files: Mutex<Option<Signed>>,
}

struct Signed {
    token: String,
    made: WallTime,
}

impl Tokens {
    pub(super) fn new(application_id: &str, key: AppKey, life: Duration) -> Self {
        Self { application_id: application_id.to_owned(), key, life, calls: Mutex::default(), files: Mutex::default() }
    }

    /// A token good for a fifth of its life at least.
    pub(super) fn get(&self, purpose: Purpose, now: WallTime) -> String {
        let kept = match purpose {
            Purpose::Calls => &self.calls,
            Purpose::Files => &self.files,
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes a token's times wrong too.
        if let Some(signed) = &*kept
            && (signed.made..signed.made + self.life * 4 / 5).contains(&now)
        {
            return signed.token.clone();
        }
        let mut claims = AppClaims::new(&self.application_id, &Uuid::new_v4().to_string(), now, self.life);
        if purpose == Purpose::Files {
            claims.acl = None;
        }
        let token = self.key.sign(&claims);
        *kept = Some(Signed { token: token.clone(), made: now });
        token
    }
}

/// Now, UTC.
pub(super) fn wall() -> WallTime {
    WallTime::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
