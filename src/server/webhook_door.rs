//! Whose webhooks are believed, and which came before: the decision, apart from HTTP.
//!
//! Vonage signs each webhook over its raw body (`vonage-voice.md` section 4). A token that
//! was seen before is no attack to refuse but a question to answer as before (3.3): a retry
//! whose first reply was lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::types::{Moment, WallTime};
use crate::vonage::replay::{ReplayCache, Sight};
use crate::vonage::signature::{BadSignature, Keyring, Payload, Policy};

/// Judges webhooks.
pub struct Door {
    /// None where nothing is configured: no webhook is taken.
    rule: Option<Rule>,
    seen: Mutex<ReplayCache>,
}

enum Rule {
    /// For development: anything is believed.
    Unsigned,
    Signed(Keyring, Policy),
}

/// A webhook that was let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Handle it, then give its reply to [`Door::answered`] under this id; none where it
    /// has none.
    New(Option<String>),
    /// It came before; this was the reply.
    Again(Bytes),
    /// It came before and is being handled, or its reply was not kept.
    Pending,
}

/// Why a webhook was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing here takes webhooks.
    #[error(
        "no webhooks are taken here: set vonage.account with the account's signature secret, or, to develop on this \
         machine, vonage.unsigned = true"
    )]
    Unconfigured,
    /// Not believed.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl Refused {
    /// The reason in one word, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Signature(BadSignature::Missing) => "missing",
            Self::Signature(BadSignature::Malformed) => "malformed",
            Self::Signature(BadSignature::Algorithm) => "algorithm",
            Self::Signature(BadSignature::UnknownKey) => "unknown_key",
            Self::Signature(BadSignature::Signature) => "signature",
            Self::Signature(BadSignature::Issuer) => "issuer",
            Self::Signature(BadSignature::Application) => "application",
            Self::Signature(BadSignature::Payload) => "payload",
            Self::Signature(BadSignature::Stale) => "stale",
            Self::Signature(BadSignature::Future) => "future",
        }
    }
}

impl Door {
    /// `unsigned`: believe anything. Else `keyring` decides; an empty one lets nothing in.
    /// `remembered`: webhooks remembered for their repetition.
    #[must_use]
    pub fn new(unsigned: bool, keyring: Option<Keyring>, policy: Policy, remembered: usize) -> Self {
        let window = policy.window();
        let rule = if unsigned { Some(Rule::Unsigned) } else { keyring.map(|keyring| Rule::Signed(keyring, policy)) };
        Self { rule, seen: Mutex::new(ReplayCache::new(remembered, window)) }
    }

    /// Judges a webhook; `authorization` is the header's value.
    ///
    /// # Errors
    /// Why, in `Refused`.
    pub fn admit(
        &self,
        authorization: Option<&str>,
        payload: Payload<'_>,
        wall: WallTime,
        now: Moment,
    ) -> Result<Admitted, Refused> {
        let claims = match self.rule.as_ref().ok_or(Refused::Unconfigured)? {
            Rule::Unsigned => return Ok(Admitted::New(None)),
            Rule::Signed(keyring, policy) => keyring.verify(authorization, payload, policy, wall)?,
        };
        // Two accounts may use one id.
        let id = format!("{}:{}", claims.api_key, claims.jti);
        Ok(match self.seen().see(&id, now) {
            Sight::First => Admitted::New(Some(id)),
            Sight::Pending => Admitted::Pending,
            Sight::Repeat(reply) => Admitted::Again(reply),
        })
    }

    /// Keeps the reply for when the webhook comes again; none where it was not handled, so
    /// that its repetition is.
    pub fn answered(&self, id: Option<&str>, reply: Option<Bytes>) {
        match (id, reply) {
            (Some(id), Some(reply)) => self.seen().answer(id, reply),
            (Some(id), None) => self.seen().forget(id),
            (None, _) => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, ReplayCache> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Private;
    use crate::vonage::signature::{Claims, sign};

    const NOW: WallTime = WallTime(1_763_942_400_000_000);
    const BODY: &[u8] = b"{}";

    fn door() -> Door {
        let mut keyring = Keyring::default();
        keyring.add("key", Private("a secret".into())).unwrap();
        Door::new(false, Some(keyring), Policy::default(), 8)
    }

    fn admit(door: &Door, authorization: Option<&str>) -> Result<Admitted, Refused> {
        door.admit(authorization, Payload::Body(BODY), NOW, Moment::default())
    }

    #[test]
    fn a_repetition_gets_the_reply_of_the_first() {
        let door = door();
        let signed = sign("a secret", &Claims::of(Payload::Body(BODY), "key", "jti-1", NOW));
        let Ok(Admitted::New(Some(id))) = admit(&door, Some(&signed)) else { panic!("not let in") };
        assert_eq!(admit(&door, Some(&signed)), Ok(Admitted::Pending));
        door.answered(Some(&id), Some(Bytes::from_static(b"[]")));
        assert_eq!(admit(&door, Some(&signed)), Ok(Admitted::Again(Bytes::from_static(b"[]"))));
    }

    #[test]
    fn what_could_not_be_handled_may_come_again() {
        let door = door();
        let signed = sign("a secret", &Claims::of(Payload::Body(BODY), "key", "jti-1", NOW));
        let Ok(Admitted::New(Some(id))) = admit(&door, Some(&signed)) else { panic!("not let in") };
        door.answered(Some(&id), None);
        assert_eq!(admit(&door, Some(&signed)), Ok(Admitted::New(Some(id))));
    }

    #[test]
    fn nothing_configured_lets_nothing_in_and_says_what_to_set() {
        let door = Door::new(false, None, Policy::default(), 8);
        let refused = admit(&door, None).unwrap_err();
        assert!(refused.to_string().contains("vonage.account") && refused.to_string().contains("vonage.unsigned"));
        assert_eq!(admit(&super::Door::new(true, None, Policy::default(), 8), None), Ok(Admitted::New(None)));
        assert_eq!(admit(&self::door(), None), Err(BadSignature::Missing.into()));
    }
}
