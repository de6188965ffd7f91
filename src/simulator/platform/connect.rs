//! The `connect` action: brings in another participant.
//!
//! Source: `vonage-voice.md` sections 1.4 and 2. To a socket the flow goes on as soon as
//! it is up; with anybody else it waits until they are gone. Where nobody came, an NCCO
//! in the reply to a synchronous event replaces the flow.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Exchange;
use super::endpoint::Whom;
use super::flow::{self, Next};
use super::leg::{Command, EndBy, LegId};
use super::line::{Detection, Setup, Up};
use crate::vonage::ncco::{AdvancedMachineDetection, Connect, DetectionBehavior, EventType};
use crate::vonage::wire::Field;

/// How long it rings, in s.
pub(super) const RING_S: f64 = 60.0;
/// Longest call, in s.
pub(super) const LIMIT_S: f64 = 7200.0;

/// What is asked of machine detection; the finer form wins.
pub(super) fn detection(plain: &Field<DetectionBehavior>, finer: [&Field<AdvancedMachineDetection>; 2]) -> Detection {
    let finer = finer.into_iter().find_map(Field::get);
    let behavior = match finer {
        Some(finer) => finer.behavior.get().copied().unwrap_or(DetectionBehavior::Continue),
        None => match plain.get() {
            Some(behavior) => *behavior,
            None => return Detection::Off,
        },
    };
    match behavior {
        DetectionBehavior::Continue => Detection::Continue,
        DetectionBehavior::Hangup => Detection::Hangup,
    }
}

/// Ends a connected leg when the flow no longer waits for it.
struct Guard<'a> {
    exchange: &'a Exchange,
    leg: LegId,
    armed: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.exchange.of(&self.leg, |leg| leg.command(Command::End(EndBy::Platform)));
        }
    }
}

impl Exchange {
    pub(super) async fn connect(self: &Arc<Self>, id: &LegId, connect: &Connect) -> Next {
        if !self.rates.call() {
            self.error(id, "Too many calls were connected or created in a second.");
            return Next::On;
        }
        let called = match connect.endpoint.get().map(Vec::as_slice) {
            Some([endpoint]) => self.called(endpoint),
            _ => Err("a connect needs exactly one endpoint"),
        };
        let called = match called {
            Ok(called) => called,
            Err(problem) => {
                self.error(id, problem);
                return Next::On;
            }
        };
        let hook = self.hook(id, &connect.event_url, &connect.event_method);
        let parent = self.of(id, |leg| (leg.conversation.clone(), leg.call, leg.to.clone(), leg.from.clone()));
        let Some((conversation, call, to, from)) = parent else { return Next::End };
        let given = connect.from.reveal().map(|from| from.text().into_owned());
        let from = given.unwrap_or(if connect.random_from_number.get() == Some(&true) { to } else { from });
        let mut leg = Self::leg_for(&called, from, hook);
        leg.conversation = Some(conversation);
        leg.parent = Some(Arc::clone(id));
        leg.call = call;
        let is_socket = matches!(called.whom, Whom::Socket(_));
        let setup = Setup {
            whom: called.whom,
            ring: flow::span(&connect.timeout, RING_S, 1.0..=LIMIT_S),
            limit: flow::span(&connect.limit, LIMIT_S, 1.0..=LIMIT_S),
            detection: detection(
                &connect.machine_detection,
                [&connect.advanced_machine_detection, &connect.advanced_machine_detection_snake],
            ),
        };
        let Some((child, commands)) = self.open(leg) else {
            self.error(id, "The simulator holds no more legs.");
            return Next::End;
        };
        let mut guard = Guard { exchange: self, leg: Arc::clone(&child), armed: true };
        let (came, up) = oneshot::channel();
        self.tasks.spawn(Arc::clone(self).connected(Arc::clone(&child), commands, setup, came));
        match up.await {
            Ok(Up::Answered) if is_socket => guard.armed = false,
            Ok(Up::Answered) => {
                if let Some(bridge) = self.of(&child, |leg| leg.bridge.clone()) {
                    bridge.cancelled().await;
                }
                guard.armed = false;
            }
            Ok(Up::Failed(reply)) => {
                let synchronous = connect.event_type.get() == Some(&EventType::Synchronous);
                if let Some(ncco) = reply.filter(|ncco| synchronous && !ncco.0.is_empty()) {
                    return Next::Replace(ncco);
                }
            }
            Ok(Up::Ended(_)) | Err(_) => {}
        }
        Next::On
    }
}
