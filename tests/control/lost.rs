//! Webhooks that never come: what the sweep finds out.

use std::time::Duration;

use serde_json::json;
use sidetone::control::{Outcome, Role, Target};
use sidetone::event::Body;

use crate::desk::{CALLER, CON, Desk, ROOM, ended, flow, leg, to_agent};

/// Answers every poll that is asked with the same.
fn answer_polls(desk: &mut Desk, with: impl Fn(&str) -> Outcome<serde_json::Value>) {
    while let Some((call, id)) = desk.polls.pop_front() {
        desk.found(call.as_str(), id.as_str(), with(id.as_str()));
    }
}

fn alone() -> Desk {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.caller_in();
    desk
}

#[test]
fn an_end_that_no_webhook_told_is_asked_for() {
    let mut desk = alone();
    desk.pass_s(29);
    assert!(desk.polls.is_empty());
    desk.pass_s(1);
    assert!(desk.polls.iter().any(|(_, id)| id.as_str() == CALLER));
    answer_polls(&mut desk, |_| {
        Outcome::Done(json!({"status": "completed", "end_time": "2026-11-24T09:00:20Z", "price": "0.1"}))
    });
    desk.end(CON, "media-leg-caller", "hangup");
    desk.pass_s(3);
    let record = desk.record();
    assert_eq!((&record.remarks[..], record.complete), (&["polled".to_owned()][..], true));
    assert!(desk.events.iter().any(|event| matches!(&event.body, Body::CallCompleted(end) if end.source == "poll"
        && end.at.starts_with("2026-11-24T09:00:20"))));
    // The webhook after all: no news.
    let events = desk.events.len();
    desk.status(None, CALLER, CON, "completed");
    assert_eq!(desk.events.len(), events);
}

#[test]
fn only_the_end_that_was_polled_says_so() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.answer(CALLER, CON);
    desk.pass_s(30);
    answer_polls(&mut desk, |_| Outcome::Done(json!({"status": "answered", "conversation_uuid": CON})));
    assert_eq!(desk.count("answered"), 1);
    desk.status(None, CALLER, CON, "completed");
    assert!(desk.events.iter().any(|event| matches!(&event.body, Body::CallCompleted(end) if end.source == "webhook")));
}

#[test]
fn an_entry_that_no_webhook_told_is_asked_for() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    desk.pass_s(31);
    answer_polls(&mut desk, |_| Outcome::Done(json!({"status": "answered", "conversation_uuid": ROOM})));
    assert_eq!(
        desk.creates.iter().map(|create| create.asked.role.clone()).collect::<Vec<_>>(),
        [Role::Agent, Role::Listener]
    );
    // An API that tells only where a leg began moves nobody who is in.
    desk.pass_s(31);
    let (joined, transferred) = (desk.count("joined"), desk.count("transferred"));
    answer_polls(&mut desk, |_| Outcome::Done(json!({"status": "answered", "conversation_uuid": CON})));
    assert_eq!((desk.count("joined"), desk.count("transferred")), (joined, transferred));
}

#[test]
fn an_agent_whose_webhooks_are_all_lost_is_asked_after() {
    let mut desk = Desk::new(to_agent());
    desk.caller_in();
    let agent = desk.create();
    desk.made(&agent.asked, "leg-agent");
    desk.pass_s(31);
    answer_polls(&mut desk, |id| match id {
        "leg-agent" => Outcome::Done(json!({"status": "unanswered"})),
        _ => Outcome::Done(json!({"status": "answered"})),
    });
    assert_eq!(desk.transfers.len(), 1, "the caller is told");
}

#[test]
fn a_leg_that_the_api_does_not_know_twice_is_lost_unless_it_is_heard() {
    let mut desk = alone();
    for _ in 0..4 {
        desk.pass_s(31);
        answer_polls(&mut desk, |_| Outcome::Gone);
    }
    assert_eq!(desk.count("completed"), 0, "its socket is connected: the region that was asked is not its own");
    desk.end(CON, "media-leg-caller", "connection_lost");
    desk.creates.clear();
    desk.pass_s(31);
    answer_polls(&mut desk, |_| Outcome::Gone);
    assert_eq!(desk.count("completed"), 0, "once may be a mistake");
    desk.pass_s(31);
    answer_polls(&mut desk, |_| Outcome::Gone);
    desk.pass_s(40);
    assert!(desk.record().remarks.contains(&"lost_leg".to_owned()));
    assert!(desk.events.iter().any(|event| matches!(&event.body, Body::CallCompleted(end) if end.source == "lost")));
}

#[test]
fn polls_that_fail_are_asked_again_and_limits_are_kept() {
    let mut desk = alone();
    desk.pass_s(31);
    answer_polls(&mut desk, |_| Outcome::Failed("timeout"));
    desk.pass_s(31);
    assert!(!desk.polls.is_empty());
    answer_polls(&mut desk, |_| Outcome::Limited(Some(Duration::from_secs(45))));
    desk.pass_s(40);
    assert!(desk.polls.is_empty(), "not before it may be asked");
    desk.pass_s(10);
    assert!(!desk.polls.is_empty());
}

#[test]
fn a_crowd_is_asked_after_at_the_rate_allowed() {
    let mut desk = Desk::new(flow(Target::Socket));
    for n in 0..50 {
        desk.answer(&format!("leg-{n}"), &format!("CON-{n}"));
    }
    let from = desk.now;
    desk.pass_s(30);
    assert_eq!(desk.polls.len(), 10);
    desk.pass_s(4);
    assert_eq!(desk.polls.len(), 50, "within {:?}", desk.now.since(from));
}

#[test]
fn a_hang_up_that_got_lost_is_asked_for_again() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.caller_in();
    desk.stranger("leg-other");
    desk.pass_s(3);
    let other = desk.create();
    desk.heard(&other);
    desk.status(None, "leg-other", ROOM, "completed");
    desk.hang_ups.clear();
    desk.pass_s(31);
    answer_polls(&mut desk, |_| Outcome::Done(json!({"status": "answered"})));
    assert_eq!(desk.hang_ups, [leg("ws-leg-other")]);
}

#[test]
fn a_long_quiet_call_that_is_heard_or_asked_after_goes_on() {
    let mut desk = alone();
    for _ in 0..400 {
        desk.pass_s(31);
        answer_polls(&mut desk, |_| Outcome::Done(json!({"status": "answered"})));
    }
    assert_eq!((desk.centre.live_calls(), desk.count("record")), (1, 0));

    // Nobody can be asked, but audio comes.
    let mut desk = Desk::of([flow(Target::Socket)], false, |_| {});
    desk.answer(CALLER, CON);
    desk.connect(CON, "media", Some(CALLER));
    desk.pass_s(20_000);
    assert_eq!((desk.centre.live_calls(), desk.polls.len()), (1, 0));
    let now = desk.now();
    desk.centre.media_ended(now, &crate::desk::con(CON), &leg("media"), Some(&ended("hangup", true)));
    desk.wake(desk.now);
    desk.pass_s(20_000);
    assert_eq!((desk.centre.live_calls(), desk.record().remarks.contains(&"silent".to_owned())), (0, true));
}

#[test]
fn a_call_that_nobody_can_be_asked_about_is_over_after_a_silence() {
    let mut desk = alone();
    desk.end(CON, "media-leg-caller", "hangup");
    for _ in 0..600 {
        desk.pass_s(31);
        desk.creates.clear();
        answer_polls(&mut desk, |_| Outcome::Failed("connect"));
    }
    assert!(desk.record().remarks.contains(&"silent".to_owned()));
    assert!(desk.hang_ups.contains(&leg(CALLER)));
    desk.assert_forgotten();
}

#[test]
fn a_call_in_which_nobody_is_known_does_not_stay() {
    let mut desk = Desk::new(to_agent());
    let late = json!({"recording_url": "https://api.nexmo.com/v1/files/1", "recording_uuid": "r", "conversation_uuid": "CON-old"});
    desk.hear(None, &late).unwrap();
    assert_eq!(desk.kinds(), ["started", "recording"], "late news of a forgotten call is published");
    desk.pass_s(40);
    assert_eq!(desk.centre.live_calls(), 0);
    desk.pass_s(700);
    desk.assert_forgotten();
}

#[test]
fn late_news_of_our_sockets_begins_no_call() {
    let mut desk = alone();
    let tag = sidetone::control::Tag { call: crate::desk::con("CON-old"), role: Role::Listener, hears: Some(leg("x")) };
    let webhook = crate::desk::status_of("ws-old", "CON-r", "completed", desk.now);
    assert!(desk.hear(Some(&tag), &webhook).is_err());
    assert_eq!(desk.centre.footprint().calls, 1);
}

#[test]
fn a_media_leg_of_a_call_that_is_over_is_to_be_closed_whenever_it_comes() {
    let mut desk = Desk::new(flow(Target::Conversation("room".into())));
    desk.caller_in();
    // Its creation's reply and all its webhooks got lost: nobody can hang it up.
    desk.connect(CON, "media-1", Some(CALLER));
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(29);
    assert!(desk.forgotten.is_empty());
    desk.pass_s(2);
    assert_eq!(desk.forgotten.len(), 1);
    desk.end(CON, "media-1", "closed");
    desk.connect(CON, "media-2", Some(CALLER));
    assert_eq!(desk.forgotten, [crate::desk::con(CON), crate::desk::con(CON)]);
    assert_eq!(desk.records().len(), 1);
}

#[test]
fn a_gateway_that_stops_publishes_each_record_and_asks_for_nothing_more() {
    let mut desk = Desk::new(to_agent());
    for n in 0..4 {
        desk.answer(&format!("leg-{n}"), &format!("CON-{n}"));
        desk.transfer(None, &format!("leg-{n}"), &format!("CON-{n}"), &format!("CON-room-{n}"));
    }
    desk.status(None, "leg-early", "CON-early", "started");
    desk.creates.clear();
    let now = desk.now();
    desk.centre.close(now);
    desk.wake(desk.now);
    desk.pass_s(60);
    assert!(desk.creates.is_empty(), "{:?}", desk.creates);
    let records = desk.records();
    assert!(records.iter().all(|record| record.remarks.contains(&"gateway_stopped".to_owned())));
    let unanswered = records.iter().filter(|record| record.remarks.contains(&"no_answer_webhook".to_owned()));
    assert_eq!((records.len(), unanswered.count()), (5, 1));
}
