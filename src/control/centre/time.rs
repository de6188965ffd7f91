//! What time brings: sockets that did not come, legs of which nothing was heard, calls
//! that can be closed, and calls that can be forgotten.

use super::{Centre, Now, Outcome, Output, Request};
use crate::control::call::{Call, CallState};
use crate::control::participant::{Bill, Source};
use crate::control::record::record;
use crate::event::Body;
use crate::types::{ConversationId, LegId, Moment};
use crate::vonage::rest_types;
use crate::vonage::webhook::{Status, time};

/// How often in a row the API may not know a leg before we believe it.
const MISSES_MAX: u32 = 2;

impl Centre {
    /// Does what has become due.
    pub fn on_time(&mut self, now: Now) {
        while let Some((due, id)) = self.schedule.first().cloned() {
            if due > now.mono {
                break;
            }
            self.schedule.pop_first();
            let over = self.calls.get(&id).is_some_and(|call| {
                call.state == CallState::Closed && now.mono >= call.closing_since + self.settings.limits.remember
            });
            if over {
                self.forget(&id);
            } else {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.due = None;
                }
                self.with(now, &id, |centre, call| centre.look(now, call));
            }
        }
        self.pump(now);
    }

    /// When [`Centre::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let scheduled = self.schedule.first().map(|(due, _)| *due);
        [scheduled, self.creation_due()].into_iter().flatten().min()
    }

    fn look(&mut self, now: Now, call: &mut Call) {
        if call.state == CallState::Closed {
            return;
        }
        let steps = call.ears.expire(now.mono, self.patience());
        self.take(now, call, steps);
        self.name_strangers(now, call);
        self.sweep(now, call);
        if now.mono >= call.news_at + self.settings.limits.silent_max {
            call.remarks.insert("silent");
            call.over = true;
        }
    }

    /// The gateway stops: publishes the record of every call as it stands. What becomes of
    /// them from here on, nobody here will know.
    pub fn close(&mut self, now: Now) {
        let ids = self.calls.values().filter(|call| call.state != CallState::Closed).map(|call| call.id.clone());
        for id in ids.collect::<Vec<_>>() {
            self.with(now, &id, |centre, call| {
                if call.state == CallState::Open {
                    call.remarks.insert("gateway_stopped");
                }
                centre.finish(now, call);
            });
        }
    }

    /// Asks after legs of which nothing was heard.
    fn sweep(&mut self, now: Now, call: &mut Call) {
        if !self.settings.has_api {
            return;
        }
        let after = self.settings.limits.sweep_after;
        for who in call.participants.iter_mut().filter(|who| !who.is_over() && now.mono >= who.news_at + after) {
            // Without a token it is asked after a little later.
            if self.polls.take(now.mono).is_err() {
                break;
            }
            who.news_at = now.mono;
            let (leg, region) = (who.id.clone(), who.region.clone());
            self.out.push_back(Output::Ask(Request::Poll { call: call.id.clone(), leg, region }));
        }
    }

    pub(super) fn on_polled(
        &mut self,
        now: Now,
        call: &ConversationId,
        leg: &LegId,
        outcome: Outcome<Box<rest_types::Call>>,
    ) {
        let found = match outcome {
            Outcome::Done(found) => Some(found),
            Outcome::Gone => None,
            Outcome::Limited(after) => {
                return self.polls.hold(now.mono + after.unwrap_or(self.settings.limits.sweep_after));
            }
            // The next sweep asks again.
            Outcome::Failed(_) => return,
        };
        self.heard(now, call, |centre, call| {
            let Some(who) = call.participant(leg) else { return };
            let Some(found) = found else {
                who.misses += 1;
                if who.misses >= MISSES_MAX && !who.is_over() {
                    who.source = Source::Lost;
                    centre.learn(now, call, leg, &Status::Completed, now.wall, Bill::default(), None);
                }
                return;
            };
            who.misses = 0;
            let moved_to = found.conversation_uuid.get().and_then(|id| ConversationId::parse(id).ok());
            let moved = moved_to.filter(|to| who.vonage_conversation.as_ref().is_some_and(|known| known != to));
            if let Some(to) = moved {
                centre.moved(now, call, leg, Some(to), now.wall);
            }
            let Some(status) = found.status.get() else { return };
            let at = match status {
                Status::Completed => time(&found.end_time),
                _ => time(&found.start_time),
            };
            if let Some(who) = call.participant(leg)
                && !who.states.contains_key(status.as_str())
            {
                who.source = Source::Poll;
            }
            centre.learn(now, call, leg, status, at.unwrap_or(now.wall), Bill::from(&*found), None);
        });
    }

    /// Closes a call that everybody has left, and publishes its record when nothing more is awaited.
    pub(super) fn settle(&mut self, now: Now, call: &mut Call) {
        if call.state == CallState::Open && !call.is_live() {
            call.state = CallState::Closing;
            call.closing_since = now.mono;
            let steps = call.ears.all_left();
            self.take(now, call, steps);
            let ours: Vec<_> =
                call.participants.iter().filter(|who| !who.is_over()).map(|who| who.id.clone()).collect();
            ours.iter().for_each(|leg| self.hang_up(call, leg));
        }
        if call.state == CallState::Closing && now.mono >= self.close_at(call) {
            self.finish(now, call);
        }
    }

    /// The record, once.
    fn finish(&mut self, now: Now, call: &mut Call) {
        let body = record(call, now.wall);
        self.say_started(now, call);
        self.emit(now, call, Body::CallRecord(Box::new(body)));
        call.state = CallState::Closed;
        call.closing_since = now.mono;
        call.outbound = None;
        self.out.push_back(Output::Forget(call.id.clone()));
    }

    fn close_at(&self, call: &Call) -> Moment {
        let limits = &self.settings.limits;
        let latest = call.closing_since + limits.linger_max;
        if call.is_missing_something() { latest } else { latest.min(call.news_at + limits.linger) }
    }

    /// When to look at a call again.
    pub(super) fn due(&self, call: &Call) -> Option<Moment> {
        let limits = &self.settings.limits;
        match call.state {
            CallState::Closed => Some(call.closing_since + limits.remember),
            CallState::Closing => Some(self.close_at(call)),
            CallState::Open => {
                let sweep = call
                    .participants
                    .iter()
                    .filter(|who| self.settings.has_api && !who.is_over())
                    .map(|who| who.news_at + limits.sweep_after)
                    .min();
                let stranger = call.strangers.first().map(|stranger| stranger.seen + limits.linger);
                let silent = call.news_at + limits.silent_max;
                // A poll that found no token is not due at once again.
                let sweep = sweep.map(|at| at.max(call.looked_at + limits.linger));
                [sweep, stranger, Some(silent), call.ears.deadline(self.patience())].into_iter().flatten().min()
            }
        }
    }
}
