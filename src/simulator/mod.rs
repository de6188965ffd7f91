//! An offline Vonage: dials our media socket the way the platform does.

pub mod bucket;
pub mod clock;
pub mod fault;
pub mod mixer;
pub mod person;
pub mod playback;
pub mod player;
pub mod recording;
pub mod script;
pub mod stage;
pub mod voice;
