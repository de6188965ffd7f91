//! The spool alone, with real files.

use std::collections::VecDeque;
use std::fs;

use super::*;
use crate::event::Event;
use crate::publish::lane::tests::durable;
use crate::publish::order;

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        mode: Mode::Always,
        fsync: Fsync::Never,
        bytes_max: 1 << 20,
        segment_bytes: 2_000,
        memory_max: 16,
        replay_share: 50,
    }
}

fn opened(dir: &Path) -> Spool {
    open(&settings(dir), "test").unwrap()
}

/// Writes events `first` to `last`, a write each; on disk only.
fn fill(spool: &mut Spool, first: u64, last: u64) {
    for position in first..=last {
        let event = durable(position);
        let record = Record { position, key: 7, path: order::Path::Backlog, event: &event };
        spool.writer.append(&[record]).unwrap();
    }
}

/// The `seq` of everything that is read back.
fn read(spool: &mut Spool) -> Vec<u64> {
    let (mut all, mut lost) = (VecDeque::new(), Vec::new());
    loop {
        let before = all.len() + lost.len();
        spool.reader.read(&mut all, &mut lost);
        if all.len() + lost.len() == before {
            return all.iter().map(|held: &Held| held.event.seq).collect();
        }
    }
}

fn spool_files(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("test")).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_was_written_is_read_back_as_it_was_by_this_process_and_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = opened(dir.path());
    fill(&mut spool, 1, 30);
    assert!(spool_files(dir.path()).len() > 3, "all in one file");
    let (mut held, mut lost) = (VecDeque::new(), Vec::new());
    spool.reader.read(&mut held, &mut lost);
    assert_eq!(*held[0].event, *durable(1));
    assert_eq!(held[0].event.to_structured(), durable(1).to_structured());
    drop(spool);
    let mut spool = opened(dir.path());
    assert_eq!((spool.found.events(), spool.found.last), (30, 30));
    assert_eq!(read(&mut spool), (1..=30).collect::<Vec<_>>());
}

#[test]
fn what_is_settled_is_not_read_back_and_files_go_once_nothing_in_them_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = opened(dir.path());
    fill(&mut spool, 1, 30);
    let before = spool_files(dir.path());
    for position in (1..=20).chain([25]) {
        spool.index.settle(position);
    }
    spool.writer.settled(&(1..=20).chain([25]).collect::<Vec<_>>()).unwrap();
    let after = spool_files(dir.path());
    assert!(after.len() < before.len() && !after.contains(&before[0]), "{after:?}");
    drop(spool);
    let mut spool = opened(dir.path());
    assert_eq!(read(&mut spool), [21, 22, 23, 24, 26, 27, 28, 29, 30]);
    for position in 21..=30 {
        spool.index.settle(position);
    }
    spool.writer.finish().unwrap();
    assert_eq!((spool_files(dir.path()).len(), spool.index.bytes()), (0, 0));
}

#[test]
fn at_its_bound_it_refuses_whole_batches_and_takes_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&Settings { bytes_max: 8_000, ..settings(dir.path()) }, "test").unwrap();
    let mut position = 0;
    let error = loop {
        position += 1;
        let event = durable(position);
        let record = Record { position, key: 7, path: order::Path::Backlog, event: &event };
        if let Err(error) = spool.writer.append(&[record]) {
            break error;
        }
        assert!(position < 100, "it has no bound");
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("sink.spool.bytes_max"), "{error}");
    assert!(spool.index.is_pressed());
    let on_disk: u64 = spool_files(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(on_disk <= 8_000 && on_disk == spool.index.bytes(), "{on_disk} bytes");
    (1..position).for_each(|position| spool.index.settle(position));
    fill(&mut spool, position, position + 2);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = opened(dir.path());
    let error = open(&settings(dir.path()), "test").err().unwrap().to_string();
    assert!(error.contains("is in use by process") && error.contains(&std::process::id().to_string()), "{error}");
    assert!(look(dir.path(), "test").unwrap().in_use);
    drop(first);
    assert!(!look(dir.path(), "test").unwrap().in_use);
    opened(dir.path());
}

#[test]
fn a_poisoned_file_is_set_aside_by_name_and_the_rest_replays() {
    type Poison = fn(&Path);
    let cases: [(&str, Poison, usize); 6] = [
        (
            "truncated",
            |path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
            },
            1,
        ),
        (
            "damaged",
            |path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[100] ^= 4;
                fs::write(path, bytes).unwrap();
            },
            1,
        ),
        (
            "damaged",
            |path| {
                // Zeros in the middle, over the border of two records.
                let mut bytes = fs::read(path).unwrap();
                bytes[200..600].fill(0);
                fs::write(path, bytes).unwrap();
            },
            2,
        ),
        ("foreign", |path| fs::write(path, "#!/bin/sh\nnot ours\n").unwrap(), 5),
        (
            "version",
            |path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[15] = b'9';
                fs::write(path, bytes).unwrap();
            },
            5,
        ),
        (
            "unreadable",
            |path| {
                // What root may not read either.
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            5,
        ),
    ];
    for (reason, poison, cost) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = opened(dir.path());
        fill(&mut spool, 1, 30);
        drop(spool);
        let second = spool_files(dir.path())[1].clone();
        let in_it = recover::scan(&second, &mut Vec::new()).0.unwrap().1;
        poison(&second);
        let seen = look(dir.path(), "test").unwrap();
        assert_eq!(
            seen.damaged.iter().map(|(path, fault)| (path, fault.name())).collect::<Vec<_>>(),
            [(&second, reason)]
        );
        let mut spool = opened(dir.path());
        let name = format!("{}.{reason}", second.file_name().unwrap().to_str().unwrap());
        assert_eq!(spool.found.quarantined.len(), 1, "{reason}");
        assert!(spool.found.quarantined[0].0.ends_with(Path::new(QUARANTINE).join(&name)), "{reason}");
        let left = read(&mut spool);
        let missing: Vec<u64> = (1..=30).filter(|seq| !left.contains(seq)).collect();
        assert!(left.is_sorted() && missing.iter().all(|seq| in_it.iter().any(|wanted| wanted.position == *seq)));
        let cost = if cost == 5 { in_it.len() } else { cost };
        assert_eq!(missing.len(), cost, "{reason}: {missing:?}");
        // Once the rest is settled, only what was set aside is left.
        left.iter().for_each(|position| spool.index.settle(*position));
        spool.writer.finish().unwrap();
        drop(spool);
        let seen = look(dir.path(), "test").unwrap();
        assert_eq!((seen.files, seen.events, seen.damaged.len()), (0, 0, 0), "{reason}");
        assert!(seen.quarantined.len() == 1 && seen.quarantined[0].ends_with(&name), "{:?}", seen.quarantined);
        // A later file does not take its name.
        let mut spool = opened(dir.path());
        fill(&mut spool, 100, 101);
        assert_ne!(spool_files(dir.path())[0].file_name(), second.file_name(), "{reason}");
    }
}

#[test]
fn damage_after_the_start_costs_the_event_it_is_in_and_is_set_aside_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = opened(dir.path());
    fill(&mut spool, 1, 5);
    let path = spool_files(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (mut ahead, mut lost) = (VecDeque::new(), Vec::new());
    spool.reader.read(&mut ahead, &mut lost);
    assert_eq!(ahead.iter().map(|held| held.position).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(lost.iter().map(|(wanted, fault)| (wanted.position, *fault)).collect::<Vec<_>>(), [(1, Fault::Damaged)]);
    assert_eq!(look(dir.path(), "test").unwrap().quarantined.len(), 1);
}

#[test]
fn a_look_and_an_export_change_nothing_and_tell_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = opened(dir.path());
    fill(&mut spool, 1, 12);
    spool.index.settle(1);
    spool.writer.settled(&[1]).unwrap();
    // While it is in use.
    let seen = look(dir.path(), "test").unwrap();
    assert_eq!((seen.events, seen.types.get("dtmf.v1"), seen.in_use), (11, Some(&11), true));
    assert_eq!(seen.oldest.as_deref(), Some("1970-01-01T00:00:00.000000Z"));
    let mut lines = Vec::new();
    assert_eq!(export(dir.path(), "test", &mut lines).unwrap(), 11);
    let lines = String::from_utf8(lines).unwrap();
    let expected: Vec<_> = (2..=12).map(|seq| String::from_utf8(durable(seq).to_structured()).unwrap()).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    assert_eq!(read(&mut spool).len(), 12, "looking took something away");
    let none = look(dir.path(), "other").unwrap();
    assert_eq!((none.files, none.events, none.in_use), (0, 0, false));
    assert!(!dir.path().join("other").exists(), "looking left a folder behind");
}

#[test]
fn an_event_of_a_kind_that_is_not_known_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = opened(dir.path());
    fill(&mut spool, 1, 1);
    drop(spool);
    let path = spool_files(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let line = String::from_utf8(durable(2).to_structured()).unwrap().replace("dtmf.v1", "dtmf.v9");
    let frame = frame::Frame { kind: frame::Kind::Backlog, position: 2, key: 7, payload: line.as_bytes() };
    frame::write(&mut bytes, &frame);
    fs::write(&path, bytes).unwrap();
    let mut spool = opened(dir.path());
    assert_eq!(read(&mut spool), [1]);
    let seen = look(dir.path(), "test").unwrap();
    assert!(seen.quarantined[0].to_str().unwrap().ends_with(".unknown-events"), "{seen:?}");
    assert!(Event::from_structured(line.as_bytes()).is_err());
}
