//! ONNX files for tests, written field by field: a network is a protobuf message (`onnx.proto`
//! of the format's specification), and small ones need few of its fields.

/// A network in the making.
#[derive(Default)]
pub(in crate::asr::transducer) struct Network {
    graph: Vec<u8>,
    metadata: Vec<u8>,
}

/// The elements of a tensor, by their numbers in the format.
#[derive(Clone, Copy)]
pub(in crate::asr::transducer) enum Elements {
    Floats = 1,
    Integers = 7,
}

/// A length that is that of the batch.
pub(in crate::asr::transducer) const BATCH: i64 = -1;

impl Network {
    /// A node of the standard operators with one output, named like it; attributes are
    /// integers.
    pub(in crate::asr::transducer) fn node(
        &mut self,
        output: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, i64)],
    ) {
        self.node_of(
            output,
            operator,
            inputs,
            &attributes.iter().map(|(key, value)| integer(key, *value)).collect::<Vec<_>>(),
        );
    }

    /// The same, whose attribute is a list.
    pub(in crate::asr::transducer) fn node_with(
        &mut self,
        output: &str,
        operator: &str,
        inputs: &[&str],
        key: &str,
        values: &[i64],
    ) {
        let values: Vec<u8> = values.iter().flat_map(|value| number(8, *value)).collect();
        self.node_of(output, operator, inputs, &[[message(1, key.as_bytes()), values, number(20, 7)].concat()]);
    }

    fn node_of(&mut self, output: &str, operator: &str, inputs: &[&str], attributes: &[Vec<u8>]) {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| message(1, input.as_bytes())).collect();
        let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| message(5, attribute)).collect();
        let names = [message(2, output.as_bytes()), message(3, output.as_bytes()), message(4, operator.as_bytes())];
        self.graph.extend(message(1, &[inputs, names.concat(), attributes].concat()));
    }

    pub(in crate::asr::transducer) fn floats(&mut self, name: &str, shape: &[i64], values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Elements::Floats, shape, &bytes);
    }

    pub(in crate::asr::transducer) fn integers(&mut self, name: &str, shape: &[i64], values: &[i64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Elements::Integers, shape, &bytes);
    }

    fn constant(&mut self, name: &str, elements: Elements, shape: &[i64], bytes: &[u8]) {
        let shape: Vec<u8> = shape.iter().flat_map(|length| number(1, *length)).collect();
        let tensor = [shape, number(2, elements as i64), message(8, name.as_bytes()), message(9, bytes)];
        self.graph.extend(message(5, &tensor.concat()));
    }

    pub(in crate::asr::transducer) fn input(&mut self, name: &str, elements: Elements, shape: &[i64]) {
        self.graph.extend(message(11, &outlet(name, elements, shape)));
    }

    pub(in crate::asr::transducer) fn output(&mut self, name: &str, elements: Elements, shape: &[i64]) {
        self.graph.extend(message(12, &outlet(name, elements, shape)));
    }

    pub(in crate::asr::transducer) fn metadata(&mut self, key: &str, value: &str) {
        let entry = [message(1, key.as_bytes()), message(2, value.as_bytes())];
        self.metadata.extend(message(14, &entry.concat()));
    }

    /// The file.
    pub(in crate::asr::transducer) fn file(&self) -> Vec<u8> {
        let graph = [&self.graph[..], &message(2, b"toy")].concat();
        // Of the eighth form of the format, with operators of the thirteenth.
        [number(1, 8), message(7, &graph), message(8, &number(2, 13)), self.metadata.clone()].concat()
    }
}

fn outlet(name: &str, elements: Elements, shape: &[i64]) -> Vec<u8> {
    let length = |length: &i64| match *length {
        BATCH => message(1, &message(2, b"N")),
        length => message(1, &number(1, length)),
    };
    let shape: Vec<u8> = shape.iter().flat_map(length).collect();
    let tensor = [number(1, elements as i64), message(2, &shape)].concat();
    [message(1, name.as_bytes()), message(2, &message(1, &tensor))].concat()
}

fn integer(key: &str, value: i64) -> Vec<u8> {
    [message(1, key.as_bytes()), number(3, value), number(20, 2)].concat()
}

/// A field that holds bytes, or another message.
fn message(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A field that holds a number.
fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
