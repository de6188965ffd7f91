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
        price: call.participants.iter().filter_map(|who| who.bill.price).sum(),
        participants: call.participants.iter().map(participant).collect(),
        legs: call.media.iter().map(leg).collect(),
        recordings: call.recordings.clone(),
        paused: call.paused_spans(),
        complete: !remarks.iter().any(|remark| LOSSES.contains(remark)),
        remarks: remarks.into_iter().map(str::to_owned).collect(),
    }
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
