//! What we answer and ask for, written out: the NCCO of a flow, the legs that we make, and
//! the tag by which their webhooks are told apart.
//!
//! Source: `vonage-voice.md` sections 1.1 and 1.5 (sockets), 2 (actions) and 6 (one socket
//! for each speaker).

use std::time::Duration;

use form_urlencoded::{Serializer, parse};

use super::flow::{Flow, Listen, Target};
use super::role::Role;
use crate::types::{ConversationId, LegId, Private, Rate, RedactionTerms, Speaker, WallTime};
use crate::vonage::media_token::{MediaClaims, MediaKeys};
use crate::vonage::ncco::{
    Action, Connect, Conversation, Endpoint, Method, Ncco, Record, Talk, Transfer, WebsocketLeg,
};
use crate::vonage::rest_types::{CreateCall, Party};
use crate::vonage::wire::Map;

/// Path of the event webhook, below [`Settings::public_url`](super::Settings::public_url).
pub const EVENT_PATH: &str = "/v1/vonage/event";
/// Path of the media socket.
pub const MEDIA_PATH: &str = "/media";

/// Caller id of a listener's leg, which nobody sees.
const NOBODY: &str = "10000000000";

/// What a webhook URL of ours says about the leg whose webhooks go there.
///
/// It is only as trustworthy as the webhook's signature, which does not cover it: it may
/// say to which call a leg belongs, and never more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Our call.
    pub call: ConversationId,
    /// The leg's part in it.
    pub role: Role,
    /// Of a listener: whom it hears.
    pub hears: Option<LegId>,
}

impl Tag {
    /// The event URL with this tag.
    #[must_use]
    pub fn url(&self, public_url: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("call", self.call.as_str()).append_pair("role", self.role.as_str());
        if let Some(hears) = &self.hears {
            query.append_pair("hears", hears.as_str());
        }
        format!("{public_url}{EVENT_PATH}?{}", query.finish())
    }

    /// Reads the query of an event URL; none where it is not one of ours.
    #[must_use]
    pub fn read(query: &str) -> Option<Self> {
        let (mut call, mut role, mut hears) = (None, None, None);
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "call" => call = Some(ConversationId::parse(&value).ok()?),
                "role" => role = Some(Role::parse(&value)?),
                "hears" => hears = Some(LegId::parse(&value).ok()?),
                _ => {}
            }
        }
        Some(Self { call: call?, role: role?, hears })
    }
}

/// How our media sockets are reached and entered.
#[derive(Debug)]
pub struct MediaPass {
    /// `wss://host/media`.
    pub url: String,
    /// Rate asked for.
    pub rate: Rate,
    /// Signs a token for each socket.
    pub keys: MediaKeys,
    /// How long a token may wait until its socket is dialled.
    pub lifetime: Duration,
}

/// Whom a socket is to hear, for its token.
#[derive(Debug)]
pub(super) struct Heard<'a> {
    pub(super) call: &'a ConversationId,
    pub(super) speaker: Speaker,
    pub(super) participant: Option<LegId>,
    /// What its flow says of it.
    pub(super) redaction: RedactionTerms,
    /// Zero of the call clock.
    pub(super) epoch: WallTime,
}

impl MediaPass {
    /// A socket with a token of its own, good from `now`. `id` makes the token unique.
    fn socket(&self, heard: Heard<'_>, listen_only: bool, id: &str, now: WallTime) -> WebsocketLeg {
        let until = (now + self.lifetime).0.div_euclid(1_000_000);
        let claims = MediaClaims {
            conversation: heard.call.clone(),
            speaker: heard.speaker,
            participant: heard.participant,
            listen_only,
            redaction: heard.redaction,
            clock_epoch_ms: u64::try_from(heard.epoch.0.div_euclid(1_000)).unwrap_or(0),
            expires_s: u64::try_from(until).unwrap_or(0),
            id: id.to_owned(),
        };
        let mut headers = Map::new();
        headers.insert("conversation".to_owned(), claims.conversation.as_str().into());
        headers.insert("role".to_owned(), claims.speaker.as_str().into());
        WebsocketLeg {
            uri: Private(format!("{}?token={}", self.url, self.keys.sign(&claims))),
            rate: self.rate,
            headers: Private(headers),
            authorization: None,
        }
    }
}

/// Name of the conversation that a call's participants sit in.
pub(super) fn conversation_name(flow: Option<&Flow>, call: &ConversationId) -> String {
    match flow.map(|flow| &flow.target) {
        Some(Target::Conversation(name)) => name.clone(),
        _ => format!("sidetone-{call}"),
    }
}

/// What the first leg of a call is told. `socket_id` is used where the flow ends at a socket.
pub(super) fn opening(
    flow: &Flow,
    public_url: &str,
    pass: &MediaPass,
    heard: Heard<'_>,
    socket_id: &str,
    now: WallTime,
) -> Ncco {
    let call = heard.call.clone();
    let tag = |role| Tag { call: call.clone(), role, hears: None }.url(public_url);
    let mut actions = said(flow, [&flow.greeting, &flow.consent]);
    if flow.record {
        actions.push(Record::split(&tag(Role::Caller)).into());
    }
    match &flow.target {
        Target::Agent(_) | Target::Conversation(_) => {
            let to_agent = matches!(flow.target, Target::Agent(_));
            let mut conversation = Conversation {
                start_on_enter: true.into(),
                end_on_exit: to_agent.then_some(true).into(),
                ..Conversation::named(&conversation_name(Some(flow), &call))
            };
            if let Some(music) = &flow.hold_music {
                conversation.music_on_hold_url = music.as_str().into();
                conversation.start_on_enter = (!to_agent).into();
            }
            actions.push(conversation.into());
        }
        // Nothing may stand behind it: the flow goes on as soon as the socket is up.
        Target::Socket if flow.listen != Listen::Off => {
            actions.push(pass.socket(heard, false, socket_id, now).connect(&tag(Role::Listener)).into());
        }
        Target::Socket | Target::Nobody => {}
    }
    Ncco(actions)
}

/// The flow's texts, in its language.
fn said<'a>(flow: &Flow, texts: impl IntoIterator<Item = &'a Option<String>>) -> Vec<Action> {
    let talk = |text: &String| {
        let talk = Talk::say(text);
        flow.language.as_ref().map_or(talk.clone(), |tag| talk.language(tag)).into()
    };
    texts.into_iter().flatten().map(talk).collect()
}

/// What a caller is told whose agent or socket cannot be had.
pub(super) fn unreached(flow: &Flow) -> Ncco {
    Ncco(said(flow, [&Some(flow.unreached.clone())]))
}

/// The socket again, for a caller whose socket dropped.
pub(super) fn reconnect(public_url: &str, pass: &MediaPass, heard: Heard<'_>, socket_id: &str, now: WallTime) -> Ncco {
    let tag = Tag { call: heard.call.clone(), role: Role::Listener, hears: None };
    Ncco(vec![pass.socket(heard, false, socket_id, now).connect(&tag.url(public_url)).into()])
}

/// The agent's leg. `from` is its caller id.
pub(super) fn agent_leg(
    flow: &Flow,
    endpoint: &Endpoint,
    tag: &Tag,
    public_url: &str,
    from: Option<&str>,
) -> CreateCall {
    let conversation = Conversation {
        start_on_enter: true.into(),
        end_on_exit: true.into(),
        ..Conversation::named(&conversation_name(Some(flow), &tag.call))
    };
    let leg = leg(endpoint.clone(), tag, public_url, Ncco(vec![conversation.into()]), flow.from.as_deref().or(from));
    CreateCall { ringing_timer: crate::vonage::wire::Num::from(flow.ring_s).into(), ..leg }
}

/// A leg that the application asked for, which then goes through `opening`.
pub(super) fn outbound_leg(
    flow: &Flow,
    endpoint: &Endpoint,
    tag: &Tag,
    public_url: &str,
    opening: Ncco,
    from: Option<&str>,
) -> CreateCall {
    let leg = leg(endpoint.clone(), tag, public_url, opening, from.or(flow.from.as_deref()));
    CreateCall { ringing_timer: crate::vonage::wire::Num::from(flow.ring_s).into(), ..leg }
}

/// Where a socket listens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// In the conversation of this name.
    Named(&'a str),
    /// In the one of this id, which a participant was moved to.
    Elsewhere(&'a ConversationId),
}

/// A socket that hears one participant of a conversation, or everybody.
pub(super) fn listener_leg(
    place: Place<'_>,
    pass: &MediaPass,
    heard: Heard<'_>,
    tag: &Tag,
    public_url: &str,
    socket_id: &str,
    now: WallTime,
) -> CreateCall {
    let hears = heard.participant.as_ref().map(|participant| vec![participant.to_string()]);
    let enter: Action = match place {
        Place::Named(name) => Conversation {
            start_on_enter: true.into(),
            can_hear: hears.into(),
            ..Conversation::named(name).can_speak([] as [&str; 0])
        }
        .into(),
        Place::Elsewhere(id) => Transfer {
            conversation_id: id.as_str().into(),
            can_hear: hears.into(),
            can_speak: Vec::new().into(),
            ..Default::default()
        }
        .into(),
    };
    let socket = pass.socket(heard, true, socket_id, now).endpoint();
    leg(socket, tag, public_url, Ncco(vec![enter]), Some(NOBODY))
}

fn leg(to: Endpoint, tag: &Tag, public_url: &str, ncco: Ncco, from: Option<&str>) -> CreateCall {
    let from = from.map(|number| Party { kind: "phone".into(), number: number.into(), ..Default::default() });
    CreateCall {
        to: vec![to].into(),
        // Without a number of our own to show, Vonage takes one of the application's.
        random_from_number: from.is_none().then_some(true).into(),
        from: from.into(),
        ncco: ncco.into(),
        event_url: tag.url(public_url).as_str().into(),
        event_method: Method::Post.into(),
        ..Default::default()
    }
}

/// The NCCOs of a flow as they would be for nobody's call, each with its name: to hold
/// against Vonage's rules before a caller hears them.
#[must_use]
pub fn samples(flow: &Flow, pass: &MediaPass, public_url: &str, now: WallTime) -> Vec<(&'static str, Ncco)> {
    let nobody = "CON-00000000-0000-4000-8000-000000000000";
    // It is one; without it nothing could be made.
    let Ok(call) = ConversationId::parse(nobody) else { return Vec::new() };
    let heard =
        Heard { call: &call, speaker: Speaker::Caller, participant: None, redaction: flow.redaction, epoch: now };
    let mut nccos = vec![("opening", opening(flow, public_url, pass, heard, nobody, now))];
    if let Target::Agent(endpoint) = &flow.target {
        let tag = Tag { call: call.clone(), role: Role::Agent, hears: None };
        let leg = agent_leg(flow, endpoint, &tag, public_url, None);
        nccos.extend(leg.ncco.get().map(|ncco| ("the agent's leg", ncco.clone())));
        // An endpoint has its rules in a `connect` only; the leg's are the same.
        nccos.push(("to", Ncco(vec![Connect::to((**endpoint).clone()).into()])));
    }
    nccos.push(("unreached", unreached(flow)));
    nccos
}

/// What callers get while no gateway answers: the application's fallback URL may serve it
/// from anywhere. Uses nothing of ours: it says who could not be reached, and connects the
/// first agent that a flow names directly.
#[must_use]
pub fn fallback(flows: &[std::sync::Arc<Flow>]) -> Ncco {
    let with_agent = flows.iter().find_map(|flow| match &flow.target {
        Target::Agent(endpoint) => Some((flow, endpoint)),
        _ => None,
    });
    match (with_agent, flows.first()) {
        (Some((flow, endpoint)), _) => {
            let mut actions = said(flow, [&flow.greeting]);
            let connect = Connect {
                from: flow.from.as_deref().map(Into::into).unwrap_or_default(),
                ..Connect::to((**endpoint).clone())
            };
            actions.push(Connect { event_type: Default::default(), ..connect }.into());
            Ncco(actions)
        }
        (None, Some(flow)) => unreached(flow),
        (None, None) => Ncco(vec![Talk::say("We cannot take your call now. Please call again later.").into()]),
    }
}
