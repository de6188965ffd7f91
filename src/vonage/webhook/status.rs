//! A leg changed its state.
//!
//! Source: `vonage-voice.md` section 3.2, table of statuses, and 1.4 for media sockets.
//! Events come in any order and may come twice: [`StatusEvent::dedupe_key`].

use super::{conversation, leg, private_text};
use crate::types::{ConversationId, LegId, Private};
use crate::vonage::shape::{object, open_words};
use crate::vonage::wire::{Map, Num, Text};

object! {
    /// A leg changed its state.
    StatusEvent {
        /// Number, address or URI of the calling side.
        from: Private<Text> = "from",
        /// Number, address or URI of the called side.
        to: Private<Text> = "to",
        /// The leg; `human` and `machine` have it in `call_uuid`.
        uuid: String = "uuid",
        /// The leg, in `human` and `machine`.
        call_uuid: String = "call_uuid",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// The state.
        status: Status = "status",
        /// Who called whom; not in `disconnected`.
        direction: Direction = "direction",
        /// When, RFC 3339.
        timestamp: String = "timestamp",
        /// Of SIP and websocket legs: the NCCO's custom headers.
        headers: Private<Map> = "headers",
        /// `answered`, `completed`: when talk began. Null or empty in `answered`.
        start_time: String = "start_time",
        /// `completed`: when it ended.
        end_time: String = "end_time",
        /// `answered`, `completed`: EUR a minute.
        rate: Num = "rate",
        /// `completed`: EUR.
        price: Num = "price",
        /// `completed`: s.
        duration: Num = "duration",
        /// `answered`, `completed`: the carrier.
        network: Text = "network",
        /// `human`, `machine`: about the beep.
        sub_state: SubState = "sub_state",
        /// `unanswered`, `rejected`, `failed`: why, in a word.
        detail: String = "detail",
        /// `busy`, `unanswered`, `rejected`, `failed`, `completed`: the SIP answer.
        sip_code: Num = "sip_code",
        /// `completed`: who hung up.
        disconnected_by: DisconnectedBy = "disconnected_by",
    }
}

open_words! {
    /// State of a leg.
    Status {
        /// The call was created.
        Started = "started",
        /// It rings.
        Ringing = "ringing",
        /// Someone, or something, answered.
        Answered = "answered",
        /// A person answered.
        Human = "human",
        /// A machine answered.
        Machine = "machine",
        /// The line was busy.
        Busy = "busy",
        /// The caller gave up.
        Cancelled = "cancelled",
        /// Nobody answered in the ringing time.
        Timeout = "timeout",
        /// Nobody answered.
        Unanswered = "unanswered",
        /// The call was refused.
        Rejected = "rejected",
        /// The call could not be made.
        Failed = "failed",
        /// A media socket closed or dropped on our side.
        Disconnected = "disconnected",
        /// The leg is over.
        Completed = "completed",
    }
}

open_words! {
    /// Who called whom.
    Direction {
        /// They called us.
        Inbound = "inbound",
        /// We called them.
        Outbound = "outbound",
    }
}

open_words! {
    /// What became of the beep.
    SubState {
        /// It was heard.
        BeepStart = "beep_start",
        /// It did not come in time.
        BeepTimeout = "beep_timeout",
    }
}

open_words! {
    /// Who hung up.
    DisconnectedBy {
        /// Vonage, or we through it.
        Platform = "platform",
        /// The participant.
        User = "user",
    }
}

/// What tells one event from its repetition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DedupeKey {
    /// The leg.
    pub leg: LegId,
    /// The status' word.
    pub status: String,
    /// The timestamp as it came.
    pub timestamp: String,
}

impl StatusEvent {
    /// The leg, whichever field has it.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        leg(&self.uuid).or_else(|| leg(&self.call_uuid))
    }

    /// Its conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid)
    }

    /// The calling side.
    #[must_use]
    pub fn caller(&self) -> Option<Private<String>> {
        private_text(&self.from)
    }

    /// The called side.
    #[must_use]
    pub fn called(&self) -> Option<Private<String>> {
        private_text(&self.to)
    }

    /// Equal for an event and its repetition. None where no leg is named.
    #[must_use]
    pub fn dedupe_key(&self) -> Option<DedupeKey> {
        Some(DedupeKey {
            leg: self.leg()?,
            status: self.status.get().map_or(String::new(), |status| status.as_str().to_owned()),
            timestamp: self.timestamp.get().cloned().unwrap_or_default(),
        })
    }

    /// Whether an NCCO in the reply may be honoured: a synchronous `connect` that
    /// failed, or a media socket that dropped.
    #[must_use]
    pub fn honours_ncco(&self) -> bool {
        matches!(
            self.status.get(),
            Some(
                Status::Timeout
                    | Status::Failed
                    | Status::Rejected
                    | Status::Unanswered
                    | Status::Busy
                    | Status::Disconnected
            )
        )
    }
}
