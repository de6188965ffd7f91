//! The media socket: opened in time, and held whatever comes over it.

use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::bench::Bench;
use super::line::{End, Line, Opened};
use super::way::{Source, Way};
use super::{Check, Stop, Verdict, bad, skip};
use crate::types::Rate;

/// Longest upgrade: what the reference advises.
const UPGRADE: Duration = Duration::from_secs(1);
/// Frames that are enough to be noticed: half a second.
const SOME: usize = 25;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "media.upgrade",
        about: "the socket opens within 1 s, and no compression is negotiated",
        run: |bench| Box::pin(upgrade(bench)),
    },
    Check {
        name: "media.ping",
        about: "a ping is answered by a pong of the same payload",
        run: |bench| Box::pin(ping(bench)),
    },
    Check {
        name: "media.early_audio",
        about: "audio before the first text message is no reason to close",
        run: |bench| Box::pin(early_audio(bench)),
    },
    Check {
        name: "media.no_hello",
        about: "audio without any text message is no reason to close",
        run: |bench| Box::pin(no_hello(bench)),
    },
    Check {
        name: "media.odd_frames",
        about: "messages of half a frame, two frames, an odd number of bytes and none are no reason to close",
        run: |bench| Box::pin(odd_frames(bench)),
    },
    Check {
        name: "media.text_events",
        about: "keys, marks, cleared and events nobody knows are no reason to close",
        run: |bench| Box::pin(text_events(bench)),
    },
    Check { name: "media.rate_8000", about: "8 kHz is taken", run: |bench| Box::pin(rate(bench, Rate::Hz8000)) },
    Check { name: "media.rate_16000", about: "16 kHz is taken", run: |bench| Box::pin(rate(bench, Rate::Hz16000)) },
    Check {
        name: "media.rate_24000",
        about: "24 kHz is taken, or refused with a close frame",
        run: |bench| Box::pin(rate_24000(bench)),
    },
    Check {
        name: "media.frames_back",
        about: "what the gateway sends is frames of exactly 20 ms, and text that Vonage knows",
        run: |bench| Box::pin(frames_back(bench)),
    },
    Check {
        name: "media.close",
        about: "a close frame is answered by one within 5 s",
        run: |bench| Box::pin(close(bench)),
    },
    Check {
        name: "media.drop",
        about: "after a connection that broke, the next one opens",
        run: |bench| Box::pin(dropped(bench)),
    },
    Check {
        name: "media.token_once",
        about: "the socket of an NCCO does not open a second time",
        run: |bench| Box::pin(token_once(bench)),
    },
];

async fn open(bench: &Bench) -> Result<(Way, Line), Stop> {
    let way = bench.way().await?;
    let line = Line::open(&way).await?;
    Ok((way, line))
}

/// The last part of most checks: the gateway is still there, and ends well.
async fn lives(mut line: Line) -> Verdict {
    line.alive().await?;
    // How it ends has a check of its own.
    let _ = line.hang_up().await;
    Ok(String::new())
}

async fn upgrade(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    let ms = line.took.as_millis();
    if line.took > UPGRADE {
        return bad(format!("the upgrade took {ms} ms: expected at most {} ms", UPGRADE.as_millis()));
    }
    if line.extensions.as_ref().is_some_and(|extensions| !extensions.trim().is_empty()) {
        return bad("an extension was negotiated: expected none");
    }
    let _ = line.hang_up().await;
    let from = match way.source {
        Source::Given => "as given",
        Source::Ncco => "from the NCCO",
        Source::Assumed => "at the usual path",
    };
    Ok(format!("{ms} ms, {from}"))
}

async fn ping(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    line.alive().await?;
    lives(line).await
}

async fn early_audio(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.silence(way.rate, SOME).await?;
    line.hello(&way, way.rate).await?;
    line.silence(way.rate, SOME).await?;
    lives(line).await
}

async fn no_hello(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.silence(way.rate, 2 * SOME).await?;
    lives(line).await
}

async fn odd_frames(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    let frame = way.rate.frame_bytes();
    for bytes in [frame, frame / 2, 2 * frame, frame - 1, 1, 0, frame] {
        line.send(Message::binary(vec![0; bytes])).await?;
    }
    lives(line).await
}

async fn text_events(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    for text in [
        r#"{"event":"websocket:dtmf","digit":"5","duration":260}"#,
        r#"{"event":"websocket:dtmf","digit":"*"}"#,
        r#"{"event":"websocket:cleared"}"#,
        r#"{"event":"websocket:notify","payload":{"mark":"utt-17"}}"#,
        r#"{"event":"websocket:levitating","height":[1,null]}"#,
        r#"{"something":"new"}"#,
    ] {
        line.send(Message::text(text)).await?;
    }
    lives(line).await
}

async fn rate(bench: &Bench, rate: Rate) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, rate).await?;
    line.silence(rate, SOME).await?;
    lives(line).await
}

async fn rate_24000(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    let taken = async {
        line.hello(&way, Rate::Hz24000).await?;
        line.silence(Rate::Hz24000, SOME).await?;
        line.alive().await
    };
    if taken.await.is_ok() {
        let _ = line.hang_up().await;
        return Ok("it is taken".to_owned());
    }
    match line.end().await {
        Some(End::Closed) => Ok("it is refused".to_owned()),
        Some(End::Broken) => bad("the connection broke without a close frame"),
        None => bad("the socket was neither served nor closed"),
    }
}

async fn frames_back(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    line.silence(way.rate, 2 * SOME).await?;
    line.alive().await?;
    let right = way.rate.frame_bytes();
    let mut frames = 0_usize;
    for message in &line.heard {
        match message {
            Message::Binary(bytes) if bytes.len() == right => frames += 1,
            Message::Binary(bytes) => {
                return bad(format!("it sent a message of {} bytes: expected {right}", bytes.len()));
            }
            Message::Text(text) => {
                let message: Value = serde_json::from_str(text).unwrap_or_default();
                if !["clear", "notify"].iter().any(|action| message["action"] == *action) {
                    return bad("it sent a text that Vonage does not know: expected an action, clear or notify");
                }
            }
            _ => {}
        }
    }
    let _ = line.hang_up().await;
    if frames == 0 { skip("it sent no audio within 1 s") } else { Ok(format!("{frames} frames")) }
}

async fn close(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    line.silence(way.rate, SOME).await?;
    if line.hang_up().await? { Ok(String::new()) } else { bad("the close frame was not answered by one within 5 s") }
}

async fn dropped(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    line.silence(way.rate, SOME).await?;
    drop(line);
    let (way, mut line) = open(bench).await?;
    line.hello(&way, way.rate).await?;
    lives(line).await
}

async fn token_once(bench: &Bench) -> Verdict {
    let (way, mut line) = open(bench).await?;
    if way.source != Source::Ncco {
        return skip("no NCCO names a websocket");
    }
    line.hello(&way, way.rate).await?;
    match Line::ask(&way).await? {
        Opened::Refused(status @ 400..=499) => Ok(status.to_string()),
        Opened::Refused(status) => bad(format!("the second upgrade got {status}: expected 401 or 403")),
        Opened::Line(mut second) => match second.end().await {
            Some(End::Closed) => Ok("it was closed at once".to_owned()),
            _ => bad("the second socket was opened and served"),
        },
    }
}
