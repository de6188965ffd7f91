//! The centre's own API during a call.

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::support::events::{Follower, kind, number, text};
use super::support::{until, within};
use super::world::{World, call};

/// Asks the API; gives the status and what it said.
struct Api<'a> {
    client: Client,
    world: &'a World,
}

impl Api<'_> {
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = within(path, self.client.get(self.world.url(path)).send()).await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(self.world.url(path)).header("content-type", "application/json");
        let response = within(path, request.body(body.to_string()).send()).await.unwrap();
        let status = response.status();
        let said = response.bytes().await.unwrap();
        (
            status.as_u16(),
            if status == StatusCode::NO_CONTENT { Value::Null } else { serde_json::from_slice(&said).unwrap() },
        )
    }

    async fn play(&self, id: &str, wav: Vec<u8>, query: &str) -> u16 {
        let url = self.world.url(&format!("/v1/calls/{id}/play{query}"));
        let request = self.client.post(url).header("content-type", "audio/wav").body(wav);
        within("play", request.send()).await.unwrap().status().as_u16()
    }
}

/// A second of a loud tone of 1 kHz at 8 kHz.
fn tone() -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for n in 0..8_000 {
        writer.write_sample((12_000.0 * (f64::from(n) * std::f64::consts::TAU / 8.0).sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Whether half a second of that tone, and little else, is in a file at 16 kHz.
fn has_tone(path: &std::path::Path) -> bool {
    let samples: Vec<i16> = hound::WavReader::open(path).unwrap().samples::<i16>().map(Result::unwrap).collect();
    let pure = |frame: &[i16]| {
        let power: f64 = frame.iter().map(|s| f64::from(*s).powi(2)).sum();
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in frame.iter().enumerate() {
            let angle = n as f64 * std::f64::consts::TAU / 16.0;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        power > 320.0 * 1_000_000.0 && 2.0 * (re * re + im * im) / 320.0 > 0.7 * power
    };
    samples.chunks_exact(320).map(pure).collect::<Vec<_>>().windows(25).any(|half| half.iter().all(|pure| *pure))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_seen_paused_spoken_to_and_ended_through_the_api() {
    let heard = tempfile::tempdir().unwrap();
    let mut world = World::new("").await;
    let platform = world.platform(|settings| {
        settings.speed = 4.0;
        settings.heard = Some(heard.path().to_owned());
        // The API's commands come faster than the platform's clock.
        settings.requests_per_second = 1_000;
    });
    let platform = platform.await;
    let mut watch = Follower::connect(world.address(), "").await;
    let running = tokio::spawn(async move {
        let (script, voices) = call(55);
        platform.run(&script, &voices).await
    });
    let api = Api { client: Client::new(), world: &world };
    // Both are heard.
    let mut separate = 0;
    let mut id = String::new();
    while separate < 2 {
        let event = within("both listeners", watch.next()).await.unwrap().json();
        if kind(&event) == "call.listening.v1" && event["data"]["state"] == "separate" {
            separate += 1;
            text(&event, "/partitionkey").clone_into(&mut id);
        }
    }
    let path = |what: &str| format!("/v1/calls/{id}{what}");

    let (status, list) = api.get("/v1/calls?status=active").await;
    assert_eq!((status, &list["calls"][0]["id"]), (200, &json!(id)));
    let (_, one) = api.get(&path("")).await;
    let speakers: Vec<_> = one["participants"].as_array().unwrap().iter().map(|who| who["speaker"].clone()).collect();
    assert_eq!(speakers, ["caller", "agent"]);
    assert!(one["participants"].as_array().unwrap().iter().all(|who| who["heard_by"].is_string()), "{one}");

    // Paused: one state for every leg.
    assert_eq!(api.post(&path("/pause"), json!({"reason": "card"})).await.0, 204);
    let mut paused = 0;
    while paused < 2 {
        let event = within("both legs to pause", watch.next()).await.unwrap().json();
        paused += usize::from(kind(&event) == "capture.paused.v1");
    }
    assert_eq!(api.get(&path("")).await.1["paused"], true);
    // The tone goes by Vonage's stream, which fetches it from us: both sockets only listen.
    assert_eq!(api.play(&id, tone(), "?speaker=caller").await, 204);
    assert_eq!(api.post(&path("/say"), json!({"text": "One moment.", "speaker": "agent"})).await.0, 204);
    assert_eq!(api.post(&path("/dtmf"), json!({"digits": "12#"})).await.0, 204);
    assert_eq!(api.post(&path("/mute"), json!({"speaker": "agent"})).await.0, 204);
    assert_eq!(api.post(&path("/unmute"), json!({"speaker": "agent"})).await.0, 204);
    assert_eq!(api.post(&path("/resume"), json!({})).await.0, 204);
    let mut resumed = 0;
    while resumed < 2 {
        let event = within("both legs to resume", watch.next()).await.unwrap().json();
        resumed += usize::from(kind(&event) == "capture.resumed.v1");
    }
    // Mistakes are told apart.
    assert_eq!(api.post(&path("/mute"), json!({})).await.0, 422);
    assert_eq!(api.post(&path("/say"), json!({"text": "x", "speaker": "nobody"})).await.0, 409);
    assert_eq!(api.post("/v1/calls/CON-none/hangup", json!({})).await.0, 404);
    assert_eq!(api.play(&id, b"RIFF".to_vec(), "").await, 422);

    watch.wait("transcript.final.v1", &id).await;
    until("the transcript", || async {
        let (status, said) = api.get(&path("/transcript")).await;
        (status == 200 && !said["segments"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(api.post(&path("/hangup"), json!({})).await.0, 204);
    watch.wait("call.record.v1", &id).await;
    let (status, problem) = api.post(&path("/hangup"), json!({})).await;
    assert_eq!((status, &problem["title"]), (409, &json!("The call is not in a state for this")));
    assert_eq!(api.get(&path("")).await.1["status"], "ended");
    within("the platform", running).await.unwrap();

    let files: Vec<_> = std::fs::read_dir(heard.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let of =
        |who: &str| files.iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(who)).unwrap();
    assert!(has_tone(of("caller")), "the caller did not hear the tone");
    assert!(!has_tone(of("phone")), "the agent heard what was meant for the caller");

    let (events, log) = world.published().await;
    assert_eq!(events.iter().filter(|event| kind(event) == "dtmf.v1").count(), 0, "keys of a pause were published");
    let ended = events.iter().filter(|event| kind(event) == "leg.ended.v1");
    assert!(ended.map(|event| number(event, "/data/ledger/paused")).all(|paused| paused > 0));
    let captures: Vec<_> = events.iter().filter(|event| kind(event) == "call.capture.v1").collect();
    assert_eq!(captures.iter().map(|event| event["data"]["paused"].clone()).collect::<Vec<_>>(), [true, false]);
    assert!(!log.contains("One moment.") && !log.contains("12#"), "what was said or pressed is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_centre_calls_out_and_an_agent_joins() {
    let mut world = World::new("").await;
    let platform = world.platform(|_| {}).await;
    let mut watch = Follower::connect(world.address(), "").await;
    let api = Api { client: Client::new(), world: &world };
    let asked = json!({"to": {"type": "phone", "number": "447700900222"}, "flow": "support", "from": "442079460000"});
    // Nobody is on the platform's stage but those who answer when they are called.
    let script = "[[party]]\nmatch = \"*\"\nanswer_after_ms = 200\nhangup_after_ms = 9000\n";
    let script = sidetone::simulator::script::Script::parse(script, "script").map_err(|error| error.to_string());
    let (script, voices) = match script {
        Ok(script) => {
            let voices = sidetone::simulator::stage::Voices::read(&script, std::path::Path::new("")).unwrap();
            (script, voices)
        }
        // Where a script must have a call, the demo's is made beside.
        Err(_) => call(12),
    };
    let running = tokio::spawn(async move { platform.run(&script, &voices).await });
    let (status, made) = until("the platform to answer", || async {
        let answer = api.post("/v1/calls", asked.clone()).await;
        (answer.0 == 201).then_some(answer)
    })
    .await;
    assert_eq!((status, &made["direction"]), (201, &json!("outbound")));
    let id = made["id"].as_str().unwrap();
    watch.wait("call.joined.v1", id).await;
    let record = watch.wait("call.record.v1", id).await;
    let roles: Vec<_> =
        record["data"]["participants"].as_array().unwrap().iter().map(|who| who["role"].clone()).collect();
    assert!(roles.contains(&json!("caller")) && roles.contains(&json!("agent")), "{record}");
    within("the platform", running).await.unwrap();
    world.published().await;
}
