//! Topics as they should be: made when missing and allowed, compared when there.

use std::fmt;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::util::Timeout;

use super::client::{Asking, METADATA_TIMEOUT, create, plain_config};
use crate::config::KafkaSink as Settings;

/// A topic as the configuration wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Partitions.
    pub partitions: u16,
    /// Replicas; 0 for the broker's default.
    pub replication: u16,
    /// Topic settings by name.
    pub settings: Vec<(&'static str, String)>,
    /// Whether it takes events; else it takes dead letters, and we can do without it.
    pub takes_events: bool,
}

/// Every topic that a configuration names, the default one first, that of dead letters last.
#[must_use]
pub fn wanted(settings: &Settings) -> Vec<Wanted> {
    let mut common = vec![
        // Events are history: nothing may be compacted away under a key.
        ("cleanup.policy", "delete".to_owned()),
        // As it came: the gateway compresses.
        ("compression.type", "producer".to_owned()),
    ];
    if settings.min_insync_replicas > 0 {
        common.push(("min.insync.replicas", settings.min_insync_replicas.to_string()));
    }
    if settings.retention_hours > 0 {
        common.push(("retention.ms", (u64::from(settings.retention_hours) * 3_600_000).to_string()));
    }
    let topic = |name: &str, partitions, takes_events| Wanted {
        name: name.to_owned(),
        partitions,
        replication: settings.replication,
        settings: common.clone(),
        takes_events,
    };
    let mut all: Vec<_> = settings.event_topics().iter().map(|name| topic(name, settings.partitions, true)).collect();
    if !settings.dead_letter_topic.is_empty() {
        all.push(topic(&settings.dead_letter_topic, 1, false));
    }
    all
}

/// What became of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there, as wanted or not asked more closely.
    There,
    /// It is there and differs: one line for each difference, with what would mend it.
    Differs(Vec<String>),
    /// It was not there and is now.
    Created,
    /// It is not there.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There => f.write_str("is there"),
            Self::Differs(lines) => write!(f, "differs: {}", lines.join("; ")),
            Self::Created => f.write_str("created"),
            Self::Missing => f.write_str("is missing"),
        }
    }
}

/// Looks at topics and makes them.
pub struct Topics {
    settings: Settings,
    asking: Asking,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    /// Makes the clients; asks nothing yet.
    ///
    /// # Errors
    /// Names the property that librdkafka does not take.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            settings: settings.clone(),
            asking: Asking::new(settings)?,
            admin: create(&plain_config(settings)?, DefaultClientContext)?,
            runtime: tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?,
        })
    }

    /// Whether a broker answers: its address, and the number of brokers.
    ///
    /// # Errors
    /// Why none does, and the remedy.
    pub fn brokers(&self) -> Result<usize, String> {
        Ok(self.asking.metadata(Some(&self.settings.topic))?.brokers().len())
    }

    /// The number of a topic's partitions; `None` when there is no such topic.
    ///
    /// # Errors
    /// Why it cannot be known, and the remedy.
    pub fn partitions(&self, name: &str) -> Result<Option<usize>, String> {
        let metadata = self.asking.metadata(Some(name))?;
        let found = metadata.topics().iter().find(|found| found.name() == name);
        let Some(found) = found else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(found.partitions().len())),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(unauthorised(name, &self.settings)),
            Some(error) => Err(format!("topic {name}: {error}")),
        }
    }

    /// Makes a topic if it is missing and `create` says so.
    ///
    /// # Errors
    /// What is wrong with which topic, and the remedy, in one line.
    pub fn ensure(&self, wanted: &Wanted, create: bool) -> Result<State, String> {
        if self.partitions(&wanted.name)?.is_some() {
            return Ok(State::There);
        }
        if !create {
            return Ok(State::Missing);
        }
        let by_hand = by_hand(wanted, &self.settings.bootstrap);
        self.create(wanted)
            .map(|()| State::Created)
            .map_err(|error| format!("topic {} does not exist and cannot be created ({error}); {by_hand}", wanted.name))
    }

    /// The same, and what differs from what is wanted.
    ///
    /// # Errors
    /// As [`Topics::ensure`].
    pub fn compare(&self, wanted: &Wanted, create: bool) -> Result<State, String> {
        match self.ensure(wanted, create)? {
            State::There => {}
            other => return Ok(other),
        }
        let differences = self.differences(wanted)?;
        Ok(if differences.is_empty() { State::There } else { State::Differs(differences) })
    }

    fn create(&self, wanted: &Wanted) -> Result<(), String> {
        let replication = match wanted.replication {
            0 => TopicReplication::Fixed(-1),
            n => TopicReplication::Fixed(i32::from(n)),
        };
        let new = NewTopic::new(&wanted.name, i32::from(wanted.partitions), replication);
        let new = wanted.settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let options = AdminOptions::new().operation_timeout(Some(Timeout::After(METADATA_TIMEOUT)));
        let results = self.runtime.block_on(self.admin.create_topics([&new], &options));
        match results.map_err(|error| error.to_string())?.into_iter().next() {
            // Another gateway may have been faster.
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
            Some(Err((_, RDKafkaErrorCode::TopicAuthorizationFailed))) => Err("no authorisation".to_owned()),
            Some(Err((_, code))) => Err(code.to_string()),
        }
    }

    fn differences(&self, wanted: &Wanted) -> Result<Vec<String>, String> {
        let name = &wanted.name;
        let metadata = self.asking.metadata(Some(name))?;
        let mut lines = Vec::new();
        if let Some(found) = metadata.topics().iter().find(|found| found.name() == name.as_str()) {
            let partitions = found.partitions().len();
            if partitions != usize::from(wanted.partitions) {
                lines.push(format!(
                    "{partitions} partitions, {} wanted (more can be had with kafka-topics.sh --alter, but then \
                     conversations move to other partitions)",
                    wanted.partitions
                ));
            }
            let replicas = found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            if wanted.replication > 0 && replicas != usize::from(wanted.replication) {
                lines
                    .push(format!("{replicas} replicas, {} wanted (kafka-reassign-partitions.sh)", wanted.replication));
            }
        }
        let options = AdminOptions::new().request_timeout(Some(Timeout::After(METADATA_TIMEOUT)));
        let asked = self.runtime.block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options));
        let described = asked
            .map_err(|error| error.to_string())
            .and_then(|answers| match answers.into_iter().next() {
                Some(answer) => answer.map_err(|error| error.to_string()),
                None => Err("no answer".to_owned()),
            })
            .map_err(|error| format!("the settings of topic {name} cannot be read: {error}"))?;
        for (key, value) in &wanted.settings {
            let found = described.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or("");
            if found != value {
                lines.push(format!(
                    "{key} is {found}, {value} wanted (kafka-configs.sh --bootstrap-server {} --alter --topic {name} \
                     --add-config {key}={value})",
                    self.settings.bootstrap
                ));
            }
        }
        Ok(lines)
    }
}

/// How to make a topic by hand.
fn by_hand(wanted: &Wanted, bootstrap: &str) -> String {
    format!(
        "create it: sidetone kafka init, or kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {} \
         --partitions {}",
        wanted.name, wanted.partitions
    )
}

/// What is said of a topic that is not there and that we may not make.
#[must_use]
pub fn missing(wanted: &Wanted, bootstrap: &str) -> String {
    let by_hand = by_hand(wanted, bootstrap);
    format!("topic {} does not exist and sink.kafka.create_topic is false; {by_hand}", wanted.name)
}

/// What is said of a topic that is not for us.
pub(super) fn unauthorised(topic: &str, settings: &Settings) -> String {
    let user = settings.properties.get("sasl.username").unwrap_or("ANONYMOUS");
    format!(
        "no authorisation for topic {topic}; grant it: kafka-acls.sh --bootstrap-server {} --add --allow-principal \
         User:{user} --producer --topic {topic}",
        settings.bootstrap
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_wanted_once_and_that_of_dead_letters_last() {
        let mut settings = Settings { retention_hours: 24, min_insync_replicas: 2, ..Settings::default() };
        settings.routes = [("call", "calls"), ("dtmf", "calls")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let all = wanted(&settings);
        let names: Vec<_> = all.iter().map(|w| (w.name.as_str(), w.partitions, w.takes_events)).collect();
        assert_eq!(names, [("sidetone.events", 12, true), ("calls", 12, true), ("sidetone.dead-letters", 1, false)]);
        let expected = [
            ("cleanup.policy", "delete"),
            ("compression.type", "producer"),
            ("min.insync.replicas", "2"),
            ("retention.ms", "86400000"),
        ];
        assert_eq!(all[0].settings, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
