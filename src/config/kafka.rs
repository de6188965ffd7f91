//! `[sink.kafka]`: brokers, topics, formats, and properties whose secrets stay secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::checks::Problem;
use super::secret::{FILE, MASK, Secret, reveal};

/// `[sink.kafka]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSink {
    /// Brokers, `host:port` separated by commas; empty for no Kafka.
    pub bootstrap: String,
    /// Topic for all events that no route takes elsewhere.
    pub topic: String,
    /// Topics by event type: the longest key that the type begins with wins.
    pub routes: BTreeMap<String, String>,
    /// Topic for what the broker refuses for good, with the reason; empty for none. What
    /// it cannot take either goes to `dead_letters`.
    pub dead_letter_topic: String,
    /// Create topics when they are missing; else their absence is an error.
    pub create_topic: bool,
    /// Partitions of a topic that we create. The dead-letter topic has one.
    pub partitions: u16,
    /// Replicas of a topic that we create; 0 for the broker's default.
    pub replication: u16,
    /// Replicas that must have a record before it is acknowledged; 0 for the broker's default.
    pub min_insync_replicas: u16,
    /// How long a topic that we create keeps records, in hours; 0 for the broker's default.
    pub retention_hours: u32,
    /// Form of the values.
    pub format: Format,
    /// The schema registry; for `avro`.
    pub registry: Registry,
    /// File for records that nothing else takes, with the reason.
    pub dead_letters: PathBuf,
    /// Any librdkafka property, set last.
    pub properties: Properties,
}

impl Default for KafkaSink {
    fn default() -> Self {
        Self {
            bootstrap: String::new(),
            topic: "sidetone.events".to_owned(),
            routes: BTreeMap::new(),
            dead_letter_topic: "sidetone.dead-letters".to_owned(),
            create_topic: true,
            partitions: 12,
            replication: 0,
            min_insync_replicas: 0,
            retention_hours: 0,
            format: Format::Json,
            registry: Registry::default(),
            dead_letters: PathBuf::from("sidetone-dead-letters.jsonl"),
            properties: Properties::default(),
        }
    }
}

impl KafkaSink {
    /// The topic of an event type: that of the longest route it begins with, else `topic`.
    #[must_use]
    pub fn topic_of(&self, kind: &str) -> &str {
        let routes = self.routes.iter().filter(|(prefix, _)| kind.starts_with(prefix.as_str()));
        routes.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.topic, |(_, topic)| topic)
    }

    /// Every topic that events may go to, each once, the default one first.
    #[must_use]
    pub fn event_topics(&self) -> Vec<&str> {
        let mut topics = vec![self.topic.as_str()];
        for topic in self.routes.values() {
            if !topics.contains(&topic.as_str()) {
                topics.push(topic);
            }
        }
        topics
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut expect = |key: String, holds: bool, value: String, expected: &str| {
            if !holds {
                problems.push(Problem { key, what: format!("is {value}; expected {expected}") });
            }
        };
        let name = "1 to 249 letters, digits, '.', '_' and '-'";
        expect("sink.kafka.topic".into(), is_topic(&self.topic), format!("{:?}", self.topic), name);
        for (prefix, topic) in &self.routes {
            let key = format!("sink.kafka.routes.{prefix}");
            expect(key.clone(), is_topic(topic), format!("{topic:?}"), name);
            let known = crate::event::schema::all().iter().any(|event| event.kind.starts_with(prefix.as_str()));
            expect(key, known, "a route".into(), "a key that some event type begins with; see `sidetone events`");
        }
        let dead = &self.dead_letter_topic;
        let dead_ok = dead.is_empty() || is_topic(dead) && !self.event_topics().contains(&dead.as_str());
        let expected = "a topic of its own, or \"\" for none";
        expect("sink.kafka.dead_letter_topic".into(), dead_ok, format!("{dead:?}"), expected);
        expect("sink.kafka.partitions".into(), self.partitions > 0, self.partitions.to_string(), "at least 1");
        let (min, replicas) = (self.min_insync_replicas, self.replication);
        let min_ok = replicas == 0 || min <= replicas;
        expect("sink.kafka.min_insync_replicas".into(), min_ok, min.to_string(), "at most sink.kafka.replication");
        let url = &self.registry.url;
        let url_ok = match self.format {
            Format::Json => true,
            Format::Avro => url.starts_with("http://") || url.starts_with("https://"),
        };
        let expected = "http:// or https:// and what follows, since sink.kafka.format is avro";
        expect("sink.kafka.registry.url".into(), url_ok, format!("{url:?}"), expected);
        problems
    }
}

/// What Kafka takes as a topic's name.
fn is_topic(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

/// Form of the values on Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON, as the JSON Schemas under `deploy/events/` say.
    Json,
    /// Avro with the registry's ids in front (Confluent's wire format), as `deploy/avro/` says.
    Avro,
}

/// `[sink.kafka.registry]`: a schema registry that speaks Confluent's API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Where it is, up to and without `/subjects`.
    pub url: String,
    /// User for basic authentication; empty for none.
    pub user: String,
    /// Password, or `file:` and the path of a file that holds it.
    pub password: Secret,
}

/// What is shown in place of a secret. The name of a file is no secret.
fn masked(value: &str) -> &str {
    if value.is_empty() || value.starts_with(FILE) { value } else { MASK }
}

/// Properties of librdkafka, by name. Those that hold secrets are never shown.
///
/// In TOML a name may be quoted (`"sasl.password" = …`) or not (`sasl.password = …`, a
/// table in a table), and a value may be text, a number or a boolean. A value
/// `file:PATH` stands for the content of that file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Every name with its value, files read.
    ///
    /// # Errors
    /// The property whose file cannot be read, and why.
    pub fn revealed(&self) -> Result<Vec<(&str, String)>, String> {
        let revealed = |(name, value): (_, &String)| match reveal(value) {
            Ok(value) => Ok((name, value)),
            Err(problem) => Err(format!("sink.kafka.properties.{name}: {problem}")),
        };
        self.0.iter().map(|(name, value)| (name.as_str(), value)).map(revealed).collect()
    }

    /// The value of a property as it was written.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a property.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), if is_secret(name) { masked(value) } else { value }))
    }

    fn insert(&mut self, name: String, value: &toml::Value) -> Result<(), String> {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Table(table) => {
                return table.iter().try_for_each(|(inner, value)| self.insert(format!("{name}.{inner}"), value));
            }
            other => return Err(format!("{name} is of type {}; expected text", other.type_str())),
        };
        self.0.insert(name, text);
        Ok(())
    }
}

/// Whether a property holds a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    ["password", "secret", ".key.pem", "sasl.oauthbearer.config", "private.key"].iter().any(|word| name.contains(word))
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Properties;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of librdkafka properties")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry::<String, toml::Value>()? {
                    all.push(entry);
                }
                // Tables last: that is how the environment comes, and it wins over the file.
                all.sort_by_key(|(_, value)| value.is_table());
                let mut properties = Properties::default();
                for (name, value) in all {
                    properties.insert(name, &value).map_err(A::Error::custom)?;
                }
                Ok(properties)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(toml: &str) -> Result<KafkaSink, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn the_longest_route_wins() {
        let kafka = section("[routes]\ntranscript = \"texts\"\n\"transcript.partial\" = \"live\"\ncall = \"calls\"");
        let kafka = kafka.unwrap();
        for (kind, topic) in [
            ("transcript.final.v1", "texts"),
            ("transcript.partial.v1", "live"),
            ("call.record.v1", "calls"),
            ("dtmf.v1", "sidetone.events"),
        ] {
            assert_eq!(kafka.topic_of(kind), topic, "{kind}");
        }
        assert_eq!(kafka.event_topics(), ["sidetone.events", "calls", "texts", "live"]);
        assert_eq!(kafka.problems(), []);
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (toml, key) in [
            ("topic = \"\"", "sink.kafka.topic"),
            ("topic = \"two words\"", "sink.kafka.topic"),
            ("[routes]\nspeach = \"x\"", "sink.kafka.routes.speach"),
            ("[routes]\nspeech = \"x y\"", "sink.kafka.routes.speech"),
            ("dead_letter_topic = \"sidetone.events\"", "sink.kafka.dead_letter_topic"),
            ("partitions = 0", "sink.kafka.partitions"),
            ("replication = 1\nmin_insync_replicas = 2", "sink.kafka.min_insync_replicas"),
            ("format = \"avro\"", "sink.kafka.registry.url"),
        ] {
            let problems = section(toml).unwrap().problems();
            assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{toml}");
        }
    }

    #[test]
    fn properties_are_taken_quoted_nested_and_of_any_plain_type() {
        let kafka = section(
            "[properties]\n\"linger.ms\" = 7\nenable.idempotence = true\n\"sasl.username\" = \"file\"\nsasl.username = \"nested\"",
        );
        let properties = kafka.unwrap().properties;
        let read = |name| properties.get(name);
        assert_eq!(
            (read("linger.ms"), read("enable.idempotence"), read("sasl.username")),
            (Some("7"), Some("true"), Some("nested"))
        );
        assert!(section("[properties]\nlinger = [1]").unwrap_err().to_string().contains("linger is of type array"));
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let toml = format!(
            "[registry]\npassword = \"hunter3\"\n[properties]\nsasl.password = \"hunter2\"\nssl.key.password = \"file:{}\"",
            file.path().display()
        );
        let kafka = section(&toml).unwrap();
        let revealed = kafka.properties.revealed().unwrap();
        assert_eq!(revealed, [("sasl.password", "hunter2".to_owned()), ("ssl.key.password", "hunter2".to_owned())]);
        assert_eq!(kafka.registry.password.reveal().0, "hunter3");
        let shown = format!("{kafka:?}{}", toml::to_string(&kafka).unwrap());
        assert!(!shown.contains("hunter") && shown.contains("[secret]"), "{shown}");
        let kafka = section("[properties]\nsasl.password = \"file:/nowhere\"").unwrap();
        let problem = kafka.properties.revealed().unwrap_err();
        assert!(problem.starts_with("sink.kafka.properties.sasl.password: file /nowhere cannot be read"), "{problem}");
    }
}
