//! A crowd of legs with real speech at real pace, and what a gateway makes of it.
//!
//! ```text
//!  plan: when each leg comes and goes        speech: what each says, and when it pauses
//!        │                                          │
//!        ▼                                          ▼
//!  dial ──socket──► wheel: one thread, all legs, 20 ms round and round ──frames──► gateway
//!   │ let in, refused                  │ what was sent, how late                     │
//!   ▼                                  ▼                                             │
//!  figures::Book ◄───────────── run ◄── events: live stream or Kafka ◄──────────────┘
//!        │                       ▲
//!        ▼                       └── process: what the gateway's process uses
//!  Report: JSON, a page
//! ```
//!
//! The driver has to cost less than what it drives: messages are encoded and masked once
//! and shared by all legs, and sending one is a single `write` by a thread that does
//! nothing else. It says how late it is itself.
//!
//! Invariant: every frame that was due on a leg is in the report as sent or unsent, and
//! every leg as let in, refused, or not reached.

mod dial;
pub mod draw;
mod events;
pub mod figures;
pub mod frame;
pub mod plan;
pub mod process;
pub mod run;
pub mod server;
pub mod speech;
mod wheel;

pub use self::run::{Progress, Settings, Target, run};
