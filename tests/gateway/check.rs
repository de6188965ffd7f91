//! `sidetone check` on what is configured of Vonage, with an offline Vonage as its peer.

use std::path::Path;

use sidetone::simulator::platform::{Platform, Settings};
use sidetone::vonage::app_jwt::AppPublicKey;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::support::process::{Said, run, run_with};

/// A gateway's configuration in a folder, and the Vonage that it is for.
struct Bench {
    folder: TempDir,
    vonage: String,
    _platform: Platform,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vonage = listener.local_addr().unwrap().to_string();
        let arguments = ["simulate", "init", ".", "--listen", &vonage, "--gateway", "127.0.0.1:0"];
        let init = run(folder.path(), &arguments).await;
        assert_eq!(init.code, Some(0), "{}", init.err);
        let set_up: toml::Table = read(folder.path(), "simulator.toml").parse().unwrap();
        let text = |key: &str| set_up[key].as_str().unwrap().to_owned();
        let mut settings = Settings::new("http://127.0.0.1:1/answer", "http://127.0.0.1:1/event");
        settings.rest_key = Some(AppPublicKey::from_pem(&text("public_key")).unwrap());
        settings.application_id = Some(text("application_id"));
        let platform = Platform::start_on(listener, settings).await.unwrap();
        Self { folder, vonage, _platform: platform }
    }

    /// Checks the configuration after a change to it.
    async fn check(&self, change: impl FnOnce(&mut toml::Table)) -> Said {
        let mut config: toml::Table = read(self.folder.path(), "gateway.toml").parse().unwrap();
        change(&mut config);
        std::fs::write(self.folder.path().join("changed.toml"), config.to_string()).unwrap();
        run_with(self.folder.path(), &["check", "--config", "changed.toml"], |command| {
            command.env("SIDETONE_ASR__BACKEND", "scripted");
        })
        .await
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// A table at a dotted path.
fn at<'a>(config: &'a mut toml::Table, path: &str) -> &'a mut toml::Table {
    path.split('.').fold(config, |table, key| match &mut table[key] {
        toml::Value::Array(all) => all[0].as_table_mut().unwrap(),
        other => other.as_table_mut().unwrap(),
    })
}

fn set(config: &mut toml::Table, section: &str, key: &str, value: impl Into<toml::Value>) {
    at(config, section).insert(key.to_owned(), value.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vonage_that_knows_us_is_well() {
    let bench = Bench::new().await;
    let said = bench.check(|_| {}).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    for line in [
        "ok   application    vonage.application_id is ".to_owned(),
        "ok   private key    vonage.private_key is private.key, an RSA key of 2048 bits".to_owned(),
        "ok   webhooks       vonage.account[0]: api_key is ".to_owned(),
        "ok   public url     http://127.0.0.1:0/v1/vonage/answer, /event and /fallback; media sockets at \
         ws://127.0.0.1:0/media (good for development on this machine)"
            .to_owned(),
        "ok   flow           \"support\": what Vonage would be told is valid".to_owned(),
        format!("ok   voice api      vonage.api_base is http://{}, and takes our token", bench.vonage),
    ] {
        assert!(said.out.lines().any(|said| said.starts_with(&line)), "{line:?} is not in\n{}", said.out);
    }
    // What is secret is masked, wherever it stands.
    let mut config: toml::Table = read(bench.folder.path(), "gateway.toml").parse().unwrap();
    let secret = |table: &toml::Table, key: &str| table[key][0].as_str().unwrap().to_owned();
    let secrets = [
        secret(at(&mut config, "vonage.account"), "signature_secrets"),
        secret(at(&mut config, "media"), "token_keys"),
    ];
    for secret in secrets {
        assert!(!said.out.contains(&secret), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_vonage_is_named_with_what_was_expected() {
    type Change = Box<dyn FnOnce(&mut toml::Table)>;
    let bench = Bench::new().await;
    std::fs::write(bench.folder.path().join("text.key"), "no key at all").unwrap();
    let nowhere = "127.0.0.1:1";
    let music = format!("http://{}/hold.mp3", bench.vonage);
    let other = "00000000-0000-4000-8000-000000000000";
    let set = |section: &'static str, key: &'static str, value: &str| -> Change {
        let value = value.to_owned();
        Box::new(move |config| set(config, section, key, value))
    };
    let cases: [(Change, &[&str]); 12] = [
        (set("vonage", "application_id", "support"), &["application", "\"support\"; expected", "a UUID"]),
        (set("vonage", "application_id", other), &["voice api", "(401)", "expected vonage.application_id and"]),
        (set("vonage", "private_key", "nowhere.key"), &["private key", "nowhere.key: it cannot be read"]),
        (set("vonage", "private_key", "text.key"), &["private key", "text.key: not a PEM file: expected"]),
        (
            Box::new(move |config| {
                at(config, "vonage").insert("api_base".into(), format!("http://{nowhere}").into());
                at(config, "vonage").insert("trusted_hosts".into(), vec![nowhere].into());
            }),
            &["voice api", "http://127.0.0.1:1: no connection", "expected a host that can be reached"],
        ),
        (
            Box::new(|config| drop(at(config, "vonage").remove("account"))),
            &["webhooks", "vonage.account is empty", "expected [[vonage.account]]"],
        ),
        (set("server", "public_url", "http://calls.example"), &["public url", "without TLS; expected https://host"]),
        (set("flow.to", "phone", "the desk"), &["flow", "\"support\": to: [0].endpoint[0].number"]),
        (set("flow", "hold_music", "http://127.0.0.1:1/hold.mp3"), &["hold music", "no connection", "expected a host"]),
        (set("flow", "hold_music", &music), &["hold music", "127.0.0.1, which answers 4", "expected a file"]),
        (
            Box::new(|config| {
                let section = toml::Table::from_iter([("folder".to_owned(), toml::Value::from("no-such-folder"))]);
                at(config, "vonage").insert("recordings".into(), section.into());
            }),
            &[
                "recordings",
                "vonage.recordings.folder is no-such-folder: ",
                "expected a folder that is there and can be",
            ],
        ),
        (
            Box::new(|config| {
                at(config, "server").insert("listen".into(), "0.0.0.0:0".into());
                at(config, "server").insert("public_url".into(), "".into());
            }),
            &["public url", "http://0.0.0.0:0, without TLS"],
        ),
    ];
    for (change, expected) in cases {
        let said = bench.check(change).await;
        assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{expected:?}: {said:?}");
        let named = format!("BAD  {:<14} ", expected[0]);
        let found =
            said.out.lines().any(|line| line.starts_with(&named) && expected.iter().all(|part| line.contains(part)));
        assert!(found, "{expected:?} is not said:\n{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_key_may_be_text_and_is_not_shown() {
    let bench = Bench::new().await;
    let key = read(bench.folder.path(), "private.key");
    let as_text = |config: &mut toml::Table| {
        at(config, "vonage").remove("private_key");
        set(config, "vonage", "private_key_pem", key.as_str());
    };
    let said = bench.check(as_text).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.contains("vonage.private_key_pem is [secret], an RSA key of 2048 bits"), "{}", said.out);
    assert!(said.out.contains("takes our token"), "{}", said.out);
    assert!(!said.out.contains(key.lines().nth(1).unwrap()), "{}", said.out);
    let both = bench.check(|config| set(config, "vonage", "private_key_pem", key.as_str())).await;
    assert_eq!(both.code, Some(1));
    assert!(
        both.out.contains("vonage.private_key_pem is set; expected one of it and vonage.private_key"),
        "{}",
        both.out
    );
}
