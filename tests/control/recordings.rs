//! Which recordings are to be kept, with which pauses, and what is said of each.

use std::time::Duration;

use serde_json::{Value, json};
use sidetone::control::{Keep, Target};
use sidetone::event::Body;
use sidetone::event::call::{CallRecording, RecordingCopy};
use sidetone::types::WallTime;

use crate::desk::{CALLER, CON, Desk, GUARD, ROOM, con, flow, to_agent, wall};

const URL: &str = "https://api.nexmo.com/v1/files/1";

/// A recording from so many seconds ago until now.
fn recorded(desk: &Desk, conversation: &str, ago_s: u64) -> Value {
    let end = wall(desk.now);
    let start = WallTime(end.0 - ago_s as i64 * 1_000_000);
    json!({"recording_url": URL, "recording_uuid": "r-1", "conversation_uuid": conversation, "size": 12,
        "start_time": start.to_string(), "end_time": end.to_string()})
}

fn kept() -> RecordingCopy {
    RecordingCopy {
        kept: true,
        reason: None,
        path: Some("CON-1_r-1.wav".into()),
        bytes: Some(12),
        sha256: Some("00".into()),
        muted: Some(1),
        muted_ms: Some(5),
    }
}

fn told(desk: &Desk) -> Vec<&CallRecording> {
    let bodies = desk.events.iter().map(|event| &event.body);
    bodies.filter_map(|body| if let Body::CallRecording(told) = body { Some(told) } else { None }).collect()
}

/// Why the one recording is not kept.
fn refusal(desk: &Desk) -> &str {
    let told = told(desk);
    assert!(desk.keeps.is_empty() && told.len() == 1, "{told:?}");
    let copy = told[0].copy.as_ref().unwrap();
    assert!(!copy.kept && copy.path.is_none());
    copy.reason.as_deref().unwrap()
}

fn desk() -> Desk {
    Desk::keeping(to_agent(), |_| {})
}

fn s(s: u64) -> i64 {
    s as i64 * 1_000_000
}

#[test]
fn a_recording_is_kept_with_its_pauses_and_the_record_waits_for_it() {
    let mut desk = desk();
    desk.answer(CALLER, CON);
    desk.status(None, CALLER, CON, "answered");
    let opened = wall(desk.now);
    desk.pass_s(10);
    desk.pause(CON, true).unwrap();
    desk.pass_s(5);
    desk.pause(CON, false).unwrap();
    desk.pass_s(5);
    desk.pause(CON, true).unwrap();
    desk.pass_s(5);
    let webhook = recorded(&desk, CON, 25);
    for _ in 0..2 {
        desk.hear(None, &webhook).unwrap();
    }
    let paused =
        vec![(WallTime(opened.0 + s(10)), Some(WallTime(opened.0 + s(15)))), (WallTime(opened.0 + s(20)), None)];
    let keep = Keep {
        call: con(CON),
        url: URL.into(),
        recording: Some("r-1".into()),
        start: Some(opened),
        end: Some(wall(desk.now)),
        paused,
    };
    assert_eq!(desk.keeps, std::slice::from_ref(&keep));
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(10);
    assert_eq!((desk.count("record"), told(&desk)[0].copy.clone()), (0, None), "the copy is awaited");
    assert!(desk.copied(&keep, kept()));
    assert!(!desk.copied(&keep, kept()), "said twice");
    desk.pass_s(3);
    assert_eq!(told(&desk).iter().map(|told| told.copy.as_deref()).collect::<Vec<_>>(), [None, Some(&kept())]);
    assert_eq!(desk.record().recordings[0].copy.as_deref(), Some(&kept()));
    desk.pass_s(700);
    desk.assert_forgotten();
}

#[test]
fn a_copy_that_takes_longer_than_anything_is_still_told_of() {
    let mut desk = desk();
    desk.answer(CALLER, CON);
    desk.pass_s(10);
    let webhook = recorded(&desk, CON, 10);
    desk.hear(None, &webhook).unwrap();
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3_000);
    assert_eq!((desk.count("record"), desk.centre.footprint().calls), (1, 1));
    let keep = desk.keeps[0].clone();
    assert!(desk.copied(&keep, RecordingCopy::refused("timed_out")));
    assert_eq!(desk.kinds().last(), Some(&"recording"));
    desk.pass_s(1);
    desk.assert_forgotten();
}

#[test]
fn a_call_that_awaits_its_copy_makes_room_last() {
    let mut desk = Desk::keeping(to_agent(), |limits| limits.calls_max = 2);
    for call in ["CON-a", "CON-b"] {
        desk.answer(&format!("leg-{call}"), call);
        desk.pass_s(5);
        if call == "CON-a" {
            let webhook = recorded(&desk, call, 5);
            desk.hear(None, &webhook).unwrap();
        }
        desk.status(None, &format!("leg-{call}"), call, "completed");
        desk.pass_s(40);
    }
    desk.answer("leg-c", "CON-c");
    assert!(desk.centre.state(&con("CON-a")).is_some() && desk.centre.state(&con("CON-b")).is_none());
    // Callers come before copies.
    desk.answer("leg-d", "CON-d");
    assert!(desk.centre.state(&con("CON-a")).is_none() && desk.centre.state(&con("CON-d")).is_some());
    let keep = desk.keeps[0].clone();
    assert!(!desk.copied(&keep, kept()));
}

#[test]
fn a_call_whose_pauses_may_be_unknown_is_not_kept() {
    // Nothing was known of it, as after a restart.
    let mut unknown = desk();
    let webhook = recorded(&unknown, CON, 60);
    unknown.hear(None, &webhook).unwrap();
    assert_eq!(refusal(&unknown), "unknown_call");
    // Without its times no more is known.
    let mut unknown = desk();
    unknown.hear(None, &json!({"recording_url": URL, "conversation_uuid": CON})).unwrap();
    assert_eq!(refusal(&unknown), "unknown_call");
    // It was followed from its middle, by more than the guard or not.
    for (before_s, refused) in [(GUARD.as_secs() + 1, true), (GUARD.as_secs(), false)] {
        let mut late = desk();
        late.status(None, CALLER, CON, "answered");
        late.pass_s(10);
        let webhook = recorded(&late, CON, 10 + before_s);
        late.hear(None, &webhook).unwrap();
        assert_eq!(late.keeps.is_empty(), refused, "{before_s}");
        if refused {
            assert_eq!(refusal(&late), "unknown_call");
        }
    }
    // Long forgotten.
    let mut gone = desk();
    gone.answer(CALLER, CON);
    gone.status(None, CALLER, CON, "completed");
    gone.pass_s(700);
    gone.assert_forgotten();
    let webhook = recorded(&gone, CON, 690);
    gone.hear(None, &webhook).unwrap();
    assert_eq!(refusal(&gone), "unknown_call");
}

#[test]
fn times_that_cannot_be_relied_upon_are_refused_where_there_was_a_pause() {
    for (times, paused, expected) in [
        (json!({}), true, Some("no_start_time")),
        (json!({"start_time": "soon"}), true, Some("no_start_time")),
        (json!({}), false, None),
        // On Vonage's clock it ended when it had not here.
        (json!({"start_time": 0, "end_time": 25}), true, Some("times_disagree")),
        (json!({"start_time": 0, "end_time": 25}), false, None),
        (json!({"start_time": 0, "end_time": 22}), true, None),
        (json!({"start_time": 15, "end_time": 10}), true, Some("times_disagree")),
        // It cannot have begun before the call.
        (json!({"start_time": -5, "end_time": 20}), false, Some("times_disagree")),
        (json!({"start_time": 5}), true, None),
    ] {
        let mut desk = desk();
        desk.answer(CALLER, CON);
        let opened = wall(desk.now);
        desk.pass_s(10);
        if paused {
            desk.pause(CON, true).unwrap();
        }
        desk.pass_s(10);
        let mut webhook = json!({"recording_url": URL, "conversation_uuid": CON});
        for (key, value) in times.as_object().unwrap() {
            let at = value.as_i64().map(|s| WallTime(opened.0 + s * 1_000_000).to_string());
            webhook[key] = at.map_or(value.clone(), Value::from);
        }
        desk.hear(None, &webhook).unwrap();
        match expected {
            Some(reason) => assert_eq!(refusal(&desk), reason, "{times}"),
            None => assert_eq!((desk.keeps.len(), told(&desk)[0].copy.clone()), (1, None), "{times}"),
        }
    }
}

#[test]
fn only_what_the_record_can_hold_is_kept() {
    let mut desk = Desk::keeping(to_agent(), |limits| limits.items_max = 2);
    desk.answer(CALLER, CON);
    for n in 0..4 {
        let url = format!("https://api.nexmo.com/v1/files/{n}");
        desk.hear(None, &json!({"recording_url": url, "conversation_uuid": CON})).unwrap();
    }
    let reasons: Vec<_> = told(&desk).iter().map(|told| told.copy.as_ref()?.reason.as_deref()).collect();
    assert_eq!((reasons, desk.keeps.len()), (vec![None, None, Some("too_many"), Some("too_many")], 2));
}

#[test]
fn what_a_flow_has_recorded_can_be_muted() {
    let mut desk = Desk::keeping(sidetone::control::Flow { record: true, ..to_agent() }, |_| {});
    let ncco: Value = serde_json::from_slice(&desk.answer(CALLER, CON)).unwrap();
    let record = ncco.as_array().unwrap().iter().find(|action| action["action"] == "record").unwrap();
    assert_eq!((&record["format"], &record["split"]), (&json!("wav"), &json!("conversation")));
}

#[test]
fn where_none_are_kept_nothing_is_said_of_copies() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    let webhook = recorded(&desk, CON, 0);
    desk.hear(None, &webhook).unwrap();
    assert_eq!((desk.keeps.len(), told(&desk)[0].copy.clone()), (0, None));
}

/// An agent who comes by themselves has a call of their own in the conversation; what their leg
/// hears is in its recording.
#[test]
fn a_pause_of_one_call_is_muted_in_the_recordings_of_all_who_hear_it() {
    for forgotten in [false, true] {
        let mut desk = Desk::keeping(flow(Target::Conversation("room".into())), |limits| limits.items_max = 3);
        for caller in ["leg-a", "leg-b"] {
            let con = format!("CON-{caller}");
            desk.answer(caller, &con);
            desk.transfer(None, caller, &con, ROOM);
            let create = desk.create();
            desk.heard(&create);
        }
        // Somebody who is elsewhere.
        desk.answer("leg-c", "CON-leg-c");
        desk.pause("CON-leg-c", true).unwrap();
        let opened = wall(desk.now);
        desk.pass_s(10);
        desk.pause("CON-leg-a", true).unwrap();
        desk.pass_s(5);
        desk.pause("CON-leg-a", false).unwrap();
        desk.pass_s(5);
        // It hangs up while it is paused.
        desk.pause("CON-leg-a", true).unwrap();
        desk.end("CON-leg-a", "media-leg-a", "hangup");
        desk.status(None, "leg-a", ROOM, "completed");
        desk.pass_s(if forgotten { 700 } else { 60 });
        assert_eq!(desk.centre.state(&con("CON-leg-a")).is_none(), forgotten);
        let webhook = recorded(&desk, "CON-leg-b", desk.now.since(sidetone::types::Moment::from_ms(1_000)).as_secs());
        let tag = sidetone::control::Tag { call: con("CON-leg-b"), role: sidetone::control::Role::Caller, hears: None };
        desk.hear(Some(&tag), &webhook).unwrap();
        let paused = &desk.keeps[0].paused;
        assert_eq!(paused[0], (WallTime(opened.0 + s(10)), Some(WallTime(opened.0 + s(15)))));
        let (from, to) = paused[1];
        assert_eq!(from, WallTime(opened.0 + s(20)));
        assert!(to.is_some_and(|to| to.0 > from.0 && to < wall(desk.now)), "it ended with its call: {to:?}");
        assert_eq!((paused.len(), told(&desk)[0].paused.len()), (2, 2));
    }
}

#[test]
fn inherited_pauses_are_bounded_and_never_less() {
    let mut desk = Desk::keeping(flow(Target::Conversation("room".into())), |limits| {
        limits.items_max = 3;
        limits.remember = Duration::from_secs(1);
    });
    let opened = wall(desk.now);
    desk.answer("leg-agent", "CON-agent");
    desk.transfer(None, "leg-agent", "CON-agent", ROOM);
    for n in 0..10 {
        let (caller, con) = (format!("leg-{n}"), format!("CON-{n}"));
        desk.answer(&caller, &con);
        desk.transfer(None, &caller, &con, ROOM);
        desk.pause(&con, true).unwrap();
        desk.pass_s(5);
        desk.pause(&con, false).unwrap();
        desk.status(None, &caller, ROOM, "completed");
        desk.pass_s(60);
    }
    let ago = (wall(desk.now).0 - opened.0) / 1_000_000;
    let webhook = recorded(&desk, "CON-agent", ago as u64);
    desk.hear(None, &webhook).unwrap();
    let paused = &desk.keeps[0].paused;
    assert!(!paused.is_empty() && paused.len() <= 4, "{paused:?}");
    for n in 0..10 {
        let (from, to) = (opened.0 + s(n * 65), opened.0 + s(n * 65 + 5));
        assert!(paused.iter().any(|span| span.0.0 <= from && span.1.is_none_or(|end| end.0 >= to)), "{n}: {paused:?}");
    }
}
