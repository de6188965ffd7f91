//! Who hears whom in a conversation, and what comes of it: one mixed frame for each member.
//!
//! Source: `vonage-voice.md` sections 2 (`conversation`), 5 (`mute`, `earmuff`) and 6.
//! A member hears every other member, its own audio excluded, that may speak to it and
//! that it may hear. Pure: frames in, frames out.

use crate::types::rate::{FRAME_SAMPLES, Frame};

/// Most members of a conversation.
pub const MEMBERS_MAX: usize = 50;

/// What one member may hear, and who may hear it. `K` names a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<K> {
    /// The leg.
    pub leg: K,
    /// The legs it hears; none is all of them.
    pub can_hear: Option<Vec<K>>,
    /// The legs that hear it; none is all of them.
    pub can_speak: Option<Vec<K>>,
    /// Nobody hears it.
    pub mute: bool,
    /// It hears nobody.
    pub earmuff: bool,
}

impl<K> Member<K> {
    /// A member that hears all and is heard by all.
    #[must_use]
    pub fn new(leg: K) -> Self {
        Self { leg, can_hear: None, can_speak: None, mute: false, earmuff: false }
    }
}

/// The mixer of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room<K> {
    members: Vec<Member<K>>,
    /// Until it has started, its members hear the music on hold: silence.
    pub started: bool,
}

/// The conversation has [`MEMBERS_MAX`] members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the conversation is full: it has {MEMBERS_MAX} members")]
pub struct Full;

impl<K: PartialEq> Room<K> {
    /// A conversation without members.
    #[must_use]
    pub fn new(started: bool) -> Self {
        Self { members: Vec::new(), started }
    }

    /// The members, in the order they came.
    #[must_use]
    pub fn members(&self) -> &[Member<K>] {
        &self.members
    }

    /// Takes a member in; one who is there already gets the new rights.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(&mut self, member: Member<K>) -> Result<(), Full> {
        if let Some(known) = self.member_mut(&member.leg) {
            *known = member;
        } else if self.members.len() == MEMBERS_MAX {
            return Err(Full);
        } else {
            self.members.push(member);
        }
        Ok(())
    }

    /// Lets a member go; whether it was one.
    pub fn leave(&mut self, leg: &K) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.leg != *leg);
        self.members.len() < before
    }

    /// A member's rights, to change them.
    pub fn member_mut(&mut self, leg: &K) -> Option<&mut Member<K>> {
        self.members.iter_mut().find(|member| member.leg == *leg)
    }

    /// Whether `listener` hears what `speaker` says. A leg never hears itself.
    #[must_use]
    pub fn hears(&self, listener: &K, speaker: &K) -> bool {
        let find = |leg: &K| self.members.iter().find(|member| member.leg == *leg);
        let (Some(listener), Some(speaker)) = (find(listener), find(speaker)) else { return false };
        self.reaches(speaker, listener)
    }

    fn reaches(&self, speaker: &Member<K>, listener: &Member<K>) -> bool {
        let allows = |list: &Option<Vec<K>>, leg: &K| list.as_ref().is_none_or(|list| list.contains(leg));
        self.started
            && speaker.leg != listener.leg
            && !speaker.mute
            && !listener.earmuff
            && allows(&listener.can_hear, &speaker.leg)
            && allows(&speaker.can_speak, &listener.leg)
    }

    /// Mixes 20 ms at 16 kHz: `said` has for each member, in order, what it says, or
    /// nothing. Gives for each what it hears; sums that leave 16 bits are clipped.
    #[must_use]
    pub fn mix(&self, said: &[Option<Frame>]) -> Vec<Frame> {
        let heard = |listener: &Member<K>| {
            let mut sum = [0_i32; FRAME_SAMPLES];
            for (speaker, frame) in self.members.iter().zip(said) {
                if let Some(frame) = frame
                    && self.reaches(speaker, listener)
                {
                    sum.iter_mut().zip(frame).for_each(|(sum, sample)| *sum += i32::from(*sample));
                }
            }
            sum.map(|sample| sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16)
        };
        self.members.iter().map(heard).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(members: Vec<Member<u8>>) -> Room<u8> {
        let mut room = Room::new(true);
        members.into_iter().for_each(|member| room.join(member).unwrap());
        room
    }

    /// Each leg says its own power of two, so that a mix tells who is in it.
    fn audible(room: &Room<u8>) -> Vec<i16> {
        let said: Vec<_> = (0..room.members().len()).map(|n| Some([1_i16 << n; FRAME_SAMPLES])).collect();
        room.mix(&said).iter().map(|frame| frame[7]).collect()
    }

    #[test]
    fn rights() {
        let plain = Member::new;
        let hears = |leg, list: &[u8]| Member { can_hear: Some(list.to_vec()), ..Member::new(leg) };
        let speaks = |leg, list: &[u8]| Member { can_speak: Some(list.to_vec()), ..Member::new(leg) };
        let listener = |leg, list: &[u8]| Member { can_speak: Some(vec![]), ..hears(leg, list) };
        for (members, expected) in [
            (vec![plain(0), plain(1)], vec![0b10, 0b01]),
            (vec![plain(0), plain(1), plain(2)], vec![0b110, 0b101, 0b011]),
            // A socket for each speaker, as section 6 describes.
            (vec![plain(0), plain(1), listener(2, &[0]), listener(3, &[1])], vec![0b10, 0b01, 0b01, 0b10]),
            (vec![plain(0), hears(1, &[]), speaks(2, &[0])], vec![0b110, 0, 0b011]),
            (vec![plain(0), Member { mute: true, ..plain(1) }], vec![0, 0b01]),
            (vec![plain(0), Member { earmuff: true, ..plain(1) }], vec![0b10, 0]),
            // Nobody hears itself, not even on demand.
            (vec![hears(0, &[0])], vec![0]),
        ] {
            assert_eq!(audible(&room(members.clone())), expected, "{members:?}");
        }
    }

    #[test]
    fn before_it_starts_there_is_silence() {
        let mut room = room(vec![Member::new(0), Member::new(1)]);
        room.started = false;
        assert_eq!(audible(&room), [0, 0]);
        assert!(!room.hears(&0, &1));
    }

    #[test]
    fn fifty_members_and_no_more() {
        let mut room = room((0..50).map(Member::new).collect());
        assert_eq!(room.join(Member::new(50)), Err(Full));
        assert_eq!(room.join(Member { mute: true, ..Member::new(49) }), Ok(()), "a member may change its rights");
        assert!(room.leave(&3) && !room.leave(&3));
        assert_eq!(room.join(Member::new(50)), Ok(()));
    }

    #[test]
    fn loud_sums_are_clipped() {
        let room = room((0..3).map(Member::new).collect());
        let said = [Some([30_000; FRAME_SAMPLES]), Some([30_000; FRAME_SAMPLES]), Some([-30_000; FRAME_SAMPLES])];
        assert_eq!(room.mix(&said).iter().map(|frame| frame[0]).collect::<Vec<_>>(), [0, 0, i16::MAX]);
    }

    proptest! {
        #[test]
        fn a_mix_holds_exactly_those_who_are_heard(
            rights in prop::collection::vec((any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>(), any::<bool>(), any::<bool>()), 1..8),
        ) {
            let members: Vec<_> = rights.iter().enumerate().map(|(leg, (hear, speak, mute, earmuff))| {
                let near = |list: &Vec<u8>| list.iter().map(|leg| leg % 8).collect();
                Member { leg: leg as u8, can_hear: hear.as_ref().map(near), can_speak: speak.as_ref().map(near), mute: *mute, earmuff: *earmuff }
            }).collect();
            let room = room(members);
            for (listener, mixed) in audible(&room).into_iter().enumerate() {
                let expected: i16 = (0..rights.len()).filter(|speaker| room.hears(&(listener as u8), &(*speaker as u8))).map(|n| 1 << n).sum();
                prop_assert_eq!(mixed, expected);
                prop_assert_eq!(mixed & (1 << listener), 0, "a leg hears itself");
            }
        }
    }
}
