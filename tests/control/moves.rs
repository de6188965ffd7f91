//! Who comes, who moves, and whose a conversation is that calls share.

use serde_json::json;
use sidetone::control::{Outcome, Role, Tag, Target};

use crate::desk::{CALLER, CON, Desk, ROOM, con, flow, leg, status_of, to_agent};

#[test]
fn who_comes_as_the_others_leave_is_followed() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.caller_in();
    desk.status(None, CALLER, CON, "completed");
    desk.stranger("leg-other");
    desk.pass_s(5);
    let create = desk.create();
    assert_eq!(create.asked.hears, Some(leg("leg-other")));
    desk.heard(&create);
    desk.end(CON, "media-leg-caller", "hangup");
    desk.pass_s(60);
    assert_eq!((desk.count("record"), desk.centre.live_calls()), (0, 1));
    desk.status(None, "leg-other", ROOM, "completed");
    desk.end(CON, "media-leg-other", "hangup");
    desk.pass_s(40);
    assert!(desk.record().complete, "{:?}", desk.record().remarks);
}

#[test]
fn who_comes_as_the_others_leave_is_waited_for_until_known() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.caller_in();
    // Nobody answers who that is before the others' quiet is over.
    desk.transfer(None, "leg-other", "CON-o", ROOM);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(12);
    assert_eq!(desk.count("record"), 0);
    let create = desk.creates.pop_back().unwrap();
    assert_eq!(create.asked.hears, Some(leg("leg-other")));
}

#[test]
fn a_conversation_shared_by_calls_is_the_first_ones_until_that_is_over() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    for caller in ["leg-a", "leg-b"] {
        let con = format!("CON-{caller}");
        desk.answer(caller, &con);
        desk.transfer(None, caller, &con, ROOM);
        let create = desk.create();
        desk.heard(&create);
    }
    desk.stranger("leg-s");
    desk.pass_s(3);
    assert_eq!(desk.creates.back().unwrap().asked.call, con("CON-leg-a"));
    // Each leg stays with its call.
    desk.status(None, "leg-b", ROOM, "completed");
    let ended: Vec<_> = desk.events.iter().filter(|event| event.body.kind() == "call.completed.v1").collect();
    assert_eq!(ended[0].origin.conversation, con("CON-leg-b"));
}

#[test]
fn a_conversation_goes_on_to_the_call_that_sits_in_it() {
    for gone_s in [0, 60] {
        let mut desk = Desk::new(flow(Target::Conversation("room".into())));
        for caller in ["leg-a", "leg-b", "leg-c"] {
            let con = format!("CON-{caller}");
            desk.answer(caller, &con);
            desk.transfer(None, caller, &con, ROOM);
            let create = desk.create();
            desk.heard(&create);
            desk.pass_s(1);
        }
        // It was the first one's, who is still missed or long forgotten.
        desk.status(None, "leg-a", ROOM, "completed");
        desk.pass_s(gone_s);
        desk.stranger("leg-s");
        desk.pass_s(3);
        let create = desk.create();
        assert_eq!((create.asked.call.clone(), create.asked.hears.clone()), (con("CON-leg-b"), Some(leg("leg-s"))));
        // News that names nothing but the first call's own conversation is its own.
        desk.hear(
            None,
            &json!({"recording_url": "https://api.nexmo.com/v1/files/1", "conversation_uuid": "CON-leg-a"}),
        )
        .unwrap();
        let recording = desk.events.iter().rfind(|event| event.body.kind() == "call.recording.v1").unwrap();
        assert_eq!(recording.origin.conversation, con("CON-leg-a"));
    }
}

#[test]
fn somebody_whose_own_webhooks_come_before_they_join_is_of_the_call_they_join() {
    for told in [&["started"][..], &["started", "ringing", "answered"]] {
        let mut desk = Desk::new(flow(Target::Conversation("room".into())));
        desk.caller_in();
        for status in told {
            let mut webhook = status_of("leg-supervisor", "CON-own", status, desk.now);
            webhook["direction"] = "outbound".into();
            desk.hear(None, &webhook).unwrap();
        }
        desk.transfer(None, "leg-supervisor", "CON-own", ROOM);
        let create = desk.create();
        assert_eq!((create.asked.call.clone(), create.asked.hears.clone()), (con(CON), Some(leg("leg-supervisor"))));
        desk.heard(&create);
        desk.status(None, "leg-supervisor", ROOM, "completed");
        desk.end(CON, "media-leg-supervisor", "hangup");
        desk.pass_s(5);
        // What was published of them before is closed; where nothing was, nothing is.
        let own = desk.records().len();
        assert_eq!(own, usize::from(told.len() > 1), "{told:?}");
        desk.status(None, CALLER, CON, "completed");
        desk.end(CON, "media-leg-caller", "hangup");
        desk.pass_s(40);
        let record = desk.records()[own];
        assert!(record.complete, "{:?}", record.remarks);
        let supervisor = record.participants.iter().find(|who| who.participant == "leg-supervisor").unwrap();
        assert_eq!((supervisor.role.as_str(), supervisor.states.len()), ("participant", told.len() + 1));
        desk.pass_s(700);
        desk.assert_forgotten();
    }
}

#[test]
fn a_caller_whom_we_answered_stays_the_caller_of_their_own_call() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    for caller in ["leg-a", "leg-b"] {
        let con = format!("CON-{caller}");
        desk.answer(caller, &con);
        desk.transfer(None, caller, &con, ROOM);
    }
    let calls: Vec<_> = desk.creates.iter().map(|create| create.asked.call.clone()).collect();
    assert_eq!(calls, [con("CON-leg-a"), con("CON-leg-b")]);
    // Nor does a socket of ours become somebody by the conversation it enters.
    let mut desk = Desk::new(to_agent());
    desk.caller_in();
    let tag = Tag { call: con("CON-other"), role: Role::Agent, hears: None };
    desk.status(Some(&tag), "leg-elsewhere", "CON-other", "answered");
    desk.transfer(Some(&tag), "leg-elsewhere", "CON-other", ROOM);
    let joined = desk.events.iter().rfind(|event| event.body.kind() == "call.joined.v1").unwrap();
    assert_eq!(joined.origin.conversation, con("CON-other"), "its tag says whose it is");
}

#[test]
fn a_socket_taken_for_one_of_the_call_that_shares_its_conversation_is_not_ended_with_that() {
    for tagged in [true, false] {
        let mut desk = Desk::new(flow(Target::Conversation("room".into())));
        for caller in ["leg-a", "leg-b"] {
            let con = format!("CON-{caller}");
            desk.answer(caller, &con);
            desk.transfer(None, caller, &con, ROOM);
        }
        let (first, second) = (desk.create(), desk.create());
        desk.heard(&first);
        // Its first news says nothing but the conversation, which is the first call's.
        desk.transfer(None, "ws-b", "CON-ws", ROOM);
        let found = json!({"status": "answered", "to": {"type": "websocket"}, "conversation_uuid": ROOM});
        desk.found("CON-leg-a", "ws-b", Outcome::Done(found));
        if tagged {
            desk.status(Some(&second.asked), "ws-b", ROOM, "answered");
        } else {
            desk.made(&second.asked, "ws-b");
        }
        desk.connect("CON-leg-b", "media-leg-b", Some("leg-b"));
        desk.status(None, "leg-a", ROOM, "completed");
        desk.end("CON-leg-a", "media-leg-a", "hangup");
        desk.pass_s(60);
        assert!(!desk.hang_ups.contains(&leg("ws-b")), "{tagged}");
        desk.status(None, "leg-b", ROOM, "completed");
        assert!(desk.hang_ups.contains(&leg("ws-b")), "{tagged}");
    }
}
