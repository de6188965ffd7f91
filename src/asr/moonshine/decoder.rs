//! The two networks: audio to features, features to tokens, greedily.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must
//! never decode longer than its bound.

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{InMemorySession, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use super::repeat::ends_in_loop;
use crate::onnx;
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

/// Figures in the features of one frame.
const WIDTH: usize = 288;

/// Shape of an empty attention cache: batch, heads, time, width.
const EMPTY_CACHE: [i64; 4] = [1, 8, 0, 36];

/// What was heard in one stretch of audio.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Tokens, without begin and end.
    pub(super) tokens: Vec<u32>,
    /// Sum of the log-probabilities of the tokens and, where it came, of the end.
    pub(super) log_prob: f32,
    /// How many log-probabilities that sum has.
    pub(super) scored: usize,
    /// Whether the tokens went round in circles; decoding stopped there.
    pub(super) looped: bool,
}

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
    /// Opens the networks in `folder` with `threads` threads within an operation.
    pub(super) fn open(backend: &str, folder: &Path, threads: usize) -> Result<Self, BuildError> {
        let runtime = onnx::runtime(backend, &folder.join(onnx::LIBRARY))?;
        let open = |name: &str| {
            let file = folder.join(name);
            let bytes = onnx::weights(backend, &file)?;
            onnx::session(&runtime, bytes, threads).map_err(|error| unusable(backend, &file, error))
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
        let constants = || -> ort::Result<_> {
            Ok((
                Tensor::<f32>::new(&Allocator::default(), EMPTY_CACHE)?.into_dyn(),
                Tensor::from_array(([1, 1, WIDTH], vec![0.0_f32; WIDTH]))?.into_dyn(),
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

/// The token with the highest of `logits` and its log-probability; none if there
/// is no logit or they are not numbers.
fn likeliest(logits: &[f32]) -> Option<(u32, f32)> {
    /// Logits are looked at in chunks; within one, so many at once.
    const CHUNK: usize = 128;
    const LANES: usize = 16;
    /// Terms this far below the highest would add less than half a per cent if all
    /// the vocabulary were there.
    const NEGLIGIBLE: f32 = 16.0;

    let peak_of = |chunk: &[f32]| {
        let mut peaks = [f32::NEG_INFINITY; LANES];
        for values in chunk.chunks(LANES) {
            for (peak, &value) in peaks.iter_mut().zip(values) {
                // Compiles to one instruction, unlike `f32::max`.
                *peak = if value > *peak { value } else { *peak };
            }
        }
        peaks.into_iter().fold(f32::NEG_INFINITY, f32::max)
    };
    let peaks: Vec<f32> = logits.chunks(CHUNK).map(peak_of).collect();
    let highest = peaks.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let chunk = peaks.iter().position(|&peak| peak == highest)?;
    let within = logits.chunks(CHUNK).nth(chunk)?.iter().position(|&value| value == highest)?;
    let sum: f32 = logits
        .chunks(CHUNK)
        .zip(&peaks)
        .filter(|&(_, &peak)| peak > highest - NEGLIGIBLE)
        .flat_map(|(values, _)| values)
        .map(|value| (value - highest).exp())
        .sum();
    let log_prob = -sum.ln();
    log_prob.is_finite().then_some((u32::try_from(chunk * CHUNK + within).ok()?, log_prob))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_token_and_its_probability_are_found() {
        for n in [1, 15, 128, 129, 5000] {
            let logits: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
            let highest = logits.iter().copied().fold(f32::MIN, f32::max);
            let log_sum = logits.iter().map(|value| (value - highest).exp()).sum::<f32>().ln();
            let (token, log_prob) = likeliest(&logits).unwrap();
            assert_eq!(Some(token as usize), logits.iter().position(|&value| value == highest));
            assert!((log_prob + log_sum).abs() < 1e-2, "{log_prob} {log_sum}");
        }
    }

    #[test]
    fn figures_that_are_no_numbers_choose_nothing() {
        for logits in [&[][..], &[f32::NAN; 200], &[f32::INFINITY; 3], &[f32::NEG_INFINITY; 3]] {
            assert_eq!(likeliest(logits), None, "{logits:?}");
        }
    }
}
