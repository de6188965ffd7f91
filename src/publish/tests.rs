//! Outboxes with a spool, and a sink that acknowledges, fails, hands back, stays away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;

use super::lane::tests::until;
use super::*;
use crate::event::body::{Dtmf, SpeechStarted};
use crate::event::{Body, Origin};
use crate::sink::{Outcome, Refusal};
use crate::types::{ConversationId, LegId, Speaker, WallTime};

const LIMITS: Limits = Limits { durable_max: 64, ephemeral_max: 16, live_max: 16 };

/// How the broker is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Weather {
    /// Takes and acknowledges.
    #[default]
    Fair,
    /// Takes nothing.
    Away,
    /// Takes, and does not say what became of it.
    Silent,
    /// Takes, and hands back later.
    Refusing,
    /// Takes nothing, and hands back what it took.
    Forbidden,
    /// Takes, and sets aside for good.
    Rejecting,
}

#[derive(Default)]
struct Broker {
    weather: Weather,
    /// What it took and has not settled.
    held: Vec<Arc<Event>>,
    /// What arrived for good, in order.
    log: Vec<Arc<Event>>,
    set_aside: Vec<String>,
}

#[derive(Clone, Default)]
struct Remote(Arc<Mutex<Broker>>);

impl Remote {
    fn set(&self, weather: Weather) {
        self.0.lock().unwrap().weather = weather;
    }

    /// `seq` of the durable events that arrived, by subject, in order of arrival; repeated ids dropped.
    fn arrived(&self) -> BTreeMap<String, Vec<u64>> {
        let mut seen = BTreeSet::new();
        let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in &self.0.lock().unwrap().log {
            if event.sub == 0 && seen.insert(event.id()) {
                arrived.entry(event.origin.leg.to_string()).or_default().push(event.seq);
            }
        }
        arrived
    }

    fn count(&self) -> usize {
        self.arrived().values().map(Vec::len).sum()
    }
}

impl Sink for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        let mut broker = self.0.lock().unwrap();
        if matches!(broker.weather, Weather::Away | Weather::Forbidden) {
            return Err(Refusal::Busy);
        }
        broker.held.push(Arc::clone(event));
        Ok(())
    }

    fn acknowledge(&mut self) -> bool {
        true
    }

    fn outcomes(&mut self, outcomes: &mut Vec<(Arc<Event>, Outcome)>) {
        let mut broker = self.0.lock().unwrap();
        let outcome = match broker.weather {
            Weather::Fair | Weather::Rejecting => Outcome::Settled,
            Weather::Refusing | Weather::Forbidden => Outcome::Returned,
            Weather::Away | Weather::Silent => return,
        };
        let held = std::mem::take(&mut broker.held);
        match broker.weather {
            Weather::Fair => broker.log.extend(held.iter().cloned()),
            Weather::Rejecting => broker.set_aside.extend(held.iter().map(|event| event.id())),
            _ => {}
        }
        outcomes.extend(held.into_iter().filter(|event| event.sub == 0).map(|event| (event, outcome)));
    }

    fn set_aside(&mut self, event: &Event, _: &str) {
        self.0.lock().unwrap().set_aside.push(event.id());
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        match self.0.lock().unwrap().held.len() {
            0 => Ok(()),
            held => Err(held),
        }
    }
}

fn settings(dir: &Path) -> spool::Settings {
    spool::Settings {
        dir: dir.to_owned(),
        mode: Mode::Always,
        fsync: Fsync::Never,
        bytes_max: 1 << 20,
        segment_bytes: 4_096,
        memory_max: 16,
        replay_share: 50,
    }
}

fn start(remote: &Remote, settings: &spool::Settings) -> Outbox {
    Outbox::start(vec![Box::new(remote.clone())], LIMITS, Some(settings)).unwrap()
}

/// Durable event `seq` of leg `leg`; each leg is a conversation.
fn durable(leg: &str, seq: u64) -> Event {
    event(leg, seq, 0, Body::Dtmf(Dtmf { digit: "1".into(), duration_ms: Some(seq), at_ms: seq }))
}

fn event(leg: &str, seq: u64, sub: u64, body: Body) -> Event {
    let origin = Origin {
        conversation: ConversationId::parse(&format!("CON-{leg}")).unwrap(),
        leg: LegId::parse(leg).unwrap(),
        speaker: Speaker::Caller,
        source: Arc::from("/test"),
    };
    Event { origin: Arc::new(origin), seq, sub, time: WallTime(seq as i64), body }
}

/// What a SIGKILL now would leave: the files as the system has them.
fn as_if_killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let (from, to) = (dir.join("remote"), copy.path().join("remote"));
    std::fs::create_dir(&to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        // A file may be done with between the listing and the copy.
        let _ = std::fs::copy(entry.path(), to.join(entry.file_name()));
    }
    copy
}

fn accepted(outbox: &Outbox) -> bool {
    outbox.lanes.iter().all(Lane::is_settled_down)
}

fn files(dir: &Path) -> usize {
    spool::look(dir, "remote").unwrap().files
}

fn numbers(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[test]
fn what_a_sink_does_not_take_is_on_disk_and_all_of_it_comes_in_order_when_it_does() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    let outbox = start(&remote, &settings(dir.path()));
    remote.set(Weather::Away);
    for seq in 1..=100 {
        outbox.publish(durable("a", seq));
        outbox.publish(durable("b", seq));
        // Memory holds sixteen; the rest is on disk only.
        until("acceptance", || accepted(&outbox));
    }
    assert!(!outbox.is_pressed());
    assert_eq!(spool::look(dir.path(), "remote").unwrap().events, 200);
    remote.set(Weather::Fair);
    until("all of it", || remote.count() == 200);
    assert_eq!(remote.arrived(), [("a".to_owned(), numbers(100)), ("b".to_owned(), numbers(100))].into());
    for event in &remote.0.lock().unwrap().log {
        let original = durable(event.origin.leg.as_str(), event.seq);
        assert_eq!((event.to_structured(), event.headers()), (original.to_structured(), original.headers()));
    }
    assert_eq!(outbox.stop(Duration::from_secs(30)), []);
    assert_eq!(files(dir.path()), 0, "settled events were left on disk");
}

#[test]
fn a_kill_loses_nothing_that_was_accepted_wherever_it_was() {
    for weather in [Weather::Away, Weather::Silent, Weather::Refusing] {
        let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
        let outbox = start(&remote, &settings(dir.path()));
        (1..=20).for_each(|seq| outbox.publish(durable("a", seq)));
        until("the first twenty", || remote.count() == 20);
        remote.set(weather);
        for seq in 21..=80 {
            outbox.publish(durable("a", seq));
            outbox.publish(durable("b", seq - 20));
            until("acceptance", || accepted(&outbox));
        }
        let killed = as_if_killed(dir.path());
        let before = remote.arrived();
        assert_eq!(before, [("a".to_owned(), numbers(20))].into());
        // The broker still has what it acknowledged; repeated ids are dropped.
        let again = Remote::default();
        again.0.lock().unwrap().log = remote.0.lock().unwrap().log.clone();
        let next = start(&again, &settings(killed.path()));
        until("the rest", || again.count() == 140);
        assert_eq!(again.arrived(), [("a".to_owned(), numbers(80)), ("b".to_owned(), numbers(60))].into());
        next.publish(durable("a", 81));
        until("what is new", || again.count() == 141);
        assert_eq!(next.stop(Duration::from_secs(30)), []);
        assert_eq!(again.arrived()["a"], numbers(81));
        remote.set(Weather::Fair);
        outbox.stop(Duration::from_secs(30));
    }
}

#[test]
fn a_stop_with_the_sink_away_keeps_events_for_the_next_start_and_sets_none_aside() {
    for (weather, mode) in [
        (Weather::Away, Mode::Always),
        (Weather::Silent, Mode::Always),
        (Weather::Away, Mode::Overflow),
        (Weather::Silent, Mode::Overflow),
    ] {
        let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
        let settings = spool::Settings { mode, ..settings(dir.path()) };
        let outbox = start(&remote, &settings);
        (1..=10).for_each(|seq| outbox.publish(durable("a", seq)));
        until("the first ten", || remote.count() == 10);
        remote.set(weather);
        (11..=50).for_each(|seq| outbox.publish(durable("a", seq)));
        assert_eq!(outbox.stop(Duration::ZERO), [], "they are safe");
        assert_eq!(spool::look(dir.path(), "remote").unwrap().events, 40);
        assert!(remote.0.lock().unwrap().set_aside.is_empty());
        remote.0.lock().unwrap().held.clear();
        remote.set(Weather::Fair);
        let outbox = start(&remote, &settings);
        outbox.publish(durable("a", 51));
        until("the rest", || remote.count() == 51);
        assert_eq!(remote.arrived()["a"], numbers(51));
        assert_eq!(remote.0.lock().unwrap().log.len(), 51, "none of it came twice");
        assert_eq!(outbox.stop(Duration::from_secs(30)), []);
        assert_eq!(files(dir.path()), 0);
    }
}

#[test]
fn with_overflow_nothing_is_written_while_all_is_well() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    let settings = spool::Settings { mode: Mode::Overflow, ..settings(dir.path()) };
    let outbox = start(&remote, &settings);
    for seq in 1..=50 {
        outbox.publish(durable("a", seq));
        until("arrival", || remote.count() as u64 == seq);
        assert_eq!(files(dir.path()), 0);
    }
    remote.set(Weather::Away);
    for seq in 51..=90 {
        outbox.publish(durable("a", seq));
        until("acceptance", || accepted(&outbox));
    }
    until("what is in memory to be on disk", || {
        outbox.publish(event("x", 1, 1, Body::SpeechStarted(SpeechStarted { segment: 1, start_ms: 0 })));
        spool::look(dir.path(), "remote").unwrap().events == 40
    });
    remote.set(Weather::Fair);
    until("the rest", || remote.count() == 90);
    assert_eq!(remote.arrived()["a"], numbers(90));
    assert_eq!(outbox.stop(Duration::from_secs(30)), []);
}

#[test]
fn other_keys_do_not_wait_for_those_on_disk() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    remote.set(Weather::Away);
    let outbox = start(&remote, &settings(dir.path()));
    for seq in 1..=500 {
        outbox.publish(durable("old", seq));
        until("acceptance", || accepted(&outbox));
    }
    outbox.stop(Duration::ZERO);
    // All of them are on disk now, and memory is free.
    let outbox = start(&remote, &spool::Settings { replay_share: 10, ..settings(dir.path()) });
    (1..=8).for_each(|seq| outbox.publish(durable("new", seq)));
    until("acceptance", || accepted(&outbox));
    remote.set(Weather::Fair);
    until("all", || remote.count() == 508);
    let log = remote.0.lock().unwrap().log.clone();
    let last_new = log.iter().rposition(|event| event.origin.leg.as_str() == "new").unwrap();
    assert!(last_new < 20, "they waited for {} others", last_new - 7);
    assert_eq!(remote.arrived(), [("old".to_owned(), numbers(500)), ("new".to_owned(), numbers(8))].into());
    outbox.stop(Duration::from_secs(30));
}

#[test]
fn what_is_handed_back_is_sent_again_in_order_and_what_is_rejected_is_not() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    remote.set(Weather::Refusing);
    let outbox = start(&remote, &settings(dir.path()));
    (1..=10).for_each(|seq| outbox.publish(durable("a", seq)));
    until("acceptance", || accepted(&outbox));
    remote.set(Weather::Fair);
    until("all ten", || remote.count() == 10);
    assert_eq!(remote.arrived()["a"], numbers(10));
    remote.set(Weather::Rejecting);
    outbox.publish(durable("a", 11));
    until("the rejection", || !remote.0.lock().unwrap().set_aside.is_empty());
    assert_eq!(remote.0.lock().unwrap().set_aside, ["a:11"]);
    assert_eq!(outbox.stop(Duration::from_secs(30)), []);
    assert_eq!(spool::look(dir.path(), "remote").unwrap().events, 0, "it waits still");
}

#[test]
fn what_is_handed_back_goes_before_what_found_the_sink_closed() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    remote.set(Weather::Silent);
    let outbox = start(&remote, &settings(dir.path()));
    (1..=5).for_each(|seq| outbox.publish(durable("a", seq)));
    until("five to be taken", || remote.0.lock().unwrap().held.len() == 5);
    remote.set(Weather::Forbidden);
    outbox.publish(durable("a", 6));
    until("them to be handed back", || remote.0.lock().unwrap().held.is_empty());
    remote.set(Weather::Fair);
    until("all six", || remote.count() == 6);
    assert_eq!(remote.arrived()["a"], numbers(6));
    outbox.stop(Duration::from_secs(30));
}

#[test]
fn at_the_bound_the_door_closes_and_consumers_learn_which_events_were_lost() {
    let (dir, remote) = (tempfile::tempdir().unwrap(), Remote::default());
    let outbox = start(&remote, &spool::Settings { bytes_max: 16_384, ..settings(dir.path()) });
    remote.set(Weather::Away);
    for seq in 1..=400 {
        outbox.publish(durable("a", seq));
        outbox.publish(durable("b", seq));
        std::thread::yield_now();
    }
    until("the door to close", || outbox.is_pressed());
    until("trouble", || !outbox.troubles().is_empty());
    assert!(spool::look(dir.path(), "remote").unwrap().bytes <= 16_384);
    remote.set(Weather::Fair);
    until("room", || !outbox.is_pressed());
    outbox.publish(durable("a", 401));
    outbox.publish(durable("b", 401));
    until("the last ones", || {
        ["a", "b"].iter().all(|leg| remote.arrived().get(*leg).is_some_and(|all| all.last() == Some(&401)))
    });
    assert_eq!(outbox.stop(Duration::from_secs(30)), []);
    let log = remote.0.lock().unwrap().log.clone();
    for leg in ["a", "b"] {
        // What a consumer does: `seq` goes on by one, but over a hole it was told of.
        let (mut next, mut lost) = (1, 0);
        for event in log.iter().filter(|event| event.origin.conversation.as_str() == format!("CON-{leg}")) {
            match &event.body {
                Body::GatewayLoss(loss) => {
                    assert_eq!((loss.subject.as_str(), loss.from_seq), (leg, next), "{loss:?}");
                    lost += loss.to_seq - loss.from_seq + 1;
                    next = loss.to_seq + 1;
                }
                _ => {
                    assert_eq!(event.seq, next, "{leg}");
                    next += 1;
                }
            }
        }
        assert!(next == 402 && lost > 0, "{leg}: {lost} lost, up to {next}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_weather_and_however_often_it_dies_each_leg_arrives_whole_and_in_order(
        steps in proptest::collection::vec((0..3_usize, 1..12_u64, 0..5_usize, any::<bool>()), 1..12),
        overflow: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mode = if overflow { Mode::Overflow } else { Mode::Always };
        let settings = spool::Settings { mode, ..settings(dir.path()) };
        let remote = Remote::default();
        let mut outbox = start(&remote, &settings);
        let mut seqs = [0; 3];
        let legs = ["a", "b", "c"];
        for (leg, count, weather, restart) in steps {
            use Weather::{Away, Fair, Forbidden, Refusing, Silent};
            remote.set([Fair, Away, Silent, Refusing, Forbidden][weather]);
            for _ in 0..count {
                seqs[leg] += 1;
                outbox.publish(durable(legs[leg], seqs[leg]));
            }
            if restart {
                prop_assert_eq!(outbox.stop(Duration::ZERO), []);
                remote.0.lock().unwrap().held.clear();
                outbox = start(&remote, &settings);
            }
        }
        remote.set(Weather::Fair);
        let total = seqs.iter().sum::<u64>() as usize;
        until("all of it", || remote.count() == total);
        for (leg, last) in legs.iter().zip(seqs).filter(|(_, last)| *last > 0) {
            prop_assert_eq!(&remote.arrived()[*leg], &numbers(last));
        }
        prop_assert_eq!(outbox.stop(Duration::from_secs(30)), []);
    }
}
