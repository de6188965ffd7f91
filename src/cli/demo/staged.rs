//! A whole call: an offline Vonage on one port, the gateway on another, and nothing between
//! them but what is between the real ones: signed webhooks, REST with tokens, sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::Failure;
use super::super::simulate::secrets::Secrets;
use super::With;
use crate::app::{self, App};
use crate::audio::wav::Wav;
use crate::config::{Account, Config, Control, FlowSection, Media, Secret, To, Vonage};
use crate::event::{Body, Event};
use crate::simulator::platform::{Platform, Report, Settings};
use crate::simulator::script::AudioOffset;
use crate::simulator::stage;
use crate::simulator::webhook::Signing;
use crate::sink::{Refusal, Sink};
use crate::types::{Private, Rate};
use crate::vonage::app_jwt::AppPublicKey;

/// Quiet after the last party left, before the call is told whole.
const LINGER: Duration = Duration::from_millis(300);
/// Longest wait for last words after that.
const LINGER_MAX: Duration = Duration::from_secs(20);
/// The agent's number: one that is kept for fiction.
const AGENT: &str = "447700900111";

/// Plays the call; gives what went wrong. `speakers` are the caller, and the agent if there is one.
pub(super) async fn play(
    config: Config,
    with: With,
    name: &Path,
    call: Wav,
    speakers: &[String],
) -> Result<Vec<String>, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let platform = listener.local_addr()?.to_string();
    let secrets = Secrets::new().map_err(Failure)?;
    let config = gateway(config, &platform, &secrets, speakers.len() > 1, call.rate);
    let (told, record) = oneshot::channel();
    let mut sinks = app::sinks(&config)?;
    sinks.push(with.sink());
    sinks.push(Box::new(Until { told: Some(told) }));
    let app = App::start(&config, sinks, None).await?;
    app.warm().await?;
    let here = app.address();
    with.announce(&call, &format!("as a call: an offline Vonage on {platform}, a gateway on {here}"))?;
    let (mut script, voices) = stage::recorded_call(name, call, speakers)?;
    if speakers.len() == 1 {
        // Who speaks to nobody but us shall not speak into the greeting.
        script.calls.iter_mut().for_each(|call| call.caller.audio_offset = AudioOffset::Heard);
    }
    let settings = vonage(&format!("http://{here}/v1/vonage"), &secrets, with.speed)?;
    let platform = Platform::start_on(listener, settings).await?;
    let report = platform.run(&script, &voices).await;
    let mut problems = Vec::new();
    if !report.ok() {
        problems.push(report.to_string());
    } else if timeout(LINGER_MAX + LINGER, record).await.is_err() {
        problems.push("the call's record did not come".to_owned());
    }
    problems.extend(legs_in_trouble(&report));
    problems.extend(super::stop(app).await);
    // The gateway may have had something to ask until now.
    drop(platform);
    Ok(problems)
}

/// The gateway's configuration: the user's, but for what makes it this platform's application.
fn gateway(config: Config, platform: &str, secrets: &Secrets, agent: bool, rate: Rate) -> Config {
    let to = match agent {
        true => To { phone: Some(AGENT.to_owned()), ..To::default() },
        false => To { socket: true, ..To::default() },
    };
    let mut server = config.server;
    server.public_url.clear();
    let ms = |span: Duration| span.as_millis() as u64;
    Config {
        server,
        vonage: Vonage {
            application_id: secrets.application_id.clone(),
            private_key_pem: Secret::new(&secrets.private_key),
            api_base: format!("http://{platform}"),
            trusted_hosts: vec![platform.to_owned()],
            account: vec![Account {
                api_key: secrets.api_key.clone(),
                signature_secrets: vec![Secret::new(&secrets.signature_secret)],
            }],
            ..Vonage::default()
        },
        media: Media { token_keys: vec![Secret::new(&secrets.token_key)], ..Media::default() },
        control: Control {
            linger_ms: ms(LINGER),
            linger_max_ms: ms(LINGER_MAX),
            // The recording's own: nothing is resampled that need not be.
            media_rate_hz: rate.hz(),
            ..Control::default()
        },
        flow: vec![FlowSection {
            name: "demo".to_owned(),
            greeting: Some("Welcome.".to_owned()),
            consent: Some("This call is transcribed.".to_owned()),
            to,
            ..FlowSection::default()
        }],
        ..config
    }
}

/// The platform's side of the same.
fn vonage(application: &str, secrets: &Secrets, speed: f64) -> Result<Settings, Failure> {
    Ok(Settings {
        fallback_url: Some(format!("{application}/fallback")),
        signing: Some(Signing {
            api_key: secrets.api_key.clone(),
            secret: Private(secrets.signature_secret.clone()),
            application_id: Some(secrets.application_id.clone()),
        }),
        rest_key: Some(AppPublicKey::from_pem(&secrets.public_key)?),
        application_id: Some(secrets.application_id.clone()),
        speed,
        ..Settings::new(&format!("{application}/answer"), &format!("{application}/event"))
    })
}

/// What the platform found wrong with a leg; nothing of a call that went well.
fn legs_in_trouble(report: &Report) -> Vec<String> {
    let legs = report.calls.iter().flat_map(|call| &call.legs).chain(&report.other_legs);
    legs.flat_map(|leg| leg.problems.iter().map(|problem| format!("{}: {problem}", leg.role))).collect()
}

/// Tells when the call's record has come.
struct Until {
    told: Option<oneshot::Sender<()>>,
}

impl Sink for Until {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn open(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn send(&mut self, event: &Arc<Event>) -> Result<(), Refusal> {
        if matches!(event.body, Body::CallRecord(_))
            && let Some(told) = self.told.take()
        {
            // Nobody waits any more: the call is over in another way.
            let _ = told.send(());
        }
        Ok(())
    }

    fn flush(&mut self, _: Duration) -> Result<(), usize> {
        Ok(())
    }
}
