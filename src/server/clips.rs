//! Audio that Vonage is to fetch from us: `GET /v1/clips/{id}`.
//!
//! Vonage plays files by URL. Whoever has an id has the file, so ids cannot be guessed and
//! a clip is kept for a short time. Bounded in clips and bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::Gateway;
use crate::types::Moment;

/// Where clips are fetched, below the public URL.
pub(super) const PATH: &str = "/v1/clips";
/// Clips kept at a time.
const CLIPS_MAX: usize = 256;
/// Bytes of all clips kept.
const BYTES_MAX: usize = 64 << 20;
/// How long a clip can be fetched: it may be played again and again meanwhile.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The clips that can be fetched now.
#[derive(Debug, Default)]
pub struct Clips(Mutex<VecDeque<(Uuid, Moment, Bytes)>>);

impl Clips {
    /// Keeps a WAV file; gives its id, or none where there is no room.
    pub(super) fn keep(&self, wav: Bytes, now: Moment) -> Option<Uuid> {
        let mut clips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while clips.front().is_some_and(|(_, since, _)| now.since(*since) >= KEPT_FOR) {
            clips.pop_front();
        }
        let bytes: usize = clips.iter().map(|(.., wav)| wav.len()).sum();
        if clips.len() >= CLIPS_MAX || bytes + wav.len() > BYTES_MAX {
            return None;
        }
        let id = Uuid::new_v4();
        clips.push_back((id, now, wav));
        Some(id)
    }

    fn find(&self, id: &Uuid, now: Moment) -> Option<Bytes> {
        let clips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clip = clips.iter().find(|(kept, since, _)| kept == id && now.since(*since) < KEPT_FOR);
        clip.map(|(.., wav)| wav.clone())
    }
}

/// Gives a clip to whoever knows its id.
pub(super) async fn fetch(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let clip = Uuid::parse_str(&id).ok().and_then(|id| gateway.clips.find(&id, gateway.clock.now()));
    match clip {
        Some(wav) => ([(header::CONTENT_TYPE, "audio/wav"), (header::CACHE_CONTROL, "private")], wav).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_kept_for_its_time_and_no_more_than_fit() {
        let clips = Clips::default();
        let now = Moment::from_ms(1_000);
        let id = clips.keep(Bytes::from_static(b"RIFF"), now).unwrap();
        assert_eq!(clips.find(&id, now), Some(Bytes::from_static(b"RIFF")));
        assert_eq!(clips.find(&id, now + KEPT_FOR), None);
        assert!((1..CLIPS_MAX).all(|_| clips.keep(Bytes::from_static(b"RIFF"), now).is_some()));
        assert_eq!(clips.keep(Bytes::from_static(b"RIFF"), now), None);
        assert!(clips.keep(Bytes::from_static(b"RIFF"), now + KEPT_FOR).is_some());
        assert_eq!(clips.keep(Bytes::from(vec![0; BYTES_MAX]), now + KEPT_FOR), None);
    }
}
