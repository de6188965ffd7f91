//! The two networks: audio to features, features to tokens, greedily.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must
//! never decode longer than its bound.

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{InMemorySession, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorRef};

use super::super::local::{Heard, ends_in_loop, likeliest};
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

/// One thread's own pair of sessions.
pub(super) struct Decoder {
    encoder: InMemorySession<'static>,
    decoder: InMemorySession<'static>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    no_past: DynValue,
    /// One frame: later steps have what they need of the audio in the cache, but
    /// would still quantise all features they are given.
    no_features: DynValue,
    no_cache: DynValue,
    use_cache: DynValue,
    /// As many ones as the longest audio so far has samples.
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
        // Batch, heads, time, width; and batch, time, width.
        let (Some([_, heads @ 1..=SHAPE_MAX, _, width @ 1..=SHAPE_MAX]), Some([_, _, figures @ 1..=SHAPE_MAX])) =
            (cache.as_deref(), features.as_deref())
        else {
            return Err(unusable(backend, &folder.join("decoder.ort"), "its inputs have no shape"));
        };
        let constants = || -> ort::Result<_> {
            Ok((
                Tensor::<f32>::new(&Allocator::default(), [1, *heads, 0, *width])?.into_dyn(),
                Tensor::<f32>::new(&Allocator::default(), [1, 1, *figures])?.into_dyn(),
                Tensor::from_array(([1], vec![false]))?.into_dyn(),
                Tensor::from_array(([1], vec![true]))?.into_dyn(),
            ))
        };
        let (no_past, no_features, no_cache, use_cache) =
            constants().map_err(|error| unusable(backend, &folder.join("decoder.ort"), error))?;
        Ok(Self { encoder, decoder, inputs, outputs, no_past, no_features, no_cache, use_cache, ones: Vec::new() })
    }

    /// Decodes `samples`: 16 kHz, finite, at least 895 of them (the encoder's
    /// convolutions reach that far).
    pub(super) fn hear(&mut self, samples: &[f32]) -> ort::Result<Heard> {
        let n = samples.len();
        if self.ones.len() < n {
            self.ones.resize(n, 1);
        }
        let mask = TensorRef::from_array_view(([1, n], &self.ones[..n]))?;
        let audio = TensorRef::from_array_view(([1, n], samples))?;
        let encoded = self.encoder.run(ort::inputs!["input_values" => audio, "attention_mask" => &*mask])?;
        let Some((_, features)) = encoded.into_iter().next() else {
            return Err(ort::Error::new("the encoder gave no features"));
        };

        let most = (n as f32 / 16_000.0 * TOKENS_PER_SECOND).ceil() as usize;
        let most = most.clamp(TOKENS_MIN, TOKENS_MAX);
        let mut heard = Heard::default();
        let mut cache: Vec<Option<DynValue>> = Vec::new();
        cache.resize_with(self.inputs.len(), || None);
        let mut last = BEGIN;
        loop {
            let first = heard.scored == 0;
            let token = [i64::from(last)];
            let token = TensorRef::from_array_view(([1, 1], &token[..]))?;
            let inputs: Vec<SessionInputValue<'_>> = self
                .inputs
                .iter()
                .map(|input| match input {
                    Input::Tokens => (&*token).into(),
                    Input::AudioMask => (&*mask).into(),
                    Input::Features if first => (&features).into(),
                    Input::Features => (&self.no_features).into(),
                    Input::UseCache if first => (&self.no_cache).into(),
                    Input::UseCache => (&self.use_cache).into(),
                    Input::Past(at) => cache[*at].as_ref().unwrap_or(&self.no_past).into(),
                })
                .collect();
            let values = self.decoder.run(&inputs[..])?;
            drop(inputs);
            let mut best = None;
            for (output, (_, value)) in self.outputs.iter().zip(values) {
                match output {
                    Output::Logits => best = likeliest(value.try_extract_tensor::<f32>()?.1),
                    Output::Text(at) => cache[*at] = Some(value),
                    Output::Audio(at) if first => cache[*at] = Some(value),
                    Output::Audio(_) => {}
                }
            }
            let Some((token, log_prob)) = best else {
                return Err(ort::Error::new("the decoder's figures are not numbers"));
            };
            heard.log_prob += log_prob;
            heard.scored += 1;
            if token == END {
                return Ok(heard);
            }
            heard.tokens.push(token);
            heard.looped = ends_in_loop(&heard.tokens);
            if heard.looped || heard.tokens.len() >= most {
                return Ok(heard);
            }
            last = token;
        }
    }
}

fn unusable(backend: &str, file: &Path, reason: impl std::fmt::Display) -> BuildError {
    BuildError::new(
        backend,
        format!("cannot use {}: {reason}", file.display()),
        "fetch the model anew with `sidetone models fetch --force`",
    )
}
