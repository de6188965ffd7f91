//! Greedy decoding with the two networks.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must never
//! decode longer than its bound.

use std::sync::Arc;

use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use super::super::local::{Heard, likeliest};
use super::mel::Mel;
use super::network::Size;

/// Samples in a frame of bands, and frames of them in one that the encoder makes.
const HOP: usize = 160;
const BANDS_PER_FRAME: usize = 2;

/// Silence that follows the audio in what is encoded, in samples: 8 s. The model was made for
/// windows of 30 s; a shorter one costs less, and with too little silence in it the model
/// goes on when all is said, in circles.
const SILENCE_AFTER: usize = 128_000;

/// Speech has at most this many tokens a second; more is the model running away.
const TOKENS_PER_SECOND: f32 = 8.0;

/// A short "Okay, thank you." may be faster than that.
const TOKENS_MIN: usize = 8;

/// Text is none where the model holds it likelier than this that nobody speaks, and is less
/// sure of its tokens than this, on average: its authors' bounds.
const NO_SPEECH: f32 = 0.6;
const UNSURE: f32 = -1.0;

/// What is the same for all threads.
pub(super) struct Script {
    /// Tokens that every text begins with.
    pub(super) prompt: Vec<u32>,
    /// The token that ends a text; those after it are not text.
    pub(super) end: u32,
    /// The token that says at a text's very beginning that there is no speech.
    pub(super) no_speech: Option<u32>,
    /// Tokens that are never chosen.
    pub(super) never: Vec<u32>,
    /// Tokens that are not chosen as the first.
    pub(super) never_first: Vec<u32>,
    /// What a token is to the decoder: so many figures for each.
    pub(super) tokens: Vec<half::f16>,
    /// What a place in the text adds to them.
    pub(super) places: Vec<f32>,
}

/// What the decoder network wants at one of its inputs.
enum Input {
    Tokens,
    /// What the encoder gave under this number.
    Audio(usize),
    /// The value of this number in the cache.
    Past(usize),
}

/// One thread's own pair of networks.
pub(super) struct Decoder {
    size: Size,
    script: Arc<Script>,
    mel: Mel,
    encoder: Session,
    decoder: Session,
    inputs: Vec<Input>,
    /// For each output of the decoder its number in the cache; none for the logits.
    outputs: Vec<Option<usize>>,
    no_past: DynValue,
}

impl Decoder {
    pub(super) fn new(size: Size, script: Arc<Script>, encoder: Session, decoder: Session) -> ort::Result<Self> {
        let audio: Vec<_> = encoder.outputs().iter().map(|output| output.name().to_owned()).collect();
        let caches: Vec<_> =
            decoder.outputs().iter().filter_map(|output| output.name().strip_prefix("present.")).collect();
        let outputs = decoder.outputs().iter().map(|output| {
            let cache = output.name().strip_prefix("present.")?;
            caches.iter().position(|name| *name == cache)
        });
        let outputs = outputs.collect();
        let inputs = decoder.inputs().iter().map(|input| match input.name() {
            "tokens" => Some(Input::Tokens),
            name => match name.strip_prefix("past.") {
                Some(cache) => caches.iter().position(|name| *name == cache).map(Input::Past),
                None => audio.iter().position(|audio| audio == name).map(Input::Audio),
            },
        });
        let inputs = inputs.collect::<Option<_>>().ok_or_else(|| ort::Error::new("the networks do not fit"))?;
        let empty = [1, size.heads as i64, 0, (size.figures / size.heads) as i64];
        let no_past = Tensor::<f32>::new(&Allocator::default(), empty)?.into_dyn();
        Ok(Self { size, script, mel: Mel::new(size.bands), encoder, decoder, inputs, outputs, no_past })
    }

    /// Decodes `samples`: 16 kHz, finite, at most 30 s of them.
    pub(super) fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        self.decode(samples, samples.len() + SILENCE_AFTER, &[])
    }

    /// The same in the window that the model was made for, at a window's whole cost: what goes
    /// round in circles in a shorter one seldom does in that.
    pub(super) fn hear_in_whole_window(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        self.decode(samples, usize::MAX, &[])
    }

    /// Samples that can be decoded together with all the silence that should follow them.
    pub(super) fn joined_max(&self) -> usize {
        (self.size.frames_max * BANDS_PER_FRAME * HOP).saturating_sub(SILENCE_AFTER)
    }

    /// Decodes `samples` as what goes on from `before`, in which `said` was heard: the decoder
    /// is made to say that first. Where it said too much, `samples` alone.
    pub(super) fn hear_after(&mut self, before: &[f32], said: &[u32], samples: &[f32]) -> ort::Result<Heard> {
        if said.len() > self.size.tokens_max / 4 {
            return self.hear(samples);
        }
        let joined = [before, samples].concat();
        self.decode(&joined, joined.len() + SILENCE_AFTER, said)
    }

    /// Decodes what follows `said` in `samples`, seen in a window of so many.
    fn decode(&mut self, samples: &[f32], window: usize, said: &[u32]) -> ort::Result<Heard> {
        let frames = (window / (HOP * BANDS_PER_FRAME)).min(self.size.frames_max) * BANDS_PER_FRAME;
        let mel = self.mel.of(samples, frames);
        let mel = TensorRef::from_array_view(([1, self.size.bands, frames], &mel[..]))?;
        let audio: Vec<_> = self.encoder.run(ort::inputs![mel])?.into_iter().map(|(_, value)| value).collect();

        let Script { prompt, end, no_speech, never, never_first, .. } = &*self.script;
        let most = (samples.len() as f32 / 16_000.0 * TOKENS_PER_SECOND) as usize + TOKENS_MIN;
        let most = most.min(self.size.tokens_max / 2);
        let mut heard = Heard::default();
        let mut cache: Vec<Option<DynValue>> = Vec::new();
        cache.resize_with(self.outputs.len(), || None);
        let prompt = [prompt, said].concat();
        let (mut next, mut rest) = prompt.split_at(prompt.len().min(1));
        let (mut place, mut silent) = (0, false);
        let mut token;
        loop {
            let vectors = vectors(&self.script, self.size.figures, next, place);
            place += next.len();
            let tokens = TensorRef::from_array_view(([1, next.len(), self.size.figures], &vectors[..]))?;
            let inputs: Vec<SessionInputValue<'_>> = self
                .inputs
                .iter()
                .map(|input| match input {
                    Input::Tokens => (&*tokens).into(),
                    Input::Audio(at) => (&audio[*at]).into(),
                    Input::Past(at) => cache[*at].as_ref().unwrap_or(&self.no_past).into(),
                })
                .collect();
            let values = self.decoder.run(&inputs[..])?;
            drop(inputs);
            let mut logits = None;
            for (output, (_, value)) in self.outputs.iter().zip(values) {
                match output {
                    Some(at) => cache[*at] = Some(value),
                    None => logits = Some(value),
                }
            }
            let Some(mut logits) = logits else { return Err(ort::Error::new("the decoder gives no logits")) };
            let logits = logits.try_extract_tensor_mut::<f32>()?.1;
            if !rest.is_empty() {
                // After the first token of the prompt it tells whether it hears speech at all.
                silent = no_speech.is_some_and(|token| probability(logits, token) > NO_SPEECH);
                (next, rest) = (rest, &[]);
                continue;
            }
            let Some(logits) = logits.get_mut(..=*end as usize) else {
                return Err(ort::Error::new("the decoder knows too few tokens"));
            };
            let first = never_first.iter().filter(|_| said.is_empty() && heard.tokens.is_empty());
            for token in never.iter().chain(first) {
                if let Some(logit) = logits.get_mut(*token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            let Some(best) = likeliest(logits) else {
                return Err(ort::Error::new("the decoder's figures are not numbers"));
            };
            if !heard.takes(best, *end) || heard.tokens.len() >= most {
                let unsure = heard.log_prob / (heard.scored as f32) < UNSURE;
                return Ok(if silent && unsure { Heard::default() } else { heard });
            }
            token = [best.0];
            next = &token;
        }
    }
}

/// The probability of `token`; 0 where there is none.
fn probability(logits: &[f32], token: u32) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|value| (value - highest).exp()).sum();
    logits.get(token as usize).map_or(0.0, |value| (value - highest).exp() / sum)
}

/// What `tokens` are to the decoder, the first of them at `place`. Those that there are not
/// are nothing.
fn vectors(script: &Script, figures: usize, tokens: &[u32], place: usize) -> Vec<f32> {
    let row = |n: usize| n * figures..(n + 1) * figures;
    let mut vectors = vec![0.0; tokens.len() * figures];
    for ((n, token), vector) in tokens.iter().enumerate().zip(vectors.chunks_exact_mut(figures)) {
        let (Some(token), Some(place)) = (script.tokens.get(row(*token as usize)), script.places.get(row(place + n)))
        else {
            continue;
        };
        vector.iter_mut().zip(token.iter().zip(place)).for_each(|(sum, (token, place))| *sum = token.to_f32() + place);
    }
    vectors
}
