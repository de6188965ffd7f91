//! What must hold whatever becomes of the webhooks. See [`crate::world`].

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sidetone::event::Body;

use crate::world::{Kind, Plan, World};

fn cases(cases: u32) -> ProptestConfig {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/properties.regressions");
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(kept)) as Box<_>);
    let default = ProptestConfig { failure_persistence, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

fn plans() -> impl Strategy<Value = Plan> {
    let kind = prop_oneof![Just(Kind::Agent), Just(Kind::Conversation), Just(Kind::Socket), Just(Kind::Outbound)];
    let share = |most| prop_oneof![2 => Just(0), 3 => 0_u64..most];
    let chaos = (share(100), share(60), prop_oneof![Just(0), 0_u64..5_000, 0_u64..60_000]);
    (any::<u64>(), 1_usize..5, 0_usize..4, kind, chaos, share(50), share(50), any::<bool>()).prop_map(
        |(seed, calls, strangers, target, (lost, doubled, late_ms), failing, limited, untagged)| Plan {
            seed,
            calls,
            strangers,
            target,
            lost,
            doubled,
            late_ms,
            failing,
            limited,
            untagged,
        },
    )
}

fn run(plan: &Plan) -> World {
    let mut world = World::new(plan.clone());
    world.run();
    world
}

/// Three calls a second, gapless numbers, schemas, no busy loop, no listener for a listener:
/// `Desk` checks these on the way.
fn check(plan: &Plan) -> Result<(), TestCaseError> {
    let world = run(plan);
    world.desk.assert_forgotten();
    prop_assert!(world.left_behind().is_empty(), "left behind: {:?}", world.left_behind());

    // Every call that began has one record, and nothing but late news after it.
    let mut streams: HashMap<_, (Vec<&str>, &str)> = HashMap::new();
    for event in &world.desk.events {
        let stream = streams.entry(&event.origin.leg).or_insert((Vec::new(), event.origin.conversation.as_str()));
        stream.0.push(event.body.kind());
    }
    for (kinds, call) in streams.values() {
        let records: Vec<_> = kinds.iter().enumerate().filter(|(_, kind)| **kind == "call.record.v1").collect();
        prop_assert_eq!(records.len(), 1, "{}: {:?}", call, kinds);
        let late = &kinds[records[0].0 + 1..];
        prop_assert!(!late.contains(&"call.capture.v1") && !late.contains(&"call.started.v1"), "{:?}", late);
    }
    let begun = streams.values().filter(|(_, call)| call.starts_with("CON-of-caller") || call.starts_with("OUT-"));
    prop_assert_eq!(begun.count(), plan.calls);

    // Nobody is asked to be heard more often than sockets failed, and whoever stayed is. A
    // creation whose reply was lost counts twice: of two sockets the one that is up may go.
    for ((call, hears), times) in &world.asked {
        let failed = world.failed.get(&(call.clone(), hears.clone())).copied().unwrap_or(0);
        // What moves is followed, at most there and once more while it is being made.
        let moves = if plan.strangers > 0 { 2 } else { 0 };
        // Whose end is told late or never is taken for one whose socket was lost, a few times.
        let missed = if plan.lost > 0 || plan.late_ms > 0 { 3 } else { 0 };
        prop_assert!(
            *times <= 1 + 2 * failed + moves + missed,
            "{call} {hears:?}: asked {times} times, {failed} failed"
        );
    }
    if plan.target != Kind::Socket && plan.limited == 0 {
        for (call, leg, stayed) in world.stayed.iter().filter(|(_, _, stayed)| *stayed > Duration::from_secs(240)) {
            // Whom no webhook told of cannot be known, nor one whose creation's reply was lost.
            if leg.as_str().starts_with("other") || (plan.failing > 0 && leg.as_str().starts_with("made")) {
                continue;
            }
            let asked = world.asked.contains_key(&(call.clone(), Some(leg.clone())))
                || world.asked.contains_key(&(call.clone(), None));
            prop_assert!(asked, "{leg} was in {call} for {stayed:?} and never to be heard");
        }
    }
    if plan.lost == 0 && plan.failing == 0 && plan.limited == 0 && plan.late_ms == 0 && plan.target != Kind::Socket {
        for event in &world.desk.events {
            if let Body::CallRecord(record) = &event.body {
                prop_assert!(!record.remarks.contains(&"mixed".to_owned()), "{:?}", record.remarks);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_becomes_of_the_webhooks_every_call_is_followed_to_its_end(plan in plans()) {
        check(&plan)?;
    }

    #[test]
    fn the_same_input_gives_the_same_output(plan in plans()) {
        let plan = Plan { calls: plan.calls.min(2), ..plan };
        prop_assert_eq!(run(&plan).desk.log, run(&plan).desk.log);
    }
}

#[test]
fn a_world_in_which_all_goes_well_is_heard_completely() {
    for target in [Kind::Agent, Kind::Conversation, Kind::Socket, Kind::Outbound] {
        let plan = Plan {
            seed: 11,
            calls: 4,
            strangers: 0,
            target,
            lost: 0,
            doubled: 0,
            late_ms: 0,
            failing: 0,
            limited: 0,
            untagged: false,
        };
        let world = run(&plan);
        assert_eq!(world.desk.records().len(), 4);
        for record in world.desk.records() {
            assert!(record.complete, "{target:?}: {:?}", record.remarks);
            assert!(!record.legs.is_empty());
        }
    }
}
