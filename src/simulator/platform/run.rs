//! Runs a script: makes its calls, waits until they are over, and reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::leg::{Command, EndBy, LegId};
use super::line::NewLeg;
use super::world::Role;
use super::{Exchange, Platform, Report, WEBHOOKS_MAX};
use crate::simulator::person::Person;
use crate::simulator::script::{Call, Script};
use crate::simulator::stage::Voices;
use crate::vonage::webhook::EndpointKind;

/// How long the application has to end its own legs once all calls are over. Real time.
const LINGER: Duration = Duration::from_secs(10);
/// How long legs have to end when told to, and webhooks to be delivered. Real time.
const WIND_UP: Duration = Duration::from_secs(30);

impl Platform {
    /// Makes a script's calls and waits until they are over. One script at a time: a
    /// second one's calls would be told together with the first one's.
    pub async fn run(&self, script: &Script, voices: &Voices) -> Report {
        let exchange = &self.exchange;
        let began = exchange.clock.now();
        let first = {
            let mut world = exchange.world();
            let role = |party: &crate::simulator::script::Party| {
                Arc::new(Role { voice: voices.of(&party.person), party: party.clone() })
            };
            world.roles = script.parties.iter().map(role).collect();
            let first = world.callers.len();
            world.callers.resize(first + script.calls.len(), None);
            first
        };
        let mut calls = JoinSet::new();
        for (n, call) in script.calls.iter().enumerate() {
            let person = Person::new(&call.caller, voices.of(&call.caller), true);
            let at = began + Duration::from_millis(call.at_ms);
            calls.spawn(Arc::clone(exchange).call_in(first + n, call.clone(), person, at));
        }
        let finished = tokio::select! {
            () = async { while calls.join_next().await.is_some() {} } => true,
            () = exchange.clock.sleep_until(began + exchange.settings.longest) => false,
        };
        if finished {
            // An application that leaves legs behind is told so in the report.
            let _ = timeout(LINGER, exchange.all_gone()).await;
        }
        let left_over = exchange.end_all();
        let wound_up = timeout(WIND_UP, async {
            exchange.all_gone().await;
            exchange.lines.close();
            exchange.lines.wait().await;
            exchange.lines.reopen();
            // Every place is free when every webhook is delivered.
            exchange.posts.acquire_many(WEBHOOKS_MAX as u32).await.is_ok()
        });
        let wound_up = wound_up.await.unwrap_or(false);
        calls.abort_all();
        exchange.report(began, finished && wound_up, left_over)
    }
}

impl Exchange {
    async fn call_in(self: Arc<Self>, number: usize, call: Call, person: Person, at: Duration) {
        self.clock.sleep_until(at).await;
        let opened = self.open(NewLeg {
            kind: EndpointKind::Phone,
            outbound: false,
            from: call.from.0,
            to: call.to.0,
            headers: None,
            conversation: None,
            parent: None,
            call: Some(number),
            caller: true,
            hook: self.settings.event.clone(),
        });
        if let Some((id, commands)) = opened {
            self.inbound(id, commands, person).await;
        }
    }

    fn living(&self) -> Vec<LegId> {
        let world = self.world();
        world
            .order
            .iter()
            .filter(|id| world.legs.get(*id).is_some_and(|leg| !leg.gone.is_cancelled()))
            .cloned()
            .collect()
    }

    async fn all_gone(&self) {
        while let Some(id) = self.living().first() {
            if let Some(gone) = self.of(id, |leg| leg.gone.clone()) {
                gone.cancelled().await;
            }
        }
    }

    /// Tells every leg to end; how many there were.
    pub(super) fn end_all(&self) -> usize {
        let living = self.living();
        for id in &living {
            self.of(id, |leg| leg.command(Command::End(EndBy::Platform)));
        }
        living.len()
    }
}
