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
    use super::super::tests::onnx::{BATCH, Elements, Network};
    use super::super::tests::{build, runtime, toy};
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

    /// Puts `new` in the place of `old`, which is as long, in a file.
    fn renamed(file: &Path, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let mut bytes = std::fs::read(file).unwrap();
        let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old.as_bytes())).collect();
        assert!(!places.is_empty(), "there is no {old} in {}", file.display());
        places.iter().for_each(|at| bytes[*at..at + new.len()].copy_from_slice(new.as_bytes()));
        std::fs::write(file, bytes).unwrap();
    }

    /// A network that gives the sum of its inputs, all of one shape.
    fn sum(inputs: &[&str], shape: &[i64], output: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut net = Network::default();
        inputs.iter().for_each(|name| net.input(name, Elements::Floats, shape));
        net.output(output, Elements::Floats, shape);
        net.node(output, "Sum", inputs, &[]);
        metadata.iter().for_each(|(key, value)| net.metadata(key, value));
        net.file()
    }

    #[test]
    fn what_is_wrong_in_a_folder_is_named_with_its_file() {
        const CHUNKS: [(&str, &str); 2] = [("T", "36"), ("decode_chunk_len", "32")];
        type Broken = fn(&Path);
        let broken: [(Broken, &str, &str); 21] = [
            (|f| std::fs::remove_file(f.join("encoder-toy.onnx")).unwrap(), "no encoder*.onnx", ""),
            (|f| std::fs::remove_file(f.join("decoder-toy.onnx")).unwrap(), "no decoder*.onnx", ""),
            (|f| std::fs::remove_file(f.join("joiner-toy.onnx")).unwrap(), "no joiner*.onnx", ""),
            (|f| std::fs::remove_file(f.join("tokens.txt")).unwrap(), "tokens.txt", "cannot read"),
            (|f| std::fs::write(f.join("encoder-2.onnx"), []).unwrap(), "encoder-2.onnx and encoder-toy.onnx", ""),
            (|f| std::fs::write(f.join("encoder-toy.onnx"), "weights").unwrap(), "encoder-toy.onnx", ""),
            (|f| std::fs::write(f.join("joiner-toy.onnx"), []).unwrap(), "joiner-toy.onnx", ""),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "decode_chunk_len", "decode_chunk_lem"),
                "encoder-toy.onnx",
                "no decode_chunk_len in its metadata",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "\u{1}T\u{12}\u{2}36", "\u{1}U\u{12}\u{2}36"),
                "encoder-toy.onnx",
                "no T in its metadata",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "\u{1}T\u{12}\u{2}36", "\u{1}T\u{12}\u{2}3x"),
                "encoder-toy.onnx",
                "T = \"3x\"",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "\u{1}T\u{12}\u{2}36", "\u{1}T\u{12}\u{2}31"),
                "encoder-toy.onnx",
                "more than its T = 31",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "\u{1}T\u{12}\u{2}36", "\u{1}T\u{12}\u{2}37"),
                "encoder-toy.onnx",
                "expected float32 in [1, 37, 80]",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "new_state1", "old_state1"),
                "encoder-toy.onnx",
                "no output new_state1",
            ),
            (
                |f| renamed(&f.join("encoder-toy.onnx"), "encoder_out", "encoder_oot"),
                "encoder-toy.onnx",
                "no output encoder_out",
            ),
            (
                |f| {
                    let file = sum(&["x"], &[BATCH, 36, 40], "encoder_out", &CHUNKS);
                    std::fs::write(f.join("encoder-toy.onnx"), file).unwrap();
                },
                "encoder-toy.onnx",
                "x of shape [-1, 36, 40]",
            ),
            (
                |f| {
                    let metadata = [CHUNKS[0], CHUNKS[1], ("feature", "whisper")];
                    let file = sum(&["x"], &[BATCH, 36, 80], "encoder_out", &metadata);
                    std::fs::write(f.join("encoder-toy.onnx"), file).unwrap();
                },
                "encoder-toy.onnx",
                "Whisper's bands",
            ),
            (
                // It runs, and what it gives is too wide for the joiner.
                |f| {
                    let file = sum(&["x"], &[BATCH, 36, 80], "encoder_out", &CHUNKS);
                    std::fs::write(f.join("encoder-toy.onnx"), file).unwrap();
                },
                "encoder-toy.onnx",
                "does not run",
            ),
            (
                |f| renamed(&f.join("decoder-toy.onnx"), "vocab_size", "vocab_sise"),
                "decoder-toy.onnx",
                "no vocab_size in its metadata",
            ),
            (
                |f| renamed(&f.join("decoder-toy.onnx"), "context_size\u{12}\u{1}2", "context_size\u{12}\u{1}0"),
                "decoder-toy.onnx",
                "context_size = \"0\"",
            ),
            (
                |f| {
                    let file = sum(&["encoder_out", "decoder_out"], &[BATCH, 9], "logit", &[]);
                    std::fs::write(f.join("joiner-toy.onnx"), file).unwrap();
                },
                "does not run",
                "9 figures for 7 tokens",
            ),
            (
                |f| std::fs::write(f.join("tokens.txt"), "<blk> 0\n▁LOW 3\n").unwrap(),
                "tokens.txt",
                "no token of number 1",
            ),
        ];
        let Some(runtime) = runtime() else { return };
        for (breaks, said, more) in broken {
            let folder = tempfile::tempdir().unwrap();
            toy::lay(folder.path()).unwrap();
            breaks(folder.path());
            let error = build(folder.path(), &runtime).err().unwrap_or_else(|| panic!("not refused: {said}, {more}"));
            let text = error.to_string();
            assert!(text.contains(said) && text.contains(more) && error.backend == NAME, "{text}\nnot {said}, {more}");
        }
    }
}
