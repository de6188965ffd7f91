//! Transcribers: speech in, text out.
//!
//! A backend is one file here plus one line in [`BACKENDS`]. Everything that
//! lists, checks or documents backends walks that list, and the conformance test
//! below runs every entry through the same paces.
//!
//! A [`Backend`] is the entry in the list; it builds an [`Engine`] once, from its
//! own table of the configuration. An engine works in one of two ways:
//!
//! ```text
//! Local    here, on the inference threads: each opens a Transcriber of its own
//! Remote   elsewhere, over the network: a future for each utterance, no thread of ours
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::types::{BuildError, Fault, LegId, SegmentId, SegmentKind, Transcript};

mod assemblyai;
mod deepgram;
mod local;
mod moonshine;
mod openai;
mod remote;
mod scripted;
mod transducer;
mod vosk;
mod whisper;

pub use self::remote::Terms;

/// Every transcriber, in the order it is listed to people. The first is the default.
pub static BACKENDS: &[&dyn Backend] = &[
    &whisper::Whisper,
    &moonshine::Moonshine,
    &openai::OpenAi,
    &deepgram::Deepgram,
    &assemblyai::AssemblyAi,
    &vosk::Vosk,
    &transducer::Transducer,
    &scripted::Scripted,
];

/// Keys of `[asr]` that are not backends, so that no backend may be called so.
pub const RESERVED: [&str; 13] = [
    "backend",
    "quick",
    "quick_above_s",
    "fall_back",
    "attempt_timeout_ms",
    "total_timeout_ms",
    "attempts_max",
    "join_within_ms",
    "hedge_after_ms",
    "breaker",
    "shadow",
    "share",
    "waiting_max",
];

/// The entry of one transcriber in [`BACKENDS`].
pub trait Backend: Sync {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// One line for people: what it is and what it costs.
    fn about(&self) -> &'static str;

    /// The models of `models/manifest.toml` it needs with these settings.
    fn models(&self, _settings: &toml::Table) -> Vec<&'static str> {
        Vec::new()
    }

    /// One on this machine that hears in its place what is not worth its time, where
    /// `asr.quick` names none.
    fn quicker(&self) -> Option<&'static str> {
        None
    }

    /// Reads `settings` (the table `[asr.<name>]`) and loads what all threads share.
    /// `models` are the folders of [`Backend::models`], verified and in that order; none where
    /// they are not here.
    ///
    /// # Errors
    /// Names the key, file or value that is wrong and the remedy.
    fn build(&self, settings: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError>;
}

/// A backend made ready for use.
#[derive(Clone)]
pub enum Engine {
    /// It works on our inference threads.
    Local(Arc<dyn Local>),
    /// It works elsewhere.
    Remote(Arc<dyn Remote>),
}

impl Engine {
    /// Opens a transcriber of a local engine, on the thread that will use it.
    ///
    /// # Errors
    /// As [`Backend::build`]; and for a remote engine, which has none.
    pub fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
        match self {
            Self::Local(engine) => engine.open(),
            Self::Remote(_) => Err(BuildError::new(
                "asr",
                "a remote transcriber cannot be used here",
                "set asr.backend to one that works on this machine; `sidetone backends` lists them",
            )),
        }
    }
}

/// A local backend made ready for use by any number of threads.
pub trait Local: Send + Sync {
    /// Opens one transcriber, on the thread that will use it.
    ///
    /// # Errors
    /// As [`Backend::build`].
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError>;
}

/// What a remote engine is given: an utterance whole, or so far.
#[derive(Debug, Clone)]
pub struct Speech {
    /// The leg it was heard on.
    pub leg: LegId,
    /// Its number on that leg: a partial and the final it grows into have one.
    pub segment: SegmentId,
    /// Whole or so far.
    pub kind: SegmentKind,
    /// Mono, 16 kHz, as it was heard: levels are the remote engine's affair.
    pub samples: Arc<Vec<i16>>,
}

/// A backend that works elsewhere. Everything about it is bounded: the time of an answer and
/// its size, the connections, what waits for them.
pub trait Remote: Send + Sync {
    /// Its bounds.
    fn terms(&self) -> Terms;

    /// Transcribes one utterance. Dropping the future gives the utterance up. A `Partial`
    /// is refused with [`Fault::Overload`] rather than made to wait.
    ///
    /// Gives what [`Transcriber::transcribe`] gives, or the fault by its name.
    fn transcribe(&self, speech: Speech) -> BoxFuture<'_, Result<Transcript, Fault>>;

    /// Looks whether it can be reached and takes our key, without transcribing anything.
    /// Gives what there is to say of it.
    fn check(&self) -> BoxFuture<'_, Result<String, Fault>>;
}

/// What the same speaker said right before an utterance, and what this transcriber heard.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Mono, 16 kHz, full scale ±1, its speech level normalised as the utterance's own is.
    pub samples: &'a [f32],
    /// Never empty.
    pub text: &'a str,
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

    /// How many samples it can hear at once where an utterance is heard together with the one
    /// before it; 0 where it gains nothing by that.
    fn joined_max(&self) -> usize {
        0
    }

    /// Transcribes a final that closely follows another, as [`Self::transcribe`] does: the
    /// answer has nothing of what was said before. Both together have at most
    /// [`Self::joined_max`] samples.
    ///
    /// # Errors
    /// As [`Self::transcribe`].
    fn transcribe_after(&mut self, _before: Before<'_>, samples: &[f32]) -> Result<Transcript, Fault> {
        self.transcribe(samples, SegmentKind::Final)
    }

    /// How many finals that wait it decodes in less time together than one by one; 1 when it
    /// gains nothing.
    fn together(&self) -> usize {
        1
    }

    /// Transcribes finals together, at most as many as [`Self::together`], each as for
    /// [`Self::transcribe`]. `answer` is called with an utterance's place as soon as its
    /// transcript is there, once for each at most; those it was not called for are asked
    /// about again, alone.
    fn transcribe_together(
        &mut self,
        utterances: &[Vec<f32>],
        answer: &mut dyn FnMut(usize, Result<Transcript, Fault>),
    ) {
        for (place, samples) in utterances.iter().enumerate() {
            answer(place, self.transcribe(samples, SegmentKind::Final));
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::{Barrier, LazyLock};

    use super::*;
    use crate::models::test_store;

    /// The folders of the models that `backend` needs, fetched if need be; or why they cannot be had.
    fn models_of(backend: &dyn Backend) -> Result<Vec<PathBuf>, String> {
        let fetch = |name: &&str| test_store().fetch(name, false, &mut |_| {}).map_err(|error| error.to_string());
        backend.models(&toml::Table::new()).iter().map(fetch).collect()
    }

    /// Lays out in a folder a model that is small enough for a test.
    type Lay = fn(&std::path::Path) -> std::io::Result<()>;

    /// The local backends that have no model until `model` names a folder with one.
    const OF_ONES_OWN: [(&str, Lay); 1] = [("transducer", transducer::tests::toy::lay)];

    /// Tells on standard error itself, past the test harness's capture, who is not tried.
    fn skipped(name: &str, reason: &str) {
        writeln!(std::io::stderr(), "SKIPPED the transcriber {name}: {reason}").unwrap();
    }

    /// Every local backend that can run here with its defaults, made ready. What the remote
    /// ones promise is tried in `tests/backends`, with servers to talk to.
    static READY: LazyLock<Vec<(&'static str, Engine)>> = LazyLock::new(|| {
        assert!(!BACKENDS.is_empty());
        let mut ready = Vec::new();
        let own = |backend: &dyn Backend| OF_ONES_OWN.iter().any(|(name, _)| *name == backend.name());
        for backend in BACKENDS.iter().filter(|backend| !own(**backend)) {
            match models_of(*backend) {
                Ok(models) => {
                    let key = toml::Table::from_iter([("key".to_owned(), "none".into())]);
                    let engine =
                        backend.build(&toml::Table::new(), &models).or_else(|_| backend.build(&key, &models)).unwrap();
                    if matches!(engine, Engine::Local(_)) {
                        ready.push((backend.name(), engine));
                    }
                }
                Err(reason) => skipped(backend.name(), &reason),
            }
        }
        assert!(!ready.is_empty(), "not one transcriber could be tried");
        ready
    });

    /// Does `check` with every local backend that can run here; for those of [`OF_ONES_OWN`]
    /// there is a model while it does.
    fn with_each(check: impl Fn(&str, &Engine)) {
        READY.iter().for_each(|(name, engine)| check(name, engine));
        for (name, lay) in OF_ONES_OWN {
            let backend = find(name).unwrap();
            match models_of(backend) {
                Ok(models) => {
                    let folder = tempfile::tempdir().unwrap();
                    lay(folder.path()).unwrap();
                    let model = folder.path().to_str().unwrap().into();
                    let table = toml::Table::from_iter([("model".to_owned(), model)]);
                    check(name, &backend.build(&table, &models).unwrap());
                }
                Err(reason) => skipped(name, &reason),
            }
        }
    }

    fn noise(samples: usize, level: f32) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..samples).map(|_| level * next()).collect()
    }

    fn square(samples: usize, period: usize) -> Vec<f32> {
        (0..samples).map(|n| if (n / period).is_multiple_of(2) { 1.0 } else { -1.0 }).collect()
    }

    /// Audio that a leg could bring, and audio that none should.
    fn audios() -> Vec<(&'static str, Vec<f32>)> {
        vec![
            ("nothing", vec![]),
            ("one sample", vec![0.5]),
            ("100 ms of silence", vec![0.0; 1_600]),
            ("15 s of silence", vec![0.0; 240_000]),
            ("30 ms of noise", noise(480, 0.5)),
            ("3 s of soft noise", noise(48_000, 0.01)),
            ("15 s of loud noise", noise(240_000, 1.0)),
            ("a full-scale square wave", square(32_000, 40)),
            ("the highest tone", square(32_000, 1)),
            ("one extreme", vec![1.0; 16_000]),
            ("beyond full scale", vec![f32::MAX; 16_000]),
            ("hardly a number", vec![f32::MIN_POSITIVE / 2.0; 16_000]),
            ("27 s of noise", noise(432_000, 0.3)),
        ]
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut names: Vec<_> = BACKENDS.iter().map(|backend| backend.name()).collect();
        assert!(!names.is_empty());
        assert_eq!(find(names[0]).unwrap().name(), names[0]);
        for name in &names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert!(!RESERVED.contains(name), "{name} is a key of [asr]");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BACKENDS.len());
        let error = find("nope").err().unwrap().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
    }

    #[test]
    fn the_models_that_backends_need_are_in_the_manifest() {
        for name in BACKENDS.iter().flat_map(|backend| backend.models(&toml::Table::new())) {
            assert!(crate::models::all().iter().any(|model| model.name == name), "{name}");
        }
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        for backend in BACKENDS {
            let error = backend.build(&"loudnes = 3".parse().unwrap(), &[]).err().expect("an unknown key was taken");
            assert!(error.to_string().contains("loudnes"), "{error}");
            assert_eq!(error.backend, format!("asr.{}", backend.name()));
        }
    }

    #[test]
    fn a_key_is_asked_for_where_one_is_needed_and_shown_nowhere() {
        let mut remote = 0;
        for backend in BACKENDS {
            let key = toml::Table::from_iter([("key".to_owned(), "hunter 2".into())]);
            let Err(error) = backend.build(&key, &[]) else { panic!("{} took any key", backend.name()) };
            assert!(!error.to_string().contains("hunter"), "{error}");
            if let Err(error) = backend.build(&toml::Table::new(), &[])
                && error.problem.contains("key is empty")
            {
                remote += 1;
            }
        }
        assert_eq!(remote, 3, "three vendors want a key");
    }

    #[test]
    fn any_audio_is_answered_and_twice_the_same() {
        with_each(|name, engine| {
            let mut transcriber = engine.open().unwrap();
            for (what, audio) in audios() {
                let answer = transcriber.transcribe(&audio, SegmentKind::Final);
                assert_eq!(answer, transcriber.transcribe(&audio, SegmentKind::Final), "{name}, {what}");
                match answer {
                    Err(Fault::Backend(_) | Fault::Looped) => {}
                    Err(other) => panic!("{name} answered {what} with {other:?}, which is not a transcriber's to say"),
                    Ok(answer) => {
                        let ms = audio.len() as u64 / 16;
                        assert_eq!(answer.text.0, answer.text.0.trim(), "{name}, {what}");
                        assert!(
                            answer.confidence.is_none_or(|it| (0.0..=1.0).contains(&it)),
                            "{name}, {what}: {answer:?}"
                        );
                        assert!(answer.words.iter().all(|word| word.start_ms <= word.end_ms && word.end_ms <= ms));
                        assert!(answer.words.is_sorted_by_key(|word| word.start_ms), "{name}, {what}");
                        assert!(!answer.language.is_empty(), "{name}, {what}");
                    }
                }
            }
        });
    }

    #[test]
    fn what_was_said_before_breaks_nothing() {
        for (name, engine) in READY.iter() {
            let mut transcriber = engine.open().unwrap();
            let before = noise(32_000, 0.1);
            for (what, audio) in audios() {
                for text in ["Hello", &"and so on, ".repeat(1_000), "\u{0}\u{202e} 😡"] {
                    let answer = transcriber.transcribe_after(Before { samples: &before, text }, &audio);
                    match answer {
                        Ok(answer) => assert!(!answer.text.0.contains("and so on, and so on,"), "{name}, {what}"),
                        Err(fault) => assert!(matches!(fault, Fault::Backend(_) | Fault::Looped), "{name}, {what}"),
                    }
                }
            }
        }
    }

    #[test]
    fn finals_that_wait_together_are_answered_once_at_most_and_nothing_breaks() {
        with_each(|name, engine| {
            let mut transcriber = engine.open().unwrap();
            assert!(transcriber.together() >= 1, "{name}");
            let audios: Vec<_> = audios().into_iter().map(|(_, audio)| audio).collect();
            for audios in audios.chunks(transcriber.together()) {
                let mut answered = vec![0; audios.len()];
                transcriber.transcribe_together(audios, &mut |place, _| answered[place] += 1);
                assert!(answered.iter().all(|times| *times <= 1), "{name}: {answered:?}");
            }
        });
    }

    #[test]
    fn transcribers_work_at_the_same_time() {
        with_each(|name, engine| {
            let audio = noise(40_000, 0.2);
            let alone = engine.open().unwrap().transcribe(&audio, SegmentKind::Final);
            let both_open = Barrier::new(2);
            let work = || {
                let mut transcriber = engine.open().unwrap();
                both_open.wait();
                for _ in 0..5 {
                    assert_eq!(transcriber.transcribe(&audio, SegmentKind::Partial), alone, "{name}");
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(work);
                scope.spawn(work);
            });
        });
    }
}
