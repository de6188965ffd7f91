//! TLS and SASL against a broker so configured, and what `sidetone check` says of each
//! way to get it wrong.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::support::{Broker, PATIENCE, SPEED, assert_complete, demo, lines, script, sidetone, topic};

const ADMIN: &str = "alice";
const STRANGER: &str = "mallory";
const PASSWORD: &str = "correct-horse-battery";

/// A broker with TLS and SASL, and the folder of its certificates.
struct Secure {
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Secure {
    fn start(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let (admin, stranger) = (format!("{ADMIN}:{PASSWORD}"), format!("{STRANGER}:{PASSWORD}"));
        let pems = folder.path().to_str().unwrap();
        let broker = Broker::own(test, &["--secure", pems, "--user", &admin, "--user", &stranger])?;
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Some(Self { broker, folder })
    }

    /// A configuration file for one of the broker's ports.
    fn config(&self, port: &str, topic: &str, properties: &[(&str, &str)]) -> PathBuf {
        let at = self.broker.printed.get(port).map_or(port, String::as_str);
        let properties: String = properties.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
        let path = self.folder.path().join("sidetone.toml");
        let toml =
            format!("[sink.kafka]\nbootstrap = {at:?}\ntopic = {topic:?}\n[sink.kafka.properties]\n{properties}");
        std::fs::write(&path, toml).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What `sidetone check` says of Kafka; whether all is well.
    fn check(&self, port: &str, properties: &[(&str, &str)]) -> (bool, String) {
        let config = self.config(port, "sidetone.events", properties);
        let check = sidetone(self.folder.path(), &["--config", config.to_str().unwrap(), "check"]);
        let checked = { check }.args(["--listen", "127.0.0.1:0"]).output().unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        let of_kafka: Vec<_> = said.lines().filter(|line| line.contains("kafka ") || line.contains("topic ")).collect();
        assert!(!of_kafka.is_empty(), "{said}");
        (of_kafka.iter().all(|line| line.starts_with("ok")), of_kafka.join("\n"))
    }
}

/// A certificate of a CA of our own for the broker, and one of a CA that has signed nothing.
fn certificates(folder: &Path) {
    let ca = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    };
    let (ours, issuer) = ca("Sidetone's test CA");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let broker = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("broker.pem"), format!("{}{}{ours}", key.serialize_pem(), broker.pem())).unwrap();
    std::fs::write(folder.join("ca.pem"), ours).unwrap();
    std::fs::write(folder.join("other-ca.pem"), ca("Another CA").0).unwrap();
}

#[test]
fn calls_arrive_over_tls_and_sasl_and_check_tells_each_mistake_apart() {
    let Some(secure) = Secure::start("calls_arrive_over_tls_and_sasl_and_check_tells_each_mistake_apart") else {
        return;
    };
    let (ca, other, password) = (secure.path("ca.pem"), secure.path("other-ca.pem"), secure.path("password"));
    let from_file = format!("file:{password}");
    let tls = [("security.protocol", "ssl"), ("ssl.ca.location", &ca)];
    let sasl = |protocol, mechanism, user, password| {
        [
            ("security.protocol", protocol),
            ("ssl.ca.location", ca.as_str()),
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
        ]
    };
    for (name, port, properties) in [
        ("tls", "KAFKA_SSL", tls.to_vec()),
        ("plain", "KAFKA_SASL_SSL", sasl("sasl_ssl", "PLAIN", ADMIN, PASSWORD).to_vec()),
        ("scram", "KAFKA_SASL_SSL", sasl("sasl_ssl", "SCRAM-SHA-512", ADMIN, &from_file).to_vec()),
        ("scram-clear", "KAFKA_SASL_PLAINTEXT", sasl("sasl_plaintext", "SCRAM-SHA-512", ADMIN, PASSWORD).to_vec()),
    ] {
        let topic = topic(name);
        let config = secure.config(port, &topic, &properties);
        let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED];
        let played = demo(secure.folder.path(), &arguments, &[]).output().unwrap();
        assert!(played.status.success(), "{name}: {}", String::from_utf8_lossy(&played.stderr));
        assert_complete(&secure.broker.call(&topic, &lines(&played.stdout)));
    }

    let scram = |password| sasl("sasl_ssl", "SCRAM-SHA-512", ADMIN, password).to_vec();
    let plain_port = secure.broker.bootstrap.as_str();
    for (port, properties, expected) in [
        ("127.0.0.1:1", Vec::new(), "no Kafka broker answers at 127.0.0.1:1"),
        ("KAFKA_SASL_SSL", scram("hunter2"), "wrong user name or password"),
        ("KAFKA_SASL_SSL", sasl("sasl_ssl", "PLAIN", ADMIN, "hunter2").to_vec(), "wrong user name or password"),
        (
            "KAFKA_SASL_SSL",
            sasl("sasl_ssl", "SCRAM-SHA-256", ADMIN, PASSWORD).to_vec(),
            "does not offer the SASL mechanism",
        ),
        ("KAFKA_SSL", vec![("security.protocol", "ssl"), ("ssl.ca.location", &other)], "unknown CA"),
        ("KAFKA_SSL", vec![("security.protocol", "ssl")], "unknown CA"),
        (plain_port, tls.to_vec(), "TLS was spoken to a port without TLS"),
        ("KAFKA_SSL", Vec::new(), "perhaps its port wants TLS or SASL"),
        (plain_port, vec![("security.protocol", "tls")], "sink.kafka.properties.security.protocol is \"tls\""),
        (plain_port, vec![("acks", "some")], "sink.kafka.properties.acks is \"some\""),
        (plain_port, vec![("no.such.thing", "1")], "sink.kafka.properties.no.such.thing is \"1\""),
        ("KAFKA_SASL_SSL", scram("file:/nowhere"), "sink.kafka.properties.sasl.password: file /nowhere cannot be read"),
        ("KAFKA_SSL", vec![("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere")], "ssl.ca.location"),
        (
            "KAFKA_SASL_SSL",
            sasl("sasl_ssl", "PLAIN", STRANGER, PASSWORD).to_vec(),
            "no authorisation for topic sidetone.events; grant it: kafka-acls.sh",
        ),
    ] {
        let (well, said) = secure.check(port, &properties);
        assert!(!well && said.contains(expected), "expected {expected:?} of {properties:?}:\n{said}");
        assert!(!said.contains("hunter2") && !said.contains(PASSWORD), "{said}");
    }
    let (well, said) = secure.check("KAFKA_SASL_SSL", &scram(&from_file));
    assert!(well, "{said}");
}

#[test]
fn events_that_are_not_authorised_wait_and_leave_once_they_are() {
    let Some(secure) = Secure::start("events_that_are_not_authorised_wait_and_leave_once_they_are") else { return };
    let topic = topic("authorised");
    let (ca, dir) = (secure.path("ca.pem"), secure.broker.dir().unwrap());
    let acl = |operation: &str, topic: &str| {
        let principal = format!("User:{STRANGER}");
        let arguments = ["tool", dir, "AclCommand", "--add", "--allow-principal", &principal];
        let done = script(&[&arguments[..], &["--operation", operation, "--topic", topic]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let created = script(&["topics", dir, "--create", "--topic", &topic, "--partitions", "2"]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    // It may look, hence the sink opens; but it may not write, not even as an idempotent
    // producer has to before it names a topic.
    acl("Describe", &topic);
    let properties = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", &ca),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", STRANGER),
        ("sasl.password", PASSWORD),
    ];
    let config = secure.config("KAFKA_SASL_SSL", &topic, &properties);
    let arguments = ["--config", config.to_str().unwrap(), "--speed", SPEED];
    let said = tempfile::NamedTempFile::new().unwrap();
    let playing = demo(secure.folder.path(), &arguments, &[])
        .stdout(Stdio::piped())
        .stderr(said.reopen().unwrap())
        .spawn()
        .unwrap();
    let says = |expected: &str| {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(said.path()).unwrap();
            if said.contains(expected) {
                break;
            }
            assert!(Instant::now() < until, "it did not say {expected:?}:\n{said}");
            std::thread::yield_now();
        }
    };
    says("no authorisation: the broker lets");
    // Now it may produce, but elsewhere.
    acl("Write", "another");
    says(&format!("no authorisation for topic {topic}"));
    acl("Write", &topic);
    let played = playing.wait_with_output().unwrap();
    assert!(played.status.success(), "{}", std::fs::read_to_string(said.path()).unwrap());
    assert_complete(&secure.broker.call(&topic, &lines(&played.stdout)));
}
