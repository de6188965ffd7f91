//! Two tiers on one machine: a quick transcriber hears in the place of an accurate one what
//! is not worth that one's time.

use crate::asr::Engine;
use crate::types::SegmentKind;

/// A second local transcriber, quicker and less accurate than the first: it hears partials,
/// and finals while more audio waits than the first could soon be done with.
#[derive(Clone)]
pub struct Quick {
    /// Its name.
    pub name: &'static str,
    /// The transcriber.
    pub engine: Engine,
    /// It hears finals while more seconds of audio than this wait for a thread.
    pub above_s: f64,
}

impl Quick {
    /// Whether it hears a segment of this kind, after which `waiting_s` seconds of audio wait.
    pub(super) fn hears(&self, kind: SegmentKind, waiting_s: f64) -> bool {
        kind == SegmentKind::Partial || waiting_s > self.above_s
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use parking_lot::Mutex;

    use super::super::{BufferPool, Engines, FailOver, Limits, Pool, Readiness};
    use super::*;
    use crate::asr::{Local, Transcriber};
    use crate::redact::Policy;
    use crate::types::{
        BuildError, ConversationId, Fault, LegId, MediaTime, Moment, RedactionTerms, Reply, Segment, SegmentId,
        Transcript,
    };

    /// Says that it begins, and goes on when it is let.
    struct Slow {
        begins: Sender<()>,
        goes_on: Arc<Mutex<Receiver<()>>>,
    }

    struct Fast;

    /// Dies of the first final, and is not opened a second time.
    #[derive(Default)]
    struct Mortal {
        opened: AtomicBool,
    }

    impl Local for Mortal {
        fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
            let again = self.opened.swap(true, Ordering::Relaxed);
            if again {
                Err(BuildError::new("mortal", "once", "expected no more"))
            } else {
                Ok(Box::new(Self::default()))
            }
        }
    }

    impl Transcriber for Mortal {
        fn transcribe(&mut self, _: &[f32], kind: SegmentKind) -> Result<Transcript, Fault> {
            assert_eq!(kind, SegmentKind::Partial);
            Ok(Transcript::default())
        }

        fn together(&self) -> usize {
            8
        }
    }

    impl Local for Slow {
        fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
            Ok(Box::new(Self { begins: self.begins.clone(), goes_on: Arc::clone(&self.goes_on) }))
        }
    }

    impl Transcriber for Slow {
        fn transcribe(&mut self, samples: &[f32], kind: SegmentKind) -> Result<Transcript, Fault> {
            // Not where it is warmed.
            if kind == SegmentKind::Final && self.begins.send(()).is_ok() {
                let _ = self.goes_on.lock().recv();
            }
            Fast.transcribe(samples, kind)
        }
    }

    impl Local for Fast {
        fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
            Ok(Box::new(Self))
        }
    }

    impl Transcriber for Fast {
        fn transcribe(&mut self, _: &[f32], _: SegmentKind) -> Result<Transcript, Fault> {
            Ok(Transcript::default())
        }
    }

    fn segment(id: u64, kind: SegmentKind, seconds: usize) -> Segment {
        let leg = LegId::parse(&format!("leg-{id}")).unwrap();
        Segment {
            leg,
            id: SegmentId(id),
            kind,
            samples: vec![100; seconds * 16_000],
            start: MediaTime::default(),
            cut_at: Moment(0),
        }
    }

    /// Who heard six seconds of finals that came while the accurate one was busy, and a partial.
    fn heard(quick: impl Local + 'static, others: Vec<(&'static str, Engine)>) -> Vec<(u64, &'static str)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let _inside = runtime.enter();
        let ((begins, begun), (go_on, goes_on)) = (channel(), channel());
        let engines = Engines {
            asr_name: "accurate",
            asr: Engine::Local(Arc::new(Slow { begins, goes_on: Arc::new(Mutex::new(goes_on)) })),
            quick: Some(Quick { name: "quick", engine: Engine::Local(Arc::new(quick)), above_s: 2.0 }),
            fall_back: others,
            join_within: std::time::Duration::ZERO,
            fail_over: FailOver::default(),
            scorer: None,
            shadow: None,
            redaction: Policy::default(),
        };
        let limits = Limits { audio_max_s: 100, partials_max: 4, scores_audio_max_s: 100 };
        let pool = Pool::start(&engines, 1, limits, Arc::new(BufferPool::new(1, 1))).unwrap();
        runtime.block_on(async {
            assert_eq!(*pool.readiness().wait_for(|now| *now != Readiness::Warming).await.unwrap(), Readiness::Ready);
        });
        let (hearing, _) = pool.hearing(&ConversationId::parse("call").unwrap(), RedactionTerms::default());
        let (replies_in, mut replies) = tokio::sync::mpsc::channel::<Box<Reply>>(16);
        let submit = |segment| pool.submit(segment, &hearing, &replies_in).unwrap();

        submit(segment(1, SegmentKind::Final, 1));
        begun.recv().unwrap();
        (2..=4).for_each(|id| submit(segment(id, SegmentKind::Final, 2)));
        // With a chain each is on its way to the queue in a task of its own.
        while pool.queue.backlog().finals < 3 {
            std::thread::yield_now();
        }
        (0..4).for_each(|_| go_on.send(()).unwrap());
        let mut all: Vec<_> = (0..4).map(|_| replies.blocking_recv().unwrap()).collect();
        submit(segment(5, SegmentKind::Partial, 1));
        all.push(replies.blocking_recv().unwrap());
        pool.stop();
        let mut heard: Vec<_> = all
            .iter()
            .map(|reply| {
                assert_eq!(reply.outcome, Ok(Transcript::default()));
                (reply.id.0, reply.asr)
            })
            .collect();
        heard.sort_unstable();
        heard
    }

    #[test]
    fn the_quick_one_hears_while_more_waits_than_the_bound_and_says_so() {
        // After the second, four seconds wait; after the third, two, which is not above two.
        let expected = [(1, "accurate"), (2, "quick"), (3, "accurate"), (4, "accurate"), (5, "quick")];
        assert_eq!(heard(Fast, Vec::new()), expected);
    }

    #[test]
    fn where_it_fails_the_accurate_one_hears_what_it_had_and_all_that_follows() {
        let heard = heard(Mortal::default(), Vec::new());
        assert_eq!(heard, [1, 2, 3, 4, 5].map(|id| (id, "accurate")));
    }

    #[test]
    fn it_is_so_too_where_others_stand_by() {
        let other = ("other", Engine::Local(Arc::new(Fast) as Arc<dyn Local>));
        let heard = heard(Fast, vec![other]);
        assert_eq!(heard.iter().filter(|(_, asr)| *asr == "quick").count(), 2, "{heard:?}");
        assert_eq!(heard.iter().filter(|(_, asr)| *asr == "accurate").count(), 3, "{heard:?}");
        assert_eq!((heard[0].1, heard[4].1), ("accurate", "quick"));
    }
}
