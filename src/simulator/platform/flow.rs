//! Runs an NCCO, top to bottom, until it is over, replaced, or the leg ends.
//!
//! Source: `vonage-voice.md` section 2, and 3.2 for the replies that replace a flow.

use std::future::pending;
use std::io::Cursor;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::deeds::Seat;
use super::leg::{Announcement, Command, EndBy, Hook, LegId, Recording};
use super::{Exchange, events};
use crate::audio::wav;
use crate::simulator::mixer::Member;
use crate::simulator::person::Voice;
use crate::simulator::recording::{FRAMES_MAX, Tape};
use crate::simulator::stage;
use crate::types::rate::{FRAME_MS, FRAME_SAMPLES};
use crate::vonage::ncco::{
    Action, Conversation, Method, Ncco, Notify, Record, Severity, Stream, Talk, Transfer, Wait, validate,
};
use crate::vonage::wire::{Field, Map, Num, Urls};

/// How fast a text is said: characters a second.
const SPEECH_CHARS: u64 = 15;
/// How long a file plays that is no WAV we can have.
const UNKNOWN_FILE: Duration = Duration::from_secs(2);
/// Longest file fetched, in bytes.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest wait for a file. Real time.
pub(super) const FETCH: Duration = Duration::from_secs(5);
/// What Vonage says of a bad NCCO.
const SYNTAX_ERROR: &str = "Syntax error in NCCO. Invalid value type or action.";

/// What comes after an action.
pub(super) enum Next {
    /// The next action.
    On,
    /// Another NCCO instead.
    Replace(Ncco),
    /// The call ends: the platform cannot go on.
    End,
}

/// Runs a leg's NCCOs until the leg is to end; by whom.
pub(super) async fn run(ex: &Arc<Exchange>, id: &LegId, commands: &mut Receiver<Command>, ncco: Ncco) -> EndBy {
    let mut flow = Some(ncco);
    loop {
        let step = async {
            match &flow {
                Some(ncco) => perform(ex, id, ncco).await,
                None => {
                    ex.children_gone(id).await;
                    Next::End
                }
            }
        };
        let command = tokio::select! {
            biased;
            command = commands.recv() => command,
            next = step => {
                match next {
                    Next::On => flow = None,
                    Next::Replace(ncco) => flow = Some(ncco),
                    Next::End => return EndBy::Platform,
                }
                ex.of_mut(id, super::leg::Leg::hush);
                continue;
            }
        };
        match command {
            Some(Command::Replace(ncco)) => {
                ex.of_mut(id, super::leg::Leg::hush);
                ex.go_home(id);
                flow = Some(ncco);
            }
            Some(Command::End(by)) => return by,
            None => return EndBy::Platform,
        }
    }
}

/// [`run`], for a leg that a flow connected: a flow within a flow has no end in types.
pub(super) fn run_boxed<'a>(
    ex: &'a Arc<Exchange>,
    id: &'a LegId,
    commands: &'a mut Receiver<Command>,
    ncco: Ncco,
) -> Pin<Box<dyn Future<Output = EndBy> + Send + 'a>> {
    Box::pin(run(ex, id, commands, ncco))
}

async fn perform(ex: &Arc<Exchange>, id: &LegId, ncco: &Ncco) -> Next {
    let problems: Vec<_> = validate(ncco).into_iter().filter(|p| p.severity == Severity::Error).collect();
    if !problems.is_empty() {
        problems.iter().for_each(|problem| ex.problem(id, format!("NCCO: {problem}")));
        ex.error(id, SYNTAX_ERROR);
        return Next::End;
    }
    for action in &ncco.0 {
        let next = match action {
            Action::Talk(talk) => ex.say(id, talk).await,
            Action::Stream(stream) => ex.play(id, stream).await,
            Action::Record(record) => ex.tape(id, record, action.is_async()).await,
            Action::Conversation(conversation) => ex.converse(id, conversation).await,
            Action::Connect(connect) => ex.connect(id, connect).await,
            Action::Input(input) => ex.listen(id, input).await,
            Action::Notify(notify) => ex.tell(id, notify).await,
            Action::Wait(wait) => ex.wait(wait).await,
            Action::Transfer(transfer) => ex.move_all(id, transfer).await,
            // Withdrawn: it does nothing any more.
            Action::Pay(_) | Action::Unknown(_) => Next::On,
        };
        match next {
            Next::On => {}
            other => return other,
        }
    }
    Next::On
}

/// How often something is played: once by default, 0 is for ever.
pub(super) fn rounds(repeat: &Field<Num>) -> Option<u64> {
    match repeat.get().and_then(Num::as_u64) {
        Some(0) => None,
        Some(rounds) => Some(rounds),
        None => Some(1),
    }
}

/// A text as silence of the length that saying it takes.
pub(super) fn spoken(text: &str, repeat: &Field<Num>, barge_in: bool) -> Announcement {
    let mut in_tag = false;
    let said = text.chars().filter(|c| {
        let tag = in_tag || *c == '<';
        in_tag = tag && *c != '>';
        !tag
    });
    let ms = (said.count() as u64 * 1000 / SPEECH_CHARS).max(FRAME_MS);
    announcement(None, ms, rounds(repeat), barge_in)
}

fn announcement(voice: Option<Voice>, ms: u64, rounds: Option<u64>, barge_in: bool) -> Announcement {
    Announcement { voice, ticks: ms.div_ceil(FRAME_MS).max(1), rounds, barge_in, over: None, at: 0 }
}

pub(super) fn first(urls: &Field<Urls>) -> Option<&str> {
    urls.get().and_then(|urls| urls.all().first()).map(String::as_str)
}

fn seconds(field: &Field<Num>) -> Option<f64> {
    field.get().and_then(Num::as_f64)
}

/// A span of an NCCO, in s; where there is none, `default`.
pub(super) fn span(field: &Field<Num>, default: f64, range: std::ops::RangeInclusive<f64>) -> Duration {
    let seconds = seconds(field).unwrap_or(default).clamp(*range.start(), *range.end());
    Duration::from_secs_f64(seconds)
}

impl Exchange {
    async fn say(&self, id: &LegId, talk: &Talk) -> Next {
        let text = talk.text.get().map_or("", String::as_str);
        let barge_in = talk.barge_in.get() == Some(&true);
        // An error is an announcement that was cut short: over all the same.
        let _ = self.announce(id, spoken(text, &talk.repeat, barge_in)).await;
        Next::On
    }

    async fn play(&self, id: &LegId, stream: &Stream) -> Next {
        let file = self.file(first(&stream.stream_url).unwrap_or_default(), &stream.repeat).await;
        let barge_in = stream.barge_in.get() == Some(&true);
        let _ = self.announce(id, Announcement { barge_in, ..file }).await;
        Next::On
    }

    /// A file as an announcement: its audio if it is a WAV file that can be had, else
    /// some silence.
    pub(super) async fn file(&self, url: &str, repeat: &Field<Num>) -> Announcement {
        match self.fetch(url).await {
            Some(voice) => {
                let ms = (voice.len() / FRAME_SAMPLES) as u64 * FRAME_MS;
                announcement(Some(voice), ms, rounds(repeat), false)
            }
            None => announcement(None, UNKNOWN_FILE.as_millis() as u64, rounds(repeat), false),
        }
    }

    async fn fetch(&self, url: &str) -> Option<Voice> {
        let reply = self.http.get(url).send().await.ok()?.error_for_status().ok()?;
        let file = crate::http::body(reply, FILE_BYTES_MAX).await.ok()?;
        let decoded = tokio::task::spawn_blocking(move || {
            let wav = wav::decode(Cursor::new(file), Path::new("stream")).ok()?;
            Some(stage::voice(wav.channels.first()?, wav.rate))
        });
        decoded.await.ok()?
    }

    /// Where an action's webhook goes: its own URL, else the leg's.
    pub(super) fn hook(&self, id: &LegId, url: &Field<Urls>, method: &Field<Method>) -> Hook {
        match first(url) {
            Some(url) => Hook { url: url.to_owned(), method: method.get().copied().unwrap_or(Method::Post) },
            None => self.of(id, |leg| leg.hook.clone()).unwrap_or_else(|| self.settings.event.clone()),
        }
    }

    async fn tape(&self, id: &LegId, record: &Record, goes_on: bool) -> Next {
        let recording = Recording {
            id: Self::fresh(),
            tape: Tape::new(record.split.is_given()),
            began: self.clock.now(),
            hook: self.hook(id, &record.event_url, &record.event_method),
            end_on_silence_ms: seconds(&record.end_on_silence).map(|s| (s * 1000.0) as u64),
            end_on_key: record.end_on_key.get().and_then(|key| key.text().chars().next()),
            time_out_ms: seconds(&record.time_out).map_or(FRAMES_MAX as u64 * FRAME_MS, |s| (s * 1000.0) as u64),
            over: None,
        };
        let over = self.record(id, recording);
        if !goes_on {
            // Its sender is gone when the recording is over.
            let _ = over.await;
        }
        Next::On
    }

    async fn converse(&self, id: &LegId, action: &Conversation) -> Next {
        let name = action.name.get().map_or("", String::as_str);
        let legs =
            |list: &Field<Vec<String>>| list.get().map(|list| list.iter().map(|leg| leg.as_str().into()).collect());
        let seat = Seat {
            member: Member {
                can_hear: legs(&action.can_hear),
                can_speak: legs(&action.can_speak),
                mute: action.mute.get() == Some(&true),
                ..Member::new(Arc::clone(id))
            },
            starts: action.start_on_enter.get() != Some(&false),
            ends: action.end_on_exit.get() == Some(&true),
        };
        let conversation = self.world().named(name, format!("CON-{}", Self::fresh()));
        if let Err(full) = self.enter(&conversation, seat) {
            self.error(id, &full.to_string());
            return Next::End;
        }
        if action.record.get() == Some(&true) {
            let record = Record {
                event_url: action.event_url.clone(),
                event_method: action.event_method.clone(),
                ..Record::default()
            };
            self.tape(id, &record, true).await;
        }
        // Until the leg goes, is sent elsewhere, or the conversation ends.
        pending().await
    }

    async fn tell(&self, id: &LegId, notify: &Notify) -> Next {
        let hook = self.hook(id, &notify.event_url, &notify.event_method);
        let payload = notify.payload.reveal().cloned().unwrap_or_default();
        self.asked(id, &hook, |leg, stamp| events::notify(leg, payload, stamp)).await
    }

    /// Sends an event whose reply may replace the flow.
    pub(super) async fn asked(
        &self,
        id: &LegId,
        hook: &Hook,
        body: impl FnOnce(&super::leg::Leg, String) -> Map,
    ) -> Next {
        let Some(body) = self.of(id, |leg| body(leg, self.stamp())) else { return Next::End };
        match self.post(hook, body).await {
            Ok(Some(ncco)) if !ncco.0.is_empty() => Next::Replace(ncco),
            _ => Next::On,
        }
    }

    async fn wait(&self, wait: &Wait) -> Next {
        self.clock.sleep(span(&wait.timeout, 10.0, 0.1..=7200.0)).await;
        Next::On
    }

    async fn move_all(&self, id: &LegId, transfer: &Transfer) -> Next {
        let target = transfer.conversation_id.get().map_or("", String::as_str);
        let moved: Vec<LegId> = {
            let world = self.world();
            if !world.conversations.contains_key(target) {
                drop(world);
                self.error(id, "The conversation to transfer to does not exist.");
                return Next::End;
            }
            world.children(id).map(|leg| Arc::clone(&leg.id)).chain([Arc::clone(id)]).collect()
        };
        let legs =
            |list: &Field<Vec<String>>| list.get().map(|list| list.iter().map(|leg| leg.as_str().into()).collect());
        for leg in moved {
            let member = Member {
                can_hear: legs(&transfer.can_hear),
                can_speak: legs(&transfer.can_speak),
                mute: transfer.mute.get() == Some(&true),
                ..Member::new(leg)
            };
            if let Err(full) = self.enter(target, Seat { member, starts: true, ends: false }) {
                self.error(id, &full.to_string());
                return Next::End;
            }
        }
        // The target's own flow governs from here on.
        pending().await
    }

    /// Waits until every leg that this one has connected is gone, or has another flow.
    async fn children_gone(&self, id: &LegId) {
        loop {
            let Some(bridge) = self.world().children(id).map(|leg| leg.bridge.clone()).next() else { return };
            bridge.cancelled().await;
        }
    }

    pub(super) fn of_mut(&self, id: &LegId, change: impl FnOnce(&mut super::leg::Leg)) {
        if let Some(leg) = self.world().legs.get_mut(id) {
            change(leg);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_its_time_and_tags_take_none() {
        for (text, repeat, ticks, rounds) in [
            ("123456789012345", Field::Absent, 50, Some(1)),
            ("<speak>123456789<break time=\"5s\"/>012345</speak>", Field::Is(Num::from(3)), 50, Some(3)),
            ("", Field::Is(Num::from(0)), 1, None),
        ] {
            let said = spoken(text, &repeat, false);
            assert_eq!((said.ticks, said.rounds), (ticks, rounds), "{text}");
        }
    }
}
