//! What is bounded, and what happens at the bound.

use serde_json::json;
use sidetone::control::Target;

use crate::desk::{CALLER, CON, Desk, ROOM, con, flow, leg, to_agent};

#[test]
fn a_call_beyond_the_bound_is_served_without_us() {
    let mut desk = Desk::with([to_agent()], |limits| limits.calls_max = 2);
    let followed = desk.answer("leg-1", "CON-1");
    desk.answer("leg-2", "CON-2");
    let events = desk.events.len();
    let served = desk.answer("leg-3", "CON-3");
    assert_eq!(desk.events.len(), events);
    assert!(String::from_utf8(served.to_vec()).unwrap().contains("\"connect\""), "the agent all the same");
    let webhook = crate::desk::status_of("leg-3", "CON-3", "answered", desk.now);
    assert!(desk.hear(None, &webhook).is_err());
    // The first that is over makes room.
    desk.status(None, "leg-1", "CON-1", "completed");
    desk.status(None, "leg-2", "CON-2", "completed");
    desk.pass_s(3);
    assert_ne!(desk.answer("leg-4", "CON-4"), served);
    assert_eq!((desk.centre.view(&con("CON-1"), desk.now().wall), desk.centre.footprint().calls), (None, 2));
    assert!(desk.centre.view(&con("CON-2"), desk.now().wall).is_some());
    assert_ne!(followed, served);
}

#[test]
fn views_show_who_can_be_commanded() {
    let mut desk = Desk::new(to_agent());
    desk.caller_in();
    desk.agent_in();
    let view = desk.centre.view(&con(CON), desk.now().wall).unwrap();
    let live: Vec<_> =
        view.live.iter().map(|(leg, role, region)| (leg.as_str(), role.as_str(), region.as_deref())).collect();
    assert_eq!(live, [(CALLER, "caller", Some("https://api-eu-3.vonage.com")), ("leg-agent", "agent", None)]);
    assert_eq!((desk.centre.state(&con(CON)), desk.centre.state(&con("CON-none"))), (Some(view.state), None));
    assert_eq!((view.state.as_str(), view.paused, desk.centre.newest_first().len()), ("open", false, 1));
}

#[test]
fn legs_beyond_the_bound_are_not_listened_to_and_ours_not_left_behind() {
    let mut desk = Desk::with([flow(Target::Conversation("room".into()))], |limits| limits.participants_max = 2);
    desk.caller_in();
    desk.stranger("leg-2");
    desk.stranger("leg-3");
    desk.pass_s(3);
    let mut n = 0;
    while let Some(create) = desk.creates.pop_front() {
        n += 1;
        assert!(n < 40, "it never ends");
        desk.made(&create.asked, &format!("ws-{n}"));
        desk.status(Some(&create.asked), &format!("ws-{n}"), ROOM, "failed");
        desk.pass_s(1);
    }
    let known: Vec<_> = desk.centre.view(&con(CON), desk.now().wall).unwrap().record.participants;
    assert!(known.len() <= 4, "{}", known.len());
    for n in 1..=n {
        let name = format!("ws-{n}");
        let over = known.iter().any(|who| who.participant == name && who.outcome.is_some());
        assert!(over || desk.hang_ups.contains(&leg(&name)), "{name} is left behind");
    }
    desk.status(None, CALLER, CON, "completed");
    for other in ["leg-2", "leg-3"] {
        desk.hear(None, &crate::desk::status_of(other, ROOM, "completed", desk.now)).unwrap();
    }
    desk.pass_s(40);
    assert!(!desk.record().complete);
}

#[test]
fn the_creation_queue_is_bounded_and_says_so() {
    let mut desk = Desk::with([flow(Target::Conversation("room".into()))], |limits| limits.creations_max = 4);
    for n in 0..12 {
        desk.answer(&format!("leg-{n}"), &format!("CON-{n}"));
        desk.transfer(None, &format!("leg-{n}"), &format!("CON-{n}"), ROOM);
        assert!(desk.centre.footprint().waiting <= 4);
    }
    assert!(desk.listening().iter().any(|said| said == "caller None queue_full"));
}

#[test]
fn odd_settings_make_no_busy_loop() {
    let mut desk = Desk::with([to_agent()], |limits| {
        limits.sweep_after = std::time::Duration::ZERO;
        limits.linger = std::time::Duration::ZERO;
        limits.linger_max = std::time::Duration::ZERO;
        limits.listener_timeout = std::time::Duration::ZERO;
        limits.remember = std::time::Duration::ZERO;
        limits.polls_per_second = 0;
        limits.creations_per_second = 0;
    });
    desk.answer(CALLER, CON);
    desk.transfer(None, CALLER, CON, ROOM);
    desk.stranger("leg-2");
    desk.pass_s(100);
    desk.status(None, CALLER, CON, "completed");
    desk.status(None, "leg-2", ROOM, "completed");
    desk.pass_s(10);
    assert_eq!(desk.records().len(), 1);
    desk.assert_forgotten();
}

#[test]
fn recordings_and_pauses_are_bounded() {
    let mut desk = Desk::with([to_agent()], |limits| limits.items_max = 4);
    desk.answer(CALLER, CON);
    for n in 0..20 {
        let url = format!("https://api.nexmo.com/v1/files/{n}");
        desk.hear(None, &json!({"recording_url": url, "conversation_uuid": CON})).unwrap();
        assert_eq!(desk.pause(CON, true), Ok(true));
        assert_eq!(desk.pause(CON, true), Ok(false));
        desk.pass_s(1);
        assert_eq!(desk.pause(CON, false), Ok(true));
    }
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(40);
    assert_eq!((desk.record().recordings.len(), desk.record().paused.len(), desk.count("recording")), (4, 4, 20));
    assert!(desk.pause("CON-other", true).is_err());
}
