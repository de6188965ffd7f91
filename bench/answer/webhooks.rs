//! The webhooks of calls, signed beforehand: what is measured is the server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidetone::control::EVENT_PATH;
use sidetone::types::WallTime;
use sidetone::vonage::signature::{Claims, Payload, sign};

pub(crate) const ANSWER_PATH: &str = "/v1/vonage/answer";
pub(crate) const API_KEY: &str = "bench";
pub(crate) const SECRET: &str = "a signature secret of thirty-two or so characters";

/// How long a call lasts: between its answer and the event that it is over.
const CALL: Duration = Duration::from_secs(1);

/// One HTTP request and when it is due, counted from the start.
pub(crate) struct Webhook {
    pub(crate) due: Duration,
    pub(crate) request: Vec<u8>,
    pub(crate) is_answer: bool,
}

/// `count` calls, `rate` a second: two webhooks each, in the order of their times.
pub(crate) fn calls(run: &str, count: usize, rate: usize, host: &str) -> Vec<Webhook> {
    let mut webhooks = Vec::with_capacity(count * 2);
    for number in 0..count {
        let due = Duration::from_secs(1) * number as u32 / rate as u32;
        let mut call = json!({
            "from": "447700900001",
            "to": "442079460000",
            "uuid": format!("{run}-{number}-aaaaaaaaaaaaaaaaaaaa"),
            "conversation_uuid": format!("CON-{run}-{number}-bbbbbbbbbbbbbbbbbbbb"),
            "region_url": "https://api-eu-1.nexmo.com",
        });
        webhooks.push(webhook(due, ANSWER_PATH, &call, &format!("{run}-{number}-answer"), host));
        for (key, value) in [("status", "completed"), ("direction", "inbound"), ("duration", "1"), ("price", "0.01")] {
            call[key] = value.into();
        }
        webhooks.push(webhook(due + CALL, EVENT_PATH, &call, &format!("{run}-{number}-event"), host));
    }
    webhooks.sort_by_key(|webhook| webhook.due);
    webhooks
}

fn webhook(due: Duration, path: &str, body: &Value, jti: &str, host: &str) -> Webhook {
    let now = WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64);
    let body = body.to_string();
    let signed = sign(SECRET, &Claims::of(Payload::Body(body.as_bytes()), API_KEY, jti, now));
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nauthorization: {signed}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Webhook { due, request: request.into_bytes(), is_answer: path == ANSWER_PATH }
}
