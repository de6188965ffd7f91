//! Calls from the first webhook to the last event.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::events::{Follower, kind, text};
use super::support::within;
use super::world::{World, call};

fn all<'a>(events: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| kind(event) == wanted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_speakers_are_heard_apart_on_one_clock_and_one_record_tells_it_all() {
    let mut world = World::new("").await;
    let platform = world.platform(|_| {}).await;
    let mut watch = Follower::connect(world.address(), "?type=call.record.v1").await;
    let (script, voices) = call(20);
    let report = within("the call to end", platform.run(&script, &voices)).await;
    assert!(report.ok(), "{report}");
    let record = within("the call's record", watch.next()).await.unwrap().json();
    assert_eq!((&record["data"]["complete"], &record["data"]["remarks"]), (&true.into(), &Value::Array(vec![])));
    let (events, log) = world.published().await;

    let started = all(&events, "leg.started.v1");
    let speakers: BTreeSet<_> = started.iter().map(|event| text(event, "/data/speaker")).collect();
    assert_eq!(speakers, BTreeSet::from(["agent", "caller"]));
    assert!(started.iter().all(|event| event["data"]["listen_only"] == true), "{started:?}");
    let conversations: BTreeSet<_> = events.iter().map(|event| text(event, "/partitionkey")).collect();
    assert_eq!(conversations.len(), 1, "both legs and the call are one conversation");
    // One clock: the caller is in the conversation before the agent answers.
    let at = |speaker: &str| {
        let leg = started.iter().find(|event| text(event, "/data/speaker") == speaker).unwrap();
        leg["data"]["at_ms"].as_u64().unwrap()
    };
    assert!(0 < at("caller") && at("caller") < at("agent"));
    for speaker in ["caller", "agent"] {
        let finals = all(&events, "transcript.final.v1");
        assert!(
            finals.iter().any(|event| text(event, "/data/speaker") == speaker),
            "nothing was heard of the {speaker}"
        );
    }
    let records = all(&events, "call.record.v1");
    let legs = records[0]["data"]["legs"].as_array().unwrap();
    assert!(legs.len() == 2 && legs.iter().all(|leg| leg["complete"] == true && leg["ledger"].is_object()), "{legs:?}");
    assert_eq!(all(&events, "call.recording.v1").len(), 1);
    let whole = serde_json::to_string(&events).unwrap();
    assert!(!whole.contains("token="), "a socket's token was published");
    for secret in ["447700900000", "447700900111", "token=", "stm1."] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_fault_on_nothing_is_lost_but_what_is_said_to_be() {
    let seeds = (1..=5).map(|seed| tokio::spawn(one_bad_day(seed)));
    for seed in seeds.collect::<Vec<_>>() {
        seed.await.unwrap();
    }
}

async fn one_bad_day(seed: u64) {
    let mut world = World::new("").await;
    let platform = world.platform(|settings| (settings.seed, settings.faults) = (seed, "all".parse().unwrap())).await;
    let mut watch = Follower::connect(world.address(), "?type=call.record.v1").await;
    let (script, voices) = call(40);
    let report = within("the call to end", platform.run(&script, &voices)).await;
    let record = within("the call's record", watch.next()).await.unwrap().json();
    let (events, _) = world.published().await;
    // Ledgers, numbers and ends are checked by `published`; here that the record knows.
    let ended = all(&events, "leg.ended.v1");
    assert!(!ended.is_empty(), "seed {seed}: nobody was ever heard: {report}");
    let legs = record["data"]["legs"].as_array().unwrap();
    assert_eq!(legs.len(), ended.len(), "seed {seed}: {record}");
    // A socket that breaks while its speaker is there is told of, and the record knows.
    let lost = |event: &&Value| event["data"]["reason"] == "socket_lost" && event["data"]["state"] == "ended";
    let lost = all(&events, "call.listening.v1").into_iter().filter(lost).count();
    let remarks = &record["data"]["remarks"];
    assert!(lost == 0 || record["data"]["complete"] == false, "seed {seed}: {lost} sockets were lost: {remarks}");
}
