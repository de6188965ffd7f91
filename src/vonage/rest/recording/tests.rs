//! Downloads from small servers that misbehave on request.

use std::time::Duration;

use serde_json::json;

use super::super::Settings;
use super::super::tests::{Act, Fake, client};
use super::*;

const AUDIO: &[u8] = b"RIFF and so on";
/// By `sha256sum`.
const AUDIO_SHA256: &str = "9d2ddf3aa912e99915026c498da75aebbe8ff7e2d2f40bb8a7c1c3d939dac586";

fn audio() -> Act {
    Act::Answer(200, vec![("content-type", "audio/wav".into())], AUDIO.to_vec())
}

/// A folder, and the names in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("call.wav")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_recording_arrives_whole_with_its_checksum() {
    let (fake, folder) = (Fake::new([audio(), audio()]).await, Folder::new());
    let url = format!("{}/v1/files/bbbb?x=1", fake.base());
    let expected =
        Downloaded { bytes: AUDIO.len() as u64, sha256: AUDIO_SHA256.into(), content_type: Some("audio/wav".into()) };
    assert_eq!(fake.client().download(&url, &folder.path()).await.unwrap(), expected);
    assert_eq!(std::fs::read(folder.path()).unwrap(), AUDIO);
    assert_eq!(folder.names(), ["call.wav"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut written = Vec::new();
    assert_eq!(fake.client().download_to(&url, &mut written).await.unwrap(), expected);
    assert_eq!(written, AUDIO);
    let asked = &fake.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/v1/files/bbbb?x=1"));
    assert_eq!(asked.claims().acl, None, "a file's path is in no rule");
}

#[tokio::test]
async fn our_token_goes_to_no_other_host() {
    let (fake, evil, folder) = (Fake::new([]).await, Fake::new([audio()]).await, Folder::new());
    for url in [format!("{}/v1/files/1", evil.base()), "http://api.nexmo.com/v1/files/1".into(), "nonsense".into()] {
        let error = fake.client().download(&url, &folder.path()).await.unwrap_err();
        assert_eq!(error.class(), "untrusted", "{url}");
    }
    for status in [301, 302, 303, 307, 308] {
        let fake = Fake::new([Act::redirect(status, format!("{}/v1/files/1", evil.base()))]).await;
        let url = format!("{}/v1/files/1", fake.base());
        let error = fake.client().download(&url, &folder.path()).await.unwrap_err();
        assert_eq!(error, RestError::Untrusted { host: "127.0.0.1".into() });
        assert_eq!(fake.count(), 1);
    }
    assert_eq!(evil.count(), 0);
    assert!(folder.names().is_empty());
}

#[tokio::test]
async fn redirects_among_trusted_hosts_are_followed_but_not_for_ever() {
    let store = Fake::new([audio()]).await;
    let fake =
        Fake::new([Act::redirect(302, "/v1/other".into()), Act::redirect(307, format!("{}/a", store.base()))]).await;
    let mut settings = fake.settings();
    settings.trusted_hosts.push(store.host.clone());
    let mut written = Vec::new();
    client(settings).download_to(&format!("{}/v1/files/1", fake.base()), &mut written).await.unwrap();
    assert_eq!(written, AUDIO);
    assert_eq!(fake.asked()[1].path, "/v1/other");
    assert_eq!(store.asked()[0].path, "/a");

    let circle = Fake::new((0..9).map(|_| Act::redirect(302, "/again".into()))).await;
    let client = client(Settings { redirects_max: 3, ..circle.settings() });
    let error = client.download_to(&format!("{}/x", circle.base()), &mut written).await.unwrap_err();
    assert_eq!((error.class(), circle.count()), ("rejected", 4));
}

#[tokio::test]
async fn what_breaks_is_begun_again_and_leaves_nothing_behind() {
    let (fake, folder) = (Fake::new([Act::Break(5_000), Act::status(503), audio()]).await, Folder::new());
    let url = format!("{}/v1/files/1", fake.base());
    let downloaded = fake.client().download(&url, &folder.path()).await.unwrap();
    assert_eq!((downloaded.sha256.as_str(), fake.count()), (AUDIO_SHA256, 3));
    assert_eq!(std::fs::read(folder.path()).unwrap(), AUDIO);

    let (fake, folder) = (Fake::new((0..9).map(|_| Act::Break(5_000))).await, Folder::new());
    let url = format!("{}/v1/files/1", fake.base());
    let error = fake.client().download(&url, &folder.path()).await.unwrap_err();
    assert_eq!((error.class(), fake.count()), ("broken", 4));
    assert!(folder.names().is_empty());

    // A writer cannot take back what it was given.
    let fake = Fake::new([Act::status(503), Act::Break(5_000), audio()]).await;
    let mut written = Vec::new();
    let error = fake.client().download_to(&format!("{}/x", fake.base()), &mut written).await.unwrap_err();
    assert_eq!((error.class(), fake.count()), ("broken", 2));
}

#[tokio::test]
async fn bounds_hold_whether_or_not_the_length_is_told() {
    let long = || Act::Answer(200, vec![], vec![0; 1_001]);
    for act in [long(), Act::Break(5_000)] {
        let (fake, folder) = (Fake::new([act]).await, Folder::new());
        let client = client(Settings { recording_bytes_max: 1_000, ..fake.settings() });
        let error = client.download(&format!("{}/x", fake.base()), &folder.path()).await.unwrap_err();
        assert_eq!((error, fake.count()), (RestError::TooLarge { max: 1_000 }, 1));
        assert!(folder.names().is_empty());
    }
}

#[tokio::test]
async fn who_stalls_is_given_up() {
    // No beginning; a beginning and no end within the time for it all.
    for act in [|| Act::Hang, || Act::Drip] {
        let (fake, folder) = (Fake::new((0..9).map(|_| act())).await, Folder::new());
        let settings = Settings { recording_timeout: Duration::from_millis(700), ..fake.settings() };
        let error = client(settings).download(&format!("{}/x", fake.base()), &folder.path()).await.unwrap_err();
        assert_eq!(error, RestError::TimedOut);
        assert!(folder.names().is_empty());
    }
}

#[tokio::test]
async fn a_download_that_is_dropped_leaves_nothing_behind() {
    let (fake, folder) = (Fake::new([Act::Drip]).await, Folder::new());
    let (client, url, path) = (fake.client(), format!("{}/x", fake.base()), folder.path());
    let task = tokio::spawn(async move { client.download(&url, &path).await });
    while folder.names().is_empty() {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(folder.names().is_empty());
}

#[tokio::test]
async fn errors_keep_their_types() {
    let folder = Folder::new();
    for (act, class) in
        [(Act::status(404), "not_found"), (Act::status(401), "unauthorised"), (Act::status(410), "rejected")]
    {
        let fake = Fake::new([act]).await;
        let error = fake.client().download(&format!("{}/x", fake.base()), &folder.path()).await.unwrap_err();
        assert_eq!((error.class(), fake.count()), (class, 1));
    }
    let fake = Fake::new([audio()]).await;
    let nowhere = folder.0.path().join("no/such/folder");
    let error = fake.client().download(&format!("{}/x", fake.base()), &nowhere).await.unwrap_err();
    assert_eq!(error, RestError::Disk(std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_transcript_is_read() {
    let document = json!({"ver": "1.0.0", "channels": [{"duration": 900, "transcript": [{"sentence": "Hello."}]}]});
    let fake =
        Fake::new([Act::status(500), Act::json(200, &document), Act::Answer(200, vec![], b"<html>".to_vec())]).await;
    let url = format!("{}/v1/t", fake.base());
    let read = fake.client().transcript(&url).await.unwrap();
    let sentence = &read.channels.get().unwrap()[0].transcript.get().unwrap()[0];
    assert_eq!(sentence.sentence.reveal().unwrap(), "Hello.");
    assert_eq!(fake.asked()[0].claims().acl, None);
    assert_eq!(fake.client().transcript(&url).await.unwrap_err().class(), "malformed");
}
