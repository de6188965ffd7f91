//! An offline Vonage: dials our media socket the way the platform does.

pub mod bucket;
pub mod clock;
pub mod conformance;
pub mod fault;
pub mod mixer;
pub mod person;
pub mod platform;
pub mod playback;
pub mod player;
pub mod recording;
pub mod rest;
pub mod script;
mod socket;
pub mod stage;
pub mod voice;
pub mod webhook;
