//! The call's record: webhooks, media legs and ledgers in one account.

use super::call::{Call, MediaLeg};
use super::flow::{Listen, Target};
use super::participant::{Participant, Source};
use crate::event::call::{CallRecord, RecordLeg, RecordParticipant};
use crate::types::{Private, Speaker, WallTime};

/// The record as the call stands now.
pub(super) fn record(call: &Call, now: WallTime) -> CallRecord {
    let first = |state: &str| call.people().filter_map(|who| who.states.get(state)).min().copied();
    let started = first("started").map_or(call.opened.wall, |at| at.min(call.opened.wall));
    let ended = call.people().filter_map(Participant::ended_at).max().unwrap_or(now);
    let reveal = |text: &Option<Private<String>>| text.as_ref().map(|text| text.0.clone());
    let remarks = remarks(call);
    CallRecord {
        direction: call.direction.clone(),
        from: reveal(&call.from),
        to: reveal(&call.to),
        flow: call.flow.as_ref().map(|flow| flow.name.to_string()),
        started: started.to_string(),
        answered: first("answered").map(|at| at.to_string()),
        ended: ended.to_string(),
        duration_s: (ended.0.saturating_sub(started.0)).max(0) as f64 / 1e6,
        price: total(call.participants.iter().filter_map(|who| who.bill.price)),
        participants: call.participants.iter().map(participant).collect(),
        legs: call.media.iter().map(leg).collect(),
        recordings: call.recordings.clone(),
        paused: call.paused_spans(),
        complete: !remarks.iter().any(|remark| LOSSES.contains(remark)),
        remarks: remarks.into_iter().map(str::to_owned).collect(),
    }
}

/// Decimals of a price: Vonage writes up to eight.
const PRICE_UNIT: f64 = 1e8;

/// The sum of prices, to as many decimals as they have: 0.1 and 0.2 are 0.3.
fn total(prices: impl Iterator<Item = f64>) -> f64 {
    let sum: f64 = prices.sum();
    // From the sum of nothing as well, which is negative, as 0 is not.
    (sum * PRICE_UNIT).round() / PRICE_UNIT + 0.0
}

/// Remarks with which a call was not wholly heard.
const LOSSES: [&str; 4] = ["unheard", "mixed", "leg_incomplete", "leg_open"];

fn remarks(call: &Call) -> Vec<&'static str> {
    let mut remarks = call.remarks.clone();
    let mut note = |holds: bool, remark| {
        if holds {
            remarks.insert(remark);
        }
    };
    note(call.participants.iter().any(|who| who.source == Source::Poll), "polled");
    note(call.participants.iter().any(|who| who.source == Source::Lost), "lost_leg");
    note(call.ears.is_mixed(), "mixed");
    let heard = |who: &Participant| {
        call.media.iter().any(|leg| leg.participant.as_ref() == Some(&who.id) || leg.speaker == Speaker::Mixed)
    };
    let listened = call.flow.as_ref().is_none_or(|flow| flow.listen != Listen::Off);
    let to_socket = call.flow.as_ref().is_some_and(|flow| flow.target == Target::Socket);
    let talked = |who: &Participant| who.joined || (to_socket && who.answered());
    note(listened && call.people().any(|who| talked(who) && !heard(who)), "unheard");
    note(call.ears.has_gap(), "unheard");
    note(call.media.iter().any(|leg| !leg.over), "leg_open");
    let complete = |leg: &MediaLeg| leg.ended.as_ref().is_some_and(|ended| ended.complete);
    note(call.media.iter().any(|leg| leg.over && !complete(leg)), "leg_incomplete");
    let recorded = call.flow.as_ref().is_some_and(|flow| flow.record);
    note(recorded && call.recordings.is_empty() && call.people().any(Participant::answered), "no_recording");
    remarks.into_iter().collect()
}

fn participant(who: &Participant) -> RecordParticipant {
    RecordParticipant {
        participant: who.id.to_string(),
        role: who.role.to_string(),
        address: who.address.as_ref().map(|address| address.0.clone()),
        hears: who.hears.as_ref().map(ToString::to_string),
        states: who.states.iter().map(|(word, at)| (word.clone(), at.to_string())).collect(),
        outcome: who.outcome().map(str::to_owned),
        duration_s: who.bill.duration_s,
        price: who.bill.price,
        disconnected_by: who.bill.disconnected_by.clone(),
    }
}

fn leg(leg: &MediaLeg) -> RecordLeg {
    let ended = leg.ended.as_ref();
    RecordLeg {
        leg: leg.leg.to_string(),
        speaker: leg.speaker.to_string(),
        participant: leg.participant.as_ref().map(ToString::to_string),
        reason: ended.map(|ended| ended.reason.clone()),
        complete: ended.is_some_and(|ended| ended.complete),
        ledger: ended.map(|ended| ended.ledger.clone()),
        finals: ended.map_or(0, |ended| ended.characteristics.finals),
        sentiment: ended.and_then(|ended| ended.sentiment.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn a_price_has_no_more_decimals_than_its_parts() {
        for (prices, expected) in [
            (&[][..], "0"),
            (&[0.1, 0.2], "0.3"),
            (&[0.0125, 0.0039, 0.0039], "0.0203"),
            (&[0.00000001, 0.00000002], "0.00000003"),
            (&[0.01390000, 0.00720001], "0.02110001"),
            (&[1_234.5, 0.00000001], "1234.50000001"),
            (&[0.1; 10], "1"),
        ] {
            assert_eq!(total(prices.iter().copied()).to_string(), expected, "{prices:?}");
        }
        let unrounded: f64 = [0.1, 0.2].iter().sum();
        assert_ne!(unrounded.to_string(), "0.3", "else there is nothing to prove");
    }
}
