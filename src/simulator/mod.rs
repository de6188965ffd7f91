//! An offline Vonage: dials our media socket the way the platform does.

pub mod clock;
pub mod mixer;
pub mod person;
pub mod playback;
pub mod player;
pub mod recording;
pub mod script;
