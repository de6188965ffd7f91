//! Signatures: what Vonage signed is believed, and nothing else.
//!
//! Not found is no refusal: a gateway without the endpoint would pass every check.

use super::bench::Bench;
use super::forge;
use super::{Check, Verdict, bad, skip};
use crate::simulator::webhook::Signing;
use crate::vonage::signature::{Claims, Payload, sign};

/// How far from now a token is no longer fresh, in s.
const FAR_S: i64 = 600;

/// Makes an `Authorization` header out of good claims for the body that is sent, or none;
/// nothing where the forgery needs what was not given.
type Forge = fn(&Signing, Claims) -> Option<Option<String>>;

macro_rules! forgeries {
    ($($name:literal: $about:literal => $forge:expr;)+) => {
        &[
            Check {
                name: "signature.good",
                about: "a webhook signed as Vonage signs gets 2xx",
                run: |bench| Box::pin(good(bench)),
            },
            $(Check {
                name: $name,
                about: $about,
                run: |bench| Box::pin(refused(bench, $forge, $name == "signature.missing")),
            },)+
            Check {
                name: "signature.repeated",
                about: "a repeated jti gets the same reply, and the call is not answered anew",
                run: |bench| Box::pin(repeated(bench)),
            },
        ]
    };
}

pub(super) const CHECKS: &[Check] = forgeries! {
    "signature.missing": "a webhook without a signature gets 401, another 4xx, or 5xx" => |_, _| Some(None);
    "signature.wrong_secret": "a webhook signed with another secret gets 4xx" => |signing, claims| {
        Some(Some(sign(&format!("not {}", signing.secret.0), &claims)))
    };
    "signature.unknown_account": "a webhook of an account nobody knows gets 4xx" => |signing, claims| {
        Some(Some(sign(&signing.secret.0, &Claims { api_key: "00000000".into(), ..claims })))
    };
    "signature.stale": "a token 600 s old gets 4xx" => |signing, claims| {
        Some(Some(sign(&signing.secret.0, &Claims { iat: claims.iat - FAR_S, ..claims })))
    };
    "signature.future": "a token 600 s ahead gets 4xx" => |signing, claims| {
        Some(Some(sign(&signing.secret.0, &Claims { iat: claims.iat + FAR_S, ..claims })))
    };
    "signature.alg_none": "a token of the algorithm none gets 4xx" => |_, claims| {
        Some(Some(forge::token(r#"{"alg":"none","typ":"JWT"}"#, &claims, None)))
    };
    "signature.alg_rs256": "a token that says RS256 and is signed with the secret gets 4xx" => |signing, claims| {
        Some(Some(forge::token(r#"{"alg":"RS256","typ":"JWT"}"#, &claims, Some(&signing.secret.0))))
    };
    "signature.truncated": "a token whose signature is cut gets 4xx" => |signing, claims| {
        // What is left is base64 all the same: 27 of 32 bytes.
        let token = sign(&signing.secret.0, &claims);
        Some(Some(token[..token.len() - 7].to_owned()))
    };
    "signature.payload": "a token that was made for another body gets 4xx" => |signing, claims| {
        let payload_hash = Payload::Body(b"{}").hash();
        Some(Some(sign(&signing.secret.0, &Claims { payload_hash, ..claims })))
    };
    "signature.issuer": "a token of another issuer gets 4xx" => |signing, claims| {
        Some(Some(sign(&signing.secret.0, &Claims { iss: "Vonnage".into(), ..claims })))
    };
    "signature.application": "a token for another application gets 4xx" => |signing, claims| {
        let application_id = Some(format!("{}0", claims.application_id.as_ref()?));
        Some(Some(sign(&signing.secret.0, &Claims { application_id, ..claims })))
    };
};

fn signing(bench: &Bench) -> Result<&Signing, super::Stop> {
    bench.target.signing.as_ref().map_or_else(|| skip("no signature secret was given"), Ok)
}

async fn good(bench: &Bench) -> Verdict {
    signing(bench)?;
    let reply = bench.event_taken(&bench.begin().status("ringing")).await?;
    Ok(reply.status.to_string())
}

/// Both URLs must refuse what is forged.
async fn refused(bench: &Bench, forge: Forge, missing: bool) -> Verdict {
    let signing = signing(bench)?;
    let mut told = Vec::new();
    for (what, url) in [("event", bench.event_url()), ("answer", bench.answer_url())] {
        let Ok(url) = url else { continue };
        let call = bench.begin();
        let body = if what == "event" { call.status("ringing") } else { call.answer() }.to_string();
        let Some(claims) = bench.claims(Payload::Body(body.as_bytes())) else { continue };
        let Some(authorization) = forge(signing, claims) else { return skip("no application id was given") };
        let status = bench.post_as(url, body, authorization).await?.status;
        let refusal = (400..=499).contains(&status) && ![404, 405, 408, 429].contains(&status);
        if !(refusal || missing && (500..=599).contains(&status)) {
            return bad(format!("the {what} URL said {status}: expected 401 or another 4xx that refuses"));
        }
        told.push(format!("{what} {status}"));
    }
    if told.is_empty() { skip("no URL was given") } else { Ok(told.join(", ")) }
}

async fn repeated(bench: &Bench) -> Verdict {
    signing(bench)?;
    let (event_url, answer_url) = (bench.event_url()?, bench.answer_url()?);
    let call = bench.begin();
    for (what, url, body) in [("answer", answer_url, call.answer()), ("event", event_url, call.status("answered"))] {
        let body = body.to_string();
        let authorization = bench.sign(Payload::Body(body.as_bytes()));
        let first = bench.post_as(url, body.clone(), authorization.clone()).await?;
        let second = bench.post_as(url, body, authorization).await?;
        if !first.is_taken() || !second.is_taken() {
            return bad(format!("the {what} URL said {}, then {}: expected 2xx twice", first.status, second.status));
        }
        if first.body != second.body {
            return bad(format!("the {what} URL's second reply differs from the first"));
        }
    }
    Ok("both URLs repeated themselves".to_owned())
}
