//! The conformance checks: a good application passes each, and for each there is one that
//! does not.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod app;
#[path = "../gateway/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;
use sidetone::simulator::conformance::{Bench, Check, Finding, Outcome, Target, checks};
use sidetone::vonage::signature::BadSignature;

use self::app::{App, Disliked, SECRET, Sin};
use self::support::process::{Gateway, run, run_with};

fn all(prefix: &str) -> Vec<&'static Check> {
    let found: Vec<_> = checks().filter(|check| check.name.starts_with(prefix)).collect();
    assert!(!found.is_empty(), "there is no check {prefix}");
    found
}

async fn make(target: Target, checks: &[&Check]) -> Vec<Finding> {
    let bench = Bench::new(target).unwrap();
    let mut findings = Vec::new();
    for check in checks {
        findings.push(check.make(&bench).await);
    }
    findings
}

fn names(findings: &[Finding], outcome: Outcome) -> Vec<&str> {
    findings.iter().filter(|finding| finding.outcome == outcome).map(|finding| finding.check).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_application_passes_every_check() {
    let app = App::start(Sin::None, true).await;
    let findings = make(app.target(), &all("")).await;
    let not_ok: Vec<_> = findings.iter().filter(|finding| finding.outcome != Outcome::Ok).collect();
    assert!(not_ok.is_empty(), "{not_ok:#?}");
    let answer = findings.iter().find(|finding| finding.check == "answer.post").unwrap();
    assert!(answer.why.starts_with("2 actions in ") && answer.why.ends_with(" ms"), "{}", answer.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_skipped_and_says_why() {
    let app = App::start(Sin::NoAudio, false).await;
    let findings = make(app.target(), &all("")).await;
    assert_eq!(names(&findings, Outcome::Bad), [""; 0], "{findings:#?}");
    let skipped = names(&findings, Outcome::Skipped);
    let signatures: Vec<_> = all("signature.").iter().map(|check| check.name).collect();
    assert_eq!(skipped, [&signatures[..], &["media.frames_back"]].concat());
    let findings = make(Target::default(), &all("")).await;
    assert_eq!(names(&findings, Outcome::Skipped).len(), findings.len());
    assert!(findings.iter().all(|finding| !finding.why.is_empty()));
}

/// What each sin is caught by.
fn sins() -> Vec<(Sin, Vec<&'static str>)> {
    let answers = ["answer.get", "answer.post", "answer.odd"];
    let mut sins = vec![
        (Sin::AnswerStatus(500), answers.into()),
        (Sin::AnswerStatus(204), answers.into()),
        (Sin::AnswerKind("text/html"), answers.into()),
        (Sin::Answer(r#"{"action":"talk"}"#), answers.into()),
        (Sin::Answer(r#"[{"action":"talk"}]"#), answers.into()),
        (Sin::AnswerSlow, vec!["answer.get"]),
        (Sin::AnswerStrict, vec!["answer.odd"]),
        (Sin::Garbage(204), vec!["body.garbage"]),
        (Sin::Garbage(500), vec!["body.garbage"]),
        (Sin::AnswerGarbage(200), vec!["answer.garbage"]),
        (Sin::TakesHuge, vec!["body.huge"]),
        (Sin::DiesOfHuge, vec!["body.huge"]),
        (Sin::BelievesNobody, vec!["signature.good"]),
        (Sin::Hides, vec!["signature.missing", "signature.wrong_secret", "signature.truncated"]),
        (Sin::AnswersAnew, vec!["signature.repeated"]),
        (Sin::RefusesRepeats, vec!["signature.repeated"]),
        (Sin::RefusesLateEvents, vec!["event.out_of_order"]),
        (Sin::RefusesRepeatedEvents, vec!["event.twice"]),
        (Sin::SlowUpgrade, vec!["media.upgrade"]),
        (Sin::Deflates, vec!["media.upgrade"]),
        (Sin::RefusesSockets, vec!["media.upgrade"]),
        (Sin::Deaf, vec!["media.ping", "media.close"]),
        (Sin::ClosesOnEarlyAudio, vec!["media.early_audio"]),
        (Sin::ClosesWithoutHello, vec!["media.no_hello"]),
        (Sin::ClosesOnOddFrames, vec!["media.odd_frames"]),
        (Sin::ClosesOnUnknownText, vec!["media.text_events"]),
        (Sin::BreaksAt(8000), vec!["media.rate_8000"]),
        (Sin::BreaksAt(16_000), vec!["media.rate_16000"]),
        (Sin::BreaksAt(24_000), vec!["media.rate_24000"]),
        (Sin::SendsShortFrames, vec!["media.frames_back"]),
        (Sin::SendsOddText, vec!["media.frames_back"]),
        (Sin::Sulks, vec!["media.drop"]),
        (Sin::TakesTokensTwice, vec!["media.token_once"]),
    ];
    for (believed, caught) in [
        (BadSignature::Missing, &["signature.missing"][..]),
        (BadSignature::Algorithm, &["signature.alg_none", "signature.alg_rs256"]),
        (BadSignature::UnknownKey, &["signature.unknown_account"]),
        (BadSignature::Signature, &["signature.wrong_secret", "signature.truncated"]),
        (BadSignature::Issuer, &["signature.issuer"]),
        (BadSignature::Application, &["signature.application"]),
        (BadSignature::Payload, &["signature.payload"]),
        (BadSignature::Stale, &["signature.stale"]),
        (BadSignature::Future, &["signature.future"]),
    ] {
        sins.push((Sin::Believes(believed), caught.into()));
    }
    for (refuses, caught) in [
        ((|event| event["status"] == "ringing") as fn(&Value) -> bool, "event.in_order"),
        (|event| event["status"] == "levitating", "event.unknown_status"),
        (|event| event.get("status").is_none() && event.get("something_new").is_some(), "event.unknown_kind"),
        (|event| event.get("something_new").is_some(), "event.unknown_fields"),
        (|event| event["rate"].is_null() && event.get("rate").is_some(), "event.nulls"),
        (|event| event["sip_code"] == "200", "event.string_numbers"),
        (|event| event.get("call_uuid").is_some(), "event.every_status"),
        (|event| event["type"] == "transfer", "event.every_kind"),
    ] {
        sins.push((Sin::Refuses(Disliked(refuses)), vec![caught]));
    }
    sins
}

#[test]
fn every_check_is_seen_to_fail() {
    let caught: BTreeSet<_> = sins().into_iter().flat_map(|(_, caught)| caught).collect();
    let all: BTreeSet<_> = checks().map(|check| check.name).collect();
    assert_eq!(caught, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sin_is_caught() {
    let trials = sins().into_iter().map(|(sin, caught)| async move {
        let app = App::start(sin, true).await;
        let checks: Vec<_> = caught.iter().flat_map(|name| all(name)).collect();
        let findings = make(app.target(), &checks).await;
        assert_eq!(names(&findings, Outcome::Bad), caught, "{sin:?}: {findings:#?}");
        assert!(findings.iter().all(|finding| !finding.why.is_empty()), "{sin:?}");
    });
    join_all(trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_media_socket_passes() {
    let gateway = Gateway::start("").await;
    let target = Target::at(&format!("http://{}", gateway.address)).unwrap();
    let findings = make(target, &all("media.")).await;
    assert_eq!(names(&findings, Outcome::Bad), [""; 0], "{findings:#?}");
    assert_eq!(names(&findings, Outcome::Skipped), ["media.frames_back", "media.token_once"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_a_table_or_json_and_its_status_says_whether_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let good = App::start(Sin::None, true).await;
    let base = good.base();
    let arguments = ["conformance", "--url", &base, "--api-key", "a1b2c3d4", "--application-id", "aaaa"];
    let with = |more: &[&'static str]| [&arguments[..], more].concat();
    let said = run(folder.path(), &with(&["--secret-file", "secret", "--only", "answer."])).await;
    assert_eq!((said.code, &*said.err), (Some(0), ""), "{said:?}");
    assert!(said.out.starts_with("ok   answer.get "), "{}", said.out);
    assert!(said.out.ends_with("\n\n4 ok, 0 BAD, 0 skipped\n"), "{}", said.out);

    let environment = |command: &mut std::process::Command| {
        command.env("SIDETONE_SIGNATURE_SECRET", SECRET);
    };
    let said = run_with(folder.path(), &with(&["--only", "signature.", "--json"]), environment).await;
    assert_eq!((said.code, &*said.err), (Some(0), ""), "{said:?}");
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&document["bad"], &document["ok"]), (&0.into(), &all("signature.").len().into()));
    assert_eq!(document["checks"][0]["check"], "signature.good");
    assert_eq!(document["checks"][0]["outcome"], "ok");

    // Without the secret, it is no Vonage of theirs.
    let said = run(folder.path(), &with(&["--only", "event.in_order"])).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.starts_with("BAD  event.in_order ") && said.out.contains("got 401"), "{}", said.out);
    assert!(said.out.ends_with("\n\n0 ok, 1 BAD, 0 skipped\n"), "{}", said.out);

    for (arguments, expected) in [
        (&["conformance"][..], "--url <URL>"),
        (&["conformance", "--url", "gw.example"], "--url: \"gw.example\" is no base URL: expected http://host:port"),
        (&["conformance", "--url", "http://a", "--only", "x"], "--only is \"x\": expected the beginning of one of"),
        (&["conformance", "--url", "http://a", "--secret-file", "nowhere"], "nowhere: "),
    ] {
        let said = run(folder.path(), arguments).await;
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains(expected), "{said:?}");
    }
}
