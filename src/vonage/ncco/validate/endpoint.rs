//! The rules of each endpoint: `vonage-voice.md` section 1.1 and the table in section 2.

use super::action::unknown_tag;
use super::check::{Checker, has_scheme_and_host, shape, shown};
use super::limits;
use crate::vonage::ncco::{
    App, Authorization, AuthorizationKind, Endpoint, Phone, Sip, StandardHeaders, Vbc, Websocket,
};
use crate::vonage::wire::Field;

pub(super) fn check(c: &mut Checker, endpoint: &Endpoint) {
    match endpoint {
        Endpoint::Phone(e) => phone(c, e),
        Endpoint::App(e) => app(c, e),
        Endpoint::Websocket(e) => websocket(c, e),
        Endpoint::Sip(e) => sip(c, e),
        Endpoint::Vbc(e) => vbc(c, e),
        Endpoint::Unknown(value) => unknown_tag(c, &value.0, Endpoint::TAG, Endpoint::TAGS),
    }
}

fn phone(c: &mut Checker, e: &Phone) {
    if let Some(number) = c.required("number", &e.number) {
        c.e164("number", number);
    }
    if let Some(keys) = c.typed("dtmfAnswer", &e.dtmf_answer) {
        c.alphabet("dtmfAnswer", &keys.0.text(), "0123456789*#p", "0-9 * # p");
    }
    if let Some(on_answer) = c.typed("onAnswer", &e.on_answer) {
        c.inside("onAnswer", |c| {
            if c.required("url", &on_answer.url).is_some() {
                c.url("url", &on_answer.url);
            }
            c.url("ringbackTone", &on_answer.ringback_tone);
            c.unknown_private(&on_answer.extra, "onAnswer");
        });
    }
    c.typed("shaken", &e.shaken);
    c.unknown_private(&e.extra, "a phone endpoint");
}

fn app(c: &mut Checker, e: &App) {
    c.required_text("user", &e.user);
    c.unknown_private(&e.extra, "an app endpoint");
}

fn vbc(c: &mut Checker, e: &Vbc) {
    if let Some(extension) = c.required("extension", &e.extension).map(|extension| extension.0.text()) {
        c.alphabet("extension", &extension, "0123456789", "0-9");
    }
    c.unknown_private(&e.extra, "a vbc endpoint");
}

fn websocket(c: &mut Checker, e: &Websocket) {
    // The address may hold a token, so it is not shown.
    if let Some(uri) = c.required("uri", &e.uri).map(|uri| &*uri.0) {
        if !has_scheme_and_host(uri, &["ws", "wss"]) {
            c.error("uri", "must be a ws:// or wss:// URL", shape(uri, None));
        } else if e.authorization.is_given() && !has_scheme_and_host(uri, &["wss"]) {
            c.warning("uri", "should be wss:// where authorization is sent", shape(uri, None));
        }
    }
    if let Some(content_type) = c.required("content-type", &e.content_type) {
        let shown = shown(&content_type.as_str().into());
        match content_type.as_str() {
            "audio/l16;rate=8000" | "audio/l16;rate=16000" => {}
            "audio/l16;rate=24000" => {
                c.warning("content-type", "has an unconfirmed rate; 8000 and 16000 are safe", shown);
            }
            _ => c.error("content-type", "must be audio/l16;rate=8000, 16000 or 24000", shown),
        }
    }
    if let Some(headers) = c.typed("headers", &e.headers).map(|headers| &headers.0) {
        let bytes = serde_json::to_string(headers).map_or(0, |json| json.len());
        if bytes > limits::WEBSOCKET_HEADER_BYTES {
            let rule = format!("should be at most {} bytes of JSON", limits::WEBSOCKET_HEADER_BYTES);
            c.warning("headers", rule, format_args!("{bytes} bytes"));
        }
        for key in ["event", "content-type"].into_iter().filter(|key| headers.contains_key(*key)) {
            c.inside("headers", |c| c.warning(key, "is a key of the first message itself", "hidden"));
        }
    }
    if let Some(authorization) = c.typed("authorization", &e.authorization) {
        c.inside("authorization", |c| self::authorization(c, authorization));
    }
    c.unknown_private(&e.extra, "a websocket endpoint");
}

fn authorization(c: &mut Checker, a: &Authorization) {
    let kind = c.required("type", &a.kind);
    let value = c.typed("value", &a.value).map(|value| &*value.0);
    match (kind, value) {
        (Some(AuthorizationKind::Custom), None) if !a.value.is_given() => {
            c.error("value", "is required with custom", "absent");
        }
        (Some(AuthorizationKind::Vonage), Some(value)) => {
            c.warning("value", "is used with custom only", shape(value, None));
        }
        (_, Some(value)) => {
            let bad = value.chars().position(|c| !(' '..='~').contains(&c));
            if bad.is_some() || !limits::AUTHORIZATION_CHARS.contains(&value.len()) {
                let (least, most) = (limits::AUTHORIZATION_CHARS.start(), limits::AUTHORIZATION_CHARS.end());
                c.error("value", format!("must be {least} to {most} printable ASCII characters"), shape(value, bad));
            }
        }
        _ => {}
    }
    c.unknown_private(&a.extra, "authorization");
}

fn sip(c: &mut Checker, e: &Sip) {
    let uri = c.typed("uri", &e.uri).map(|uri| &*uri.0);
    let user = c.typed("user", &e.user).is_some();
    let domain = c.typed("domain", &e.domain).is_some();
    if let Some(uri) = uri {
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        if !["sip", "sips"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            c.error("uri", "must start with sip: or sips:", shape(uri, None));
        }
    }
    match (uri, user, domain) {
        (Some(uri), true, _) | (Some(uri), _, true) => c.error("uri", "excludes user and domain", shape(uri, None)),
        (None, true, false) if !e.domain.is_given() => c.error("domain", "is required with user", "absent"),
        (None, false, true) if !e.user.is_given() => c.error("user", "is required with domain", "absent"),
        (None, false, false) if !e.uri.is_given() && !e.user.is_given() && !e.domain.is_given() => {
            c.error("uri", "is required, or user and domain", "absent");
        }
        _ => {}
    }
    if let Some(headers) = c.typed("headers", &e.headers).map(|headers| &headers.0) {
        c.inside("headers", |c| {
            for (key, value) in headers.iter().filter(|(_, value)| !value.is_string()) {
                c.warning(key, "should be a string", shown(value));
            }
        });
    }
    standard_headers(c, "standardHeaders", &e.standard_headers);
    standard_headers(c, "standard_headers", &e.standard_headers_snake);
    c.unknown_private(&e.extra, "a sip endpoint");
}

fn standard_headers(c: &mut Checker, key: &'static str, field: &Field<StandardHeaders>) {
    let Some(headers) = c.typed(key, field) else { return };
    c.inside(key, |c| {
        if let Some(value) = c.typed("User-to-User", &headers.user_to_user).map(|value| &*value.0) {
            let count = value.chars().count();
            if count > limits::USER_TO_USER_CHARS {
                let rule = format!("should be at most {} characters", limits::USER_TO_USER_CHARS);
                c.warning("User-to-User", rule, format_args!("{count} characters"));
            }
        }
        c.unknown_private(&headers.extra, key);
    });
}
