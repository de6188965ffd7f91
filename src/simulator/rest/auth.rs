//! Whether a request is an application's of ours.

use super::reply::Error;
use crate::types::WallTime;
use crate::vonage::app_jwt::AppPublicKey;

/// Furthest that a token's `iat` may be ahead of our clock, in s.
const FUTURE_S: i64 = 60;

/// Checks the `Authorization` header. Why it does not hold is not said, as at Vonage.
pub(super) fn check(
    key: &AppPublicKey,
    application_id: Option<&str>,
    authorization: Option<&str>,
    now: WallTime,
) -> Result<(), Error> {
    let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).ok_or(Error::Unauthorized)?;
    let claims = key.verify(token.trim(), now).map_err(|_| Error::Unauthorized)?;
    let early = claims.iat > now.0.div_euclid(1_000_000).saturating_add(FUTURE_S);
    let other = application_id.is_some_and(|ours| ours != claims.application_id);
    if !scheme.eq_ignore_ascii_case("Bearer") || early || other { Err(Error::Unauthorized) } else { Ok(()) }
}
