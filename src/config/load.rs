//! File, then environment, then command line; later ones win.

use std::path::Path;

use toml::{Table, Value};

use super::Config;
use super::checks::check;

/// Prefix of the environment variables that set keys.
const PREFIX: &str = "SIDETONE_";

/// Variables with the prefix that are not keys.
const NOT_KEYS: [&str; 1] = ["SIDETONE_CONFIG"];

/// A configuration that cannot be used: one line for each thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    fn one(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }
}

/// Where settings come from besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Source<'a> {
    /// The file, if one was named.
    pub file: Option<&'a Path>,
    /// The environment, as pairs.
    pub environment: Vec<(String, String)>,
    /// Settings from the command line: dotted key and value.
    pub arguments: Vec<(&'static str, Value)>,
}

impl Source<'_> {
    /// The process's own environment and nothing else.
    #[must_use]
    pub fn environment() -> Self {
        // Variables that are not UTF-8 cannot be ours.
        let pairs = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { environment: pairs.collect(), ..Self::default() }
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads and checks a configuration.
///
/// # Errors
/// Each line names the file or variable, the key, the value and what was expected.
pub fn load(source: &Source<'_>) -> Result<Config, ConfigError> {
    let mut table = match source.file {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    for (name, value) in &source.environment {
        if NOT_KEYS.contains(&name.as_str()) {
            continue;
        }
        if let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) {
            let key = rest.to_ascii_lowercase().replace("__", ".");
            // Kafka's properties are text: a password may read as a number.
            let as_text =
                key.starts_with("sink.kafka.properties.") || key.ends_with(".password") || key.ends_with(".key");
            let value = if as_text { Value::String(value.clone()) } else { from_text(value) };
            set(&mut table, &key, value)
                .map_err(|problem| ConfigError::one(format!("environment variable {name}: {problem}")))?;
        }
    }
    for (key, value) in &source.arguments {
        set(&mut table, key, value.clone())
            .map_err(|problem| ConfigError::one(format!("command line, {key}: {problem}")))?;
    }
    let place = source.file.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string());
    let mut config: Config = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        ConfigError::one(format!("{place}: {key}: {}", error.into_inner().to_string().trim()))
    })?;
    let defaults = Config::default();
    for (backend, default) in [
        (&mut config.vad.backend, defaults.vad.backend),
        (&mut config.asr.backend, defaults.asr.backend),
        (&mut config.sentiment.backend, defaults.sentiment.backend),
    ] {
        if backend.is_empty() {
            *backend = default;
        }
    }
    let problems = check(&config);
    if !problems.is_empty() {
        return Err(ConfigError(problems.into_iter().map(|p| format!("{place}: {} {}", p.key, p.what)).collect()));
    }
    let key = &mut config.vonage.private_key;
    if let Some(folder) = source.file.and_then(Path::parent)
        && !key.as_os_str().is_empty()
    {
        // Where it stands beside the file, so does the key.
        *key = folder.join(&*key);
    }
    if config.models.dir.as_os_str().is_empty() {
        config.models.dir = crate::models::default_root(|name| source.variable(name).map(Into::into))
            .unwrap_or_else(|| "sidetone-models".into());
    }
    Ok(config)
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::one(format!("{}: cannot be read: {error}", path.display())))?;
    text.parse().map_err(|error| ConfigError::one(format!("{}: {error}", path.display())))
}

/// A number, a boolean, an array or a table if it reads as one, else a string.
fn from_text(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| format!("{section} is a value, not a section"))?;
            set(inner, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let temp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temp.path(), file).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let name = temp.path().display().to_string();
        load(&Source { file: Some(temp.path()), environment, arguments: Vec::new() })
            .map_err(|error| error.to_string().replace(&name, "FILE"))
    }

    #[test]
    fn nothing_at_all_is_a_valid_configuration() {
        let config = load(&Source::default()).unwrap();
        assert_eq!(Config { models: super::super::Models::default(), ..config }, Config::default());
    }

    #[test]
    fn the_environment_wins_over_the_file_and_arguments_over_both() {
        let config = loaded("[server]\nlegs_max = 5\nname = \"a\"", &[("SIDETONE_SERVER__LEGS_MAX", "6")]).unwrap();
        assert_eq!((config.server.legs_max, config.server.name.as_str()), (6, "a"));
        let source = Source {
            environment: vec![("SIDETONE_SINK__KAFKA__BOOTSTRAP".into(), "a:1".into())],
            arguments: vec![("sink.kafka.bootstrap", "b:2".into())],
            ..Source::default()
        };
        assert_eq!(load(&source).unwrap().sink.kafka.bootstrap, "b:2");
    }

    #[test]
    fn errors_name_the_key_the_value_and_what_was_expected() {
        for (file, expected) in [
            ("[server]\nlegs = 5", "FILE: server.legs: unknown field `legs`"),
            ("[server]\nlegs_max = \"many\"", "FILE: server.legs_max: invalid type: string \"many\", expected usize"),
            ("[server]\nlegs_max = 0", "FILE: server.legs_max is 0; expected at least 1"),
            (
                "[asr]\nbackend = \"whispr\"",
                "FILE: asr.backend is \"whispr\"; expected one of whisper, moonshine, openai, deepgram, assemblyai, vosk, transducer, scripted",
            ),
            (
                "[asr]\nfall_back = [\"whispr\"]",
                "FILE: asr.fall_back[0] is \"whispr\"; expected one of whisper, moonshine, openai",
            ),
            (
                "[asr]\nfall_back = [\"whisper\"]",
                "FILE: asr.fall_back[0] is \"whisper\"; expected each transcriber once, and not asr.backend",
            ),
            (
                "[asr]\nquick = \"whisper\"",
                "FILE: asr.quick is \"whisper\"; expected another than asr.backend and those in asr.fall_back",
            ),
            ("[asr]\nquick = \"whispr\"", "FILE: asr.quick is \"whispr\"; expected one of whisper, moonshine"),
            ("[asr]\nquick_above_s = -1.0", "FILE: asr.quick_above_s is -1; expected 0 to 3600"),
            ("[asr]\nfal_back = []", "FILE: asr.fal_back is not a key of [asr] nor a backend"),
            ("[asr.breaker]\nfailures_max = 0", "FILE: asr.breaker.failures_max is 0; expected 1 to 1000"),
            ("[asr]\nattempt_timeout_ms = 50000", "FILE: asr.attempt_timeout_ms is 50000; expected 100 to asr.total"),
            (
                "[asr.openai]\nkey = \"file:/nowhere/at/all\"",
                "FILE: asr: openai.key: file /nowhere/at/all cannot be read",
            ),
            (
                "[sentiment.http]\nkey = \"file:/nowhere/key\"",
                "FILE: sentiment: http.key: file /nowhere/key cannot be read",
            ),
            ("[vad.webrt]\naggressiveness = 1", "FILE: vad.webrt is not a key of [vad] nor a backend"),
            ("[endpointing]\nhangover_ms = 0", "FILE: endpointing.hangover_ms is 0; expected 20 to 5000"),
            (
                "[call]\nassumed_rate_hz = 44100",
                "FILE: call.assumed_rate_hz is 44100; expected one of 8000, 16000, 24000",
            ),
            (
                "[media]\ntoken_keys = \"hunter2\"",
                "FILE: media.token_keys[0] is 7 bytes long; expected at least 32 bytes",
            ),
            ("[media]\ntoken_keys = [\"a\", \"b\", \"c\"]", "FILE: media.token_keys is a list of 3; expected 1 or 2"),
            ("[media]\ncustom = [31415926]", "FILE: media.custom: is of type integer; expected a string in quotes"),
            ("[media]\ncustom = \"two lines, of\\nwhich one\"", "FILE: media.custom[0] is not a header's value"),
            ("[playback]\nlead_ms = 500", "FILE: playback.lead_ms is 500; expected 60 to 200"),
            ("server = 3", "FILE: server: invalid type: integer `3`"),
            ("[server", "FILE: TOML parse error"),
        ] {
            let error = loaded(file, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{file:?} gave\n{error}\nexpected\n{expected}");
        }
    }

    #[test]
    fn no_secret_is_shown_again() {
        let (one, other) = ("a secret of more than thirty-two bytes", "another one that is just as long as that");
        let config =
            loaded(&format!("[media]\ncustom = [\"{one}\"]"), &[("SIDETONE_MEDIA__TOKEN_KEYS", other)]).unwrap();
        assert_eq!((config.media.custom.len(), config.media.token_keys[0].reveal().0.as_str()), (1, other));
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains(one) && !shown.contains(other), "{shown}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let key = format!("key = \"file:{}\"", file.path().display());
        let config = loaded(
            &format!("[asr.openai]\n{key}\n[sentiment.http]\n{key}"),
            &[("SIDETONE_ASR__DEEPGRAM__KEY", "31415926")],
        )
        .unwrap();
        let key = |name| config.asr.table(name)["key"].as_str().unwrap().to_owned();
        assert_eq!((key("openai").as_str(), key("deepgram").as_str()), ("hunter2", "31415926"));
        assert_eq!(config.sentiment.table("http")["key"].as_str(), Some("hunter2"));
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("31415926"), "{shown}");
    }

    #[test]
    fn several_problems_are_reported_together() {
        let error = loaded("[server]\nlegs_max = 0\n[call]\nspeed_max = 0", &[]).unwrap_err();
        assert_eq!(error.lines().count(), 2, "{error}");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = loaded("vad = 3", &[("SIDETONE_VAD__BACKEND", "webrtc")]).unwrap_err();
        assert!(error.contains("SIDETONE_VAD__BACKEND"), "{error}");
    }
}
