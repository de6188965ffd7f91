//! The path of a leg's audio, from bytes to segments and from answers to events.
//!
//! Invariant: between an utterance's start and its end, a frame costs one
//! conversion, one detector call and one copy; it allocates nothing.

use crate::audio::level;
use crate::audio::pcm::Framer;
use crate::audio::resample::Resampler;
use crate::event::Body;
use crate::event::body::{
    Label, RedactedEntity, SentimentScore, SpeechEnded, SpeechStarted, TimedBy, TimedWord, Timing, TranscriptDropped,
    TranscriptFinal, TranscriptPartial, Weights,
};
use crate::types::rate::{FRAME_MS, FRAME_SAMPLES, Frame};
use crate::types::{
    DropReason, Entity, MediaTime, Moment, PeerFault, Rate, Reply, Segment, SegmentId, SegmentKind, Sentiment,
    SentimentLabel, Transcript,
};
use crate::vad::Vad;

use super::config::Endpointing;
use super::endpointer::{Endpointer, Step};
use super::reorder::{Answer, Pending};
use super::segmenter::{Open, Segmenter};
use super::trend::Trend;
use super::{Call, Output, Phase};

/// Samples in the largest incoming frame: 20 ms at 24 kHz.
const INPUT_SAMPLES_MAX: usize = 480;

/// A live leg's audio machinery.
pub(super) struct Media {
    framer: Framer,
    resampler: Option<Resampler>,
    vad: Box<dyn Vad>,
    endpointer: Endpointer,
    segmenter: Segmenter,
    input: [i16; INPUT_SAMPLES_MAX],
    input_len: usize,
    frame: Frame,
    /// End of the newest frame.
    position: MediaTime,
    last_audio_at: Option<Moment>,
    /// Whether the current pause in arrival was noticed already.
    in_gap: bool,
    /// Whether the beginning of the next frame arrived while the leg was paused.
    tainted: bool,
    /// The partial now being decoded.
    partial: Option<Partial>,
}

impl Media {
    pub(super) fn new(endpointing: &Endpointing, rate: Rate, vad: Box<dyn Vad>) -> Box<Self> {
        let endpointer = Endpointer::new(endpointing);
        let pre_roll = endpointing.pre_roll_ms.div_ceil(FRAME_MS) + u64::from(endpointer.frames_to_open());
        Box::new(Self {
            framer: Framer::new(rate),
            resampler: Resampler::new(rate),
            vad,
            endpointer,
            segmenter: Segmenter::new(pre_roll as usize, rate.frame_samples() as u64),
            input: [0; INPUT_SAMPLES_MAX],
            input_len: rate.frame_samples(),
            frame: [0; FRAME_SAMPLES],
            position: MediaTime::default(),
            last_audio_at: None,
            in_gap: false,
            tainted: false,
            partial: None,
        })
    }

    pub(super) fn position(&self) -> MediaTime {
        self.position
    }

    pub(super) fn segments(&self) -> u64 {
        self.segmenter.opened()
    }

    /// When the newest voiced frame of `open` arrived: counted back from the newest frame, for
    /// frames may be handed in together that came one after the other.
    fn voiced_at(&self, open: &Open, now: Moment) -> Moment {
        let since = MediaTime(self.position - open.voiced_until).ms();
        Moment(self.last_audio_at.unwrap_or(now).0.saturating_sub(since * 1000))
    }

    /// Frames until something may come of one, whatever they hold; at least 1.
    fn frames_to_decide(&self) -> u32 {
        let decision = self.endpointer.frames_to_decide();
        // One that is being decoded has to come first.
        let due = self.segmenter.open.as_ref().and_then(|open| open.partial_due).filter(|_| self.partial.is_none());
        let partial = due.map(|due| (due - self.position).div_ceil(FRAME_SAMPLES as u64).max(1));
        partial.map_or(decision, |frames| decision.min(u32::try_from(frames).unwrap_or(u32::MAX)))
    }

    /// Takes the input frame to the pipeline's rate and moves the clock on.
    fn resample(&mut self) {
        let input = &self.input[..self.input_len];
        match &mut self.resampler {
            Some(resampler) => resampler.process(input, &mut self.frame),
            None => self.frame.copy_from_slice(input),
        }
        self.position = self.position + FRAME_SAMPLES as u64;
    }
}

/// A request for the text so far.
struct Partial {
    id: SegmentId,
    /// End of the audio it was made from.
    until: MediaTime,
    /// From then on, no answer is expected any more.
    deadline: Moment,
}

/// Figures for the closing event.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) speech_ms: u64,
    pub(super) gap_ms: u64,
    pub(super) finals: u64,
    pub(super) dropped: u64,
    pub(super) partials_shed: u64,
    pub(super) words: u64,
    pub(super) dtmf: u64,
    power_sum: f64,
    power_samples: u64,
    pub(super) trend: Trend,
}

impl Tally {
    pub(super) fn speech_dbfs(&self) -> Option<f32> {
        (self.power_samples > 0).then(|| level::dbfs((self.power_sum / self.power_samples as f64) as f32))
    }
}

impl Call {
    /// Takes bytes of audio that belong to a live leg.
    pub(super) fn on_frames(&mut self, now: Moment, bytes: &[u8]) {
        // Taken out for the time being: a pointer move, so that the leg and its media
        // can both be used. Made for the first frame: a leg on hold may never send any.
        let mut media =
            self.media.take().unwrap_or_else(|| Media::new(&self.config.endpointing, self.rate, (self.parts.vad)()));
        self.skip_gap(now, &mut media);
        media.last_audio_at = Some(now);
        let mut rest = bytes;
        while media.framer.next_frame(&mut rest, &mut media.input[..media.input_len]) {
            let received = media.input_len as u64;
            self.on_frame(now, &mut media, received);
        }
        self.media = Some(media);
    }

    /// Takes one frame, of which `received` incoming samples are real.
    fn on_frame(&mut self, now: Moment, media: &mut Media, received: u64) {
        self.ledger.received += received;
        let tainted = std::mem::take(&mut media.tainted);
        if self.paused || tainted {
            // Nothing of it may remain, not even in the resampler's filter.
            media.input.fill(0);
            media.resample();
            self.ledger.paused += received;
            return;
        }
        media.resample();
        let score = media.vad.score(&media.frame);
        match media.endpointer.step(score) {
            Step::Quiet => self.ledger.silent += media.segmenter.keep(&media.frame, received),
            Step::Opened => {
                self.ledger.silent += media.segmenter.keep(&media.frame, received);
                self.open(now, media);
            }
            Step::Speaking { voiced } => {
                media.segmenter.extend(&media.frame, received);
                if voiced {
                    self.voiced(media);
                    self.ask_partial(now, media);
                }
            }
            Step::Closed => {
                media.segmenter.extend(&media.frame, received);
                self.close(now, media);
            }
            Step::Cut => {
                media.segmenter.extend(&media.frame, received);
                self.voiced(media);
                if let Some(done) = media.segmenter.cut(self.parts.buffers.take()) {
                    self.submit(now, media, done);
                }
                if let Some(rest) = &media.segmenter.open {
                    media.endpointer.set_open_frames((rest.samples.len() / FRAME_SAMPLES) as u32);
                }
            }
        }
    }

    /// How many frames may be handed in together: none before the last of them can make the
    /// call say anything, whatever they hold. 1 or more.
    #[must_use]
    pub fn batch(&self) -> u32 {
        // While paused, what arrives is to be told from what comes after at once; and what a
        // platform says of a playback comes between frames.
        let playing = self.player.as_ref().is_some_and(|player| player.deadline().is_some());
        let may_wait = matches!(self.phase, Phase::Live) && !self.paused && !playing;
        let Some(media) = self.media.as_ref().filter(|media| may_wait && !media.in_gap) else { return 1 };
        let longest = self.config.batch.min(self.config.gap_timeout / 4).as_millis() as u64 / FRAME_MS;
        media.frames_to_decide().min(longest as u32).max(1)
    }

    fn open(&mut self, now: Moment, media: &mut Media) {
        let buffer = self.parts.buffers.take();
        let interval = self.partial_interval();
        let open = media.segmenter.open(buffer, media.position);
        open.partial_due = interval.map(|interval| open.start + interval);
        media.endpointer.set_open_frames((open.samples.len() / FRAME_SAMPLES) as u32);
        let started = SpeechStarted { segment: open.id.0, start_ms: self.start_ms() + open.start.ms() };
        self.tally.speech_ms += u64::from(media.endpointer.frames_to_open()) * FRAME_MS;
        self.emit(now, Body::SpeechStarted(started));
        self.on_barge_in(now);
    }

    fn voiced(&mut self, media: &mut Media) {
        self.tally.speech_ms += FRAME_MS;
        if let Some(open) = &mut media.segmenter.open {
            open.voiced_until = media.position;
        }
    }

    /// Samples of speech between two partials, if there are to be any.
    fn partial_interval(&self) -> Option<u64> {
        Some(MediaTime::from_ms(self.config.partial_interval_ms).0).filter(|interval| *interval > 0)
    }

    /// Asks for the text so far, one request at a time.
    fn ask_partial(&mut self, now: Moment, media: &mut Media) {
        let interval = self.partial_interval();
        let Some(open) = &mut media.segmenter.open else { return };
        if open.partial_due.is_none_or(|due| media.position < due) {
            return;
        }
        if let Some(asked) = &media.partial {
            if now < asked.deadline {
                return;
            }
            self.tally.partials_shed += 1;
        }
        open.partial_due = interval.map(|interval| media.position + interval);
        let deadline = now + self.config.reply_timeout;
        media.partial = Some(Partial { id: open.id, until: media.position, deadline });
        let mut samples = self.parts.buffers.take();
        samples.clear();
        samples.extend_from_slice(&open.samples);
        self.out.push_back(Output::Transcribe(Segment {
            leg: self.parts.leg.clone(),
            id: open.id,
            kind: SegmentKind::Partial,
            samples,
            start: open.start,
            cut_at: now,
        }));
    }

    /// Ends the open speech, if any.
    fn close(&mut self, now: Moment, media: &mut Media) {
        let Some(done) = media.segmenter.close() else { return };
        let base = self.start_ms();
        let ended =
            SpeechEnded { segment: done.id.0, start_ms: base + done.start.ms(), end_ms: base + done.voiced_until.ms() };
        self.emit(now, Body::SpeechEnded(ended));
        self.submit(now, media, done);
    }

    /// Sends a segment to a transcriber, or books it as overload.
    fn submit(&mut self, now: Moment, media: &Media, done: Open) {
        let power = done.power();
        self.tally.power_sum += f64::from(power) * done.samples.len() as f64;
        self.tally.power_samples += done.samples.len() as u64;
        let room = self.reorder.has_room();
        self.reorder.push(Pending {
            id: done.id,
            start: done.start,
            end: done.end(),
            received: done.received,
            power,
            voiced_at: media.voiced_at(&done, now),
            cut_at: now,
            deadline: now + self.config.reply_timeout,
            answer: (!room).then_some(Answer::Dropped(DropReason::Overload)),
        });
        if room {
            self.out.push_back(Output::Transcribe(Segment {
                leg: self.parts.leg.clone(),
                id: done.id,
                kind: SegmentKind::Final,
                start: done.start,
                samples: done.samples,
                cut_at: now,
            }));
        } else {
            self.parts.buffers.give(done.samples);
        }
    }

    // --- holes in the audio -----------------------------------------------

    /// Ends open speech and forgets what was heard: what follows is not its sequel.
    pub(super) fn hush(&mut self, now: Moment) {
        if let Some(mut media) = self.media.take() {
            self.hush_media(now, &mut media);
            self.media = Some(media);
        }
    }

    /// A frame that began during a pause is counted as paused, though it ends after it.
    pub(super) fn taint(&mut self) {
        if let Some(media) = &mut self.media {
            media.tainted = media.framer.holds();
        }
    }

    fn hush_media(&mut self, now: Moment, media: &mut Media) {
        self.close(now, media);
        self.ledger.silent += media.segmenter.forget();
        media.endpointer.reset();
        media.vad.reset();
    }

    /// When the current pause in arrival becomes a gap.
    pub(super) fn gap_deadline(&self) -> Option<Moment> {
        let media = self.media.as_ref()?;
        let last = media.last_audio_at.filter(|_| !media.in_gap)?;
        Some(last + self.config.gap_timeout)
    }

    /// Speech cannot go on while nothing arrives; its text must not wait for more.
    pub(super) fn close_after_gap(&mut self, now: Moment) {
        if self.gap_deadline().is_some_and(|due| now >= due) {
            self.hush(now);
            if let Some(media) = &mut self.media {
                media.in_gap = true;
            }
        }
    }

    /// After a gap: the platform may not send silence, so the media clock, which counts
    /// samples, moves on to where the arrival clock is.
    fn skip_gap(&mut self, now: Moment, media: &mut Media) {
        let Some(last) = media.last_audio_at else { return };
        if now.since(last) < self.config.gap_timeout {
            return;
        }
        if !media.in_gap {
            self.hush_media(now, media);
        }
        media.in_gap = false;
        let elapsed = now.since(self.audio_started.unwrap_or(last)).as_millis() as u64;
        let missing_ms = elapsed.saturating_sub(media.position.ms()) / FRAME_MS * FRAME_MS;
        media.position = media.position + MediaTime::from_ms(missing_ms).0;
        self.tally.gap_ms += missing_ms;
    }

    /// No more audio will come: decides about what is held.
    pub(super) fn finish_media(&mut self, now: Moment) {
        let Some(mut media) = self.media.take() else { return };
        let (samples, half) = media.framer.finish(&mut media.input[..media.input_len]);
        if samples > 0 {
            self.on_frame(now, &mut media, samples as u64);
        }
        if media.resampler.is_some() && media.segmenter.open.is_some() {
            // The resampler's filter still holds the last 3 or 10 ms.
            media.input.fill(0);
            media.resample();
            media.segmenter.extend(&media.frame, 0);
        }
        self.hush_media(now, &mut media);
        self.media = Some(media);
        if half {
            self.fault(PeerFault::HalfSample);
        }
    }

    // --- answers ------------------------------------------------------------

    /// Publishes text so far, unless the speech has ended since.
    pub(super) fn on_partial(&mut self, now: Moment, reply: Reply) {
        let Some(media) = &mut self.media else { return };
        let Some(asked) = media.partial.take_if(|asked| asked.id == reply.id) else { return };
        let open = media.segmenter.open.as_ref().filter(|open| open.id == reply.id);
        match (open, reply.outcome) {
            (Some(open), Ok(transcript)) => {
                let start = open.start;
                if !transcript.text.0.is_empty() {
                    let base = self.start_ms();
                    let partial = TranscriptPartial {
                        segment: reply.id.0,
                        start_ms: base + start.ms(),
                        end_ms: base + asked.until.ms(),
                        text: transcript.text.0,
                        asr: reply.asr.to_owned(),
                    };
                    self.emit(now, Body::TranscriptPartial(partial));
                }
            }
            _ => self.tally.partials_shed += 1,
        }
    }

    /// Whether a partial was asked for and has not come.
    pub(super) fn partial_unanswered(&self) -> bool {
        self.media.as_ref().is_some_and(|media| media.partial.is_some())
    }

    /// Writes a segment's one terminal event.
    pub(super) fn conclude(&mut self, now: Moment, segment: &Pending, answer: Answer) {
        let overheard = matches!(&answer, Answer::Reply(reply) if reply.overheard);
        self.publish(now, segment, answer);
        self.after_terminal(now, segment.id, overheard);
    }

    fn publish(&mut self, now: Moment, segment: &Pending, answer: Answer) {
        let (reason, fault) = match answer {
            Answer::Reply(reply) => match reply.outcome {
                Ok(ref transcript) if !transcript.text.0.trim().is_empty() => {
                    let event = self.final_event(now, segment, transcript, &reply);
                    self.ledger.transcribed += segment.received;
                    self.tally.finals += 1;
                    if let Some(Ok(sentiment)) = &reply.sentiment {
                        self.tally.trend.add(segment.start.ms(), segment.end.ms(), sentiment.compound);
                    }
                    self.tally.words += transcript.text.0.split_whitespace().count() as u64;
                    self.emit(now, Body::TranscriptFinal(event));
                    return;
                }
                Ok(_) => (DropReason::NoSpeech, None),
                Err(fault) => (fault.drop_reason(), Some(fault.as_str())),
            },
            Answer::Dropped(reason) => (reason, None),
        };
        self.ledger.drop(reason, segment.received);
        self.tally.dropped += 1;
        let base = self.start_ms();
        let dropped = TranscriptDropped {
            segment: segment.id.0,
            start_ms: base + segment.start.ms(),
            end_ms: base + segment.end.ms(),
            reason: reason.as_str().to_owned(),
            fault: fault.map(str::to_owned),
        };
        self.emit(now, Body::TranscriptDropped(dropped));
    }

    fn final_event(&self, now: Moment, segment: &Pending, transcript: &Transcript, reply: &Reply) -> TranscriptFinal {
        let start_ms = self.start_ms() + segment.start.ms();
        let end_ms = self.start_ms() + segment.end.ms();
        // A transcriber may err about times; a word is within its segment all the same.
        let words = transcript.words.iter().map(|word| {
            let word_start = start_ms.saturating_add(word.start_ms).min(end_ms);
            let word_end = start_ms.saturating_add(word.end_ms).clamp(word_start, end_ms);
            TimedWord { text: word.text.0.clone(), start_ms: word_start, end_ms: word_end, confidence: word.confidence }
        });
        let scored = reply.sentiment.as_ref().map(Result::as_ref);
        TranscriptFinal {
            segment: segment.id.0,
            start_ms,
            end_ms,
            text: transcript.text.0.trim().to_owned(),
            words: words.collect(),
            entities: reply.entities.iter().map(|entity| redacted(entity, start_ms, end_ms)).collect(),
            confidence: transcript.confidence,
            language: transcript.language.to_owned(),
            asr: reply.asr.to_owned(),
            sentiment: scored.and_then(Result::ok).map(|sentiment| score(sentiment, reply.scorer)),
            sentiment_fault: scored.and_then(Result::err).map(|fault| fault.as_str().into()),
            level_dbfs: round1(level::dbfs(segment.power)),
            timing: Timing {
                endpoint_ms: ms(segment.cut_at.since(segment.voiced_at)),
                queue_ms: ms(reply.queued),
                decode_ms: ms(reply.decoded),
                total_ms: ms(now.since(segment.voiced_at)),
            },
        }
    }
}

/// An entity on the call clock; the whole segment where its own times are not known.
fn redacted(entity: &Entity, start_ms: u64, end_ms: u64) -> RedactedEntity {
    let (from, to, timed_by) = match entity.span_ms {
        Some((from, to)) => {
            let from = start_ms.saturating_add(from).min(end_ms);
            (from, start_ms.saturating_add(to).clamp(from, end_ms), TimedBy::Words)
        }
        None => (start_ms, end_ms, TimedBy::Segment),
    };
    RedactedEntity {
        kind: entity.kind.as_str().to_owned(),
        start_ms: from,
        end_ms: to,
        timed_by,
        first_word: entity.first_word as u64,
        words: entity.words as u64,
    }
}

fn score(sentiment: &Sentiment, backend: Option<&'static str>) -> SentimentScore {
    let Sentiment { label, compound, negative, neutral, positive } = *sentiment;
    SentimentScore {
        label: match label {
            SentimentLabel::Negative => Label::Negative,
            SentimentLabel::Neutral => Label::Neutral,
            SentimentLabel::Positive => Label::Positive,
        },
        compound,
        weights: Weights { negative, neutral, positive },
        backend: backend.unwrap_or_default().to_owned(),
    }
}

/// Milliseconds with one decimal: what a reader can use.
fn ms(span: std::time::Duration) -> f32 {
    round1(span.as_secs_f32() * 1000.0)
}

fn round1(x: f32) -> f32 {
    (x * 10.0).round() / 10.0
}
