//! The `input` action: listens for keys and speech.
//!
//! Source: `vonage-voice.md` sections 2 and 3.2. Keys beat speech. What speech is heard,
//! the script says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::flow::{Next, span};
use super::leg::LegId;
use super::{Exchange, events};
use crate::vonage::ncco::{Input, InputKind, InputMode, SpeechSettings, limits};
use crate::vonage::wire::Num;

/// Keys that wait for an `input` to take them.
const KEYS_WAITING: usize = 32;
/// Before a person says what the script has: this long, and the time to say it.
const THINKING: Duration = Duration::from_millis(800);
/// How fast it is said.
const SPEECH_CHARS: u32 = 15;
/// How sure the recogniser is.
const CONFIDENCE: &str = "0.94";

/// Keys that were pressed, and whether the wait for the next ended it.
struct Typed {
    digits: String,
    timed_out: bool,
}

impl Exchange {
    pub(super) async fn listen(&self, id: &LegId, input: &Input) -> Next {
        let hook = self.hook(id, &input.event_url, &input.event_method);
        if input.mode.get() == Some(&InputMode::Asynchronous) {
            self.of_mut(id, |leg| leg.keypad.each = Some(hook));
            return Next::On;
        }
        let wants = |kind| input.kind.get().is_some_and(|kinds| kinds.contains(&kind));
        let (keys_wanted, speech_wanted) = (wants(InputKind::Dtmf), wants(InputKind::Speech));
        let (key_in, mut keys) = mpsc::channel(KEYS_WAITING);
        let mut early = String::new();
        self.of_mut(id, |leg| {
            leg.keypad.listening = true;
            leg.keypad.input = keys_wanted.then_some(key_in);
            if keys_wanted {
                early.extend(leg.keypad.typed.drain(..));
            }
        });
        let (typed, speech) = match (keys_wanted, speech_wanted) {
            (true, false) => (Some(self.typed(&mut keys, early, input, false).await), json!({"results": []})),
            (true, true) => tokio::select! {
                biased;
                // Without a key the wait for keys does not end: the one for speech does.
                typed = self.typed(&mut keys, early, input, true) => {
                    (Some(typed), json!({"error": "Speech overridden by DTMF"}))
                }
                speech = self.spoken_to(id, input.speech.get()) => (None, speech),
            },
            (false, _) => (None, self.spoken_to(id, input.speech.get()).await),
        };
        self.of_mut(id, |leg| {
            leg.keypad.input = None;
            leg.keypad.listening = false;
        });
        let dtmf = match typed {
            Some(typed) if !typed.digits.is_empty() => json!({"digits": typed.digits, "timed_out": typed.timed_out}),
            typed => json!({"digits": null, "timed_out": typed.is_some()}),
        };
        self.asked(id, &hook, |leg, stamp| events::input(leg, dtmf, speech, stamp)).await
    }

    /// Collects keys. With `patient`, the clock runs only from the first key on.
    async fn typed(&self, keys: &mut mpsc::Receiver<char>, early: String, input: &Input, patient: bool) -> Typed {
        let settings = input.dtmf.get();
        let wait = settings.map_or(Duration::from_secs(3), |s| span(&s.time_out, 3.0, limits::DTMF_TIME_OUT));
        let most = settings.and_then(|s| s.max_digits.get()).and_then(Num::as_u64).unwrap_or(4);
        let hash_submits = settings.is_some_and(|s| s.submit_on_hash.get() == Some(&true));
        let mut early = early.chars();
        let mut digits = String::new();
        while (digits.len() as u64) < most {
            let key = match early.next() {
                Some(key) => Some(key),
                None if digits.is_empty() && patient => keys.recv().await,
                None => tokio::select! {
                    biased;
                    key = keys.recv() => key,
                    () = self.clock.sleep(wait) => None,
                },
            };
            match key {
                Some('#') if hash_submits => return Typed { digits, timed_out: false },
                Some(key) => digits.push(key),
                None => return Typed { digits, timed_out: true },
            }
        }
        Typed { digits, timed_out: false }
    }

    /// What speech recognition makes of the leg: the script's next text, else nothing in
    /// time.
    async fn spoken_to(&self, id: &LegId, settings: Option<&SpeechSettings>) -> Value {
        let default = SpeechSettings::default();
        let settings = settings.unwrap_or(&default);
        let wanted = settings.uuid.get().and_then(|legs| legs.first()).map(|leg| leg.as_str().into());
        let speaker = wanted.unwrap_or_else(|| Arc::clone(id));
        let mut text = None;
        self.of_mut(&speaker, |leg| text = leg.person().and_then(crate::simulator::person::Person::next_speech));
        let Some(text) = text else {
            self.clock.sleep(span(&settings.start_timeout, 10.0, limits::SPEECH_START)).await;
            return json!({"timeout_reason": "start_timeout", "results": []});
        };
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let silence = span(&settings.end_on_silence, 2.0, limits::SPEECH_SILENCE);
        let said = Duration::from_secs(1) * length / SPEECH_CHARS;
        let most = span(&settings.max_duration, 60.0, limits::SPEECH_DURATION);
        let (reason, takes) =
            if said > most { ("max_duration", most) } else { ("end_on_silence_timeout", said + silence) };
        self.clock.sleep(THINKING + takes).await;
        json!({"timeout_reason": reason, "results": [{"text": text, "confidence": CONFIDENCE}]})
    }
}
