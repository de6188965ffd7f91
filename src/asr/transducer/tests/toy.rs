//! A streaming transducer that can be understood: it hears tones begin.
//!
//! A low tone that begins is `▁LOW`, or `ER` right after one; a high one is `▁HIGH`, or
//! `<unk>` right after one; every third tone is `▁THIRD`. So its text depends on the audio,
//! also on that to the right of a chunk; on two states, what sounded before and how many
//! tones there were; and on the last two tokens, which at the beginning must be none and a
//! blank.

use std::path::Path;

use super::onnx::{BATCH, Elements, Network};
use Elements::{Floats, Integers};

/// The exporter whose names and states the encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::asr) enum Family {
    Lstm,
    /// Its count of tones is an integer, `processed_lens`; other states are only handed on.
    Zipformer2,
    /// `processed_lens` is given, and has no successor: none begins after [`DEAF_AFTER`].
    Conformer,
}

/// Frames of the encoder (40 ms each) after which the conformer hears nothing any more.
pub(super) const DEAF_AFTER: i64 = 75;

/// Bands of a frame, and frames of bands in one of the encoder's.
const BANDS: i64 = 80;
const SUBSAMPLING: i64 = 4;
/// Frames of bands to the right of a chunk that its last frame depends on.
const RIGHT: i64 = 4;

/// What can begin: a low tone, a high one, a third one.
const EVENTS: i64 = 3;
/// What may have been before: something else, `▁LOW`, `▁HIGH`.
const CLASSES: i64 = 3;
const WIDTH: i64 = EVENTS * CLASSES;

pub(super) const TOKENS: &str = "<blk> 0\n<sos/eos> 1\n<unk> 2\n▁LOW 3\n▁HIGH 4\nER 5\n▁THIRD 6\n";
const VOCABULARY: i64 = 7;

/// The token of each event (a row) after each class.
const SAYS: [[usize; 3]; 3] = [[3, 5, 3], [4, 4, 2], [6, 6, 6]];
/// The class of each token.
const CLASS: [usize; 7] = [0, 0, 0, 1, 2, 0, 0];

/// Lays out the model in `folder`, an LSTM with the chunks of icefall's zipformers.
pub(in crate::asr) fn lay(folder: &Path) -> std::io::Result<()> {
    lay_out(folder, Family::Lstm, 32)
}

/// Lays out the model in `folder`, with chunks of `shift` frames, a multiple of 4.
pub(super) fn lay_out(folder: &Path, family: Family, shift: i64) -> std::io::Result<()> {
    std::fs::write(folder.join("encoder-toy.onnx"), encoder(family, shift).file())?;
    std::fs::write(folder.join("decoder-toy.onnx"), decoder().file())?;
    std::fs::write(folder.join("joiner-toy.onnx"), joiner().file())?;
    std::fs::write(folder.join("tokens.txt"), TOKENS)
}

/// The encoder; its parts are named for what they hold.
pub(super) fn encoder(family: Family, shift: i64) -> Network {
    let mut net = Network::default();
    let (chunk, frames) = (shift + RIGHT, shift / SUBSAMPLING);
    net.input("x", Floats, &[BATCH, chunk, BANDS]);
    net.output("encoder_out", Floats, &[BATCH, frames, WIDTH]);
    for (key, value) in [("T", chunk), ("decode_chunk_len", shift)] {
        net.metadata(key, &value.to_string());
    }
    for (name, values) in [("zero", vec![0]), ("one", vec![1]), ("right", vec![RIGHT]), ("shift", vec![shift])] {
        net.integers(name, &[1], &values);
    }
    net.integers("chunk", &[1], &[chunk]);
    net.integers("frames", &[1], &[frames]);
    net.integers("end", &[1], &[i64::MAX]);
    net.integers("last", &[1], &[-1]);

    // How loud it is around 300 and 3000 Hz, in each frame of bands: the mean of five.
    let bands = |centre: usize| (0..BANDS as usize).map(move |band| if band.abs_diff(centre) < 3 { 0.2 } else { 0.0 });
    let bands: Vec<f32> = bands(10).zip(bands(53)).flat_map(|(low, high)| [low, high]).collect();
    net.floats("bands", &[BANDS, 2], &bands);
    net.node("loud", "MatMul", &["x", "bands"], &[]);
    // And in each of the encoder's: the mean of its four and the four to its right.
    net.node("here", "Slice", &["loud", "zero", "shift", "one"], &[]);
    net.node("ahead", "Slice", &["loud", "right", "chunk", "one"], &[]);
    net.node("both", "Add", &["here", "ahead"], &[]);
    net.integers("by four", &[4], &[-1, frames, SUBSAMPLING, 2]);
    net.node("fours", "Reshape", &["both", "by four"], &[]);
    net.node_with("means", "ReduceMean", &["fours"], "axes", &[2]);
    net.integers("by frame", &[3], &[-1, frames, 2]);
    net.node("mean", "Reshape", &["means", "by frame"], &[]);
    // Twice -4: between noise and a tone.
    net.floats("threshold", &[1], &[-8.0]);
    net.node("above", "Greater", &["mean", "threshold"], &[]);
    net.node("sounds", "Cast", &["above"], &[("to", 1)]);

    // A tone begins where it sounds and did not before; before a chunk is a state.
    let (before, counted) = states(&mut net, family);
    net.node_with("sounded", "Transpose", &[before], "perm", &[1, 0, 2]);
    net.node("all", "Concat", &["sounded", "sounds"], &[("axis", 1)]);
    net.node("earlier", "Slice", &["all", "zero", "frames", "one"], &[]);
    net.node("latest", "Slice", &["all", "frames", "end", "one"], &[]);
    net.node_with(&format!("new_{before}"), "Transpose", &["latest"], "perm", &[1, 0, 2]);
    net.node("rise", "Sub", &["sounds", "earlier"], &[]);
    net.node("began", "Relu", &["rise"], &[]);
    let began = match family {
        Family::Conformer => deaf(&mut net, frames),
        _ => "began",
    };

    // The tones so far; with two at once they count as one.
    net.node_with("any", "ReduceMax", &[began], "axes", &[2]);
    net.integers("axis", &[], &[1]);
    net.node("more", "CumSum", &["any", "axis"], &[]);
    net.node("count", "Add", &["more", counted], &[]);
    net.node("counted last", "Slice", &["count", "last", "end", "one"], &[]);
    net.floats("three", &[1], &[3.0]);
    net.floats("half", &[1], &[0.5]);
    net.node("rest", "Mod", &["count", "three"], &[("fmod", 1)]);
    net.node("none left", "Less", &["rest", "half"], &[]);
    net.node("is third", "Cast", &["none left"], &[("to", 1)]);
    net.node("third", "Mul", &["any", "is third"], &[]);
    net.floats("one.0", &[1], &[1.0]);
    net.node("no third", "Sub", &["one.0", "third"], &[]);
    net.node("plain", "Mul", &[began, "no third"], &[]);
    net.node("events", "Concat", &["plain", "third"], &[("axis", 2)]);
    let spread: Vec<f32> = (0..EVENTS * WIDTH).map(|n| f32::from(n % WIDTH / CLASSES == n / WIDTH)).collect();
    net.floats("spread", &[EVENTS, WIDTH], &spread);
    net.node("encoder_out", "MatMul", &["events", "spread"], &[]);
    net
}

/// Adds the states of `family`, and what it says of them in the metadata. Gives the names of
/// what sounded before, `[1, N, 2]`, and of the tones so far, `[N, 1, 1]`.
fn states(net: &mut Network, family: Family) -> (&'static str, &'static str) {
    let state = |net: &mut Network, name: &str, elements: Elements, shape: &[i64]| {
        net.input(name, elements, shape);
        net.output(&format!("new_{name}"), elements, shape);
    };
    let metadata: &[(&str, &str)] = match family {
        Family::Lstm => {
            state(net, "state0", Floats, &[1, BATCH, 2]);
            state(net, "state1", Floats, &[1, BATCH, 1]);
            net.node_with("counted", "Transpose", &["state1"], "perm", &[1, 0, 2]);
            net.node_with("new_state1", "Transpose", &["counted last"], "perm", &[1, 0, 2]);
            &[("model_type", "lstm"), ("num_encoder_layers", "1"), ("d_model", "2"), ("rnn_hidden_size", "1")]
        }
        Family::Zipformer2 => {
            state(net, "cached_key_0", Floats, &[1, BATCH, 2]);
            for (name, shape) in [
                ("cached_nonlin_attn_0", &[1, BATCH, 1, 3][..]),
                ("cached_val1_0", &[1, BATCH, 1]),
                ("cached_val2_0", &[1, BATCH, 1]),
                ("cached_conv1_0", &[BATCH, 4, 1]),
                ("cached_conv2_0", &[BATCH, 4, 1]),
                ("embed_states", &[BATCH, 128, 3, 19]),
            ] {
                state(net, name, Floats, shape);
                net.node(&format!("new_{name}"), "Identity", &[name], &[]);
            }
            state(net, "processed_lens", Integers, &[BATCH]);
            net.integers("alone", &[3], &[-1, 1, 1]);
            net.integers("flat", &[1], &[-1]);
            net.node("as float", "Cast", &["processed_lens"], &[("to", 1)]);
            net.node("counted", "Reshape", &["as float", "alone"], &[]);
            net.node("as integer", "Cast", &["counted last"], &[("to", 7)]);
            net.node("new_processed_lens", "Reshape", &["as integer", "flat"], &[]);
            &[
                ("model_type", "zipformer2"),
                ("num_encoder_layers", "1"),
                ("encoder_dims", "4"),
                ("query_head_dims", "2"),
                ("value_head_dims", "1"),
                ("num_heads", "1"),
                ("cnn_module_kernels", "3"),
                ("left_context_len", "1"),
            ]
        }
        Family::Conformer => {
            state(net, "cached_attn", Floats, &[1, BATCH, 2]);
            state(net, "cached_conv", Floats, &[1, BATCH, 1]);
            net.input("processed_lens", Integers, &[BATCH]);
            net.node_with("counted", "Transpose", &["cached_conv"], "perm", &[1, 0, 2]);
            net.node_with("new_cached_conv", "Transpose", &["counted last"], "perm", &[1, 0, 2]);
            &[("model_type", "conformer")]
        }
    };
    metadata.iter().for_each(|(key, value)| net.metadata(key, value));
    let before = match family {
        Family::Lstm => "state0",
        Family::Zipformer2 => "cached_key_0",
        Family::Conformer => "cached_attn",
    };
    (before, "counted")
}

/// Leaves out what begins after [`DEAF_AFTER`] frames, by how many were given before the chunk.
fn deaf(net: &mut Network, frames: i64) -> &'static str {
    net.integers("places", &[1, frames, 1], &(0..frames).collect::<Vec<_>>());
    net.integers("alone", &[3], &[-1, 1, 1]);
    net.integers("deaf after", &[1], &[DEAF_AFTER]);
    net.node("given", "Reshape", &["processed_lens", "alone"], &[]);
    net.node("at", "Add", &["given", "places"], &[]);
    net.node("early", "Less", &["at", "deaf after"], &[]);
    net.node("hears", "Cast", &["early"], &[("to", 1)]);
    net.node("heard", "Mul", &["began", "hears"], &[]);
    "heard"
}

/// The decoder: of the last token its class, and where the one before is a blank, that nothing
/// has been said yet is held against the beginning. It sees `[blank, blank]` when it should see
/// `[none, blank]`.
pub(super) fn decoder() -> Network {
    let mut net = Network::default();
    net.input("y", Integers, &[BATCH, 2]);
    net.output("decoder_out", Floats, &[BATCH, WIDTH]);
    net.metadata("context_size", "2");
    net.metadata("vocab_size", &VOCABULARY.to_string());
    for (name, value) in [("zero", 0), ("one", 1), ("two", 2)] {
        net.integers(name, &[1], &[value]);
    }
    let class = |token: i64, at: i64| CLASS[token as usize] as i64 == at % CLASSES;
    let last: Vec<f32> = (0..VOCABULARY * WIDTH).map(|n| f32::from(class(n / WIDTH, n % WIDTH))).collect();
    let before: Vec<f32> =
        (0..VOCABULARY * WIDTH).map(|n| if n / WIDTH == 0 && n % WIDTH % CLASSES == 0 { -1.0 } else { 0.0 }).collect();
    net.floats("of last", &[VOCABULARY, WIDTH], &last);
    net.floats("of before", &[VOCABULARY, WIDTH], &before);
    // As icefall's: what is none counts for nothing.
    net.node("tokens", "Max", &["y", "zero"], &[]);
    net.node("are", "GreaterOrEqual", &["y", "zero"], &[]);
    net.node("count", "Cast", &["are"], &[("to", 1)]);
    net.node("token 0", "Slice", &["tokens", "zero", "one", "one"], &[]);
    net.node("token 1", "Slice", &["tokens", "one", "two", "one"], &[]);
    net.node("count 0", "Slice", &["count", "zero", "one", "one"], &[]);
    net.node("row 0", "Gather", &["of before", "token 0"], &[]);
    net.node("row 1", "Gather", &["of last", "token 1"], &[]);
    net.node("flat 0", "Squeeze", &["row 0", "one"], &[]);
    net.node("flat 1", "Squeeze", &["row 1", "one"], &[]);
    net.node("held", "Mul", &["flat 0", "count 0"], &[]);
    net.node("decoder_out", "Add", &["held", "flat 1"], &[]);
    net
}

/// The joiner: a token for what begins after what there was, and the blank for all else.
pub(super) fn joiner() -> Network {
    let mut net = Network::default();
    net.input("encoder_out", Floats, &[BATCH, WIDTH]);
    net.input("decoder_out", Floats, &[BATCH, WIDTH]);
    net.output("logit", Floats, &[BATCH, VOCABULARY]);
    net.metadata("joiner_dim", &WIDTH.to_string());
    net.floats("one and a half", &[1], &[1.5]);
    net.floats("four", &[1], &[4.0]);
    net.node("sum", "Add", &["encoder_out", "decoder_out"], &[]);
    net.node("more than one", "Sub", &["sum", "one and a half"], &[]);
    net.node("steep", "Mul", &["more than one", "four"], &[]);
    net.node("joint", "Tanh", &["steep"], &[]);
    let says = |at: i64| SAYS[(at / CLASSES) as usize][(at % CLASSES) as usize];
    let weights: Vec<f32> = (0..WIDTH * VOCABULARY)
        .map(|n| if says(n / VOCABULARY) as i64 == n % VOCABULARY { 6.0 } else { 0.0 })
        .collect();
    let bias: Vec<f32> = (0..VOCABULARY)
        .map(|token| match token {
            0 => 10.0,
            token => 6.0 * (0..WIDTH).filter(|at| says(*at) as i64 == token).count() as f32,
        })
        .collect();
    net.floats("weights", &[WIDTH, VOCABULARY], &weights);
    net.floats("bias", &[VOCABULARY], &bias);
    net.node("weighed", "MatMul", &["joint", "weights"], &[]);
    net.node("logit", "Add", &["weighed", "bias"], &[]);
    net
}
