//! An offline Vonage: dials our media socket the way the platform does.

pub mod clock;
pub mod player;
