//! `sidetone conformance`: whether a gateway, ours or another, serves Vonage as it must.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Done, Failure};
use crate::simulator::conformance::{Bench, Finding, Outcome, Target, checks};
use crate::simulator::webhook::Signing;
use crate::types::Private;

/// Columns of a check's name.
const NAME: usize = 26;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// A gateway with this one's own paths: /v1/vonage/answer, /v1/vonage/event, /media
    #[arg(long, value_name = "URL", required_unless_present_any = ["answer_url", "event_url", "media_url"])]
    url: Option<String>,
    /// The answer webhook
    #[arg(long, value_name = "URL")]
    answer_url: Option<String>,
    /// The event webhook
    #[arg(long, value_name = "URL")]
    event_url: Option<String>,
    /// A media socket that opens any number of times; without it, an answered NCCO's
    #[arg(long, value_name = "URL")]
    media_url: Option<String>,
    /// A file that holds the signature secret, taken before --secret; without either, nothing is signed
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The signature secret; better in the environment or in a file than here
    #[arg(long, value_name = "SECRET", env = "SIDETONE_SIGNATURE_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The account that the secret belongs to
    #[arg(long, value_name = "KEY", env = "SIDETONE_API_KEY", default_value = "")]
    api_key: String,
    /// The application that tokens name
    #[arg(long, value_name = "ID")]
    application_id: Option<String>,
    /// Make only checks whose name begins so, such as `media.`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: Options) -> Done {
    let target = options.target()?;
    let bench = Bench::new(target)?;
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.starts_with(only.as_str()));
    let wanted: Vec<_> = checks().filter(|check| wanted(check.name)).collect();
    if wanted.is_empty() {
        let names: Vec<_> = checks().map(|check| check.name).collect();
        let only = options.only.unwrap_or_default();
        return Err(Failure(format!("--only is {only:?}: expected the beginning of one of {}", names.join(", "))));
    }
    let mut findings = Vec::new();
    super::runtime()?.block_on(async {
        for check in wanted {
            let finding = check.make(&bench).await;
            if !options.json {
                show(&finding)?;
            }
            findings.push(finding);
        }
        Ok::<(), io::Error>(())
    })?;
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (ok, bad, skipped) = (count(Outcome::Ok), count(Outcome::Bad), count(Outcome::Skipped));
    if options.json {
        let document = json!({"ok": ok, "bad": bad, "skipped": skipped, "checks": findings});
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&document)?)?;
    } else {
        writeln!(io::stdout(), "\n{ok} ok, {bad} BAD, {skipped} skipped")?;
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn target(&self) -> Result<Target, Failure> {
        let mut target = match &self.url {
            Some(url) => Target::at(url).map_err(|error| Failure(format!("--url: {error}")))?,
            None => Target::default(),
        };
        for (given, place) in [
            (&self.answer_url, &mut target.answer_url),
            (&self.event_url, &mut target.event_url),
            (&self.media_url, &mut target.media_url),
        ] {
            if given.is_some() {
                place.clone_from(given);
            }
        }
        target.signing = self.secret()?.map(|secret| Signing {
            api_key: self.api_key.clone(),
            secret: Private(secret),
            application_id: self.application_id.clone(),
        });
        Ok(target)
    }

    fn secret(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.secret_file else { return Ok(self.secret.clone()) };
        let secret = std::fs::read_to_string(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        match secret.trim() {
            "" => Err(Failure(format!("{}: holds no secret", path.display()))),
            secret => Ok(Some(secret.to_owned())),
        }
    }
}

/// One check: how it ended, its name, what was done, and why.
fn show(finding: &Finding) -> io::Result<()> {
    let mark = match finding.outcome {
        Outcome::Ok => "ok  ",
        Outcome::Bad => "BAD ",
        Outcome::Skipped => "skip",
    };
    let mut out = io::stdout();
    writeln!(out, "{mark} {:<NAME$} {}", finding.check, finding.about)?;
    if !finding.why.is_empty() {
        writeln!(out, "     {:<NAME$} → {}", "", finding.why)?;
    }
    Ok(())
}
