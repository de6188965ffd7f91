//! Input that no Vonage would send: nothing panics, nothing grows without bound, and time
//! empties it all again.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidetone::control::{Asked, Outcome, Role, Tag, Target};
use sidetone::event::Body;
use sidetone::types::{Moment, Speaker};
use sidetone::vonage::webhook::{parse_answer, parse_event};

use crate::desk::{Desk, con, ended, flow, leg, made, status_of, to_agent, transfer_of};

/// Few enough that they meet.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => (0_u8..6).prop_map(|n| format!("id-{n}")), 1 => "[!-~]{1,20}", 1 => Just(String::new())]
}

fn value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("started"),
        Just("ringing"),
        Just("answered"),
        Just("completed"),
        Just("busy"),
        Just("failed"),
        Just("disconnected"),
        Just("timeout"),
        Just("transfer"),
        Just("inbound"),
        Just("outbound"),
        Just("wss://gw.example/media"),
        Just("2026-11-24T09:00:00Z"),
        Just("-999999999-01-01T00:00:00Z"),
        Just("9999-12-31T23:59:59Z"),
        Just("1e308"),
    ];
    let leaf = prop_oneof![
        4 => id().prop_map(Value::from),
        4 => word.prop_map(Value::from),
        1 => any::<Option<f64>>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((key(), inner), 0..3).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "uuid",
        "call_uuid",
        "conversation_uuid",
        "conversation_uuid_from",
        "conversation_uuid_to",
        "status",
        "type",
        "timestamp",
        "start_time",
        "end_time",
        "from",
        "to",
        "direction",
        "dtmf",
        "speech",
        "payload",
        "recording_url",
        "recording_uuid",
        "transcription_url",
        "reason",
        "price",
        "duration",
        "rate",
        "sip_code",
        "detail",
        "size",
        "region_url",
        "custom_data",
        "from_user",
        "endpoint_type",
        "SipHeader_X-A",
    ];
    prop_oneof![9 => proptest::sample::select(KNOWN).prop_map(str::to_owned), 1 => "[a-z_]{0,8}"]
}

fn object() -> impl Strategy<Value = Value> {
    let ids = (id(), id()).prop_map(|(leg, con)| json!({"uuid": leg, "conversation_uuid": con}));
    (ids, vec((key(), value()), 0..8)).prop_map(|(mut ids, pairs)| {
        let more: Map<_, _> = pairs.into_iter().collect();
        ids.as_object_mut().unwrap().extend(more);
        ids
    })
}

fn tag() -> impl Strategy<Value = Option<Tag>> {
    let role = prop_oneof![Just("caller"), Just("agent"), Just("listener"), Just("mixed"), Just("supervisor")];
    proptest::option::of((0_u8..6, role, proptest::option::of(0_u8..6)).prop_map(|(call, role, hears)| Tag {
        call: con(&format!("id-{call}")),
        role: Role::parse(role).unwrap(),
        hears: hears.map(|n| leg(&format!("id-{n}"))),
    }))
}

#[derive(Debug, Clone)]
enum Input {
    Event(Option<Tag>, Value),
    Answer(Value, bool),
    Created(Asked, u8, u8),
    Polled(u8, u8, u8, Value),
    Up(u8, u8, Option<u8>),
    Down(u8, u8, bool),
    Pause(u8, bool),
    Dial,
    Wait(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => (tag(), object()).prop_map(|(tag, object)| Input::Event(tag, object)),
        2 => (object(), any::<bool>()).prop_map(|(object, room)| Input::Answer(object, room)),
        2 => (tag(), 0_u8..6, 0_u8..5).prop_filter_map("a tag", |(tag, leg, how)| Some(Input::Created(tag?, leg, how))),
        2 => (0_u8..6, 0_u8..6, 0_u8..4, object()).prop_map(|(call, leg, how, found)| Input::Polled(call, leg, how, found)),
        1 => (0_u8..6, 0_u8..4, proptest::option::of(0_u8..6)).prop_map(|(call, leg, hears)| Input::Up(call, leg, hears)),
        1 => (0_u8..6, 0_u8..4, any::<bool>()).prop_map(|(call, leg, ok)| Input::Down(call, leg, ok)),
        1 => (0_u8..6, any::<bool>()).prop_map(|(call, paused)| Input::Pause(call, paused)),
        1 => Just(Input::Dial),
        2 => (0_u64..50_000).prop_map(Input::Wait),
    ]
}

fn give(desk: &mut Desk, input: Input) {
    let name = |n: u8| format!("id-{n}");
    match input {
        Input::Event(tag, object) => {
            if parse_event(object.to_string().as_bytes()).is_ok() {
                let _ = desk.hear(tag.as_ref(), &object);
            }
        }
        Input::Answer(object, room) => {
            if let Ok(answer) = parse_answer(object.to_string().as_bytes()) {
                let now = desk.now();
                assert!(!desk.centre.answer(now, &answer, |_| room).is_empty());
            }
        }
        Input::Created(asked, leg, how) => {
            // A listener for a listener is only promised of legs that were not named twice.
            let outcome = match how {
                0 => Outcome::Done(made(&name(leg))),
                1 => Outcome::Limited(None),
                2 => Outcome::Limited(Some(std::time::Duration::from_secs(u64::MAX))),
                3 => Outcome::Gone,
                _ => Outcome::Failed("refused"),
            };
            let now = desk.now();
            desk.centre.created(now, &asked, outcome);
        }
        Input::Polled(call, leg, how, found) => desk.found(
            &name(call),
            &name(leg),
            match how {
                0 => Outcome::Done(found),
                1 => Outcome::Gone,
                2 => Outcome::Limited(Some(std::time::Duration::from_secs(u64::MAX))),
                _ => Outcome::Failed("timeout"),
            },
        ),
        Input::Up(call, media, hears) => {
            let hears = hears.map(|n| leg(&name(n)));
            desk.connect_as(&con(&name(call)), &format!("media-{call}-{media}"), &Speaker::Caller, hears.as_ref());
        }
        Input::Down(call, media, in_order) => {
            let now = desk.now();
            let ended = ended(if in_order { "hangup" } else { "idle" }, true);
            desk.centre.media_ended(now, &con(&name(call)), &leg(&format!("media-{call}-{media}")), Some(&ended));
        }
        Input::Pause(call, paused) => drop(desk.pause(&name(call), paused)),
        Input::Dial => drop(desk.dial(to_agent())),
        Input::Wait(ms) => desk.pass(std::time::Duration::from_millis(ms)),
    }
    desk.wake(desk.now);
}

/// Ends every media leg, then waits until all is over and forgotten.
fn empty(desk: &mut Desk) {
    for id in desk.centre.newest_first() {
        let call = desk.centre.view(&id, desk.now().wall).unwrap();
        for open in call.record.legs.iter().filter(|leg| leg.ledger.is_none()) {
            let now = desk.now();
            desk.centre.media_ended(now, &call.id, &leg(&open.leg), Some(&ended("hangup", true)));
        }
    }
    desk.wake(desk.now);
    desk.pass_s(10_000);
    desk.assert_forgotten();
    let begun = desk.events.iter().filter(|event| matches!(event.body, Body::CallStarted(_))).count();
    assert_eq!(desk.records().len(), begun, "one record each");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_time_empties_it_all(inputs in vec(input(), 0..120), socket in any::<bool>()) {
        let target = if socket { flow(Target::Socket) } else { to_agent() };
        let mut desk = Desk::with([target], |limits| {
            limits.calls_max = 5;
            limits.participants_max = 4;
            limits.creations_max = 6;
        });
        desk.trusting = false;
        for input in inputs {
            give(&mut desk, input);
            let held = desk.centre.footprint();
            prop_assert!(held.calls <= 5 && held.scheduled <= 5 && held.waiting <= 6, "{held:?}");
            prop_assert!(held.legs <= 5 * (4 + 8) && held.conversations <= 5 * 5, "{held:?}");
        }
        empty(&mut desk);
    }
}

#[test]
fn thousands_of_strangers_in_one_call_are_bounded() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.answer("leg", "CON-1");
    for n in 0..5_000 {
        let (who, there) = (format!("leg-{n}"), format!("CON-x{n}"));
        desk.hear(None, &status_of(&who, "CON-1", "answered", desk.now)).unwrap();
        desk.hear(None, &status_of("leg", "CON-1", &format!("state-{n}"), desk.now)).unwrap();
        desk.hear(None, &transfer_of("leg", "CON-1", &there, desk.now)).unwrap();
        desk.pass(std::time::Duration::from_millis(5));
    }
    let held = desk.centre.footprint();
    assert!(held.legs <= 150 && held.conversations <= 51 && held.waiting <= 1_000 && held.calls == 1, "{held:?}");
    let record = desk.centre.view(&con("CON-1"), desk.now().wall).unwrap().record;
    assert!(record.participants.len() <= 50 && record.participants[0].states.len() <= 24);
}

#[test]
fn thousands_of_calls_are_bounded_and_their_places_come_back() {
    let mut desk = Desk::with([to_agent()], |limits| limits.calls_max = 100);
    let mut followed = 0;
    for n in 0..3_000 {
        let webhook = status_of(&format!("leg-{n}"), &format!("CON-{n}"), "completed", desk.now);
        followed += usize::from(desk.hear(None, &webhook).is_ok());
        desk.pass(std::time::Duration::from_millis(50));
        assert!(desk.centre.footprint().calls <= 100);
    }
    // Over after two seconds, and the first that was over makes room.
    assert_eq!(followed, 3_000);
    empty(&mut desk);
}

#[test]
fn a_clock_that_stands_still_or_is_at_its_end_breaks_nothing() {
    let mut desk = Desk::new(to_agent());
    desk.now = Moment(u64::MAX - 5);
    desk.answer("leg", "CON-1");
    desk.transfer(None, "leg", "CON-1", "CON-r");
    let now = desk.now();
    desk.centre.on_time(now);
    desk.status(None, "leg", "CON-1", "completed");
}
