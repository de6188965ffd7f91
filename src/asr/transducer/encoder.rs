//! The encoder of a streaming transducer: chunks of bands to frames, with all that it
//! remembers given back to it.
//!
//! ```text
//! x [1, T, 80], <state> …, processed_lens [1] → encoder_out [1, n, width], new_<state> …
//! ```
//!
//! `T` and `decode_chunk_len`, by how many of its frames one chunk comes after the other, are
//! in its metadata. What a zipformer (Yao et al. 2023), a conformer or an LSTM remembers
//! differs; that each state comes out as `new_` and its name, and begins as zeros, does not.

use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor, TensorElementType, TensorRef};

use super::features::BANDS;

/// Longest chunk that makes sense, in frames of 10 ms: 60 s.
const CHUNK_MAX: usize = 6_000;

/// Figures that one state has at most; more are no state but a mistake.
const STATE_MAX: usize = 1 << 26;

/// What the network wants at one of its inputs.
enum Input {
    Features,
    /// The state of this number.
    State(usize),
    /// How many frames it has given so far: for conformers, which do not count them.
    Given,
}

/// What a state is at the beginning: zeros in this shape.
enum Zeros {
    Floats(Vec<usize>),
    /// Of 64 bits; of 32 where it was exported for devices that know no others.
    Integers(Vec<usize>),
    Shorts(Vec<usize>),
}

/// One thread's own encoder.
pub(super) struct Encoder {
    session: Session,
    inputs: Vec<Input>,
    /// Which output the frames are, and which each state is from then on.
    frames: usize,
    next: Vec<usize>,
    states: Vec<Zeros>,
    /// Frames of bands in a chunk, and from the beginning of one to that of the next.
    pub(super) chunk: usize,
    pub(super) shift: usize,
}

/// What it remembers of an utterance.
pub(super) struct Memory {
    states: Vec<DynValue>,
    given: i64,
}

/// What it makes of one chunk: `count` frames, one after the other.
pub(super) struct Frames {
    value: DynValue,
    pub(super) count: usize,
}

impl Encoder {
    /// An encoder that runs in `session`.
    ///
    /// # Errors
    /// Says in what the network is not one of a streaming transducer.
    pub(super) fn new(session: Session) -> Result<Self, String> {
        let chunk = number(&session, "T", CHUNK_MAX)?;
        let shift = number(&session, "decode_chunk_len", CHUNK_MAX)?;
        if shift > chunk {
            return Err(format!("has decode_chunk_len = {shift} in its metadata, more than its T = {chunk}"));
        }
        if text(&session, "feature")?.is_some_and(|feature| feature == "whisper") {
            return Err("hears Whisper's bands; expected one that hears Kaldi's".to_owned());
        }
        let output = |wanted: &str| session.outputs().iter().position(|output| output.name() == wanted);
        let frames = output("encoder_out").ok_or("has no output encoder_out")?;
        let (mut inputs, mut next, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for input in session.inputs() {
            let name = input.name();
            inputs.push(match (name, output(&format!("new_{name}"))) {
                ("x", _) => {
                    hears(input, chunk)?;
                    Input::Features
                }
                (_, Some(at)) => {
                    next.push(at);
                    states.push(zeros(input)?);
                    Input::State(states.len() - 1)
                }
                ("processed_lens", None) => Input::Given,
                (_, None) => return Err(format!("has an input {name} but no output new_{name}")),
            });
        }
        if !inputs.iter().any(|input| matches!(input, Input::Features)) {
            return Err("has no input x".to_owned());
        }
        Ok(Self { session, inputs, frames, next, states, chunk, shift })
    }

    /// What it remembers before an utterance: nothing.
    pub(super) fn memory(&self) -> ort::Result<Memory> {
        let states = self.states.iter().map(|zeros| match zeros {
            Zeros::Floats(shape) => all_zeros::<f32>(shape),
            Zeros::Integers(shape) => all_zeros::<i64>(shape),
            Zeros::Shorts(shape) => all_zeros::<i32>(shape),
        });
        Ok(Memory { states: states.collect::<ort::Result<_>>()?, given: 0 })
    }

    /// Encodes a chunk: [`Self::chunk`] frames of [`BANDS`], the first of them [`Self::shift`]
    /// after that of the chunk before.
    pub(super) fn encode(&mut self, features: &[f32], memory: &mut Memory) -> ort::Result<Frames> {
        let features = TensorRef::from_array_view(([1, self.chunk, BANDS], features))?;
        let given = Tensor::from_array(([1], vec![memory.given]))?;
        let inputs: Vec<SessionInputValue<'_>> = self
            .inputs
            .iter()
            .map(|input| match input {
                Input::Features => (&*features).into(),
                Input::State(at) => (&memory.states[*at]).into(),
                Input::Given => (&given).into(),
            })
            .collect();
        let values = self.session.run(&inputs[..])?;
        drop(inputs);
        let mut values: Vec<_> = values.into_iter().map(|(_, value)| Some(value)).collect();
        let mut take = |at: usize| {
            values.get_mut(at).and_then(Option::take).ok_or_else(|| ort::Error::new("the encoder gave too little"))
        };
        let value = take(self.frames)?;
        for (state, at) in memory.states.iter_mut().zip(&self.next) {
            *state = take(*at)?;
        }
        let count = match value.try_extract_tensor::<f32>()?.0[..] {
            [1, count, width] if count > 0 && width > 0 => count,
            _ => return Err(ort::Error::new("the encoder's frames are in no shape [1, frames, width]")),
        };
        memory.given += count;
        Ok(Frames { value, count: count as usize })
    }
}

impl Frames {
    /// Frame after frame.
    pub(super) fn each(&self) -> ort::Result<std::slice::ChunksExact<'_, f32>> {
        let figures = self.value.try_extract_tensor::<f32>()?.1;
        Ok(figures.chunks_exact((figures.len() / self.count).max(1)))
    }
}

/// Whether `input` takes chunks of `chunk` frames of our bands.
fn hears(input: &Outlet, chunk: usize) -> Result<(), String> {
    let shape = input.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    let fits = |length: i64, wanted: usize| length < 0 || usize::try_from(length) == Ok(wanted);
    let floats = input.dtype().tensor_type() == Some(TensorElementType::Float32);
    match shape[..] {
        [batch, frames, bands] if floats && fits(batch, 1) && fits(frames, chunk) && fits(bands, BANDS) => Ok(()),
        _ => Err(format!("has an input x of shape {shape:?}; expected float32 in [1, {chunk}, {BANDS}]")),
    }
}

/// What the state that goes in at `input` begins as. A length that it leaves open is that of
/// the batch: one.
fn zeros(input: &Outlet) -> Result<Zeros, String> {
    let name = input.name();
    let shape = input.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    let lengths: Vec<usize> =
        shape.iter().map(|length| if *length < 0 { 1 } else { usize::try_from(*length).unwrap_or_default() }).collect();
    let figures = lengths.iter().try_fold(1_usize, |all, &length| all.checked_mul(length));
    if !figures.is_some_and(|figures| (1..=STATE_MAX).contains(&figures)) {
        return Err(format!("has an input {name} of shape {shape:?}, which is no state's"));
    }
    match input.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Ok(Zeros::Floats(lengths)),
        Some(TensorElementType::Int64) => Ok(Zeros::Integers(lengths)),
        Some(TensorElementType::Int32) => Ok(Zeros::Shorts(lengths)),
        _ => Err(format!("has an input {name} that is neither of float32 nor of integers")),
    }
}

fn all_zeros<T: PrimitiveTensorElementType + Clone + Default + std::fmt::Debug + 'static>(
    shape: &[usize],
) -> ort::Result<DynValue> {
    Ok(Tensor::from_array((shape, vec![T::default(); shape.iter().product()]))?.into_dyn())
}

/// What the metadata of a network say under `key`.
fn text(session: &Session, key: &str) -> Result<Option<String>, String> {
    session.metadata().map(|metadata| metadata.custom(key)).map_err(|error| error.to_string())
}

/// The number that the metadata of a network say under `key`: 1 to `most`.
///
/// # Errors
/// When there is none, or another.
pub(super) fn number(session: &Session, key: &str, most: usize) -> Result<usize, String> {
    let value = text(session, key)?
        .ok_or_else(|| format!("has no {key} in its metadata; exporters of streaming transducers put it there"))?;
    let number = value.trim().parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("has {key} = {value:?} in its metadata; expected 1 to {most}"))
}
