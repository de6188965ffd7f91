//! What the tests of this binary share: audio, waiting, and the promises that every
//! run must have kept, whatever happened in it.

pub mod events;
pub mod peer;
pub mod process;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidetone::audio::wav;
use sidetone::simulator::player;
use sidetone::types::Rate;

/// Longest wait for anything. Only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks at what can only be polled.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits for `future`; `what` is named if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", PATIENCE.as_secs()),
    }
}

/// Asks again and again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// A whole channel of the demo call: 0 is the agent, 1 the caller; 8 kHz.
pub fn channel(which: usize) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo-call/call.wav");
    let call = wav::read(&path).unwrap();
    assert_eq!((call.rate, call.channels.len()), (Rate::Hz8000, 2), "the demo call has changed its form");
    call.channels[which].clone()
}

/// Real speech at 8 kHz: the caller's first sentences, 4.5 s of them.
pub fn speech() -> Vec<i16> {
    channel(1)[5 * 8_000..9 * 8_000 + 4_000].to_vec()
}

/// As bytes on the wire.
pub fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A leg for the player: `speech`, as the caller of `conversation`.
pub fn leg(address: std::net::SocketAddr, conversation: &str, samples: Vec<i16>, speed: f64) -> player::Leg {
    player::Leg {
        url: format!("ws://{address}/media?conversation={conversation}&role=caller"),
        rate: Rate::Hz8000,
        headers: serde_json::Map::new(),
        samples: Arc::from(samples),
        speed,
    }
}

/// The first text message, as Vonage sends it.
pub fn hello(rate_hz: u32) -> String {
    format!(r#"{{"event":"websocket:connected","content-type":"audio/l16;rate={rate_hz}"}}"#)
}

/// One key press.
pub const DTMF: &str = r#"{"event":"websocket:dtmf","digit":"5","duration":260}"#;
