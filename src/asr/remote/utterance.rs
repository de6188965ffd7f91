//! The utterance that a connection is leased for: what is asked of it, and how much of its audio
//! has been sent.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::streaming::{Key, Lease};
use super::tidied;
use crate::asr::Speech;
use crate::types::{Fault, SegmentKind, Transcript};

/// Something to be transcribed on a connection.
pub(super) struct Order {
    pub(super) speech: Speech,
    /// The right to use a connection; with an utterance's first order only.
    pub(super) lease: Option<Lease>,
    pub(super) answer: Answer,
}

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<Transcript, Lost>>;

/// Why an order has no answer.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) fault: Fault,
    /// Whether it is no fault of the vendor's present state, so that a new connection may do.
    pub(super) again: bool,
}

/// What is asked of an utterance.
pub(super) struct Asked {
    pub(super) speech: Speech,
    pub(super) answer: Answer,
    pub(super) since: Instant,
}

impl Asked {
    pub(super) fn is(&self, kind: SegmentKind) -> bool {
        self.speech.kind == kind
    }

    /// Says how it went; whoever asked may have gone.
    pub(super) fn answered(self, outcome: Result<Transcript, Lost>) {
        let samples = self.speech.samples.len();
        let _ = self.answer.send(outcome.map(|transcript| tidied(transcript, samples)));
    }
}

/// An utterance under way on a connection.
pub(super) struct Utterance {
    pub(super) key: Key,
    /// Samples of it that were sent.
    sent: usize,
    /// What is asked of it now.
    pub(super) asked: Option<Asked>,
    /// Whether its end was said.
    pub(super) finishing: bool,
    /// When it last had an order.
    pub(super) touched: Instant,
    /// Whether the vendor has said anything of it.
    pub(super) heard: bool,
    /// Bytes of what the vendor has said of it.
    pub(super) bytes: usize,
    /// Given back when it is over.
    _lease: Lease,
}

/// What is to be sent of an utterance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing now.
    Nothing,
    /// This audio: little-endian 16-bit PCM.
    Audio(Vec<u8>),
    /// That this was all.
    End,
}

impl Utterance {
    pub(super) fn new(key: Key, lease: Lease) -> Self {
        Self {
            key,
            sent: 0,
            asked: None,
            finishing: false,
            touched: Instant::now(),
            heard: false,
            bytes: 0,
            _lease: lease,
        }
    }

    /// Takes what is asked of it.
    ///
    /// # Errors
    /// The answer's place: the speech was cut where it was quiet, before the end of what was
    /// sent, so that this connection cannot give it.
    pub(super) fn ask(&mut self, speech: Speech, answer: Answer) -> Result<(), Answer> {
        if speech.samples.len() < self.sent {
            return Err(answer);
        }
        self.touched = Instant::now();
        let since = self.touched;
        if let Some(older) = self.asked.replace(Asked { speech, answer, since }) {
            older.answered(Err(Lost { fault: Fault::Overload, again: false }));
        }
        Ok(())
    }

    /// What is to be sent next, in messages of at most `most` and at least `fewest` samples,
    /// where `room` more samples may go now. The last message is filled up with silence.
    pub(super) fn due(&mut self, (most, fewest): (usize, usize), room: u64) -> Due {
        let Some(Asked { speech, .. }) = self.asked.as_ref().filter(|_| !self.finishing) else { return Due::Nothing };
        let whole = speech.kind == SegmentKind::Final;
        let rest = &speech.samples[self.sent..];
        let take = rest.len().min(most);
        if take == 0 && whole {
            self.finishing = true;
            return Due::End;
        }
        // Of a text so far, what is too little for a message waits for more.
        let too_little = take == 0 || take < fewest && !whole;
        let length = take.max(fewest);
        if too_little || room < length as u64 {
            return Due::Nothing;
        }
        let mut bytes = Vec::with_capacity(length * 2);
        rest[..take].iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
        bytes.resize(length * 2, 0);
        self.sent += take;
        Due::Audio(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::types::{LegId, SegmentId};

    fn utterance() -> Utterance {
        let lease = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Utterance::new((LegId::parse("leg").unwrap(), SegmentId(1)), lease)
    }

    fn ask(utterance: &mut Utterance, kind: SegmentKind, samples: usize) -> bool {
        let (leg, segment) = utterance.key.clone();
        let samples = Arc::new(vec![1; samples]);
        utterance.ask(Speech { leg, segment, kind, samples }, oneshot::channel().0).is_ok()
    }

    fn sent(utterance: &mut Utterance, room: u64) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            match utterance.due((8_000, 800), room) {
                Due::Audio(bytes) => sizes.push(bytes.len() / 2),
                Due::End => sizes.push(0),
                Due::Nothing => return sizes,
            }
        }
    }

    #[test]
    fn audio_goes_once_and_its_end_is_said_once() {
        let mut utterance = utterance();
        assert!(ask(&mut utterance, SegmentKind::Partial, 17_000));
        assert_eq!(sent(&mut utterance, u64::MAX), [8_000, 8_000, 1_000]);
        assert!(ask(&mut utterance, SegmentKind::Partial, 17_500));
        assert_eq!(sent(&mut utterance, u64::MAX), [0; 0], "too little for a message");
        assert!(ask(&mut utterance, SegmentKind::Final, 17_500));
        assert_eq!(sent(&mut utterance, u64::MAX), [800, 0], "filled up, and the end");
        assert!(utterance.finishing);
    }

    #[test]
    fn nothing_goes_where_there_is_no_room_and_a_cut_is_noticed() {
        let mut utterance = utterance();
        assert!(ask(&mut utterance, SegmentKind::Final, 16_000));
        assert_eq!(sent(&mut utterance, 7_999), [0; 0]);
        assert_eq!(sent(&mut utterance, 8_000), [8_000, 8_000, 0]);
        assert!(!ask(&mut utterance, SegmentKind::Final, 15_999));
    }
}
