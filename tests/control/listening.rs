//! Sockets that are refused, fail, get lost, come early, or hear whom they should not.

use std::time::Duration;

use serde_json::{Value, json};
use sidetone::control::{Flow, Listen, Outcome, Target};

use crate::desk::{CALLER, CON, Create, Desk, ROOM, flow, leg, status_of};

/// A caller in a conversation of its own, and the socket asked for.
fn asked() -> (Desk, Create) {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    desk.transfer(None, CALLER, CON, ROOM);
    let create = desk.create();
    (desk, create)
}

#[test]
fn too_many_requests_are_waited_out_and_asked_again() {
    for (after, wait_ms) in [(None, 500), (Some(Duration::from_secs(4)), 4_000)] {
        let (mut desk, create) = asked();
        desk.reply(&create.asked, Outcome::Limited(after));
        desk.pass(Duration::from_millis(wait_ms - 1));
        assert!(desk.creates.is_empty(), "{after:?}");
        desk.pass(Duration::from_millis(1));
        let again = desk.create();
        assert_eq!(again.asked, create.asked);
        desk.heard(&again);
        assert_eq!(desk.listening(), ["caller Separate -"]);
    }
}

#[test]
fn three_a_second_are_shared_by_all_calls_and_nobody_is_forgotten() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    for n in 0..20 {
        desk.answer(&format!("leg-{n}"), &format!("CON-{n}"));
        desk.transfer(None, &format!("leg-{n}"), &format!("CON-{n}"), &format!("CON-room-{n}"));
        desk.pass(Duration::from_millis(7));
    }
    // `Desk::check_create` counts; here only that all come, in their order.
    desk.pass_s(8);
    let heard: Vec<_> = desk.creates.iter().map(|create| create.asked.hears.clone().unwrap()).collect();
    assert_eq!(heard, (0..20).map(|n| leg(&format!("leg-{n}"))).collect::<Vec<_>>());
}

#[test]
fn a_socket_that_fails_is_tried_again_then_one_for_all_then_none() {
    let (mut desk, mut create) = asked();
    for n in 0..3 {
        assert_eq!(create.asked.hears, Some(leg(CALLER)), "{n}");
        desk.made(&create.asked, &format!("ws-{n}"));
        desk.status(Some(&create.asked), &format!("ws-{n}"), ROOM, "failed");
        desk.pass_s(2);
        create = desk.create();
    }
    assert_eq!(create.asked.hears, None);
    for _ in 0..2 {
        desk.reply(&create.asked, Outcome::Failed("refused"));
        desk.pass_s(2);
        create = desk.create();
    }
    desk.reply(&create.asked, Outcome::Failed("refused"));
    desk.pass_s(60);
    assert!(desk.creates.is_empty());
    assert_eq!(desk.listening(), ["caller None socket_failed", "mixed None refused"]);
    // Who comes now is told to be unheard as well.
    desk.stranger("leg-other");
    desk.pass_s(3);
    assert_eq!(desk.listening().last().unwrap(), "participant None no_socket");
    assert!(desk.creates.is_empty());
}

#[test]
fn a_socket_that_never_connects_is_given_up_in_time() {
    let (mut desk, create) = asked();
    desk.made(&create.asked, "ws-1");
    desk.pass_s(10);
    assert_eq!(desk.hang_ups, [leg("ws-1")]);
    let mixed = desk.create();
    desk.heard(&mixed);
    assert_eq!(desk.listening(), ["caller None timeout", "mixed Mixed -"]);
    desk.status(None, CALLER, CON, "completed");
    desk.end(CON, "media-all", "hangup");
    desk.pass_s(40);
    assert_eq!(desk.hang_ups.last(), Some(&leg("ws-all")));
    assert_eq!((desk.record().complete, desk.record().remarks.contains(&"mixed".to_owned())), (false, true));
}

#[test]
fn a_socket_may_connect_before_its_creation_is_answered() {
    let (mut desk, create) = asked();
    desk.connect(CON, "media", Some(CALLER));
    desk.made(&create.asked, "ws-1");
    desk.pass_s(20);
    assert!(desk.creates.is_empty());
    desk.status(None, CALLER, CON, "completed");
    assert_eq!(desk.hang_ups, [leg("ws-1")]);
}

#[test]
fn a_creation_answered_after_who_is_heard_left_is_hung_up() {
    let (mut desk, create) = asked();
    desk.status(None, CALLER, CON, "completed");
    desk.made(&create.asked, "ws-1");
    assert_eq!(desk.hang_ups, [leg("ws-1")]);
}

#[test]
fn a_creation_whose_answer_is_lost_leaves_one_socket_in_the_end() {
    let (mut desk, first) = asked();
    desk.reply(&first.asked, Outcome::Failed("timeout"));
    desk.status(Some(&first.asked), "ws-1", ROOM, "started");
    desk.pass_s(1);
    desk.connect(CON, "media-1", Some(CALLER));
    for second in std::mem::take(&mut desk.creates) {
        desk.connect(CON, "media-2", Some(CALLER));
        desk.made(&second.asked, "ws-2");
        assert_eq!(desk.hang_ups, [leg("ws-2")]);
        desk.end(CON, "media-2", "hangup");
    }
    desk.pass_s(20);
    assert!(desk.creates.is_empty(), "the first hears all the time");
    assert_eq!(desk.listening(), ["caller Separate -"]);
}

#[test]
fn a_lost_socket_is_made_again_at_once_and_the_gap_is_told() {
    let (mut desk, create) = asked();
    desk.heard(&create);
    desk.pass_s(30);
    desk.end(CON, "media-leg-caller", "connection_lost");
    let again = desk.create();
    assert_eq!(desk.hang_ups, [leg("ws-leg-caller")]);
    desk.made(&again.asked, "ws-2");
    desk.connect(CON, "media-2", Some(CALLER));
    desk.status(Some(&create.asked), "ws-leg-caller", ROOM, "completed");
    assert_eq!(desk.listening(), ["caller Separate -", "caller Ended socket_lost", "caller Separate -"]);
    desk.pass_s(5);
    desk.status(None, CALLER, CON, "completed");
    desk.end(CON, "media-2", "hangup");
    desk.pass_s(40);
    assert!(desk.creates.is_empty());
    assert!(!desk.record().complete, "what was said meanwhile was heard by nobody");
}

#[test]
fn a_call_that_ends_sockets_first_asks_for_no_other() {
    let (mut desk, create) = asked();
    desk.heard(&create);
    desk.end(CON, "media-leg-caller", "hangup");
    desk.status(Some(&create.asked), "ws-leg-caller", ROOM, "completed");
    desk.pass_s(1);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(5);
    assert!(desk.creates.is_empty());
    assert!(desk.record().complete);
    assert_eq!(desk.listening(), ["caller Separate -", "caller Ended -"]);
}

#[test]
fn our_own_sockets_are_never_listened_to() {
    let (mut desk, create) = asked();
    // Everything about it untagged, and before the creation is answered.
    desk.transfer(None, "ws-1", "CON-w", ROOM);
    desk.pass_s(5);
    desk.made(&create.asked, "ws-1");
    desk.connect(CON, "media", Some(CALLER));
    desk.transfer(None, "ws-1", "CON-w", ROOM);
    desk.status(None, "ws-1", ROOM, "answered");
    desk.pass_s(20);
    assert!(desk.creates.is_empty());
    assert_eq!((desk.count("joined"), desk.count("answered")), (1, 1), "the caller's");
    desk.status(None, "ws-1", ROOM, "completed");
    assert_eq!(desk.count("completed"), 0);
}

#[test]
fn a_socket_told_apart_too_late_is_let_go_of() {
    let (mut desk, create) = asked();
    desk.transfer(None, "ws-1", "CON-w", ROOM);
    // Longer than any creation takes to be answered.
    desk.pass_s(11);
    while let Some(create) = desk.creates.pop_front() {
        desk.reply(&create.asked, Outcome::Limited(Some(Duration::from_secs(60))));
    }
    desk.made(&create.asked, "ws-1");
    desk.pass_s(120);
    assert!(desk.creates.iter().all(|create| create.asked.hears != Some(leg("ws-1"))));
}

#[test]
fn a_stranger_in_the_conversation_is_heard_as_well() {
    let (mut desk, create) = asked();
    desk.heard(&create);
    desk.stranger("leg-supervisor");
    desk.pass_s(3);
    let create = desk.create();
    assert_eq!(create.asked.hears, Some(leg("leg-supervisor")));
    desk.heard(&create);
    desk.status(None, "leg-supervisor", ROOM, "completed");
    assert_eq!(desk.hang_ups, [leg("ws-leg-supervisor")]);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(40);
    let roles: Vec<_> = desk.record().participants.iter().map(|who| who.role.clone()).collect();
    assert_eq!(roles, ["caller", "listener", "participant", "listener"]);
}

#[test]
fn a_socket_follows_whom_it_hears_into_another_conversation_and_back() {
    let (mut desk, create) = asked();
    desk.heard(&create);
    desk.pass_s(1);
    desk.transfer(None, CALLER, ROOM, "CON-elsewhere");
    assert_eq!(desk.hang_ups, [leg("ws-leg-caller")]);
    let there = desk.create();
    let ncco = serde_json::to_value(&there.call).unwrap()["ncco"][0].clone();
    assert_eq!(
        ncco,
        json!({"action": "transfer", "conversationId": "CON-elsewhere", "canHear": [CALLER], "canSpeak": []})
    );
    desk.made(&there.asked, "ws-2");
    desk.connect(CON, "media-2", Some(CALLER));
    desk.end(CON, "media-leg-caller", "hangup");
    desk.pass_s(5);
    // Told late, it changes nothing.
    desk.hear(None, &crate::desk::transfer_of(CALLER, CON, ROOM, sidetone::types::Moment::from_ms(900))).unwrap();
    assert!(desk.creates.is_empty());
    desk.transfer(None, CALLER, "CON-elsewhere", ROOM);
    let back = serde_json::to_value(&desk.create().call).unwrap()["ncco"][0].clone();
    assert_eq!(back["name"], "room");
    assert_eq!(desk.count("transferred"), 2);
}

#[test]
fn the_flows_own_socket_is_given_back_a_few_times_and_to_a_repeated_question() {
    let mut desk = Desk::new(flow(Target::Socket));
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    let tag =
        sidetone::control::Tag { call: crate::desk::con(CON), role: sidetone::control::Role::Listener, hears: None };
    let action = |ncco: &sidetone::vonage::ncco::Ncco| {
        let ncco: Value = serde_json::from_slice(&ncco.to_bytes()).unwrap();
        ncco[0]["action"].as_str().unwrap().to_owned()
    };
    for n in 0..4 {
        let (ws, media) = (format!("ws-{n}"), format!("media-{n}"));
        desk.status(Some(&tag), &ws, CON, "answered");
        desk.connect(CON, &media, Some(CALLER));
        desk.pass_s(1);
        desk.end(CON, &media, "connection_lost");
        let reply = desk.status(Some(&tag), &ws, CON, "disconnected").unwrap();
        assert_eq!(action(&reply), if n < 3 { "connect" } else { "talk" });
        assert_eq!(desk.status(Some(&tag), &ws, CON, "disconnected"), Some(reply), "Vonage did not hear it");
        desk.status(Some(&tag), &ws, CON, "completed");
    }
    assert!(desk.hang_ups.is_empty() && desk.creates.is_empty());
    assert_eq!(desk.listening().iter().filter(|said| *said == "caller Separate -").count(), 4);
}

#[test]
fn the_flows_own_socket_that_fails_is_told_to_the_caller() {
    let mut desk = Desk::new(flow(Target::Socket));
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    let tag =
        sidetone::control::Tag { call: crate::desk::con(CON), role: sidetone::control::Role::Listener, hears: None };
    let reply = desk.status(Some(&tag), "ws", CON, "failed").unwrap();
    assert!(String::from_utf8(reply.to_bytes()).unwrap().contains("Nobody can take your call now."));
    assert_eq!(desk.listening(), ["caller None socket_failed"]);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(40);
    assert_eq!((desk.record().complete, &desk.record().remarks[..]), (false, &["unheard".to_owned()][..]));
}

#[test]
fn a_mixed_socket_that_is_lost_is_made_again() {
    let mut desk = Desk::new(Flow { listen: Listen::Mixed, ..flow(Target::Conversation("room".into())) });
    desk.answer(CALLER, CON);
    desk.transfer(None, CALLER, CON, ROOM);
    let create = desk.create();
    desk.heard(&create);
    desk.end(CON, "media-all", "idle");
    assert_eq!(desk.create().asked.hears, None);
}

#[test]
fn a_stranger_that_the_api_knows_for_a_socket_is_not_listened_to() {
    let (mut desk, create) = asked();
    desk.heard(&create);
    desk.polls.clear();
    desk.transfer(None, "ws-unknown", "CON-w", ROOM);
    assert_eq!(desk.polls.pop_front().unwrap().1, leg("ws-unknown"));
    let found = json!({"status": "answered", "to": {"type": "websocket"}, "conversation_uuid": ROOM});
    desk.found(CON, "ws-unknown", Outcome::Done(found));
    desk.pass_s(20);
    assert!(desk.creates.is_empty());
    assert_eq!(desk.count("joined"), 1, "the caller's");
}

#[test]
fn a_socket_that_fails_before_its_creation_is_answered_is_made_again() {
    for tagged in [true, false] {
        let (mut desk, create) = asked();
        let mut webhook = status_of("ws-1", CON, "failed", desk.now);
        (webhook["to"], webhook["direction"]) = ("wss://gw.example/media".into(), "outbound".into());
        desk.hear(tagged.then_some(&create.asked), &webhook).unwrap();
        if tagged {
            // The second is asked for, then the first one's reply comes.
            desk.pass_s(2);
        }
        desk.made(&create.asked, "ws-1");
        desk.pass_s(2);
        let again = desk.create();
        desk.made(&again.asked, "ws-2");
        desk.connect(CON, "media-2", Some(CALLER));
        desk.pass_s(15);
        assert_eq!(desk.listening(), ["caller Separate -"], "{tagged}");
        assert!(desk.hang_ups.is_empty() && desk.creates.is_empty(), "{tagged}: {:?}", desk.hang_ups);
    }
}
