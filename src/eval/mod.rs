//! How well recordings with known words are transcribed, speech is told from what is none,
//! and texts are scored.
//!
//! [`manifest`] says which recordings there are, [`telephone`] makes telephone calls
//! of them, [`normalise`] makes texts comparable, [`wer`] counts what differs;
//! [`redaction`] does so for private entities in marked utterances. [`sounds`] makes what is
//! not speech, [`detection`] counts what a detector made of either, and [`labels`] what a
//! scorer made of labelled texts.
//!
//! Invariant: pure. Files are opened by the command line, backends run there.

pub mod detection;
pub mod labels;
pub mod manifest;
pub mod normalise;
pub mod redaction;
pub mod sounds;
pub mod telephone;
pub mod wer;
