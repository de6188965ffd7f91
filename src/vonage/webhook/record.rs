//! A recording is there, or its transcription, and the transcription itself.
//!
//! Source: `vonage-voice.md` section 3.2, "record" and "transcription". The URLs want
//! the application's token, which must go to Vonage only:
//! [`trusted_base`](crate::vonage::rest_types::trusted_base).

use super::conversation;
use crate::types::{ConversationId, Private};
use crate::vonage::shape::object;
use crate::vonage::wire::{Num, Text};

object! {
    /// A recording is there.
    Recorded {
        /// When it began, RFC 3339.
        start_time: String = "start_time",
        /// When it ended.
        end_time: String = "end_time",
        /// Where it is, for 30 days.
        recording_url: String = "recording_url",
        /// Bytes.
        size: Num = "size",
        /// The recording.
        recording_uuid: String = "recording_uuid",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// When this was sent.
        timestamp: String = "timestamp",
    }
}

object! {
    /// The transcription of a recording is there.
    Transcribed {
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// `record`.
        kind: String = "type",
        /// The recording.
        recording_uuid: String = "recording_uuid",
        /// `transcribed`.
        status: String = "status",
        /// Where the [`TranscriptDocument`] is.
        transcription_url: String = "transcription_url",
    }
}

object! {
    /// The document behind `transcription_url`. Times in ms.
    TranscriptDocument {
        /// Version of the form.
        ver: Text = "ver",
        /// Id of the job.
        request_id: String = "request_id",
        /// One for each channel of the recording.
        channels: Vec<TranscribedChannel> = "channels",
    }
}

object! {
    /// One channel of the recording.
    TranscribedChannel {
        /// Its sentences.
        transcript: Vec<TranscribedSentence> = "transcript",
        /// Its length.
        duration: Num = "duration",
    }
}

object! {
    /// One sentence.
    TranscribedSentence {
        /// With numbers and punctuation.
        sentence: Private<String> = "sentence",
        /// As spoken.
        raw_sentence: Private<String> = "raw_sentence",
        /// Its length.
        duration: Num = "duration",
        /// Its start.
        timestamp: Num = "timestamp",
        /// Its words.
        words: Vec<TranscribedWord> = "words",
    }
}

object! {
    /// One word.
    TranscribedWord {
        /// The word.
        word: Private<String> = "word",
        /// Its start.
        start_time: Num = "start_time",
        /// Its end.
        end_time: Num = "end_time",
        /// 0 to 1.
        confidence: Num = "confidence",
    }
}

impl Recorded {
    /// Its conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid)
    }
}

impl Transcribed {
    /// Its conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        conversation(&self.conversation_uuid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_transcript_document() {
        let document = json!({"ver": "2.1.0", "request_id": "57c3", "channels": [{"transcript": [{"sentence": "It is 5.",
            "raw_sentence": "it is five", "duration": 1120, "timestamp": 1640, "words": [
                {"word": "It", "start_time": 1640, "end_time": 1720, "confidence": 0.513033}]}], "duration": 1}]});
        let read: TranscriptDocument = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), document);
        let sentence = &read.channels.get().unwrap()[0].transcript.get().unwrap()[0];
        assert_eq!(sentence.sentence.reveal().map(String::as_str), Some("It is 5."));
        assert_eq!(sentence.words.get().unwrap()[0].start_time.get().and_then(Num::as_u64), Some(1640));
        assert!(!format!("{read:?}").contains("five"));
    }
}
