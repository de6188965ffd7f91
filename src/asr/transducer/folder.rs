//! Which files of a model's folder are used.
//!
//! Exporters lay several forms of one network beside each other: as it was trained, by bytes
//! (`….int8.onnx`) and by half floats (`….fp16.onnx`).

use std::path::{Path, PathBuf};

use crate::onnx::Provider;
use crate::types::BuildError;

use super::{NAME, REMEDY};

/// The files of one model.
#[derive(Debug, PartialEq)]
pub(super) struct Folder {
    pub(super) encoder: PathBuf,
    pub(super) decoder: PathBuf,
    pub(super) joiner: PathBuf,
    pub(super) tokens: PathBuf,
}

/// The forms there are, by the end of a file's name; whatever has none of them is as trained.
const BYTES: &str = ".int8.onnx";
const HALVES: &str = ".fp16.onnx";
const TRAINED: &str = ".onnx";

impl Folder {
    /// Looks for the files in `folder`, to be run on `provider`.
    ///
    /// # Errors
    /// Names what is missing, or the files between which there is no choosing.
    pub(super) fn of(folder: &Path, provider: Provider) -> Result<Self, BuildError> {
        let unreadable = |error: std::io::Error| {
            BuildError::new(NAME, format!("cannot read the folder {}: {error}", folder.display()), REMEDY)
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            // A name that is no text is none of ours.
            names.extend(entry.map_err(unreadable)?.file_name().into_string());
        }
        names.sort_unstable();
        let network = |which: &str, forms: [&str; 3]| -> Result<PathBuf, BuildError> {
            let form = |name: &str| [BYTES, HALVES, TRAINED].into_iter().find(|form| name.ends_with(form));
            let of_form = |wanted: &&str| -> Vec<&String> {
                names.iter().filter(|name| name.starts_with(which) && form(name) == Some(*wanted)).collect()
            };
            let found = forms.iter().map(of_form).find(|found| !found.is_empty()).unwrap_or_default();
            match found[..] {
                [name] => Ok(folder.join(name)),
                [] => {
                    let problem = format!("there is no {which}*.onnx in {}", folder.display());
                    Err(BuildError::new(NAME, problem, REMEDY))
                }
                [one, other, ..] => {
                    let problem = format!("{one} and {other} are both in {}", folder.display());
                    Err(BuildError::new(NAME, problem, "leave one model in the folder"))
                }
            }
        };
        // Bytes are quicker on a processor, and slower on a graphics processor; of the small
        // decoder there is nothing to gain.
        let [quick, plain] = match provider {
            Provider::Cpu => [[BYTES, TRAINED, HALVES], [TRAINED, BYTES, HALVES]],
            Provider::Cuda => [[TRAINED, HALVES, BYTES]; 2],
        };
        Ok(Self {
            encoder: network("encoder", quick)?,
            decoder: network("decoder", plain)?,
            joiner: network("joiner", quick)?,
            tokens: folder.join("tokens.txt"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], provider: Provider) -> Result<[String; 3], String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), []).unwrap();
        }
        let found = Folder::of(folder.path(), provider).map_err(|error| error.to_string())?;
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok([name(found.encoder), name(found.decoder), name(found.joiner)])
    }

    #[test]
    fn each_network_is_taken_in_the_form_that_suits() {
        let both = [
            "encoder-epoch-99-avg-1.onnx",
            "encoder-epoch-99-avg-1.int8.onnx",
            "decoder-epoch-99-avg-1.onnx",
            "decoder-epoch-99-avg-1.int8.onnx",
            "joiner-epoch-99-avg-1.onnx",
            "joiner-epoch-99-avg-1.int8.onnx",
            "joiner-epoch-99-avg-1.fp16.onnx",
            "README.md",
        ];
        assert_eq!(found(&both, Provider::Cpu).unwrap(), [both[1], both[2], both[5]]);
        assert_eq!(found(&both, Provider::Cuda).unwrap(), [both[0], both[2], both[4]]);
        let one = ["encoder.onnx", "decoder.int8.onnx", "joiner.fp16.onnx"];
        assert_eq!(found(&one, Provider::Cpu).unwrap(), one);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        for (names, said) in [
            (&[][..], "no encoder*.onnx"),
            (&["encoder.onnx", "joiner.onnx"], "no decoder*.onnx"),
            (&["encoder.onnx", "decoder.onnx", "joiner.txt"], "no joiner*.onnx"),
            (&["encoder-a.onnx", "encoder-b.onnx"], "encoder-a.onnx and encoder-b.onnx"),
            (&["encoder-a.int8.onnx", "encoder-b.int8.onnx", "encoder.onnx"], "encoder-a.int8.onnx and encoder-b"),
        ] {
            let error = found(names, Provider::Cpu).unwrap_err();
            assert!(error.contains(said), "{error}, not {said}");
        }
    }
}
