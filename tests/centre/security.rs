//! Whose webhooks are believed, from outside.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sidetone::types::WallTime;
use sidetone::vonage::signature::{Claims, Payload, sign};

use super::support::process;
use super::support::within;
use super::world::World;

fn wall(offset_s: i64) -> WallTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    WallTime(now + offset_s * 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_forgery_is_refused_and_a_repetition_answered_as_before() {
    let world = World::new("").await;
    let body = json!({"to": "442079460000", "from": "447700900000", "uuid": "leg-1", "conversation_uuid": "CON-1"});
    let body = body.to_string();
    let (secret, api_key) = (world.text("signature_secret"), world.text("api_key"));
    let claims = |offset_s, jti: &str| Claims::of(Payload::Body(body.as_bytes()), &api_key, jti, wall(offset_s));
    let client = reqwest::Client::new();
    let post = async |authorization: Option<String>| {
        let request = client.post(world.url("/v1/vonage/answer")).body(body.clone());
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        let response = within("the answer", request.send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let good = sign(&secret, &claims(0, "one"));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = format!("{}.{}.", "Bearer eyJhbGciOiJub25lIn0", head.split('.').nth(1).unwrap());
    for (what, authorization, status) in [
        ("unsigned: sent again", None, 503),
        ("forged", Some(sign("another secret", &claims(0, "f"))), 401),
        ("expired", Some(sign(&secret, &claims(-600, "e"))), 401),
        ("from the future", Some(sign(&secret, &claims(600, "n"))), 401),
        ("without an algorithm", Some(none), 401),
        ("truncated", Some(format!("{head}.{}", &signature[..signature.len() - 4])), 401),
        ("of another body", Some(sign(&secret, &Claims::of(Payload::Body(b"{}"), &api_key, "b", wall(0)))), 401),
        ("of another account", Some(sign(&secret, &Claims { api_key: "ffffffff".into(), ..claims(0, "a") })), 401),
    ] {
        assert_eq!(post(authorization).await.0, status, "{what}");
    }
    assert_eq!(world.gateway.metric("sidetone_webhooks_refused_total{kind=\"answer\",reason=\"stale\"}").await, 1.0);
    let first = post(Some(good.clone())).await;
    assert!(first.0 == 200 && first.1.starts_with("[{"), "{first:?}");
    assert_eq!(post(Some(good)).await, first);
    // A retry with a token of its own is the same call.
    assert_eq!(post(Some(sign(&secret, &claims(0, "two")))).await, first);
    let (events, _) = world.published().await;
    assert_eq!(events.iter().filter(|event| event["type"] == "call.started.v1").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_that_come_together_one_alone_has_the_last_place_and_all_are_served() {
    let world = World::new("[server]\nlegs_max = 1").await;
    let (secret, api_key) = (world.text("signature_secret"), world.text("api_key"));
    let client = reqwest::Client::new();
    let answer = async |n: usize| {
        let body = json!({"to": "442079460000", "from": "447700900000", "uuid": format!("leg-{n}"), "conversation_uuid": format!("CON-{n}")});
        let body = body.to_string();
        let claims = Claims::of(Payload::Body(body.as_bytes()), &api_key, &n.to_string(), wall(0));
        let request = client.post(world.url("/v1/vonage/answer")).header("authorization", sign(&secret, &claims));
        let response = within("the answer", request.body(body).send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for (status, ncco) in futures_util::future::join_all((0..8).map(answer)).await {
        assert!(status == 200 && ncco.starts_with("[{"), "{status} {ncco}");
    }
    let (events, _) = world.published().await;
    let unheard =
        events.iter().filter(|event| event["type"] == "call.listening.v1" && event["data"]["reason"] == "capacity");
    assert_eq!(unheard.count(), 7, "of eight callers one is heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_gateway_passes_every_check_of_conformance() {
    let world = World::new("").await;
    let folder = tempfile::tempdir().unwrap();
    let (url, key, id) = (world.url(""), world.text("api_key"), world.text("application_id"));
    let arguments = ["conformance", "--url", &url, "--api-key", &key, "--application-id", &id, "--only", "signature"];
    let secret = world.text("signature_secret");
    for only in ["answer", "signature", "event", "body"] {
        let arguments = [&arguments[..8], &[only]].concat();
        let said = process::run_with(folder.path(), &arguments, |command| {
            command.env("SIDETONE_SIGNATURE_SECRET", &secret);
        });
        let said = said.await;
        assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
        assert!(said.out.contains(only) && said.out.contains(" 0 BAD"), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_no_webhook_is_taken_and_the_keys_to_set_are_named() {
    let gateway = process::Gateway::start("").await;
    let response = reqwest::get(format!("http://{}/v1/vonage/answer?uuid=leg", gateway.address)).await.unwrap();
    assert_eq!(response.status(), 401);
    let text = response.text().await.unwrap();
    assert!(text.contains("vonage.account") && text.contains("vonage.unsigned"), "{text}");
    gateway.stop().await;
}
