//! The words that NCCO fields are chosen from.
//!
//! Source: `vonage-voice.md` section 2.

use crate::vonage::shape::words;

words! {
    /// HTTP method of a webhook.
    Method {
        /// Parameters in the query.
        Get = "GET",
        /// JSON in the body. The default but for answer URLs.
        Post = "POST",
    }
}

words! {
    /// Container of a recording.
    RecordFormat {
        /// The default for one or two channels.
        Mp3 = "mp3",
        /// 16 kHz, 16 bits; the default above two channels.
        Wav = "wav",
        /// Ogg.
        Ogg = "ogg",
    }
}

words! {
    /// How a recording is split into channels.
    RecordSplit {
        /// Each participant on a channel of its own.
        Conversation = "conversation",
    }
}

words! {
    /// How the reply to a `connect` event counts.
    EventType {
        /// An NCCO in the reply replaces the flow.
        Synchronous = "synchronous",
    }
}

words! {
    /// What to do when a machine answers.
    DetectionBehavior {
        /// Tell us by webhook, and go on.
        Continue = "continue",
        /// End the call.
        Hangup = "hangup",
    }
}

words! {
    /// How closely to listen for a machine.
    DetectionMode {
        /// What the account is set to.
        Default = "default",
        /// Human or machine.
        Detect = "detect",
        /// And wait for the beep.
        DetectBeep = "detect_beep",
    }
}

words! {
    /// What an `input` listens for.
    InputKind {
        /// Keys.
        Dtmf = "dtmf",
        /// Speech.
        Speech = "speech",
    }
}

words! {
    /// Whether the flow waits for an `input`.
    InputMode {
        /// It waits. The default.
        Synchronous = "synchronous",
        /// It goes on; one webhook a key. Keys only, without settings.
        Asynchronous = "asynchronous",
    }
}
