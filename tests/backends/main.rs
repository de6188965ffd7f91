//! Remote transcribers against servers that speak the vendors' wire formats, on real sockets:
//! well, badly, and not at all. What a server hears is counted and told in its answer, so that
//! an answer proves which audio it is of.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

#[path = "../gateway/support/mod.rs"]
mod support;

mod bench;
mod chain;
mod cli;
mod killed;
mod scoring;
mod sessions;
mod shadow;
mod table;
mod tls;
mod vendor;
