//! Engines, pools and utterances to try them with.

use std::sync::Arc;

use sidetone::app;
use sidetone::asr::{self, Engine, Remote, Speech};
use sidetone::config::{Config, Source};
use sidetone::inference::{BufferPool, Hearing, Pool, Readiness, Shadows};
use sidetone::types::{
    ConversationId, Fault, LegId, MediaTime, Moment, RedactionTerms, Reply, Segment, SegmentId, SegmentKind, Shadow,
    Transcript,
};
use tokio::sync::mpsc;

use super::support::within;
use super::vendor::{Kind, Vendor};

pub fn engine(vendor: &Vendor, kind: Kind, more: &str) -> Arc<dyn Remote> {
    match asr::find(kind.name()).unwrap().build(&vendor.table(more), &[]).unwrap() {
        Engine::Remote(engine) => engine,
        Engine::Local(_) => panic!("{} works here", kind.name()),
    }
}

/// Some of an utterance: so many samples of a buzz.
pub fn speech(segment: u64, kind: SegmentKind, samples: usize) -> Speech {
    let samples = (0..samples).map(|n| if n % 80 < 40 { 4_000 } else { -4_000 }).collect();
    Speech { leg: LegId::parse("leg").unwrap(), segment: SegmentId(segment), kind, samples: Arc::new(samples) }
}

pub async fn asked(engine: &Arc<dyn Remote>, speech: Speech) -> Result<Transcript, Fault> {
    within("an answer", engine.transcribe(speech)).await
}

pub async fn text_of(engine: &Arc<dyn Remote>, segment: u64, samples: usize) -> Result<String, Fault> {
    asked(engine, speech(segment, SegmentKind::Final, samples)).await.map(|transcript| transcript.text.0)
}

/// A pool with the configuration `toml`, and somebody to answer.
pub struct Bench {
    pub pool: Pool,
    /// As a leg holds it: what its conversation remembers lasts as long.
    hearing: Hearing,
    shadows: Option<Shadows>,
    sender: mpsc::Sender<Box<Reply>>,
    replies: mpsc::Receiver<Box<Reply>>,
}

impl Bench {
    pub fn new(toml: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut table: toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error} in {toml}"));
        // What these vendors say is numbers.
        table.entry("redaction").or_insert_with(|| toml::toml! { policy = "off" }.into());
        std::fs::write(file.path(), table.to_string()).unwrap();
        let source = Source { file: Some(file.path()), ..Source::default() };
        let config: Config = sidetone::config::load(&source).unwrap();
        let engines = app::engines(&config).unwrap();
        let buffers: Arc<BufferPool> = app::buffers(&config);
        let pool = app::pool(&config, &engines, &buffers).unwrap();
        let conversation = ConversationId::parse("call").unwrap();
        let (hearing, shadows) = pool.hearing(&conversation, RedactionTerms::default());
        let (sender, replies) = mpsc::channel(64);
        Self { pool, hearing, shadows, sender, replies }
    }

    /// One whose first is `vendor`, and then `scripted`.
    pub fn before_scripted(vendor: &Vendor, kind: Kind, more: &str) -> Self {
        let table = vendor.table("");
        Self::new(&format!(
            "[asr]\nbackend = \"{name}\"\nfall_back = [\"scripted\"]\nattempt_timeout_ms = 4000\n{more}\n[asr.{name}]\n{table}\n\
             [inference]\nthreads = 1\n",
            name = kind.name(),
        ))
    }

    /// Whether the threads could be made ready.
    pub async fn is_ready(&self) -> bool {
        let mut readiness = self.pool.readiness();
        let settled = within("the threads", readiness.wait_for(|now| *now != Readiness::Warming)).await;
        *settled.unwrap() == Readiness::Ready
    }

    pub fn submit(&self, id: u64, kind: SegmentKind, samples: usize) {
        let Speech { leg, segment, samples, .. } = speech(id, kind, samples);
        let samples = Arc::into_inner(samples).unwrap();
        let segment = Segment { leg, id: segment, kind, samples, start: MediaTime(0), cut_at: Moment(0) };
        self.pool.submit(segment, &self.hearing, &self.sender).unwrap();
    }

    pub async fn reply(&mut self) -> Reply {
        *within("a reply", self.replies.recv()).await.unwrap()
    }

    /// What the second transcriber heard next.
    pub async fn shadow(&mut self) -> Shadow {
        *within("a shadow", self.shadows.as_mut().expect("it is overheard").recv()).await.unwrap()
    }

    /// The leg is there no more.
    pub fn leave(&mut self) {
        self.shadows = None;
    }

    pub async fn heard(&mut self, id: u64, samples: usize) -> (&'static str, Result<String, Fault>) {
        self.submit(id, SegmentKind::Final, samples);
        let reply = self.reply().await;
        assert_eq!((reply.id, reply.kind), (SegmentId(id), SegmentKind::Final));
        (reply.asr, reply.outcome.map(|transcript| transcript.text.0))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.pool.stop();
    }
}
