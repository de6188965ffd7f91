//! `sidetone simulate init DIR`: a gateway and an offline Vonage that know each other's secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::super::{Done, Failure};
use super::secrets::Secrets;
use super::set_up::LISTEN;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder; made where it is not there
    dir: PathBuf,
    /// Where the gateway shall listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    gateway: SocketAddr,
    /// Where the simulator shall listen
    #[arg(long, value_name = "ADDRESS", default_value = LISTEN)]
    listen: SocketAddr,
}

/// The gateway's configuration.
fn gateway(options: &Options, secrets: &Secrets) -> String {
    let Options { gateway, listen, .. } = options;
    let Secrets { application_id, api_key, signature_secret, token_key, .. } = secrets;
    format!(
        r#"# A gateway for development, beside simulator.toml:
#   sidetone serve --config gateway.toml
# Its secrets are made up and known to that simulator alone.

[server]
listen = "{gateway}"
public_url = "http://{gateway}"

[vonage]
application_id = "{application_id}"
private_key = "private.key"
api_base = "http://{listen}"
trusted_hosts = ["{listen}"]

[[vonage.account]]
api_key = "{api_key}"
signature_secrets = ["{signature_secret}"]

[media]
token_keys = ["{token_key}"]

[[flow]]
name = "support"
greeting = "Welcome. Please hold the line."
consent = "This call is recorded and transcribed."
record = true

[flow.to]
phone = "447700900111"
"#
    )
}

/// The simulator's.
fn simulator(options: &Options, secrets: &Secrets) -> String {
    let Options { gateway, listen, .. } = options;
    let Secrets { application_id, api_key, signature_secret, public_key, .. } = secrets;
    format!(
        r#"# An offline Vonage for development, beside gateway.toml:
#   sidetone simulate --config simulator.toml [SCRIPT.toml|CALL.wav]

listen = "{listen}"
answer_url = "http://{gateway}/v1/vonage/answer"
answer_method = "GET"
event_url = "http://{gateway}/v1/vonage/event"
event_method = "POST"
fallback_url = "http://{gateway}/v1/vonage/fallback"

# How webhooks are signed.
api_key = "{api_key}"
signature_secret = "{signature_secret}"
application_id = "{application_id}"
# Whose tokens the Voice REST API takes.
public_key = """
{public_key}"""

# What the application may ask for in a second: calls, `connect` included, and the rest.
calls_per_second = 3
requests_per_second = 15
# Times faster than real time.
speed = 1.0
# Of the faults; leave it out to take the script's.
# seed = 1
# "all", or some of late_hello, no_hello, jitter, bursts, gaps, wrong_frames, abrupt_close, …
faults = ""
# Folder for what each party heard, beside this file.
# heard = "heard"
# How many times the script's calls are made, a second apart.
calls = 1
# Print the report as JSON.
json = false
"#
    )
}

pub(super) fn run(options: &Options) -> Done {
    let dir = &options.dir;
    let secrets = Secrets::new().map_err(Failure)?;
    let files = [
        ("gateway.toml", gateway(options, &secrets)),
        ("simulator.toml", simulator(options, &secrets)),
        ("private.key", secrets.private_key.clone()),
    ];
    if let Some((name, _)) = files.iter().find(|(name, _)| dir.join(name).exists()) {
        return Err(Failure(format!("{} is there already; it is left alone", dir.join(name).display())));
    }
    fs::create_dir_all(dir).map_err(|error| Failure(format!("{}: {error}", dir.display())))?;
    for (name, text) in &files {
        let path = dir.join(name);
        write(&path, text).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
    }
    let shown = dir.display();
    writeln!(
        io::stdout(),
        "{shown}/gateway.toml, simulator.toml and private.key are written. In two terminals:\n  \
         sidetone serve --config {shown}/gateway.toml\n  \
         sidetone simulate --config {shown}/simulator.toml"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A new file that its owner alone can read: there are secrets in it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::set_up::SetUp;
    use super::*;
    use crate::config::{self, Source};
    use crate::vonage::app_jwt::{AppClaims, AppKey, LIFE_DEFAULT};

    #[test]
    fn both_sides_fit_together_and_nothing_is_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dev");
        let address = |text: &str| text.parse().unwrap();
        let options = Options { dir: dir.clone(), gateway: address("127.0.0.1:8080"), listen: address(LISTEN) };
        run(&options).unwrap();
        let settings = SetUp::read(&dir.join("simulator.toml")).and_then(|set_up| set_up.settings(0)).unwrap();
        let gateway: toml::Table = fs::read_to_string(dir.join("gateway.toml")).unwrap().parse().unwrap();
        let vonage = &gateway["vonage"];
        let signing = settings.signing.unwrap();
        assert_eq!(vonage["account"][0]["api_key"].as_str(), Some(signing.api_key.as_str()));
        assert_eq!(vonage["account"][0]["signature_secrets"][0].as_str(), Some(signing.secret.0.as_str()));
        assert_eq!(vonage["application_id"].as_str(), settings.application_id.as_deref());
        assert_eq!(vonage["api_base"].as_str(), Some(format!("http://{}", settings.listen).as_str()));
        assert!(gateway["media"]["token_keys"][0].as_str().unwrap().len() >= 32);
        let config = Source { file: Some(&dir.join("gateway.toml")), ..Source::default() };
        config::load(&config).unwrap();
        // What the gateway signs, the simulator takes.
        let key = AppKey::from_pem(&fs::read_to_string(dir.join("private.key")).unwrap()).unwrap();
        let now = crate::types::WallTime(1_763_942_400_000_000);
        let claims = AppClaims::new("app", "jti", now, LIFE_DEFAULT);
        assert_eq!(settings.rest_key.unwrap().verify(&key.sign(&claims), now), Ok(claims));
        let before = fs::read(dir.join("private.key")).unwrap();
        assert!(run(&options).unwrap_err().0.contains("is there already"));
        assert_eq!(fs::read(dir.join("private.key")).unwrap(), before);
    }
}
