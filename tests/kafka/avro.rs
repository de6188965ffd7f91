//! Avro through a real schema registry: made known by `sidetone kafka init`, held to its
//! rules, written by the gateway, and read by `sidetone tail` and by Confluent's own client.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::consumers::{installed, text};
use super::support::{Broker, SPEED, asked_for, demo, is_durable, lines, sidetone, topic};

struct Registry {
    url: String,
    dir: tempfile::TempDir,
}

fn script() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/registry"));
    command.stdin(Stdio::null());
    command
}

impl Registry {
    fn start(test: &str) -> Option<Self> {
        if !asked_for(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // A file, since the registry keeps what it was given open.
        let out = dir.path().join("printed");
        let mut start = script();
        start.arg("start").arg(dir.path()).stdout(std::fs::File::create(&out).unwrap());
        assert!(start.status().unwrap().success(), "no registry");
        let printed = std::fs::read_to_string(out).unwrap();
        let url = printed.lines().find_map(|line| line.strip_prefix("REGISTRY_URL=")).unwrap().to_owned();
        Some(Self { url, dir })
    }

    /// The status that the registry gives a schema.
    fn register(&self, subject: &str, schema: &Value) -> u16 {
        let body = json!({"schema": schema.to_string()}).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = reqwest::Client::new().post(format!("{}/subjects/{subject}/versions", self.url));
            let sent = request.header("content-type", "application/json").body(body).send().await;
            sent.unwrap().status().as_u16()
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = script().arg("stop").arg(self.dir.path()).status();
    }
}

/// Reads through the registry with Confluent's deserialiser, a line for each record.
const READER: &str = r#"
import json, sys
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
brokers, registry, topic, count = sys.argv[1:]
decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "avro", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
taken = 0
while taken < int(count):
    record = consumer.poll(1.0)
    if record is None or record.error():
        continue
    headers = {name: value.decode() for name, value in record.headers()}
    data = decode(record.value(), SerializationContext(topic, MessageField.VALUE))
    print(json.dumps({"id": headers["ce_id"], "content_type": headers["content-type"], "data": data}), flush=True)
    taken += 1
consumer.close()
"#;

#[test]
fn events_in_avro_are_read_through_the_registry_and_its_rules_hold() {
    let test = "events_in_avro_are_read_through_the_registry_and_its_rules_hold";
    let Some(broker) = Broker::shared(test) else { return };
    let Some(registry) = Registry::start(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let topic = topic("avro");
    let config = folder.path().join("sidetone.toml");
    let toml = format!(
        "[sink.kafka]\nbootstrap = {:?}\ntopic = {topic:?}\npartitions = 1\nformat = \"avro\"\n\
         [sink.kafka.registry]\nurl = {:?}\n",
        broker.bootstrap, registry.url
    );
    std::fs::write(&config, toml).unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["--config", config.to_str().unwrap()], arguments].concat();
        sidetone(folder.path(), &all).output().unwrap()
    };
    let check = || text(&run(&["check", "--listen", "127.0.0.1:0"]).stdout);
    let before = check();
    assert!(before.contains("is not known as it is here; make it known: sidetone kafka init"), "{before}");
    let init = run(&["kafka", "init"]);
    assert!(init.status.success(), "{}", text(&init.stderr));
    let made = text(&init.stdout);
    assert!(made.contains("created  sidetone.events.TranscriptFinalV1: schema"), "{made}");
    assert!(text(&run(&["kafka", "init"]).stdout).contains("as is    sidetone.events.TranscriptFinalV1: schema"));
    assert!(check().contains("knows every schema"), "{}", check());

    let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED];
    let played = demo(folder.path(), &arguments, &[]).output().unwrap();
    assert!(played.status.success(), "{}", text(&played.stderr));
    let printed = lines(&played.stdout);

    // Our own reader gives back what was published.
    let tail = run(&["tail", "--json", "--from", "beginning", "--until-end"]);
    assert!(tail.status.success(), "{}", text(&tail.stderr));
    let read = lines(&tail.stdout);
    for event in printed.iter().filter(|event| is_durable(event)) {
        assert!(read.contains(event), "{event}");
    }
    assert!(read.iter().all(|event| printed.contains(event)));
    confluent(test, &broker, &registry, &topic, &read);

    // And what the rules say of changes.
    let schemas: Value = serde_json::from_slice(&run(&["events", "avro"]).stdout).unwrap();
    let schema = &schemas["dtmf.v1"];
    let subject = "sidetone.events.DtmfV1";
    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut changed = schema.clone();
        change(changed["fields"].as_array_mut().unwrap());
        registry.register(subject, &changed)
    };
    assert_eq!(
        changed(&|fields| fields.push(json!({"name": "more", "type": "string"}))),
        409,
        "a new field that must be there"
    );
    assert_eq!(changed(&|fields| fields.retain(|field| field["name"] != "digit")), 409, "a field less");
    assert_eq!(
        changed(&|fields| fields
            .iter_mut()
            .filter(|field| field["name"] == "digit")
            .for_each(|field| field["type"] = json!("long"))),
        409,
        "another type"
    );
    let optional = json!({"name": "more", "type": ["null", "string"], "default": null});
    assert_eq!(changed(&|fields| fields.push(optional.clone())), 200, "a new field that may be absent");
    let mut before = schemas["transcript.final.v1"].clone();
    before["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "entities");
    let subject = "sidetone.events.TranscriptFinalV1";
    assert_eq!(registry.register(subject, &before), 200, "as it was before there were entities");
}

fn confluent(test: &str, broker: &Broker, registry: &Registry, topic: &str, published: &[Value]) {
    let folder = tempfile::tempdir().unwrap();
    let (environment, reader) = (folder.path().join("python"), folder.path().join("reader.py"));
    std::fs::write(&reader, READER).unwrap();
    let python: PathBuf = environment.join("bin/python");
    if !installed(test, Command::new("python3").args(["-m", "venv"]).arg(&environment))
        || !installed(
            test,
            Command::new(&python).args(["-m", "pip", "install", "-q", "confluent-kafka[avro,schemaregistry]==2.16.1"]),
        )
    {
        return;
    }
    let mut command = Command::new(&python);
    command.arg(&reader).args([&broker.bootstrap, &registry.url, topic, &published.len().to_string()]);
    let read = command.output().unwrap();
    assert!(read.status.success(), "{}", text(&read.stderr));
    for found in lines(&read.stdout) {
        let event = published.iter().find(|event| event["id"] == found["id"]).unwrap();
        assert_eq!(found["content_type"], "application/avro");
        for (name, value) in event["data"].as_object().unwrap() {
            // Tables without shape hold text, and numbers may have become fractional.
            let same = found["data"][name] == *value
                || value.is_object()
                || value.is_array()
                || value.as_f64() == found["data"][name].as_f64();
            assert!(same, "{name} of {}: {} is not {value}", event["id"], found["data"][name]);
        }
    }
}
