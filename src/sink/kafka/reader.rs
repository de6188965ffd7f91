//! The topics read back: as one of a group, or all of them for oneself.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{AskContext, METADATA_TIMEOUT, create, plain_config};
use super::topics::Topics;
use crate::config::KafkaSink as Settings;
use crate::event::read::Attributes;

/// Where reading begins; for a group that has read before, where it left off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record kept.
    Beginning,
    /// With the next one.
    End,
    /// With the first one written at or after this time, in ms since 1970. Not for groups.
    Time(i64),
}

/// A record, taken apart.
#[derive(Debug)]
pub struct Incoming {
    /// Its topic.
    pub topic: String,
    /// What its headers say.
    pub attributes: Attributes,
    /// Its value, as it came.
    pub value: Vec<u8>,
}

/// Reads events.
pub struct Reader {
    consumer: BaseConsumer<AskContext>,
    /// By topic and partition: the first offset that is not to be read before [`Reader::is_done`].
    ends: HashMap<(String, i32), i64>,
}

impl Reader {
    /// Reads `topics` as a member of `group`, which shares them out, or all of them.
    ///
    /// # Errors
    /// What is wrong and the remedy, in one line.
    pub fn new(settings: &Settings, topics: &[String], group: Option<&str>, start: Start) -> Result<Self, String> {
        let mut config = plain_config(settings)?;
        config.set("auto.offset.reset", if start == Start::Beginning { "earliest" } else { "latest" });
        if let Some(group) = group {
            config.set("group.id", group).set("enable.auto.commit", "true");
        }
        let consumer: BaseConsumer<AskContext> = create(&config, AskContext::new(settings))?;
        let mut reader = Self { consumer, ends: HashMap::new() };
        let mut partitions = Vec::new();
        let asking = Topics::new(settings)?;
        for topic in topics {
            let count = asking.partitions(topic)?.ok_or_else(|| format!("topic {topic} does not exist"))?;
            partitions.extend((0..count).map(|partition| (topic.as_str(), partition as i32)));
        }
        match group {
            Some(_) => {
                let names: Vec<_> = topics.iter().map(String::as_str).collect();
                reader.consumer.subscribe(&names).map_err(|error| error.to_string())?;
            }
            None => reader.assign(&partitions, start).map_err(|error| error.to_string())?,
        }
        Ok(reader)
    }

    fn assign(&mut self, partitions: &[(&str, i32)], start: Start) -> Result<(), KafkaError> {
        let mut wanted = TopicPartitionList::new();
        for (topic, partition) in partitions {
            let (low, high) = self.consumer.fetch_watermarks(topic, *partition, METADATA_TIMEOUT)?;
            let offset = match start {
                Start::Beginning => Offset::Beginning,
                Start::End => Offset::Offset(high),
                Start::Time(ms) => Offset::Offset(ms),
            };
            if low < high && start != Start::End {
                self.ends.insert(((*topic).to_owned(), *partition), high);
            }
            wanted.add_partition_offset(topic, *partition, offset)?;
        }
        if let Start::Time(_) = start {
            wanted = self.consumer.offsets_for_times(wanted, METADATA_TIMEOUT)?;
            for found in wanted.elements() {
                // Nothing so young: nothing to wait for.
                if !matches!(found.offset(), Offset::Offset(_)) {
                    self.ends.remove(&(found.topic().to_owned(), found.partition()));
                }
            }
        }
        self.consumer.assign(&wanted)
    }

    /// The next record; `None` when none came in `wait`.
    ///
    /// # Errors
    /// A complaint that will not pass by itself, with the remedy.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Incoming>, String> {
        let message = match self.consumer.poll(wait) {
            None => return Ok(None),
            Some(Ok(message)) => message,
            Some(Err(_)) => {
                return match self.consumer.context().telling() {
                    Some(problem) => Err(problem),
                    None => Ok(None),
                };
            }
        };
        let place = (message.topic().to_owned(), message.partition());
        let read = message.offset() + 1;
        let incoming = incoming(&message);
        if self.ends.get(&place).is_some_and(|end| read >= *end) {
            self.ends.remove(&place);
        }
        Ok(Some(incoming))
    }

    /// Whether all that was there at the start was read. Never so in a group.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ends.is_empty()
    }
}

fn incoming(message: &BorrowedMessage<'_>) -> Incoming {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let attributes = Attributes::from_headers(headers.map(|header| (header.key, header.value.unwrap_or_default())));
    let value = message.payload().unwrap_or_default().to_vec();
    Incoming { topic: message.topic().to_owned(), attributes, value }
}
