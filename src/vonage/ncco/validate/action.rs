//! The rules of each action: `vonage-voice.md` section 2.

use super::check::{Checker, shape, shown};
use super::endpoint;
use super::{Severity, limits};
use crate::vonage::ncco::{
    Action, AdvancedMachineDetection, Connect, Conversation, DtmfSettings, Input, InputKind, InputMode, Notify, Record,
    RecordFormat, SpeechSettings, Stream, Talk, Transcription, Transfer, Wait,
};
use crate::vonage::wire::{Field, Wire};

pub(super) fn check(c: &mut Checker, action: &Action) {
    match action {
        Action::Record(a) => record(c, a),
        Action::Conversation(a) => conversation(c, a),
        Action::Connect(a) => connect(c, a),
        Action::Talk(a) => talk(c, a),
        Action::Stream(a) => stream(c, a),
        Action::Input(a) => input(c, a),
        Action::Notify(a) => notify(c, a),
        Action::Wait(a) => wait(c, a),
        Action::Transfer(a) => transfer(c, a),
        Action::Pay(_) => c.warning("action", "was withdrawn by Vonage", "\"pay\""),
        Action::Unknown(value) => unknown_tag(c, &value.0, Action::TAG, Action::TAGS),
    }
}

/// What is no action, or no endpoint: names what it should have been.
pub(super) fn unknown_tag(c: &mut Checker, value: &serde_json::Value, tag: &str, known: &[&str]) {
    let Some(map) = value.as_object() else {
        return c.error("", format!("must be an object with {tag:?}"), shown(value));
    };
    match map.get(tag) {
        None => c.error(tag, "is required", "absent"),
        Some(word) if word.is_string() => {
            let (last, others) = known.split_last().unwrap_or((&"", &[]));
            c.error(tag, format!("must be {} or {last}", others.join(", ")), shown(word));
        }
        Some(odd) => c.error(tag, "must be a string", shown(odd)),
    }
}

fn record(c: &mut Checker, a: &Record) {
    let channels = a.channels.get().and_then(|n| n.as_u64());
    if let Some(RecordFormat::Mp3) = c.typed("format", &a.format)
        && channels.is_some_and(|n| n > limits::RECORD_MP3_CHANNELS)
    {
        c.warning("format", "should be wav above two channels", "\"mp3\"");
    }
    c.typed("split", &a.split);
    c.count("channels", &a.channels, &limits::RECORD_CHANNELS, Severity::Error);
    if let Some(channels) = a.channels.get()
        && !a.split.is_given()
    {
        c.error("channels", "needs split to be conversation", shown(&channels.to_wire()));
    }
    c.range("endOnSilence", &a.end_on_silence, &limits::RECORD_SILENCE);
    if let Some(key) = c.typed("endOnKey", &a.end_on_key) {
        let key = key.text();
        if key.len() != 1 || !"0123456789*#".contains(&*key) {
            c.error("endOnKey", "must be one of 0-9 * #", shape(&key, None));
        }
    }
    c.range("timeOut", &a.time_out, &limits::RECORD_TIME_OUT);
    c.typed("beepStart", &a.beep_start);
    c.urls("eventUrl", &a.event_url);
    c.typed("eventMethod", &a.event_method);
    transcription(c, &a.transcription);
    c.unknown(&a.extra, "record");
}

fn transcription(c: &mut Checker, field: &Field<Transcription>) {
    let Some(t) = c.typed("transcription", field) else { return };
    c.inside("transcription", |c| {
        c.typed("language", &t.language);
        c.urls("eventUrl", &t.event_url);
        c.typed("eventMethod", &t.event_method);
        c.typed("sentimentAnalysis", &t.sentiment_analysis);
        c.unknown(&t.extra, "transcription");
    });
}

fn conversation(c: &mut Checker, a: &Conversation) {
    let records = a.record.get() == Some(&true);
    c.required_text("name", &a.name);
    c.urls("musicOnHoldUrl", &a.music_on_hold_url);
    c.typed("startOnEnter", &a.start_on_enter);
    c.typed("endOnExit", &a.end_on_exit);
    c.typed("record", &a.record);
    mute(c, &a.mute, &a.can_speak);
    c.legs("canSpeak", &a.can_speak);
    c.legs("canHear", &a.can_hear);
    c.urls("eventUrl", &a.event_url);
    if let Some(urls) = a.event_url.get()
        && !records
    {
        c.warning("eventUrl", "is used for recordings only; record is not true", shown(&urls.to_wire()));
    }
    c.typed("eventMethod", &a.event_method);
    transcription(c, &a.transcription);
    if let Some(t) = a.transcription.get()
        && !records
    {
        c.error("transcription", "needs record to be true", shown(&t.to_wire()));
    }
    c.unknown(&a.extra, "conversation");
}

fn mute(c: &mut Checker, mute: &Field<bool>, can_speak: &Field<Vec<String>>) {
    match c.typed("mute", mute) {
        Some(true) if can_speak.is_given() => c.error("mute", "excludes canSpeak", true),
        Some(false) if can_speak.is_given() => c.warning("mute", "should not stand beside canSpeak", false),
        _ => {}
    }
}

fn connect(c: &mut Checker, a: &Connect) {
    if let Some(endpoints) = c.required("endpoint", &a.endpoint) {
        if endpoints.len() != 1 {
            c.error("endpoint", "must hold exactly one", format_args!("{} elements", endpoints.len()));
        }
        for (index, one) in endpoints.iter().enumerate() {
            c.element("endpoint", index, |c| endpoint::check(c, one));
        }
    }
    if let Some(from) = c.typed("from", &a.from) {
        c.e164("from", from);
    }
    if c.typed("randomFromNumber", &a.random_from_number) == Some(&true) && a.from.is_given() {
        c.error("randomFromNumber", "excludes from", true);
    }
    c.typed("eventType", &a.event_type);
    c.loose_range("timeout", &a.timeout, &limits::CONNECT_TIMEOUT);
    c.range("limit", &a.limit, &limits::CONNECT_LIMIT);
    let advanced = [
        ("advancedMachineDetection", &a.advanced_machine_detection),
        ("advanced_machine_detection", &a.advanced_machine_detection_snake),
    ];
    if let Some(plain) = c.typed("machineDetection", &a.machine_detection)
        && let Some((winner, _)) = advanced.iter().find(|(_, field)| field.is_given())
    {
        c.warning("machineDetection", format!("is overridden by {winner}"), shown(&plain.to_wire()));
    }
    for (key, field) in advanced {
        machine_detection(c, key, field);
    }
    c.urls("eventUrl", &a.event_url);
    c.typed("eventMethod", &a.event_method);
    for url in c.typed("ringbackTone", &a.ringback_tone).map(|urls| urls.all()).unwrap_or_default() {
        c.url_text("ringbackTone", url);
    }
    c.unknown(&a.extra, "connect");
}

fn machine_detection(c: &mut Checker, key: &'static str, field: &Field<AdvancedMachineDetection>) {
    let Some(amd) = c.typed(key, field) else { return };
    c.inside(key, |c| {
        c.typed("behavior", &amd.behavior);
        c.typed("mode", &amd.mode);
        c.range("beep_timeout", &amd.beep_timeout, &limits::BEEP_TIMEOUT);
        c.range("beepTimeout", &amd.beep_timeout_camel, &limits::BEEP_TIMEOUT);
        c.unknown(&amd.extra, key);
    });
}

/// Characters of a text without what stands between `<` and `>`.
fn spoken_chars(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        count += rest[..open].chars().count();
        match rest[open..].find('>') {
            Some(close) => rest = &rest[open + close + 1..],
            None => return count + rest[open..].chars().count(),
        }
    }
    count + rest.chars().count()
}

fn talk(c: &mut Checker, a: &Talk) {
    if let Some(text) = c.required_text("text", &a.text) {
        let count = spoken_chars(text);
        if count > limits::TALK_CHARS {
            let rule = format!("must be at most {} characters without SSML tags", limits::TALK_CHARS);
            c.error("text", rule, format_args!("{count} characters"));
        }
    }
    c.typed("bargeIn", &a.barge_in);
    c.count("loop", &a.repeat, &(0.0..=f64::INFINITY), Severity::Error);
    c.range("level", &a.level, &limits::LEVEL);
    c.typed("language", &a.language);
    c.count("style", &a.style, &(0.0..=f64::INFINITY), Severity::Error);
    c.typed("premium", &a.premium);
    c.typed("provider", &a.provider);
    c.typed("providerOptions", &a.provider_options);
    if let Some(name) = c.typed("voiceName", &a.voice_name) {
        c.warning("voiceName", "is legacy; use language and style", shown(&name.to_wire()));
    }
    c.unknown(&a.extra, "talk");
}

fn stream(c: &mut Checker, a: &Stream) {
    if c.required("streamUrl", &a.stream_url).is_some() {
        c.urls("streamUrl", &a.stream_url);
    }
    c.range("level", &a.level, &limits::LEVEL);
    c.typed("bargeIn", &a.barge_in);
    c.count("loop", &a.repeat, &(0.0..=f64::INFINITY), Severity::Error);
    c.unknown(&a.extra, "stream");
}

fn input(c: &mut Checker, a: &Input) {
    let kinds = c.required("type", &a.kind);
    if kinds.is_some_and(Vec::is_empty) {
        c.error("type", "must not be empty", "[]");
    }
    let lacks = |kind| kinds.is_some_and(|kinds| !kinds.contains(&kind));
    c.urls("eventUrl", &a.event_url);
    c.typed("eventMethod", &a.event_method);
    let asynchronous = c.typed("mode", &a.mode) == Some(&InputMode::Asynchronous);
    if asynchronous && kinds.is_some_and(|kinds| kinds.contains(&InputKind::Speech)) {
        c.error("mode", "must be synchronous for speech", "\"asynchronous\"");
    }
    if let Some(dtmf) = c.typed("dtmf", &a.dtmf) {
        let settings = dtmf.to_wire();
        if lacks(InputKind::Dtmf) {
            c.warning("dtmf", "is not used; type lacks dtmf", shown(&settings));
        }
        if asynchronous && settings.as_object().is_some_and(|map| !map.is_empty()) {
            c.error("dtmf", "must be blank in asynchronous mode", shown(&settings));
        }
        c.inside("dtmf", |c| dtmf_settings(c, dtmf));
    }
    if let Some(speech) = c.typed("speech", &a.speech) {
        if lacks(InputKind::Speech) {
            c.warning("speech", "is not used; type lacks speech", shown(&speech.to_wire()));
        }
        c.inside("speech", |c| speech_settings(c, speech));
    }
    c.unknown(&a.extra, "input");
}

fn dtmf_settings(c: &mut Checker, s: &DtmfSettings) {
    c.range("timeOut", &s.time_out, &limits::DTMF_TIME_OUT);
    let digits = s.max_digits.get().and_then(|n| n.as_f64());
    if digits.is_some_and(|n| limits::DTMF_DIGITS_LOOSE.contains(&n)) {
        c.count("maxDigits", &s.max_digits, &limits::DTMF_DIGITS, Severity::Warning);
    } else {
        c.count("maxDigits", &s.max_digits, &limits::DTMF_DIGITS_LOOSE, Severity::Error);
    }
    c.typed("submitOnHash", &s.submit_on_hash);
    c.unknown(&s.extra, "dtmf");
}

fn speech_settings(c: &mut Checker, s: &SpeechSettings) {
    c.legs("uuid", &s.uuid);
    if let Some(legs) = s.uuid.get()
        && legs.len() != 1
    {
        c.error("uuid", "must hold one leg", shown(&legs.to_wire()));
    }
    c.range("endOnSilence", &s.end_on_silence, &limits::SPEECH_SILENCE);
    c.typed("language", &s.language);
    c.typed("context", &s.context);
    c.range("startTimeout", &s.start_timeout, &limits::SPEECH_START);
    c.range("maxDuration", &s.max_duration, &limits::SPEECH_DURATION);
    c.typed("saveAudio", &s.save_audio);
    c.range("sensitivity", &s.sensitivity, &limits::SPEECH_SENSITIVITY);
    c.typed("provider", &s.provider);
    c.typed("providerOptions", &s.provider_options);
    c.unknown(&s.extra, "speech");
}

fn notify(c: &mut Checker, a: &Notify) {
    c.required("payload", &a.payload);
    if c.required("eventUrl", &a.event_url).is_some() {
        c.urls("eventUrl", &a.event_url);
    }
    c.typed("eventMethod", &a.event_method);
    c.unknown(&a.extra, "notify");
}

fn wait(c: &mut Checker, a: &Wait) {
    c.loose_range("timeout", &a.timeout, &limits::WAIT);
    c.unknown(&a.extra, "wait");
}

fn transfer(c: &mut Checker, a: &Transfer) {
    if let Some(id) = c.required_text("conversationId", &a.conversation_id)
        && !id.starts_with("CON-")
    {
        c.warning("conversationId", "should start with CON-", shown(&id.into()));
    }
    mute(c, &a.mute, &a.can_speak);
    c.legs("canSpeak", &a.can_speak);
    c.legs("canHear", &a.can_hear);
    c.unknown(&a.extra, "transfer");
}
