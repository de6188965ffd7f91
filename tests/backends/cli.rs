//! `sidetone check` and `sidetone transcribe` with remote transcribers.

use super::support::channel;
use super::support::process::{Said, run, sidetone};
use super::vendor::{KEY, Kind, Vendor};

async fn check(vendor: &Vendor, more: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let (name, table) = (vendor.inner.kind().name(), vendor.table(more));
    let config = format!(
        "[asr]\nbackend = \"{name}\"\nfall_back = [\"scripted\"]\n[asr.{name}]\n{table}\n[server]\nlisten = \"127.0.0.1:0\"\n\
         [sink.spool]\nmode = \"off\"\n"
    );
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    run(folder.path(), &["check", "--config", "sidetone.toml"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_every_transcriber_and_shows_no_key() {
    for kind in Kind::ALL {
        let mut vendor = Vendor::start(kind, &[]).await;
        let said = check(&vendor, "").await;
        assert_eq!(said.code, Some(0), "{kind:?}: {said:?}");
        assert!(said.out.contains(&format!("ok   asr            {}: ", kind.name())), "{}", said.out);
        assert!(said.out.contains("ok   asr fall back  scripted loads"), "{}", said.out);
        vendor.kill().await;
        let said = check(&vendor, "").await;
        assert_eq!(said.code, Some(1), "{kind:?}: {said:?}");
        let expected = format!(
            "BAD  asr            {0}: the backend cannot be reached (unreachable); look at url and key of [asr.{0}]",
            kind.name()
        );
        assert!(said.out.contains(&expected), "{}", said.out);
        assert!(!format!("{said:?}").contains(KEY));
    }
    let vendor = Vendor::start(Kind::Deepgram, &[]).await;
    let said = check(&vendor, "key = \"hunter2\"").await;
    assert!(said.out.contains("BAD  asr            deepgram: the backend does not accept the key"), "{}", said.out);
    assert!(!format!("{said:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_transcribed_elsewhere_as_well() {
    let vendor = Vendor::start(Kind::OpenAi, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[asr]\nbackend = \"openai\"\n[asr.openai]\n{}\n", vendor.table(""));
    std::fs::write(folder.path().join("sidetone.toml"), config).unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(folder.path().join("call.wav"), spec).unwrap();
    channel(1)[..20 * 8_000].iter().for_each(|sample| wav.write_sample(*sample).unwrap());
    wav.finalize().unwrap();
    let mut command = sidetone();
    command.current_dir(folder.path()).args(["transcribe", "--config", "sidetone.toml", "call.wav"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && out.contains("openai heard"),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
