//! What time brings: sockets that did not come, legs of which nothing was heard, calls
//! that can be closed, and calls that can be forgotten.

use std::time::Duration;

use super::asks::LIMITED_MAX;
use super::facts::Learned;
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
/// Shortest time between two questions after one leg.
const SWEEP_MIN: Duration = Duration::from_secs(1);

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
        if call.ring_by.is_some_and(|by| by <= now.mono) {
            self.no_agent(now, call, "timeout");
        }
        self.name_strangers(now, call);
        self.sweep(now, call);
        if self.silent_at(call).is_some_and(|at| at <= now.mono) {
            call.remarks.insert("silent");
            call.over = true;
        }
    }

    /// The gateway stops: publishes the record of every call as it stands. What becomes of
    /// them from here on, nobody here will know.
    pub fn close(&mut self, now: Now) {
        self.urgent.clear();
        self.listeners.clear();
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

    /// When a call of which nothing is heard is over. One that is listened to is not silent.
    fn silent_at(&self, call: &Call) -> Option<Moment> {
        let limits = &self.settings.limits;
        if call.media.iter().any(|leg| !leg.over) {
            return None;
        }
        // Nobody is known, so nobody can be asked after.
        let empty = call.people().next().is_none() && call.outbound.is_none();
        Some(call.news_at + if empty { limits.linger_max.min(limits.silent_max) } else { limits.silent_max })
    }

    /// Asks after legs of which nothing was heard.
    fn sweep(&mut self, now: Now, call: &mut Call) {
        if !self.settings.has_api || now.mono < call.poll_at {
            return;
        }
        let after = self.sweep_after();
        for who in call.participants.iter_mut().filter(|who| !who.is_over() && now.mono >= who.news_at + after) {
            if let Err(next) = self.polls.take(now.mono) {
                call.poll_at = next;
                break;
            }
            who.news_at = now.mono;
            let (leg, region) = (who.id.clone(), who.region.clone());
            self.out.push_back(Output::Ask(Request::Poll { call: call.id.clone(), leg, region }));
        }
    }

    fn sweep_after(&self) -> Duration {
        self.settings.limits.sweep_after.max(SWEEP_MIN)
    }

    /// What a poll found.
    pub fn polled(&mut self, now: Now, call: &ConversationId, leg: &LegId, outcome: Outcome<Box<rest_types::Call>>) {
        let found = match outcome {
            Outcome::Done(found) => Some(found),
            Outcome::Gone => None,
            Outcome::Limited(after) => {
                let after = after.unwrap_or(self.settings.limits.sweep_after);
                return self.polls.hold(now.mono + after.min(LIMITED_MAX));
            }
            // The next sweep asks again.
            Outcome::Failed(_) => return,
        };
        self.heard(now, call, |centre, call| {
            if let Some(kind) = found.as_ref().and_then(|found| found.to.get()?.kind.get()) {
                centre.name(now, call, leg, kind == "websocket");
            }
            let heard = call.participants.iter().any(|who| who.id == *leg && call.is_connected(who));
            let Some(who) = call.participant(leg).filter(|who| !who.is_over()) else { return };
            let Some(found) = found else {
                // A leg that a socket hears is there, whatever the region that was asked knows.
                who.misses += u32::from(!heard);
                if who.misses >= MISSES_MAX {
                    let news = Learned { at: now.wall, bill: Bill::default(), source: Source::Lost };
                    centre.learn(now, call, leg, &Status::Completed, news, None);
                }
                return;
            };
            who.misses = 0;
            centre.found(now, call, leg, &found);
        });
    }

    fn found(&mut self, now: Now, call: &mut Call, leg: &LegId, found: &rest_types::Call) {
        let Some(status) = found.status.get() else { return };
        let at = match status {
            Status::Completed => time(&found.end_time),
            _ => time(&found.start_time),
        };
        let news = Learned { at: at.unwrap_or(now.wall), bill: Bill::from(found), source: Source::Poll };
        self.learn(now, call, leg, status, news, None);
        let to = found.conversation_uuid.get().and_then(|id| ConversationId::parse(id).ok());
        let aliases = call.aliases.clone();
        let Some(who) = call.participant(leg).filter(|who| !who.is_over()) else { return };
        if let (true, Some(to)) = (who.answered(), to) {
            // Told only where it went in: whether the API tells more than where a leg began is unconfirmed.
            let known = who.vonage_conversation.get_or_insert_with(|| to.clone());
            if !who.joined && (*known != to || aliases.contains(&to)) {
                who.source = who.source.max(Source::Poll);
                self.moved(now, call, leg, Some(to), now.wall);
            }
        }
        if call.participant(leg).is_some_and(|who| std::mem::take(&mut who.hung_up)) {
            // That its end was asked for got lost.
            self.hang_up(call, leg);
        }
    }

    /// Closes a call that everybody has left, and publishes its record when nothing more is awaited.
    pub(super) fn settle(&mut self, now: Now, call: &mut Call) {
        if call.state == CallState::Closing && call.is_live() {
            // Somebody came as the others left.
            call.state = CallState::Open;
        }
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
        // Before the record, which tells if that was not known by then.
        self.say_started(now, call);
        let body = record(call, now.wall);
        self.emit(now, call, Body::CallRecord(Box::new(body)));
        call.state = CallState::Closed;
        (call.closing_since, call.closed_at) = (now.mono, Some(now.wall));
        call.outbound = None;
        self.closed.insert((now.mono, call.id.clone()));
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
        let stranger = call.strangers.iter().map(|stranger| self.name_at(call, stranger)).min();
        match call.state {
            // Until it is said what became of a copy, there is something to say.
            CallState::Closed => (call.copying == 0).then(|| call.closing_since + limits.remember),
            CallState::Closing => stranger.into_iter().chain([self.close_at(call)]).min(),
            CallState::Open => {
                let followed = call.participants.iter().filter(|who| self.settings.has_api && !who.is_over());
                let sweep = followed.map(|who| who.news_at + self.sweep_after()).min();
                let sweep = sweep.map(|at| at.max(call.poll_at));
                let silent = self.silent_at(call);
                [sweep, stranger, silent, call.ring_by, call.ears.deadline(self.patience())].into_iter().flatten().min()
            }
        }
    }
}
