//! The offline Vonage from the application's side: real webhooks, REST and sockets on
//! loopback, many times faster than real time.
//!
//! The application of these tests is in `app.rs`. Every wait is for something, bounded,
//! and says what it waited for when it gives up.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod actions;
mod app;
mod cli;
mod conversation;
mod media;
mod outcomes;
