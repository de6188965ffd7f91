//! What a pause keeps out of the events.

use serde_json::{Value, json};
use sidetone::control::Flow;
use sidetone::control::{Role, Tag};
use sidetone::event::Body;
use sidetone::types::{KeyRule, RedactionMode, RedactionTerms};

use crate::desk::{CALLER, CON, Desk, ROOM, status_of, to_agent, wall};

const CARD: &str = "4111111111111111";

fn keys(desk: &Desk, at_s: u64) -> Value {
    let at = wall(desk.now + std::time::Duration::from_secs(at_s)).to_string();
    json!({"uuid": CALLER, "conversation_uuid": CON, "timestamp": at, "from": "447700900000", "to": "442079460000",
        "dtmf": {"digits": CARD, "timed_out": false}, "speech": {"results": [{"text": "four one", "confidence": "0.9"}]}})
}

fn terms(mode: RedactionMode, keys: KeyRule) -> RedactionTerms {
    RedactionTerms { mode: Some(mode), keys: Some(keys) }
}

fn leaked(desk: &Desk) -> usize {
    desk.events.iter().filter(|event| String::from_utf8(event.to_structured()).unwrap().contains(CARD)).count()
}

#[test]
fn keys_are_published_but_for_those_of_a_pause() {
    // A pause is obeyed where nothing is redacted, too.
    let mut desk = Desk::new(Flow { redaction: terms(RedactionMode::Off, KeyRule::Publish), ..to_agent() });
    desk.answer(CALLER, CON);
    let webhook = keys(&desk, 0);
    desk.hear(None, &webhook).unwrap();
    assert_eq!(leaked(&desk), 1);
    desk.pass_s(100);
    desk.pause(CON, true).unwrap();
    desk.pass_s(5);
    for webhook in [
        keys(&desk, 0),
        json!({"uuid": CALLER, "conversation_uuid": CON, "payload": {"card": CARD}}),
        json!({"uuid": CALLER, "conversation_uuid": CON, "status": "input", "dtmf": CARD}),
    ] {
        desk.hear(None, &webhook).unwrap();
    }
    let tag =
        sidetone::control::Tag { call: crate::desk::con(CON), role: sidetone::control::Role::Caller, hears: None };
    desk.hear(Some(&tag), &json!({"digits": CARD, "uuid": CALLER})).unwrap();
    assert_eq!((leaked(&desk), desk.count("updated")), (1, 5));

    // Pressed while paused, told when it was over.
    desk.pass_s(5);
    desk.pause(CON, false).unwrap();
    desk.pass_s(3);
    let webhook = keys(&desk, 0);
    desk.hear(None, &webhook).unwrap();
    assert_eq!(leaked(&desk), 1);
    desk.pass_s(100);
    let webhook = keys(&desk, 0);
    desk.hear(None, &webhook).unwrap();
    assert_eq!(leaked(&desk), 2);
}

/// What was published of the last webhook.
fn content(desk: &Desk) -> Value {
    let body = desk.events.iter().rev().find_map(|event| match &event.body {
        Body::CallUpdated(updated) => Some(updated.content.clone()),
        _ => None,
    });
    Value::Object(body.unwrap())
}

#[test]
fn what_webhooks_say_of_keys_and_words_is_redacted() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    let spoken = "sure, it's four one one one, one one one one, one one one one, one one one one";
    for (said, published) in [
        (
            json!({"dtmf": {"digits": CARD, "timed_out": false}}),
            json!({"dtmf": {"digits": "[DIGITS]", "timed_out": false}}),
        ),
        (json!({"dtmf": CARD}), json!({"dtmf": "[DIGITS]"})),
        (json!({"dtmf": 4111}), json!({"dtmf": "[DIGITS]"})),
        (
            json!({"speech": {"results": [{"text": spoken, "confidence": "0.9405"}, {"text": "123"}, {"text": "sales"}]}}),
            json!({"speech": {"results": [{"text": "sure, it's [CARD]", "confidence": "0.9405"}, {"text": "[DIGITS]"}, {"text": "sales"}]}}),
        ),
        (
            json!({"payload": {"card": CARD, "n": 4_111_111_111_111_111_u64, "menu": 2}}),
            json!({"payload": {"card": "[CARD]", "n": "[CARD]", "menu": 2}}),
        ),
    ] {
        let mut webhook =
            json!({"uuid": CALLER, "conversation_uuid": CON, "from": "447700900000", "to": "442079460000"});
        let mut expected = webhook.clone();
        webhook.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        expected.as_object_mut().unwrap().extend(published.as_object().unwrap().clone());
        desk.hear(None, &webhook).unwrap();
        let shown = content(&desk);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&shown[key], value, "{webhook}");
        }
        desk.pass_s(60);
    }
    let tag =
        sidetone::control::Tag { call: crate::desk::con(CON), role: sidetone::control::Role::Caller, hears: None };
    desk.hear(Some(&tag), &json!({"digits": CARD, "note": spoken, "uuid": CALLER})).unwrap();
    assert_eq!((leaked(&desk), content(&desk)["note"].clone()), (0, json!("sure, it's [CARD]")));
}

#[test]
fn of_keys_told_one_by_one_only_a_menus_choice_is_published() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    let mut press = |key: &str, wait_s| {
        desk.hear(None, &json!({"uuid": CALLER, "conversation_uuid": CON, "dtmf": {"digits": key}})).unwrap();
        let shown = content(&desk)["dtmf"]["digits"].clone();
        desk.pass_s(wait_s);
        shown
    };
    assert_eq!([press("2", 10), press("1", 10)], ["2", "1"], "choices of a menu");
    let card: Vec<_> = CARD.chars().map(|key| press(&key.to_string(), 1)).collect();
    assert!(card[0] == "4" && card[1..].iter().all(|key| key == "[DIGITS]"), "{card:?}");
}

#[test]
fn a_flow_that_collects_numbers_has_its_keys_and_no_card_in_words() {
    let spoken = "it's 4111 1111 1111 1111";
    for (mode, rule, keys, words) in [
        (RedactionMode::Tags, KeyRule::Publish, ["2", CARD], "it's [CARD]"),
        (RedactionMode::Strict, KeyRule::Publish, ["2", CARD], "it's [CARD]"),
        (RedactionMode::Off, KeyRule::Choices, ["2", "[DIGITS]"], spoken),
        (RedactionMode::Tags, KeyRule::Mask, ["[DIGITS]", "[DIGITS]"], "it's [CARD]"),
    ] {
        let mut desk = Desk::new(Flow { redaction: terms(mode, rule), ..to_agent() });
        desk.answer(CALLER, CON);
        for (pressed, shown) in ["2", CARD].into_iter().zip(keys) {
            let said = json!({"uuid": CALLER, "conversation_uuid": CON, "dtmf": {"digits": pressed}, "speech": {"results": [{"text": spoken}]}});
            desk.hear(None, &said).unwrap();
            let published = content(&desk);
            assert_eq!(published["dtmf"]["digits"], shown, "{mode:?} {rule:?}");
            assert_eq!(published["speech"]["results"][0]["text"], words, "{mode:?} {rule:?}");
            desk.pass_s(60);
        }
    }
}

#[test]
fn a_pause_is_told_and_is_in_the_record() {
    let mut desk = Desk::new(to_agent());
    desk.answer(CALLER, CON);
    desk.pass_s(5);
    desk.pause(CON, true).unwrap();
    desk.pass_s(5);
    desk.hear(None, &json!({"recording_url": "https://api.nexmo.com/v1/files/1", "conversation_uuid": CON})).unwrap();
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(3);
    let record = desk.record();
    assert_eq!((record.paused.len(), record.paused[0].to.clone(), record.recordings[0].paused.len()), (1, None, 1));
    assert!(desk.events.iter().any(|event| matches!(&event.body, Body::CallCapture(capture) if capture.paused)));
}

#[test]
fn the_token_of_our_own_socket_is_in_no_event() {
    const TOKEN: &str = "stm1.secret";
    let mut desk = Desk::new(to_agent());
    // Nothing but this is known of the call when its socket's webhook comes.
    desk.transfer(None, CALLER, CON, ROOM);
    desk.stranger(CALLER);
    desk.pass_s(20);
    let socket = desk.create();
    let mut webhook = status_of("ws-1", CON, "ringing", desk.now);
    (webhook["to"], webhook["from"]) = (format!("wss://gw.example/media?token={TOKEN}").into(), "000".into());
    webhook["direction"] = "outbound".into();
    // Without a tag it is nobody's yet.
    let _ = desk.hear(None, &webhook);
    desk.hear(Some(&socket.asked), &webhook).unwrap();
    webhook["status"] = "levitating".into();
    webhook["type"] = "something".into();
    desk.hear(Some(&socket.asked), &webhook).unwrap();
    webhook.as_object_mut().unwrap().remove("status");
    desk.hear(Some(&socket.asked), &webhook).unwrap();
    let agents = Tag { role: Role::Agent, hears: None, ..socket.asked.clone() };
    desk.status(Some(&agents), "leg-agent", "CON-a", "answered");
    desk.status(Some(&agents), "leg-agent", "CON-a", "completed");
    desk.status(None, CALLER, CON, "completed");
    desk.pass_s(40);
    assert!(desk.events.iter().all(|event| !String::from_utf8(event.to_structured()).unwrap().contains(TOKEN)));
    assert_eq!(desk.record().from.as_deref(), Some("447700900000"), "the caller's own");
}
