//! What `sidetone check` looks at of Vonage: the application, its key, its webhooks, how
//! Vonage reaches us, what callers would be told, and whether the Voice API knows us.

use std::io;
use std::time::Duration;

use reqwest::Url;
use uuid::Uuid;

use super::super::runtime;
use super::Report;
use crate::app;
use crate::config::{Config, Vonage, is_loopback_url};
use crate::control::{self, Settings};
use crate::server::Clock;
use crate::vonage::app_jwt::AppKey;
use crate::vonage::ncco::{Severity, validate};
use crate::vonage::rest::{self, Client, RestError};
use crate::vonage::rest_types::ListCalls;

/// Longest wait for the host of a flow.
const HOST_TIMEOUT: Duration = Duration::from_secs(5);
/// What takes webhooks, below the public URL.
const WEBHOOKS: &str = "/v1/vonage/answer, /event and /fallback";

/// Whether a configuration speaks of Vonage at all: bare media sockets need none of it.
pub(super) fn is_configured(config: &Config) -> bool {
    config.vonage != Vonage::default() || !config.flow.is_empty()
}

/// Looks at all of it, one line each.
pub(super) fn check(config: &Config, report: &mut Report) -> io::Result<()> {
    let vonage = &config.vonage;
    report.line("application", application(vonage))?;
    let key = vonage.has_api().then(|| vonage.app_key());
    report.line("private key", private_key(vonage, key.as_ref()))?;
    for said in webhooks(vonage) {
        report.line("webhooks", said)?;
    }
    match app::controller_settings(config) {
        Ok(settings) => {
            report.line("public url", public_url(&settings, vonage))?;
            for said in flows(&settings) {
                report.line("flow", said)?;
            }
        }
        Err(error) => report.line("media", Err(error.to_string()))?,
    }
    let runtime = runtime()?;
    for flow in config.flow.iter().filter(|flow| flow.hold_music.is_some()) {
        let said = runtime.block_on(reach(flow.hold_music.as_deref().unwrap_or_default()));
        let key = format!("flow {:?}, hold_music", flow.name);
        let said = said.map(|found| format!("{key}: {found}")).map_err(|problem| format!("{key} {problem}"));
        report.line("hold music", said)?;
    }
    if vonage.recordings.is_on() {
        let folder = vonage.recordings.folder.display();
        report.line("recordings", app::recordings_folder(config).map(|()| format!("copies are kept in {folder}")))?;
    }
    if let Some(Ok(key)) = key {
        report.line("voice api", runtime.block_on(ask(vonage, key)))?;
    }
    Ok(())
}

fn application(vonage: &Vonage) -> Result<String, String> {
    let id = &vonage.application_id;
    if id.is_empty() {
        return Ok("vonage.application_id is empty: signed webhooks of any application are taken".to_owned());
    }
    // Vonage writes them with hyphens; `Uuid` alone would take other forms.
    if id.len() == 36 && Uuid::try_parse(id).is_ok() {
        return Ok(format!("vonage.application_id is {id}"));
    }
    Err(format!("vonage.application_id is {id:?}; expected the application's id, a UUID of 36 characters"))
}

fn private_key(vonage: &Vonage, key: Option<&Result<AppKey, String>>) -> Result<String, String> {
    let Some(key) = key else {
        let without = "no calls are made: agents are not rung, and speakers have no sockets of their own";
        return Ok(format!("vonage.private_key is empty: {without}"));
    };
    let bits = key.as_ref().map_err(Clone::clone)?.bits();
    if !vonage.private_key_pem.is_empty() {
        return Ok(format!("vonage.private_key_pem is [secret], an RSA key of {bits} bits"));
    }
    let path = vonage.private_key.display();
    let open = if others_may_read(vonage) { "; others on this machine may read it: chmod 600" } else { "" };
    Ok(format!("vonage.private_key is {path}, an RSA key of {bits} bits{open}"))
}

/// Whether the key's file is readable for everybody on this machine.
fn others_may_read(vonage: &Vonage) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(&vonage.private_key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    false
}

fn webhooks(vonage: &Vonage) -> Vec<Result<String, String>> {
    if !vonage.takes_webhooks() {
        let expected = "[[vonage.account]] with api_key and signature_secrets, as the dashboard's settings show them";
        return vec![Err(format!("vonage.account is empty, so every webhook is refused; expected {expected}"))];
    }
    let mut lines: Vec<_> = (vonage.account.iter().enumerate())
        .map(|(n, account)| {
            let secrets = account.signature_secrets.len();
            let masked = vec!["[secret]"; secrets].join(", ");
            Ok(format!("vonage.account[{n}]: api_key is {}, signature_secrets are {masked}", account.api_key))
        })
        .collect();
    if vonage.unsigned {
        lines
            .push(Ok("vonage.unsigned is true: whoever reaches server.listen, a loopback address, is believed".into()));
    }
    lines
}

/// How Vonage reaches us. Another machine must, unless Vonage is on this one too.
fn public_url(settings: &Settings, vonage: &Vonage) -> Result<String, String> {
    let url = &settings.public_url;
    let offline = is_loopback_url(&vonage.api_base) || !vonage.has_api();
    let wrong = |what: &str| format!("server.public_url is {url}{what}; expected https://host, as Vonage reaches it");
    match (is_loopback_url(url), url.starts_with("https://")) {
        (true, _) if !offline => Err(wrong(&format!(", which is this machine to {}", vonage.api_base))),
        (false, false) => Err(wrong(", without TLS")),
        (here, _) => {
            let hint = if here { " (good for development on this machine)" } else { "" };
            Ok(format!("{url}{WEBHOOKS}; media sockets at {}{hint}", settings.pass.url))
        }
    }
}

/// What callers and agents would be told, held against Vonage's rules.
fn flows(settings: &Settings) -> Vec<Result<String, String>> {
    let now = Clock::default().wall();
    let look = |flow: &std::sync::Arc<control::Flow>| {
        let nccos = control::samples(flow, &settings.pass, &settings.public_url, now);
        let problems = nccos.iter().flat_map(|(what, ncco)| {
            let errors = validate(ncco).into_iter().filter(|problem| problem.severity == Severity::Error);
            errors.map(move |problem| format!("{what}: {problem}"))
        });
        let problems: Vec<_> = problems.collect();
        match problems.is_empty() {
            true => Ok(format!("{:?}: what Vonage would be told is valid", flow.name)),
            false => Err(format!("{:?}: {}", flow.name, problems.join("; "))),
        }
    };
    settings.flows.iter().map(look).collect()
}

/// Whether a file that Vonage is to fetch is there, as far as can be told from here.
async fn reach(url: &str) -> Result<String, String> {
    // The host is enough; a path may hold a key.
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let client = reqwest::Client::builder().timeout(HOST_TIMEOUT);
    let client = if is_loopback_url(url) { client.no_proxy() } else { client };
    let sent = match client.build() {
        // As Vonage does it; the file itself is left where it is.
        Ok(client) => client.get(url).send().await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(answer) if !answer.status().is_success() => {
            Err(format!("is at {host}, which answers {}; expected a file that Vonage can fetch", answer.status()))
        }
        Ok(_) => Ok(format!("{host} has it")),
        Err(error) => {
            let why = RestError::from(error);
            Err(format!("is at {host}: {why}; expected a host that Vonage can fetch from"))
        }
    }
}

/// Asks the Voice API for something harmless: one call of its list.
async fn ask(vonage: &Vonage, key: AppKey) -> Result<String, String> {
    let base = &vonage.api_base;
    let settings = rest::Settings { attempts_max: 1, ..vonage.client() };
    let client = Client::new(settings, &vonage.application_id, key).map_err(|error| format!("vonage.{error}"))?;
    let list = ListCalls { page_size: Some(1), ..ListCalls::default() };
    match client.list_calls(&list, None).await {
        Ok(_) => Ok(format!("vonage.api_base is {base}, and takes our token")),
        Err(error @ RestError::Unauthorised { .. }) => Err(format!(
            "vonage.api_base is {base}: {error}; expected vonage.application_id and the private key to be one \
             application's, and this machine's clock to be right"
        )),
        Err(error @ (RestError::Unreachable { .. } | RestError::TimedOut | RestError::Broken { .. })) => {
            Err(format!("vonage.api_base is {base}: {error}; expected a host that can be reached from here"))
        }
        Err(error) => Err(format!("vonage.api_base is {base}: {error}; expected the Voice API")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(toml: &str) -> Result<String, String> {
        let config: Config = toml::from_str(toml).unwrap();
        public_url(&app::controller_settings(&config).unwrap(), &config.vonage)
    }

    #[test]
    fn the_public_url_is_one_that_vonage_reaches() {
        let real = "[vonage]\nunsigned = true\nprivate_key = \"x\"\n[server]\n";
        for (url, good) in [
            ("https://calls.example", true),
            ("http://calls.example", false),
            ("https://localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("", false),
        ] {
            let said = said(&format!("{real}public_url = {url:?}"));
            assert_eq!(said.is_ok(), good, "{url}: {said:?}");
        }
        let offline = "[vonage]\nunsigned = true\nprivate_key = \"x\"\napi_base = \"http://localhost:1\"\n[server]\n";
        let said = said(&format!("{offline}public_url = \"http://[::1]:8080\""));
        assert!(said.unwrap().contains("media sockets at ws://[::1]:8080/media (good for development"));
    }

    #[test]
    fn bare_media_sockets_are_not_asked_about_vonage() {
        assert!(!is_configured(&Config::default()));
        for toml in ["[vonage]\nunsigned = true", "[[flow]]\nname = \"a\""] {
            assert!(is_configured(&toml::from_str(toml).unwrap()), "{toml}");
        }
    }
}
