//! What goes over the Voice REST API, and what comes back.
//!
//! Source: `vonage-voice.md` section 5. Keys are snake_case here, unlike an NCCO's.
//! Answers are read like webhooks: what is unknown is kept.

use serde_json::Value;

use super::ncco::{AdvancedMachineDetection, DetectionBehavior, Endpoint, Method, Ncco};
use super::shape::{object, words};
use super::webhook::{Direction, Status};
use super::wire::{Map, Num, Text, Urls, Wire};
use crate::types::Private;

/// Calls that may be made in a second, `connect` actions included; more gets 429.
pub const CALLS_PER_SECOND: u32 = 3;
/// Other requests that may be made in a second; more gets 429.
pub const REQUESTS_PER_SECOND: u32 = 15;
/// Where a call is created when nothing else is configured.
pub const DEFAULT_BASE: &str = "https://api.nexmo.com";
/// Most calls on one page of a list.
pub const PAGE_SIZE_MAX: u32 = 100;

/// Regions by name, and their REST bases. A call lives in one; elsewhere it is 404.
pub const REGIONS: [(&str, &str); 6] = [
    ("na-east", "https://api-us-3.vonage.com"),
    ("na-west", "https://api-us-4.vonage.com"),
    ("eu-west", "https://api-eu-3.vonage.com"),
    ("eu-east", "https://api-eu-4.vonage.com"),
    ("apac-sng", "https://api-ap-3.vonage.com"),
    ("apac-australia", "https://api-ap-4.vonage.com"),
];

/// Domains that our application's token may be sent to.
const TRUSTED_DOMAINS: [&str; 2] = ["vonage.com", "nexmo.com"];

/// Whether a URL is `https` at Vonage, on the usual port and without a user: a URL out
/// of a webhook must be before a token is sent there.
#[must_use]
pub fn is_vonage_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let in_domain =
        |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        && TRUSTED_DOMAINS.iter().any(in_domain)
}

/// The REST base of a `region_url`, without a slash at the end, where it is one of
/// Vonage's.
#[must_use]
pub fn trusted_base(region_url: &str) -> Option<&str> {
    let base = region_url.strip_suffix('/').unwrap_or(region_url);
    (is_vonage_url(base) && !base["https://".len()..].contains(['/', '?', '#'])).then_some(base)
}

object! {
    /// `POST /v1/calls`.
    CreateCall {
        /// Exactly one. Required.
        to: Vec<Endpoint> = "to",
        /// Who calls; not with `random_from_number`.
        from: Party = "from",
        /// Take one of the application's numbers.
        random_from_number: bool = "random_from_number",
        /// What to do on answer; not with `answer_url`.
        ncco: Ncco = "ncco",
        /// Where to ask what to do on answer.
        answer_url: Urls = "answer_url",
        /// How; `GET`.
        answer_method: Method = "answer_method",
        /// Where the call's events go; the application's URL.
        event_url: Urls = "event_url",
        /// How; `POST`.
        event_method: Method = "event_method",
        /// Tell us, or hang up, when a machine answers.
        machine_detection: DetectionBehavior = "machine_detection",
        /// The finer form.
        advanced_machine_detection: AdvancedMachineDetection = "advanced_machine_detection",
        /// Longest call: 7200 s, once the most; SDKs of 2026 allow 86400.
        length_timer: Num = "length_timer",
        /// Ring for 1 to 120 s; 60.
        ringing_timer: Num = "ringing_timer",
    }
}

object! {
    /// One side of a call: `{"type": "phone", "number": "…"}`, or what else it is.
    Party {
        /// `phone` and the other kinds of endpoint.
        kind: String = "type",
        /// Number: E.164 without `+`.
        number: Private<Text> = "number",
        /// App user.
        user: Private<String> = "user",
        /// Address of a SIP or websocket side.
        uri: Private<String> = "uri",
    }
}

object! {
    /// The answer to [`CreateCall`], 201.
    CallCreated {
        /// The new leg.
        uuid: String = "uuid",
        /// `started`.
        status: Status = "status",
        /// `outbound`.
        direction: Direction = "direction",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
    }
}

object! {
    /// `GET /v1/calls/{uuid}`.
    Call {
        /// The leg.
        uuid: String = "uuid",
        /// Its conversation.
        conversation_uuid: String = "conversation_uuid",
        /// The called side.
        to: Party = "to",
        /// The calling side.
        from: Party = "from",
        /// The state.
        status: Status = "status",
        /// Who called whom.
        direction: Direction = "direction",
        /// EUR a minute.
        rate: Num = "rate",
        /// EUR.
        price: Num = "price",
        /// s.
        duration: Num = "duration",
        /// When talk began.
        start_time: String = "start_time",
        /// When it ended.
        end_time: String = "end_time",
        /// The carrier.
        network: Text = "network",
        /// Links, as they came.
        links: Value = "_links",
    }
}

object! {
    /// `GET /v1/calls`: one page.
    CallPage {
        /// Calls in all.
        count: Num = "count",
        /// Calls on a page.
        page_size: Num = "page_size",
        /// Number of the first one here.
        record_index: Num = "record_index",
        /// Links, as they came.
        links: Value = "_links",
        /// The calls.
        embedded: Calls = "_embedded",
    }
}

object! {
    /// The calls of a page.
    Calls {
        /// The calls.
        calls: Vec<Call> = "calls",
    }
}

/// What to ask of `GET /v1/calls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListCalls {
    /// Only calls in this state.
    pub status: Option<Status>,
    /// Only calls since, RFC 3339.
    pub date_start: Option<String>,
    /// Only calls until, RFC 3339.
    pub date_end: Option<String>,
    /// 1 to [`PAGE_SIZE_MAX`]; 10.
    pub page_size: Option<u32>,
    /// Skip so many; 0.
    pub record_index: Option<u64>,
    /// Newest first, where true.
    pub descending: Option<bool>,
    /// Only calls of this conversation.
    pub conversation_uuid: Option<String>,
}

impl ListCalls {
    /// The query, not yet escaped.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("status", self.status.as_ref().map(|status| status.as_str().to_owned())),
            ("date_start", self.date_start.clone()),
            ("date_end", self.date_end.clone()),
            ("page_size", self.page_size.map(|n| n.clamp(1, PAGE_SIZE_MAX).to_string())),
            ("record_index", self.record_index.map(|n| n.to_string())),
            ("order", self.descending.map(|descending| if descending { "desc" } else { "asc" }.to_owned())),
            ("conversation_uuid", self.conversation_uuid.clone()),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

words! {
    /// What to do to a call in progress.
    CallCommand {
        /// End it. Within about 2 s of creation this gets 400: try again.
        Hangup = "hangup",
        /// Others do not hear the leg.
        Mute = "mute",
        /// They hear it again.
        Unmute = "unmute",
        /// The leg does not hear others.
        Earmuff = "earmuff",
        /// It hears them again.
        Unearmuff = "unearmuff",
        /// Give it another NCCO.
        Transfer = "transfer",
    }
}

object! {
    /// `PUT /v1/calls/{uuid}`, answered by 204.
    ModifyCall {
        /// What to do.
        action: CallCommand = "action",
        /// With `transfer`: where to.
        destination: Destination = "destination",
    }
}

object! {
    /// Where a transferred call goes on.
    Destination {
        /// `ncco`.
        kind: String = "type",
        /// URL of an NCCO.
        url: Urls = "url",
        /// The NCCO itself.
        ncco: Ncco = "ncco",
    }
}

impl ModifyCall {
    /// A command without more to it.
    #[must_use]
    pub fn command(action: CallCommand) -> Self {
        Self { action: action.into(), ..Default::default() }
    }

    /// Goes on with this NCCO.
    #[must_use]
    pub fn transfer(ncco: Ncco) -> Self {
        let destination = Destination { kind: "ncco".into(), ncco: ncco.into(), ..Default::default() };
        Self { destination: destination.into(), ..Self::command(CallCommand::Transfer) }
    }

    /// Goes on with the NCCO at this URL.
    #[must_use]
    pub fn transfer_to(url: &str) -> Self {
        let destination = Destination { kind: "ncco".into(), url: url.into(), ..Default::default() };
        Self { destination: destination.into(), ..Self::command(CallCommand::Transfer) }
    }
}

object! {
    /// `PUT /v1/calls/{uuid}/stream`: plays a file into the call.
    StreamIntoCall {
        /// The file. Required.
        stream_url: Urls = "stream_url",
        /// How often: 1; 0 for ever.
        repeat: Num = "loop",
        /// Loudness, -1 to 1, written as a string: `"0"`.
        level: Num = "level",
    }
}

object! {
    /// `PUT /v1/calls/{uuid}/talk`: says a text into the call.
    TalkIntoCall {
        /// The text. Required.
        text: String = "text",
        /// BCP 47 tag: `en-US`.
        language: String = "language",
        /// Number of the voice in that language: 0.
        style: Num = "style",
        /// The better voice; `false`.
        premium: bool = "premium",
        /// How often: 1; 0 for ever.
        repeat: Num = "loop",
        /// Loudness, -1 to 1, written as a string: `"0"`.
        level: Num = "level",
    }
}

object! {
    /// `PUT /v1/calls/{uuid}/dtmf`: presses keys.
    SendDtmf {
        /// `0-9*#`, and `p` for a pause of 500 ms. Required.
        digits: Private<String> = "digits",
    }
}

object! {
    /// `PUT /v1/calls/{uuid}/input/dtmf`: one webhook for each key from now on.
    SubscribeDtmf {
        /// Where. Required.
        event_url: Urls = "event_url",
    }
}

object! {
    /// The answer to stream, talk and DTMF, 200.
    Done {
        /// "Talk started" and the like.
        message: String = "message",
        /// The leg.
        uuid: String = "uuid",
    }
}

object! {
    /// `POST /v1/legs/{uuid}/recording`. Seen in samples only.
    StartRecording {
        /// Give each side its own channel.
        split: bool = "split",
        /// Send it while it is made.
        streamed: bool = "streamed",
        /// Let anyone with the URL have it.
        public: bool = "public",
        /// How long the URL is good.
        validity_time: Num = "validity_time",
        /// `mp3`, `wav`, `ogg`.
        format: String = "format",
        /// Have it transcribed.
        transcription: Map = "transcription",
    }
}

object! {
    /// An error, in either shape: `{"type", "error_title"}`, or RFC 7807.
    ApiError {
        /// A code, or a URL that tells more.
        kind: String = "type",
        /// First shape: what is wrong.
        error_title: String = "error_title",
        /// Second shape: what is wrong.
        title: String = "title",
        /// Second shape: what is wrong with this request.
        detail: String = "detail",
        /// Second shape: id of this occurrence.
        instance: String = "instance",
        /// Second shape: names and reasons, as they came.
        invalid_parameters: Value = "invalid_parameters",
    }
}

impl ApiError {
    /// Reads an error's body; what is no JSON object becomes an empty error.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).ok().and_then(|value| Self::from_wire(value).ok()).unwrap_or_default()
    }

    /// What is wrong, for a log line: title and detail, or the code. Cut to 200
    /// characters; control characters are left out.
    #[must_use]
    pub fn summary(&self) -> String {
        let title = self.title.get().or_else(|| self.error_title.get());
        let parts = [title, self.detail.get()];
        let mut parts: Vec<_> =
            parts.into_iter().flatten().filter(|part| !part.is_empty()).map(String::as_str).collect();
        if parts.is_empty() {
            parts.push(self.kind.get().map_or("no reason given", String::as_str));
        }
        parts.join(": ").chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ncco::{Talk, WebsocketLeg};
    use super::*;
    use crate::types::Rate;

    #[test]
    fn a_socket_leg_is_created_as_the_reference_shows() {
        let leg = WebsocketLeg {
            uri: Private("wss://gw.example/media?peer=U1".into()),
            rate: Rate::Hz16000,
            headers: Private(Map::new()),
            authorization: None,
        };
        let call = CreateCall {
            to: vec![leg.endpoint()].into(),
            from: Party { kind: "phone".into(), number: "12995550101".into(), ..Default::default() }.into(),
            answer_url: "https://app.example/ws_answer?peer=U1".into(),
            answer_method: Method::Get.into(),
            event_url: "https://app.example/ws_event?peer=U1".into(),
            event_method: Method::Post.into(),
            ..Default::default()
        };
        let expected = json!({"to": [{"type": "websocket", "uri": "wss://gw.example/media?peer=U1",
                "content-type": "audio/l16;rate=16000", "headers": {}}],
            "from": {"type": "phone", "number": "12995550101"},
            "answer_url": ["https://app.example/ws_answer?peer=U1"], "answer_method": "GET",
            "event_url": ["https://app.example/ws_event?peer=U1"], "event_method": "POST"});
        assert_eq!(serde_json::to_value(&call).unwrap(), expected);
        assert_eq!(serde_json::from_value::<CreateCall>(expected).unwrap(), call);
    }

    #[test]
    fn commands() {
        assert_eq!(
            serde_json::to_value(ModifyCall::command(CallCommand::Earmuff)).unwrap(),
            json!({"action": "earmuff"})
        );
        assert_eq!(
            serde_json::to_value(ModifyCall::transfer_to("https://a.example/n")).unwrap(),
            json!({"action": "transfer", "destination": {"type": "ncco", "url": ["https://a.example/n"]}})
        );
        assert_eq!(
            serde_json::to_value(ModifyCall::transfer(Ncco(vec![Talk::say("Hi").into()]))).unwrap(),
            json!({"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "talk", "text": "Hi"}]}})
        );
    }

    #[test]
    fn answers_are_read_without_loss() {
        let call = json!({"uuid": "63f6", "to": {"type": "phone", "number": "447700900000"}, "from": {"type": "app", "user": "k"},
            "status": "completed", "direction": "outbound", "rate": "0.39", "price": "", "duration": null, "network": 65512,
            "start_time": "2020-01-01 12:00:00", "_links": {"self": {"href": "/calls/63f6"}}, "new": 1});
        let page =
            json!({"count": 3, "page_size": 1, "record_index": "1", "_links": {}, "_embedded": {"calls": [call]}});
        let read: CallPage = serde_json::from_value(page.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), page);
        let calls = read.embedded.get().and_then(|all| all.calls.get()).unwrap();
        assert_eq!(
            (calls[0].rate.get().and_then(Num::as_f64), calls[0].status.get()),
            (Some(0.39), Some(&Status::Completed))
        );
        let created =
            json!({"uuid": "63f6", "status": "started", "direction": "outbound", "conversation_uuid": "CON-1"});
        assert_eq!(
            serde_json::to_value(serde_json::from_value::<CallCreated>(created.clone()).unwrap()).unwrap(),
            created
        );
    }

    #[test]
    fn lists() {
        assert!(ListCalls::default().query().is_empty());
        let list = ListCalls {
            status: Some(Status::Answered),
            page_size: Some(500),
            descending: Some(true),
            ..Default::default()
        };
        assert_eq!(
            list.query(),
            [("status", "answered".into()), ("page_size", "100".into()), ("order", "desc".into())]
        );
    }

    #[test]
    fn errors_in_each_shape() {
        for (body, summary) in [
            (r#"{"type":"BAD_REQUEST","error_title":"Bad Request"}"#, "Bad Request"),
            (r#"{"type":"https://a","title":"Not found","detail":"No call\n63f6"}"#, "Not found: No call63f6"),
            (r#"{"type":"UNAUTHORIZED"}"#, "UNAUTHORIZED"),
            ("<html>", "no reason given"),
            ("[]", "no reason given"),
        ] {
            assert_eq!(ApiError::parse(body.as_bytes()).summary(), summary, "{body}");
        }
    }

    #[test]
    fn tokens_go_to_vonage_only() {
        for (_, base) in REGIONS {
            assert_eq!(trusted_base(base), Some(base));
        }
        assert_eq!(trusted_base("https://api.nexmo.com/"), Some(DEFAULT_BASE));
        assert!(is_vonage_url("https://api.nexmo.com/v1/files/bbbb?x=1"));
        for url in [
            "http://api.nexmo.com/v1",
            "https://vonage.com.evil.example/",
            "https://evilvonage.com/",
            "https://evil.example/vonage.com",
            "https://api.vonage.com@evil.example/",
            "https://api.vonage.com:8443/",
            "https://evil.example\\.vonage.com/",
            "https://evil.example#.vonage.com",
            "https:///x",
            "",
        ] {
            assert!(!is_vonage_url(url), "{url}");
        }
        assert_eq!(trusted_base("https://api.nexmo.com/v1"), None);
    }
}
