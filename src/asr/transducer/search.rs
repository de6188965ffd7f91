//! Greedy search with the decoder and the joiner of a transducer (Graves, "Sequence
//! transduction with recurrent neural networks", 2012; with a decoder that sees the last few
//! tokens alone: Ghodsi et al., "RNN-transducer with stateless prediction network", 2020).
//!
//! ```text
//! decoder   y [1, context_size]                         → decoder_out [1, width]
//! joiner    encoder_out [1, width], decoder_out [1, width] → logit [1, vocab_size]
//! ```
//!
//! A frame has one token at most, which is how icefall's are trained to be searched; most
//! have none (the blank).

use ort::session::Session;
use ort::value::{DynValue, TensorRef};

use super::super::local::{Heard, likeliest};
use super::encoder::number;
use super::tokens::{BLANK, Placed, Tokens};

/// Tokens that a decoder sees at most; icefall's see two.
const CONTEXT_MAX: usize = 64;
/// More tokens than any vocabulary has.
const VOCABULARY_MAX: usize = 1 << 20;

/// What stands before an utterance in the decoder's context: no token at all, and last of all
/// a blank, as in training.
const NONE: i64 = -1;

/// One thread's own decoder and joiner.
pub(super) struct Search {
    decoder: Session,
    joiner: Session,
    context: usize,
    /// Tokens there are.
    pub(super) vocabulary: usize,
}

/// How far the search is in an utterance.
pub(super) struct Course {
    /// The last tokens, as the decoder sees them.
    context: Vec<i64>,
    /// What it makes of them.
    seen: DynValue,
    pub(super) heard: Heard,
    pub(super) placed: Vec<Placed>,
}

impl Search {
    /// A search with the networks of these sessions.
    ///
    /// # Errors
    /// Says in what the decoder is not a transducer's.
    pub(super) fn new(decoder: Session, joiner: Session) -> Result<Self, String> {
        let context = number(&decoder, "context_size", CONTEXT_MAX)?;
        let vocabulary = number(&decoder, "vocab_size", VOCABULARY_MAX)?;
        Ok(Self { decoder, joiner, context, vocabulary })
    }

    /// The beginning of an utterance.
    pub(super) fn course(&mut self) -> ort::Result<Course> {
        let mut context = vec![NONE; self.context];
        if let Some(last) = context.last_mut() {
            *last = i64::from(BLANK);
        }
        Ok(Course { seen: self.look(&context)?, context, heard: Heard::default(), placed: Vec::new() })
    }

    /// Takes the encoder's next `frame`, from `start_ms` to `end_ms`. Whether to go on: not
    /// once the tokens go round in circles.
    pub(super) fn take(
        &mut self,
        course: &mut Course,
        frame: &[f32],
        [start_ms, end_ms]: [u64; 2],
        tokens: &Tokens,
    ) -> ort::Result<bool> {
        let frame = TensorRef::from_array_view(([1, frame.len()], frame))?;
        let joined = self.joiner.run(ort::inputs![&*frame, &course.seen])?;
        let logits = joined.values().next().ok_or_else(|| ort::Error::new("the joiner gives nothing"))?;
        let logits = logits.try_extract_tensor::<f32>()?.1;
        if logits.len() != self.vocabulary {
            let problem = format!("the joiner gives {} figures for {} tokens", logits.len(), self.vocabulary);
            return Err(ort::Error::new(problem));
        }
        let Some((token, log_prob)) = likeliest(logits) else {
            return Err(ort::Error::new("the joiner's figures are not numbers"));
        };
        drop(joined);
        // What the vocabulary has no piece for is passed over like the blank.
        if token == BLANK || tokens.is_unknown(token) {
            return Ok(true);
        }
        course.placed.push(Placed { token, log_prob, start_ms, end_ms });
        course.context.rotate_left(1);
        if let Some(last) = course.context.last_mut() {
            *last = i64::from(token);
        }
        course.seen = self.look(&course.context)?;
        Ok(course.heard.takes((token, log_prob), BLANK))
    }

    /// What the decoder makes of the last tokens.
    fn look(&mut self, context: &[i64]) -> ort::Result<DynValue> {
        let context = TensorRef::from_array_view(([1, context.len()], context))?;
        let seen = self.decoder.run(ort::inputs![context])?.into_iter().next().map(|(_, seen)| seen);
        seen.ok_or_else(|| ort::Error::new("the decoder gives nothing"))
    }
}
