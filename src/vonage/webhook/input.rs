//! What an `input` action heard.
//!
//! Source: `vonage-voice.md` section 3.2, "input". Keys beat speech. The shape of the
//! asynchronous form is unconfirmed; before 2020 `dtmf` was the digits themselves.

use super::{conversation, leg};
use crate::types::{ConversationId, LegId, Private};
use crate::vonage::shape::object;
use crate::vonage::wire::{Field, Num, Text};

object! {
    /// What an `input` action heard.
    InputResult {
        /// Number of the calling side.
        from: Private<Text> = "from",
        /// Number of the called side.
        to: Private<Text> = "to",
        /// The leg.
        uuid: String = "uuid",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// When, RFC 3339.
        timestamp: String = "timestamp",
        /// Keys.
        dtmf: KeysPressed = "dtmf",
        /// Speech.
        speech: SpeechHeard = "speech",
        /// Legacy place of `dtmf.timed_out`.
        timed_out: bool = "timed_out",
    }
}

object! {
    /// Keys that were pressed.
    KeysPressed {
        /// The keys; null where none was.
        digits: Private<Text> = "digits",
        /// Whether the wait for the next key ended it.
        timed_out: bool = "timed_out",
    }
}

object! {
    /// Speech that was recognised.
    SpeechHeard {
        /// `end_on_silence_timeout`, `max_duration`, `start_timeout`.
        timeout_reason: String = "timeout_reason",
        /// Readings, best first.
        results: Vec<SpeechResult> = "results",
        /// What went wrong, such as "Speech overridden by DTMF".
        error: String = "error",
        /// The audio, where it was to be kept.
        recording_url: String = "recording_url",
    }
}

object! {
    /// One reading of the speech.
    SpeechResult {
        /// The words.
        text: Private<String> = "text",
        /// 0 to 1.
        confidence: Num = "confidence",
    }
}

impl InputResult {
    /// The leg.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        leg(&self.uuid)
    }

    /// Its conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid)
    }

    /// The keys pressed, in today's shape or the old one; none where there are none.
    #[must_use]
    pub fn digits(&self) -> Option<Private<String>> {
        let text = match &self.dtmf {
            Field::Is(dtmf) => dtmf.digits.reveal()?.text().into_owned(),
            Field::Odd(old) => old.as_str().map(str::to_owned).or_else(|| old.as_u64().map(|n| n.to_string()))?,
            Field::Absent => return None,
        };
        (!text.is_empty()).then_some(Private(text))
    }

    /// The best reading of the speech, and its confidence, 0 to 1.
    #[must_use]
    pub fn best_speech(&self) -> Option<(Private<&str>, Option<f64>)> {
        let best = self.speech.get()?.results.get()?.first()?;
        Some((Private(best.text.reveal()?), best.confidence.get().and_then(|n| n.as_f64())))
    }
}
