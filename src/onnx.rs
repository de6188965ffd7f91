//! ONNX Runtime: loaded once per process, from the library in a model's folder.
//!
//! What every backend that runs ONNX models shares: the library, the model bytes,
//! and the options that make a session quick on one thread. Must never panic on a
//! library or file that is not what it should be, never send anything anywhere
//! (the runtime's telemetry is off), and never write to standard error itself.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::CUDA;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use serde::Deserialize;

use crate::types::BuildError;

/// The model whose folder holds the runtime's library. A backend with a network of its
/// own needs this one beside its own.
pub const RUNTIME_MODEL: &str = "moonshine-tiny-en";

/// The library's name in that folder.
pub const LIBRARY: &str = "libonnxruntime.so";

/// A library that is loaded in place of the one in that folder.
static PREFERRED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The runtime of this process; a second one cannot be made.
static RUNTIME: Mutex<Option<Environment>> = Mutex::new(None);

/// Model files read so far.
static WEIGHTS: Mutex<Option<HashMap<PathBuf, &'static [u8]>>> = Mutex::new(None);

/// From now on `library` is loaded in place of the one in a model's folder; to be called
/// before any backend is built.
pub fn prefer(library: &Path) {
    *PREFERRED.lock().unwrap_or_else(PoisonError::into_inner) = Some(library.to_owned());
}

/// The process's runtime, loaded from `library` if none is loaded yet. The library
/// that was loaded first serves everyone; later paths are not looked at.
///
/// # Errors
/// Names `library`, the loader's reason and a remedy, on behalf of `backend`.
pub fn runtime(backend: &str, library: &Path) -> Result<Environment, BuildError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ready) = &*runtime {
        return Ok(ready.clone());
    }
    let preferred = PREFERRED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let remedy = match preferred {
        Some(_) => "look at models.onnxruntime",
        None => {
            "fetch the model anew with `sidetone models fetch --force`; the library needs glibc 2.34 or later and libstdc++"
        }
    };
    let library = preferred.as_deref().unwrap_or(library);
    let refused = |reason: String| {
        BuildError::new(backend, format!("cannot load ONNX Runtime from {}: {reason}", library.display()), remedy)
    };
    // A bare name would make the loader search the system's folders.
    if !library.is_file() {
        return Err(refused("no such file".to_owned()));
    }
    let ready = ort::init_from(library)
        .map_err(|error| refused(error.to_string()))?
        .with_name("sidetone")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _, _, _, message| match level {
            LogLevel::Error | LogLevel::Fatal => tracing::warn!(target: "onnxruntime", "{message}"),
            _ => tracing::debug!(target: "onnxruntime", "{message}"),
        }))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    // Below this level the runtime does not even format its messages.
    ready.set_log_level(LogLevel::Warning);
    *runtime = Some(ready.clone());
    Ok(ready)
}

/// The bytes of a model file, read once per process and kept for its life, so that
/// every session can use the weights in place.
///
/// # Errors
/// Names the file, on behalf of `backend`.
pub fn weights(backend: &str, file: &Path) -> Result<&'static [u8], BuildError> {
    let mut read = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    let read = read.get_or_insert_default();
    if let Some(bytes) = read.get(file) {
        return Ok(bytes);
    }
    let bytes: &'static [u8] = read_file(backend, file)?.leak();
    read.insert(file.to_owned(), bytes);
    Ok(bytes)
}

/// Reads a whole file of a model.
///
/// # Errors
/// Names the file, on behalf of `backend`.
pub fn read_file(backend: &str, file: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(file).map_err(|error| {
        BuildError::new(
            backend,
            format!("cannot read {}: {error}", file.display()),
            "fetch the model anew with `sidetone models fetch --force`",
        )
    })
}

/// What a network is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// A graphics processor of NVIDIA's, through CUDA. The runtime's library has to be one that
    /// was built with it.
    Cuda,
}

/// How a network is run.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    threads: usize,
    provider: Provider,
}

/// Most threads within an operation that a machine could make use of.
const THREADS_MAX: usize = 64;

impl Running {
    /// On `provider`, and on the processor with `threads` (1 to 64) threads within an
    /// operation; 1 is the calling thread only.
    ///
    /// # Errors
    /// Names key, value and what was expected, on behalf of `backend`.
    pub fn of(backend: &str, threads: usize, provider: Provider) -> Result<Self, BuildError> {
        match threads {
            1..=THREADS_MAX => Ok(Self { threads, provider }),
            _ => Err(BuildError::new(
                backend,
                format!("threads = {threads}"),
                format!("expected 1 (best for many calls) to {THREADS_MAX}"),
            )),
        }
    }

    /// What to open a session with.
    ///
    /// # Errors
    /// When `runtime` has no such provider, on behalf of `backend`.
    pub fn options(self, backend: &str, runtime: &Environment) -> Result<SessionBuilder, BuildError> {
        let refused = |error: ort::Error| BuildError::new(backend, error.to_string(), "report it as a bug");
        let options = options(runtime, self.threads).map_err(refused)?;
        match self.provider {
            Provider::Cpu => Ok(options),
            Provider::Cuda => options
                .with_execution_providers([CUDA::default().build().error_on_failure()])
                .map_err(|error| BuildError::new(backend, format!("provider = \"cuda\": {error}"), NO_CUDA)),
        }
    }
}

/// What to do about a runtime without CUDA.
const NO_CUDA: &str = "name a libonnxruntime.so that was built with CUDA in models.onnxruntime (version 1.23 or later; \
                       the Python package onnxruntime-gpu has one), with CUDA and a driver on this machine, or set \
                       provider = \"cpu\"";

fn options(runtime: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(runtime)?
        .with_intra_threads(threads)?
        // Threads that spin between operations would take the processor from other calls.
        .with_intra_op_spinning(false)?
        // Every length of audio and text is a new shape; the runtime would remember a
        // memory plan for each, for ever.
        .with_memory_pattern(false)?)
}

/// Sessions on one network, shared by any number of threads. Each has one to itself while
/// it works; there are as many as ever worked at once, up to a bound. At the bound a thread
/// waits until another has done.
pub struct Sessions {
    runtime: Environment,
    most: usize,
    shelf: parking_lot::Mutex<Shelf>,
    returned: parking_lot::Condvar,
}

struct Shelf {
    idle: Vec<Session>,
    opened: usize,
    /// Given back to the system when no more sessions may be opened.
    network: Arc<Vec<u8>>,
}

impl Sessions {
    /// Opens the network in `file`, with other values for those of its weights that
    /// `tuned` names, on the library in the folder of [`RUNTIME_MODEL`]; at most `most`
    /// sessions, at least one.
    ///
    /// # Errors
    /// Names the file that is missing or cannot be used, on behalf of `backend`.
    pub fn open(
        backend: &str,
        library_folder: &Path,
        file: &Path,
        tuned: &[(&str, &[f32])],
        most: usize,
    ) -> Result<Self, BuildError> {
        let unusable = |reason: String| {
            BuildError::new(
                backend,
                format!("cannot use {}: {reason}", file.display()),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        };
        let runtime = runtime(backend, &library_folder.join(LIBRARY))?;
        let mut network = read_file(backend, file)?;
        set_weights(&mut network, tuned).map_err(unusable)?;
        let shelf = parking_lot::Mutex::new(Shelf { idle: Vec::new(), opened: 0, network: Arc::new(network) });
        let sessions = Self { runtime, most: most.max(1), shelf, returned: parking_lot::Condvar::new() };
        sessions.with(|_| Ok(())).map_err(|error| unusable(error.to_string()))?;
        Ok(sessions)
    }

    /// Lets `work` have a session.
    ///
    /// # Errors
    /// That of `work`, or the runtime's, which could not open one more session.
    pub fn with<T>(&self, work: impl FnOnce(&mut Session) -> ort::Result<T>) -> ort::Result<T> {
        let mut mine = Lent { session: Some(self.take()?), owner: self };
        match &mut mine.session {
            Some(session) => work(session),
            None => Err(ort::Error::new("the session is gone")),
        }
    }

    fn take(&self) -> ort::Result<Session> {
        let mut shelf = self.shelf.lock();
        loop {
            if let Some(session) = shelf.idle.pop() {
                return Ok(session);
            }
            if shelf.opened < self.most {
                break;
            }
            self.returned.wait(&mut shelf);
        }
        shelf.opened += 1;
        let network = Arc::clone(&shelf.network);
        if shelf.opened == self.most {
            shelf.network = Arc::default();
        }
        // Nobody who finds a session has to wait until this one is open.
        drop(shelf);
        let session = options(&self.runtime, 1).and_then(|mut options| options.commit_from_memory(&network));
        if session.is_err() {
            let mut shelf = self.shelf.lock();
            shelf.opened -= 1;
            shelf.network = network;
            self.returned.notify_one();
        }
        session
    }
}

/// A session that goes back to its shelf, also where the work panics.
struct Lent<'a> {
    session: Option<Session>,
    owner: &'a Sessions,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.owner.shelf.lock().idle.push(session);
            self.owner.returned.notify_one();
        }
    }
}

/// Writes other values over weights of an ONNX network: floats, each tensor as long as it was.
///
/// The runtime could be given them when a session is opened, but only after it has merged
/// weights with each other, and those would stay as they were. So they are written into the
/// file's bytes: a protobuf message with a graph (7), whose weights (5) have a type (2; 1 is
/// float), a name (8) and little-endian data (9) each.
fn set_weights(network: &mut [u8], tuned: &[(&str, &[f32])]) -> Result<(), String> {
    let mut places: HashMap<Vec<u8>, Range<usize>> = HashMap::new();
    for graph in parts(network, 0..network.len(), 7) {
        for tensor in parts(network, graph, 5) {
            let one = |number| parts(network, tensor.clone(), number).next();
            if let (Some(name), Some(data), Some(FLOATS)) = (one(8), one(9), one(2).map(|place| &network[place])) {
                places.insert(network[name].to_vec(), data);
            }
        }
    }
    for &(name, values) in tuned {
        let place = places.get(name.as_bytes()).filter(|place| place.len() == size_of_val(values));
        let place = place.ok_or_else(|| format!("it has no weights {name} that are {} floats", values.len()))?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        network[place.clone()].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
    }
    Ok(())
}

/// A tensor's type in ONNX, as protobuf writes the number.
const FLOATS: &[u8] = &[1];

/// Where the fields `number` of the protobuf message `message` of `bytes` have their contents.
/// They end where it is not such a message any more.
fn parts(bytes: &[u8], message: Range<usize>, number: u64) -> impl Iterator<Item = Range<usize>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let tag = varint(bytes, &mut rest)?;
            let from = rest.start;
            let contents = match tag & 7 {
                0 => varint(bytes, &mut rest).map(|_| from..rest.start)?,
                1 => from..from + 8,
                2 => varint(bytes, &mut rest)
                    .and_then(|length| rest.start.checked_add(usize::try_from(length).ok()?))
                    .map(|end| rest.start..end)?,
                5 => from..from + 4,
                _ => return None,
            };
            if contents.end > rest.end {
                return None;
            }
            rest.start = contents.end;
            if tag >> 3 == number {
                return Some(contents);
            }
        }
    })
}

/// The number in base 128 at the start of `rest`, least digit first, which is taken off it.
fn varint(bytes: &[u8], rest: &mut Range<usize>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[rest.next()?];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_with_a_remedy() {
        let path = Path::new("/nowhere/encoder.ort");
        for error in [weights("asr.x", path).unwrap_err(), read_file("asr.x", path).unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("/nowhere/encoder.ort") && text.contains("models fetch --force"), "{text}");
        }
    }

    #[test]
    fn weights_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        std::fs::write(&file, [1, 2, 3]).unwrap();
        let first = weights("asr.x", &file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(std::ptr::eq(first, weights("asr.x", &file).unwrap()));
    }

    /// A field of a protobuf message with contents of its own.
    fn field(number: u8, contents: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, contents.len() as u8], contents].concat()
    }

    fn network(kind: u8, values: [f32; 2]) -> Vec<u8> {
        let data: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let tensor = [&[1 << 3, 2, 2 << 3, kind][..], &field(8, b"bias"), &field(9, &data)].concat();
        // A number before the graph, and another part within it.
        [&[1 << 3, 0x80, 1][..], &field(7, &[field(1, b"node"), field(5, &tensor)].concat())].concat()
    }

    #[test]
    fn weights_of_a_network_are_written_over_and_nothing_else() {
        let mut bytes = network(1, [1.0, 2.0]);
        set_weights(&mut bytes, &[("bias", &[3.0, -4.0])]).unwrap();
        assert_eq!(bytes, network(1, [3.0, -4.0]));
    }

    #[test]
    fn weights_that_a_network_does_not_have_so_are_refused_by_name() {
        let good = network(1, [1.0, 2.0]);
        let cut: Vec<_> = (0..good.len()).map(|end| (good[..end].to_vec(), "bias", 2)).collect();
        let others = [(good.clone(), "scale", 2), (good.clone(), "bias", 3), (network(3, [1.0, 2.0]), "bias", 2)];
        for (mut bytes, name, length) in cut.into_iter().chain(others) {
            let before = bytes.clone();
            let error = set_weights(&mut bytes, &[(name, &vec![9.0; length])]).unwrap_err();
            assert!(error.contains(name) && error.contains(&length.to_string()), "{error}");
            assert_eq!(bytes, before);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_for_a_network_are_read_without_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = set_weights(&mut bytes, &[("bias", &[1.0])]);
        }
    }
}
