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
//!    │  └────────► one mixed socket instead        wanted again, a bounded number of times
//! ```
//!
//! At a call's end Vonage closes the sockets before it tells who has left. So a socket that
//! was closed in good order is not made again at once, but when nobody has left a moment later.

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

/// How long a socket that was closed in good order may be explained by somebody's leaving.
const HANGUP_PAUSE: Duration = Duration::from_secs(2);
/// Moves of one call's participants that their sockets follow.
const MOVES_MAX: u32 = 32;

/// Bounds, from the controller's settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    /// Before a socket that failed is asked for again; doubles with each failure.
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
    /// Its leg at Vonage, once known.
    leg: Option<LegId>,
    /// Its media legs here, while connected: two for a moment where it was made twice.
    media: Vec<LegId>,
    /// When it is asked for again, after it failed.
    retry_at: Option<Moment>,
    /// When it is made again, after it was closed in good order.
    again_at: Option<Moment>,
    /// Whether somebody was heard and is not now.
    missing: bool,
    /// Whether who is heard moved on while the socket was being made.
    outdated: bool,
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
    moves: u32,
    /// Whether somebody went unheard, if only between two sockets.
    gap: bool,
}

impl Ears {
    /// A participant can be heard: wants a socket for it, once.
    pub(super) fn want(&mut self, participant: &LegId, role: &Role, now: Moment) -> Option<Step> {
        if self.ears.iter().any(|ear| ear.is(Some(participant)) && !ear.over) {
            return None;
        }
        let ear = Ear::new(Some(participant.clone()), role.clone(), now);
        if self.mixed {
            // Heard with the others, or as little as they are.
            let deaf = self.ears.iter().all(|ear| ear.hears.is_some() || ear.over);
            return deaf.then(|| Step::Say(ear.said(Listening::None, Some("no_socket"))));
        }
        self.ears.push(ear);
        Some(Step::Create(Some(participant.clone())))
    }

    /// Wants one socket that hears everybody.
    pub(super) fn want_mixed(&mut self, now: Moment) -> Option<Step> {
        if std::mem::replace(&mut self.mixed, true) {
            return None;
        }
        self.ears.push(Ear::new(None, Role::Mixed, now));
        Some(Step::Create(None))
    }

    /// A socket that the call's own flow brings: nothing is to be made.
    pub(super) fn expect(&mut self, participant: &LegId, role: &Role, now: Moment) {
        if !self.ears.iter().any(|ear| ear.hears.as_ref() == Some(participant)) {
            self.ears.push(Ear { by_flow: true, ..Ear::new(Some(participant.clone()), role.clone(), now) });
        }
    }

    /// Whether the creation that waits is still wanted.
    pub(super) fn wants(&self, hears: Option<&LegId>) -> bool {
        self.ears.iter().any(|ear| ear.is(hears) && ear.is_wanted())
    }

    /// A leg of ours is there: from the API's reply, or from its first webhook.
    pub(super) fn made(&mut self, hears: Option<&LegId>, leg: &LegId) -> Vec<Step> {
        match self.of(hears) {
            Some(ear) if ear.outdated => {
                ear.outdated = false;
                vec![Step::HangUp(leg.clone()), Step::Create(ear.hears.clone())]
            }
            // What the flow brings was asked for by nobody twice: it follows upon a lost one.
            Some(ear) if ear.by_flow || ear.leg.as_ref().is_none_or(|known| known == leg) => {
                ear.leg = Some(leg.clone());
                Vec::new()
            }
            // Made twice, or for somebody who has left.
            _ => vec![Step::HangUp(leg.clone())],
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
        let Some(ear) = self.of(hears) else { return Vec::new() };
        if ear.leg.as_ref() != leg {
            return Vec::new();
        }
        ear.leg = None;
        if !ear.media.is_empty() || ear.again_at.is_some() {
            // The leg's end is told by one side before the other: the media leg's is to come.
            return Vec::new();
        }
        ear.failures += 1;
        if !ear.by_flow && ear.failures < patience.attempts && now.since(ear.since) < patience.timeout {
            ear.retry_at = Some(now + patience.pause * (1 << (ear.failures - 1).min(8)));
            return Vec::new();
        }
        self.give_up(hears.cloned().as_ref(), reason, now)
    }

    /// A media leg connected here.
    pub(super) fn connected(&mut self, hears: Option<&LegId>, media: &LegId) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over) else { return Vec::new() };
        let first = ear.media.is_empty();
        // Whom no socket heard at first went unheard as well.
        self.gap |= std::mem::take(&mut ear.missing) || ear.failures > 0;
        ear.media.push(media.clone());
        ear.failures = 0;
        (ear.again_at, ear.retry_at) = (None, None);
        if !first {
            return Vec::new();
        }
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

    /// A media leg is over here; wants another one unless that was to be. `in_order` says
    /// that it was closed by the other side as it should be.
    pub(super) fn disconnected(&mut self, media: &LegId, in_order: bool, now: Moment, patience: Patience) -> Vec<Step> {
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.media.contains(media)) else { return Vec::new() };
        ear.media.retain(|known| known != media);
        if ear.over || !ear.media.is_empty() {
            return Vec::new();
        }
        ear.since = now;
        if in_order {
            ear.again_at = Some(now + HANGUP_PAUSE);
            return Vec::new();
        }
        let hears = ear.hears.clone();
        self.again(hears.as_ref(), now, patience)
    }

    /// A socket was lost while it was needed.
    fn again(&mut self, hears: Option<&LegId>, now: Moment, patience: Patience) -> Vec<Step> {
        let Some(ear) = self.of(hears) else { return Vec::new() };
        ear.again_at = None;
        ear.losses += 1;
        let mut steps = vec![Step::Say(ear.said(Listening::Ended, Some("socket_lost")))];
        let (leg, by_flow) = (ear.leg.take(), ear.by_flow);
        let more = ear.losses <= patience.attempts;
        ear.missing = true;
        if by_flow {
            return steps;
        }
        steps.extend(leg.map(Step::HangUp));
        if more {
            steps.push(Step::Create(hears.cloned()));
        } else {
            steps.extend(self.give_up(hears, "socket_lost", now));
        }
        steps
    }

    /// A participant is in another conversation: its socket is to be there too.
    pub(super) fn moved(&mut self, participant: &LegId, now: Moment) -> Vec<Step> {
        let Some(ear) = self.of(Some(participant)).filter(|ear| !ear.by_flow) else { return Vec::new() };
        if ear.leg.is_none() && ear.media.is_empty() {
            ear.outdated = true;
            return Vec::new();
        }
        let role = ear.role.clone();
        let mut steps = ear.close(Some("moved"));
        self.moves += 1;
        let ear = Ear { missing: true, ..Ear::new(Some(participant.clone()), role, now) };
        if self.moves > MOVES_MAX {
            steps.push(Step::Say(ear.said(Listening::None, Some("moved"))));
        } else {
            self.ears.retain(|ear| !ear.over || !ear.media.is_empty());
            self.ears.push(ear);
            steps.push(Step::Create(Some(participant.clone())));
        }
        steps
    }

    /// A participant has left: its socket is to go.
    pub(super) fn left(&mut self, participant: &LegId) -> Vec<Step> {
        let Some(ear) = self.of(Some(participant)) else { return Vec::new() };
        let (missing, steps) = (ear.missing, ear.close(None));
        self.gap |= missing;
        steps
    }

    /// Everybody has left.
    pub(super) fn all_left(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for ear in self.ears.iter_mut().filter(|ear| !ear.over) {
            self.gap |= ear.missing;
            steps.extend(ear.close(None));
        }
        steps
    }

    /// Does what time has brought: gives up what was to be up by now, makes again what is missed.
    pub(super) fn expire(&mut self, now: Moment, patience: Patience) -> Vec<Step> {
        let due = self.ears.iter().filter(|ear| ear.deadline(patience).is_some_and(|at| at <= now));
        let due: Vec<_> = due.map(|ear| (ear.hears.clone(), ear.again_at.is_some())).collect();
        let mut steps = Vec::new();
        for ear in self.ears.iter_mut().filter(|ear| !ear.over && ear.retry_at.is_some_and(|at| at <= now)) {
            ear.retry_at = None;
            if ear.is_wanted() {
                steps.push(Step::Create(ear.hears.clone()));
            }
        }
        for (hears, again) in due {
            steps.extend(match again {
                true => self.again(hears.as_ref(), now, patience),
                false => self.give_up(hears.as_ref(), "timeout", now),
            });
        }
        steps
    }

    /// When [`Ears::expire`] has something to do.
    pub(super) fn deadline(&self, patience: Patience) -> Option<Moment> {
        let retries = self.ears.iter().filter(|ear| ear.is_awaited()).filter_map(|ear| ear.retry_at);
        self.ears.iter().filter_map(|ear| ear.deadline(patience)).chain(retries).min()
    }

    /// Separate sockets cannot be had: one for all. That one cannot be had: none.
    fn give_up(&mut self, hears: Option<&LegId>, reason: &'static str, now: Moment) -> Vec<Step> {
        let Some(ear) = self.of(hears) else { return Vec::new() };
        ear.over = true;
        let mut steps = vec![Step::Say(ear.said(Listening::None, Some(reason)))];
        steps.extend(ear.leg.take().map(Step::HangUp));
        let by_flow = ear.by_flow;
        self.gap |= by_flow;
        if hears.is_some() && !by_flow {
            steps.extend(self.want_mixed(now));
        }
        steps
    }

    /// Whether separate sockets were given up.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// Whether somebody went unheard, if only between two sockets.
    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    fn of(&mut self, hears: Option<&LegId>) -> Option<&mut Ear> {
        self.ears.iter_mut().find(|ear| ear.is(hears) && !ear.over)
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
            leg: None,
            media: Vec::new(),
            retry_at: None,
            again_at: None,
            missing: false,
            outdated: false,
            by_flow: false,
            over: false,
        }
    }

    fn is(&self, hears: Option<&LegId>) -> bool {
        self.hears.as_ref() == hears
    }

    fn is_awaited(&self) -> bool {
        !self.over && self.media.is_empty()
    }

    /// Whether its creation is to be asked for, or is.
    fn is_wanted(&self) -> bool {
        self.is_awaited() && self.leg.is_none() && self.again_at.is_none() && self.retry_at.is_none()
    }

    /// When time brings something. The flow's own socket comes after whatever is said first,
    /// however long that takes.
    fn deadline(&self, patience: Patience) -> Option<Moment> {
        let timeout = (!self.by_flow).then(|| self.since + patience.timeout);
        self.is_awaited().then(|| self.again_at.or(timeout)).flatten()
    }

    /// It is not needed any more.
    fn close(&mut self, reason: Option<&'static str>) -> Vec<Step> {
        self.over = true;
        let was_up = !self.media.is_empty() || self.again_at.take().is_some();
        let said = was_up.then(|| Step::Say(self.said(Listening::Ended, reason)));
        said.into_iter().chain(self.leg.take().map(Step::HangUp)).collect()
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
        assert!(ears.made(Some(&caller), &leg("ws")).is_empty());
        assert!(ears.left(&caller).contains(&Step::HangUp(leg("ws"))));
        assert!(ears.left(&caller).is_empty() && ears.deadline(PATIENCE).is_none());
    }

    #[test]
    fn what_was_made_for_one_who_left_or_twice_is_hung_up() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        ears.want(&leg("caller"), &Role::Caller, now);
        ears.made(Some(&leg("caller")), &leg("ws-1"));
        assert!(ears.made(Some(&leg("caller")), &leg("ws-1")).is_empty());
        assert_eq!(ears.made(Some(&leg("caller")), &leg("ws-2")), [Step::HangUp(leg("ws-2"))]);
        ears.left(&leg("caller"));
        assert_eq!(ears.made(Some(&leg("caller")), &leg("ws-3")), [Step::HangUp(leg("ws-3"))]);
        assert_eq!(ears.made(Some(&leg("nobody")), &leg("ws-4")), [Step::HangUp(leg("ws-4"))]);
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
        assert!(ears.disconnected(&leg("media"), false, now, PATIENCE).is_empty());
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
        let (mut ears, now) = (Ears::default(), Moment::default());
        let caller = leg("caller");
        ears.want(&caller, &Role::Caller, now);
        for n in 0..3 {
            ears.connected(Some(&caller), &leg(&format!("m{n}")));
            let steps = ears.disconnected(&leg(&format!("m{n}")), false, now, PATIENCE);
            assert_eq!(steps.last(), Some(&Step::Create(Some(caller.clone()))), "{n}");
        }
        ears.connected(Some(&caller), &leg("m3"));
        assert_eq!(ears.disconnected(&leg("m3"), false, now, PATIENCE).last(), Some(&Step::Create(None)));
    }

    #[test]
    fn a_socket_closed_in_good_order_is_made_again_only_when_nobody_left() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        let caller = leg("caller");
        ears.want(&caller, &Role::Caller, now);
        ears.connected(Some(&caller), &leg("media"));
        assert!(ears.disconnected(&leg("media"), true, now, PATIENCE).is_empty());
        let mut gone = Ears { ears: vec![Ear::new(Some(caller.clone()), Role::Caller, now)], ..Ears::default() };
        gone.connected(Some(&caller), &leg("media"));
        gone.disconnected(&leg("media"), true, now, PATIENCE);
        assert_eq!((states(&gone.left(&caller)), gone.has_gap()), (vec![Listening::Ended], false));
        let at = ears.deadline(PATIENCE).unwrap();
        assert_eq!(at, now + HANGUP_PAUSE);
        assert_eq!(ears.expire(at, PATIENCE).last(), Some(&Step::Create(Some(caller.clone()))));
        assert!(!ears.has_gap());
        ears.connected(Some(&caller), &leg("media-2"));
        assert!(ears.has_gap());
    }

    #[test]
    fn a_socket_follows_whom_it_hears_a_bounded_number_of_times() {
        let (mut ears, now) = (Ears::default(), Moment::default());
        let caller = leg("caller");
        ears.want(&caller, &Role::Caller, now);
        // While it is made there is nothing to replace, but what is made is in the wrong place.
        assert!(ears.moved(&caller, now).is_empty());
        assert_eq!(ears.made(Some(&caller), &leg("ws")), [Step::HangUp(leg("ws")), Step::Create(Some(caller.clone()))]);
        for n in 0..MOVES_MAX {
            ears.made(Some(&caller), &leg(&format!("ws{n}")));
            assert_eq!(ears.moved(&caller, now).last(), Some(&Step::Create(Some(caller.clone()))), "{n}");
        }
        ears.made(Some(&caller), &leg("last"));
        assert_eq!(states(&ears.moved(&caller, now)), [Listening::None]);
    }
}
