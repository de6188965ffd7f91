//! A model's weights, as CTranslate2 and faster-whisper keep them: `model.bin`.
//!
//! The file is little-endian: version, the specification's name and revision, then each
//! variable with name, shape, type and bytes. Must never read past its end or ask for
//! memory that the file does not fill, whatever it says.

use std::collections::HashMap;
use std::ops::Range;

/// The version of the file that is read, and whose model must be in it.
const VERSION: u32 = 6;
const SPECIFICATION: &str = "WhisperSpec";

/// The types there are, by their numbers.
const FLOAT32: u8 = 0;
const INT8: u8 = 1;
const INT16: u8 = 2;
const FLOAT16: u8 = 4;

/// A whole `model.bin`.
pub(super) struct Weights {
    file: Vec<u8>,
    variables: HashMap<String, Variable>,
}

/// One variable of it.
struct Variable {
    shape: Vec<usize>,
    kind: u8,
    bytes: Range<usize>,
}

/// A variable's values, row by row, and its shape.
#[derive(Debug, PartialEq)]
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Weights {
    /// Reads the contents of a `model.bin`.
    ///
    /// # Errors
    /// Says where the file stops making sense, or what it is in place of a Whisper model.
    pub(super) fn parse(file: Vec<u8>) -> Result<Self, String> {
        let mut rest = Rest { file: &file, at: 0 };
        let version = rest.u32()?;
        let name = rest.text()?;
        let _revision = rest.u32()?;
        if version != VERSION || name != SPECIFICATION {
            return Err(format!("is version {version} of {name:?}, expected {VERSION} of {SPECIFICATION:?}"));
        }
        let mut variables = HashMap::new();
        for _ in 0..rest.u32()? {
            let name = rest.text()?;
            let [rank] = rest.array()?;
            let shape = (0..rank).map(|_| rest.u32().map(|n| n as usize)).collect::<Result<Vec<_>, _>>()?;
            let [kind] = rest.array()?;
            let length = rest.u32()? as usize;
            let bytes = rest.at..rest.at + rest.take(length)?.len();
            let wide = match kind {
                FLOAT32 => 4,
                FLOAT16 | INT16 => 2,
                INT8 => 1,
                _ => return Err(format!("{name} is of type {kind}; expected a model of float16 or float32")),
            };
            if shape.iter().try_fold(wide, |all: usize, &n| all.checked_mul(n)) != Some(length) {
                return Err(format!("{name} has {length} bytes, which is not what its shape says"));
            }
            variables.insert(name, Variable { shape, kind, bytes });
        }
        Ok(Self { file, variables })
    }

    /// Whether there is a variable of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The values of a variable of floats.
    ///
    /// # Errors
    /// When there is none of this name, or it is of integers: quantised already.
    pub(super) fn floats(&self, name: &str) -> Result<Values, String> {
        let (variable, bytes) = self.variable(name)?;
        let values = match variable.kind {
            FLOAT32 => bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
            FLOAT16 => bytes.as_chunks().0.iter().map(|two| half::f16::from_le_bytes(*two).to_f32()).collect(),
            _ => return Err(format!("{name} is quantised; expected a model of float16 or float32")),
        };
        Ok(Values { shape: variable.shape.clone(), values })
    }

    /// A single integer.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn integer(&self, name: &str) -> Result<usize, String> {
        let (variable, bytes) = self.variable(name)?;
        let number = match (variable.kind, bytes) {
            (INT8, [low]) => i16::from(*low as i8),
            (INT16, [low, high]) => i16::from_le_bytes([*low, *high]),
            _ => return Err(format!("{name} is no single integer")),
        };
        usize::try_from(number).map_err(|_| format!("{name} is {number}"))
    }

    fn variable(&self, name: &str) -> Result<(&Variable, &[u8]), String> {
        let variable = self.variables.get(name).ok_or_else(|| format!("has no {name}"))?;
        Ok((variable, &self.file[variable.bytes.clone()]))
    }
}

struct Rest<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let taken = self.at.checked_add(n).and_then(|end| self.file.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("ends before byte {}", self.at.saturating_add(n)))?;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// Its length and a zero byte at its end are of the format.
    fn text(&mut self) -> Result<String, String> {
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        let text = self.take(length)?;
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        String::from_utf8(text.to_owned()).map_err(|_| format!("has a name that is no text before byte {}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat()
    }

    fn variable(name: &str, shape: &[u32], kind: u8, bytes: &[u8]) -> Vec<u8> {
        let shape: Vec<u8> =
            std::iter::once(shape.len() as u8).chain(shape.iter().flat_map(|n| n.to_le_bytes())).collect();
        [&text(name)[..], &shape, &[kind], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
    }

    fn file(name: &str, variables: &[Vec<u8>]) -> Vec<u8> {
        let count = (variables.len() as u32).to_le_bytes();
        [&6_u32.to_le_bytes()[..], &text(name), &3_u32.to_le_bytes(), &count, &variables.concat()].concat()
    }

    fn whole() -> Vec<u8> {
        let half = [0x00, 0x3C, 0x00, 0xC0];
        file(
            SPECIFICATION,
            &[
                variable("heads", &[], INT16, &[6, 0]),
                variable("half", &[1, 2], FLOAT16, &half),
                variable("single", &[1], FLOAT32, &1.5_f32.to_le_bytes()),
                variable("small", &[2], INT8, &[1, 2]),
            ],
        )
    }

    #[test]
    fn variables_are_read_by_name() {
        let weights = Weights::parse(whole()).unwrap();
        assert_eq!(weights.integer("heads"), Ok(6));
        assert_eq!(weights.floats("half"), Ok(Values { shape: vec![1, 2], values: vec![1.0, -2.0] }));
        assert_eq!(weights.floats("single"), Ok(Values { shape: vec![1], values: vec![1.5] }));
        assert!(weights.has("small") && !weights.has("large"));
        assert!(weights.floats("small").unwrap_err().contains("quantised"));
        assert!(weights.floats("large").unwrap_err().contains("large"));
        assert!(weights.integer("small").is_err());
    }

    #[test]
    fn another_model_and_a_file_cut_anywhere_are_refused() {
        let error = Weights::parse(file("TransformerSpec", &[])).err().unwrap();
        assert!(error.contains("TransformerSpec"), "{error}");
        assert!(Weights::parse(file(SPECIFICATION, &[variable("x", &[3], INT8, &[1, 2])])).is_err());
        assert!(Weights::parse(file(SPECIFICATION, &[variable("x", &[u32::MAX; 9], INT8, &[])])).is_err());
        assert!(Weights::parse(file(SPECIFICATION, &[variable("x", &[], 77, &[])])).is_err());
        let whole = whole();
        for cut in 0..whole.len() {
            assert!(Weights::parse(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
