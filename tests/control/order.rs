//! Webhooks that come twice, early, late, or in another order.

use serde_json::json;
use sidetone::control::{Role, Target};

use crate::desk::{CALLER, CON, Desk, ROOM, flow, status_of, to_agent};

#[test]
fn a_repeated_answer_gets_the_same_bytes_and_has_no_second_effect() {
    let mut desk = Desk::new(to_agent());
    let first = desk.answer(CALLER, CON);
    desk.pass_s(3);
    assert_eq!(desk.answer(CALLER, CON), first);
    desk.transfer(None, CALLER, CON, ROOM);
    assert_eq!(desk.answer(CALLER, CON), first);
    assert_eq!((desk.count("started"), desk.creates.len()), (1, 2));

    // A socket's token is signed anew for each answer; a repetition must not get another.
    let mut desk = Desk::new(flow(Target::Socket));
    let first = desk.answer(CALLER, CON);
    desk.pass_s(3);
    assert_eq!(desk.answer(CALLER, CON), first);
}

#[test]
fn events_before_the_answer_are_the_same_call() {
    let mut desk = Desk::new(to_agent());
    desk.status(None, CALLER, CON, "started");
    desk.status(None, CALLER, CON, "ringing");
    assert!(desk.events.is_empty(), "the answer says more about how it began");
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    assert_eq!(desk.kinds(), ["started", "answered"]);

    let mut desk = Desk::new(to_agent());
    desk.status(None, CALLER, CON, "answered");
    desk.answer(CALLER, CON);
    desk.transfer(None, CALLER, CON, ROOM);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3);
    let record = desk.record();
    assert_eq!(
        (record.flow.as_deref(), record.remarks.contains(&"no_answer_webhook".to_owned())),
        (Some("desk"), false)
    );
}

#[test]
fn a_call_whose_answer_went_elsewhere_is_followed_where_it_is() {
    let mut desk = Desk::new(to_agent());
    desk.status(None, CALLER, CON, "answered");
    desk.transfer(None, CALLER, CON, "CON-theirs");
    let create = desk.create();
    let ncco = serde_json::to_value(&create.call).unwrap()["ncco"][0].clone();
    assert_eq!((&ncco["action"], &ncco["conversationId"]), (&json!("transfer"), &json!("CON-theirs")));
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(40);
    assert!(desk.record().remarks.contains(&"no_answer_webhook".to_owned()));
}

#[test]
fn repetitions_are_published_once() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    for status in ["started", "ringing", "answered", "human", "completed"] {
        let webhook = status_of(CALLER, CON, status, desk.now);
        for _ in 0..3 {
            desk.hear(None, &webhook).unwrap();
        }
        // Another timestamp, the same news.
        desk.pass_s(1);
        desk.hear(None, &status_of(CALLER, CON, status, desk.now)).unwrap();
    }
    assert_eq!(desk.kinds(), ["started", "updated", "updated", "answered", "updated", "completed"]);
}

#[test]
fn the_end_may_come_first() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "completed");
    desk.status(None, CALLER, CON, "answered");
    desk.transfer(None, CALLER, CON, ROOM);
    desk.pass_s(3);
    assert!(desk.creates.is_empty(), "nobody is there to be heard or rung");
    assert_eq!(desk.kinds(), ["started", "completed", "answered", "joined", "record"]);
}

#[test]
fn late_news_follows_the_record_and_makes_no_second() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3);
    assert_eq!(desk.count("record"), 1);
    desk.status(None, CALLER, CON, "ringing");
    desk.transfer(None, CALLER, CON, ROOM);
    let recording = json!({"recording_url": "https://api.nexmo.com/v1/files/1", "conversation_uuid": CON});
    desk.hear(None, &recording).unwrap();
    desk.pass_s(500);
    assert_eq!(desk.kinds()[3..], ["updated", "joined", "recording"]);
    assert!(desk.creates.is_empty());
    assert!(desk.pause(CON, true).is_err());
    desk.pass_s(500);
    desk.assert_forgotten();
}

#[test]
fn a_recording_is_awaited_and_told_once() {
    let mut desk = Desk::new(sidetone::control::Flow { record: true, ..to_agent() });
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(10);
    assert_eq!(desk.count("record"), 0);
    let recording = json!({"recording_url": "https://api.nexmo.com/v1/files/1", "recording_uuid": "r1", "size": "12",
        "start_time": "2026-11-24T09:00:01Z", "end_time": "2026-11-24T09:00:09Z", "conversation_uuid": CON});
    for _ in 0..2 {
        desk.hear(None, &recording).unwrap();
    }
    desk.pass_s(3);
    assert_eq!(desk.count("recording"), 1);
    assert_eq!((desk.record().recordings.len(), desk.record().recordings[0].size), (1, Some(12)));

    let mut desk = Desk::new(sidetone::control::Flow { record: true, ..to_agent() });
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(31);
    assert_eq!(desk.record().remarks, ["no_recording"]);
}

#[test]
fn an_agent_known_by_its_webhook_before_its_creation_is_answered_is_one_leg() {
    let mut desk = Desk::new(to_agent());
    desk.caller_in();
    let agent = desk.create();
    assert_eq!(agent.asked.role, Role::Agent);
    desk.status(Some(&agent.asked), "leg-agent", "CON-a", "answered");
    desk.transfer(Some(&agent.asked), "leg-agent", "CON-a", ROOM);
    desk.made(&agent.asked, "leg-agent");
    desk.pass_s(2);
    assert_eq!(desk.creates.len(), 1);
    assert_eq!(desk.count("joined"), 2);
}
