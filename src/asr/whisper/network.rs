//! The two networks of Whisper, laid out from their weights: there are ONNX files of few of
//! its models, and these weights of all.
//!
//! ```text
//! encoder   mel [1, bands, frames]                  → cross.<layer>.k, .v [1, heads, frames/2, width]
//! decoder   tokens' vectors [texts, n, figures], cross,
//!           past.<layer>.k, .v [texts, heads, past, width] → logits of each last token, present.<layer>.k, .v
//! ```
//!
//! All the texts of one run of the decoder are of the same audio.

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use super::weights::{Values, Weights};

/// Operators of the runtime's own.
const MICROSOFT: &str = "com.microsoft";

/// What the activation of a Whisper model is, by its number in the file.
const GELU: usize = 3;

/// Constants of fewer bytes are kept in the network itself, where they help to lay it out.
const SMALL: usize = 128;

/// How wide and deep a model is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Bands that it hears.
    pub(super) bands: usize,
    /// Figures that make up a token.
    pub(super) figures: usize,
    /// Heads of an attention; each is `figures / heads` wide.
    pub(super) heads: usize,
    pub(super) encoder_layers: usize,
    pub(super) decoder_layers: usize,
    /// Frames of 20 ms that it hears at most.
    pub(super) frames_max: usize,
    /// Tokens that it writes at most.
    pub(super) tokens_max: usize,
}

impl Size {
    /// The size of the model of `weights`.
    pub(super) fn of(weights: &Weights) -> Result<Self, String> {
        let shape = |name: &str| weights.floats(name).map(|values| values.shape);
        let layers = |side: &str| {
            (0..).take_while(|layer| weights.has(&format!("{side}/layer_{layer}/ffn/linear_0/weight"))).count()
        };
        let [figures, bands, _] = shape("encoder/conv1/weight")?[..] else {
            return Err("has no convolution where one is expected".to_owned());
        };
        let heads = weights.integer("encoder/num_heads")?;
        let size = Self {
            bands,
            figures,
            heads,
            encoder_layers: layers("encoder"),
            decoder_layers: layers("decoder"),
            frames_max: shape("encoder/position_encodings/encodings")?.first().copied().unwrap_or_default(),
            tokens_max: shape("decoder/position_encodings/encodings")?.first().copied().unwrap_or_default(),
        };
        let alike = heads > 0 && figures % heads == 0 && weights.integer("decoder/num_heads")? == heads;
        if !alike || weights.integer("decoder/activation")? != GELU || size.decoder_layers == 0 {
            return Err("is laid out as no Whisper model is".to_owned());
        }
        Ok(size)
    }
}

/// How a network multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// By bytes, whose scale is found anew for each input: for processors.
    Int8,
    /// As the weights are.
    Float32,
}

/// Why a network cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{0}")]
    Weights(String),
    #[error("{0}")]
    Runtime(#[from] ort::Error),
}

impl From<String> for Unusable {
    fn from(problem: String) -> Self {
        Self::Weights(problem)
    }
}

type Laid<T> = Result<T, Unusable>;

/// Audio to what the decoder attends to.
pub(super) fn encoder(weights: &Weights, size: Size, precision: Precision, options: &SessionBuilder) -> Laid<Session> {
    let mut plan = Plan::new(weights, size, precision)?;
    let mut x = "mel".to_owned();
    for (layer, stride) in [("conv1", 1), ("conv2", 2)] {
        let weight = plan.given(&format!("encoder/{layer}/weight"))?;
        let bias = plan.given(&format!("encoder/{layer}/bias"))?;
        let shape = [ints("kernel_shape", &[3])?, ints("pads", &[1, 1])?, ints("strides", &[stride])?];
        x = plan.node("Conv", ONNX_DOMAIN, &[&x, &weight, &bias], shape)?;
        x = plan.node("Gelu", MICROSOFT, &[&x], [])?;
    }
    x = plan.node("Transpose", ONNX_DOMAIN, &[&x], [ints("perm", &[0, 2, 1])?])?;
    let length = plan.node("Shape", ONNX_DOMAIN, &[&x], [int("start", 1)?, int("end", 2)?])?;
    let places = plan.given("encoder/position_encodings/encodings")?;
    let zero = plan.constant(&[1], &[0_i64])?;
    let places = plan.node("Slice", ONNX_DOMAIN, &[&places, &zero, &length, &zero], [])?;
    x = plan.node("Add", ONNX_DOMAIN, &[&x, &places], [])?;
    for layer in 0..size.encoder_layers {
        let place = format!("encoder/layer_{layer}");
        let y = plan.norm(&x, &format!("{place}/self_attention/layer_norm"))?;
        let [q, k, v] = plan.linear(&y, &format!("{place}/self_attention/linear_0"))?;
        let y = plan.node("MultiHeadAttention", MICROSOFT, &[&q, &k, &v], [plan.heads()?])?;
        let [y] = plan.linear(&y, &format!("{place}/self_attention/linear_1"))?;
        x = plan.node("Add", ONNX_DOMAIN, &[&x, &y], [])?;
        x = plan.feed_forward(&x, &format!("{place}/ffn"))?;
    }
    x = plan.norm(&x, "encoder/layer_norm")?;
    let width = size.figures / size.heads;
    let split = plan.constant(&[4], &[0, 0, size.heads as i64, width as i64])?;
    let mut outputs = Vec::new();
    for layer in 0..size.decoder_layers {
        let [k, v] = plan.linear(&x, &format!("decoder/layer_{layer}/attention/linear_1"))?;
        for (which, y) in [("k", k), ("v", v)] {
            let y = plan.node("Reshape", ONNX_DOMAIN, &[&y, &split], [])?;
            let name = format!("cross.{layer}.{which}");
            let perm = [ints("perm", &[0, 2, 1, 3])?];
            plan.node_to("Transpose", ONNX_DOMAIN, &[&y], &[&name], perm)?;
            outputs.push(plan.cache(1, &name));
        }
    }
    let mel = floats("mel", &[1, size.bands as i64, -1]);
    plan.session(vec![mel], outputs, options)
}

/// Tokens so far to the next one.
pub(super) fn decoder(weights: &Weights, size: Size, precision: Precision, options: &SessionBuilder) -> Laid<Session> {
    let mut plan = Plan::new(weights, size, precision)?;
    let figures = size.figures as i64;
    let mut inputs = vec![floats("tokens", &[-1, -1, figures])];
    let mut outputs = vec![floats("logits", &[-1, 1, -1])];
    let as_one_text = plan.constant(&[3], &[1, -1, figures])?;
    let as_texts = plan.node("Shape", ONNX_DOMAIN, &["tokens"], [])?;
    let mut x = "tokens".to_owned();
    for layer in 0..size.decoder_layers {
        let place = format!("decoder/layer_{layer}");
        let named = |stage: &str, which: &str| format!("{stage}.{layer}.{which}");
        let y = plan.norm(&x, &format!("{place}/self_attention/layer_norm"))?;
        let [q, k, v] = plan.linear(&y, &format!("{place}/self_attention/linear_0"))?;
        let y = plan.name();
        plan.node_to(
            "MultiHeadAttention",
            MICROSOFT,
            &[&q, &k, &v, "", "", "", &named("past", "k"), &named("past", "v")],
            &[&y, &named("present", "k"), &named("present", "v")],
            [plan.heads()?, int("unidirectional", 1)?],
        )?;
        let [y] = plan.linear(&y, &format!("{place}/self_attention/linear_1"))?;
        x = plan.node("Add", ONNX_DOMAIN, &[&x, &y], [])?;

        let y = plan.norm(&x, &format!("{place}/attention/layer_norm"))?;
        // What was heard is there once, for all texts: to it they are one.
        let y = plan.node("Reshape", ONNX_DOMAIN, &[&y, &as_one_text], [])?;
        let [q] = plan.linear(&y, &format!("{place}/attention/linear_0"))?;
        let across = [q.as_str(), &named("cross", "k"), &named("cross", "v")];
        let y = plan.node("MultiHeadAttention", MICROSOFT, &across, [plan.heads()?])?;
        let [y] = plan.linear(&y, &format!("{place}/attention/linear_2"))?;
        let y = plan.node("Reshape", ONNX_DOMAIN, &[&y, &as_texts], [])?;
        x = plan.node("Add", ONNX_DOMAIN, &[&x, &y], [])?;
        x = plan.feed_forward(&x, &format!("{place}/ffn"))?;
        for which in ["k", "v"] {
            inputs.extend([plan.cache(-1, &named("past", which)), plan.cache(1, &named("cross", which))]);
            outputs.push(plan.cache(-1, &named("present", which)));
        }
    }
    let last = plan.constant(&[1], &[-1_i64])?;
    x = plan.node("Gather", ONNX_DOMAIN, &[&x, &last], [int("axis", 1)?])?;
    x = plan.norm(&x, "decoder/layer_norm")?;
    let vocabulary = weights.floats("decoder/embeddings/weight")?;
    let logits = plan.product(&x, &vocabulary, 0..vocabulary.shape[0], None)?;
    plan.node_to("Identity", ONNX_DOMAIN, &[&logits], &["logits"], [])?;
    plan.session(inputs, outputs, options)
}

/// A network on its way.
struct Plan<'a> {
    weights: &'a Weights,
    size: Size,
    precision: Precision,
    graph: Graph,
    named: usize,
}

impl<'a> Plan<'a> {
    fn new(weights: &'a Weights, size: Size, precision: Precision) -> Laid<Self> {
        Ok(Self { weights, size, precision, graph: Graph::new()?, named: 0 })
    }

    /// A name that nothing has yet.
    fn name(&mut self) -> String {
        self.named += 1;
        format!("n{}", self.named)
    }

    fn node_to(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Laid<()> {
        let name = self.name();
        Ok(self.graph.add_node(Node::new(operator, domain, name, inputs, outputs, attributes)?)?)
    }

    fn node(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Laid<String> {
        let output = self.name();
        self.node_to(operator, domain, inputs, &[&output], attributes)?;
        Ok(output)
    }

    fn constant<T: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static>(
        &mut self,
        shape: &[usize],
        values: &[T],
    ) -> Laid<String> {
        let name = self.name();
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let mut tensor = Tensor::<T>::new(&Allocator::default(), Shape::from(shape))?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        self.graph.add_initializer(&name, tensor, size_of_val(values) >= SMALL)?;
        Ok(name)
    }

    /// A variable of the weights as it is.
    fn given(&mut self, variable: &str) -> Laid<String> {
        let Values { shape, values } = self.weights.floats(variable)?;
        self.constant(&shape, &values)
    }

    fn norm(&mut self, x: &str, variable: &str) -> Laid<String> {
        let gamma = self.given(&format!("{variable}/gamma"))?;
        let beta = self.given(&format!("{variable}/beta"))?;
        let how = [int("axis", -1)?, Attribute::new("epsilon", 1e-5_f32)?];
        self.node("LayerNormalization", ONNX_DOMAIN, &[x, &gamma, &beta], how)
    }

    /// A layer of `N` products that the weights keep as one.
    fn linear<const N: usize>(&mut self, x: &str, variable: &str) -> Laid<[String; N]> {
        let weight = self.weights.floats(&format!("{variable}/weight"))?;
        let bias = self.weights.floats(&format!("{variable}/bias"))?.values;
        let [rows, _] = weight.shape[..] else { return Err(format!("{variable} is no matrix").into()) };
        let mut outputs = [const { String::new() }; N];
        for (n, output) in outputs.iter_mut().enumerate() {
            let part = n * rows / N..(n + 1) * rows / N;
            *output = self.product(x, &weight, part.clone(), bias.get(part))?;
        }
        Ok(outputs)
    }

    /// `x` by the `rows` of a matrix, each of which is one output.
    fn product(
        &mut self,
        x: &str,
        matrix: &Values,
        rows: std::ops::Range<usize>,
        bias: Option<&[f32]>,
    ) -> Laid<String> {
        let [_, inner] = matrix.shape[..] else { return Err("has a product that is no matrix".to_owned().into()) };
        let outer = rows.len();
        let values = &matrix.values[rows.start * inner..rows.end * inner];
        let bias = bias.map(|bias| self.constant(&[outer], bias)).transpose()?;
        match self.precision {
            Precision::Int8 => {
                let (bytes, scales) = quantised(values, inner);
                let (bytes, scales) = (self.constant(&[inner, outer], &bytes)?, self.constant(&[outer], &scales)?);
                let inputs = [x, &bytes, &scales, "", bias.as_deref().unwrap_or_default()];
                let given = inputs.len() - usize::from(bias.is_none());
                self.node("DynamicQuantizeMatMul", MICROSOFT, &inputs[..given], [])
            }
            Precision::Float32 => {
                let matrix = self.constant(&[inner, outer], &transposed(values, inner))?;
                let product = self.node("MatMul", ONNX_DOMAIN, &[x, &matrix], [])?;
                match bias {
                    Some(bias) => self.node("Add", ONNX_DOMAIN, &[&product, &bias], []),
                    None => Ok(product),
                }
            }
        }
    }

    fn feed_forward(&mut self, x: &str, variable: &str) -> Laid<String> {
        let y = self.norm(x, &format!("{variable}/layer_norm"))?;
        let [y] = self.linear(&y, &format!("{variable}/linear_0"))?;
        let y = self.node("Gelu", MICROSOFT, &[&y], [])?;
        let [y] = self.linear(&y, &format!("{variable}/linear_1"))?;
        self.node("Add", ONNX_DOMAIN, &[x, &y], [])
    }

    fn heads(&self) -> ort::Result<Attribute> {
        int("num_heads", self.size.heads as i64)
    }

    fn cache(&self, texts: i64, name: &str) -> Outlet {
        floats(name, &[texts, self.size.heads as i64, -1, (self.size.figures / self.size.heads) as i64])
    }

    fn session(mut self, inputs: Vec<Outlet>, outputs: Vec<Outlet>, options: &SessionBuilder) -> Laid<Session> {
        self.graph.set_inputs(inputs)?;
        self.graph.set_outputs(outputs)?;
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, 18)?, Opset::new(MICROSOFT, 1)?])?;
        model.set_graph(self.graph)?;
        Ok(model.into_session(options)?)
    }
}

fn int(name: &str, value: i64) -> ort::Result<Attribute> {
    Attribute::new(name, value)
}

fn ints(name: &str, values: &[i64]) -> ort::Result<Attribute> {
    Attribute::new(name, values.to_vec())
}

/// An input or output; −1 for a length that differs from run to run.
fn floats(name: &str, shape: &[i64]) -> Outlet {
    let symbol = |(at, &n): (usize, &i64)| if n < 0 { format!("{name}.{at}") } else { String::new() };
    let dimension_symbols = SymbolicDimensions::new(shape.iter().enumerate().map(symbol));
    let ty = TensorElementType::Float32;
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(shape.iter().copied()), dimension_symbols })
}

/// The rows of a matrix, each `inner` long, as its columns.
fn transposed<T: Copy + Default>(rows: &[T], inner: usize) -> Vec<T> {
    let outer = rows.len() / inner;
    let mut columns = vec![T::default(); rows.len()];
    for (n, row) in rows.chunks_exact(inner).enumerate() {
        row.iter().zip(columns[n..].iter_mut().step_by(outer)).for_each(|(value, place)| *place = *value);
    }
    columns
}

/// The rows of a matrix, each `inner` long, as columns of bytes; and the scale of each.
fn quantised(rows: &[f32], inner: usize) -> (Vec<i8>, Vec<f32>) {
    const MOST: f32 = 127.0;
    let scale = |row: &[f32]| row.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / MOST;
    let scales: Vec<f32> = rows.chunks_exact(inner).map(scale).collect();
    let bytes: Vec<i8> = rows
        .chunks_exact(inner)
        .zip(&scales)
        .flat_map(|(row, scale)| row.iter().map(|value| (value / scale.max(f32::MIN_POSITIVE)).round() as i8))
        .collect();
    (transposed(&bytes, inner), scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantised_matrix_is_columns_of_bytes_close_to_its_rows() {
        let rows = [1.0, -2.0, 0.5, 0.0, 0.0, 0.0];
        let (bytes, scales) = quantised(&rows, 3);
        assert_eq!(bytes, [64, 0, -127, 0, 32, 0]);
        assert_eq!(scales, [2.0 / 127.0, 0.0]);
        for (at, value) in rows.iter().enumerate() {
            let (row, column) = (at / 3, at % 3);
            assert!((f32::from(bytes[column * 2 + row]) * scales[row] - value).abs() <= scales[row] / 2.0);
        }
    }
}
