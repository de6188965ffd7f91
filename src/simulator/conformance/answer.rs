//! The answer webhook: an NCCO, good and in time, however it is asked for.

use serde_json::json;

use super::bench::{ANSWER, Bench, Reply};
use super::{Check, Verdict, bad};
use crate::vonage::wire::Map;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "answer.get",
        about: "a call by GET gets 200 and a valid NCCO as application/json within 5 s",
        run: |bench| Box::pin(get(bench)),
    },
    Check {
        name: "answer.post",
        about: "a call by POST gets 200 and a valid NCCO as application/json within 5 s",
        run: |bench| Box::pin(post(bench)),
    },
    Check {
        name: "answer.odd",
        about: "a SIP call of an app user, with null, unknown and custom fields, gets an NCCO too",
        run: |bench| Box::pin(odd(bench)),
    },
    Check {
        name: "answer.garbage",
        about: "a body that is no JSON object gets 4xx, and the next call an NCCO",
        run: |bench| Box::pin(garbage(bench)),
    },
];

fn judge(reply: &Reply) -> Verdict {
    let actions = reply.ncco()?.0.len();
    let ms = reply.took.as_millis();
    if reply.took > ANSWER {
        return bad(format!("the reply took {ms} ms: expected at most {} ms", ANSWER.as_millis()));
    }
    Ok(format!("{actions} actions in {ms} ms"))
}

async fn get(bench: &Bench) -> Verdict {
    let url = bench.answer_url()?;
    let params: Map = bench.begin().answer().as_object().cloned().unwrap_or_default();
    judge(&bench.get(url, &params).await?)
}

async fn post(bench: &Bench) -> Verdict {
    let url = bench.answer_url()?;
    judge(&bench.post(url, bench.begin().answer().to_string()).await?)
}

async fn odd(bench: &Bench) -> Verdict {
    let url = bench.answer_url()?;
    let call = bench.begin();
    let body = json!({"to": null, "from_user": "alice", "uuid": call.uuid, "conversation_uuid": call.conversation,
        "endpoint_type": "sip", "region_url": null, "custom_data": {"k": [1, {"v": null}]},
        "SipHeader_X-UserId": "1938ND9", "SipHeader_User-to-User": "", "something_new": {"a": []}});
    judge(&bench.post(url, body.to_string()).await?)
}

async fn garbage(bench: &Bench) -> Verdict {
    let url = bench.answer_url()?;
    for (what, body) in super::body::GARBAGE {
        let reply = bench.post(url, *body).await?;
        if !(400..=499).contains(&reply.status) {
            return bad(format!("{what} got {}: expected 4xx", reply.status));
        }
    }
    post(bench).await
}
