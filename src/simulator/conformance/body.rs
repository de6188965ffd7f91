//! Bodies that are no events at all.

use super::bench::Bench;
use super::{Check, Stop, Verdict, bad};

/// What is no JSON object.
pub(super) const GARBAGE: &[(&str, &[u8])] = &[
    ("half an object", b"{\"status\":"),
    ("text", b"hello"),
    ("an array", b"[1]"),
    ("a string", b"\"status\""),
    ("bytes that are not UTF-8", b"{\"status\":\"\xff\xfe\"}"),
    ("nothing", b""),
];

/// Bytes of a body that no webhook has.
const HUGE: usize = 1024 * 1024;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "body.garbage",
        about: "an event whose body is no JSON object gets 4xx, and the next event 2xx",
        run: |bench| Box::pin(garbage(bench)),
    },
    Check {
        name: "body.huge",
        about: "a body of 1 MiB is refused, and the next event gets 2xx",
        run: |bench| Box::pin(huge(bench)),
    },
];

async fn garbage(bench: &Bench) -> Verdict {
    let url = bench.event_url()?;
    for (what, body) in GARBAGE {
        let reply = bench.post(url, *body).await?;
        if !(400..=499).contains(&reply.status) {
            return bad(format!("{what} got {}: expected 4xx", reply.status));
        }
    }
    lives(bench).await?;
    Ok(format!("{} bodies were refused", GARBAGE.len()))
}

async fn huge(bench: &Bench) -> Verdict {
    let url = bench.event_url()?;
    let mut event = bench.begin().status("ringing");
    event["padding"] = "x".repeat(HUGE).into();
    let told = match bench.post(url, event.to_string()).await {
        Ok(reply) if (400..=499).contains(&reply.status) => format!("{}", reply.status),
        Ok(reply) => return bad(format!("it got {}: expected 413 or another 4xx", reply.status)),
        // Whoever refuses need not read to the end.
        Err(Stop::Bad(_)) => "the connection was closed".to_owned(),
        Err(stop) => return Err(stop),
    };
    lives(bench).await?;
    Ok(told)
}

async fn lives(bench: &Bench) -> Result<(), Stop> {
    bench.event_taken(&bench.begin().status("ringing")).await.map(drop)
}
