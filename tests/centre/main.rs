//! The whole centre: the gateway as a process, and an offline Vonage that calls it. Nothing
//! goes between them but webhooks, the Voice API and media sockets.
//!
//! Calls run many times faster than real time. Every wait is for something, bounded, and
//! says what it waited for when it gives up.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod api;
mod calls;
mod private;
mod recordings;
mod security;
#[path = "../gateway/support/mod.rs"]
#[allow(dead_code, reason = "shared with the gateway's own tests")]
mod support;
mod world;
