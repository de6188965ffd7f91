//! `sidetone simulate` as a process: files, output and exit codes.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::app::{App, caller, within};

async fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.arg("simulate").args(arguments).env_remove("SIDETONE_CONFIG");
    within("the process", tokio::task::spawn_blocking(move || command.output())).await.unwrap().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_set_up_is_written_and_calls_a_signed_application() {
    let app = App::start(|_, path, _| (path == "/answer").then(|| json!([{"action": "talk", "text": "Hello."}]))).await;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("dev");
    let made = simulate(&["init", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"]).await;
    assert!(made.status.success(), "{}", stderr(&made));
    let config = dir.join("simulator.toml");
    let script = dir.join("script.toml");
    std::fs::write(&script, caller("")).unwrap();
    let run = [
        "--config",
        config.to_str().unwrap(),
        script.to_str().unwrap(),
        "--answer-url",
        &app.url("/answer"),
        "--event-url",
        &app.url("/event"),
        "--speed",
        "20",
        "--calls",
        "2",
        "--json",
    ];
    let output = simulate(&run).await;
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["finished"], report["calls"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(report["calls"][1]["legs"][0]["statuses"], json!(["started", "ringing", "answered", "completed"]));
    assert!(!stdout(&output).contains("447700900000"), "a report holds no number");
    let log = app.log();
    assert_eq!(
        log.at("/answer").iter().map(|body| body["from"].clone()).collect::<Vec<_>>(),
        ["447700900000", "447700900001"]
    );
    assert!(log.came.iter().all(|came| came.authorization.as_ref().is_some_and(|value| value.starts_with("Bearer "))));
}

#[tokio::test]
async fn a_call_that_fails_is_exit_code_1_and_bad_input_is_named() {
    let app = App::start(|_, _, _| None).await;
    let (answer, event) = (app.url("/answer"), app.url("/event"));
    let urls = ["--answer-url", &answer, "--event-url", &event, "--listen", "127.0.0.1:0", "--speed", "20"];
    let demo = simulate(&urls).await;
    assert_eq!(demo.status.code(), Some(1), "{}", stdout(&demo));
    assert!(stdout(&demo).starts_with("call 1: FAILED"), "{}", stdout(&demo));

    let temp = tempfile::tempdir().unwrap();
    let script = temp.path().join("bad.toml");
    std::fs::write(&script, "[[call]]\nfrom = \"1\"\nto = \"442079460000\"\n").unwrap();
    let bad = simulate(&[&[script.to_str().unwrap()], &urls[..]].concat()).await;
    assert_eq!(bad.status.code(), Some(1));
    assert!(stderr(&bad).contains("bad.toml: call[0].from is \"1\"; expected 7 to 15 digits"), "{}", stderr(&bad));

    let nothing = simulate(&[]).await;
    assert!(stderr(&nothing).contains("answer_url is missing; expected the application's URL"), "{}", stderr(&nothing));
}
