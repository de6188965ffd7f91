//! One socket for each participant of a call, or one for all where that cannot be had.
//!
//! A socket hears the mix of all that it may hear, so separate speakers need a socket
//! each, limited to one leg by `canHear` (`vonage-voice.md` section 6). What is wanted,
//! what was made and what is connected come to be known in any order: the media socket is
//! often dialled before the API's reply reaches us, and a reply can get lost.
//!
//! ```text
//!            created                media leg connects            participant left
//!  wanted ───────────► made ───────────────────────► up ───────────────────────────► over
//!    ▲  │ attempts or    │ leg failed                 │ media leg lost
//!    │  │ time are up    ▼                            ▼
//!    │  └────────► one mixed socket instead        wanted again after a pause, a bounded
//!    │                                             number of times
//! ```
//!
//! The pause is there because a call's end reaches us in pieces: the socket of somebody
//! who has left closes before the webhook about it comes.

use std::time::Duration;

use super::role::Role;
use crate::event::call::Listening;
use crate::types::{LegId, Moment};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Make a socket that hears this participant, or everybody.
    Create(Option<LegId>),
    /// Hang this leg up.
    HangUp(LegId),
    /// Publish what is so now.
    Say(Said),
}

/// What is so now, of one participant or everybody.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) hears: Option<LegId>,
    pub(super) role: Role,
    pub(super) listener: Option<LegId>,
    pub(super) state: Listening,
    pub(super) reason: Option<&'static str>,
}

/// Bounds, from the controller's settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    /// Before a socket that failed or was lost is asked for again; doubles with each failure.
    pub(super) pause: Duration,
}

/// One socket wanted.
#[derive(Debug)]
struct Ear {
    hears: Option<LegId>,
    role: Role,
    /// Since when it is wanted and not up.
    since: Moment,
    /// Sockets that failed since.
    failures: u32,
    /// Times that it was up and lost.
    losses: u32,
    /// Whether its creation is asked for.
    creating: bool,
    /// When it is to be asked for again, after a failure or a loss.
    again_at: Option<Moment>,
    /// Whether it was up, and nobody was told that it is not.
    lost: bool,
    /// Its leg at Vonage, once known.
    leg: Option<LegId>,
    /// Its media leg here, while connected.
    media: Option<LegId>,
    /// Whether the call's own NCCO brings it, so that only another NCCO could bring it back.
    by_flow: bool,
    over: bool,
}

/// The sockets of one call.
#[derive(Debug, Default)]
pub(super) struct Ears {
    ears: Vec<Ear>,
    /// Whether separate sockets were given up.
    mixed: bool,
}

impl Ears {
    /// A participant can be heard: wants a socket for it, once.
    pub(super) fn want(&mut self, participant: &LegId, role: &Role, now: Moment) -> Option<Step> {
        if self.mixed || self.ears.iter().any(|ear| ear.is(Some(participant)) && !ear.over) {
            return None;
        }
        self.ears.push(Ear::new(Some(participant.clone()), role.clone(), now));
        self.create_last()
    }

    /// Wants one socket that hears everybody.
    pub(super) fn want_mixed(&mut self, now: Moment) -> Option<Step> {
        if std::mem::replace(&mut self.mixed, true) {
            return None;
        }
        self.ears.push(Ear::new(None, Role::Mixed, now));
        self.create_last()
    }

    /// A socket that the call's own flow brings: nothing is to be made.
    pub(super) fn expect(&mut self, participant: &LegId, role: &Role, now: Moment) {
        if !self.ears.iter().any(|ear| ear.hears.as_ref() == Some(participant)) {
            self.ears.push(Ear { by_flow: true, ..Ear::new(Some(participant.clone()), role.clone(), now) });
        }
    }

    fn create_last(&mut self) -> Option<Step> {
        self.ears.last_mut().map(|ear| {
            ear.creating = true;
            Step::Create(ear.hears.clone())
        })
    }

    /// Whether the creation that waits is still wanted.
    pub(super) fn wants(&self, hears: Option<&LegId>) -> bool {
        self.ears.iter().any(|ear| ear.is(hears) && ear.is_awaited() && ear.creating && ear.leg.is_none())
    }

    /// A leg of ours is there: from the API's reply, or from its first webhook.
    pub(super) fn made(&mut self, hears: Option<&LegId>, leg: &LegId) -> Option<Step> {
        let ear = self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over);
        match ear {
            Some(ear) if ear.leg.as_ref().is_none_or(|known| known == leg) => {
                ear.creating = false;
                ear.leg = Some(leg.clone());
                None
            }
            // Made twice, or for somebody who has left.
            _ => Some(Step::HangUp(leg.clone())),
        }
    }

    /// A socket could not be made, or its leg ended: tries again, or gives up.
    pub(super) fn failed(
        &mut self,
        hears: Option<&LegId>,
        leg: Option<&LegId>,
        reason: &'static str,
        now: Moment,
        patience: Patience,
    ) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over) else { return Vec::new() };
        if leg.is_some() && ear.leg.as_ref() != leg {
            return Vec::new();
        }
        (ear.creating, ear.leg) = (false, None);
        if ear.media.is_some() {
            // The leg's end is told by one side before the other: the media leg's is to come.
            return Vec::new();
        }
        ear.failures += 1;
        if !ear.by_flow && ear.failures < patience.attempts && now.since(ear.since) < patience.timeout {
            ear.again_at = Some(now + patience.pause * (1 << (ear.failures - 1).min(8)));
            return Vec::new();
        }
        self.give_up(hears.cloned().as_ref(), reason, now)
    }

    /// A media leg connected here.
    pub(super) fn connected(&mut self, hears: Option<&LegId>, media: &LegId) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over) else { return Vec::new() };
        ear.media = Some(media.clone());
        (ear.failures, ear.again_at, ear.lost) = (0, None, false);
        let state = if ear.hears.is_some() { Listening::Separate } else { Listening::Mixed };
        let mut steps = vec![Step::Say(ear.said(state, None))];
        if ear.hears.is_none() {
            // It hears everybody: those that hear one would say everything twice.
            for ear in self.ears.iter_mut().filter(|ear| ear.hears.is_some()) {
                ear.over = true;
                steps.extend(ear.leg.take().map(Step::HangUp));
            }
        }
        steps
    }

    /// A media leg is over here; wants another one unless that was to be.
    pub(super) fn disconnected(&mut self, media: &LegId, now: Moment, patience: Patience) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.media.as_ref() == Some(media)) else { return Vec::new() };
        ear.media = None;
        if ear.over {
            return Vec::new();
        }
        ear.since = now;
        ear.losses += 1;
        ear.lost = true;
        if ear.by_flow {
            // Only the reply to a webhook can bring it back.
            ear.leg = None;
            return self.say_lost(now);
        }
        if ear.losses <= patience.attempts {
            ear.again_at = Some(now + patience.pause);
            return ear.leg.clone().map(Step::HangUp).into_iter().collect();
        }
        let hears = ear.hears.clone();
        let mut steps = self.say_lost(now);
        steps.extend(self.give_up(hears.as_ref(), "socket_lost", now));
        steps
    }

    /// Says of sockets that were lost that they are, once they are to be asked for again.
    fn say_lost(&mut self, now: Moment) -> Vec<Step> {
        let due = |ear: &&mut Ear| ear.lost && ear.again_at.is_none_or(|at| at <= now);
        let lost = self.ears.iter_mut().filter(|ear| !ear.over).filter(due);
        lost.map(|ear| {
            ear.lost = false;
            Step::Say(ear.said(Listening::Ended, Some("socket_lost")))
        })
        .collect()
    }

    /// A participant has left: its socket is to go.
    pub(super) fn left(&mut self, participant: &LegId) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.is(Some(participant)) && !ear.over) else {
            return Vec::new();
        };
        ear.over = true;
        let mut steps = Vec::new();
        if ear.media.is_some() || std::mem::take(&mut ear.lost) {
            steps.push(Step::Say(ear.said(Listening::Ended, None)));
        }
        steps.extend(ear.leg.take().map(Step::HangUp));
        steps
    }

    /// Everybody has left.
    pub(super) fn all_left(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for ear in self.ears.iter_mut().filter(|ear| !ear.over) {
            ear.over = true;
            steps.extend(ear.leg.take().map(Step::HangUp));
        }
        steps
    }

    /// Does what has become due: asks again, and gives up what was to be up by now.
    pub(super) fn expire(&mut self, now: Moment, patience: Patience) -> Vec<Step> {
        let mut steps = self.say_lost(now);
        for ear in self.ears.iter_mut().filter(|ear| ear.is_awaited() && ear.again_at.is_some_and(|at| at <= now)) {
            (ear.again_at, ear.creating, ear.leg) = (None, true, None);
            steps.push(Step::Create(ear.hears.clone()));
        }
        let late: Vec<_> =
            self.ears.iter().filter(|ear| ear.is_awaited() && now >= ear.since + patience.timeout).collect();
        let late: Vec<_> = late.into_iter().map(|ear| ear.hears.clone()).collect();
        steps.extend(late.iter().flat_map(|hears| self.give_up(hears.as_ref(), "timeout", now)));
        steps
    }

    /// When [`Ears::expire`] has something to do.
    pub(super) fn deadline(&self, patience: Patience) -> Option<Moment> {
        let awaited = self.ears.iter().filter(|ear| ear.is_awaited());
        awaited.flat_map(|ear| [ear.again_at, Some(ear.since + patience.timeout)]).flatten().min()
    }

    /// Separate sockets cannot be had: one for all. That one cannot be had: none.
    fn give_up(&mut self, hears: Option<&LegId>, reason: &'static str, now: Moment) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over) else { return Vec::new() };
        ear.over = true;
        (ear.creating, ear.again_at, ear.lost) = (false, None, false);
        let mut steps = vec![Step::Say(ear.said(Listening::None, Some(reason)))];
        steps.extend(ear.leg.take().map(Step::HangUp));
        let by_flow = ear.by_flow;
        if hears.is_some() && !by_flow {
            steps.extend(self.want_mixed(now));
        }
        steps
    }

    /// Whether separate sockets were given up.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed
    }
}

impl Ear {
    fn new(hears: Option<LegId>, role: Role, now: Moment) -> Self {
        Self {
            hears,
            role,
            since: now,
            failures: 0,
            losses: 0,
            creating: false,
            again_at: None,
            lost: false,
            leg: None,
            media: None,
            by_flow: false,
            over: false,
        }
    }

    fn is(&self, hears: Option<&LegId>) -> bool {
        self.hears.as_ref() == hears
    }

    fn is_awaited(&self) -> bool {
        !self.over && self.media.is_none()
    }

    fn said(&self, state: Listening, reason: Option<&'static str>) -> Said {
        Said { hears: self.hears.clone(), role: self.role.clone(), listener: self.leg.clone(), state, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { timeout: Duration::from_secs(10), attempts: 3, pause: Duration::from_millis(500) };

    fn leg(name: &str) -> LegId {
        LegId::parse(name).unwrap()
    }

    fn states(steps: &[Step]) -> Vec<Listening> {
        steps.iter().filter_map(|step| if let Step::Say(said) = step { Some(said.state) } else { None }).collect()
    }

    #[test]
    fn a_participant_is_asked_for_once_and_its_socket_goes_with_it() {
        let (mut ears, now) = (Ears::default(), Moment::from_ms(5));
        let caller = leg("caller");
        assert_eq!(ears.want(&caller, &Role::Caller, now), Some(Step::Create(Some(caller.clone()))));
        assert_eq!(ears.want(&caller, &Role::Caller, now), None);
        // The socket is up before the API's reply is here.
        assert_eq!(states(&ears.connected(Some(&caller), &leg("media"))), [Listening::Separate]);
        assert!(!ears.wants(Some(&caller)));
        assert_eq!(ears.made(Some(&caller), &leg("ws")), None);
        assert!(ears.left(&caller).contains(&Step::HangUp(leg("ws"))));
        assert!(ears.left(&caller).is_empty() && ears.deadline(PATIENCE).is_none());
    }

    #[test]
    fn what_was_made_for_one_who_left_or_twice_is_hung_up() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        ears.want(&leg("caller"), &Role::Caller, now);
        ears.made(Some(&leg("caller")), &leg("ws-1"));
        assert_eq!(ears.made(Some(&leg("caller")), &leg("ws-1")), None);
        assert_eq!(ears.made(Some(&leg("caller")), &leg("ws-2")), Some(Step::HangUp(leg("ws-2"))));
        ears.left(&leg("caller"));
        assert_eq!(ears.made(Some(&leg("caller")), &leg("ws-3")), Some(Step::HangUp(leg("ws-3"))));
        assert_eq!(ears.made(Some(&leg("nobody")), &leg("ws-4")), Some(Step::HangUp(leg("ws-4"))));
    }

    #[test]
    fn after_its_attempts_one_mixed_socket_takes_over_and_then_nobody_hears() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        ears.want(&leg("caller"), &Role::Caller, now);
        ears.connected(Some(&leg("caller")), &leg("media"));
        ears.made(Some(&leg("caller")), &leg("ws-c"));
        ears.want(&leg("agent"), &Role::Agent, now);
        let agent = leg("agent");
        let mut now = now;
        for pause in [500, 1_000] {
            assert_eq!(ears.failed(Some(&agent), None, "refused", now, PATIENCE), []);
            let again = ears.deadline(PATIENCE).unwrap();
            assert_eq!(again.since(now), Duration::from_millis(pause));
            now = again;
            assert_eq!(ears.expire(now, PATIENCE), [Step::Create(Some(agent.clone()))]);
        }
        let steps = ears.failed(Some(&agent), None, "refused", now, PATIENCE);
        assert_eq!((states(&steps), steps.last()), (vec![Listening::None], Some(&Step::Create(None))));
        assert!(ears.is_mixed());
        // The caller's own socket goes when the mixed one is up, and not before.
        let steps = ears.connected(None, &leg("media-2"));
        assert_eq!(states(&steps), [Listening::Mixed]);
        assert!(steps.contains(&Step::HangUp(leg("ws-c"))));
        // A media leg that goes with it is not wanted again.
        assert!(ears.disconnected(&leg("media"), now, PATIENCE).is_empty());
        assert_eq!(ears.want(&leg("third"), &Role::Agent, now), None);
    }

    #[test]
    fn time_is_a_bound_too() {
        let mut ears = Ears::default();
        ears.want(&leg("caller"), &Role::Caller, Moment::default());
        let deadline = ears.deadline(PATIENCE).unwrap();
        assert!(ears.expire(Moment(deadline.0 - 1), PATIENCE).is_empty());
        assert_eq!(states(&ears.expire(deadline, PATIENCE)), [Listening::None]);
        let second = ears.deadline(PATIENCE).unwrap();
        assert_eq!(second, deadline + PATIENCE.timeout);
        assert_eq!(states(&ears.expire(second, PATIENCE)), [Listening::None]);
        assert_eq!(ears.deadline(PATIENCE), None);
    }

    #[test]
    fn a_lost_socket_is_made_again_a_bounded_number_of_times() {
        let (mut ears, mut now) = (Ears::default(), Moment::default());
        let caller = leg("caller");
        ears.want(&caller, &Role::Caller, now);
        for n in 0..3 {
            ears.connected(Some(&caller), &leg(&format!("m{n}")));
            assert_eq!(ears.disconnected(&leg(&format!("m{n}")), now, PATIENCE), []);
            now = ears.deadline(PATIENCE).unwrap();
            let steps = ears.expire(now, PATIENCE);
            assert_eq!(states(&steps), [Listening::Ended]);
            assert_eq!(steps.last(), Some(&Step::Create(Some(caller.clone()))), "{n}");
        }
        ears.connected(Some(&caller), &leg("m3"));
        assert_eq!(ears.disconnected(&leg("m3"), now, PATIENCE).last(), Some(&Step::Create(None)));
    }

    #[test]
    fn a_socket_that_closes_before_its_participant_is_said_to_have_left_is_not_made_again() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        let agent = leg("agent");
        ears.want(&agent, &Role::Agent, now);
        ears.connected(Some(&agent), &leg("media"));
        assert_eq!(ears.disconnected(&leg("media"), now, PATIENCE), []);
        let steps = ears.left(&agent);
        assert!(matches!(&steps[..], [Step::Say(Said { state: Listening::Ended, reason: None, .. })]), "{steps:?}");
        assert_eq!(ears.deadline(PATIENCE), None);
    }
}
