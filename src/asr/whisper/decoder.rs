//! Decoding with the two networks.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must never
//! decode longer than its bound.

use std::sync::Arc;

use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use super::super::local::{Heard, likeliest_few, rows};
use super::beam::Beam;
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
    /// Texts that go on side by side.
    beam: usize,
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
    pub(super) fn new(
        size: Size,
        beam: usize,
        script: Arc<Script>,
        encoder: Session,
        decoder: Session,
    ) -> ort::Result<Self> {
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
        Ok(Self { size, beam, script, mel: Mel::new(size.bands), encoder, decoder, inputs, outputs, no_past })
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

        let script = Arc::clone(&self.script);
        let most = (samples.len() as f32 / 16_000.0 * TOKENS_PER_SECOND) as usize + TOKENS_MIN;
        let mut beam = Beam::new(self.beam, script.end, most.min(self.size.tokens_max / 2));
        let prompt = [&script.prompt, said].concat();
        let (first, rest) = prompt.split_at(prompt.len().min(1));
        let mut past = Past { values: self.outputs.iter().map(|_| None).collect(), tokens: 0 };
        let logits = self.pass(&audio, &mut past, first, 1)?;
        // After the first token of the prompt it tells whether it hears speech at all.
        let logits = logits.try_extract_tensor::<f32>()?.1;
        let silent = script.no_speech.is_some_and(|token| probability(logits, token) > NO_SPEECH);
        let mut logits = self.pass(&audio, &mut past, rest, 1)?;
        let (mut texts, mut begins) = (1, said.is_empty());
        loop {
            let next = beam.step(&script.likely(logits, begins, beam.choices())?);
            if next.is_empty() {
                break;
            }
            let (parents, tokens): (Vec<_>, Vec<_>) = next.into_iter().unzip();
            if !parents.iter().copied().eq(0..texts) {
                past.keep(&parents)?;
            }
            texts = parents.len();
            logits = self.pass(&audio, &mut past, &tokens, texts)?;
            begins = false;
        }
        let heard = beam.answer();
        Ok(if silent && heard.mean() < UNSURE { Heard::default() } else { heard })
    }

    /// Runs the decoder on the next `tokens` of so many `texts`, as many for each, one text's after
    /// another's. The logits after the last of each.
    fn pass(&mut self, audio: &[DynValue], past: &mut Past, tokens: &[u32], texts: usize) -> ort::Result<DynValue> {
        let each = tokens.len() / texts;
        let vectors: Vec<f32> = tokens
            .chunks(each.max(1))
            .flat_map(|text| vectors(&self.script, self.size.figures, text, past.tokens))
            .collect();
        past.tokens += each;
        let tokens = TensorRef::from_array_view(([texts, each, self.size.figures], &vectors[..]))?;
        let inputs: Vec<SessionInputValue<'_>> = self
            .inputs
            .iter()
            .map(|input| match input {
                Input::Tokens => (&*tokens).into(),
                Input::Audio(at) => (&audio[*at]).into(),
                Input::Past(at) => past.values[*at].as_ref().unwrap_or(&self.no_past).into(),
            })
            .collect();
        let values = self.decoder.run(&inputs[..])?;
        drop(inputs);
        let mut logits = None;
        for (output, (_, value)) in self.outputs.iter().zip(values) {
            match output {
                Some(at) => past.values[*at] = Some(value),
                None => logits = Some(value),
            }
        }
        logits.ok_or_else(|| ort::Error::new("the decoder gives no logits"))
    }
}

/// What the decoder keeps of the texts so far.
struct Past {
    /// By their number in the cache: shape [texts, heads, tokens, width].
    values: Vec<Option<DynValue>>,
    /// Tokens in each text.
    tokens: usize,
}

impl Past {
    /// Goes on with these of the texts, each as often as it is named.
    fn keep(&mut self, texts: &[usize]) -> ort::Result<()> {
        for value in self.values.iter_mut().flatten() {
            *value = rows::kept::<f32>(value, texts)?;
        }
        Ok(())
    }
}

impl Script {
    /// The `few` likeliest tokens after each text; `begins` if they would be the first.
    fn likely(&self, mut logits: DynValue, begins: bool, few: usize) -> ort::Result<Vec<Vec<(u32, f32)>>> {
        let (shape, figures) = logits.try_extract_tensor_mut::<f32>()?;
        let tokens = shape.last().map_or(0, |tokens| *tokens as usize);
        let texts = figures.chunks_exact_mut(tokens.max(1)).map(|logits| {
            let Some(logits) = logits.get_mut(..=self.end as usize) else {
                return Err(ort::Error::new("the decoder knows too few tokens"));
            };
            let never = self.never.iter().chain(self.never_first.iter().filter(|_| begins));
            for token in never {
                if let Some(logit) = logits.get_mut(*token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            let likely = likeliest_few(logits, few);
            if likely.is_empty() {
                return Err(ort::Error::new("the decoder's figures are not numbers"));
            }
            Ok(likely)
        });
        texts.collect()
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
