//! What a broker refuses for good goes to the dead-letter topic.

use super::support::{Broker, SPEED, assert_complete, demo, finals, is_durable, lines, topic};

#[test]
fn what_the_broker_refuses_is_on_the_dead_letter_topic_with_reason_and_envelope() {
    let Some(broker) = Broker::shared("what_the_broker_refuses_is_on_the_dead_letter_topic_with_reason_and_envelope")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (events, dead) = (topic("small"), topic("small-dead"));
    // A topic that takes less than a final needs; librdkafka does not know and sends it.
    let admin: rdkafka::admin::AdminClient<_> =
        rdkafka::config::ClientConfig::new().set("bootstrap.servers", &broker.bootstrap).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&events, 1, rdkafka::admin::TopicReplication::Fixed(1))
        .set("max.message.bytes", "4000");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.create_topics([&new], &rdkafka::admin::AdminOptions::new())).unwrap();

    let config = folder.path().join("sidetone.toml");
    // Many events a batch: what is refused then is the batch, and not only those of it that
    // are too large. Not compressed, so that these are.
    let toml = format!(
        "[sink.kafka]\ntopic = {events:?}\ndead_letter_topic = {dead:?}\ndead_letters = \"dead.jsonl\"\n\
         [sink.kafka.properties]\ncompression.type = \"none\"\nlinger.ms = 100\n[asr.scripted]\ntexts = [{:?}]\n",
        "a long story ".repeat(400)
    );
    std::fs::write(&config, toml).unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED, "--kafka", &broker.bootstrap];
    let played = demo(folder.path(), &arguments, &[]).output().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let printed = lines(&played.stdout);
    let finals = finals(&printed);
    let letters = broker.records(&dead, |records| records.len() >= finals.len());
    assert_eq!(letters.len(), finals.len());
    for letter in &letters {
        let event = finals[letter.header("ce_id")];
        assert_eq!(letter.value["event"], *event);
        assert_eq!(letter.key, event["data"]["conversation"].as_str().unwrap());
        assert_eq!(letter.value["reason"], letter.header("sidetone_reason"));
        assert!(
            letter.header("sidetone_reason").contains("MessageSizeTooLarge"),
            "{}",
            letter.header("sidetone_reason")
        );
    }
    assert!(!folder.path().join("dead.jsonl").exists(), "the file took what the topic has");
    // Together they are whole.
    let kept = broker.records(&events, |records| {
        records.iter().filter(|record| record.is_durable()).count() + finals.len()
            >= printed.iter().filter(|event| is_durable(event)).count()
    });
    let mut all: Vec<_> = kept.into_iter().chain(letters).collect();
    all.sort_by_key(|record| record.header("ce_seq").parse::<u64>().unwrap());
    assert_complete(&all);
}
