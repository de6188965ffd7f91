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

#[cfg(test)]
mod tests {
    use super::super::tests::key;
    use super::*;

    #[test]
    fn a_token_is_kept_until_a_fifth_of_its_life_is_left() {
        let start = WallTime(1_763_942_400_000_000);
        let tokens = Tokens::new("aaaa", key(), Duration::from_secs(100));
        let first = tokens.get(Purpose::Calls, start);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(tokens.get(Purpose::Calls, later(79)), first);
        let second = tokens.get(Purpose::Calls, later(80));
        assert_ne!(second, first);
        assert_eq!(key().verify(&second, later(179)).unwrap().application_id, "aaaa");
        let back = tokens.get(Purpose::Calls, start);
        assert_ne!(back, second, "the clock was set back");
        let files = tokens.get(Purpose::Files, start);
        assert_eq!(key().verify(&files, start).unwrap().acl, None);
        assert!(key().verify(&back, start).unwrap().acl.is_some());
        assert_eq!((tokens.get(Purpose::Calls, start), tokens.get(Purpose::Files, start)), (back, files));
    }
}
