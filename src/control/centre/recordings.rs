//! Recordings: told of, and, where that is configured, kept as a copy that is silent where
//! capture was paused.
//!
//! What is kept is decided for privacy. A copy is asked for only where every pause that may
//! concern it is known: the call was followed here from before the recording began, which after
//! a restart it was not; and, where there was a pause, the recording's times can be. What is
//! refused is published with its reason, as is what the shell makes of the rest.
//!
//! A pause that was asked for before a recording ended is known when its webhook comes, so the
//! pauses of that moment are those that count. One that is still open lasts to the end.

use std::time::Duration;

use super::{Centre, Now, Output};
use crate::control::call::{Call, Pause};
use crate::control::recording::Keep;
use crate::event::Body;
use crate::event::call::{CallRecording, PausedSpan, RecordingCopy};
use crate::types::ConversationId;
use crate::vonage::webhook::{Recorded, time};

impl Centre {
    /// A recording is there.
    pub(super) fn on_recorded(&mut self, now: Now, call: &mut Call, recorded: &Recorded) {
        let Some(url) = recorded.recording_url.get() else { return };
        let recording = recorded.recording_uuid.get().cloned();
        if call
            .recordings
            .iter()
            .any(|known| known.url == *url || (recording.is_some() && known.recording == recording))
        {
            return;
        }
        let (start, end) = (time(&recorded.start_time), time(&recorded.end_time));
        let pauses = self.pauses_around(call);
        let paused = pauses.iter().map(|pause| (pause.from, pause.to)).collect();
        let keep = Keep { call: call.id.clone(), url: url.clone(), recording, start, end, paused };
        let refused = self.settings.recordings.map(|guard| self.refusal(now, call, &keep, guard));
        let body = CallRecording {
            recording: keep.recording.clone(),
            url: url.clone(),
            start: start.map(|at| at.to_string()),
            end: end.map(|at| at.to_string()),
            size: recorded.size.get().and_then(|size| size.as_u64()),
            paused: pauses.iter().map(PausedSpan::from).collect(),
            copy: refused.flatten().map(|reason| Box::new(RecordingCopy::refused(reason))),
        };
        if call.recordings.len() < self.settings.limits.items_max {
            call.recordings.push(body.clone());
        }
        self.emit(now, call, Body::CallRecording(body));
        if refused == Some(None) {
            call.copying += 1;
            self.out.push_back(Output::Keep(Box::new(keep)));
        }
    }

    /// Why no copy of a recording is to be kept, in one word.
    fn refusal(&self, now: Now, call: &Call, keep: &Keep, guard: Duration) -> Option<&'static str> {
        let opened = call.opened.wall;
        // Paused before we followed it, nobody here would know.
        let followed = keep.start.map_or(call.from_start, |start| start + guard >= opened);
        let ended_later = keep.end.is_some_and(|end| end > now.wall + guard);
        let backwards = keep.end.is_some_and(|end| keep.start.is_some_and(|start| end < start));
        match () {
            () if call.recordings.len() >= self.settings.limits.items_max => Some("too_many"),
            () if !self.settings.has_api => Some("no_api"),
            // Its clock and ours differ by more than the guard, or it is not this call's.
            () if !followed && call.from_start => Some("times_disagree"),
            () if !followed => Some("unknown_call"),
            () if keep.paused.is_empty() => None,
            () if keep.start.is_none() => Some("no_start_time"),
            () if ended_later || backwards => Some("times_disagree"),
            () => None,
        }
    }

    /// Says what became of a copy that was asked for. Gives whether anybody was told: of a call
    /// that had to make room for others nothing more is said.
    pub fn copied(&mut self, now: Now, call: &ConversationId, url: &str, copy: RecordingCopy) -> bool {
        let mut told = false;
        self.with(now, call, |centre, call| {
            let Some(asked) = call.recordings.iter_mut().find(|asked| asked.url == url && asked.copy.is_none()) else {
                return;
            };
            asked.copy = Some(Box::new(copy));
            let body = asked.clone();
            call.copying = call.copying.saturating_sub(1);
            centre.emit(now, call, Body::CallRecording(body));
            told = true;
        });
        told
    }

    /// Every pause that a recording of this call must honour: its own, and those of the calls
    /// whose people are heard in it.
    fn pauses_around(&self, call: &Call) -> Vec<Pause> {
        let with_pauses = self.calls.values().filter(|other| other.pauses_for_others().next().is_some());
        let others = with_pauses.filter(|other| other.shares_conversation(call));
        let mut pauses: Vec<_> = call.pauses.iter().chain(&call.others_pauses).copied().collect();
        for pause in others.flat_map(Call::pauses_for_others) {
            if !pauses.contains(&pause) {
                pauses.push(pause);
            }
        }
        pauses
    }

    /// A call is forgotten; its pauses are not, while somebody who heard it is recorded.
    pub(super) fn hand_over_pauses(&mut self, gone: &Call) {
        if gone.pauses_for_others().next().is_none() {
            return;
        }
        let most = self.settings.limits.items_max;
        for other in self.calls.values_mut().filter(|other| other.shares_conversation(gone)) {
            other.inherit(gone.pauses_for_others(), most);
        }
    }
}
