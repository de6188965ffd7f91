//! The gateway from outside: real sockets on loopback, real processes, real files.
//!
//! One binary, so that it is linked once. Nothing here waits by sleeping: every wait
//! is for something, bounded, and says what it waited for when it gives up.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod check;
mod cli;
mod hostile;
mod life;
mod media;
mod support;
