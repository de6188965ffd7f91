//! An offline Vonage: answers to our NCCOs, takes our REST requests, dials our sockets
//! with real audio, and misbehaves on request.
//!
//! It speaks to the application under test as Vonage does and in no other way. What it is
//! made of:
//!
//! - [`platform`]: legs, conversations, NCCOs; [`platform::Platform`] is the way in
//! - [`script`], [`stage`]: who calls whom and says what, and the voices for it
//! - [`mixer`], [`playback`], [`person`], [`recording`]: pure, a tick of 20 ms at a time
//! - [`webhook`], [`rest`], [`voice`], [`fault`]: its edges, and what goes wrong there
//! - [`conformance`]: checks from outside whether a gateway serves Vonage as it must
//! - [`player`]: one media leg without a platform, for benches
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use sidetone::simulator::platform::{Platform, Settings};
//! use sidetone::simulator::{script::Script, stage::Voices};
//!
//! let text = std::fs::read_to_string("call.toml")?;
//! let script = Script::parse(&text, "call.toml")?;
//! let voices = Voices::read(&script, ".".as_ref())?;
//! let settings = Settings {
//!     speed: 8.0,
//!     ..Settings::new("http://127.0.0.1:8080/v1/vonage/answer", "http://127.0.0.1:8080/v1/vonage/event")
//! };
//! let platform = Platform::start(settings).await?;
//! println!("{}", platform.run(&script, &voices).await);
//! # Ok(())
//! # }
//! ```

pub mod bucket;
pub mod clock;
pub mod conformance;
pub mod fault;
pub mod mixer;
pub mod person;
pub mod platform;
pub mod playback;
pub mod player;
pub mod recording;
pub mod rest;
pub mod script;
mod socket;
pub mod stage;
pub mod voice;
pub mod webhook;
