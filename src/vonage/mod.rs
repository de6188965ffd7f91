//! Vonage Voice: what we send it, what it sends us, and how each knows the other. Written
//! down without a socket or a clock, but for the client.
//!
//! - [`ncco`]: the actions we answer with, typed and checked
//! - [`webhook`]: what a call's webhooks say, told apart
//! - [`signature`], [`replay`]: whether a webhook is Vonage's, and whether it is new
//! - [`media_token`]: our own pass for a media socket
//! - [`rest_types`], [`app_jwt`]: what the Voice REST API speaks, and how we sign in
//! - [`rest`]: the client of that API
//! - [`wire`]: objects that lose nothing of what they were read from
//!
//! Invariant: whatever JSON a peer sends is either kept whole or refused with a typed
//! error; nothing here panics on input, and `Debug` shows no number, digit, word or secret.
//!
//! Source of every shape: `vonage-voice.md`, our digest of the vendor's public reference,
//! SDKs and samples. What is unconfirmed there is taken both ways.

pub mod app_jwt;
mod jws;
pub mod media_token;
pub mod ncco;
pub mod replay;
pub mod rest;
pub mod rest_types;
mod shape;
pub mod signature;
pub mod webhook;
pub mod wire;
