//! The two networks: audio to features, features to tokens, greedily.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must
//! never decode longer than its bound.

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{InMemorySession, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorRef};

use super::super::local::{Heard, likeliest, rows};
use crate::onnx::{self, Running};
use crate::types::BuildError;

/// Tokens in the vocabulary.
pub(super) const VOCABULARY: usize = 32_768;

const BEGIN: u32 = 1;
const END: u32 = 2;

/// Speech has at most this many tokens a second; more is the model running away.
const TOKENS_PER_SECOND: f32 = 6.5;

/// A short "Okay, thank you." may be faster than that.
const TOKENS_MIN: usize = 8;

/// Positions the model was made for.
const TOKENS_MAX: usize = 192;

/// No model of the family is wider.
const SHAPE_MAX: i64 = 1 << 16;

/// What the decoder network wants at one of its inputs.
enum Input {
    Tokens,
    AudioMask,
    Features,
    UseCache,
    /// The value of this number in the cache.
    Past(usize),
}

/// What comes out at one of its outputs.
enum Output {
    Logits,
    /// The cache's value of this number, grown by one token.
    Text(usize),
    /// The cache's value of this number, which depends on the audio only: right
    /// after the first step, without meaning after later ones.
    Audio(usize),
}

/// How wide a model of the family is.
#[derive(Clone, Copy)]
struct Shape {
    /// Heads of the attention, and the width of each.
    heads: i64,
    width: i64,
    /// Figures in the features of one frame.
    figures: i64,
}

/// One thread's own pair of sessions.
pub(super) struct Decoder {
    encoder: InMemorySession<'static>,
    decoder: InMemorySession<'static>,
    shape: Shape,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    no_cache: DynValue,
    use_cache: DynValue,
    /// A mask over all audio: as many ones as the longest so far has samples.
    ones: Vec<i64>,
}

impl Decoder {
    /// Opens the networks in `folder` on the runtime in `library`.
    pub(super) fn open(backend: &str, library: &Path, folder: &Path, running: Running) -> Result<Self, BuildError> {
        let runtime = onnx::runtime(backend, library)?;
        let open = |name: &str| {
            let file = folder.join(name);
            let bytes = onnx::weights(backend, &file)?;
            let session = running.options(backend, &runtime)?.commit_from_memory_directly(bytes);
            session.map_err(|error| unusable(backend, &file, error))
        };
        let (encoder, decoder) = (open("encoder.ort")?, open("decoder.ort")?);

        let mut cached = Vec::new();
        let inputs = decoder.inputs().iter().map(|input| match input.name() {
            "input_ids" => Some(Input::Tokens),
            "encoder_attention_mask" => Some(Input::AudioMask),
            "encoder_hidden_states" => Some(Input::Features),
            "use_cache_branch" => Some(Input::UseCache),
            name => name.strip_prefix("past_key_values.").map(|layer| {
                cached.push(layer.to_owned());
                Input::Past(cached.len() - 1)
            }),
        });
        let inputs: Option<Vec<_>> = inputs.collect();
        let outputs = decoder.outputs().iter().map(|output| match output.name() {
            "logits" => Some(Output::Logits),
            name => {
                let layer = name.strip_prefix("present.")?;
                let at = cached.iter().position(|name| name == layer)?;
                Some(if layer.contains(".encoder.") { Output::Audio(at) } else { Output::Text(at) })
            }
        });
        let outputs: Option<Vec<_>> = outputs.collect();
        let (Some(inputs), Some(outputs)) = (inputs, outputs) else {
            return Err(unusable(backend, &folder.join("decoder.ort"), "its inputs or outputs are not Moonshine's"));
        };
        let shape = |input: Option<&Outlet>| input.and_then(|input| input.dtype().tensor_shape()).cloned();
        let cache = shape(decoder.inputs().iter().find(|input| input.name().starts_with("past_key_values.")));
        let features = shape(decoder.inputs().iter().find(|input| input.name() == "encoder_hidden_states"));
        // Utterances, heads, time, width of a head; and utterances, frames, figures.
        let (Some(&[_, heads @ 1..=SHAPE_MAX, _, width @ 1..=SHAPE_MAX]), Some(&[_, _, figures @ 1..=SHAPE_MAX])) =
            (cache.as_deref(), features.as_deref())
        else {
            return Err(unusable(backend, &folder.join("decoder.ort"), "its inputs have no shape"));
        };
        let constants = || -> ort::Result<_> {
            Ok((Tensor::from_array(([1], vec![false]))?.into_dyn(), Tensor::from_array(([1], vec![true]))?.into_dyn()))
        };
        let (no_cache, use_cache) =
            constants().map_err(|error| unusable(backend, &folder.join("decoder.ort"), error))?;
        let shape = Shape { heads, width, figures };
        Ok(Self { encoder, decoder, shape, inputs, outputs, no_cache, use_cache, ones: Vec::new() })
    }

    /// Decodes utterances together: 16 kHz, finite, at least 895 samples each (the encoder's
    /// convolutions reach that far). `heard` is called with the place of each once it is done.
    ///
    /// The decoder reads all its weights for every token, so several utterances cost little
    /// more than one; but it quantises them with one scale, so that a word here and there
    /// comes out otherwise than alone.
    pub(super) fn hear(&mut self, utterances: &[&[f32]], heard: &mut dyn FnMut(usize, Heard)) -> ort::Result<()> {
        let features = utterances.iter().map(|samples| self.encode(samples)).collect::<ort::Result<Vec<_>>>()?;
        let mut rows: Vec<Row> =
            utterances.iter().enumerate().map(|(place, samples)| Row::new(place, samples.len())).collect();
        let mut batch = self.batch(utterances, features)?;
        while !rows.is_empty() {
            let best = self.step(&rows, &mut batch)?;
            let before = rows.len();
            let mut going_on = Vec::with_capacity(before);
            for (at, (mut row, best)) in std::mem::take(&mut rows).into_iter().zip(best).enumerate() {
                if row.takes(best) {
                    rows.push(row);
                    going_on.push(at);
                } else {
                    heard(row.place, row.heard);
                }
            }
            if (1..before).contains(&rows.len()) {
                batch.keep(&going_on, self.shape.figures)?;
            }
        }
        Ok(())
    }

    /// The features of one utterance: `[1, frames, figures]`.
    fn encode(&mut self, samples: &[f32]) -> ort::Result<DynValue> {
        let n = samples.len();
        if self.ones.len() < n {
            self.ones.resize(n, 1);
        }
        let mask = TensorRef::from_array_view(([1, n], &self.ones[..n]))?;
        let audio = TensorRef::from_array_view(([1, n], samples))?;
        let encoded = self.encoder.run(ort::inputs!["input_values" => audio, "attention_mask" => mask])?;
        let features = encoded.into_iter().next().map(|(_, features)| features);
        features.ok_or_else(|| ort::Error::new("the encoder gave no features"))
    }

    fn batch(&self, utterances: &[&[f32]], features: Vec<DynValue>) -> ort::Result<Batch> {
        let rows = utterances.len();
        let longest = utterances.iter().map(|samples| samples.len()).max().unwrap_or(0);
        let mut mask = Vec::with_capacity(rows * longest);
        for samples in utterances {
            mask.extend_from_slice(&self.ones[..samples.len()]);
            mask.resize(mask.len() + longest - samples.len(), 0);
        }
        let mut cache = Vec::new();
        cache.resize_with(self.inputs.len(), || None);
        Ok(Batch {
            first: true,
            mask: Tensor::from_array(([rows, longest], mask))?.into_dyn(),
            features: rows::stacked(features)?,
            no_past: Tensor::<f32>::new(&Allocator::default(), [rows as i64, self.shape.heads, 0, self.shape.width])?
                .into_dyn(),
            cache,
        })
    }

    /// One more token for each of `rows`: the likeliest, with its log-probability.
    fn step(&mut self, rows: &[Row], batch: &mut Batch) -> ort::Result<Vec<(u32, f32)>> {
        let tokens: Vec<i64> = rows.iter().map(|row| i64::from(row.last())).collect();
        let tokens = TensorRef::from_array_view(([rows.len(), 1], &tokens[..]))?;
        let inputs: Vec<SessionInputValue<'_>> = self
            .inputs
            .iter()
            .map(|input| match input {
                Input::Tokens => (&*tokens).into(),
                Input::AudioMask => (&batch.mask).into(),
                Input::Features => (&batch.features).into(),
                Input::UseCache if batch.first => (&self.no_cache).into(),
                Input::UseCache => (&self.use_cache).into(),
                Input::Past(at) => batch.cache[*at].as_ref().unwrap_or(&batch.no_past).into(),
            })
            .collect();
        let values = self.decoder.run(&inputs[..])?;
        drop(inputs);
        let mut best = None;
        for (output, (_, value)) in self.outputs.iter().zip(values) {
            match output {
                Output::Logits => {
                    let logits = value.try_extract_tensor::<f32>()?.1;
                    best = logits.chunks(VOCABULARY).map(likeliest).collect::<Option<Vec<_>>>();
                }
                Output::Text(at) => batch.cache[*at] = Some(value),
                Output::Audio(at) if batch.first => batch.cache[*at] = Some(value),
                Output::Audio(_) => {}
            }
        }
        if batch.first {
            batch.first = false;
            batch.features = no_features(rows.len(), self.shape.figures)?;
        }
        best.filter(|best| best.len() == rows.len())
            .ok_or_else(|| ort::Error::new("the decoder's figures are not numbers"))
    }
}

/// One utterance on its way.
struct Row {
    /// Its place among those that came.
    place: usize,
    /// Most tokens that audio of its length can have.
    most: usize,
    heard: Heard,
}

impl Row {
    fn new(place: usize, samples: usize) -> Self {
        let most = (samples as f32 / 16_000.0 * TOKENS_PER_SECOND).ceil() as usize;
        Self { place, most: most.clamp(TOKENS_MIN, TOKENS_MAX), heard: Heard::default() }
    }

    /// Takes the next token; whether there is more to come.
    fn takes(&mut self, best: (u32, f32)) -> bool {
        self.heard.takes(best, END) && self.heard.tokens.len() < self.most
    }

    /// The token before the next.
    fn last(&self) -> u32 {
        self.heard.tokens.last().copied().unwrap_or(BEGIN)
    }
}

/// What the decoder network is given besides tokens; the rows of each value are utterances.
struct Batch {
    first: bool,
    mask: DynValue,
    /// Of all frames for the first step. Later ones have what they need of the audio in the
    /// cache, but would still quantise all features they are given: they get one frame of none.
    features: DynValue,
    no_past: DynValue,
    cache: Vec<Option<DynValue>>,
}

impl Batch {
    /// Keeps the rows at `places` alone.
    fn keep(&mut self, places: &[usize], figures: i64) -> ort::Result<()> {
        self.mask = rows::kept::<i64>(&self.mask, places)?;
        self.features = no_features(places.len(), figures)?;
        for value in self.cache.iter_mut().flatten() {
            *value = rows::kept::<f32>(value, places)?;
        }
        Ok(())
    }
}

/// One frame of nothing for each of `rows` utterances.
fn no_features(rows: usize, figures: i64) -> ort::Result<DynValue> {
    let nothing = vec![0.0_f32; rows * figures as usize];
    Ok(Tensor::from_array(([rows as i64, 1, figures], nothing))?.into_dyn())
}

fn unusable(backend: &str, file: &Path, reason: impl std::fmt::Display) -> BuildError {
    BuildError::new(
        backend,
        format!("cannot use {}: {reason}", file.display()),
        "fetch the model anew with `sidetone models fetch --force`",
    )
}
