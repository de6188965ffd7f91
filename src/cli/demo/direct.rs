//! Media sockets alone: a leg for each channel, dialled as Vonage dials, with no call around them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::Failure;
use super::With;
use crate::app::{self, App};
use crate::audio::wav::Wav;
use crate::config::{Config, Media, Vonage};
use crate::simulator::player::{self, Leg};

/// Between the legs' start and the first frame, so that all sockets are open by then.
const LEAD: Duration = Duration::from_millis(300);

/// Plays the call; gives what went wrong.
pub(super) async fn play(config: Config, with: With, call: Wav, speakers: &[String]) -> Result<Vec<String>, Failure> {
    // It is its own peer, on loopback, and shows nothing for itself.
    let config = Config { media: Media::default(), vonage: Vonage::default(), flow: Vec::new(), ..config };
    let mut sinks = app::sinks(&config)?;
    sinks.push(with.sink());
    let app = App::start(&config, sinks, None).await?;
    app.warm().await?;
    let to = format!("to ws://{}/media, a leg each for {}", app.address(), speakers.join(" and "));
    with.announce(&call, &to)?;
    let conversation = format!("CON-{}", Uuid::new_v4());
    let start = Instant::now() + LEAD;
    let legs = call.channels.into_iter().zip(speakers).map(|(samples, speaker)| {
        let mut headers = Map::new();
        headers.insert("conversation".to_owned(), Value::String(conversation.clone()));
        headers.insert("role".to_owned(), Value::String(speaker.clone()));
        Leg {
            url: format!("ws://{}/media", app.address()),
            rate: call.rate,
            headers,
            samples: Arc::from(samples),
            speed: with.speed,
        }
    });
    let playing: Vec<_> = legs.map(|leg| tokio::spawn(async move { player::play(&leg, start).await })).collect();
    let mut problems = Vec::new();
    for leg in playing {
        match leg.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => problems.push(error.to_string()),
            Err(error) => problems.push(error.to_string()),
        }
    }
    problems.extend(super::stop(app).await);
    Ok(problems)
}
