//! A call whose transcriber is killed again and again loses no speech.

use serde_json::Value;
use sidetone::simulator::player;

use super::support::events::{check_all, kind, of, read, read_so_far, text};
use super::support::process::Gateway;
use super::support::{channel, leg, until, within};
use super::vendor::{Kind, Saw, Vendor};

const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_primary_twenty_times_during_a_call_loses_no_speech() {
    for backend in [Kind::Deepgram, Kind::AssemblyAi] {
        let mut vendor = Vendor::start(backend, &[]).await;
        let (name, table) = (backend.name(), vendor.table(""));
        let gateway = Gateway::start(&format!(
            "[asr]\nbackend = \"{name}\"\nfall_back = [\"scripted\"]\n[asr.breaker]\nfailures_max = 1000\n[asr.{name}]\n{table}\n\
             [call]\npartial_interval_ms = 200\n[endpointing]\nhangover_ms = 200\nmax_segment_ms = 2000\nlong_segment_ms = 1000\n",
        ))
        .await;
        let call = leg(gateway.address, "CON-killed", channel(1), 4.0);
        let played = tokio::spawn(async move { player::play(&call, tokio::time::Instant::now()).await.is_ok() });
        // What the gateway did to look at it beforehand is not the call.
        let path = gateway.events_path();
        let heard_by = |events: &[Value], who: &str| {
            events
                .iter()
                .filter(|event| kind(event) == "transcript.final.v1" && text(event, "/data/asr") == who)
                .count()
        };
        let mut kills = 0;
        while kills < KILLS {
            vendor.sees("audio to kill it on", |saw| matches!(saw, Saw::Audio(_))).await;
            assert!(!played.is_finished(), "the call was over after {kills} kills");
            vendor.kill().await;
            kills += 1;
            vendor.seen();
            if kills % 5 == 0 {
                // Now and then it stays away until somebody else was asked.
                let before = heard_by(&read_so_far(&path), "scripted");
                until("the next one to be asked", || {
                    let now = heard_by(&read_so_far(&path), "scripted");
                    std::future::ready((now > before).then_some(()))
                })
                .await;
            }
            vendor.restart();
        }
        assert!(within("the call to be played", played).await.unwrap());
        let ended = until("the end of the leg", || {
            let events = read_so_far(&path);
            std::future::ready(events.iter().find(|event| kind(event) == "leg.ended.v1").cloned())
        })
        .await;
        let (_, folder) = gateway.stop().await;
        let events = read(&folder.path().join("sidetone-events.jsonl"));
        check_all(&events);
        assert_eq!((&ended["data"]["complete"], text(&ended, "/data/reason")), (&true.into(), "hangup"));
        let dropped = ended["data"]["ledger"]["dropped"].as_object().unwrap();
        let finals: Vec<_> =
            of(&events, "CON-killed").into_iter().filter(|it| kind(it) == "transcript.final.v1").collect();
        let by = |who: &str| heard_by(&events, who);
        assert_eq!(by("scripted") + by(name), finals.len(), "{name}");
        assert!(
            finals.len() > 10 && by("scripted") >= KILLS / 5 && by(name) > 0,
            "{name}: {} and {} of {}",
            by(name),
            by("scripted"),
            finals.len()
        );
        assert!(dropped.values().all(|samples| samples == 0), "{name}: speech was lost: {dropped:?}");
    }
}
