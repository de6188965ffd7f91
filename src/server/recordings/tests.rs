//! Recordings from small servers that misbehave on request.

use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use tempfile::TempDir;

use super::*;
use crate::types::{ConversationId, WallTime};
use crate::vonage::rest::Settings;
use crate::vonage::rest::tests::{Act, Fake, client};

const START: WallTime = WallTime(1_795_510_800_000_000);

fn at(ms: i64) -> WallTime {
    WallTime(START.0 + ms * 1_000)
}

/// A second of a loud stereo recording at 8 kHz.
fn wav() -> Vec<u8> {
    let spec = WavSpec { channels: 2, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    (0..16_000).for_each(|_| writer.write_sample(1_000_i16).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

fn found(body: impl Into<Vec<u8>>) -> Act {
    Act::Answer(200, vec![], body.into())
}

/// A keeper of one folder, and a Vonage.
struct Bench {
    fake: Fake,
    folder: TempDir,
    keeper: Recordings,
}

impl Bench {
    async fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::with(acts, |_, _| {}).await
    }

    async fn with(
        acts: impl IntoIterator<Item = Act>,
        change: impl FnOnce(&mut config::Recordings, &mut Settings),
    ) -> Self {
        let (fake, folder) = (Fake::new(acts).await, tempfile::tempdir().unwrap());
        let mut section =
            config::Recordings { folder: folder.path().to_owned(), guard_ms: 100, ..config::Recordings::default() };
        let mut settings = fake.settings();
        change(&mut section, &mut settings);
        Self { keeper: Recordings::new(&section, client(settings)), fake, folder }
    }

    fn wanted(&self, paused: &[(i64, Option<i64>)]) -> Keep {
        Keep {
            call: ConversationId::parse("CON-1").unwrap(),
            url: format!("{}/v1/files/aaaa", self.fake.base()),
            recording: Some("aaaa".into()),
            start: Some(START),
            end: Some(at(1_000)),
            paused: paused.iter().map(|(from, to)| (at(*from), to.map(at))).collect(),
        }
    }

    async fn keep(&self, wanted: &Keep) -> RecordingCopy {
        self.keeper.keep(wanted, self.keeper.room().unwrap()).await
    }

    /// Why none was kept; nothing may be left behind.
    async fn refusal(&self, wanted: &Keep) -> String {
        let copy = self.keep(wanted).await;
        assert_eq!(copy, RecordingCopy::refused(copy.reason.as_deref().unwrap_or_default()));
        assert!(self.names().is_empty(), "{:?}", self.names());
        copy.reason.unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_recording_is_kept_silent_where_it_was_paused() {
    let bench = Bench::new([Act::status(503), found(wav())]).await;
    let copy = bench.keep(&bench.wanted(&[(400, Some(500))])).await;
    let file = std::fs::read(bench.folder.path().join("CON-1_aaaa.wav")).unwrap();
    let expected = RecordingCopy {
        kept: true,
        reason: None,
        path: Some("CON-1_aaaa.wav".into()),
        bytes: Some(wav().len() as u64),
        sha256: Some(format!("{:x}", Sha256::digest(&file))),
        muted: Some(1),
        muted_ms: Some(300),
    };
    assert_eq!((copy, bench.fake.count(), bench.names().len()), (expected, 2, 1));
    let samples: Vec<i16> = WavReader::new(&file[..]).unwrap().samples().map(Result::unwrap).collect();
    let silent: Vec<_> = (0..16_000).filter(|n| samples[*n] == 0).collect();
    assert_eq!((silent[0], silent.len(), samples.len()), (300 * 16, 300 * 16, 16_000));
}

#[tokio::test]
async fn each_failure_has_a_name_and_leaves_nothing_behind() {
    let cut = wav()[..1_000].to_vec();
    let paused: &[(i64, Option<i64>)] = &[(400, Some(500))];
    for (acts, paused, reason) in [
        (vec![Act::status(404)], &[][..], "not_found"),
        (vec![Act::status(401)], &[], "unauthorised"),
        (vec![Act::status(500), Act::status(502), Act::status(503), Act::status(504)], &[], "failed"),
        (vec![found("no such file")], &[], "not_audio"),
        (vec![found(cut)], paused, "truncated"),
        (vec![found(&b"ID3\x04 and the rest of it"[..])], paused, "not_mutable"),
        (vec![found(&b"OggS and the rest of it"[..])], paused, "not_mutable"),
    ] {
        let bench = Bench::new(acts).await;
        assert_eq!(bench.refusal(&bench.wanted(paused)).await, reason);
    }
    let bench = Bench::new([found(wav())]).await;
    let late = Keep { end: Some(at(1_200)), ..bench.wanted(paused) };
    assert_eq!(bench.refusal(&late).await, "times_disagree");
    let bench = Bench::new([found(wav())]).await;
    assert_eq!(bench.refusal(&Keep { start: None, ..bench.wanted(paused) }).await, "no_start_time");

    let bench = Bench::with([found(wav())], |_, settings| settings.recording_bytes_max = 1_000).await;
    assert_eq!(bench.refusal(&bench.wanted(&[])).await, "too_large");
    let evil = Fake::new([found(wav())]).await;
    let elsewhere = Keep { url: format!("{}/v1/files/aaaa", evil.base()), ..bench.wanted(&[]) };
    assert_eq!((bench.refusal(&elsewhere).await.as_str(), evil.count()), ("untrusted", 0));
    let bench = Bench::with([found(wav())], |section, _| section.folder.push("gone")).await;
    assert_eq!(bench.refusal(&bench.wanted(&[])).await, "disk");
}

#[tokio::test]
async fn without_a_pause_an_mp3_is_kept_as_it_is() {
    let mp3 = b"ID3\x04 and the rest of it";
    let bench = Bench::new([found(&mp3[..])]).await;
    let copy = bench.keep(&bench.wanted(&[])).await;
    assert_eq!((copy.path.as_deref(), copy.muted), (Some("CON-1_aaaa.mp3"), Some(0)));
    assert_eq!(std::fs::read(bench.folder.path().join("CON-1_aaaa.mp3")).unwrap(), mp3);
}

#[tokio::test]
async fn no_id_leads_out_of_the_folder_and_no_two_share_a_file() {
    let named = |call: &str, recording: Option<&str>| {
        let call = ConversationId::parse(call).unwrap();
        let (recording, url) = (recording.map(str::to_owned), "https://api.nexmo.com/v1/files/1".to_owned());
        stem(&Keep { call, url, recording, start: None, end: None, paused: vec![] })
    };
    assert_eq!(named("CON-1", Some("aaaa-bbbb")), "CON-1_aaaa-bbbb");
    let long = "x".repeat(65);
    let ids = ["../../etc/passwd", "..", "/etc", "a/b", "a\\b", "a_b", "a.b", "id.0", "nul\0", "ä", " ", "", &long];
    let mut seen = std::collections::HashSet::new();
    for id in ids.iter().map(|id| Some(*id)).chain([None]) {
        let name = named("a_b", id);
        let fits = name.len() < 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        assert!(fits && !name.starts_with('.') && !name.contains(".."), "{id:?} is {name}");
        assert!(seen.insert(name), "{id:?} has another's name");
    }
    // A name that ends in one and begins in the other.
    assert_ne!(named("a", Some("b_c")), named("a_b", Some("c")));
}

#[tokio::test]
async fn so_many_are_under_way_and_wait_and_a_stop_ends_them() {
    let acts = [Act::Drip, Act::Drip];
    let bench = Bench::with(acts, |section, _| (section.parallel, section.waiting_max) = (1, 1)).await;
    let (first, second) = (bench.keeper.room().unwrap(), bench.keeper.room().unwrap());
    assert!(bench.keeper.room().is_none(), "a third has room");
    let wanted = bench.wanted(&[]);
    let stop = async {
        // The first has begun, the second waits.
        while bench.fake.count() == 0 {
            tokio::task::yield_now().await;
        }
        bench.keeper.stop();
    };
    let (one, two, ()) = tokio::join!(bench.keeper.keep(&wanted, first), bench.keeper.keep(&wanted, second), stop);
    assert_eq!([one.reason, two.reason], [Some(STOPPED.to_owned()), Some(STOPPED.to_owned())]);
    assert_eq!((bench.fake.count(), bench.names()), (1, vec![]));
    assert!(bench.keeper.room().is_some(), "room is not given back");
}

#[tokio::test]
async fn a_folder_is_tried_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    can_write(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(can_write(&folder.path().join("gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_asked_for_again() {
    // Long enough to have begun as audio.
    let begun = || {
        let pieces = [Ok(axum::body::Bytes::from(wav()[..4_000].to_vec())), Err(io::Error::other("broken"))];
        Act::Pieces(pieces.into())
    };
    let bench = Bench::new([begun(), found(wav())]).await;
    assert!(bench.keep(&bench.wanted(&[(400, Some(500))])).await.kept);
    assert_eq!(bench.fake.count(), 2);
    let bench = Bench::new([begun(), begun(), begun(), begun()]).await;
    assert_eq!(bench.refusal(&bench.wanted(&[])).await, "broken");
}
