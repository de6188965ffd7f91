//! An offline Vonage: dials our media socket the way the platform does.

pub mod bucket;
pub mod conformance;
pub mod fault;
pub mod player;
pub mod rest;
pub mod voice;
pub mod webhook;
