//! Sidetone listens to every call of a contact centre.
//!
//! Vonage dials a WebSocket for each participant of a call. Sidetone takes its
//! audio, finds the speech in it, turns each stretch of speech into text with a
//! sentiment score, and publishes that, in order and without gaps, to Apache Kafka
//! and other sinks. Since every participant has a socket of its own, speakers are
//! separate from the start; there is no diarisation.
//!
//! This page is the map. It holds no code.
//!
//! # The life of a call
//!
//! ```text
//! Vonage ── answer webhook ──► server::webhook     believed? new?
//!                                │ Answer
//!                                ▼
//!                              control::Centre      pure: flow → NCCO; facts about legs
//!                                │ NCCO: greet, consent, record, conversation
//! Vonage ◄───────────────────────┘
//!    │   event webhooks ───────► Centre ──► Ask ──► vonage::rest   the agent's leg, and
//!    │                             │                               a listener a speaker
//!    │                             └──────► call.* events, one record at the end
//!    └── dials /media, with the token from the listener's NCCO: a frame's life begins
//! ```
//!
//! # The life of a frame
//!
//! ```text
//! Vonage ── 20 ms of L16 ──► server::leg      one task a leg: owns socket and Call
//!                              │ bytes
//!                              ▼
//!                            call::Call       pure: pcm → resample → vad → endpointer
//!                              │                     → segmenter → ledger
//!                              │ Segment (a pointer move)
//!                              ▼
//!                            inference        OS threads: level → asr → redact → sentiment
//!                              │ Reply        (what is remote: tasks); then, perhaps, a shadow
//!                              ▼
//!                            call::Call       speech order, numbers, events
//!                              │ Event
//!                              ▼
//!                            publish          two bounded lanes a sink
//!                              ▼
//!                            sink             Kafka · file · live stream
//! ```
//!
//! [`simulator`] is the other side of both pictures: an offline Vonage that speaks to a
//! gateway by these webhooks, this API and these sockets, and by nothing else. [`load`] is a
//! crowd of such sockets, with one thread for all of them, and the figures of a run.
//!
//! # Who may look at whom
//!
//! `types ← audio ← call → vad (trait), event, redact`; `types ← vonage ← control → event, redact`; a
//! backend in [`vad`], [`asr`], [`sentiment`] or [`sink`] sees [`types`], [`onnx`] and its
//! own third-party crate, and another backend only through its family's list;
//! [`inference`] sees the traits of asr and sentiment, and [`eval`] to compare two of them; [`server`] sees call, control,
//! inference, publish; [`app`] sees all; `main → cli → app`. `tests/tidy.rs` enforces it.
//!
//! Pure, that is without task, socket, clock, lock, channel or random number:
//! [`types`], [`audio`], [`call`], [`control`], [`event`], [`redact`], and [`vonage`] but for its REST
//! client. Time, bytes and ids come to them as arguments.
//!
//! # What may never happen
//!
//! - A received sample that is not accounted for: `received = transcribed + silent +
//!   paused + dropped`, to the sample, for every leg, on every way out ([`call`]).
//! - A segment of speech without exactly one terminal event ([`call`]).
//! - A gap in a leg's `seq`, or two events with one id ([`event`]).
//! - A leg that waits for inference, a sink or another leg ([`server`]).
//! - A webhook that waits for Vonage, a sink or inference ([`server`]).
//! - What was said while capture was paused, in a recording on our disk ([`audio::mute`]).
//! - A listener for one of our own listeners, or one that outlives whom it hears
//!   ([`control`]).
//! - A call without exactly one record ([`control`]).
//! - A durable event dropped silently ([`publish`]).
//! - A queue, buffer or wait without a bound that has a name ([`config`]).
//! - A number, digit or transcript in a log line or a metric ([`telemetry`]).
//!
//! # Where to begin
//!
//! To mend what is published: [`event::body`], [`event::call`]. What becomes of audio:
//! [`call`]. What becomes of a call: [`control`]. How a peer is treated: `server/leg.rs`;
//! a webhook: `server/webhook.rs`; a request of the centre's own: `server/api/`. A new transcriber, detector, scorer: one file
//! in its family and one line in the family's list.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app;
pub mod asr;
pub mod audio;
pub mod call;
pub mod cli;
pub mod config;
pub mod control;
pub mod eval;
pub mod event;
pub mod http;
pub mod inference;
pub mod load;
pub mod models;
pub mod onnx;
pub mod publish;
pub mod redact;
pub mod sentiment;
pub mod server;
pub mod simulator;
pub mod sink;
pub mod telemetry;
mod tls;
pub mod types;
pub mod vad;
pub mod vonage;
