//! A call script: who calls whom, what each party says, presses and does. TOML.
//!
//! ```
//! use sidetone::simulator::script::Script;
//!
//! let script = Script::parse(r#"
//! [[call]]
//! from = "447700900000"
//! to = "442079460000"
//! caller = { wav = "call.wav", channel = 1, dtmf = [{ at_ms = 9000, digits = "12#" }] }
//!
//! [[party]]
//! match = { phone = "*" }
//! wav = "call.wav"
//! audio_offset = "call"
//! "#, "call.toml")?;
//! assert_eq!(script.calls.len(), 1);
//! # Ok::<(), sidetone::simulator::script::ScriptError>(())
//! ```

use std::path::PathBuf;

use serde::Deserialize;

use crate::types::Private;

/// Most calls of a script.
pub const CALLS_MAX: usize = 10_000;
/// Most parties of a script.
pub const PARTIES_MAX: usize = 1_000;
/// Most key presses, and most texts, of one party.
pub const ACTS_MAX: usize = 1_000;
/// Latest time in a script: one day.
pub const TIME_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// Between two repetitions of a script, in ms.
pub const REPEAT_MS: u64 = 1_000;
/// Matches any address of its kind.
pub const ANY: &str = "*";

/// A whole script.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Seed of everything that is left to chance; the command line's wins.
    pub seed: Option<u64>,
    /// The calls that come in. At least one.
    #[serde(rename = "call", default)]
    pub calls: Vec<Call>,
    /// Who answers when the application calls or connects somebody; the first that
    /// matches. Nobody there is `failed`, `cannot_route`.
    #[serde(rename = "party", default)]
    pub parties: Vec<Party>,
}

/// A call that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// When, in ms since the script began: 0.
    #[serde(default)]
    pub at_ms: u64,
    /// The caller's number: 7 to 15 digits.
    pub from: Private<String>,
    /// The number dialled, which is the application's: 7 to 15 digits.
    pub to: Private<String>,
    /// What the caller does.
    #[serde(default)]
    pub caller: Person,
}

/// What a person says, presses and does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// WAV file of the voice, 8, 16 or 24 kHz; relative to the script. None is silence.
    pub wav: Option<PathBuf>,
    /// Channel of that file, from 0.
    #[serde(default)]
    pub channel: usize,
    /// When the voice begins.
    #[serde(default)]
    pub audio_offset: AudioOffset,
    /// Keys that are pressed.
    #[serde(default)]
    pub dtmf: Vec<Keys>,
    /// What speech recognition makes of it: a text for each `input`, in order. None
    /// left is `start_timeout`.
    #[serde(default)]
    pub speech: Vec<Private<String>>,
    /// When the receiver goes down, in ms after the answer. A caller without it hangs
    /// up when audio and talk are over; anybody else when left alone.
    pub hangup_at_ms: Option<u64>,
}

/// When a voice begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioOffset {
    /// When its leg is answered.
    #[default]
    Answer,
    /// It is where the caller's is, so that both halves of a recording stay in step.
    Call,
    /// When somebody is there to talk to; after a while in any case.
    Joined,
    /// When a socket hears it; after a while in any case.
    Heard,
}

/// Keys pressed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// When, in ms after the answer.
    pub at_ms: u64,
    /// `0-9*#`.
    pub digits: Private<String>,
}

/// Somebody who can be called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "PartyLine")]
pub struct Party {
    /// Who this is.
    pub address: Address,
    /// How long it rings, in ms: 500.
    pub answer_after_ms: u64,
    /// The line is busy.
    pub busy: bool,
    /// The call is declined.
    pub reject: bool,
    /// It rings until the caller gives up.
    pub no_answer: bool,
    /// The network cannot reach it.
    pub unreachable: bool,
    /// A machine answers.
    pub machine: bool,
    /// What it says and does.
    pub person: Person,
}

/// A party as the file has it: all keys on one level, none unknown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyLine {
    r#match: Address,
    #[serde(default = "half_a_second")]
    answer_after_ms: u64,
    #[serde(default)]
    busy: bool,
    #[serde(default)]
    reject: bool,
    #[serde(default)]
    no_answer: bool,
    #[serde(default)]
    unreachable: bool,
    #[serde(default)]
    machine: bool,
    wav: Option<PathBuf>,
    #[serde(default)]
    channel: usize,
    #[serde(default)]
    audio_offset: AudioOffset,
    #[serde(default)]
    dtmf: Vec<Keys>,
    #[serde(default)]
    speech: Vec<Private<String>>,
    hangup_at_ms: Option<u64>,
}

fn half_a_second() -> u64 {
    500
}

impl From<PartyLine> for Party {
    fn from(line: PartyLine) -> Self {
        let PartyLine { wav, channel, audio_offset, dtmf, speech, hangup_at_ms, .. } = line;
        Self {
            address: line.r#match,
            answer_after_ms: line.answer_after_ms,
            busy: line.busy,
            reject: line.reject,
            no_answer: line.no_answer,
            unreachable: line.unreachable,
            machine: line.machine,
            person: Person { wav, channel, audio_offset, dtmf, speech, hangup_at_ms },
        }
    }
}

/// Who a party is: an address of one kind, [`ANY`] for all of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// A telephone number.
    Phone(Private<String>),
    /// A SIP address.
    Sip(Private<String>),
    /// A user of the Client SDK.
    App(Private<String>),
    /// An extension.
    Vbc(Private<String>),
}

impl Address {
    fn parts(&self) -> (u8, &str) {
        match self {
            Self::Phone(address) => (0, &address.0),
            Self::Sip(address) => (1, &address.0),
            Self::App(address) => (2, &address.0),
            Self::Vbc(address) => (3, &address.0),
        }
    }

    /// Whether this matches an address that is called.
    #[must_use]
    pub fn matches(&self, called: &Self) -> bool {
        let ((kind, ours), (called_kind, called)) = (self.parts(), called.parts());
        kind == called_kind && (ours == ANY || ours == called)
    }
}

/// What is wrong with a script: a line for each thing, with key, value and expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ScriptError(pub Vec<String>);

impl Script {
    /// Reads and checks a script; `name` is what errors call it.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub fn parse(text: &str, name: &str) -> Result<Self, ScriptError> {
        let whole = |problem: String| ScriptError(vec![format!("{name}: {}", problem.trim_end())]);
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| whole(error.to_string()))?;
        let script: Self = serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            // The reader's further lines name the place once more.
            let problem = error.into_inner().to_string();
            whole(format!("{key}: {}", problem.trim().lines().next().unwrap_or_default()))
        })?;
        let problems = script.problems();
        if problems.is_empty() {
            Ok(script)
        } else {
            Err(ScriptError(problems.into_iter().map(|problem| format!("{name}: {problem}")).collect()))
        }
    }

    /// Makes the script's calls so many times, [`REPEAT_MS`] apart, each time from numbers
    /// one higher.
    ///
    /// # Errors
    /// What is wrong with `times`.
    pub fn repeat(&mut self, times: usize) -> Result<(), String> {
        let most = CALLS_MAX / self.calls.len().max(1);
        if !(1..=most).contains(&times) {
            return Err(format!("calls is {times}; expected 1 to {most} with this script"));
        }
        let first = self.calls.clone();
        for n in 1..times as u64 {
            self.calls.extend(first.iter().cloned().map(|mut call| {
                call.at_ms += n * REPEAT_MS;
                let (digits, number) = (call.from.0.len(), call.from.0.parse::<u64>().unwrap_or_default() + n);
                call.from = Private(format!("{number:0digits$}"));
                call
            }));
        }
        Ok(())
    }

    /// Everything that breaks a rule, each as `key is value; expected …`.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.calls.is_empty() || self.calls.len() > CALLS_MAX {
            found.push(format!("[[call]] is there {} times; expected 1 to {CALLS_MAX}", self.calls.len()));
        }
        if self.parties.len() > PARTIES_MAX {
            found.push(format!("[[party]] is there {} times; expected at most {PARTIES_MAX}", self.parties.len()));
        }
        for (n, call) in self.calls.iter().enumerate() {
            time(&mut found, &format!("call[{n}].at_ms"), Some(call.at_ms));
            number(&mut found, &format!("call[{n}].from"), &call.from.0);
            number(&mut found, &format!("call[{n}].to"), &call.to.0);
            person(&mut found, &format!("call[{n}].caller"), &call.caller);
        }
        for (n, party) in self.parties.iter().enumerate() {
            let place = format!("party[{n}]");
            if party.address.parts().1.is_empty() {
                found.push(format!("{place}.match is empty; expected an address, or \"{ANY}\" for any"));
            }
            let fates = [party.busy, party.reject, party.no_answer, party.unreachable, party.machine];
            if fates.iter().filter(|fate| **fate).count() > 1 {
                found.push(format!(
                    "{place} has more than one fate; expected at most one of busy, reject, no_answer, unreachable, machine"
                ));
            }
            time(&mut found, &format!("{place}.answer_after_ms"), Some(party.answer_after_ms));
            person(&mut found, &place, &party.person);
        }
        found
    }
}

fn time(found: &mut Vec<String>, key: &str, ms: Option<u64>) {
    if let Some(ms) = ms.filter(|ms| *ms > TIME_MAX_MS) {
        found.push(format!("{key} is {ms}; expected at most {TIME_MAX_MS}"));
    }
}

fn number(found: &mut Vec<String>, key: &str, number: &str) {
    if !(7..=15).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
        found.push(format!("{key} is {number:?}; expected 7 to 15 digits, without a +"));
    }
}

fn person(found: &mut Vec<String>, place: &str, person: &Person) {
    if person.dtmf.len() > ACTS_MAX || person.speech.len() > ACTS_MAX {
        found.push(format!("{place}: dtmf and speech have more than {ACTS_MAX} elements; expected fewer"));
    }
    for (n, keys) in person.dtmf.iter().enumerate() {
        time(found, &format!("{place}.dtmf[{n}].at_ms"), Some(keys.at_ms));
        let digits = &keys.digits.0;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b)) {
            found.push(format!("{place}.dtmf[{n}].digits is {digits:?}; expected one or more of 0-9 * #"));
        }
    }
    time(found, &format!("{place}.hangup_at_ms"), person.hangup_at_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "[[call]]\nfrom = \"447700900000\"\nto = \"442079460000\"\n";

    #[test]
    fn everything_in_a_script() {
        let text = r##"
            seed = 7
            [[call]]
            at_ms = 100
            from = "447700900000"
            to = "442079460000"
            caller = { wav = "call.wav", channel = 1, dtmf = [{ at_ms = 9000, digits = "12#" }], hangup_at_ms = 60000, speech = ["pay a bill"] }
            [[party]]
            match = { phone = "447700900111" }
            wav = "call.wav"
            audio_offset = "call"
            answer_after_ms = 900
            [[party]]
            match = { sip = "*" }
            busy = true
        "##;
        let script = Script::parse(text, "x").unwrap();
        assert_eq!((script.seed, script.calls[0].at_ms, script.calls[0].caller.channel), (Some(7), 100, 1));
        let [agent, sip] = &script.parties[..] else { panic!("{script:?}") };
        assert_eq!((agent.answer_after_ms, sip.answer_after_ms), (900, 500));
        assert_eq!(agent.person.audio_offset, AudioOffset::Call);
        assert!(agent.address.matches(&Address::Phone(Private("447700900111".into()))));
        assert!(!agent.address.matches(&Address::Phone(Private("447700900112".into()))));
        assert!(sip.address.matches(&Address::Sip(Private("sip:a@b".into()))) && sip.busy);
        assert!(!sip.address.matches(&Address::App(Private("sip:a@b".into()))), "another kind");
        assert!(!format!("{script:?}").contains("4477009"), "a number in Debug");
    }

    #[test]
    fn repetitions_come_a_second_apart_from_other_numbers() {
        let mut script = Script::parse(CALL, "x").unwrap();
        script.repeat(3).unwrap();
        let calls: Vec<_> = script.calls.iter().map(|call| (call.at_ms, call.from.0.as_str())).collect();
        assert_eq!(calls, [(0, "447700900000"), (1_000, "447700900001"), (2_000, "447700900002")]);
        assert_eq!(script.problems(), [] as [String; 0]);
        assert_eq!(script.repeat(5_000).unwrap_err(), "calls is 5000; expected 1 to 3333 with this script");
    }

    #[test]
    fn errors_name_key_value_and_expectation() {
        for (text, expected) in [
            ("", "x: [[call]] is there 0 times; expected 1 to 10000"),
            ("[[call]]\nto = \"442079460000\"", "x: call[0]: missing field `from`"),
            ("[[call]]\nfrom = 5\nto = \"1\"", "x: call[0].from: invalid type: integer `5`, expected a string"),
            (
                "[[call]]\nfrom = \"+447700900000\"\nto = \"442079460000\"",
                "x: call[0].from is \"+447700900000\"; expected 7 to 15 digits, without a +",
            ),
            (
                &format!("{CALL}caller = {{ dtmf = [{{ at_ms = 1, digits = \"1p\" }}] }}"),
                "x: call[0].caller.dtmf[0].digits is \"1p\"; expected one or more of 0-9 * #",
            ),
            (&format!("{CALL}caller = {{ vaw = \"a\" }}"), "x: call[0].caller.vaw: unknown field `vaw`"),
            (
                &format!("{CALL}[[party]]\nmatch = {{ phone = \"*\" }}\naudio_offset = \"later\""),
                "x: party[0].audio_offset: unknown variant `later`, expected one of `answer`, `call`, `joined`",
            ),
            (&format!("{CALL}[[party]]\nmatch = {{ fax = \"*\" }}"), "x: party[0].match: unknown variant `fax`"),
            (
                &format!("{CALL}[[party]]\nmatch = {{ phone = \"*\" }}\nbuzy = true"),
                "x: party[0].buzy: unknown field `buzy`",
            ),
            (&format!("{CALL}[[party]]\nwav = \"a\""), "x: party[0]: missing field `match`"),
            (
                &format!("{CALL}[[party]]\nmatch = {{ phone = \"*\" }}\nbusy = true\nmachine = true"),
                "x: party[0] has more than one fate; expected at most one of busy, reject",
            ),
            (
                &format!("{CALL}[[party]]\nmatch = {{ phone = \"*\" }}\nhangup_at_ms = 86400001"),
                "x: party[0].hangup_at_ms is 86400001; expected at most 86400000",
            ),
            ("[[call]", "x: TOML parse error"),
        ] {
            let error = Script::parse(text, "x").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?} gave\n{error}\nexpected\n{expected}");
        }
    }
}
