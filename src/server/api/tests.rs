//! The API on a real socket, with handlers that only say that they were reached.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::operation::NCCO_BYTES_MAX;
use super::token::{Scope, TokenSettings, Tokens};
use super::types::{HangUp, ListCalls, PressKeys, Say};
use super::*;
use crate::server::{Impatient, Peer};

const ALL: &str = "all-scopes-token-1";
const READER: &str = "reader-token-00001";

fn tokens() -> Tokens {
    let token = |name: &str, token: &str, scopes: &[Scope]| TokenSettings {
        name: name.into(),
        token: token.into(),
        scopes: scopes.to_vec(),
        ..Default::default()
    };
    Tokens::new(&[token("all", ALL, &Scope::ALL), token("reader", READER, &[Scope::CallsRead])]).unwrap()
}

async fn not_implemented() -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED)
}

/// Serves the API; routes that have no handler here say their operation and the caller.
async fn serve(tokens: Tokens, listen: &str) -> Api {
    let guard = Guard::new(tokens, listen.parse().unwrap());
    let handler = |operation: Operation| match operation {
        Operation::ListCalls => operation.on(async |CheckedQuery(query): CheckedQuery<ListCalls>| format!("{query:?}")),
        Operation::HangUp => operation.on(async |Checked(body): Checked<HangUp>| format!("{body:?}")),
        Operation::Say => operation.on(async |Checked(body): Checked<Say>| body.text.0),
        Operation::PressKeys => operation.on(async |Checked(body): Checked<PressKeys>| body.digits.0),
        // The framework's own extractor, as a forgetful handler would use it.
        Operation::CreateCall => operation.on(async |axum::Json(body): axum::Json<Vec<u8>>| format!("{body:?}")),
        Operation::Play => operation.on(async |body: Bytes| body.len().to_string()),
        Operation::ValidateNcco => operation.on(ncco::validate),
        Operation::OpenApi => operation.on(openapi::serve),
        Operation::GetTranscript => operation.on(not_implemented),
        open if open.scope().is_none() => operation.on(async move || open.id()),
        guarded => operation.on(async move |Extension(caller): Extension<Caller>| {
            format!("{} {}", guarded.id(), caller.0.as_deref().unwrap_or("nobody"))
        }),
    };
    let router: Router = router(&guard, handler);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<Peer>();
    let listener = Impatient::new(listener, Duration::from_secs(60));
    tokio::spawn(async move { axum::serve(listener, service).await });
    Api { host, http: Client::builder().no_proxy().build().unwrap() }
}

struct Api {
    host: SocketAddr,
    http: Client,
}

impl Api {
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.host))
    }

    fn all(&self, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).bearer_auth(ALL)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.all(Method::POST, path).header("content-type", "application/json").body(body.to_string())
    }
}

async fn text(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The status, the type's last word and the whole of an error.
async fn problem(request: RequestBuilder) -> (u16, String, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], problem::MEDIA_TYPE, "{status}");
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["status"], status);
    let kind = body["type"].as_str().unwrap().strip_prefix("urn:sidetone:problem:").unwrap().to_owned();
    (status, kind, body)
}

#[tokio::test]
async fn what_is_mounted_is_what_is_documented_and_guarded_as_it_says() {
    let api = serve(tokens(), "127.0.0.1:8080").await;
    let document: Value = serde_json::from_str(&text(api.ask(Method::GET, "/v1/openapi.json")).await.1).unwrap();
    assert_eq!(document, openapi::document());
    let mut documented = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let url = path.replace("{id}", "CALL-1");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let name = method.as_str().to_lowercase();
            let Some(described) = methods.get(&name) else {
                assert_eq!(text(api.all(method, &url)).await.0, 405, "{name} {path} is not documented");
                continue;
            };
            documented += 1;
            let with = |token: &str| api.ask(method.clone(), &url).bearer_auth(token);
            assert!(![404, 405].contains(&text(with(ALL)).await.0), "{name} {path} is not mounted");
            let scope = described["security"][0]["bearer"][0].as_str();
            let bare = text(api.ask(method.clone(), &url)).await.0;
            let reader = text(with(READER)).await.0;
            match scope {
                None => assert_eq!((bare, reader), (200, 200), "{name} {path}"),
                Some("calls:read") => assert!(bare == 401 && reader <= 400, "{name} {path}: {reader}"),
                Some(_) => assert_eq!((bare, reader), (401, 403), "{name} {path}"),
            }
        }
    }
    assert_eq!(documented, Operation::ALL.len());
}

#[tokio::test]
async fn a_token_is_asked_for_and_its_scope_named() {
    let api = serve(tokens(), "0.0.0.0:8080").await;
    let challenge = async |request: RequestBuilder| {
        let response = request.send().await.unwrap();
        let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        (response.status().as_u16(), challenge, response.text().await.unwrap())
    };
    let bare = challenge(api.ask(Method::GET, "/v1/calls/CALL-1")).await;
    assert_eq!((bare.0, bare.1.as_str()), (401, "Bearer realm=\"sidetone\""));
    let wrong = challenge(api.ask(Method::GET, "/v1/calls/CALL-1").bearer_auth("wrong-token-000001")).await;
    assert_eq!((wrong.0, wrong.1.as_str()), (401, "Bearer realm=\"sidetone\", error=\"invalid_token\""));
    assert!(!wrong.2.contains("wrong-token"), "{}", wrong.2);
    let lacking = challenge(api.ask(Method::POST, "/v1/calls/CALL-1/pause").bearer_auth(READER)).await;
    assert_eq!(
        (lacking.0, lacking.1.as_str()),
        (403, "Bearer realm=\"sidetone\", error=\"insufficient_scope\", scope=\"capture:control\"")
    );
    assert!(lacking.2.contains("the token lacks the scope capture:control"), "{}", lacking.2);
    assert_eq!(
        text(api.ask(Method::GET, "/v1/calls/CALL-1").bearer_auth(READER)).await,
        (200, "getCall reader".into())
    );
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_answered() {
    let open = serve(Tokens::default(), "127.0.0.1:8080").await;
    let get = || open.ask(Method::GET, "/v1/calls/CALL-1");
    assert_eq!(text(get()).await, (200, "getCall nobody".into()));
    for (name, value, expected) in [
        ("origin", "http://localhost:3000", 200),
        ("origin", "https://evil.example", 401),
        ("origin", "null", 401),
        ("host", "rebound.example", 401),
        ("x-forwarded-for", "203.0.113.9", 401),
        ("forwarded", "for=203.0.113.9", 401),
    ] {
        assert_eq!(text(get().header(name, value)).await.0, expected, "{name}: {value}");
    }
    let closed = serve(Tokens::default(), "0.0.0.0:8080").await;
    let (status, kind, body) = problem(closed.ask(Method::GET, "/v1/calls/CALL-1")).await;
    assert_eq!((status, kind.as_str()), (401, "unauthenticated"));
    assert!(body["detail"].as_str().unwrap().contains("no token is configured"), "{body}");
    assert_eq!(text(closed.ask(Method::GET, "/v1/openapi.json")).await.0, 200);
}

#[tokio::test]
async fn bodies_are_read_and_what_is_wrong_is_named() {
    let api = serve(tokens(), "127.0.0.1:8080").await;
    let say = "/v1/calls/CALL-1/say";
    assert_eq!(text(api.post(say, &json!({"text": "Hello"}))).await, (200, "Hello".into()));
    let json =
        |kind: &'static str, body: &'static str| api.all(Method::POST, say).header("content-type", kind).body(body);
    assert_eq!(text(json("application/vnd.x+json; charset=utf-8", r#"{"text":"Hi"}"#)).await.0, 200);
    for (request, status, kind, wrong) in [
        (json("text/plain", r#"{"text":"Hi"}"#), 415, "media-type", Value::Null),
        (json("application/json", r#"{"text":"#), 400, "bad-request", Value::Null),
        (json("application/json", r#"{"text":"Hi"} x"#), 400, "bad-request", Value::Null),
        (json("application/json", ""), 400, "bad-request", Value::Null),
        (api.all(Method::POST, say), 415, "media-type", Value::Null),
        (
            api.post(say, &json!({"text": 7})),
            422,
            "invalid",
            json!([{"name": "text", "reason": "invalid type: integer `7`, expected a string"}]),
        ),
        (api.post(say, &json!({})), 422, "invalid", json!([{"name": "body", "reason": "missing field `text`"}])),
        (
            api.post(say, &json!({"text": "", "leg": "U1", "speaker": "agent"})),
            422,
            "invalid",
            json!([{"name": "text", "reason": "expected 1 to 1500 characters"},
                {"name": "leg", "reason": "expected leg or speaker, not both"}]),
        ),
        (
            api.post("/v1/calls/CALL-1/dtmf", &json!({"digits": "12+"})),
            422,
            "invalid",
            json!([{"name": "digits", "reason": "expected 1 to 64 of 0-9, *, # and p"}]),
        ),
        (
            api.all(Method::GET, "/v1/calls?limit=many"),
            422,
            "invalid",
            json!([{"name": "limit", "reason": "invalid digit found in string"}]),
        ),
        (
            api.all(Method::GET, "/v1/calls?limit=0&from=now"),
            422,
            "invalid",
            json!([{"name": "from", "reason": "expected RFC 3339: 2026-11-24T09:30:00Z"},
                {"name": "limit", "reason": "expected 1 to 500"}]),
        ),
    ] {
        let (found, name, body) = problem(request).await;
        assert_eq!((found, name.as_str(), &body["invalid_parameters"]), (status, kind, &wrong), "{body}");
    }
    // A body that may be left out.
    assert!(text(api.all(Method::POST, "/v1/calls/CALL-1/hangup")).await.1.contains("leg: None"));
    assert!(text(api.post("/v1/calls/CALL-1/hangup", &json!({"leg": "U1"}))).await.1.contains("U1"));
    assert!(text(api.all(Method::GET, "/v1/calls?status=active&limit=20")).await.1.contains("Some(Active)"));
}

#[tokio::test]
async fn what_the_framework_refuses_has_the_same_shape() {
    let api = serve(tokens(), "127.0.0.1:8080").await;
    let calls = |body: &'static str, kind: &'static str| {
        api.all(Method::POST, "/v1/calls").header("content-type", kind).body(body)
    };
    let big = "x".repeat(operation::BODY_BYTES_MAX + 1);
    for (request, status, kind) in [
        (calls("[", "application/json"), 400, "bad-request"),
        (calls("{}", "application/json"), 422, "invalid"),
        (calls("[]", "text/plain"), 415, "media-type"),
        (calls("[]", "application/json").body(big.clone()), 413, "too-large"),
        (
            api.all(Method::POST, "/v1/calls/CALL-1/say").header("content-type", "application/json").body(big),
            413,
            "too-large",
        ),
        (api.all(Method::DELETE, "/v1/calls"), 405, "method-not-allowed"),
        (api.all(Method::GET, "/v1/calls/CALL-1/say"), 405, "method-not-allowed"),
        (api.ask(Method::GET, "/v1"), 404, "not-found"),
        (api.ask(Method::GET, "/v1/"), 404, "not-found"),
        (api.ask(Method::GET, "/v1/call"), 404, "not-found"),
        (api.ask(Method::POST, "/v1/calls/CALL-1/explode"), 404, "not-found"),
        (api.all(Method::GET, "/v1/calls/CALL-1/transcript"), 501, "not-implemented"),
    ] {
        let (found, name, body) = problem(request).await;
        assert_eq!((found, name.as_str()), (status, kind), "{body}");
    }
    let allow =
        api.all(Method::DELETE, "/v1/calls").send().await.unwrap().headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let audio =
        api.all(Method::POST, "/v1/calls/CALL-1/play").header("content-type", "audio/wav").body(vec![0; 3 << 20]);
    assert_eq!(text(audio).await, (200, (3 << 20).to_string()), "audio may be longer than other bodies");
}

#[tokio::test]
async fn nccos_are_judged() {
    let api = serve(tokens(), "127.0.0.1:8080").await;
    let judge = |body: Vec<u8>| api.all(Method::POST, "/v1/ncco/validate").body(body);
    let report = async |body: &str| -> Value {
        let (status, text) = text(judge(body.into())).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(report(r#"[{"action":"talk","text":"Hi"}]"#).await, json!({"valid": true, "problems": []}));
    let both = report(r#"[{"action":"wait","timeout":9000},{"action":"stream","streamUrl":["x"]}]"#).await;
    assert_eq!(
        both,
        json!({"valid": false, "problems": [
            {"path": "[0].timeout", "rule": "should be from 0.1 to 7200", "severity": "warning",
                "message": "[0].timeout: warning: should be from 0.1 to 7200 (9000)"},
            {"path": "[1].streamUrl[0]", "rule": "must be an http:// or https:// URL", "severity": "error",
                "message": "[1].streamUrl[0]: must be an http:// or https:// URL (\"x\")"}]})
    );
    assert_eq!(report(r#"[{"action":"wait","timeout":9000}]"#).await["valid"], true);
    for (body, status, detail) in [
        (b"[".to_vec(), 400, "not JSON: line 1, column 1: EOF while parsing a list"),
        (b"{}".to_vec(), 422, "body: an NCCO must be an array of actions; this is an object"),
        (vec![b' '; NCCO_BYTES_MAX + 1], 413, "the body could not be read whole"),
    ] {
        let (found, _, body) = problem(judge(body)).await;
        assert_eq!((found, body["detail"].as_str().unwrap()), (status, detail));
    }
    let longest = [vec![b' '; NCCO_BYTES_MAX - 2], b"[]".to_vec()].concat();
    assert_eq!(text(judge(longest)).await.0, 200);
}
