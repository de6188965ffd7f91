//! Where a leg's player meets the leg: what starts, ends and is told of a playback.
//!
//! Invariant: a leg that is not spoken to has no player, and costs nothing for it.

use super::io::Output;
use super::playback::{Act, Over, PlayRefused, Playback, Player};
use super::{Call, Phase, wire};
use crate::event::Body;
use crate::event::body::PlaybackEnded;
use crate::types::Moment;

impl Call {
    /// Plays something, or says why not. What comes just too late for a leg that has ended
    /// is played to nobody, and has its outcome like what came before.
    pub(super) fn on_play(&mut self, now: Moment, playback: Playback) {
        if matches!(self.phase, Phase::Tail { .. }) {
            return self.tell(now, Over::unheard(playback));
        }
        let id = playback.id().clone();
        let taken = if !matches!(self.phase, Phase::Live) {
            Err(PlayRefused::NotLive)
        } else if self.parts.terms.listen_only {
            Err(PlayRefused::ListenOnly)
        } else {
            let new = || Box::new(Player::new(&self.config.speaking, self.rate));
            self.player.get_or_insert_with(new).push(playback)
        };
        if let Err(why) = taken {
            self.out.push_back(Output::PlayRefused { playback: id, why });
        }
    }

    /// Takes back what is being played.
    pub(super) fn on_stop_playback(&mut self, now: Moment) {
        if let Some(player) = &mut self.player {
            player.stop(now);
        }
    }

    /// Speech was noticed: whoever is spoken to may be interrupting.
    pub(super) fn on_barge_in(&mut self, now: Moment) {
        if let Some(player) = &mut self.player {
            player.on_speech(now);
        }
    }

    /// Does what is due.
    pub(super) fn speak(&mut self, now: Moment) {
        // Taken out for the time being: a pointer move.
        let Some(mut player) = self.player.take() else { return };
        while let Some(act) = player.next(now) {
            match act {
                Act::Send(frame) => self.out.push_back(Output::Send(frame)),
                Act::Mark { id, number } => self.out.push_back(Output::SendText(wire::notify(&id, number))),
                Act::Clear => self.out.push_back(Output::SendText(wire::CLEAR.to_owned())),
                Act::Over(over) => self.tell(now, over),
            }
        }
        self.player = Some(player);
    }

    /// The leg is over: so is all that was played to it.
    pub(super) fn fall_silent(&mut self, now: Moment) {
        if let Some(player) = &mut self.player {
            player.hang_up(now);
            self.speak(now);
            self.player = None;
        }
    }

    fn tell(&mut self, now: Moment, over: Over) {
        let Over { id, outcome, played_ms, length_ms, confirmed } = over;
        let at_ms = self.clock_ms(now);
        let playback = id.as_ref().to_owned();
        let ended = PlaybackEnded { playback, outcome, played_ms, length_ms, confirmed, at_ms };
        self.emit(now, Body::PlaybackEnded(ended));
    }
}
