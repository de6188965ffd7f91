//! What becomes of each record: acknowledged, sent back to be tried again, or refused.

use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Histogram, histogram};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use super::NAME;
use super::client::Complaints;
use super::flag::Flag;
use super::topics::unauthorised;
use super::window::Window;
use crate::config::KafkaSink as Settings;
use crate::event::{Body, Event, Lane};
use crate::sink::{Outcome, Outcomes};
use crate::telemetry::{Delivery, EventSettled, SinkTrouble};
use crate::types::WallTime;

/// Why an event that the broker may or may not have is set aside.
pub(super) const NOT_ACKNOWLEDGED: &str = "the gateway stopped before the broker acknowledged it";

/// How librdkafka says that the producer stopped since something was refused.
const GAPLESS: &str = "gap-less guarantee";

/// What we remember of a record until it is acknowledged.
pub(super) struct Sent {
    pub(super) what: What,
    at: Instant,
    /// Its place among all events that were ever sent: what comes back keeps it.
    number: u64,
    /// Read while the event was at hand: by the time of the acknowledgement it is far from
    /// every cache, and there is one for each event.
    durable: bool,
    /// Whether no other event was under way.
    alone: bool,
    /// Of a final: when it was authored, and the delay before that in ms.
    spoken: Option<(WallTime, f32)>,
}

impl Sent {
    pub(super) fn event(event: &Arc<Event>, number: u64, alone: bool) -> Box<Self> {
        let spoken = match &event.body {
            Body::TranscriptFinal(text) => Some((event.time, text.timing.total_ms)),
            _ => None,
        };
        let durable = event.lane() == Lane::Durable;
        Box::new(Self { what: What::Event(Arc::clone(event)), at: Instant::now(), number, durable, alone, spoken })
    }

    pub(super) fn letter(event: Arc<Event>, reason: String) -> Box<Self> {
        let what = What::Letter(event, reason);
        Box::new(Self { what, at: Instant::now(), number: 0, durable: false, alone: false, spoken: None })
    }
}

pub(super) enum What {
    /// An event on its topic.
    Event(Arc<Event>),
    /// An event on the dead-letter topic, and why.
    Letter(Arc<Event>, String),
}

/// Shared by a producer and the one that replaces it.
struct Shared {
    settings: Arc<Settings>,
    /// What the connection suffers from, since the last acknowledgement.
    complaints: Complaints,
    /// Durable events that librdkafka holds.
    held: AtomicUsize,
    /// Records of any kind that it holds, until all is done that their fate asks for.
    under_way: AtomicUsize,
    /// Events to be tried again, by their numbers. No more than librdkafka's queue held.
    back: Mutex<BTreeMap<u64, Arc<Event>>>,
    any_back: Flag,
    /// Room for events under way.
    window: Window,
    /// Set when something was refused that time may mend.
    setback: Flag,
    /// Events that will never be taken, and why, until they are set aside.
    refused: Mutex<VecDeque<(Arc<Event>, String)>>,
    any_refused: Flag,
    /// Whether there will be no other producer that what is purged could be tried with. Till
    /// then it is tried again: librdkafka purges by itself, too, when it fails for good.
    ending: Flag,
    /// Whether the producer failed for good.
    failed: Flag,
    /// What became of durable events, if there is a spool that wants to know.
    outcomes: Mutex<Option<Outcomes>>,
    wants_outcomes: Flag,
    /// Whether one of those outcomes is an event that came back: none may pass it until the
    /// spool knows.
    untold_return: Flag,
    /// Set when an event comes back while others are queued behind it, which must not pass.
    overtaking: Flag,
    meters: Meters,
}

/// Looked up once: an acknowledgement is handled for every event.
struct Meters {
    ack: Histogram,
    speech_to_ack: Histogram,
    delivered: Counter,
}

/// Handles acknowledgements and complaints.
pub(super) struct Context(Arc<Shared>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self(Arc::new(Shared {
            settings,
            complaints: Complaints::default(),
            held: AtomicUsize::default(),
            under_way: AtomicUsize::default(),
            back: Mutex::default(),
            any_back: Flag::default(),
            window: Window::default(),
            setback: Flag::default(),
            refused: Mutex::default(),
            any_refused: Flag::default(),
            ending: Flag::default(),
            failed: Flag::default(),
            outcomes: Mutex::default(),
            wants_outcomes: Flag::default(),
            untold_return: Flag::default(),
            overtaking: Flag::default(),
            meters: Meters {
                ack: histogram!("sidetone_kafka_ack_seconds"),
                speech_to_ack: histogram!("sidetone_ack_seconds"),
                delivered: EventSettled { sink: NAME, delivery: Delivery::Delivered }.counter(),
            },
        }))
    }

    /// For the producer that replaces this one's.
    pub(super) fn succeed(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn end(&self) {
        self.0.ending.set(true);
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.0.complaints.worst()
    }

    /// Whether what the producer did not take is to be offered again: an operator can mend it.
    pub(super) fn may_pass(&self, error: &KafkaError, topic: &str) -> bool {
        let passing = matches!(fate(error), Fate::TryAgain(_));
        if passing {
            self.complain(error, topic);
        }
        passing
    }

    /// Says what an operator can do about a topic that takes nothing for now.
    fn complain(&self, error: &KafkaError, topic: &str) {
        self.0.complaints.say(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => unauthorised(topic, &self.0.settings),
            _ => format!("topic {topic} takes nothing now ({error}); check that it exists: sidetone kafka init"),
        });
    }

    /// Counts a record that the producer is about to get: its acknowledgement may come
    /// before the call returns.
    pub(super) fn hold(&self, durable: bool) {
        self.0.held.fetch_add(durable.into(), Ordering::SeqCst);
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// A record is no longer the producer's, or never was.
    pub(super) fn release(&self, durable: bool) {
        self.0.held.fetch_sub(durable.into(), Ordering::SeqCst);
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    /// Records that the producer holds.
    pub(super) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::SeqCst)
    }

    /// Durable events of which nobody knows yet whether they are safe.
    pub(super) fn unsettled(&self) -> usize {
        let back = locked(&self.0.back).values().filter(|event| event.lane() == Lane::Durable).count();
        self.0.held.load(Ordering::SeqCst) + back
    }

    /// Whether the producer failed for good, since this was last asked.
    pub(super) fn take_failed(&self) -> bool {
        self.0.failed.take()
    }

    pub(super) fn note_failure(&self) {
        self.0.failed.set(true);
    }

    /// From now on a spool is told what becomes of durable events, and tries again itself.
    pub(super) fn tell_outcomes(&self) {
        locked(&self.0.outcomes).get_or_insert_default();
        self.0.wants_outcomes.set(true);
    }

    pub(super) fn take_outcomes(&self, into: &mut Outcomes) {
        if let Some(outcomes) = &mut *locked(&self.0.outcomes) {
            into.append(outcomes);
            self.0.untold_return.set(false);
        }
    }

    /// Whether the spool is yet to learn of an event that came back.
    pub(super) fn owes_a_return(&self) -> bool {
        self.0.untold_return.is_set()
    }

    /// Whether an event came back, since this was last asked, that those queued behind it
    /// must not pass.
    pub(super) fn take_overtaking(&self) -> bool {
        self.0.overtaking.take()
    }

    /// `false` where nobody wants to know.
    fn tell(&self, event: &Arc<Event>, outcome: Outcome) -> bool {
        if !self.0.wants_outcomes.is_set() {
            return false;
        }
        match &mut *locked(&self.0.outcomes) {
            Some(outcomes) if event.lane() == Lane::Durable => {
                if outcome == Outcome::Returned {
                    self.0.untold_return.set(true);
                }
                outcomes.push((Arc::clone(event), outcome));
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn has_back(&self) -> bool {
        self.0.any_back.is_set()
    }

    /// Whether one more event may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.0.window.has_room(self.under_way())
    }

    pub(super) fn sends_one_alone(&self) -> bool {
        self.0.window.is_of_one()
    }

    /// Whether something was refused, since this was last asked, that time may mend.
    pub(super) fn take_setback(&self) -> bool {
        self.0.setback.take()
    }

    /// Nothing may pass what was refused, and it is to be tried alone.
    fn narrow(&self) {
        self.0.window.narrow();
        self.0.overtaking.set(true);
    }

    pub(super) fn take_back(&self) -> Option<(u64, Arc<Event>)> {
        let mut back = locked(&self.0.back);
        let first = back.pop_first();
        self.0.any_back.set(!back.is_empty());
        first
    }

    /// Puts what was taken back in its place again.
    pub(super) fn give_back(&self, number: u64, event: Arc<Event>) {
        let mut back = locked(&self.0.back);
        back.insert(number, event);
        self.0.any_back.set(true);
    }

    pub(super) fn take_refused(&self) -> Option<(Arc<Event>, String)> {
        if !self.0.any_refused.is_set() {
            return None;
        }
        let mut refused = locked(&self.0.refused);
        let first = refused.pop_front();
        self.0.any_refused.set(!refused.is_empty());
        first
    }

    /// The broker will never take it: a durable event is to be set aside, an ephemeral one goes.
    pub(super) fn refuse(&self, event: Arc<Event>, reason: String) {
        match event.lane() {
            Lane::Durable => {
                SinkTrouble { sink: NAME, problem: &format!("the broker refused an event for good: {reason}") }.emit();
                self.refuse_again(event, reason);
            }
            Lane::Ephemeral => EventSettled { sink: NAME, delivery: Delivery::Shed }.emit(),
        }
    }

    pub(super) fn refuse_again(&self, event: Arc<Event>, reason: String) {
        let mut refused = locked(&self.0.refused);
        refused.push_back((event, reason));
        self.0.any_refused.set(true);
    }

    /// It is to be tried again, before all that was sent after it.
    fn return_to_queue(&self, event: Arc<Event>, number: u64) {
        if event.lane() == Lane::Ephemeral {
            return EventSettled { sink: NAME, delivery: Delivery::Shed }.emit();
        }
        if !self.tell(&event, Outcome::Returned) {
            self.give_back(number, event);
        }
    }

    /// Appends an event that was taken and can never be delivered to the dead-letter file.
    pub(super) fn bury_for_good(&self, event: &Arc<Event>, reason: &str) {
        self.bury(event, reason);
        self.tell(event, Outcome::Settled);
    }

    /// Appends an event to the dead-letter file.
    pub(super) fn bury(&self, event: &Event, reason: &str) {
        let path = &self.0.settings.dead_letters;
        let mut line = letter(event, reason);
        line.push(b'\n');
        let written =
            OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(&line));
        if let Err(error) = written {
            let problem = format!("dead-letter file {} cannot be written: {error}", path.display());
            SinkTrouble { sink: NAME, problem: &problem }.emit();
        }
        EventSettled { sink: NAME, delivery: Delivery::DeadLetter }.emit();
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.complaints.hear(line, &self.0.settings);
        // What matters comes as a complaint too, and is told in our own words.
        tracing::debug!(target: "librdkafka", ?level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.note_failure();
            if reason.contains(GAPLESS) {
                // Asked for, and what was refused tells why.
                return;
            }
        }
        // librdkafka repeats itself; the lane tells only what is new.
        self.0.complaints.add(&error, reason, &self.0.settings);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let durable = sent.durable;
        self.settle(result, *sent);
        // Last: what came back is in its queue before anybody takes the way for free.
        self.release(durable);
    }
}

impl Context {
    fn settle(&self, result: &DeliveryResult<'_>, sent: Sent) {
        let Sent { what, at, number, durable, alone, spoken } = sent;
        let event = match what {
            What::Event(event) => event,
            What::Letter(event, reason) => {
                return match result {
                    Ok(_) => {
                        EventSettled { sink: NAME, delivery: Delivery::DeadLetter }.emit();
                        self.tell(&event, Outcome::Settled);
                    }
                    // It was taken back from the queue along with events: see `Kafka::tend`.
                    Err((error, _)) if fate(error) == Fate::Purged && !self.0.ending.is_set() => {
                        self.refuse_again(event, reason);
                    }
                    Err((error, _)) => {
                        self.bury_for_good(&event, &format!("{reason}; the dead-letter topic: {error}"));
                    }
                };
            }
        };
        let (error, record) = match result {
            Ok(_) => return self.acknowledged(&event, at, durable, spoken),
            Err((error, record)) => (error, record),
        };
        match fate(error) {
            Fate::TryAgain(why) => {
                self.complain(error, record.topic());
                self.narrow();
                self.0.setback.set(true);
                if why == Some(RDKafkaErrorCode::Fatal) {
                    self.note_failure();
                }
                self.return_to_queue(event, number);
            }
            Fate::Purged if !self.0.ending.is_set() => self.return_to_queue(event, number),
            Fate::Purged if self.tell(&event, Outcome::Returned) => {}
            // The producer is being dropped: see `Sink::flush` for who tells of it.
            Fate::Purged if event.lane() == Lane::Durable => self.bury(&event, NOT_ACKNOWLEDGED),
            Fate::Purged => EventSettled { sink: NAME, delivery: Delivery::Shed }.emit(),
            Fate::Refused if alone => self.refuse(event, error.to_string()),
            // Or another of its batch was meant.
            Fate::Refused => {
                self.narrow();
                self.return_to_queue(event, number);
            }
        }
    }

    fn acknowledged(&self, event: &Arc<Event>, at: Instant, durable: bool, spoken: Option<(WallTime, f32)>) {
        self.0.window.widen();
        if !self.has_back() {
            self.0.complaints.forget();
        }
        let meters = &self.0.meters;
        meters.ack.record(at.elapsed().as_secs_f64());
        if let Some((authored, before_ms)) = spoken {
            // From the authoring on by the wall clock, since the event has no other; the wait
            // in the lane counts too.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            let since = (now as i64).saturating_sub(authored.0).max(0) as f64 / 1e6;
            meters.speech_to_ack.record(f64::from(before_ms) / 1000.0 + since);
        }
        meters.delivered.increment(1);
        if durable {
            self.tell(event, Outcome::Settled);
        }
    }
}

/// The line that tells of an event that was set aside, without a line break.
pub(super) fn letter(event: &Event, reason: &str) -> Vec<u8> {
    let envelope: serde_json::Value = serde_json::from_slice(&event.to_structured()).unwrap_or_default();
    serde_json::json!({"reason": reason, "event": envelope}).to_string().into_bytes()
}

/// What an error means for the event that met it.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Somebody can mend it, or a new producer can.
    TryAgain(Option<RDKafkaErrorCode>),
    /// Taken out of the queue by ourselves, or by a producer that failed for good.
    Purged,
    /// Not now and not later.
    Refused,
}

fn fate(error: &KafkaError) -> Fate {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::PurgeQueue | Code::PurgeInflight) => Fate::Purged,
        Some(
            code @ (Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::MessageTimedOut
            | Code::Fatal
            | Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerEpoch),
        ) => Fate::TryAgain(Some(code)),
        _ => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::event::body::Dtmf;
    use crate::types::{ConversationId, LegId, Speaker};

    fn event(seq: u64) -> Arc<Event> {
        let origin = Origin {
            conversation: ConversationId::parse("CON-1").unwrap(),
            leg: LegId::parse("leg").unwrap(),
            speaker: Speaker::Caller,
            source: Arc::from("/sidetone/test"),
        };
        let body = Body::Dtmf(Dtmf { digit: "1".into(), duration_ms: None, at_ms: 0 });
        Arc::new(Event { origin: Arc::new(origin), seq, sub: 0, time: WallTime::default(), body })
    }

    #[test]
    fn only_what_nobody_can_mend_is_refused() {
        let production = KafkaError::MessageProduction;
        for code in [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::UnknownTopic] {
            assert_eq!(fate(&production(code)), Fate::TryAgain(Some(code)));
        }
        assert_eq!(fate(&production(RDKafkaErrorCode::PurgeInflight)), Fate::Purged);
        for code in [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::InvalidRecord] {
            assert_eq!(fate(&production(code)), Fate::Refused);
        }
    }

    #[test]
    fn what_came_back_leaves_in_the_order_it_first_left() {
        let context = Context::new(Arc::default());
        // The acknowledgements of several brokers come in any order.
        for number in [2, 4, 1, 3] {
            context.return_to_queue(event(number), number);
        }
        // The first is tried again, and fails again while others are being sent.
        let (first, second) = (context.take_back().unwrap(), context.take_back().unwrap());
        context.return_to_queue(second.1, second.0);
        context.return_to_queue(first.1, first.0);
        assert_eq!(context.unsettled(), 4);
        let order: Vec<_> = std::iter::from_fn(|| context.take_back()).map(|(_, event)| event.seq).collect();
        assert_eq!(order, [1, 2, 3, 4]);
    }
}
