//! placeholder: the manual goes here
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod asr;
pub mod audio;
pub mod call;
pub mod event;
pub mod models;
pub mod sentiment;
pub mod types;
pub mod vad;
