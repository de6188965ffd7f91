//! How well recordings with known words are transcribed.
//!
//! [`manifest`] says which recordings there are, [`telephone`] makes telephone calls
//! of them, [`normalise`] makes texts comparable, [`wer`] counts what differs;
//! [`redaction`] does so for private entities in marked utterances.
//!
//! Invariant: pure. Files are opened by the command line, transcribers run there.

pub mod manifest;
pub mod normalise;
pub mod redaction;
pub mod telephone;
pub mod wer;
