//! Sentiment: text in, a score out.
//!
//! A backend is one file here plus one line in [`BACKENDS`]. It builds an [`Engine`], which
//! works in one of two ways, once for each final:
//!
//! ```text
//! Local    here, on the inference threads, right after the transcriber
//! Remote   elsewhere, over the network: a future for each text, no thread of ours
//! ```
//!
//! A transcript without a score is better than none, and waits for it no longer than its bound.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::types::{BuildError, Fault, Sentiment};

mod http;
mod lexicon;
mod neural;

/// Every sentiment backend, in the order it is listed to people. The first is the default.
pub static BACKENDS: &[&dyn Backend] = &[&lexicon::Lexicon, &neural::Neural, &http::Http];

/// Keys of `[sentiment]` that are not backends, so that no backend may be called so.
pub const RESERVED: [&str; 3] = ["backend", "breaker", "none"];

/// The entry of one sentiment backend in [`BACKENDS`].
pub trait Backend: Sync {
    /// The name in configuration, events and metrics.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn about(&self) -> &'static str;

    /// The models of `models/manifest.toml` it needs.
    fn models(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether texts leave this machine to be scored.
    fn is_remote(&self) -> bool {
        false
    }

    /// Reads `settings` (the table `[sentiment.<name>]`) and loads what all threads share.
    /// `models` are the folders of [`Backend::models`], verified and in that order; none
    /// where they are not here.
    ///
    /// # Errors
    /// Names the key, file or value that is wrong and the remedy.
    fn build(&self, settings: &toml::Table, models: &[PathBuf]) -> Result<Engine, BuildError>;
}

/// A sentiment backend made ready for use.
#[derive(Clone)]
pub enum Engine {
    /// It works on our inference threads.
    Local(Arc<dyn Local>),
    /// It works elsewhere.
    Remote(Arc<dyn Remote>),
}

/// A local backend made ready; shared by the inference threads.
pub trait Local: Send + Sync {
    /// Scores one utterance of any length, the empty one included. Never panics.
    ///
    /// # Errors
    /// [`Fault::Backend`] when the backend fails; the transcript is published without a score.
    fn score(&self, text: &str) -> Result<Sentiment, Fault>;

    /// Whether it takes time that a thread with speech to hear does not have: then it is not
    /// asked while too much waits.
    fn gives_way(&self) -> bool {
        true
    }
}

/// The bounds of a remote backend, for whoever asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Texts under way at a time.
    pub concurrency_max: usize,
    /// Texts waiting for one of those places; one more goes without a score at once.
    pub queue_max: usize,
    /// Longest wait for a score, the wait for a place included.
    pub timeout: Duration,
}

/// A backend that works elsewhere.
pub trait Remote: Send + Sync {
    /// Its bounds.
    fn terms(&self) -> Terms;

    /// As [`Local::score`], over the network; the error is the fault by its name. Dropping the
    /// future gives the text up.
    fn score<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<Sentiment, Fault>>;
}

/// Finds a backend by its name in the configuration.
///
/// # Errors
/// Lists the names there are.
pub fn find(name: &str) -> Result<&'static dyn Backend, BuildError> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name()).collect();
        BuildError::new(
            "sentiment",
            format!("no sentiment backend is called {name:?}"),
            format!("use one of: {}", names.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::types::SentimentLabel;

    #[tokio::test]
    async fn every_backend_keeps_to_the_ranges_and_hears_the_difference() {
        assert!(!BACKENDS.is_empty());
        for backend in BACKENDS {
            let fetch = |name: &&str| crate::models::test_store().fetch(name, false, &mut |_| {});
            let models = match backend.models().iter().map(fetch).collect::<Result<Vec<_>, _>>() {
                Ok(models) => models,
                Err(reason) => {
                    writeln!(std::io::stderr(), "SKIPPED the scorer {}: {reason}", backend.name()).unwrap();
                    continue;
                }
            };
            let mut table = toml::Table::new();
            if backend.is_remote() {
                let url = http::service(|_, body| {
                    let score = if body.contains("thank") {
                        0.8
                    } else if body.contains("terrible") {
                        -0.8
                    } else {
                        0.0
                    };
                    http::ok(&format!(r#"{{"score": {score}}}"#))
                });
                table.insert("url".to_owned(), url.into());
                table.insert("timeout_ms".to_owned(), 5_000.into());
            }
            let engine = backend.build(&table, &models).unwrap();
            assert_eq!(matches!(engine, Engine::Remote(_)), backend.is_remote(), "{}", backend.name());
            let score = async |text: &str| match &engine {
                Engine::Local(scorer) => scorer.score(text),
                Engine::Remote(scorer) => scorer.score(text).await,
            };
            let long = "GREAT! but not 😡 ".repeat(5_000);
            for text in ["", " \n", "???", "no", "4111 1111", "\u{0}\u{202e}", &long] {
                let s = score(text).await.unwrap();
                assert!((-1.0..=1.0).contains(&s.compound), "{}: {s:?}", backend.name());
                let sum = s.negative + s.neutral + s.positive;
                assert!(sum == 0.0 || (sum - 1.0).abs() < 0.01, "{}: weights sum to {sum}", backend.name());
            }
            for (text, label) in [
                ("thank you so much, that was wonderful help", SentimentLabel::Positive),
                ("this is terrible, I am really angry about it", SentimentLabel::Negative),
            ] {
                assert_eq!(score(text).await.unwrap().label, label, "{}: {text}", backend.name());
            }
            assert_eq!(score("the same").await, score("the same").await, "{}", backend.name());
        }
    }

    #[test]
    fn unknown_names_and_settings_are_refused() {
        assert!(find("nope").err().unwrap().to_string().contains("lexicon"));
        for backend in BACKENDS {
            assert!(!RESERVED.contains(&backend.name()), "{} is a key of [sentiment]", backend.name());
            let error = backend.build(&"colour = 1".parse().unwrap(), &[]).err().expect("an unknown key was taken");
            assert!(error.to_string().contains("colour"), "{error}");
        }
    }
}
