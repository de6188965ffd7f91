//! `sidetone ncco`: says what is wrong with an NCCO before a caller hears it, and what
//! callers get while no gateway answers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::control;
use crate::vonage::ncco::{BadNcco, Ncco, Severity, validate};

/// A file that holds no NCCO, or output that went nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no NCCO.
    #[error("{}: {source}", path.display())]
    NotNcco {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadNcco,
    },
    /// The problems could not be written.
    #[error("could not write the problems: {0}")]
    Write(io::Error),
}

/// Writes the static fallback NCCO of a configuration's flows.
///
/// # Errors
/// When it cannot be written.
pub(super) fn fallback(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let ncco = serde_json::to_string_pretty(&control::fallback(&config.flows()))?;
    writeln!(out, "{ncco}")
}

/// Reads a JSON file with an NCCO and writes its problems to `out`, one to a line, in
/// document order: `path: rule (value)`, a warning as `path: warning: rule (value)`.
///
/// Returns whether there was no error; warnings are allowed.
///
/// # Errors
/// [`CheckError`].
pub(super) fn check(path: &Path, out: &mut impl Write) -> Result<bool, CheckError> {
    let json = std::fs::read(path).map_err(|source| CheckError::Read { path: path.to_owned(), source })?;
    let ncco = Ncco::parse(&json).map_err(|source| CheckError::NotNcco { path: path.to_owned(), source })?;
    let mut ok = true;
    for problem in validate(&ncco) {
        ok &= problem.severity < Severity::Error;
        writeln!(out, "{problem}").map_err(CheckError::Write)?;
    }
    Ok(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(json: &str) -> (Result<bool, String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ncco.json");
        std::fs::write(&path, json).unwrap();
        let mut out = Vec::new();
        let result =
            check(&path, &mut out).map_err(|error| error.to_string().replace(&path.display().to_string(), "F"));
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn problems_one_to_a_line() {
        assert_eq!(run(r#"[{"action":"talk","text":"Hi"}]"#), (Ok(true), String::new()));
        assert_eq!(
            run(r#"[{"action":"wait","timeout":9000},{"action":"stream","streamUrl":["x"]}]"#),
            (
                Ok(false),
                "[0].timeout: warning: should be from 0.1 to 7200 (9000)\n\
                 [1].streamUrl[0]: must be an http:// or https:// URL (\"x\")\n"
                    .to_owned()
            )
        );
        assert!(run(r#"[{"action":"wait","timeout":9000}]"#).0.unwrap(), "a warning is no error");
    }

    #[test]
    fn files_that_hold_no_ncco_are_named() {
        assert_eq!(run("{}").0.unwrap_err(), "F: an NCCO must be an array of actions; this is an object");
        assert_eq!(run("[").0.unwrap_err(), "F: not JSON: line 1, column 1: EOF while parsing a list");
        let missing = check(Path::new("/no/such/file"), &mut Vec::new()).unwrap_err().to_string();
        assert!(missing.starts_with("/no/such/file: "), "{missing}");
    }
}
