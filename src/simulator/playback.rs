//! What an application sent to be played, until it is played: the queue of one socket leg.
//!
//! Source: `vonage-voice.md` section 1.3: 3072 messages, drained in real time; `notify`
//! waits behind the audio sent before it; `clear` drops what is queued. Pure.
//!
//! Unconfirmed there, and chosen here: the newest message is what an overflow loses,
//! and marks that wait at a `clear` are dropped with the audio.

use std::collections::VecDeque;

use serde_json::Value;

use crate::types::rate::Frame;

/// Messages the platform queues, about 60 s of audio.
pub const MESSAGES_MAX: usize = 3072;

enum Message {
    Audio(Box<Frame>),
    Mark(Value),
}

/// One socket leg's queue.
#[derive(Default)]
pub struct Playback {
    queue: VecDeque<Message>,
    played: u64,
    overflow: u64,
    cleared: u64,
}

impl Playback {
    /// Queues 20 ms of audio, already at 16 kHz. `false` when the queue is full: the
    /// frame is lost and counted.
    pub fn audio(&mut self, frame: &Frame) -> bool {
        self.push(Message::Audio(Box::new(*frame)))
    }

    /// Queues a mark behind the audio sent so far. `false` when the queue is full.
    pub fn notify(&mut self, payload: Value) -> bool {
        self.push(Message::Mark(payload))
    }

    fn push(&mut self, message: Message) -> bool {
        let room = self.queue.len() < MESSAGES_MAX;
        if room {
            self.queue.push_back(message);
        } else {
            self.overflow += 1;
        }
        room
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.cleared += self.queue.len() as u64;
        self.queue.clear();
    }

    /// 20 ms have passed: the frame to play, if there is one, and the payloads of the
    /// marks that playback has come to.
    pub fn tick(&mut self) -> (Option<Frame>, Vec<Value>) {
        let mut reached = Vec::new();
        loop {
            match self.queue.pop_front() {
                Some(Message::Audio(frame)) => {
                    self.played += 1;
                    return (Some(*frame), reached);
                }
                Some(Message::Mark(payload)) => reached.push(payload),
                None => return (None, reached),
            }
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frames played.
    #[must_use]
    pub fn played(&self) -> u64 {
        self.played
    }

    /// Messages lost because the queue was full.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Messages dropped by `clear`.
    #[must_use]
    pub fn cleared(&self) -> u64 {
        self.cleared
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::types::rate::FRAME_SAMPLES;

    fn frame(mark: i16) -> Frame {
        [mark; FRAME_SAMPLES]
    }

    #[test]
    fn a_mark_waits_for_the_audio_before_it() {
        let mut playback = Playback::default();
        assert!(playback.audio(&frame(1)) && playback.notify(json!("a")) && playback.notify(json!("b")));
        assert!(playback.audio(&frame(2)) && playback.notify(json!("c")));
        assert_eq!(playback.tick(), (Some(frame(1)), vec![]));
        assert_eq!(playback.tick(), (Some(frame(2)), vec![json!("a"), json!("b")]));
        assert_eq!(playback.tick(), (None, vec![json!("c")]));
        assert_eq!(playback.tick(), (None, vec![]));
        assert_eq!((playback.played(), playback.overflow(), playback.cleared()), (2, 0, 0));
    }

    #[test]
    fn clear_drops_audio_and_marks() {
        let mut playback = Playback::default();
        assert!(playback.audio(&frame(1)) && playback.notify(json!(1)));
        playback.clear();
        assert!(playback.is_empty());
        assert_eq!((playback.tick(), playback.cleared()), ((None, vec![]), 2));
    }

    #[test]
    fn message_3073_is_lost_and_counted() {
        let mut playback = Playback::default();
        assert!((0..MESSAGES_MAX).all(|n| playback.audio(&frame(n as i16))));
        assert!(!playback.audio(&frame(-1)) && !playback.notify(json!(1)));
        assert_eq!(playback.overflow(), 2);
        assert_eq!(playback.tick().0, Some(frame(0)), "the oldest is played all the same");
        assert!(playback.audio(&frame(-2)), "and leaves room");
    }

    proptest! {
        #[test]
        fn order_is_kept_and_nothing_is_lost_unseen(steps in prop::collection::vec(0..4_u8, 0..200)) {
            let (mut playback, mut sent, mut came, mut lost) = (Playback::default(), 0_i16, Vec::new(), 0);
            let mut take = |(audio, marks): (Option<Frame>, Vec<Value>)| {
                came.extend(marks.iter().map(|mark| mark.as_i64().unwrap()));
                came.extend(audio.map(|frame| i64::from(frame[0])));
            };
            for step in steps {
                match step {
                    0 => { playback.audio(&frame(sent)); sent += 1; }
                    1 => { playback.notify(json!(sent)); sent += 1; }
                    2 => take(playback.tick()),
                    _ => { let before = playback.cleared(); playback.clear(); lost += playback.cleared() - before; }
                }
            }
            while !playback.is_empty() {
                take(playback.tick());
            }
            prop_assert!(came.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", came);
            prop_assert_eq!(came.len() as u64 + lost, sent as u64);
        }
    }
}
