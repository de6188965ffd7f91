//! The life of a leg, from its creation to `completed`: one task each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::deeds::failure;
use super::endpoint::{Called, Whom};
use super::leg::{COMMANDS_MAX, Command, Counts, EndBy, Hook, Keypad, Leg, LegId, Source};
use super::world::LEGS_MAX;
use super::{Exchange, flow};
use crate::simulator::person::Person;
use crate::vonage::ncco::Ncco;
use crate::vonage::webhook::{EndpointKind, Status};
use crate::vonage::wire::Map;

/// A leg to be created.
pub(super) struct NewLeg {
    pub(super) kind: EndpointKind,
    pub(super) outbound: bool,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) headers: Option<Map>,
    /// A conversation that exists; else it gets one of its own.
    pub(super) conversation: Option<String>,
    pub(super) parent: Option<LegId>,
    pub(super) call: Option<usize>,
    pub(super) caller: bool,
    pub(super) hook: Hook,
}

/// What to do about a machine that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detection {
    /// Nobody asked.
    Off,
    Continue,
    Hangup,
}

/// How an outbound leg is set up.
pub(super) struct Setup {
    pub(super) whom: Whom,
    pub(super) ring: Duration,
    pub(super) limit: Duration,
    pub(super) detection: Detection,
}

/// What came of calling somebody.
pub(super) enum Up {
    Answered,
    /// The status has gone out; the NCCO of the reply to it.
    Failed(Option<Ncco>),
    Ended(EndBy),
}

/// Where an answered leg finds out what to do.
pub(super) enum Then {
    Ncco(Ncco),
    Ask(Hook),
}

impl Exchange {
    /// Creates a leg. None where there are [`LEGS_MAX`].
    pub(super) fn open(&self, new: NewLeg) -> Option<(LegId, Receiver<Command>)> {
        let (control, commands) = mpsc::channel(COMMANDS_MAX);
        let id: LegId = Self::fresh().into();
        let home = new.conversation.unwrap_or_else(|| format!("CON-{}", Self::fresh()));
        let mut world = self.world();
        if world.order.len() == LEGS_MAX {
            return None;
        }
        world.add(Leg {
            id: Arc::clone(&id),
            kind: new.kind,
            outbound: new.outbound,
            from: new.from,
            to: new.to,
            headers: new.headers,
            conversation: home.clone(),
            home,
            parent: new.parent,
            call: new.call,
            caller: new.caller,
            hook: new.hook,
            control,
            gone: CancellationToken::new(),
            bridge: CancellationToken::new(),
            created: self.clock.now(),
            answered: None,
            ended: None,
            status: Status::Started,
            statuses: Vec::new(),
            source: Source::None,
            announcement: None,
            keypad: Keypad::default(),
            recordings: Vec::new(),
            heard: None,
            counts: Counts::default(),
            problems: Vec::new(),
        });
        Some((id, commands))
    }

    /// A call that comes in.
    pub(super) async fn inbound(self: Arc<Self>, id: LegId, mut commands: Receiver<Command>, person: Person) {
        self.status(&id, Status::Started, Map::new());
        self.status(&id, Status::Ringing, Map::new());
        let ncco = tokio::select! {
            ncco = self.ask(&id, &self.settings.answer) => ncco,
            by = ended(&mut commands) => {
                self.status(&id, Status::Cancelled, Map::new());
                return self.close(&id, by);
            }
        };
        let Some(ncco) = ncco else {
            self.problem(&id, "the application did not say what to do with the call".to_owned());
            self.status(&id, Status::Failed, failure(Some("internal_error"), 500));
            return self.close(&id, EndBy::Platform);
        };
        self.answered(&id, Source::Person(Box::new(person)));
        let by = flow::run(&self, &id, &mut commands, ncco).await;
        self.close(&id, by);
    }

    /// A leg that the application created by REST.
    pub(super) async fn outbound(
        self: Arc<Self>,
        id: LegId,
        mut commands: Receiver<Command>,
        setup: Setup,
        then: Then,
    ) {
        let by = match self.bring_up(&id, &mut commands, &setup).await {
            Up::Answered => {
                let over = self.clock.sleep(setup.limit);
                let flow = async {
                    if setup.detection == Detection::Hangup && self.is_machine(&id) {
                        return EndBy::Platform;
                    }
                    let ncco = match then {
                        Then::Ncco(ncco) => Some(ncco),
                        Then::Ask(hook) => tokio::select! {
                            ncco = self.ask(&id, &hook) => ncco,
                            by = ended(&mut commands) => return by,
                        },
                    };
                    let Some(ncco) = ncco else {
                        self.problem(&id, "the application did not say what to do with the call".to_owned());
                        return EndBy::Platform;
                    };
                    flow::run(&self, &id, &mut commands, ncco).await
                };
                tokio::select! {
                    by = flow => by,
                    () = over => EndBy::Platform,
                }
            }
            Up::Failed(_) => EndBy::Platform,
            Up::Ended(by) => by,
        };
        // Its own flow is over with it: there is nothing that a reply could replace.
        let _ = self.disconnected(&id, by).await;
        self.close(&id, by);
    }

    /// A leg that a flow connected: it has no NCCO of its own until REST gives it one.
    pub(super) async fn connected(
        self: Arc<Self>,
        id: LegId,
        mut commands: Receiver<Command>,
        setup: Setup,
        up: oneshot::Sender<Up>,
    ) {
        let came = self.bring_up(&id, &mut commands, &setup).await;
        let by = match &came {
            Up::Answered => None,
            Up::Failed(_) => Some(EndBy::Platform),
            Up::Ended(by) => Some(*by),
        };
        // A flow that has gone on since does not want to know.
        let _ = up.send(came);
        if let Some(by) = by {
            return self.close(&id, by);
        }
        let machine = setup.detection == Detection::Hangup && self.is_machine(&id);
        let stay = async {
            match commands.recv().await {
                Some(Command::End(by)) => by,
                Some(Command::Replace(ncco)) => {
                    // By REST it got a flow of its own: it leaves the one that connected it.
                    self.release(&id);
                    flow::run_boxed(&self, &id, &mut commands, ncco).await
                }
                None => EndBy::Platform,
            }
        };
        let by = tokio::select! {
            biased;
            () = std::future::ready(()), if machine => EndBy::Platform,
            by = stay => by,
            () = self.clock.sleep(setup.limit) => EndBy::Platform,
        };
        let parent = self.of(&id, |leg| leg.parent.clone()).flatten();
        if let (Some(ncco), Some(parent)) = (self.disconnected(&id, by).await, parent) {
            self.of(&parent, |leg| leg.command(Command::Replace(ncco)));
        }
        self.close(&id, by);
    }

    /// Says that the application's side of a socket is gone, where it is; its reply.
    async fn disconnected(&self, id: &LegId, by: EndBy) -> Option<Ncco> {
        if by != EndBy::Socket {
            return None;
        }
        self.status(id, Status::Disconnected, Map::new())?.await.ok().flatten()
    }

    fn is_machine(&self, id: &LegId) -> bool {
        self.of(id, |leg| leg.statuses.contains(&Status::Machine)).unwrap_or_default()
    }

    /// An endpoint as a leg to be.
    pub(super) fn leg_for(called: &Called, from: String, hook: Hook) -> NewLeg {
        NewLeg {
            kind: called.kind.clone(),
            outbound: true,
            from,
            to: called.to.clone(),
            headers: called.headers.clone(),
            conversation: None,
            parent: None,
            call: None,
            caller: false,
            hook,
        }
    }
}

/// Waits for the command to end; who gave it. A leg without a flow has no other.
pub(super) async fn ended(commands: &mut Receiver<Command>) -> EndBy {
    loop {
        match commands.recv().await {
            Some(Command::End(by)) => return by,
            Some(Command::Replace(_)) => {}
            None => return EndBy::Platform,
        }
    }
}
