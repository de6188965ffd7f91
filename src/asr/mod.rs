//! Transcribers: speech in, text out.
//!
//! A backend is one file here plus one line in [`BACKENDS`]. Everything that
//! lists, checks or documents backends walks that list, and the conformance test
//! below runs every entry through the same paces.
//!
//! A [`Backend`] is the entry in the list; it builds an [`Engine`] once, from its
//! own table of the configuration; the engine opens one [`Transcriber`] for each
//! inference thread, on that thread. A transcriber need not be `Send`.

use std::path::Path;
use std::sync::Arc;

use crate::types::{BuildError, Fault, SegmentKind, Transcript};

mod moonshine;
mod scripted;

/// Every transcriber, in the order it is listed to people. The first is the default.
pub static BACKENDS: &[&dyn Backend] = &[&moonshine::Moonshine, &scripted::Scripted];

/// The entry of one transcriber in [`BACKENDS`].
pub trait Backend: Sync {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// One line for people: what it is and what it costs.
    fn about(&self) -> &'static str;

    /// The model of `models/manifest.toml` it needs, if any.
    fn model(&self) -> Option<&'static str> {
        None
    }

    /// Reads `settings` (the table `[asr.<name>]`) and loads what all threads share.
    /// `model` is the folder that holds the verified files of [`Backend::model`].
    ///
    /// # Errors
    /// Names the key, file or value that is wrong and the remedy.
    fn build(&self, settings: &toml::Table, model: Option<&Path>) -> Result<Arc<dyn Engine>, BuildError>;
}

/// A backend made ready for use by any number of threads.
pub trait Engine: Send + Sync {
    /// Opens one transcriber, on the thread that will use it.
    ///
    /// # Errors
    /// As [`Backend::build`].
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError>;
}

/// One inference thread's own transcriber.
pub trait Transcriber {
    /// Transcribes one utterance.
    ///
    /// `samples`: mono, 16 kHz, full scale ±1, speech level already normalised;
    /// one to a few hundred thousand of them. A `Partial` will be asked about again
    /// with more audio; an engine may spend less on it.
    ///
    /// Never panics on any audio; an utterance without words gives empty text.
    ///
    /// # Errors
    /// [`Fault::Backend`] when the engine fails, [`Fault::Looped`] when its text
    /// repeats itself as recognisers do on noise.
    fn transcribe(&mut self, samples: &[f32], kind: SegmentKind) -> Result<Transcript, Fault>;
}

/// Finds a backend by its name in the configuration.
///
/// # Errors
/// Lists the names there are.
pub fn find(name: &str) -> Result<&'static dyn Backend, BuildError> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name()).collect();
        BuildError::new(
            "asr",
            format!("no transcriber is called {name:?}"),
            format!("use one of: {}", names.join(", ")),
        )
    })
}
