//! How a leg gets its other end: a person who is rung, or a socket that is dialled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver};

use super::Exchange;
use super::deeds::failure;
use super::endpoint::Whom;
use super::leg::{Command, EndBy, LegId, Line, Source};
use super::line::{Detection, Setup, Up, ended};
use crate::simulator::fault::SocketFaults;
use crate::simulator::person::Person;
use crate::simulator::playback::Playback;
use crate::simulator::script::Address;
use crate::simulator::socket::{self, Dial, Ears, Ended, Outgoing, Refused, Socket};
use crate::types::rate::Frame;
use crate::vonage::webhook::Status;
use crate::vonage::wire::Map;

impl Exchange {
    /// Calls somebody until there is an answer or none is to come.
    pub(super) async fn bring_up(self: &Arc<Self>, id: &LegId, commands: &mut Receiver<Command>, setup: &Setup) -> Up {
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
        faults: SocketFaults,
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
            // Nothing more goes that way while its `disconnected` is told.
            leg.source = Source::None;
            leg.command(Command::End(EndBy::Socket));
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
