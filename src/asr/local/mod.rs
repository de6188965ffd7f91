//! What transcribers that run networks of their own here have in common: an utterance is
//! cut into pieces, each piece decoded, and what goes round in circles or ends too early tried
//! once more.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Before, Engine, Local, Transcriber};
use crate::types::{BuildError, Fault, Private, SegmentKind, Transcript, Word};

pub(super) use self::audio::ms;
pub(super) use self::band::Band;
pub(super) use self::choice::{likeliest, likeliest_few};

mod audio;
mod band;
mod choice;
mod repeat;
pub(super) mod rows;

/// What was heard in one stretch of audio.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// Tokens, without begin and end.
    pub(super) tokens: Vec<u32>,
    /// Sum of the log-probabilities of the tokens and, where it came, of the end.
    pub(super) log_prob: f32,
    /// How many log-probabilities that sum has.
    pub(super) scored: usize,
    /// Whether the tokens went round in circles; decoding stopped there.
    pub(super) looped: bool,
    /// The words they make up, where the network knows when each was said: within that
    /// stretch, one after the other.
    pub(super) words: Vec<Word>,
}

impl Heard {
    /// Takes the next token, with its log-probability; `end` is no part of the text. Whether
    /// there may be more: not after the end, nor once the tokens go round in circles.
    pub(super) fn takes(&mut self, (token, log_prob): (u32, f32), end: u32) -> bool {
        self.log_prob += log_prob;
        self.scored += 1;
        if token == end {
            return false;
        }
        self.tokens.push(token);
        self.looped = repeat::ends_in_loop(&self.tokens);
        !self.looped
    }

    /// The log-probability of a token, on average; not a number where there is none.
    pub(super) fn mean(&self) -> f32 {
        self.log_prob / self.scored as f32
    }

    /// Whether it is a text, and its tokens are likelier than those of `other`.
    fn is_surer_than(&self, other: &Self) -> bool {
        !self.looped && self.mean() > other.mean()
    }
}

/// Moves words to where `place` says their times are.
fn move_words(words: &mut [Word], place: impl Fn(u64) -> u64) {
    for word in words {
        (word.start_ms, word.end_ms) = (place(word.start_ms), place(word.end_ms));
    }
}

/// One thread's own networks.
pub(super) trait Network: Send + 'static {
    /// Decodes `samples`: 16 kHz, within ±1, at most 24.2 s of them.
    fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard>;

    /// Whether so little was heard in so many samples that the end may have come too early, so
    /// that a final is worth decoding once more.
    fn may_lack(&self, _heard: &Heard, _samples: usize) -> bool {
        false
    }

    /// Decodes once more what it went round in circles on, or ended too early, in another way.
    fn hear_again(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        let mut heard = self.hear(&audio::after_a_pause(samples))?;
        move_words(&mut heard.words, |ms| ms.saturating_sub(audio::ms(audio::PAUSE)));
        Ok(heard)
    }

    /// As [`Transcriber::joined_max`].
    fn joined_max(&self) -> usize {
        0
    }

    /// Decodes `samples` as what goes on from `before`.
    fn hear_after(&mut self, _before: Before<'_>, samples: &[f32]) -> ort::Result<Heard> {
        self.hear(samples)
    }

    /// How many utterances it decodes in less time together than one by one.
    fn together(&self) -> usize {
        1
    }

    /// Decodes utterances together, as [`Self::hear`] does; `heard` is called with the place of
    /// each and its text once it is done. Those it is not called for are decoded alone.
    fn hear_together(
        &mut self,
        _utterances: &[&[f32]],
        _heard: &mut dyn FnMut(usize, &Heard, String),
    ) -> ort::Result<()> {
        Ok(())
    }

    /// The text of `tokens`, trimmed.
    fn text(&self, tokens: &[u32]) -> String;

    /// The language it hears, as BCP 47 has it.
    fn language(&self) -> &'static str;
}

/// An engine whose threads `open` networks of their own.
///
/// # Errors
/// As `open`, or when the networks do not run: that must show here, not on the first call.
pub(super) fn engine<N: Network>(
    name: &'static str,
    open: impl Fn() -> Result<N, BuildError> + Send + Sync + 'static,
) -> Result<Engine, BuildError> {
    let open = move || {
        let mut network = open()?;
        // The first run is slow: the runtime allocates as it goes.
        network.hear(&[0.0; 8_000]).map_err(|error| {
            BuildError::new(
                name,
                format!("does not run: {error}"),
                "fetch the model anew with `sidetone models fetch --force`",
            )
        })?;
        Ok(network)
    };
    let first = Mutex::new(Some(open()?));
    Ok(Engine::Local(Arc::new(Opener { open, first })))
}

/// A language as [`Network::language`] has it: kept for the life of the process, as an engine is.
pub(super) fn tag(language: String) -> &'static str {
    if language == "en" { "en" } else { language.leak() }
}

struct Opener<N, F> {
    open: F,
    /// Opened to try the model; the first thread to ask has it.
    first: Mutex<Option<N>>,
}

impl<N: Network, F: Fn() -> Result<N, BuildError> + Send + Sync> Local for Opener<N, F> {
    fn open(&self) -> Result<Box<dyn Transcriber>, BuildError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(InPieces(first.map_or_else(&self.open, Ok)?)))
    }
}

struct InPieces<N>(N);

impl<N: Network> Transcriber for InPieces<N> {
    /// Audio over 24 s is transcribed in pieces of 12 to 24 s, cut where it is quietest.
    fn transcribe(&mut self, samples: &[f32], kind: SegmentKind) -> Result<Transcript, Fault> {
        let Self(network) = self;
        let samples = &*audio::playable(samples);
        let mut all = Heard::default();
        for piece in audio::pieces(samples) {
            let start_ms = audio::ms(piece.start);
            let piece = &samples[piece];
            if piece.iter().all(|sample| sample.abs() < audio::SILENCE) {
                continue;
            }
            let mut heard = network.hear(piece).map_err(failed)?;
            if kind == SegmentKind::Final && (heard.looped || network.may_lack(&heard, piece.len())) {
                let again = network.hear_again(piece).map_err(failed)?;
                if heard.looped || again.is_surer_than(&heard) {
                    heard = again;
                }
            }
            if heard.looped {
                return Err(Fault::Looped);
            }
            all.tokens.extend(heard.tokens);
            all.log_prob += heard.log_prob;
            all.scored += heard.scored;
            move_words(&mut heard.words, |ms| ms + start_ms);
            all.words.extend(heard.words);
        }
        let text = network.text(&all.tokens);
        Ok(transcript(text, &all, network.language()))
    }

    fn joined_max(&self) -> usize {
        self.0.joined_max()
    }

    fn transcribe_after(&mut self, before: Before<'_>, samples: &[f32]) -> Result<Transcript, Fault> {
        if is_plain(samples, audio::PIECE_MAX) && is_plain(before.samples, audio::PIECE_MAX) {
            let heard = self.0.hear_after(before, samples).map_err(failed)?;
            if !heard.looped && !self.0.may_lack(&heard, samples.len()) {
                return Ok(transcript(self.0.text(&heard.tokens), &heard, self.0.language()));
            }
        }
        self.transcribe(samples, SegmentKind::Final)
    }

    fn together(&self) -> usize {
        self.0.together()
    }

    fn transcribe_together(
        &mut self,
        utterances: &[Vec<f32>],
        answer: &mut dyn FnMut(usize, Result<Transcript, Fault>),
    ) {
        let (places, plain): (Vec<usize>, Vec<&[f32]>) = utterances
            .iter()
            .map(Vec::as_slice)
            .enumerate()
            .filter(|(_, samples)| is_plain(samples, audio::PIECE_MIN))
            .unzip();
        let language = self.0.language();
        // Those that loop, and all that are left when the networks fail, are asked about again.
        let _ = self.0.hear_together(&plain, &mut |row, heard, text| {
            if !heard.looped {
                answer(places[row], Ok(transcript(text, heard, language)));
            }
        });
    }
}

/// Whatever is longer, silent or not quite audio is for `transcribe`, alone.
fn is_plain(samples: &[f32], samples_max: usize) -> bool {
    samples.len() <= samples_max
        && samples.iter().all(|sample| sample.abs() <= 1.0)
        && samples.iter().any(|sample| sample.abs() >= audio::SILENCE)
}

fn failed(error: ort::Error) -> Fault {
    Fault::Backend(error.to_string())
}

fn transcript(text: String, heard: &Heard, language: &'static str) -> Transcript {
    let text = choice::worded(text);
    let confidence = (!text.is_empty()).then(|| heard.mean().exp());
    let words = if text.is_empty() { Vec::new() } else { heard.words.clone() };
    Transcript { text: Private(text), words, confidence, language }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears one token and then the end, which may have been too early; `again`, which tokens it
    /// is given, how likely each.
    struct Hasty {
        again: (Vec<u32>, f32),
        looped: bool,
    }

    fn heard((tokens, mean): (Vec<u32>, f32)) -> Heard {
        let scored = tokens.len() + 1;
        Heard { tokens, log_prob: mean * scored as f32, scored, ..Heard::default() }
    }

    impl Network for Hasty {
        fn hear(&mut self, _: &[f32]) -> ort::Result<Heard> {
            Ok(heard((vec![1], -1.0)))
        }

        fn may_lack(&self, heard: &Heard, samples: usize) -> bool {
            heard.tokens.len() < samples / 16_000
        }

        fn hear_again(&mut self, _: &[f32]) -> ort::Result<Heard> {
            Ok(Heard { looped: self.looped, ..heard(self.again.clone()) })
        }

        fn joined_max(&self) -> usize {
            480_000
        }

        fn text(&self, tokens: &[u32]) -> String {
            tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        }

        fn language(&self) -> &'static str {
            "en"
        }
    }

    #[test]
    fn where_the_end_may_have_come_too_early_the_surer_of_two_texts_is_taken() {
        let more = |mean| (vec![1, 2, 3], mean);
        let final_of = |seconds: usize, again, looped| {
            let audio = vec![0.5; seconds * 16_000];
            let mut transcriber = InPieces(Hasty { again, looped });
            let before = Before { samples: &[0.5; 16_000], text: "so" };
            let alone = transcriber.transcribe(&audio, SegmentKind::Final).unwrap().text.0;
            assert_eq!(transcriber.transcribe_after(before, &audio).unwrap().text.0, alone, "after another");
            let partial = transcriber.transcribe(&audio, SegmentKind::Partial).unwrap().text.0;
            assert_eq!(partial, "1", "a text so far is not worth it");
            alone
        };
        assert_eq!(final_of(3, more(-0.5), false), "1 2 3");
        assert_eq!(final_of(1, more(-0.5), false), "1", "it was not asked again");
        assert_eq!(final_of(3, more(-1.5), false), "1", "it was surer before");
        assert_eq!(final_of(3, more(-0.5), true), "1", "that goes round in circles");
    }
}
