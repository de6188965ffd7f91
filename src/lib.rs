//! placeholder: the manual goes here
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app;
pub mod asr;
pub mod audio;
pub mod call;
pub mod cli;
pub mod config;
pub mod event;
pub mod inference;
pub mod models;
pub mod onnx;
pub mod publish;
pub mod sentiment;
pub mod server;
pub mod simulator;
pub mod sink;
pub mod telemetry;
pub mod types;
pub mod vad;
