//! What a consumer needs when events were lost after all: which, so that the hole in
//! `seq` is explained and not waited for.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::kind;
use super::{Body, Event, Origin};
use crate::types::id::ID_LEN_MAX;
use crate::types::{LegId, WallTime};

kind!(GatewayLoss, "gateway.loss.v1", Durable, Gateway, "Durable events of one subject that will never come.");

/// `gateway.loss.v1`: keyed by the conversation of what was lost, so that it stands
/// between the events before the hole and those after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayLoss {
    /// The subject whose events were lost: a media leg, or the record of a call.
    pub subject: String,
    /// `seq` of the first one lost.
    pub from_seq: u64,
    /// `seq` of the last one lost; all between were lost too.
    pub to_seq: u64,
    /// Why: `spool_full`.
    pub reason: String,
    /// The sink that did not get them.
    pub sink: String,
}

/// The event that tells of a loss. Its own subject is `loss:<from_seq>:<subject>`, cut
/// from its left to the length of an id; each hole has one, so its only `seq` is 1. `None` for a
/// subject that makes no id (there is none such).
#[must_use]
pub fn event(of: &Origin, time: WallTime, loss: GatewayLoss) -> Option<Event> {
    let prefix = format!("loss:{}:", loss.from_seq);
    // Ids differ at their end rather than at their beginning.
    let cut = loss.subject.len().saturating_sub(ID_LEN_MAX - prefix.len());
    let own = prefix + loss.subject.get(cut..)?;
    let origin = Origin { leg: LegId::parse(&own).ok()?, ..of.clone() };
    Some(Event { origin: Arc::new(origin), seq: 1, sub: 0, time, body: Body::GatewayLoss(loss) })
}
