//! All legs and conversations, and what can be done to them at once.
//!
//! Nothing here waits; the lock around it is never held over a wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::events::KEY_MS;
use super::leg::{Command, EndBy, Leg, LegId, Source};
use crate::simulator::mixer::{Full, Member, Room};
use crate::simulator::person::{Surroundings, Voice};
use crate::simulator::recording::KEPT_BYTES_MAX;
use crate::simulator::script::{Address, Party};
use crate::simulator::socket::Outgoing;
use crate::types::rate::Frame;

/// Legs that one run remembers, ended ones included.
pub(super) const LEGS_MAX: usize = 20_000;

/// A conversation, `CON-…`.
pub(super) struct Conversation {
    pub(super) room: Room<LegId>,
    /// Its name within the application, where it has one.
    name: Option<String>,
    /// Legs with whom it ends.
    end_on_exit: Vec<LegId>,
}

/// Somebody who can be called, and the voice.
pub(super) struct Role {
    pub(super) party: Party,
    pub(super) voice: Voice,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) legs: HashMap<LegId, Leg>,
    /// In the order of their creation.
    pub(super) order: Vec<LegId>,
    pub(super) conversations: HashMap<String, Conversation>,
    names: HashMap<String, String>,
    pub(super) roles: Vec<Arc<Role>>,
    /// Where each call's caller is in the recording, in ticks.
    pub(super) callers: Vec<Option<u64>>,
    kept: VecDeque<(String, Bytes)>,
    kept_bytes: usize,
}

/// What a tick leaves to be done outside the mixer.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) keys: Vec<(LegId, char)>,
    pub(super) hang_ups: Vec<LegId>,
    pub(super) recorded: Vec<(LegId, super::leg::Recording)>,
}

impl World {
    /// Who answers at an address.
    pub(super) fn role(&self, called: &Address) -> Option<Arc<Role>> {
        self.roles.iter().find(|role| role.party.address.matches(called)).cloned()
    }

    /// Takes a leg in, with the conversation it is created in.
    pub(super) fn add(&mut self, leg: Leg) {
        self.ensure(&leg.home);
        self.order.push(Arc::clone(&leg.id));
        self.legs.insert(Arc::clone(&leg.id), leg);
    }

    fn ensure(&mut self, id: &str) -> &mut Conversation {
        self.conversations.entry(id.to_owned()).or_insert_with(|| Conversation {
            room: Room::new(true),
            name: None,
            end_on_exit: Vec::new(),
        })
    }

    /// Gives a leg another conversation of its own, and no parent.
    pub(super) fn give_home(&mut self, id: &LegId, home: String) {
        self.ensure(&home);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.home = home;
            leg.parent = None;
        }
    }

    /// The conversation of a name; `fresh` is the id of a new one.
    pub(super) fn named(&mut self, name: &str, fresh: String) -> String {
        let id = self.names.entry(name.to_owned()).or_insert(fresh).clone();
        self.conversations.entry(id.clone()).or_insert_with(|| Conversation {
            room: Room::new(false),
            name: Some(name.to_owned()),
            end_on_exit: Vec::new(),
        });
        id
    }

    /// Seats a leg in a conversation, and takes it out of the one it is in. `true` where
    /// it moved.
    pub(super) fn join(&mut self, id: &str, member: Member<LegId>, starts: bool, ends: bool) -> Result<bool, Full> {
        let leg = Arc::clone(&member.leg);
        let conversation = self.ensure(id);
        conversation.room.join(member)?;
        conversation.room.started |= starts;
        if ends && !conversation.end_on_exit.contains(&leg) {
            conversation.end_on_exit.push(Arc::clone(&leg));
        }
        let before = self.legs.get(&leg).map(|leg| leg.conversation.clone()).unwrap_or_default();
        let moved = before != id;
        if moved {
            self.leave(&leg);
            if let Some(leg) = self.legs.get_mut(&leg) {
                id.clone_into(&mut leg.conversation);
            }
        }
        self.share_call(id);
        Ok(moved)
    }

    /// Takes a leg out of its conversation; the others go too where it ends with it.
    pub(super) fn leave(&mut self, id: &LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let name = leg.conversation.clone();
        let Some(conversation) = self.conversations.get_mut(&name) else { return };
        conversation.room.leave(id);
        if conversation.end_on_exit.contains(id) {
            for member in conversation.room.members() {
                if let Some(leg) = self.legs.get(&member.leg) {
                    leg.command(Command::End(EndBy::Platform));
                }
            }
        }
        let empty = conversation.room.members().is_empty();
        if empty && let Some(known) = conversation.name.clone() {
            self.names.remove(&known);
            self.conversations.remove(&name);
        }
    }

    /// Forgets an ended leg's own conversation.
    pub(super) fn forget_home(&mut self, id: &LegId) {
        let Some(home) = self.legs.get(id).map(|leg| leg.home.clone()) else { return };
        let used = |leg: &Leg| leg.is_alive() && (leg.home == home || leg.conversation == home);
        if !self.legs.values().any(used) {
            self.conversations.remove(&home);
        }
    }

    /// Legs that are together belong to one call of the script.
    fn share_call(&mut self, conversation: &str) {
        let Some(conversation) = self.conversations.get(conversation) else { return };
        let members: Vec<_> = conversation.room.members().iter().map(|member| Arc::clone(&member.leg)).collect();
        let Some(call) = members.iter().find_map(|leg| self.legs.get(leg)?.call) else { return };
        for leg in members {
            if let Some(leg) = self.legs.get_mut(&leg) {
                leg.call.get_or_insert(call);
            }
        }
    }

    /// The living legs that a leg's flow has connected.
    pub(super) fn children(&self, parent: &LegId) -> impl Iterator<Item = &Leg> {
        self.legs.values().filter(|leg| leg.is_alive() && leg.parent.as_ref() == Some(parent))
    }

    /// 20 ms pass in every conversation: the tick due at `at`.
    pub(super) fn tick(&mut self, at: Duration) -> Deeds {
        let mut deeds = Deeds::default();
        let Self { legs, conversations, callers, .. } = self;
        for conversation in conversations.values() {
            let members = conversation.room.members();
            if members.is_empty() {
                continue;
            }
            let people: Vec<_> = members.iter().map(|member| legs.get(&member.leg).and_then(Leg::said_all)).collect();
            let is_socket = |leg: &&LegId| legs.get(*leg).is_some_and(|leg| matches!(leg.source, Source::Socket(_)));
            let sockets: Vec<_> = members.iter().map(|member| &member.leg).filter(is_socket).cloned().collect();
            let mut said: Vec<Option<Frame>> = Vec::with_capacity(members.len());
            for (n, member) in members.iter().enumerate() {
                let Some(leg) = legs.get_mut(&member.leg) else {
                    said.push(None);
                    continue;
                };
                let others = || people.iter().enumerate().filter(|(other, _)| *other != n).filter_map(|(_, p)| *p);
                let caller_clock = leg.call.and_then(|call| callers.get(call).copied().flatten());
                let act = leg.speak(Surroundings {
                    company: conversation.room.started && others().next().is_some(),
                    heard: sockets.iter().any(|socket| conversation.room.hears(socket, &member.leg)),
                    others_done: others().all(|done| done),
                    announcement: false,
                    caller_clock,
                });
                if leg.caller
                    && let Some(call) = leg.call.and_then(|call| callers.get_mut(call))
                    && let Source::Person(person) = &leg.source
                {
                    *call = person.clock();
                }
                deeds.keys.extend(act.key.map(|key| (Arc::clone(&leg.id), key)));
                if act.hangs_up {
                    deeds.hang_ups.push(Arc::clone(&leg.id));
                }
                said.push(act.frame);
            }
            let mixed = conversation.room.mix(&said);
            for ((member, said), mixed) in members.iter().zip(&said).zip(mixed) {
                if let Some(leg) = legs.get_mut(&member.leg) {
                    let over = leg.hear(said.as_ref(), mixed, at);
                    deeds.recorded.extend(over.into_iter().map(|recording| (Arc::clone(&member.leg), recording)));
                }
            }
        }
        deeds
    }

    /// A key was pressed on a leg: every socket that hears it is told.
    pub(super) fn tell_sockets(&mut self, id: &LegId, key: char) {
        let Some(conversation) = self.legs.get(id).and_then(|leg| self.conversations.get(&leg.conversation)) else {
            return;
        };
        for member in conversation.room.members() {
            if conversation.room.hears(&member.leg, id)
                && let Some(leg) = self.legs.get_mut(&member.leg)
            {
                leg.text(Outgoing::dtmf(key, KEY_MS));
            }
        }
    }

    /// Keeps a recording; the oldest make room.
    pub(super) fn keep(&mut self, id: String, file: Bytes) {
        self.kept_bytes += file.len();
        self.kept.push_back((id, file));
        while self.kept_bytes > KEPT_BYTES_MAX {
            let Some((_, oldest)) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.len();
        }
    }

    pub(super) fn recording(&self, id: &str) -> Option<Bytes> {
        self.kept.iter().find(|(known, _)| known == id).map(|(_, file)| file.clone())
    }
}
