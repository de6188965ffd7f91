//! The life of a leg, from its creation to `completed`: one task each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::deeds::failure;
use super::endpoint::{Called, Whom};
use super::leg::{COMMANDS_MAX, Command, Counts, EndBy, Hook, Keypad, Leg, LegId, Line, Source};
use super::world::LEGS_MAX;
use super::{Exchange, flow};
use crate::simulator::person::Person;
use crate::simulator::playback::Playback;
use crate::simulator::script::Address;
use crate::simulator::socket::{self, Dial, Ears, Ended, Outgoing, Refused, Socket};
use crate::types::rate::Frame;
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

    /// A leg that a flow connected: it has no NCCO of its own.
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
        let by = tokio::select! {
            biased;
            () = std::future::ready(()), if machine => EndBy::Platform,
            by = ended(&mut commands) => by,
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

    /// Calls somebody until there is an answer or none is to come.
    async fn bring_up(self: &Arc<Self>, id: &LegId, commands: &mut Receiver<Command>, setup: &Setup) -> Up {
        self.status(id, Status::Started, Map::new());
        match &setup.whom {
            Whom::Socket(dial) => self.dial(id, commands, dial).await,
            Whom::Person(address) => self.ring(id, commands, address, setup).await,
        }
    }

    async fn failed(&self, id: &LegId, status: Status, more: Map) -> Up {
        let Some(reply) = self.status(id, status, more) else { return Up::Failed(None) };
        Up::Failed(reply.await.ok().flatten())
    }

    async fn cancelled(&self, id: &LegId, by: EndBy) -> Up {
        self.status(id, Status::Cancelled, Map::new());
        Up::Ended(by)
    }

    async fn ring(&self, id: &LegId, commands: &mut Receiver<Command>, address: &Address, setup: &Setup) -> Up {
        let Some(role) = self.world().role(address) else {
            self.problem(id, "the script has nobody at this address".to_owned());
            return self.failed(id, Status::Failed, failure(Some("cannot_route"), 404)).await;
        };
        let party = &role.party;
        if party.unreachable {
            return self.failed(id, Status::Unanswered, failure(Some("unavailable"), 480)).await;
        }
        self.status(id, Status::Ringing, Map::new());
        let rings = Duration::from_millis(party.answer_after_ms);
        let silent = party.no_answer || rings > setup.ring;
        tokio::select! {
            () = self.clock.sleep(if silent { setup.ring } else { rings }) => {}
            by = ended(commands) => return self.cancelled(id, by).await,
        }
        if silent {
            return self.failed(id, Status::Timeout, Map::new()).await;
        }
        if party.busy {
            return self.failed(id, Status::Busy, failure(None, 486)).await;
        }
        if party.reject {
            return self.failed(id, Status::Rejected, failure(Some("declined"), 603)).await;
        }
        let person = Person::new(&party.person, Arc::clone(&role.voice), false);
        self.answered(id, Source::Person(Box::new(person)));
        if setup.detection != Detection::Off {
            let found = if party.machine { Status::Machine } else { Status::Human };
            let beep = Map::from_iter([("sub_state".to_owned(), Value::from("beep_start"))]);
            self.status(id, found, if party.machine { beep } else { Map::new() });
        }
        Up::Answered
    }

    async fn dial(self: &Arc<Self>, id: &LegId, commands: &mut Receiver<Command>, dial: &Dial) -> Up {
        let faults = self.faults.socket(self.sockets.fetch_add(1, Ordering::Relaxed));
        let dialled = async {
            if faults.fail_connect { Err(Refused::Failed("by fault".to_owned())) } else { socket::connect(dial).await }
        };
        let dialled = tokio::select! {
            dialled = dialled => dialled,
            by = ended(commands) => return self.cancelled(id, by).await,
        };
        match dialled {
            Ok(socket) => {
                let (out, queue) = mpsc::channel(socket::QUEUE);
                let line = Line { out, playback: Playback::default() };
                self.answered(id, Source::Socket(Box::new(line)));
                let exchange = Arc::clone(self);
                let (id, dial) = (Arc::clone(id), dial.clone());
                self.lines.spawn(async move {
                    let ended = exchange.talk_to(&id, socket, &dial, faults, queue).await;
                    exchange.hung_up(&id, &ended);
                });
                Up::Answered
            }
            Err(Refused::Timeout) => {
                self.problem(id, "the socket was not taken in time".to_owned());
                self.failed(id, Status::Unanswered, failure(Some("timeout"), 408)).await
            }
            Err(Refused::Failed(problem)) => {
                self.problem(id, format!("the socket was not taken: {problem}"));
                self.failed(id, Status::Failed, failure(Some("cannot_route"), 500)).await
            }
        }
    }

    async fn talk_to(
        self: &Arc<Self>,
        id: &LegId,
        socket: Socket,
        dial: &Dial,
        faults: crate::simulator::fault::SocketFaults,
        queue: Receiver<Outgoing>,
    ) -> Ended {
        let ears = LegEars { exchange: Arc::clone(self), id: Arc::clone(id) };
        tokio::select! {
            ended = socket::run(socket, dial, self.clock, faults, queue, ears) => ended,
            () = self.stop.cancelled() => Ended::Platform,
        }
    }

    /// A socket is over; its leg is, too, if it did not end it.
    fn hung_up(&self, id: &LegId, ended: &Ended) {
        let mut world = self.world();
        let Some(leg) = world.legs.get_mut(id) else { return };
        if let Ended::WrongSize(size, right) = ended {
            leg.counts.wrong_size += 1;
            leg.problem(format!("unexpected frame size {size}, when required {right}"));
        }
        if *ended != Ended::Platform {
            leg.command(Command::End(EndBy::Socket));
        }
    }

    /// What came up of an endpoint, as a leg to be.
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
async fn ended(commands: &mut Receiver<Command>) -> EndBy {
    loop {
        match commands.recv().await {
            Some(Command::End(by)) => return by,
            Some(Command::Replace(_)) => {}
            None => return EndBy::Platform,
        }
    }
}

/// Puts what a socket's application sends into its leg's playback.
struct LegEars {
    exchange: Arc<Exchange>,
    id: LegId,
}

impl LegEars {
    fn with(&self, act: impl FnOnce(&mut Line)) {
        let mut world = self.exchange.world();
        if let Some(leg) = world.legs.get_mut(&self.id)
            && let Source::Socket(line) = &mut leg.source
        {
            act(line);
        }
    }
}

impl Ears for LegEars {
    fn audio(&self, frame: &Frame) {
        self.with(|line| {
            line.playback.audio(frame);
        });
    }

    fn notify(&self, payload: Value) {
        self.with(|line| {
            line.playback.notify(payload);
        });
    }

    fn clear(&self) {
        self.with(|line| {
            line.playback.clear();
            // A queue that is full is about to be counted as congested anyway.
            let _ = line.out.try_send(Outgoing::cleared());
        });
    }
}
