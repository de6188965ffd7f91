//! Apache Kafka through librdkafka: idempotent, `acks=all`, in order.
//!
//! While the broker is away librdkafka holds what it has taken, without a time
//! limit, and its bounded queue fills; then this sink says it is busy, and events
//! wait in the lane. What an operator can mend (a missing topic, no authorisation) is
//! offered again, in order, one event alone until one is taken. What a broker refuses for
//! good though it was alone goes to the dead-letter topic, and what that does not take to the
//! dead-letter file, with the reason and the whole envelope.
//!
//! The record key is the conversation, not the leg: all that happens in a conversation is
//! on one partition, so that one consumer sees both speakers, and each leg in order.

mod client;
mod encode;
mod flag;
pub mod reader;
pub mod registry;
mod settle;
mod topics;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

pub use self::client::producer_config;
pub use self::encode::Decoder;
use self::encode::Encoding;
use self::settle::{Context, Sent, What};
pub use self::topics::{State, Topics, Wanted, missing, wanted};
use super::{Outcomes, Refusal, Sink};
use crate::config::KafkaSink as Settings;
use crate::event::{Event, Lane, envelope};
use crate::telemetry::{Delivery, EventSettled, SinkTrouble};

/// Name of this sink.
pub const NAME: &str = "kafka";

/// Pause before an event that was sent back is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for a producer that failed for good to give back what it holds.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// Longest sleep of one who waits for all acknowledgements before it looks again.
const SLICE: Duration = Duration::from_millis(5);

/// Wait for room in librdkafka's queue, and how often it is tried while there is progress.
const ROOM_WAIT: Duration = Duration::from_millis(5);
const ROOM_WAITS: u32 = 40;

type Record<'a> = BaseRecord<'a, str, Vec<u8>, Box<Sent>>;

/// The sink. See the module's documentation.
pub struct Kafka {
    settings: Arc<Settings>,
    encoding: Encoding,
    /// Acknowledgements are handled by whoever polls, the lane's thread: what is allocated for
    /// an event is freed where it was allocated, which is half of what an event costs.
    producer: BaseProducer<Context>,
    /// When what was sent back may be tried again.
    again: Option<Instant>,
    /// Events that were ever sent: the number of the last.
    sent: u64,
    /// The value under way; used again, so that an event costs no memory of its own.
    value: Vec<u8>,
}

impl Kafka {
    /// Makes a producer. The broker is not asked for anything yet.
    ///
    /// # Errors
    /// Names the property that librdkafka does not take, or whose file cannot be read.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let settings = Arc::new(settings);
        let context = Context::new(Arc::clone(&settings));
        let producer = client::create(&producer_config(&settings)?, context)?;
        Ok(Self { encoding: Encoding::new(&settings)?, settings, producer, again: None, sent: 0, value: Vec::new() })
    }

    /// Finds the topics, and creates those that are missing if we may. Without the one of
    /// dead letters we can do.
    ///
    /// # Errors
    /// What is wrong and the remedy, in one line.
    pub fn ensure_topics(&self) -> Result<(), String> {
        let topics = Topics::new(&self.settings)?;
        for wanted in wanted(&self.settings) {
            let found = topics.ensure(&wanted, self.settings.create_topic).and_then(|state| match state {
                State::Missing => Err(missing(&wanted, &self.settings.bootstrap)),
                _ => Ok(()),
            });
            match found {
                Err(problem) if wanted.takes_events => return Err(problem),
                Err(problem) => SinkTrouble { sink: NAME, problem: &problem }.emit(),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn context(&self) -> &Context {
        self.producer.context()
    }

    /// Does what acknowledgements ask for: takes back what would pass an event that came
    /// back, begins anew when the producer failed for good, sets aside what was refused.
    fn tend(&mut self) {
        if self.context().take_overtaking() {
            self.producer.purge(PurgeConfig::default().queue());
        }
        if self.context().take_failed()
            && let Some((code, problem)) = self.producer.client().fatal_error()
        {
            if code != RDKafkaErrorCode::GaplessGuarantee {
                let problem = format!("the producer failed ({problem}) and is replaced");
                SinkTrouble { sink: NAME, problem: &problem }.emit();
            }
            self.begin_anew();
        }
        while let Some((event, reason)) = self.context().take_refused() {
            if !self.set_aside_on_topic(event, reason) {
                // First another producer.
                break;
            }
        }
    }

    /// A producer that was refused something, or lost its place, takes nothing more. Another
    /// one does, and ids tell consumers what came twice.
    fn begin_anew(&mut self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.settle_all(GIVE_BACK);
        let made = producer_config(&self.settings).and_then(|config| client::create(&config, self.context().succeed()));
        match made {
            Ok(producer) => self.producer = producer,
            Err(problem) => {
                // Tried again at the next opportunity.
                self.context().note_failure();
                SinkTrouble { sink: NAME, problem: &problem }.emit();
            }
        }
    }

    /// Handles acknowledgements until none is due, or `wait` is over.
    fn settle_all(&self, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.context().under_way() == 0 || left.is_zero() {
                return self.producer.poll(Duration::ZERO);
            }
            self.producer.poll(left.min(SLICE));
        }
    }

    /// Offers again what came back. `false` while some of it waits.
    fn send_back(&mut self) -> bool {
        if !self.context().has_back() {
            return true;
        }
        if self.context().under_way() > 0 {
            // Order: what is under way may come back too.
            return false;
        }
        if self.context().take_setback() {
            self.again = Some(Instant::now() + PAUSE);
        }
        if self.again.is_some_and(|again| again > Instant::now()) {
            return false;
        }
        while self.context().has_room()
            && let Some((number, event)) = self.context().take_back()
        {
            if self.produce(&event, number).is_err() {
                self.context().give_back(number, event);
                return false;
            }
        }
        !self.context().has_back()
    }

    /// Whether an event may be sent now: all that came back is on its way again, and there is
    /// room for one more. While acknowledgements make room it waits for some.
    fn may_send(&mut self) -> bool {
        for _ in 0..ROOM_WAITS {
            self.tend();
            if self.context().owes_a_return() || !self.send_back() {
                return false;
            }
            if self.context().has_room() {
                return true;
            }
            self.producer.poll(ROOM_WAIT);
        }
        false
    }

    fn produce(&mut self, event: &Arc<Event>, number: u64) -> Result<(), Refusal> {
        self.value.clear();
        let content_type = match self.encoding.encode(event, &mut self.value) {
            Ok(content_type) => content_type,
            Err(problem) => {
                self.context().refuse(Arc::clone(event), problem);
                return Ok(());
            }
        };
        let mut headers = Some(OwnedHeaders::new_with_capacity(envelope::HEADERS_MAX));
        event.each_header(|key, value| {
            let value = if key == "content-type" { content_type } else { value };
            headers = headers.take().map(|all| all.insert(Header { key, value: Some(value) }));
        });
        let sent = Sent::event(event, number, self.context().sends_one_alone());
        let durable = event.lane() == Lane::Durable;
        self.context().hold(durable);
        let record = BaseRecord::with_opaque_to(self.settings.topic_of(event.body.kind()), sent)
            .key(event.origin.conversation.as_str())
            .payload(&self.value)
            .headers(headers.unwrap_or_default());
        let sent = self.send_when_there_is_room(record);
        if sent.is_err() {
            self.context().release(durable);
        }
        match sent {
            Ok(()) => Ok(()),
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => Err(Refusal::Busy),
            // The producer is replaced before the next attempt.
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fatal)) => {
                self.context().note_failure();
                Err(Refusal::Busy)
            }
            Err(error) if self.context().may_pass(&error, self.settings.topic_of(event.body.kind())) => {
                Err(Refusal::Busy)
            }
            Err(error) => {
                self.context().refuse(Arc::clone(event), error.to_string());
                Ok(())
            }
        }
    }

    /// Waits for room while acknowledgements make some: a queue that empties at full speed
    /// must not run dry before the lane offers again.
    fn send_when_there_is_room(&self, mut record: Record<'_>) -> Result<(), KafkaError> {
        for _ in 0..ROOM_WAITS {
            let held = self.context().under_way();
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                other => return other.map_err(|(error, _)| error),
            }
            self.producer.poll(ROOM_WAIT);
            if self.context().under_way() >= held {
                break;
            }
        }
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// To the dead-letter topic; if that is not to be had, to the file. `false` when the
    /// producer has failed, and the next one is to be asked.
    fn set_aside_on_topic(&self, event: Arc<Event>, reason: String) -> bool {
        let topic = &self.settings.dead_letter_topic;
        if topic.is_empty() {
            self.context().bury_for_good(&event, &reason);
            return true;
        }
        let value = settle::letter(&event, &reason);
        let mut headers = OwnedHeaders::new();
        for (key, value) in event.headers() {
            headers = headers.insert(Header { key, value: Some(&value) });
        }
        headers = headers.insert(Header { key: "sidetone_reason", value: Some(&reason) });
        let key = event.origin.conversation.clone();
        let sent = Sent::letter(event, reason);
        self.context().hold(false);
        let record = BaseRecord::with_opaque_to(topic, sent).key(key.as_str()).payload(&value).headers(headers);
        let Err((error, record)) = self.producer.send(record) else { return true };
        self.context().release(false);
        let failed = error == KafkaError::MessageProduction(RDKafkaErrorCode::Fatal);
        if let What::Letter(event, reason) = record.delivery_opaque.what {
            if failed {
                self.context().note_failure();
                self.context().refuse_again(event, reason);
            } else {
                self.context().bury_for_good(&event, &reason);
            }
        }
        !failed
    }
}

impl Sink for Kafka {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&mut self) -> Result<(), String> {
        self.ensure_topics()?;
        self.encoding.open()
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        if !self.may_send() {
            return Err(Refusal::Busy);
        }
        self.sent += 1;
        let taken = self.produce(event, self.sent);
        self.producer.poll(Duration::ZERO);
        taken
    }

    fn poll(&mut self, wait: Duration) -> bool {
        let waits = self.context().under_way() > 0;
        self.producer.poll(if waits { wait } else { Duration::ZERO });
        self.tend();
        self.send_back();
        waits
    }

    fn trouble(&self) -> Option<String> {
        self.context().trouble()
    }

    fn acknowledge(&mut self) -> bool {
        self.context().tell_outcomes();
        true
    }

    fn outcomes(&mut self, outcomes: &mut Outcomes) {
        self.context().take_outcomes(outcomes);
    }

    fn set_aside(&mut self, event: &Event, reason: &str) {
        self.context().bury(event, reason);
    }

    fn flush(&mut self, wait: Duration) -> Result<(), usize> {
        let until = Instant::now() + wait;
        let mut told = self.trouble();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.settle_all(left.min(PAUSE));
            self.tend();
            // Nobody else looks while this waits, and whoever stops a gateway wants to know why it does.
            let trouble = self.trouble();
            if trouble != told {
                trouble.iter().for_each(|problem| SinkTrouble { sink: NAME, problem }.emit());
                told = trouble;
            }
            let settled = self.send_back() && self.context().under_way() == 0;
            if settled || left.is_zero() {
                break;
            }
        }
        match self.context().unsettled() {
            0 => Ok(()),
            unsettled => Err(unsettled),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.context().end();
        while let Some((event, reason)) = self.context().take_refused() {
            self.context().bury_for_good(&event, &reason);
        }
        while let Some((_, event)) = self.context().take_back() {
            match event.lane() {
                Lane::Durable => self.context().bury(&event, settle::NOT_ACKNOWLEDGED),
                Lane::Ephemeral => EventSettled { sink: NAME, delivery: Delivery::Shed }.emit(),
            }
        }
    }
}
