//! The controller's pure core, `sidetone::control`, attacked from outside. One binary, to link once.
//!
//! - `happy`, `agent`, `listening`, `lost`, `order`, `moves`, `bounds`, `privacy`, `recordings`: scripts of webhooks, one idea a file.
//! - `properties`: calls with a true history in [`world`], whose webhooks are lost, late, doubled and mixed up.
//! - `hostile`: input that no Vonage would send.
//!
//! All hand their input in through [`desk::Desk`], which keeps the clock and checks what the
//! centre promises of every event and request.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may fail where it stands")]

mod agent;
mod bounds;
mod desk;
mod happy;
mod hostile;
mod listening;
mod lost;
mod moves;
mod order;
mod privacy;
mod properties;
mod recordings;
mod world;
