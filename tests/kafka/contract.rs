//! A call on a real broker: whole, in order, and on one partition.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rdkafka::config::ClientConfig;

use super::support::{
    Broker, Record, SPEED, assert_complete, demo, finals, is_durable, is_over, lines, script, skip, topic,
};

#[test]
fn a_call_arrives_whole_in_order_and_on_one_partition() {
    let Some(broker) = Broker::shared("a_call_arrives_whole_in_order_and_on_one_partition") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("whole"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str()), ("SIDETONE_SINK__KAFKA__PARTITIONS", "3")];
    let played = demo(folder.path(), &["--speed", SPEED, "--kafka", &broker.bootstrap], &settings).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let records = broker.call(&topic, &printed);

    assert!(!records.iter().all(Record::is_durable), "partial results come too");
    assert_eq!(records.iter().map(|record| record.partition).collect::<HashSet<_>>().len(), 1);
    assert_complete(&records);
    for record in &records {
        let event = printed.iter().find(|event| event["id"] == record.header("ce_id")).unwrap();
        assert_eq!(record.value, event["data"]);
        assert_eq!(record.key, event["data"]["conversation"].as_str().unwrap());
        for (header, attribute) in [
            ("ce_specversion", "specversion"),
            ("ce_source", "source"),
            ("ce_type", "type"),
            ("ce_subject", "subject"),
            ("ce_time", "time"),
            ("ce_partitionkey", "partitionkey"),
            ("content-type", "datacontenttype"),
        ] {
            assert_eq!(record.header(header), event[attribute].as_str().unwrap(), "{header}");
        }
        assert_eq!(record.header("ce_seq"), event["seq"].to_string());
    }
}

#[test]
fn a_missing_topic_is_named_and_its_events_wait_for_it() {
    let Some(broker) = Broker::shared("a_missing_topic_is_named_and_its_events_wait_for_it") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("missing"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str()), ("SIDETONE_SINK__KAFKA__CREATE_TOPIC", "false")];
    let check = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .current_dir(folder.path())
        .args(["check", "--kafka", &broker.bootstrap])
        .env("SIDETONE_ASR__BACKEND", "scripted")
        .envs(settings)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.status.success());
    assert!(said.contains(&format!("topic {topic} does not exist")) && said.contains("kafka-topics.sh"), "{said}");

    let playing = demo(folder.path(), &["--speed", SPEED, "--kafka", &broker.bootstrap], &settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The call takes some seconds; the process then stays to deliver what waits.
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &broker.bootstrap).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&topic, 2, rdkafka::admin::TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.create_topics([&new], &rdkafka::admin::AdminOptions::new())).unwrap();
    let played = playing.wait_with_output().unwrap();
    assert!(played.status.success());
    let printed = lines(&played.stdout);
    let durable = printed.iter().filter(|event| is_durable(event)).count();
    let records = broker.records(&topic, is_over);
    assert_eq!(records.iter().filter(|record| record.is_durable()).count(), durable);
    assert_complete(&records);
}

#[test]
fn a_broker_killed_and_restarted_in_a_call_costs_no_event() {
    let Some(broker) = Broker::start("a_broker_killed_and_restarted_in_a_call_costs_no_event") else { return };
    let Some(dir) = broker.dir() else {
        return skip("a_broker_killed_and_restarted_in_a_call_costs_no_event", "the broker is not ours to kill");
    };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("killed"));
    let settings = [("SIDETONE_SINK__KAFKA__TOPIC", topic.as_str())];
    let playing = demo(folder.path(), &["--speed", "4", "--kafka", &broker.bootstrap], &settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // In the middle of the call: some of it is at the broker, most of it is to come.
    broker.records(&topic, |records| records.len() >= 6);
    assert!(script(&["kill", dir]).status.success());
    assert!(script(&["restart", dir]).status.success());
    let played = playing.wait_with_output().unwrap();
    assert!(played.status.success());
    let printed = lines(&played.stdout);
    assert_complete(&broker.call(&topic, &printed));
}

#[test]
fn what_the_broker_refuses_for_good_is_set_aside_with_the_reason() {
    let Some(broker) = Broker::shared("what_the_broker_refuses_for_good_is_set_aside_with_the_reason") else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic("refused"));
    let dead: PathBuf = folder.path().join("dead.jsonl");
    let config = folder.path().join("sidetone.toml");
    std::fs::write(
        &config,
        format!(
            "[sink.kafka]\ntopic = {topic:?}\ndead_letters = {dead:?}\nproperties = {{ \"message.max.bytes\" = \"4000\" }}\n\
             [asr.scripted]\ntexts = [{:?}]\n",
            "a long story ".repeat(400)
        ),
    )
    .unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED, "--kafka", &broker.bootstrap];
    let played = demo(folder.path(), &arguments, &[]).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let finals = finals(&printed);
    let buried = lines(&std::fs::read(&dead).unwrap());
    assert_eq!(buried.len(), finals.len());
    for line in &buried {
        let id = line["event"]["id"].as_str().unwrap();
        assert!(finals.get(id) == Some(&&line["event"]), "{id} is not one of the finals, or is not whole");
        assert!(line["reason"].as_str().unwrap().contains("MessageSizeTooLarge"), "{}", line["reason"]);
    }
}
