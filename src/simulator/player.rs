//! One Vonage leg: dials a WebSocket, says hello, sends 20 ms frames at pace, hangs up.
//!
//! Message shapes are those of `vonage-voice.md` section 1.2.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, protocol::WebSocketConfig};

use crate::call::wire;
use crate::types::Rate;
use crate::types::rate::FRAME_MS;

/// Longest wait for the gateway to accept, and to close.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What one leg plays.
#[derive(Debug, Clone)]
pub struct Leg {
    /// `ws://host:port/media?…`
    pub url: String,
    /// Rate of the audio.
    pub rate: Rate,
    /// The NCCO's custom headers.
    pub headers: Map<String, Value>,
    /// 16-bit mono at `rate`.
    pub samples: Arc<[i16]>,
    /// Times faster than real time; 1 is what Vonage does.
    pub speed: f64,
}

/// Why a leg could not be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The gateway did not take the socket.
    #[error("{url}: the gateway did not accept the socket: {problem}")]
    Connect {
        /// Where we dialled.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The gateway closed early.
    #[error("the gateway ended the leg after {frames} frames: {problem}")]
    Cut {
        /// Frames sent.
        frames: usize,
        /// What happened.
        problem: WsError,
    },
}

/// Plays a leg whose first frame is due at `start`.
///
/// # Errors
/// [`PlayError`].
pub async fn play(leg: &Leg, start: Instant) -> Result<(), PlayError> {
    let refused = |problem: String| PlayError::Connect { url: leg.url.clone(), problem };
    let config = WebSocketConfig::default().read_buffer_size(4_096).write_buffer_size(0);
    let dialled = timeout(HANDSHAKE, tokio_tungstenite::connect_async_with_config(&leg.url, Some(config), true)).await;
    let (mut socket, _) = match dialled {
        Ok(Ok(connected)) => connected,
        Ok(Err(WsError::Http(response))) => return Err(refused(format!("HTTP {}", response.status()))),
        Ok(Err(error)) => return Err(refused(error.to_string())),
        Err(_) => return Err(refused(format!("no answer within {} s", HANDSHAKE.as_secs()))),
    };
    let cut = |frames| move |problem| PlayError::Cut { frames, problem };
    socket.send(Message::text(wire::connected(leg.rate, &leg.headers))).await.map_err(cut(0))?;
    let frame_time = Duration::from_millis(FRAME_MS).div_f64(leg.speed);
    for (n, frame) in leg.samples.chunks(leg.rate.frame_samples()).enumerate() {
        sleep_until(start + frame_time.mul_f64(n as f64)).await;
        let mut bytes = Vec::with_capacity(leg.rate.frame_bytes());
        frame.iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
        // The platform never sends a short frame.
        bytes.resize(leg.rate.frame_bytes(), 0);
        socket.send(Message::binary(bytes)).await.map_err(cut(n))?;
    }
    // A gateway that does not answer the close is not waited for.
    let _ = timeout(HANDSHAKE, async {
        socket.close(None).await?;
        while socket.next().await.is_some_and(|received| received.is_ok()) {}
        Ok::<(), WsError>(())
    })
    .await;
    Ok(())
}
