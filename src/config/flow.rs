//! `[[flow]]`: what becomes of calls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::redaction::{KeysRule, PolicyRule};
use crate::control::{Flow, Hours, Listen, Pattern, Target};
use crate::types::{Private, RedactionTerms};
use crate::vonage::ncco::{App, Endpoint, Ncco, Phone, Severity, Sip, Talk, Vbc, validate};

/// Most flows.
const FLOWS_MAX: usize = 256;

/// `[[flow]]`: the first that applies to a call is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSection {
    /// Its name in events and for outbound calls.
    pub name: String,
    /// Numbers called that it is for: `442079460000`, `4420*`; none is all.
    pub called: Vec<String>,
    /// Numbers calling that it is for; none is all.
    pub caller: Vec<String>,
    /// When it applies: `mon-fri 09:00-17:30`; none is always.
    pub hours: Vec<String>,
    /// Time zone of the hours.
    pub time_zone: String,
    /// Said first.
    pub greeting: Option<String>,
    /// Said before anything is recorded or heard by us.
    pub consent: Option<String>,
    /// Language of what is said, such as `en-GB`; Vonage's default is `en-US`.
    pub language: Option<String>,
    /// Have Vonage record, each side on a channel of its own.
    pub record: bool,
    /// Where the caller is taken; without, the call ends after what is said.
    pub to: To,
    /// `separate`: a socket for each speaker; `mixed`: one for all; `off`.
    pub listen: ListenRule,
    /// How much is taken out of what is heard: `off`, `tags`, `strict`; as `[redaction]` says.
    pub redaction: Option<PolicyRule>,
    /// Keys that are published: `publish`, `choices`, `mask`; as `[redaction]` says.
    pub keys: Option<KeysRule>,
    /// Caller id of the legs that we make; the number called.
    pub from: Option<String>,
    /// How long the agent's leg rings, in s.
    pub ring_s: u32,
    /// Said to a caller whose agent is not reached, before the call ends.
    pub unreached: String,
    /// A file that the caller hears until the agent is there.
    pub hold_music: Option<String>,
}

/// `[flow.to]`: exactly one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct To {
    /// An agent's telephone: E.164 without `+`.
    pub phone: Option<String>,
    /// An agent's SIP address.
    pub sip: Option<String>,
    /// An agent as a user of the Client SDK.
    pub app: Option<String>,
    /// An agent's extension of Vonage Business Communications.
    pub vbc: Option<String>,
    /// A conversation of this name, which agents join by themselves.
    pub conversation: Option<String>,
    /// Our media socket and nobody else.
    pub socket: bool,
}

/// How a call is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenRule {
    /// A socket for each speaker.
    #[default]
    Separate,
    /// One for all.
    Mixed,
    /// Not at all.
    Off,
}

impl Default for FlowSection {
    fn default() -> Self {
        Self {
            name: String::new(),
            called: Vec::new(),
            caller: Vec::new(),
            hours: Vec::new(),
            time_zone: "UTC".to_owned(),
            greeting: None,
            consent: None,
            language: None,
            record: false,
            to: To::default(),
            listen: ListenRule::default(),
            redaction: None,
            keys: None,
            from: None,
            ring_s: 30,
            unreached: "We cannot take your call now. Please call again later.".to_owned(),
            hold_music: None,
        }
    }
}

/// A configuration without flows has this one: every call to our socket.
fn to_socket() -> FlowSection {
    FlowSection { name: "default".to_owned(), to: To { socket: true, ..To::default() }, ..FlowSection::default() }
}

/// The flows of a configuration.
///
/// # Errors
/// Everything wrong, as key and what was expected.
pub(super) fn flows(sections: &[FlowSection], has_api: bool) -> Result<Vec<Arc<Flow>>, Vec<(String, String)>> {
    if sections.is_empty() {
        return Ok(to_flow(&to_socket(), 0, has_api, &mut Vec::new()).into_iter().map(Arc::new).collect());
    }
    let mut problems = Vec::new();
    if sections.len() > FLOWS_MAX {
        problems.push(("flow".to_owned(), format!("is a list of {}; expected at most {FLOWS_MAX}", sections.len())));
    }
    let mut flows: Vec<Arc<Flow>> = Vec::new();
    for (n, section) in sections.iter().enumerate() {
        if flows.iter().any(|flow| *flow.name == *section.name) {
            problems
                .push((format!("flow[{n}].name"), format!("is {:?} again; expected a name of its own", section.name)));
        }
        flows.extend(to_flow(section, n, has_api, &mut problems).map(Arc::new));
    }
    if problems.is_empty() { Ok(flows) } else { Err(problems) }
}

fn to_flow(section: &FlowSection, n: usize, has_api: bool, problems: &mut Vec<(String, String)>) -> Option<Flow> {
    let before = problems.len();
    let mut wrong = |key: &str, what: String| problems.push((format!("flow[{n}].{key}"), what));
    let name_ok = !section.name.is_empty() && section.name.len() <= 64 && !section.name.chars().any(char::is_control);
    if !name_ok {
        wrong("name", format!("is {:?}; expected 1 to 64 characters", section.name));
    }
    let mut patterns = |key: &str, texts: &[String]| -> Vec<Pattern> {
        let read = texts.iter().filter_map(|text| Pattern::parse(text).map_err(|e| wrong(key, e.to_string())).ok());
        read.collect()
    };
    let (called, caller) = (patterns("called", &section.called), patterns("caller", &section.caller));
    let hours = Hours::parse(section.hours.iter().map(String::as_str), &section.time_zone);
    let hours = hours.map_err(|bad| wrong("hours", bad.to_string())).ok().filter(|_| !section.hours.is_empty());
    let target = match section.to.target() {
        Ok(target) => target,
        Err(expected) => {
            wrong("to", expected.to_owned());
            return None;
        }
    };
    if matches!(target, Target::Agent(_)) && !has_api {
        wrong("to", "needs the agent to be called; expected vonage.private_key to be set".to_owned());
    }
    if !(1..=120).contains(&section.ring_s) {
        wrong("ring_s", format!("is {}; expected 1 to 120", section.ring_s));
    }
    for (key, text) in [
        ("greeting", section.greeting.as_ref()),
        ("consent", section.consent.as_ref()),
        ("unreached", Some(&section.unreached)),
    ] {
        let talk = text.map(|text| Ncco(vec![Talk::say(text).into()]));
        let found = talk.iter().flat_map(validate).find(|problem| problem.severity == Severity::Error);
        if let Some(problem) = found {
            wrong(key, format!("cannot be said: {}", problem.rule));
        }
    }
    let music_ok =
        section.hold_music.as_ref().is_none_or(|url| url.starts_with("http://") || url.starts_with("https://"));
    if !music_ok {
        wrong("hold_music", "is no URL; expected http:// or https://".to_owned());
    }
    (problems.len() == before).then(|| Flow {
        name: section.name.as_str().into(),
        called,
        caller,
        hours,
        greeting: section.greeting.clone(),
        consent: section.consent.clone(),
        language: section.language.clone(),
        record: section.record,
        target,
        listen: match section.listen {
            ListenRule::Separate => Listen::Separate,
            ListenRule::Mixed => Listen::Mixed,
            ListenRule::Off => Listen::Off,
        },
        redaction: RedactionTerms {
            mode: section.redaction.map(PolicyRule::mode),
            keys: section.keys.map(KeysRule::rule),
        },
        from: section.from.clone(),
        ring_s: section.ring_s,
        unreached: section.unreached.clone(),
        hold_music: section.hold_music.clone(),
    })
}

impl To {
    fn target(&self) -> Result<Target, &'static str> {
        let agent = |endpoint: Endpoint| Target::Agent(Box::new(endpoint));
        let private = |text: &String| Private(text.clone());
        let phone = self
            .phone
            .as_ref()
            .map(|number| agent(Phone { number: number.trim_start_matches('+').into(), ..Default::default() }.into()));
        let all = [
            phone,
            self.sip.as_ref().map(|uri| agent(Sip { uri: private(uri).into(), ..Default::default() }.into())),
            self.app.as_ref().map(|user| agent(App { user: user.as_str().into(), ..Default::default() }.into())),
            self.vbc
                .as_ref()
                .map(|digits| agent(Vbc { extension: digits.as_str().into(), ..Default::default() }.into())),
            self.conversation.as_ref().map(|name| Target::Conversation(name.clone())),
            self.socket.then_some(Target::Socket),
        ];
        let mut given = all.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(target), None) => Ok(target),
            (None, _) => Ok(Target::Nobody),
            (Some(_), Some(_)) => {
                Err("names more than one place; expected one of phone, sip, app, vbc, conversation, socket")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str, has_api: bool) -> Vec<String> {
        #[derive(Deserialize)]
        struct Whole {
            flow: Vec<FlowSection>,
        }
        let whole: Whole = toml::from_str(toml).unwrap();
        let found = flows(&whole.flow, has_api).err().unwrap_or_default();
        found.into_iter().map(|(key, what)| format!("{key} {what}")).collect()
    }

    #[test]
    fn without_flows_every_call_goes_to_our_socket() {
        let flows = flows(&[], false).unwrap();
        assert_eq!((flows.len(), &flows[0].target), (1, &Target::Socket));
    }

    #[test]
    fn errors_name_the_flow_the_key_and_what_was_expected() {
        let good = "[[flow]]\nname = \"a\"\nhours = [\"mon 09:00-10:00\"]\n[flow.to]\nphone = \"+447700900111\"\n";
        assert_eq!(problems(good, true), [] as [&str; 0]);
        assert_eq!(
            problems(good, false),
            ["flow[0].to needs the agent to be called; expected vonage.private_key to be set"]
        );
        let two = "[[flow]]\nname = \"a\"\nto.phone = \"1\"\nto.socket = true\n[[flow]]\nname = \"b\"\nring_s = 0\ncalled = [\"4*4\"]\nhold_music = \"tune.mp3\"";
        let found = problems(two, true).join("\n");
        for part in [
            "flow[0].to names more than one place",
            "flow[1].ring_s is 0; expected 1 to 120",
            "flow[1].called \"4*4\"",
            "flow[1].hold_music",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
        assert!(problems("[[flow]]\nname = \"a\"\n[[flow]]\nname = \"a\"", true)[0].contains("a name of its own"));
        let long = format!("[[flow]]\nname = \"a\"\ngreeting = \"{}\"", "x".repeat(1_501));
        assert!(problems(&long, true)[0].starts_with("flow[0].greeting cannot be said"));
    }
}
