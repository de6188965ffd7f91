//! The actions of an NCCO.
//!
//! Source: `vonage-voice.md` section 2. Times are in seconds, levels and loops as
//! noted; a number may be written as a string of one. Defaults are Vonage's, for a
//! key that is absent. Ranges are checked by `validate`, not here.

use super::endpoint::Endpoint;
use super::word::{
    DetectionBehavior, DetectionMode, EventType, InputKind, InputMode, Method, RecordFormat, RecordSplit,
};
use crate::types::Private;
use crate::vonage::shape::{object, tagged};
use crate::vonage::wire::{Map, Num, Text, Urls};

tagged! {
    /// One action, chosen by `action`.
    Action by "action" {
        /// Record the call.
        Record = "record",
        /// Sit in a named mixer.
        Conversation = "conversation",
        /// Bring in another participant.
        Connect = "connect",
        /// Say a text.
        Talk = "talk",
        /// Play a file.
        Stream = "stream",
        /// Listen for keys or speech.
        Input = "input",
        /// Send us a payload.
        Notify = "notify",
        /// Do nothing for a while.
        Wait = "wait",
        /// Move every leg into a conversation that exists.
        Transfer = "transfer",
        /// Take a payment. Legacy: withdrawn by Vonage.
        Pay = "pay",
    }
}

object! {
    /// Records the call, beside what follows, or before it where `endOnSilence`,
    /// `timeOut` or `endOnKey` is set. 16 kHz, 16 bits; Vonage keeps it for 30 days.
    Record {
        /// Container; `mp3`, above two channels `wav`.
        format: RecordFormat = "format",
        /// Give each side its own channel: left what the caller says, right what the caller hears.
        split: RecordSplit = "split",
        /// 1 to 32, with `split`.
        channels: Num = "channels",
        /// End after this much silence: 3 to 10 s.
        end_on_silence: Num = "endOnSilence",
        /// End at this key: one of `0-9*#`.
        end_on_key: Text = "endOnKey",
        /// Longest recording: 3 to 7200 s.
        time_out: Num = "timeOut",
        /// Beep at the start.
        beep_start: bool = "beepStart",
        /// Where the `record` webhook goes.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
        /// Have Vonage transcribe it; `{}` is all defaults.
        transcription: Transcription = "transcription",
    }
}

object! {
    /// Vonage's own transcription of a recording, after the call.
    Transcription {
        /// BCP 47 tag.
        language: String = "language",
        /// Where the `transcription` webhook goes.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
        /// Whether to score sentiment; `false`.
        sentiment_analysis: bool = "sentimentAnalysis",
    }
}

object! {
    /// Joins the mixer of this name; the first leg creates it. 50 members at most.
    Conversation {
        /// Name within the application. Required.
        name: String = "name",
        /// What is heard until it starts.
        music_on_hold_url: Urls = "musicOnHoldUrl",
        /// Whether this leg starts it; `true`.
        start_on_enter: bool = "startOnEnter",
        /// Whether it ends for all when this leg leaves; `false`.
        end_on_exit: bool = "endOnExit",
        /// Whether it is recorded.
        record: bool = "record",
        /// Whether this leg is silent. Not with `canSpeak`.
        mute: bool = "mute",
        /// Legs that may hear this one: absent is all, `[]` is none.
        can_speak: Vec<String> = "canSpeak",
        /// Legs that this one hears: absent is all, `[]` is none.
        can_hear: Vec<String> = "canHear",
        /// Where recording events go.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
        /// Have Vonage transcribe the recording. With `record`.
        transcription: Transcription = "transcription",
    }
}

object! {
    /// Brings another participant into the call. Several in a row add several.
    Connect {
        /// Exactly one. Required.
        endpoint: Vec<Endpoint> = "endpoint",
        /// Caller id: E.164 without `+`. Not with `randomFromNumber`; leave out for app users.
        from: Private<Text> = "from",
        /// Take one of the application's numbers; `false`.
        random_from_number: bool = "randomFromNumber",
        /// Whether an NCCO in the event's reply replaces the flow.
        event_type: EventType = "eventType",
        /// Ring for this long: 60 s; one SDK allows 3 to 7200.
        timeout: Num = "timeout",
        /// Longest call: 7200 s, which is also the most.
        limit: Num = "limit",
        /// Tell us, or hang up, when a machine answers.
        machine_detection: DetectionBehavior = "machineDetection",
        /// The finer form, which wins over the other.
        advanced_machine_detection: AdvancedMachineDetection = "advancedMachineDetection",
        /// The same as two SDKs spell it; which one the server takes is unconfirmed.
        advanced_machine_detection_snake: AdvancedMachineDetection = "advanced_machine_detection",
        /// Where the leg's events go.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
        /// What the caller hears while it rings: a URL, bare; one SDK writes an array.
        ringback_tone: Urls = "ringbackTone",
    }
}

object! {
    /// How to tell a machine from a person.
    AdvancedMachineDetection {
        /// What to do about a machine.
        behavior: DetectionBehavior = "behavior",
        /// How closely to listen.
        mode: DetectionMode = "mode",
        /// Wait for the beep for 45 to 120 s.
        beep_timeout: Num = "beep_timeout",
        /// The same in the other spelling.
        beep_timeout_camel: Num = "beepTimeout",
    }
}

object! {
    /// Says a text.
    Talk {
        /// 1500 characters at most, SSML tags not counted. Required.
        text: String = "text",
        /// Whether a key ends it; `false`. Sticks until an `input`, which must follow.
        barge_in: bool = "bargeIn",
        /// How often: 1; 0 for ever.
        repeat: Num = "loop",
        /// Loudness, -1 to 1: 0.
        level: Num = "level",
        /// BCP 47 tag: `en-US`.
        language: String = "language",
        /// Number of the voice in that language: 0.
        style: Num = "style",
        /// The better voice; `false`.
        premium: bool = "premium",
        /// Whose voice, since 2026.
        provider: String = "provider",
        /// What that provider wants to know.
        provider_options: Map = "providerOptions",
        /// Name of a voice. Legacy, before `language` and `style`.
        voice_name: String = "voiceName",
    }
}

object! {
    /// Plays a file: mp3 or 16-bit wav.
    Stream {
        /// The file. Required.
        stream_url: Urls = "streamUrl",
        /// Loudness, -1 to 1: 0.
        level: Num = "level",
        /// Whether a key ends it; `false`. Sticks until an `input`, which must follow.
        barge_in: bool = "bargeIn",
        /// How often: 1; 0 for ever.
        repeat: Num = "loop",
    }
}

object! {
    /// Listens for keys, speech or both.
    Input {
        /// What for. Required.
        kind: Vec<InputKind> = "type",
        /// Where the `input` webhook goes.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
        /// Whether the flow waits.
        mode: InputMode = "mode",
        /// How to listen for keys.
        dtmf: DtmfSettings = "dtmf",
        /// How to listen for speech.
        speech: SpeechSettings = "speech",
    }
}

object! {
    /// How to listen for keys.
    DtmfSettings {
        /// End this long after the last key: 3 s, 10 s at most.
        time_out: Num = "timeOut",
        /// End after so many: 4, 20 at most (one SDK: 22).
        max_digits: Num = "maxDigits",
        /// End at `#`; `false`.
        submit_on_hash: bool = "submitOnHash",
    }
}

object! {
    /// How to listen for speech.
    SpeechSettings {
        /// The one leg to hear; the first.
        uuid: Vec<String> = "uuid",
        /// End after this much silence: 0.4 to 10 s; 2.
        end_on_silence: Num = "endOnSilence",
        /// BCP 47 tag: `en-US`.
        language: String = "language",
        /// Words to expect.
        context: Vec<String> = "context",
        /// Give up without speech after 1 to 60 s; 10, which was once the most.
        start_timeout: Num = "startTimeout",
        /// Longest speech: 1 to 60 s; 60.
        max_duration: Num = "maxDuration",
        /// Keep the audio; `false`.
        save_audio: bool = "saveAudio",
        /// How easily sound counts as speech: 10 to 100; 90.
        sensitivity: Num = "sensitivity",
        /// Whose recogniser, since 2026.
        provider: String = "provider",
        /// What that provider wants to know.
        provider_options: Map = "providerOptions",
    }
}

object! {
    /// Sends us a payload and waits for the reply: an NCCO replaces the flow.
    Notify {
        /// Any object. Required.
        payload: Private<Map> = "payload",
        /// Where it goes. Required.
        event_url: Urls = "eventUrl",
        /// How; `POST`.
        event_method: Method = "eventMethod",
    }
}

object! {
    /// Does nothing for a while.
    Wait {
        /// 0.1 to 7200 s, clamped: 10.
        timeout: Num = "timeout",
    }
}

object! {
    /// Moves all legs into a conversation that exists; its NCCO governs from then on,
    /// and nothing after this action runs. Not the REST command of the same name.
    Transfer {
        /// `CON-…`. Required.
        conversation_id: String = "conversationId",
        /// Whether the legs are silent.
        mute: bool = "mute",
        /// Legs that may hear them: absent is all, `[]` is none.
        can_speak: Vec<String> = "canSpeak",
        /// Legs that they hear: absent is all, `[]` is none.
        can_hear: Vec<String> = "canHear",
    }
}

object! {
    /// Took a payment by keypad. Withdrawn; read so that old documents are kept whole.
    Pay {
        /// How much.
        amount: Num = "amount",
        /// ISO 4217 code.
        currency: String = "currency",
        /// Where the result goes.
        event_url: Urls = "eventUrl",
        /// Prompts, voice and the rest, as they came.
        prompts: serde_json::Value = "prompts",
        /// The voice of the prompts, as it came.
        voice: serde_json::Value = "voice",
    }
}
