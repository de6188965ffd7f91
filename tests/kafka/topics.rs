//! Routes, and topics as `sidetone kafka init` makes them.

use std::collections::HashSet;

use serde_json::Value;

use super::support::{Broker, SPEED, demo, is_durable, lines, sidetone, topic};

#[test]
fn events_go_where_their_routes_say_and_each_topic_tells_its_part() {
    let Some(broker) = Broker::shared("events_go_where_their_routes_say_and_each_topic_tells_its_part") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [rest, texts, live] = ["rest", "texts", "live"].map(topic);
    let config = folder.path().join("sidetone.toml");
    let toml = format!(
        "[sink.kafka]\ntopic = {rest:?}\npartitions = 2\n[sink.kafka.routes]\ntranscript = {texts:?}\n\
         speech = {live:?}\n\"transcript.partial\" = {live:?}\n"
    );
    std::fs::write(&config, toml).unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED, "--kafka", &broker.bootstrap];
    let played = demo(folder.path(), &arguments, &[]).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let mut arrived = HashSet::new();
    for (topic, takes) in [
        (&rest, &["leg.", "dtmf.", "call."][..]),
        (&texts, &["transcript.final", "transcript.dropped"]),
        (&live, &["speech.", "transcript.partial"]),
    ] {
        let taken = |kind: &str| takes.iter().any(|prefix| kind.starts_with(prefix));
        let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
        let durable = printed.iter().filter(|event| is_durable(event) && taken(&kind(event))).count();
        assert_eq!(durable == 0, topic == &live, "{topic}");
        // What is live may be shed, but not all of it.
        for record in broker.records(topic, |records| records.len() >= durable.max(1)) {
            assert!(taken(record.header("ce_type")), "{} on {topic}", record.header("ce_type"));
            arrived.insert(record.header("ce_id").to_owned());
        }
    }
    for event in printed.iter().filter(|event| is_durable(event)) {
        assert!(arrived.contains(event["id"].as_str().unwrap()), "{} is missing", event["id"]);
    }
}

#[test]
fn init_makes_topics_as_configured_and_shows_what_differs() {
    let Some(broker) = Broker::shared("init_makes_topics_as_configured_and_shows_what_differs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (events, dead) = (topic("init"), topic("init-dead"));
    let config = folder.path().join("sidetone.toml");
    let write = |partitions: u16, hours: u32| {
        let toml = format!(
            "[sink.kafka]\nbootstrap = {:?}\ntopic = {events:?}\ndead_letter_topic = {dead:?}\npartitions = {partitions}\n\
             replication = 1\nretention_hours = {hours}\n",
            broker.bootstrap
        );
        std::fs::write(&config, toml).unwrap();
    };
    let init = |options: &[&str]| {
        let arguments = [&["--config", config.to_str().unwrap(), "kafka", "init"], options].concat();
        let done = sidetone(folder.path(), &arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    write(3, 24);
    assert!(init(&["--dry-run"]).starts_with(&format!("missing  {events}")));
    let made = init(&[]);
    for expected in [
        format!(
            "created  {events}: partitions=3 cleanup.policy=delete compression.type=producer retention.ms=86400000\n"
        ),
        format!("created  {dead}: partitions=1 "),
    ] {
        assert!(made.contains(&expected), "{made}");
    }
    assert_eq!(init(&[]).matches("there, nothing differs").count(), 2);
    write(4, 48);
    let differs = init(&[]);
    for expected in [
        "3 partitions, 4 wanted",
        "retention.ms is 86400000, 172800000 wanted (kafka-configs.sh",
        "--add-config retention.ms=172800000)",
    ] {
        assert!(differs.contains(expected), "{differs}");
    }
}
