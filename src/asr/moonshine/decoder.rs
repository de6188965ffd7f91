//! The two networks: audio to features, features to tokens, greedily.
//!
//! Must never panic, whatever the audio and whatever the networks answer, and must
//! never decode longer than its bound.

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{InMemorySession, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use super::repeat::ends_in_loop;
use super::rows;
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

/// Shape of the attention cache: utterances, heads, time, width of a head.
const HEADS: i64 = 8;
const HEAD_WIDTH: i64 = 36;

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
    no_cache: DynValue,
    use_cache: DynValue,
    /// A mask over all audio: as many ones as the longest so far has samples.
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
            Ok((Tensor::from_array(([1], vec![false]))?.into_dyn(), Tensor::from_array(([1], vec![true]))?.into_dyn()))
        };
        let (no_cache, use_cache) =
            constants().map_err(|error| unusable(backend, &folder.join("decoder.ort"), error))?;
        Ok(Self { encoder, decoder, inputs, outputs, no_cache, use_cache, ones: Vec::new() })
    }

    /// Decodes utterances together: 16 kHz, finite, at least 895 samples each (the encoder's
    /// convolutions reach that far). `heard` is called with the place of each once it is done.
    ///
    /// The decoder reads all its weights for every token, so several utterances cost little
    /// more than one; but it quantises them with one scale, so that a word here and there
    /// comes out otherwise than alone.
    pub(super) fn hear(&mut self, utterances: &[&[f32]], heard: &mut dyn FnMut(usize, Heard)) -> ort::Result<()> {
        let longest = utterances.iter().map(|samples| samples.len()).max().unwrap_or(0);
        if self.ones.len() < longest {
            self.ones.resize(longest, 1);
        }
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
                batch.keep(&going_on)?;
            }
        }
        Ok(())
    }

    /// The features of one utterance: `[1, frames, 288]`.
    fn encode(&mut self, samples: &[f32]) -> ort::Result<DynValue> {
        let n = samples.len();
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
            no_past: Tensor::<f32>::new(&Allocator::default(), [rows as i64, HEADS, 0, HEAD_WIDTH])?.into_dyn(),
            cache,
        })
    }

    /// One more token for each of `rows`: the likeliest, with its log-probability.
    fn step(&mut self, rows: &[Row], batch: &mut Batch) -> ort::Result<Vec<(u32, f32)>> {
        let tokens: Vec<i64> = rows.iter().map(|row| i64::from(row.last)).collect();
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
            batch.features = no_features(rows.len())?;
        }
        best.filter(|best| best.len() == rows.len())
            .ok_or_else(|| ort::Error::new("the decoder's figures are not numbers"))
    }
}

/// One utterance on its way.
struct Row {
    /// Its place among those that came.
    place: usize,
    last: u32,
    /// Most tokens that audio of its length can have.
    most: usize,
    heard: Heard,
}

impl Row {
    fn new(place: usize, samples: usize) -> Self {
        let most = (samples as f32 / 16_000.0 * TOKENS_PER_SECOND).ceil() as usize;
        Self { place, last: BEGIN, most: most.clamp(TOKENS_MIN, TOKENS_MAX), heard: Heard::default() }
    }

    /// Takes the next token; whether there is more to come.
    fn takes(&mut self, (token, log_prob): (u32, f32)) -> bool {
        let heard = &mut self.heard;
        heard.log_prob += log_prob;
        heard.scored += 1;
        if token == END {
            return false;
        }
        heard.tokens.push(token);
        heard.looped = ends_in_loop(&heard.tokens);
        self.last = token;
        !heard.looped && heard.tokens.len() < self.most
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
    fn keep(&mut self, places: &[usize]) -> ort::Result<()> {
        self.mask = rows::kept::<i64>(&self.mask, places)?;
        self.features = no_features(places.len())?;
        for value in self.cache.iter_mut().flatten() {
            *value = rows::kept::<f32>(value, places)?;
        }
        Ok(())
    }
}

/// One frame of nothing for each of `rows` utterances.
fn no_features(rows: usize) -> ort::Result<DynValue> {
    Ok(Tensor::from_array(([rows, 1, WIDTH], vec![0.0_f32; rows * WIDTH]))?.into_dyn())
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
