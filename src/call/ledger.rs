//! Where every received sample went.

use std::collections::BTreeMap;

use crate::event::body::LedgerAccount;
use crate::types::DropReason;

/// One leg's account, in samples of the incoming rate.
///
/// Invariant, whenever no segment is open or unanswered:
/// `received = transcribed + silent + paused + Σ dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Samples received.
    pub received: u64,
    /// Samples inside segments that have a transcript.
    pub transcribed: u64,
    /// Samples judged not to be speech.
    pub silent: u64,
    /// Samples received while capture was paused.
    pub paused: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Ledger {
    /// Books samples that have no transcript.
    pub fn drop(&mut self, reason: DropReason, samples: u64) {
        self.dropped[reason as usize] += samples;
    }

    /// Samples dropped for one reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Samples dropped for any reason that may have lost speech.
    #[must_use]
    pub fn lost(&self) -> u64 {
        DropReason::ALL.into_iter().filter(|reason| reason.is_loss()).map(|reason| self.dropped(reason)).sum()
    }

    /// Samples that are on no page yet: in the pre-roll, in an open segment, or unanswered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let booked = self.transcribed + self.silent + self.paused + self.dropped.iter().sum::<u64>();
        self.received.saturating_sub(booked)
    }

    /// The account as published, reasons without samples left out.
    #[must_use]
    pub fn account(&self, rate_hz: u32) -> LedgerAccount {
        let dropped: BTreeMap<String, u64> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.as_str().to_owned(), self.dropped(reason)))
            .filter(|(_, samples)| *samples > 0)
            .collect();
        let Self { received, transcribed, silent, paused, .. } = *self;
        LedgerAccount { rate_hz, received, transcribed, silent, paused, dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_indexed_by_their_place_in_the_contract() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn judgements_are_not_losses() {
        let mut ledger = Ledger { received: 30, transcribed: 5, ..Ledger::default() };
        ledger.drop(DropReason::NoSpeech, 10);
        assert_eq!((ledger.lost(), ledger.in_flight()), (0, 15));
        ledger.drop(DropReason::Timeout, 15);
        assert_eq!((ledger.lost(), ledger.in_flight()), (15, 0));
        assert_eq!(ledger.account(8000).dropped, [("no_speech".into(), 10), ("timeout".into(), 15)].into());
    }
}
