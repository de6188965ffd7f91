//! The shapes of requests: what must be there, what excludes what, and within which limits.
//!
//! Source: `vonage-voice.md` section 5. NCCOs and endpoints are held to the same rules as
//! in an answer. Keys that are not known are let through.

use std::ops::RangeInclusive;

use reqwest::Url;
use serde_json::Value;

use crate::vonage::ncco::{Connect, Endpoint, Ncco, Severity, validate};
use crate::vonage::rest_types::{
    CallCommand, CreateCall, Destination, ListCalls, ModifyCall, PAGE_SIZE_MAX, SendDtmf, StartRecording,
    StreamIntoCall, SubscribeDtmf, TalkIntoCall,
};
use crate::vonage::webhook::Status;
use crate::vonage::wire::{Field, Map, Num, Urls, Wire};

/// Longest call that can be asked for, in s: SDKs of 2026 send up to a day.
const LENGTH_S: RangeInclusive<f64> = 1.0..=86_400.0;
/// Ringing that can be asked for, in s.
const RINGING_S: RangeInclusive<f64> = 1.0..=120.0;
/// Loudness.
const LEVEL: RangeInclusive<f64> = -1.0..=1.0;
/// Repetitions; 0 is for ever.
const LOOPS: RangeInclusive<f64> = 0.0..=f64::MAX;
/// Digits of a number.
const NUMBER_DIGITS: RangeInclusive<usize> = 1..=15;
/// Longest text said, in characters.
const TEXT_CHARS: usize = 1500;
/// Keys pressed by one request.
const KEYS_MAX: usize = 200;

/// What is wrong with a request: names and reasons.
#[derive(Debug, Default)]
pub(super) struct Checked(pub(super) Vec<(String, String)>);

impl Checked {
    fn add(&mut self, name: &str, reason: impl Into<String>) {
        self.0.push((name.to_owned(), reason.into()));
    }

    fn done<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The field's value; one of another kind is wrong.
    fn typed<'a, T: Wire>(&mut self, name: &str, field: &'a Field<T>) -> Option<&'a T> {
        if field.odd().is_some() {
            self.add(name, format!("must be {}", T::expected()));
        }
        field.get()
    }

    fn required<'a, T: Wire>(&mut self, name: &str, field: &'a Field<T>) -> Option<&'a T> {
        if field.is_absent() {
            self.add(name, "is required");
        }
        self.typed(name, field)
    }

    /// Exactly one of two that exclude each other. Returns whether that is so.
    fn one_of(&mut self, names: [&str; 2], given: [bool; 2]) -> bool {
        match given {
            [true, true] => self.add(names[1], format!("excludes {}", names[0])),
            [false, false] => self.add(names[0], format!("is required, or {}", names[1])),
            _ => return true,
        }
        false
    }

    fn range(&mut self, name: &str, field: &Field<Num>, range: &RangeInclusive<f64>) {
        if let Some(number) = self.typed(name, field)
            && !number.as_f64().is_some_and(|number| range.contains(&number))
        {
            self.add(name, format!("must be from {} to {}", range.start(), range.end()));
        }
    }

    fn urls(&mut self, name: &str, urls: Option<&Urls>) {
        let Some(urls) = urls else { return };
        match urls.all() {
            [url] if is_http(url) => {}
            _ => self.add(name, "must be an array of one http:// or https:// URL"),
        }
    }

    fn ncco(&mut self, name: &str, ncco: Option<&Ncco>) {
        let Some(ncco) = ncco else { return };
        if ncco.0.is_empty() {
            self.add(name, "must have an action");
        }
        for problem in validate(ncco).into_iter().filter(|problem| problem.severity == Severity::Error) {
            self.add(&format!("{name}{}", problem.path), problem.rule);
        }
    }

    fn endpoint(&mut self, name: &str, endpoint: &Endpoint) {
        let ncco = Ncco(vec![Connect::to(endpoint.clone()).into()]);
        for problem in validate(&ncco).into_iter().filter(|problem| problem.severity == Severity::Error) {
            let path = problem.path.strip_prefix("[0].endpoint[0]").unwrap_or(&problem.path);
            self.add(&format!("{name}{path}"), problem.rule);
        }
    }
}

fn is_http(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

fn object(body: &[u8]) -> Result<Map, Checked> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Checked(vec![("body".to_owned(), "must be a JSON object".to_owned())])),
    }
}

/// `POST /v1/calls`.
pub(super) fn create(body: &[u8]) -> Result<CreateCall, Checked> {
    let call = CreateCall::from_map(object(body)?);
    let mut c = Checked::default();
    match c.required("to", &call.to).map(Vec::as_slice) {
        Some([endpoint]) => c.endpoint("to[0]", endpoint),
        Some(_) => c.add("to", "must hold exactly one endpoint"),
        None => {}
    }
    let random = c.typed("random_from_number", &call.random_from_number) == Some(&true);
    c.one_of(["from", "random_from_number"], [call.from.is_given(), random]);
    if let Some(from) = c.typed("from", &call.from)
        && from.kind.get().is_none_or(|kind| kind == "phone")
    {
        let number = c.required("from.number", &from.number).map(|number| number.0.text());
        if number.is_some_and(|n| !NUMBER_DIGITS.contains(&n.len()) || !n.bytes().all(|b| b.is_ascii_digit())) {
            c.add("from.number", "must be 1 to 15 digits");
        }
    }
    c.one_of(["ncco", "answer_url"], [call.ncco.is_given(), call.answer_url.is_given()]);
    let ncco = c.typed("ncco", &call.ncco);
    c.ncco("ncco", ncco);
    let urls = c.typed("answer_url", &call.answer_url);
    c.urls("answer_url", urls);
    let urls = c.typed("event_url", &call.event_url);
    c.urls("event_url", urls);
    c.typed("answer_method", &call.answer_method);
    c.typed("event_method", &call.event_method);
    if call.machine_detection.is_given() && call.advanced_machine_detection.is_given() {
        c.add("advanced_machine_detection", "excludes machine_detection");
    }
    c.typed("machine_detection", &call.machine_detection);
    c.typed("advanced_machine_detection", &call.advanced_machine_detection);
    c.range("length_timer", &call.length_timer, &LENGTH_S);
    c.range("ringing_timer", &call.ringing_timer, &RINGING_S);
    c.done(call)
}

/// `PUT /v1/calls/{uuid}`.
pub(super) fn modify(body: &[u8]) -> Result<ModifyCall, Checked> {
    let command = ModifyCall::from_map(object(body)?);
    let mut c = Checked::default();
    let action = c.required("action", &command.action).copied();
    if action == Some(CallCommand::Transfer)
        && let Some(to) = c.required("destination", &command.destination)
    {
        destination(&mut c, to);
    }
    c.done(command)
}

fn destination(c: &mut Checked, to: &Destination) {
    if c.required("destination.type", &to.kind).is_some_and(|kind| kind != "ncco") {
        c.add("destination.type", "must be ncco");
    }
    c.one_of(["destination.url", "destination.ncco"], [to.url.is_given(), to.ncco.is_given()]);
    let urls = c.typed("destination.url", &to.url);
    c.urls("destination.url", urls);
    let ncco = c.typed("destination.ncco", &to.ncco);
    c.ncco("destination.ncco", ncco);
}

/// `PUT /v1/calls/{uuid}/stream`.
pub(super) fn stream(body: &[u8]) -> Result<StreamIntoCall, Checked> {
    let stream = StreamIntoCall::from_map(object(body)?);
    let mut c = Checked::default();
    let urls = c.required("stream_url", &stream.stream_url);
    c.urls("stream_url", urls);
    c.range("loop", &stream.repeat, &LOOPS);
    c.range("level", &stream.level, &LEVEL);
    c.done(stream)
}

/// `PUT /v1/calls/{uuid}/talk`.
pub(super) fn talk(body: &[u8]) -> Result<TalkIntoCall, Checked> {
    let talk = TalkIntoCall::from_map(object(body)?);
    let mut c = Checked::default();
    if c.required("text", &talk.text).is_some_and(|text| text.is_empty() || text.chars().count() > TEXT_CHARS) {
        c.add("text", format!("must be 1 to {TEXT_CHARS} characters"));
    }
    c.typed("language", &talk.language);
    c.typed("premium", &talk.premium);
    c.range("style", &talk.style, &LOOPS);
    c.range("loop", &talk.repeat, &LOOPS);
    c.range("level", &talk.level, &LEVEL);
    c.done(talk)
}

/// `PUT /v1/calls/{uuid}/dtmf`.
pub(super) fn dtmf(body: &[u8]) -> Result<SendDtmf, Checked> {
    let keys = SendDtmf::from_map(object(body)?);
    let mut c = Checked::default();
    let bad = |digits: &str| {
        !(1..=KEYS_MAX).contains(&digits.len()) || !digits.bytes().all(|b| b"0123456789*#p".contains(&b))
    };
    if c.required("digits", &keys.digits).is_some_and(|digits| bad(&digits.0)) {
        c.add("digits", format!("must be 1 to {KEYS_MAX} of 0-9 * # p"));
    }
    c.done(keys)
}

/// `PUT /v1/calls/{uuid}/input/dtmf`.
pub(super) fn subscribe(body: &[u8]) -> Result<SubscribeDtmf, Checked> {
    let subscribe = SubscribeDtmf::from_map(object(body)?);
    let mut c = Checked::default();
    let urls = c.required("event_url", &subscribe.event_url);
    c.urls("event_url", urls);
    c.done(subscribe)
}

/// `POST /v1/legs/{uuid}/recording`. Nothing is required; no body asks for the defaults.
pub(super) fn record(body: &[u8]) -> Result<StartRecording, Checked> {
    let start = StartRecording::from_map(if body.is_empty() { Map::new() } else { object(body)? });
    let mut c = Checked::default();
    c.typed("split", &start.split);
    c.typed("streamed", &start.streamed);
    c.typed("public", &start.public);
    c.typed("transcription", &start.transcription);
    if c.typed("format", &start.format).is_some_and(|format| !["mp3", "wav", "ogg"].contains(&format.as_str())) {
        c.add("format", "must be mp3, wav or ogg");
    }
    c.done(start)
}

/// `GET /v1/calls`. The query as it came, still escaped.
pub(super) fn list(query: &str) -> Result<ListCalls, Checked> {
    let mut list = ListCalls::default();
    let mut c = Checked::default();
    // The parser of queries is reached through a URL.
    let url = Url::parse(&format!("http://query/?{query}")).ok();
    for (name, value) in url.iter().flat_map(Url::query_pairs) {
        let date = || chrono::DateTime::parse_from_rfc3339(&value).is_ok();
        match &*name {
            "status" => list.status = Status::from_wire(value.into_owned().into()).ok(),
            "conversation_uuid" => list.conversation_uuid = Some(value.into_owned()),
            "date_start" if date() => list.date_start = Some(value.into_owned()),
            "date_end" if date() => list.date_end = Some(value.into_owned()),
            "date_start" | "date_end" => c.add(&name, "must be an RFC 3339 time"),
            "page_size" => match value.parse() {
                Ok(size @ 1..=PAGE_SIZE_MAX) => list.page_size = Some(size),
                _ => c.add("page_size", format!("must be from 1 to {PAGE_SIZE_MAX}")),
            },
            "record_index" => match value.parse() {
                Ok(index) => list.record_index = Some(index),
                Err(_) => c.add("record_index", "must be a whole number"),
            },
            "order" => match &*value {
                "asc" => list.descending = Some(false),
                "desc" => list.descending = Some(true),
                _ => c.add("order", "must be asc or desc"),
            },
            _ => {}
        }
    }
    c.done(list)
}
