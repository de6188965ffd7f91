//! Calls on which nothing goes wrong, one of each kind of flow.

use serde_json::{Value, json};
use sidetone::control::{Flow, Listen, Role, Target};
use sidetone::types::Speaker;

use crate::desk::{CALLER, CON, Desk, ROOM, con, flow, leg, to_agent};

fn actions(ncco: &[u8]) -> Vec<String> {
    let ncco: Value = serde_json::from_slice(ncco).unwrap();
    ncco.as_array().unwrap().iter().map(|action| action["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_caller_and_an_agent_are_heard_apart_and_one_record_tells_it() {
    let mut desk = Desk::new(to_agent());
    let reply = desk.answer(CALLER, CON);
    assert_eq!(actions(&reply), ["talk", "conversation"]);
    desk.status(None, CALLER, CON, "started");
    desk.status(None, CALLER, CON, "answered");
    assert!(desk.creates.is_empty(), "nobody is rung or heard before the caller is in the conversation");
    desk.transfer(None, CALLER, CON, ROOM);

    let agent = desk.create();
    assert_eq!((agent.asked.role.clone(), agent.asked.call.clone()), (Role::Agent, con(CON)));
    let listener = desk.create();
    assert_eq!((listener.asked.role.clone(), listener.asked.hears.clone()), (Role::Listener, Some(leg(CALLER))));
    let ncco = serde_json::to_value(&listener.call).unwrap()["ncco"][0].clone();
    assert_eq!((&ncco["canHear"], &ncco["name"]), (&json!([CALLER]), &json!("sidetone-CON-1")));
    desk.heard(&listener);

    desk.made(&agent.asked, "leg-agent");
    desk.status(Some(&agent.asked), "leg-agent", "CON-a", "ringing");
    desk.status(Some(&agent.asked), "leg-agent", "CON-a", "answered");
    desk.transfer(Some(&agent.asked), "leg-agent", "CON-a", ROOM);
    let second = desk.create();
    assert_eq!(second.asked.hears, Some(leg("leg-agent")));
    desk.heard(&second);
    desk.pass_s(20);
    assert_eq!(desk.listening(), ["caller Separate -", "agent Separate -"]);

    // The caller hangs up; the conversation ends with it, sockets first.
    desk.end(CON, "media-leg-caller", "hangup");
    desk.end(CON, "media-leg-agent", "hangup");
    desk.status(None, CALLER, CON, "completed");
    desk.status(Some(&agent.asked), "leg-agent", "CON-a", "completed");
    assert_eq!(desk.hang_ups, [leg("ws-leg-caller"), leg("leg-agent"), leg("ws-leg-agent")]);
    desk.status(Some(&listener.asked), "ws-leg-caller", ROOM, "completed");
    desk.status(Some(&second.asked), "ws-leg-agent", ROOM, "completed");
    assert_eq!(desk.count("record"), 0, "late news is awaited");
    desk.pass_s(3);

    assert!(desk.creates.is_empty() && desk.polls.is_empty() && desk.transfers.is_empty());
    let record = desk.record();
    assert_eq!((record.complete, &record.remarks[..]), (true, &[][..]));
    assert_eq!((record.participants.len(), record.legs.len()), (4, 2));
    assert!(record.legs.iter().all(|leg| leg.ledger.is_some() && leg.complete));
    assert!((record.price - 1.0).abs() < 1e-9, "our sockets are billed too: {}", record.price);
    assert_eq!(
        desk.kinds(),
        [
            "started",
            "updated",
            "answered",
            "joined",
            "listening",
            "updated",
            "answered",
            "joined",
            "listening",
            "completed",
            "listening",
            "completed",
            "listening",
            "record"
        ]
    );
    assert_eq!(desk.forgotten, [con(CON)]);
    desk.pass_s(700);
    desk.assert_forgotten();
}

#[test]
fn a_socket_of_the_flow_is_heard_without_asking_for_any() {
    let mut desk = Desk::new(flow(Target::Socket));
    let reply: Value = serde_json::from_slice(&desk.answer(CALLER, CON)).unwrap();
    assert_eq!(reply[1]["endpoint"][0]["type"], "websocket");
    desk.status(None, CALLER, CON, "answered");
    // What is said first may take its time.
    desk.pass_s(25);
    desk.connect(CON, "media", Some(CALLER));
    desk.pass_s(10);
    assert_eq!(desk.listening(), ["caller Separate -"]);
    desk.status(None, CALLER, CON, "completed");
    desk.end(CON, "media", "hangup");
    desk.pass_s(3);
    assert!(desk.creates.is_empty());
    assert!(desk.record().complete, "{:?}", desk.record().remarks);
}

#[test]
fn those_who_meet_in_a_named_conversation_are_heard_each() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    for caller in ["leg-a", "leg-b"] {
        let con = format!("CON-{caller}");
        desk.answer(caller, &con);
        desk.status(None, caller, &con, "answered");
        desk.transfer(None, caller, &con, ROOM);
        let create = desk.create();
        assert_eq!(create.asked.call.as_str(), con, "each is a call of its own");
        let ncco = serde_json::to_value(&create.call).unwrap()["ncco"][0].clone();
        assert_eq!(ncco["name"], "room");
        desk.heard(&create);
    }
    for caller in ["leg-a", "leg-b"] {
        let con = format!("CON-{caller}");
        desk.status(None, caller, &con, "completed");
        desk.end(&con, &format!("media-{caller}"), "hangup");
        desk.pass_s(40);
    }
    assert_eq!(desk.records().len(), 2);
    assert!(desk.records().iter().all(|record| record.complete && record.participants.len() == 2));
}

#[test]
fn one_socket_for_all_or_none_where_the_flow_says_so() {
    let mut desk = Desk::new(Flow { listen: Listen::Mixed, ..to_agent() });
    desk.answer(CALLER, CON);
    desk.transfer(None, CALLER, CON, ROOM);
    assert_eq!(desk.create().asked.role, Role::Agent);
    let mixed = desk.create();
    assert_eq!((mixed.asked.role.clone(), mixed.asked.hears.clone()), (Role::Mixed, None));
    desk.heard(&mixed);
    desk.transfer(None, "leg-agent", "CON-a", ROOM);
    desk.pass_s(3);
    assert!(desk.creates.is_empty(), "the second is heard already");
    assert_eq!(desk.listening(), ["mixed Mixed -"]);

    let mut desk = Desk::new(Flow { listen: Listen::Off, ..to_agent() });
    desk.caller_in();
    assert_eq!(desk.create().asked.role, Role::Agent);
    assert!(desk.creates.is_empty());
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3);
    assert!(desk.record().complete);
}

#[test]
fn a_call_of_ours_goes_through_the_flow_like_a_callers() {
    let mut desk = Desk::new(to_agent());
    let call = desk.dial(to_agent()).unwrap();
    let create = desk.create();
    assert_eq!((create.asked.role.clone(), &create.asked.call), (Role::Caller, &call));
    desk.made(&create.asked, "leg-out");
    desk.status(Some(&create.asked), "leg-out", "CON-out", "ringing");
    desk.status(Some(&create.asked), "leg-out", "CON-out", "answered");
    desk.transfer(Some(&create.asked), "leg-out", "CON-out", ROOM);
    assert_eq!(desk.create().asked.role, Role::Agent);
    let listener = desk.create();
    desk.heard(&listener);
    desk.status(Some(&create.asked), "leg-out", "CON-out", "completed");
    desk.end(call.as_str(), "media-leg-out", "hangup");
    desk.status(Some(&listener.asked), "ws-leg-out", ROOM, "completed");
    desk.pass_s(60);
    let record = desk.record();
    assert_eq!((record.direction.as_deref(), record.complete), (Some("outbound"), true));
    assert_eq!(record.remarks, Vec::<String>::new());
}

#[test]
fn a_call_of_ours_that_ends_at_our_socket_is_heard_by_its_leg() {
    let mut desk = Desk::new(flow(Target::Socket));
    let call = desk.dial(flow(Target::Socket)).unwrap();
    let create = desk.create();
    desk.made(&create.asked, "leg-out");
    desk.status(Some(&create.asked), "leg-out", "CON-out", "answered");
    // The leg was not known when the socket's token was written.
    desk.connect_as(&call, "media", &Speaker::Caller, None);
    assert_eq!(desk.listening(), ["caller Separate -"]);
    desk.end(call.as_str(), "media", "hangup");
    desk.status(Some(&create.asked), "leg-out", "CON-out", "completed");
    desk.pass_s(3);
    let record = desk.record();
    assert_eq!(record.legs[0].participant.as_deref(), Some("leg-out"));
    assert!(record.complete);
}

#[test]
fn without_room_to_listen_the_caller_is_served_all_the_same() {
    let mut desk = Desk::new(to_agent());
    let reply = desk.answer_if(CALLER, CON, false);
    assert_eq!(actions(&reply), ["talk", "conversation"]);
    desk.transfer(None, CALLER, CON, ROOM);
    assert_eq!(desk.create().asked.role, Role::Agent);
    assert!(desk.creates.is_empty());
    assert_eq!(desk.listening(), ["caller None capacity"]);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3);
    assert_eq!((desk.record().complete, &desk.record().remarks[..]), (false, &["unheard".to_owned()][..]));
}
