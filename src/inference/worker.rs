//! One inference thread: opens its transcribers, warms them, serves the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::finish::{Finish, Served};
use super::job::{Job, Text, To, Work, give_back};
use super::queue::{Hearer, Queue};
use super::{BufferPool, Engines, Quick, Readiness};
use crate::asr::{Before, Engine, Transcriber};
use crate::audio::level;
use crate::types::rate::PIPELINE_HZ;
use crate::types::{BuildError, Fault, SegmentKind, Transcript};

/// Counts the workers that are warm, and says when all are.
pub(super) struct Warmth {
    report: watch::Sender<Readiness>,
    cold: AtomicUsize,
}

impl Warmth {
    pub(super) fn new(report: watch::Sender<Readiness>, threads: usize) -> Self {
        Self { report, cold: AtomicUsize::new(threads) }
    }

    fn warm(&self) {
        if self.cold.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.report.send_replace(Readiness::Ready);
        }
    }

    fn failed(&self, error: BuildError) {
        self.report.send_replace(Readiness::Failed(error));
    }
}

/// One thread's transcribers, by their place among all; none for those that are remote.
type Transcribers = Vec<Option<Box<dyn Transcriber>>>;

/// An inference thread and what it works with.
struct Worker<'a> {
    engines: &'a Engines,
    queue: &'a Queue,
    finish: &'a Arc<Finish>,
    buffers: &'a BufferPool,
    warmth: &'a Warmth,
    transcribers: Transcribers,
    /// Utterances at the level that transcribers expect; kept for their memory.
    audio: Vec<Vec<f32>>,
}

/// A transcriber could not be opened again after it crashed, and there is no other.
struct Useless;

pub(super) fn run(engines: &Engines, queue: &Queue, finish: &Arc<Finish>, warmth: &Warmth, buffers: &BufferPool) {
    let opened = engines.all().map(|(name, engine)| open_warm(name, engine)).collect::<Result<Transcribers, _>>();
    let transcribers = match opened {
        Ok(transcribers) => transcribers,
        Err(error) => return warmth.failed(error),
    };
    warmth.warm();
    let mut worker = Worker { engines, queue, finish, buffers, warmth, transcribers, audio: Vec::new() };
    while let Some(work) = queue.pop(|job, behind_s| worker.hearer(job, behind_s)) {
        match work {
            Work::Decode(jobs) => match worker.decode(jobs) {
                Ok(()) => {}
                Err(Useless) => return,
            },
            Work::Finish(Text { to, .. }) if to.is_closed() => {}
            Work::Finish(Text { about, transcript, to }) => {
                // Whoever asked may have had enough.
                let _ = to.send(finish.text(&about, transcript));
            }
        }
    }
}

impl Worker<'_> {
    /// Who hears `job`, where so many seconds of audio wait behind it.
    fn hearer(&self, job: &Job, behind_s: f64) -> Hearer {
        let place = match self.quick() {
            Some((quick, place)) if job.backend == 0 && quick.hears(job.about.kind, behind_s) => place,
            _ => job.backend,
        };
        let transcriber = self.transcribers.get(place).and_then(Option::as_ref);
        Hearer { place, together: transcriber.map_or(1, |transcriber| transcriber.together()) }
    }

    /// The quick transcriber and its place, if there is one and it lives.
    fn quick(&self) -> Option<(&Quick, usize)> {
        let place = self.engines.quick_place();
        let quick = self.engines.quick.as_ref()?;
        self.transcribers.get(place)?.is_some().then_some((quick, place))
    }

    /// Serves one partial, or finals of one transcriber, and answers them all.
    fn decode(&mut self, jobs: Vec<Job>) -> Result<(), Useless> {
        let (gone, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.to.is_gone());
        for job in gone {
            give_back(job.samples, self.buffers);
        }
        let unanswered = if jobs.len() > 1 { self.decode_together(jobs)? } else { jobs };
        for job in unanswered {
            self.decode_alone(job)?;
        }
        Ok(())
    }

    /// Those that got no answer: what one utterance does to a transcriber must not cost another's.
    fn decode_together(&mut self, jobs: Vec<Job>) -> Result<Vec<Job>, Useless> {
        let started = Instant::now();
        let backend = jobs[0].backend;
        self.audio.resize_with(self.audio.len().max(jobs.len()), Vec::new);
        let mut waiting: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
        let Some(Some(transcriber)) = self.transcribers.get_mut(backend) else {
            return Ok(waiting.into_iter().flatten().collect());
        };
        let answering = Answering { engines: self.engines, finish: self.finish, buffers: self.buffers, started };
        let audio = &mut self.audio[..waiting.len()];
        let ended = catch_unwind(AssertUnwindSafe(|| {
            for (job, audio) in waiting.iter().flatten().zip(audio.iter_mut()) {
                level::to_speech_level(&job.samples, audio);
            }
            transcriber.transcribe_together(audio, &mut |place, outcome| {
                if let Some(job) = waiting.get_mut(place).and_then(Option::take) {
                    answering.answer(job, outcome);
                }
            });
        }));
        if ended.is_err() {
            self.open_again(backend)?;
        }
        Ok(waiting.into_iter().flatten().collect())
    }

    fn decode_alone(&mut self, mut job: Job) -> Result<(), Useless> {
        let started = Instant::now();
        let backend = job.backend;
        let outcome = self.hear(&job);
        let crashed = outcome == Err(Fault::Crashed);
        let quick = backend == self.engines.quick_place();
        if outcome.is_err() && quick && job.about.kind == SegmentKind::Final {
            if crashed {
                self.open_again(backend)?;
            }
            // A text that comes later is better than none.
            job.backend = 0;
            return self.decode_alone(job);
        }
        let Self { engines, finish, buffers, .. } = *self;
        Answering { engines, finish, buffers, started }.answer(job, outcome);
        if crashed { self.open_again(backend) } else { Ok(()) }
    }

    /// Hears a final together with its neighbour, if it has one and there is time, else alone.
    fn hear(&mut self, Job { about, samples, backend, .. }: &Job) -> Result<Transcript, Fault> {
        let Some(Some(transcriber)) = self.transcribers.get_mut(*backend) else { return Err(Fault::Crashed) };
        // Where none is ever joined, none need be kept.
        let joined_max = if self.engines.join_within.is_zero() { 0 } else { transcriber.joined_max() };
        let is_final = about.kind == SegmentKind::Final;
        let neighbour = (is_final && joined_max > 0 && !self.queue.is_pressed())
            .then(|| about.hearing.last.before(about, samples.len(), (*backend, joined_max), self.engines.join_within))
            .flatten();
        self.audio.resize_with(self.audio.len().max(2), Vec::new);
        let [audio, audio_before, ..] = &mut self.audio[..] else { return Err(Fault::Crashed) };
        let heard = match neighbour {
            None => hear(&mut **transcriber, samples, about.kind, audio),
            Some(neighbour) => unless_it_crashes(|| {
                level::to_speech_level(&neighbour.samples, audio_before);
                level::to_speech_level(samples, audio);
                let before = Before { samples: audio_before, text: &neighbour.text.0 };
                transcriber.transcribe_after(before, audio)
            }),
        };
        if let Ok(transcript) = &heard
            && is_final
            && samples.len() < joined_max
        {
            about.hearing.last.keep(about, samples, &transcript.text.0, *backend);
        }
        heard
    }

    /// Whatever state a panic left behind is not to be trusted.
    fn open_again(&mut self, backend: usize) -> Result<(), Useless> {
        let there = self.transcribers.get(backend).is_some_and(Option::is_some);
        let (true, Some((name, engine))) = (there, self.engines.all().nth(backend)) else { return Ok(()) };
        match open_warm(name, engine) {
            Ok(fresh) => self.transcribers[backend] = fresh,
            Err(error) => {
                self.transcribers[backend] = None;
                self.warmth.failed(error);
                // The others still have need of this thread.
                if self.engines.all().count() == 1 {
                    return Err(Useless);
                }
            }
        }
        Ok(())
    }
}

/// Opens a transcriber and lets it decode a second of near silence, so that the
/// first caller does not pay for lazy loading. None for one that works elsewhere.
pub(super) fn open_warm(name: &str, engine: &Engine) -> Result<Option<Box<dyn Transcriber>>, BuildError> {
    let Engine::Local(engine) = engine else { return Ok(None) };
    let failed = |problem: String| BuildError::new(name, problem, "see the log above for its own message");
    catch_unwind(AssertUnwindSafe(|| {
        let mut transcriber = engine.open()?;
        let audio: Vec<f32> = (0..PIPELINE_HZ).map(|n| if n % 2 == 0 { 1e-3 } else { -1e-3 }).collect();
        match transcriber.transcribe(&audio, SegmentKind::Partial) {
            Ok(_) | Err(Fault::Looped) => Ok(Some(transcriber)),
            Err(fault) => Err(failed(format!("could not decode a second of silence: {fault}"))),
        }
    }))
    .unwrap_or_else(|_| Err(failed("crashed while it was opened".to_owned())))
}

/// What it takes to answer jobs whose decoding began at `started`.
struct Answering<'a> {
    engines: &'a Engines,
    finish: &'a Arc<Finish>,
    buffers: &'a BufferPool,
    started: Instant,
}

impl Answering<'_> {
    fn answer(&self, job: Job, outcome: Result<Transcript, Fault>) {
        let Job { about, samples, backend, submitted, to } = job;
        let asr = self.engines.all().nth(backend).map_or("", |(name, _)| name);
        match to {
            To::Leg(slot) => {
                let outcome = outcome.and_then(|transcript| self.finish.text(&about, transcript));
                let (queued, decoded) = (self.started.saturating_duration_since(submitted), self.started.elapsed());
                self.finish.answer(Served { about, samples, asr, outcome, queued, decoded }, slot);
            }
            To::Course(course) => {
                // Whoever asked may have had enough.
                let _ = course.send(outcome.map(|transcript| (asr, transcript)));
                give_back(samples, self.buffers);
            }
        }
    }
}

/// Hears one utterance at the level that transcribers expect, for which `audio` has room. After
/// [`Fault::Crashed`] the transcriber is not to be trusted any more.
pub(super) fn hear(
    transcriber: &mut dyn Transcriber,
    samples: &[i16],
    kind: SegmentKind,
    audio: &mut Vec<f32>,
) -> Result<Transcript, Fault> {
    unless_it_crashes(|| {
        level::to_speech_level(samples, audio);
        transcriber.transcribe(audio, kind)
    })
}

fn unless_it_crashes(hear: impl FnOnce() -> Result<Transcript, Fault>) -> Result<Transcript, Fault> {
    catch_unwind(AssertUnwindSafe(hear)).unwrap_or(Err(Fault::Crashed))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::asr::Local;
    use crate::inference::job::About;
    use crate::inference::job::tests::about;
    use crate::inference::queue::Limits;
    use crate::inference::{FailOver, Hearing};
    use crate::redact::Policy;
    use crate::types::{MediaTime, Private};

    /// Says how many samples it heard. Of 13 samples it dies, of 7 it says nothing when they
    /// come together with others.
    struct Counter;

    impl Transcriber for Counter {
        fn transcribe(&mut self, samples: &[f32], _: SegmentKind) -> Result<Transcript, Fault> {
            assert_ne!(samples.len(), 13);
            Ok(Transcript { text: Private(samples.len().to_string()), ..Transcript::default() })
        }

        fn together(&self) -> usize {
            8
        }

        fn transcribe_together(
            &mut self,
            utterances: &[Vec<f32>],
            answer: &mut dyn FnMut(usize, Result<Transcript, Fault>),
        ) {
            assert!(utterances.len() > 1, "one alone was called several");
            for (place, samples) in utterances.iter().enumerate().filter(|(_, samples)| samples.len() != 7) {
                let heard = self.transcribe(samples, SegmentKind::Final);
                answer(place, heard.map(|it| Transcript { confidence: Some(0.5), ..it }));
            }
        }
    }

    struct Counters;

    impl Local for Counters {
        fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
            Ok(Box::new(Counter))
        }
    }

    /// What a worker answers to finals of so many samples that wait for it: the text, and
    /// whether it was heard together with others.
    fn answers(lengths: &[usize]) -> Vec<Result<(String, bool), Fault>> {
        served(Counters, (0..).zip(lengths).map(|(id, &samples)| (about(Hearing::default(), id), samples)))
    }

    /// What a worker of this engine answers to finals of so many samples that wait for it, in
    /// the order of their numbers: the text, and whether there is a confidence.
    fn served(
        engine: impl Local + 'static,
        finals: impl Iterator<Item = (About, usize)>,
    ) -> Vec<Result<(String, bool), Fault>> {
        let engines = Engines {
            asr_name: "counter",
            asr: Engine::Local(Arc::new(engine)),
            fall_back: Vec::new(),
            quick: None,
            join_within: Duration::from_secs(2),
            fail_over: FailOver::default(),
            scorer: None,
            shadow: None,
            redaction: Policy::default(),
        };
        let buffers = Arc::new(BufferPool::new(1, 1));
        let queue = Arc::new(Queue::new(Limits { audio_max_s: 60, partials_max: 0, scores_audio_max_s: 5 }, 1));
        let finish = Arc::new(Finish::new(None, None, Arc::clone(&queue), Arc::clone(&buffers)));
        let finals: Vec<_> = finals.collect();
        let (sender, mut replies) = mpsc::channel(finals.len());
        let waiting = finals.len();
        for (about, samples) in finals {
            let to = To::Leg(sender.clone().try_reserve_owned().unwrap());
            let samples = Arc::new(vec![0; samples]);
            let job = Job { about, samples, backend: 0, submitted: Instant::now(), to };
            assert!(queue.push(job, &buffers).is_ok());
        }
        let (report, _) = watch::channel(Readiness::Warming);
        let warmth = Warmth::new(report, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| run(&engines, &queue, &finish, &warmth, &buffers));
            let mut answers: Vec<_> = (0..waiting).map(|_| replies.blocking_recv().unwrap()).collect();
            queue.close(&buffers);
            answers.sort_unstable_by_key(|reply| reply.id.0);
            let text = |it: Transcript| (it.text.0, it.confidence.is_some());
            answers.into_iter().map(|reply| reply.outcome.map(text)).collect()
        })
    }

    /// Says what it heard after what: "so" for a second or so.
    struct Joiner;

    fn word(samples: usize) -> &'static str {
        ["", "so", "well", "then"][samples / 16_000]
    }

    impl Transcriber for Joiner {
        fn transcribe(&mut self, samples: &[f32], _: SegmentKind) -> Result<Transcript, Fault> {
            Ok(Transcript { text: Private(word(samples.len()).to_owned()), ..Transcript::default() })
        }

        fn joined_max(&self) -> usize {
            100_000
        }

        fn transcribe_after(&mut self, before: Before<'_>, samples: &[f32]) -> Result<Transcript, Fault> {
            assert!(before.text.starts_with(word(before.samples.len())), "another's words");
            let text = format!("{} after {}", word(samples.len()), before.text);
            Ok(Transcript { text: Private(text), confidence: Some(1.0), ..Transcript::default() })
        }
    }

    struct Joiners;

    impl Local for Joiners {
        fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
            Ok(Box::new(Joiner))
        }
    }

    /// The answers to finals of two legs, by leg, where each is so many samples long and begins
    /// at so many milliseconds.
    fn joined(finals: &[(u64, usize, usize)]) -> Vec<String> {
        let legs = [Hearing::default(), Hearing::default()];
        let finals = (0..).zip(finals).map(|(id, &(start_ms, samples, leg))| {
            let about = about(legs[leg].clone(), id);
            (About { start: MediaTime::from_ms(start_ms), ..about }, samples)
        });
        served(Joiners, finals).into_iter().map(|answer| answer.unwrap().0).collect()
    }

    #[test]
    fn a_final_is_heard_with_its_neighbour_on_the_same_leg() {
        let (first, second) = ((0, 16_000, 0), (1_000, 32_000, 0));
        assert_eq!(joined(&[first, (500, 16_000, 1), second]), ["so", "so", "well after so"]);
        assert_eq!(joined(&[first, (5_000, 32_000, 0)]), ["so", "well"], "it was long ago");
        assert_eq!(joined(&[(0, 13, 0), second]), ["", "well"], "nothing was said");
    }

    #[test]
    fn where_too_much_waits_it_is_heard_alone() {
        // While the first two are heard more than five seconds wait, and after that less.
        let second = |n: u64, samples| (n * 1_000, samples, 0);
        let answers = joined(&[second(0, 16_000), second(1, 16_001), second(3, 48_000), second(6, 48_001)]);
        assert_eq!(answers, ["so", "so", "then after so", "then after then after so"]);
    }

    fn heard(samples: usize, together: bool) -> Result<(String, bool), Fault> {
        Ok((samples.to_string(), together))
    }

    #[test]
    fn finals_that_wait_are_heard_together_and_each_has_its_own_answer() {
        assert_eq!(answers(&[5]), [heard(5, false)]);
        assert_eq!(answers(&[5, 9, 1]), [heard(5, true), heard(9, true), heard(1, true)]);
    }

    #[test]
    fn what_is_not_answered_together_is_asked_about_alone() {
        assert_eq!(answers(&[5, 7, 9]), [heard(5, true), heard(7, false), heard(9, true)]);
    }

    #[test]
    fn an_utterance_that_kills_the_transcriber_costs_no_other_its_text() {
        assert_eq!(answers(&[5, 13, 9, 7]), [heard(5, true), Err(Fault::Crashed), heard(9, false), heard(7, false)]);
    }
}
