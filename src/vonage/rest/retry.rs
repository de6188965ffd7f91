//! Whether a failed request is tried again, and after what pause. Pure: time and
//! randomness are arguments.

use std::time::Duration;

use super::{RestError, Settings};
use crate::types::WallTime;

/// What it means to do a request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// The same as once: `GET`, `DELETE`, most `PUT`s.
    Idempotent,
    /// Something else: a second call, a key pressed twice.
    Once,
    /// A hang-up: idempotent, and refused with 400 while the call is too young.
    HangUp,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tries {
    /// Attempts made at this base, from 1.
    pub attempt: u32,
    /// Time since the first attempt.
    pub elapsed: Duration,
    /// The most it may take in all.
    pub limit: Duration,
    /// Drawn for this decision, evenly from 0 to 1, 1 left out.
    pub random: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after a pause.
    Retry(Duration),
    /// The error is the answer.
    GiveUp,
}

/// Decides after a failed attempt.
///
/// The pause is drawn from 0 to a bound that doubles with each attempt ("full jitter"),
/// so that gateways which failed together do not come back together; where the answer
/// says how long to wait, it is that long and a little more.
#[must_use]
pub fn decide(settings: &Settings, repeat: Repeat, error: &RestError, tries: Tries) -> Next {
    let doubled = 1_u32.checked_shl(tries.attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let bound = settings.backoff_first.saturating_mul(doubled).min(settings.backoff_max);
    // What is no part of 1, NaN included, gives the whole.
    let part = if (0.0..1.0).contains(&tries.random) { tries.random } else { 1.0 };
    let jittered = |bound: Duration| bound.mul_f64(part);
    let pause = match error {
        // Nothing was done, whatever it was.
        RestError::Unreachable { .. } | RestError::RateLimited { retry_after: None } => jittered(bound),
        RestError::RateLimited { retry_after: Some(wait) } if *wait <= settings.retry_after_max => {
            *wait + jittered(settings.backoff_first)
        }
        // It may have been done.
        RestError::TimedOut | RestError::Broken { .. } | RestError::Failed { .. } if repeat != Repeat::Once => {
            jittered(bound)
        }
        RestError::Rejected { status: 400, .. } if repeat == Repeat::HangUp => {
            settings.early_hangup_pause + jittered(settings.early_hangup_pause / 2)
        }
        _ => return Next::GiveUp,
    };
    if tries.attempt >= settings.attempts_max || tries.elapsed.saturating_add(pause) >= tries.limit {
        return Next::GiveUp;
    }
    Next::Retry(pause)
}

/// What a `Retry-After` header asks for: seconds, or a date; a date that is past is 0.
#[must_use]
pub fn retry_after(header: &str, now: WallTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(header).ok()?.timestamp_micros();
    Some(Duration::from_micros(u64::try_from(date.saturating_sub(now.0)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn settings() -> Settings {
        Settings {
            attempts_max: 5,
            backoff_first: 100 * MS,
            backoff_max: 300 * MS,
            retry_after_max: 2_000 * MS,
            early_hangup_pause: 700 * MS,
            ..Settings::default()
        }
    }

    fn tries(attempt: u32, random: f64) -> Tries {
        Tries { attempt, elapsed: Duration::ZERO, limit: 10_000 * MS, random }
    }

    fn refused(status: u16) -> RestError {
        RestError::Rejected { status, reason: String::new() }
    }

    #[test]
    fn what_is_tried_again() {
        let cause = String::new;
        let unreachable = RestError::Unreachable { cause: cause() };
        let broken = RestError::Broken { cause: cause() };
        let failed = RestError::Failed { status: 503, reason: String::new() };
        let limited = |ms: Option<u32>| RestError::RateLimited { retry_after: ms.map(|ms| MS * ms) };
        let unauthorised = RestError::Unauthorised { status: 401, reason: String::new() };
        let missing = RestError::NotFound { reason: String::new() };
        // The error, then the pause in ms at random = 0.5 for each kind; none: give up.
        for (error, idempotent, once, hang_up) in [
            (&unreachable, Some(50), Some(50), Some(50)),
            (&limited(None), Some(50), Some(50), Some(50)),
            (&limited(Some(0)), Some(50), Some(50), Some(50)),
            (&limited(Some(1_500)), Some(1_550), Some(1_550), Some(1_550)),
            (&limited(Some(2_001)), None, None, None),
            (&RestError::TimedOut, Some(50), None, Some(50)),
            (&broken, Some(50), None, Some(50)),
            (&failed, Some(50), None, Some(50)),
            (&refused(400), None, None, Some(875)),
            (&refused(409), None, None, None),
            (&unauthorised, None, None, None),
            (&missing, None, None, None),
            (&RestError::TooLarge { max: 1 }, None, None, None),
            (&RestError::Malformed { expected: "x" }, None, None, None),
            (&RestError::BadId, None, None, None),
        ] {
            for (repeat, expected) in
                [(Repeat::Idempotent, idempotent), (Repeat::Once, once), (Repeat::HangUp, hang_up)]
            {
                let expected = expected.map_or(Next::GiveUp, |ms: u32| Next::Retry(MS * ms));
                assert_eq!(decide(&settings(), repeat, error, tries(1, 0.5)), expected, "{repeat:?} {error:?}");
            }
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_attempts_end() {
        let next =
            |attempt, random| decide(&settings(), Repeat::Idempotent, &RestError::TimedOut, tries(attempt, random));
        for (attempt, random, expected) in [
            (1, 0.0, Next::Retry(Duration::ZERO)),
            (1, 1.0, Next::Retry(100 * MS)),
            (2, 1.0, Next::Retry(200 * MS)),
            (3, 1.0, Next::Retry(300 * MS)),
            (4, 1.0, Next::Retry(300 * MS)),
            (5, 1.0, Next::GiveUp),
            (u32::MAX, f64::NAN, Next::GiveUp),
        ] {
            assert_eq!(next(attempt, random), expected, "{attempt} {random}");
        }
    }

    #[test]
    fn time_ends() {
        let at = |elapsed: u32| {
            let tries = Tries { elapsed: MS * elapsed, limit: 1_000 * MS, ..tries(1, 0.5) };
            decide(&settings(), Repeat::Idempotent, &RestError::TimedOut, tries)
        };
        assert_eq!(at(949), Next::Retry(50 * MS));
        assert_eq!(at(950), Next::GiveUp);
    }

    #[test]
    fn three_early_hang_ups_outlast_two_seconds() {
        let defaults = Settings::default();
        let waited: Duration = (1..defaults.attempts_max)
            .map(|attempt| match decide(&defaults, Repeat::HangUp, &refused(400), tries(attempt, 0.0)) {
                Next::Retry(pause) => pause,
                Next::GiveUp => Duration::ZERO,
            })
            .sum();
        assert!(waited >= 2_000 * MS, "{waited:?}");
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = WallTime(784_111_777_000_000);
        for (header, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected.map(Duration::from_secs), "{header:?}");
        }
    }
}
