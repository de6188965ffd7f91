//! Apache Kafka through librdkafka: idempotent, `acks=all`, in order.
//!
//! While the broker is away librdkafka holds what it has taken, without a time
//! limit, and its bounded queue fills; then this sink says it is busy, and events
//! wait in the lane. Nothing is given up but what a broker refuses for good; that
//! goes to the dead-letter file with the reason and the whole envelope.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, util::Timeout};

use super::{Outcome, Outcomes, Refusal, Sink};
use crate::config::KafkaSink as Settings;
use crate::event::{Body, Event, Lane};
use crate::telemetry::{Delivery, EventSettled, SinkTrouble};

/// Name of this sink.
pub const NAME: &str = "kafka";

/// Longest wait for a broker's word on topics.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Properties we set before the user's own.
const PROPERTIES: [(&str, &str); 8] = [
    ("client.id", "sidetone"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // No time limit: an event is either acknowledged, refused, or still ours.
    ("message.timeout.ms", "0"),
    ("linger.ms", "5"),
    ("compression.type", "zstd"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// The client's configuration: ours, then the user's properties.
#[must_use]
pub fn client_config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.bootstrap);
    for (name, value) in PROPERTIES {
        config.set(name, value);
    }
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config
}

/// What we remember of a record until it is acknowledged.
struct Sent {
    event: Arc<Event>,
    at: Instant,
}

struct Context {
    dead_letters: PathBuf,
    /// What the connection suffers from, since the last acknowledgement.
    trouble: Mutex<Option<String>>,
    /// Durable events that librdkafka holds.
    held: AtomicUsize,
    /// What became of durable events, if there is a spool that wants to know.
    outcomes: Mutex<Option<Outcomes>>,
}

impl Context {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        // No code that can panic runs under this lock.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the spool, if there is one. `false` when there is none.
    fn tell(&self, event: &Arc<Event>, outcome: Outcome) -> bool {
        let mut outcomes = self.outcomes();
        let told = outcomes.as_mut().map(|outcomes| outcomes.push((Arc::clone(event), outcome)));
        told.is_some()
    }

    fn outcomes(&self) -> MutexGuard<'_, Option<Outcomes>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker will never take it: sets a durable event aside, lets an ephemeral one go.
    fn give_up(&self, event: &Arc<Event>, reason: &str) {
        match event.lane() {
            Lane::Durable => {
                self.bury(event, reason);
                self.tell(event, Outcome::Settled);
                SinkTrouble { sink: NAME, problem: &format!("the broker refused an event for good: {reason}") }.emit();
            }
            Lane::Ephemeral => EventSettled { sink: NAME, delivery: Delivery::Shed }.emit(),
        }
    }

    fn bury(&self, event: &Event, reason: &str) {
        let envelope: serde_json::Value = serde_json::from_slice(&event.to_structured()).unwrap_or_default();
        let line = serde_json::json!({"reason": reason, "event": envelope});
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.dead_letters)
            .and_then(|mut file| writeln!(file, "{line}"));
        if let Err(error) = written {
            let problem = format!("dead-letter file {} cannot be written: {error}", self.dead_letters.display());
            SinkTrouble { sink: NAME, problem: &problem }.emit();
        }
        EventSettled { sink: NAME, delivery: Delivery::DeadLetter }.emit();
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka repeats itself; the lane tells only what is new.
        *self.trouble() = Some(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        if sent.event.lane() == Lane::Durable {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        match result {
            Ok(_) => {
                *self.trouble() = None;
                histogram!("sidetone_kafka_ack_seconds").record(sent.at.elapsed().as_secs_f64());
                if let Body::TranscriptFinal(final_) = &sent.event.body {
                    let speech_to_event = f64::from(final_.timing.total_ms) / 1000.0;
                    let total = speech_to_event + sent.at.elapsed().as_secs_f64();
                    histogram!("sidetone_speech_to_ack_seconds").record(total);
                }
                EventSettled { sink: NAME, delivery: Delivery::Delivered }.emit();
                if sent.event.lane() == Lane::Durable {
                    self.tell(&sent.event, Outcome::Settled);
                }
            }
            // The spool sends it again, after this process if need be.
            Err((error, _))
                if sent.event.lane() == Lane::Durable
                    && (is_taken_back(error) || may_pass(error))
                    && self.tell(&sent.event, Outcome::Returned) =>
            {
                *self.trouble() = Some(format!("the broker refuses events for now: {error}"));
            }
            // Taken back when the producer is dropped: see `Sink::flush` for who tells of it.
            Err((error, _)) if is_taken_back(error) && sent.event.lane() == Lane::Durable => {
                self.bury(&sent.event, NOT_ACKNOWLEDGED);
            }
            Err((error, _)) => self.give_up(&sent.event, &error.to_string()),
        }
    }
}

/// Why an event that the broker may or may not have is set aside.
const NOT_ACKNOWLEDGED: &str = "the gateway stopped before the broker acknowledged it";

fn is_taken_back(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// Whether an event that failed with this may yet be taken: the topic, a right or the
/// whole broker was missing, and the event is not at fault.
fn may_pass(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::BrokerNotAvailable
                | Code::KafkaStorageError
        )
    )
}

/// The sink. See the module's documentation.
pub struct Kafka {
    settings: Settings,
    producer: BaseProducer<Context>,
}

impl Kafka {
    /// Makes a producer. The broker is not asked for anything yet.
    ///
    /// # Errors
    /// Names the property that librdkafka does not take.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let context = Context {
            dead_letters: settings.dead_letters.clone(),
            trouble: Mutex::default(),
            held: AtomicUsize::default(),
            outcomes: Mutex::default(),
        };
        let producer = client_config(&settings)
            .create_with_context(context)
            .map_err(|error| format!("sink.kafka: {error}; mend sink.kafka.properties"))?;
        Ok(Self { settings, producer })
    }

    /// Finds the topic, and creates it if it is missing and we may.
    ///
    /// # Errors
    /// What is wrong and the remedy, in one line.
    pub fn ensure_topic(&self) -> Result<(), String> {
        let Settings { bootstrap, topic, create_topic, partitions, .. } = &self.settings;
        // All topics: asking for one by name may make the broker create it its own way.
        let metadata = self.producer.client().fetch_metadata(None, METADATA_TIMEOUT).map_err(|error| {
            format!(
                "no Kafka broker answers at {bootstrap} ({error}); check sink.kafka.bootstrap, that the broker runs, \
                 and that its advertised listeners can be reached from here"
            )
        })?;
        if metadata.topics().iter().any(|found| found.name() == topic) {
            return Ok(());
        }
        let by_hand = format!(
            "create it: kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {topic} --partitions {partitions}"
        );
        if !create_topic {
            return Err(format!("topic {topic} does not exist and sink.kafka.create_topic is false; {by_hand}"));
        }
        self.create_topic()
            .map_err(|error| format!("topic {topic} does not exist and cannot be created ({error}); {by_hand}"))
    }

    fn create_topic(&self) -> Result<(), String> {
        let Settings { topic, partitions, replication, .. } = &self.settings;
        let admin: AdminClient<DefaultClientContext> =
            client_config(&self.settings).create().map_err(|error| error.to_string())?;
        let replication = match replication {
            0 => TopicReplication::Fixed(-1),
            n => TopicReplication::Fixed(i32::from(*n)),
        };
        let new = NewTopic::new(topic, i32::from(*partitions), replication);
        let options = AdminOptions::new().operation_timeout(Some(Timeout::After(METADATA_TIMEOUT)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let results = runtime.block_on(admin.create_topics([&new], &options)).map_err(|error| error.to_string())?;
        match results.into_iter().next() {
            // Another gateway may have been faster.
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
            Some(Err((_, code))) => Err(code.to_string()),
        }
    }
}

impl Sink for Kafka {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&mut self) -> Result<(), String> {
        self.ensure_topic()
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        // Acknowledgements are handled here, so that their queue stays short.
        self.producer.poll(Duration::ZERO);
        let value = event.value();
        let headers = event.headers();
        let headers = headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let sent = Box::new(Sent { event: Arc::clone(event), at: Instant::now() });
        let record = BaseRecord::with_opaque_to(&self.settings.topic, sent)
            .key(event.origin.conversation.as_str())
            .payload(&value)
            .headers(headers);
        match self.producer.send(record) {
            Ok(()) => {
                if event.lane() == Lane::Durable {
                    // Acknowledgements are handled on this thread only, hence after this.
                    self.producer.context().held.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(Refusal::Busy),
            // Nothing is wrong with the event: it waits, and those behind it.
            Err((error, _)) if may_pass(&error) => {
                *self.producer.context().trouble() = Some(format!("the broker refuses events for now: {error}"));
                Err(Refusal::Busy)
            }
            Err((error, record)) => {
                self.producer.context().give_up(&record.delivery_opaque.event, &error.to_string());
                Ok(())
            }
        }
    }

    fn poll(&mut self, wait: Duration) {
        self.producer.poll(wait);
    }

    fn trouble(&self) -> Option<String> {
        self.producer.context().trouble().clone()
    }

    fn acknowledge(&mut self) -> bool {
        *self.producer.context().outcomes() = Some(Vec::new());
        true
    }

    fn outcomes(&mut self, outcomes: &mut Outcomes) {
        if let Some(new) = self.producer.context().outcomes().as_mut() {
            outcomes.append(new);
        }
    }

    fn set_aside(&mut self, event: &Event, reason: &str) {
        self.producer.context().bury(event, reason);
    }

    fn flush(&mut self, wait: Duration) -> Result<(), usize> {
        // An error says that some are left; of ephemeral ones nobody needs to hear.
        let _ = self.producer.flush(wait);
        match self.producer.context().held.load(Ordering::Relaxed) {
            0 => Ok(()),
            held => Err(held),
        }
    }
}
