//! The agent's leg: not reached, too late, in vain.

use std::time::Duration;

use sidetone::control::{Asked, Outcome, Role};

use crate::desk::{CALLER, CON, Desk, ROOM, leg, made, status_of, to_agent};

/// The caller is heard, and an agent is asked for.
fn rung() -> (Desk, Asked) {
    let mut desk = Desk::new(to_agent());
    desk.caller_in();
    let create = desk.create();
    assert_eq!(create.asked.role, Role::Agent);
    (desk, create.asked)
}

#[test]
fn a_caller_whose_agent_does_not_come_is_told_once() {
    for outcome in ["busy", "unanswered", "rejected", "timeout", "failed", "cancelled", "completed"] {
        let (mut desk, agent) = rung();
        desk.made(&agent, "leg-agent");
        desk.status(Some(&agent), "leg-agent", "CON-a", "ringing");
        for status in [outcome, outcome, "completed", "completed"] {
            desk.pass_s(1);
            let mut webhook = status_of("leg-agent", "CON-a", status, desk.now);
            webhook["duration"] = "0".into();
            desk.hear(Some(&agent), &webhook).unwrap();
        }
        assert_eq!(desk.transfers.iter().map(|(leg, _)| leg.clone()).collect::<Vec<_>>(), [leg(CALLER)], "{outcome}");
        assert_eq!(desk.count("failed"), usize::from(outcome != "completed"), "{outcome}");
        assert_eq!(desk.count("completed"), 1, "{outcome}");
        desk.status(None, CALLER, CON, "completed");
        desk.pass_s(40);
        desk.record();
    }
}

#[test]
fn an_agent_who_talked_and_left_leaves_nothing_to_be_told() {
    let (mut desk, agent) = rung();
    desk.made(&agent, "leg-agent");
    // Out of order: it is over before we hear that it answered.
    desk.transfer(Some(&agent), "leg-agent", "CON-a", ROOM);
    desk.status(Some(&agent), "leg-agent", "CON-a", "completed");
    desk.status(Some(&agent), "leg-agent", "CON-a", "answered");
    assert!(desk.transfers.is_empty());
    // All that we hear is its end, with the time that is billed.
    let (mut desk, agent) = rung();
    desk.made(&agent, "leg-agent");
    desk.status(Some(&agent), "leg-agent", "CON-a", "completed");
    assert!(desk.transfers.is_empty());
}

#[test]
fn an_agent_that_still_rings_when_the_caller_leaves_is_hung_up() {
    let (mut desk, agent) = rung();
    desk.made(&agent, "leg-agent");
    desk.status(Some(&agent), "leg-agent", "CON-a", "ringing");
    desk.status(None, CALLER, CON, "completed");
    assert!(desk.hang_ups.contains(&leg("leg-agent")));
    assert!(desk.transfers.is_empty());
}

#[test]
fn an_agent_made_after_the_caller_left_is_hung_up_however_late() {
    for wait_s in [0, 10, 60, 2_000] {
        let (mut desk, agent) = rung();
        desk.status(None, CALLER, CON, "completed");
        desk.pass_s(wait_s);
        desk.made(&agent, "leg-agent");
        assert_eq!(desk.hang_ups.iter().filter(|known| **known == leg("leg-agent")).count(), 1, "{wait_s}");
        desk.status(Some(&agent), "leg-agent", "CON-a", "ringing");
        desk.status(Some(&agent), "leg-agent", "CON-a", "completed");
        desk.pass_s(2_000);
        desk.assert_forgotten();
    }
}

#[test]
fn a_caller_who_leaves_while_the_agent_waits_for_its_turn_costs_no_call() {
    let mut desk = Desk::with([to_agent()], |limits| limits.creations_per_second = 1);
    desk.answer("leg-1", "CON-1");
    desk.transfer(None, "leg-1", "CON-1", "CON-r1");
    desk.answer("leg-2", "CON-2");
    desk.transfer(None, "leg-2", "CON-2", "CON-r2");
    assert_eq!(desk.creates.len(), 1);
    desk.status(None, "leg-2", "CON-2", "completed");
    desk.pass_s(10);
    assert!(desk.creates.iter().all(|create| create.asked.call.as_str() == "CON-1"));
}

#[test]
fn an_agent_whose_creation_fails_is_not_waited_for() {
    for outcome in [Outcome::Failed("unauthorized"), Outcome::Gone, Outcome::Done(made(""))] {
        let (mut desk, agent) = rung();
        desk.reply(&agent, outcome);
        assert_eq!((desk.transfers.len(), desk.count("failed")), (1, 1));
    }
    let mut desk = Desk::of([to_agent()], false, |_| {});
    desk.answer(CALLER, CON);
    desk.transfer(None, CALLER, CON, ROOM);
    assert_eq!(desk.count("failed"), 1);
    assert_eq!(desk.listening(), ["caller None no_api", "mixed None no_api"]);
}

#[test]
fn an_agent_that_can_never_be_created_is_given_up_in_time() {
    let (mut desk, agent) = rung();
    desk.reply(&agent, Outcome::Limited(Some(Duration::from_secs(1_000_000))));
    desk.pass_s(31);
    assert_eq!((desk.transfers.len(), desk.count("failed")), (1, 1));
    desk.pass_s(60);
    assert!(desk.creates.is_empty());
}

#[test]
fn an_agent_that_comes_after_all_is_hung_up() {
    let (mut desk, agent) = rung();
    desk.reply(&agent, Outcome::Failed("timeout"));
    assert_eq!(desk.transfers.len(), 1);
    desk.status(Some(&agent), "leg-agent", "CON-a", "ringing");
    assert_eq!(desk.hang_ups, [leg("leg-agent")]);
    assert_eq!(desk.transfers.len(), 1);
}

#[test]
fn a_call_of_ours_that_is_not_reached_or_not_made_is_over() {
    let mut desk = Desk::new(to_agent());
    let call = desk.dial(to_agent()).unwrap();
    let create = desk.create();
    desk.made(&create.asked, "leg-out");
    desk.status(Some(&create.asked), "leg-out", "CON-out", "busy");
    desk.pass_s(3);
    assert_eq!(desk.record().participants[0].outcome.as_deref(), Some("busy"));
    assert_eq!(desk.forgotten, [call]);

    let mut desk = Desk::new(to_agent());
    desk.dial(to_agent()).unwrap();
    let create = desk.create();
    desk.reply(&create.asked, Outcome::Failed("timeout"));
    desk.pass_s(3);
    assert_eq!(desk.kinds(), ["started", "failed", "record"]);
    // The reply was lost, the leg was not.
    desk.status(Some(&create.asked), "leg-out", "CON-out", "ringing");
    assert_eq!(desk.hang_ups, [leg("leg-out")]);
    desk.pass_s(700);
    desk.assert_forgotten();
}

#[test]
fn a_call_of_ours_that_cannot_be_asked_for_leaves_nothing_behind() {
    let mut desk = Desk::of([to_agent()], false, |_| {});
    assert_eq!(desk.dial(to_agent()), Err("no_api"));
    let mut desk = Desk::with([to_agent()], |limits| limits.creations_max = 0);
    assert_eq!(desk.dial(to_agent()), Err("queue_full"));
    desk.assert_forgotten();
    let mut desk = Desk::with([to_agent()], |limits| limits.calls_max = 0);
    assert_eq!(desk.dial(to_agent()), Err("calls_full"));
    assert!(desk.events.is_empty());
}
