//! What becomes of calls that are made, and of calls whose application errs.

use serde_json::json;
use sidetone::simulator::platform::{Hook, Settings};
use sidetone::vonage::ncco::Method;

use crate::app::{App, caller, run};

#[tokio::test]
async fn every_fate_has_its_status_and_a_reply_to_a_failure_replaces_the_flow() {
    for (fate, statuses, last, more, replaced) in [
        ("busy = true", &["started", "ringing", "busy", "completed"][..], "busy", json!({"sip_code": 486}), true),
        (
            "reject = true",
            &["started", "ringing", "rejected"],
            "rejected",
            json!({"detail": "declined", "sip_code": 603}),
            true,
        ),
        ("no_answer = true", &["started", "ringing", "timeout", "completed"], "timeout", json!({}), true),
        (
            "unreachable = true",
            &["started", "unanswered", "completed"],
            "unanswered",
            json!({"detail": "unavailable", "sip_code": 480}),
            true,
        ),
        ("-", &["started", "failed", "completed"], "failed", json!({"detail": "cannot_route", "sip_code": 404}), true),
        (
            "machine = true",
            &["started", "ringing", "answered", "machine", "completed"],
            "completed",
            json!({"disconnected_by": "platform"}),
            false,
        ),
        (
            "hangup_at_ms = 300",
            &["started", "ringing", "answered", "human", "completed"],
            "completed",
            json!({"disconnected_by": "user", "duration": "1", "rate": "0.00720000", "sip_code": 200}),
            false,
        ),
    ] {
        let app = App::start(|app, path, body| {
            let went = |how: &str| json!({"action": "notify", "payload": {"how": how}, "eventUrl": [app.url("/went")]});
            let failed = ["busy", "rejected", "timeout", "unanswered", "failed"];
            match path {
                "/answer" => Some(json!([
                    {"action": "connect", "from": "442079460000", "eventType": "synchronous", "timeout": 3,
                     "machineDetection": "hangup", "eventUrl": [app.url("/leg")],
                     "endpoint": [{"type": "phone", "number": "447700900111"}]},
                    went("on"),
                ])),
                "/leg" if body["status"].as_str().is_some_and(|status| failed.contains(&status)) => {
                    Some(json!([went("elsewhere")]))
                }
                _ => None,
            }
        })
        .await;
        let party =
            if fate == "-" { String::new() } else { format!("[[party]]\nmatch = {{ phone = \"*\" }}\n{fate}\n") };
        let script = caller("hangup_at_ms = 30000") + &party;
        let (report, log) = run(&app, app.settings(), &script, 1).await;
        let leg = log.at("/leg");
        let came: Vec<_> = leg.iter().map(|body| body["status"].as_str().unwrap()).collect();
        assert_eq!(came, statuses, "{fate}");
        let event = leg.iter().find(|body| body["status"] == last).unwrap();
        assert!(more.as_object().unwrap().iter().all(|(key, value)| event[key] == *value), "{fate}: {event}");
        assert_eq!((&event["to"], &event["from"]), (&json!("447700900111"), &json!("442079460000")));
        let went: Vec<_> = log.at("/went").iter().map(|body| body["payload"]["how"].clone()).collect();
        assert_eq!(went, [if replaced { "elsewhere" } else { "on" }], "{fate}");
        assert!(report.ok(), "{fate}: {report}");
    }
}

#[tokio::test]
async fn an_invalid_ncco_is_an_error_and_ends_the_call() {
    let app = App::start(|_, path, _| (path == "/answer").then(|| json!([{"action": "talk"}]))).await;
    let (report, log) = run(&app, app.settings(), &caller("hangup_at_ms = 5000"), 1).await;
    let errors: Vec<_> = log.at("/event").into_iter().filter_map(|body| body["reason"].as_str()).collect();
    assert_eq!(errors, ["Syntax error in NCCO. Invalid value type or action."]);
    let leg = report.calls[0].legs[0].clone();
    assert_eq!(leg.statuses, ["started", "ringing", "answered", "completed"]);
    assert_eq!(
        leg.problems,
        ["NCCO: [0].text: is required (absent)", "Syntax error in NCCO. Invalid value type or action."]
    );
    assert!(!report.ok());
    assert_eq!(log.event("completed")["disconnected_by"], "platform");
}

#[tokio::test]
async fn without_an_ncco_the_call_fails_unless_the_fallback_has_one() {
    let app =
        App::start(|_, path, _| (path == "/fallback").then(|| json!([{"action": "talk", "text": "Sorry."}]))).await;
    let answer = Hook { url: "http://127.0.0.1:1/".into(), method: Method::Get };
    let settings = Settings { answer, ..app.settings() };
    let (report, log) = run(&app, settings.clone(), &caller(""), 1).await;
    assert!(!report.ok());
    assert_eq!(report.calls[0].legs[0].statuses, ["started", "ringing", "failed", "completed"]);
    assert_eq!(log.event("failed")["detail"], "internal_error");

    let settings = Settings { fallback_url: Some(app.url("/fallback")), ..settings };
    let (report, log) = run(&app, settings, &caller(""), 1).await;
    assert!(report.ok(), "{report}");
    assert_eq!(log.at("/fallback").len(), 1);
}
