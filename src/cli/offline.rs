//! Runs recorded audio through the whole pipeline, as fast as the threads allow.
//!
//! The clock is the audio's own: each frame comes when it would have come in the
//! call, so the events are those of a call whose transcriber takes no time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::app::{self, StartError};
use crate::call::{BackendNames, Buffers as _, Call, CallConfig, CallParts, Input, Output, Terms};
use crate::config::Config;
use crate::event::{Body, Event};
use crate::inference::{BufferPool, Engines, Hearing, Pool, Readiness};
use crate::types::{BuildError, ConversationId, Fault, LegId, Moment, Rate, RedactionTerms, Reply, Speaker, WallTime};
use crate::vad;

/// The pipeline without its network.
pub(super) struct Pipeline {
    config: Arc<CallConfig>,
    vad: vad::Factory,
    backends: BackendNames,
    pool: Pool,
    buffers: Arc<BufferPool>,
}

impl Pipeline {
    /// Loads the engines that `config` names and starts the threads.
    pub(super) fn start(config: &Config, engines: &Engines) -> Result<Self, StartError> {
        let (vad_name, vad) = app::detector(config)?;
        let buffers = app::buffers(config);
        // Nobody would be told how far a second transcriber disagrees.
        let engines = &Engines { shadow: None, ..engines.clone() };
        let mut call = config.call_config();
        // Nobody watches; and the clock here says nothing about how long decoding takes.
        call.partial_interval_ms = 0;
        call.reply_timeout = Duration::from_secs(3_600);
        call.tail_timeout = Duration::from_secs(3_600);
        Ok(Self {
            config: Arc::new(call),
            vad,
            backends: BackendNames {
                vad: vad_name,
                asr: engines.asr_name,
                sentiment: engines.scorer.as_ref().map(|scorer| scorer.name),
            },
            // Nobody waits, so nothing is too slow.
            pool: app::pool(config, &Engines { quick: None, ..engines.clone() }, &buffers)?,
            buffers,
        })
    }

    /// Waits until every thread is warm. Without this, a transcriber that cannot be
    /// opened would leave [`Pipeline::run`] waiting for ever.
    pub(super) async fn warm(&self) -> Result<(), BuildError> {
        let mut readiness = self.pool.readiness();
        let settled = readiness.wait_for(|now| *now != Readiness::Warming).await;
        match settled.map(|now| now.clone()) {
            Ok(Readiness::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(BuildError::new("inference", "the threads are gone", "see the log above")),
        }
    }

    /// Takes one party's audio through; `progress` is told of each second of it.
    pub(super) async fn run(
        &self,
        speaker: &str,
        rate: Rate,
        samples: &[i16],
        mut progress: impl FnMut(u64),
    ) -> Vec<Event> {
        let conversation = ConversationId::parse("file").expect("four letters are a valid id");
        let (hearing, _) = self.pool.hearing(&conversation, RedactionTerms::default());
        let parts = CallParts {
            conversation,
            leg: LegId::parse("file").expect("four letters are a valid id"),
            speaker: Speaker::parse(speaker),
            source: Arc::from("/sidetone/transcribe"),
            joined_at: Duration::ZERO,
            terms: Terms::default(),
            connected_at: WallTime::default(),
            vad: Arc::clone(&self.vad),
            backends: self.backends.clone(),
            buffers: self.buffers.clone(),
        };
        let (replies_in, replies) = mpsc::channel(self.config.pending_max + 1);
        let mut leg = Leg {
            pipeline: self,
            hearing,
            call: Call::new(Arc::clone(&self.config), parts, Moment::default()),
            events: Vec::new(),
            replies_in,
            replies,
            under_way: 0,
            ended: false,
        };
        let hello = crate::call::wire::connected(rate, &serde_json::Map::new());
        leg.handle(Moment::default(), Input::Text(&hello));
        let mut bytes = Vec::with_capacity(rate.frame_bytes());
        let mut now = Moment::default();
        for (n, frame) in samples.chunks(rate.frame_samples()).enumerate() {
            now = Moment::from_ms(n as u64 * crate::types::rate::FRAME_MS);
            bytes.clear();
            frame.iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
            leg.handle(now, Input::Audio(&bytes));
            // As in a call, where a segment is mostly answered before the next one ends: else it
            // would depend on the threads which of them are heard together with the one before.
            while leg.under_way > 0 {
                leg.wait(now).await;
            }
            if n % 50 == 49 {
                progress(1);
                tokio::task::yield_now().await;
            }
        }
        leg.handle(now, Input::Closed(None));
        while !leg.ended {
            leg.wait(now).await;
        }
        leg.events
    }
}

struct Leg<'a> {
    pipeline: &'a Pipeline,
    hearing: Hearing,
    call: Call,
    events: Vec<Event>,
    replies_in: mpsc::Sender<Box<Reply>>,
    replies: mpsc::Receiver<Box<Reply>>,
    under_way: usize,
    ended: bool,
}

impl Leg<'_> {
    fn handle(&mut self, now: Moment, input: Input<'_>) {
        self.call.handle(now, input);
        loop {
            match self.call.poll() {
                Output::Transcribe(segment) => {
                    match self.pipeline.pool.submit(segment, &self.hearing, &self.replies_in) {
                        Ok(()) => self.under_way += 1,
                        Err(segment) => {
                            let refusal = Reply::refused(segment.id, segment.kind, Fault::Overload);
                            self.pipeline.buffers.give(segment.samples);
                            self.call.handle(now, Input::Reply(refusal));
                        }
                    }
                }
                Output::Emit(event) => self.events.push(event),
                Output::Ended => self.ended = true,
                Output::Idle { .. } => return,
                Output::Ping | Output::Fault(_) | Output::Close(_) => {}
                // Nothing is played to a file.
                Output::Send(_) | Output::SendText(_) | Output::PlayRefused { .. } => {}
            }
        }
    }

    async fn wait(&mut self, now: Moment) {
        if let Some(reply) = self.replies.recv().await {
            self.under_way -= 1;
            self.handle(now, Input::Reply(*reply));
        }
    }
}

/// The finals among `events`, joined.
pub(super) fn text_of(events: &[Event]) -> String {
    let texts = events.iter().filter_map(|event| match &event.body {
        Body::TranscriptFinal(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// How many segments of speech are in `events`.
pub(super) fn segments_of(events: &[Event]) -> usize {
    let ended = |body: &Body| matches!(body, Body::TranscriptFinal(_) | Body::TranscriptDropped(_));
    events.iter().filter(|event| ended(&event.body)).count()
}
