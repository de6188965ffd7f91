//! Somebody on a leg: a voice from a file, fingers on the keys, and a hand that hangs up.
//!
//! Pure: each tick of 20 ms it is told how things stand and says what it does.

use std::collections::VecDeque;
use std::sync::Arc;

use super::script::{self, AudioOffset};
use crate::types::rate::{FRAME_MS, FRAME_SAMPLES, Frame};

/// Between two keys of one entry, in ms.
const KEY_GAP_MS: u64 = 300;
/// How long a person who waits for company waits, in ms.
pub const PATIENCE_MS: u64 = 30_000;
/// How long it takes to see that the call is over, in ms.
const GRACE_MS: u64 = 1_000;

/// A voice: 16 kHz mono.
pub type Voice = Arc<[i16]>;

/// How things stand at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Another person is in the same conversation.
    pub company: bool,
    /// A socket hears this one.
    pub heard: bool,
    /// Every other person there has said all.
    pub others_done: bool,
    /// A talk or stream plays into this leg, or an `input` waits for it.
    pub announcement: bool,
    /// Where the caller's voice is, in ticks, once it has begun.
    pub caller_clock: Option<u64>,
}

/// What a person does in a tick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Act {
    /// What is said; none is silence.
    pub frame: Option<Frame>,
    /// The key that is pressed.
    pub key: Option<char>,
    /// Whether the receiver goes down.
    pub hangs_up: bool,
}

/// A person whose leg has been answered.
#[derive(Debug, Clone)]
pub struct Person {
    voice: Voice,
    offset: AudioOffset,
    /// Ms after the answer, and the key.
    keys: VecDeque<(u64, char)>,
    speech: VecDeque<String>,
    hangup_at_ms: Option<u64>,
    caller: bool,
    /// Ticks since the answer.
    age: u64,
    /// The tick, by `age`, at which the own voice began.
    began: Option<u64>,
    /// Where in the voice we are, in ticks.
    position: u64,
    had_company: bool,
    /// Ticks for which there was no reason to stay.
    idle: u64,
}

impl Person {
    /// A person as the script has it, with the voice that was read from its file.
    #[must_use]
    pub fn new(script: &script::Person, voice: Voice, caller: bool) -> Self {
        let mut keys: Vec<_> = script
            .dtmf
            .iter()
            .flat_map(|keys| {
                keys.digits.0.chars().enumerate().map(|(n, key)| (keys.at_ms + n as u64 * KEY_GAP_MS, key))
            })
            .collect();
        keys.sort_by_key(|(at, _)| *at);
        Self {
            voice,
            offset: script.audio_offset,
            keys: keys.into(),
            speech: script.speech.iter().map(|text| text.0.clone()).collect(),
            hangup_at_ms: script.hangup_at_ms,
            caller,
            age: 0,
            began: None,
            position: 0,
            had_company: false,
            idle: 0,
        }
    }

    /// The next text that speech recognition makes of what is said.
    pub fn next_speech(&mut self) -> Option<String> {
        self.speech.pop_front()
    }

    /// Ticks since the voice began; it goes on when the file is over.
    #[must_use]
    pub fn clock(&self) -> Option<u64> {
        self.began.map(|began| self.age.saturating_sub(began))
    }

    /// Whether all is said and pressed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let samples = self.position.saturating_mul(FRAME_SAMPLES as u64);
        (self.voice.is_empty() || (self.began.is_some() && samples >= self.voice.len() as u64)) && self.keys.is_empty()
    }

    /// 20 ms have passed.
    pub fn tick(&mut self, now: Surroundings) -> Act {
        let ms = self.age * FRAME_MS;
        self.had_company |= now.company;
        self.begin(now, ms);
        let frame = self.began.and_then(|_| self.speak(now));
        let key = self.keys.front().filter(|(at, _)| *at <= ms).map(|(_, key)| *key);
        if key.is_some() {
            self.keys.pop_front();
        }
        let hangs_up = match self.hangup_at_ms {
            Some(at) => ms >= at,
            None => self.has_enough(now, ms),
        };
        self.age += 1;
        Act { frame, key, hangs_up }
    }

    fn begin(&mut self, now: Surroundings, ms: u64) {
        let due = match self.offset {
            AudioOffset::Answer => true,
            AudioOffset::Call => self.caller || now.caller_clock.is_some(),
            AudioOffset::Joined => now.company || ms >= PATIENCE_MS,
            AudioOffset::Heard => now.heard || ms >= PATIENCE_MS,
        };
        if self.began.is_none() && due {
            self.began = Some(self.age);
        }
    }

    fn speak(&mut self, now: Surroundings) -> Option<Frame> {
        let at = match (self.offset, now.caller_clock) {
            (AudioOffset::Call, Some(clock)) if !self.caller => clock,
            _ => self.position,
        };
        self.position = at + 1;
        let from = usize::try_from(at).ok()?.checked_mul(FRAME_SAMPLES)?;
        let rest = self.voice.get(from..).filter(|rest| !rest.is_empty())?;
        let mut frame = [0; FRAME_SAMPLES];
        frame.iter_mut().zip(rest).for_each(|(to, sample)| *to = *sample);
        Some(frame)
    }

    /// A caller has enough when all is said and heard; others when they are left alone.
    fn has_enough(&mut self, now: Surroundings, ms: u64) -> bool {
        let reason_to_stay = !self.is_done()
            || now.announcement
            || if self.caller { now.company && !now.others_done } else { now.company || !self.had_company };
        self.idle = if reason_to_stay { 0 } else { self.idle + 1 };
        self.idle * FRAME_MS > GRACE_MS || (!self.caller && !self.had_company && ms > PATIENCE_MS && self.is_done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Private;

    fn voice(frames: i16) -> Voice {
        (0..frames).flat_map(|n| [n + 1; FRAME_SAMPLES]).collect()
    }

    fn said(act: &Act) -> i16 {
        act.frame.map_or(0, |frame| frame[0])
    }

    #[test]
    fn the_voice_of_an_agent_stays_in_step_with_the_caller() {
        let script = script::Person { audio_offset: AudioOffset::Call, ..Default::default() };
        let mut agent = Person::new(&script, voice(10), false);
        let at = |clock| Surroundings { caller_clock: clock, company: true, ..Default::default() };
        let heard: Vec<_> =
            [None, Some(4), Some(5), Some(9), Some(10)].map(|clock| said(&agent.tick(at(clock)))).into();
        assert_eq!(heard, [0, 5, 6, 10, 0]);
        assert!(agent.is_done());
    }

    #[test]
    fn a_voice_waits_for_company_and_then_plays_from_its_start() {
        let script = script::Person { audio_offset: AudioOffset::Joined, ..Default::default() };
        let mut caller = Person::new(&script, voice(2), true);
        let company = Surroundings { company: true, ..Default::default() };
        assert_eq!((said(&caller.tick(Surroundings::default())), caller.clock()), (0, None));
        assert_eq!((said(&caller.tick(company)), said(&caller.tick(company)), said(&caller.tick(company))), (1, 2, 0));
        assert_eq!(caller.clock(), Some(3));
        let mut lonely = Person::new(&script, voice(2), true);
        let first = (0..=PATIENCE_MS / FRAME_MS).position(|_| said(&lonely.tick(Surroundings::default())) == 1);
        assert_eq!(first, Some(1500), "after 30 s it speaks to nobody");
    }

    #[test]
    fn a_voice_may_wait_until_a_socket_hears_it() {
        let script = script::Person { audio_offset: AudioOffset::Heard, ..Default::default() };
        let mut caller = Person::new(&script, voice(1), true);
        assert_eq!(said(&caller.tick(Surroundings { company: true, ..Default::default() })), 0);
        assert_eq!(said(&caller.tick(Surroundings { heard: true, ..Default::default() })), 1);
    }

    #[test]
    fn keys_come_one_by_one() {
        let dtmf = vec![
            script::Keys { at_ms: 400, digits: Private("9".into()) },
            script::Keys { at_ms: 100, digits: Private("1#".into()) },
        ];
        let mut person = Person::new(&script::Person { dtmf, ..Default::default() }, voice(0), true);
        let pressed: Vec<_> = (0..30)
            .filter_map(|n| {
                person.tick(Surroundings { announcement: true, ..Default::default() }).key.map(|key| (n * 20, key))
            })
            .collect();
        assert_eq!(pressed, [(100, '1'), (400, '9'), (420, '#')]);
    }

    #[test]
    fn when_each_hangs_up() {
        let alone = Surroundings { others_done: true, ..Default::default() };
        let company = Surroundings { company: true, ..Default::default() };
        let quiet = Surroundings { company: true, others_done: true, ..Default::default() };
        let talk = Surroundings { announcement: true, others_done: true, ..Default::default() };
        for (caller, hangup_at_ms, now, expected_ms) in [
            (true, None, alone, Some(1_000)),
            (true, None, quiet, Some(1_000)),
            (true, None, company, None),
            (true, None, talk, None),
            (true, Some(60), alone, Some(60)),
            (true, Some(3_000), quiet, Some(3_000)),
            (false, None, quiet, None),
            (false, None, alone, Some(30_020)),
            (false, Some(100), company, Some(100)),
        ] {
            let script = script::Person { hangup_at_ms, ..Default::default() };
            let mut person = Person::new(&script, voice(1), caller);
            let at = (0..2_000).find(|_| person.tick(now).hangs_up).map(|n| n * 20);
            assert_eq!(at, expected_ms, "caller {caller}, {hangup_at_ms:?}, {now:?}");
        }
        let mut left = Person::new(&script::Person::default(), voice(1), false);
        assert!(!left.tick(company).hangs_up);
        assert_eq!((0..2_000).find(|_| left.tick(alone).hangs_up), Some(50), "one who is left alone");
    }
}
