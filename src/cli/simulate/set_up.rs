//! How the simulator is set up: a TOML file, and the command line on top.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Failure, Run};
use crate::simulator::clock::SPEEDS;
use crate::simulator::platform::{Hook, Settings};
use crate::simulator::webhook::Signing;
use crate::types::Private;
use crate::vonage::app_jwt::AppPublicKey;
use crate::vonage::ncco::Method;
use crate::vonage::rest_types::{CALLS_PER_SECOND, REQUESTS_PER_SECOND};

/// Where the REST API listens when nothing else is set.
pub(super) const LISTEN: &str = "127.0.0.1:9090";

/// Every key of `simulator.toml`. All may be left out; the two URLs must come from
/// somewhere.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SetUp {
    listen: Option<SocketAddr>,
    answer_url: Option<String>,
    answer_method: Option<String>,
    event_url: Option<String>,
    event_method: Option<String>,
    fallback_url: Option<String>,
    /// The account that signs; with `signature_secret`.
    api_key: Option<String>,
    signature_secret: Option<Private<String>>,
    application_id: Option<String>,
    /// PEM: whose tokens the REST API takes; without it, anybody's.
    public_key: Option<String>,
    calls_per_second: Option<u32>,
    requests_per_second: Option<u32>,
    speed: Option<f64>,
    seed: Option<u64>,
    faults: Option<String>,
    heard: Option<PathBuf>,
    pub(super) calls: Option<usize>,
    pub(super) json: Option<bool>,
    /// What messages call the file.
    #[serde(skip)]
    name: Option<String>,
}

impl SetUp {
    /// Reads the file; `heard` in it is relative to it.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure(format!("{name}: cannot be read: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error| Failure(format!("{name}: {error}")))?;
        let mut set_up: Self = serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            let problem = error.into_inner().to_string();
            Failure(format!("{name}: {key}: {}", problem.trim().lines().next().unwrap_or_default()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        set_up.heard = set_up.heard.map(|heard| folder.join(heard));
        set_up.name = Some(name);
        Ok(set_up)
    }

    /// The command line wins.
    pub(super) fn override_with(&mut self, run: &Run) {
        fn win<T: Clone>(ours: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                ours.clone_from(theirs);
            }
        }
        win(&mut self.listen, &run.listen);
        win(&mut self.answer_url, &run.answer_url);
        win(&mut self.event_url, &run.event_url);
        win(&mut self.fallback_url, &run.fallback_url);
        win(&mut self.calls_per_second, &run.calls_per_second);
        win(&mut self.requests_per_second, &run.requests_per_second);
        win(&mut self.speed, &run.speed);
        win(&mut self.seed, &run.seed);
        win(&mut self.faults, &run.faults);
        win(&mut self.heard, &run.heard);
        win(&mut self.calls, &run.calls);
        win(&mut self.json, &run.json.then_some(true));
    }

    /// Checks it all; `seed` is the script's.
    pub(super) fn settings(&self, seed: u64) -> Result<Settings, Failure> {
        let mut problems = Vec::new();
        let answer =
            self.hook(&mut problems, "answer", self.answer_url.as_ref(), self.answer_method.as_ref(), Method::Get);
        let event =
            self.hook(&mut problems, "event", self.event_url.as_ref(), self.event_method.as_ref(), Method::Post);
        if let Some(url) = self.fallback_url.as_ref().filter(|url| !is_http(url)) {
            problems.push(format!("fallback_url is {url:?}; expected an http:// or https:// URL"));
        }
        let speed = self.speed.unwrap_or(1.0);
        if !SPEEDS.contains(&speed) {
            problems.push(format!("speed is {speed}; expected {} to {}", SPEEDS.start(), SPEEDS.end()));
        }
        let rate = |problems: &mut Vec<String>, key: &str, rate: Option<u32>, default: u32| {
            if rate == Some(0) {
                problems.push(format!("{key} is 0; expected at least 1"));
            }
            rate.unwrap_or(default)
        };
        let calls_per_second = rate(&mut problems, "calls_per_second", self.calls_per_second, CALLS_PER_SECOND);
        let requests_per_second =
            rate(&mut problems, "requests_per_second", self.requests_per_second, REQUESTS_PER_SECOND);
        let signing = match (&self.api_key, &self.signature_secret) {
            (Some(api_key), Some(secret)) if !api_key.is_empty() && !secret.0.is_empty() => Some(Signing {
                api_key: api_key.clone(),
                secret: secret.clone(),
                application_id: self.application_id.clone(),
            }),
            (None, None) => None,
            _ => {
                problems.push("api_key and signature_secret: expected both, none of them empty, or none".to_owned());
                None
            }
        };
        let rest_key = match self.public_key.as_deref().map(AppPublicKey::from_pem) {
            None => None,
            Some(Ok(key)) => Some(key),
            Some(Err(error)) => {
                problems.push(format!("public_key: {error}"));
                None
            }
        };
        let faults = self.faults.as_deref().unwrap_or_default().parse().unwrap_or_else(|error| {
            problems.push(format!("faults: {error}"));
            crate::simulator::fault::Wanted::default()
        });
        if !problems.is_empty() {
            let place = self.name.as_deref().unwrap_or("command line");
            let lines: Vec<_> = problems.iter().map(|problem| format!("{place}: {problem}")).collect();
            return Err(Failure(lines.join("\n")));
        }
        let default = LISTEN.parse().map_err(|_| Failure(format!("listen: {LISTEN} is no address")))?;
        Ok(Settings {
            listen: self.listen.unwrap_or(default),
            answer,
            event,
            fallback_url: self.fallback_url.clone(),
            signing,
            rest_key,
            application_id: self.application_id.clone(),
            calls_per_second,
            requests_per_second,
            speed,
            seed: self.seed.unwrap_or(seed),
            faults,
            heard: self.heard.clone(),
            ..Settings::new("", "")
        })
    }

    fn hook(
        &self,
        problems: &mut Vec<String>,
        name: &str,
        url: Option<&String>,
        method: Option<&String>,
        default: Method,
    ) -> Hook {
        match url {
            None => problems.push(format!("{name}_url is missing; expected the application's URL (--{name}-url)")),
            Some(url) if !is_http(url) => {
                problems.push(format!("{name}_url is {url:?}; expected an http:// or https:// URL"));
            }
            Some(_) => {}
        }
        let word = method.map(|method| Method::from_word(method).ok_or(method));
        let method = match word {
            None => default,
            Some(Ok(method)) => method,
            Some(Err(word)) => {
                problems.push(format!("{name}_method is {word:?}; expected GET or POST"));
                default
            }
        };
        Hook { url: url.cloned().unwrap_or_default(), method }
    }
}

fn is_http(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        let settings = SetUp::read(file.path()).and_then(|set_up| set_up.settings(5));
        settings.map_err(|failure| failure.0.replace(&name, "FILE"))
    }

    #[test]
    fn what_is_wrong_is_named_with_key_value_and_expectation() {
        let urls = "answer_url = \"http://a/\"\nevent_url = \"http://a/\"\n";
        assert_eq!(read(urls).unwrap().seed, 5, "the script's seed");
        assert_eq!(read(&format!("{urls}seed = 6")).unwrap().seed, 6);
        for (text, expected) in [
            ("answer = 1", "FILE: answer: unknown field `answer`"),
            ("speed = \"fast\"", "FILE: speed: invalid type: string \"fast\", expected f64"),
            (
                "answer_url = \"a\"",
                "FILE: answer_url is \"a\"; expected an http:// or https:// URL\nFILE: event_url is missing; expected the application's URL (--event-url)",
            ),
            (&format!("{urls}speed = 0.01"), "FILE: speed is 0.01; expected 0.1 to 100"),
            (&format!("{urls}calls_per_second = 0"), "FILE: calls_per_second is 0; expected at least 1"),
            (&format!("{urls}event_method = \"PUT\""), "FILE: event_method is \"PUT\"; expected GET or POST"),
            (&format!("{urls}api_key = \"a\""), "FILE: api_key and signature_secret: expected both"),
            (&format!("{urls}public_key = \"a\""), "FILE: public_key: not a PEM file"),
            (&format!("{urls}faults = \"rain\""), "FILE: faults: \"rain\" is no fault: expected \"all\""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?} gave\n{error}\nexpected\n{expected}");
        }
    }
}
