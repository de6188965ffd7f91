//! How every backend reads its own table of the configuration.

use serde::de::DeserializeOwned;

use super::BuildError;

/// Reads `table` (what stands under `[backend]`) into the backend's own type.
///
/// # Errors
/// Names the key with its path, and what was expected. Give the type
/// `deny_unknown_fields`, so that a misspelt key is an error too.
pub fn settings<T: DeserializeOwned>(backend: &str, table: &toml::Table) -> Result<T, BuildError> {
    serde_path_to_error::deserialize(toml::Value::Table(table.clone())).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        let problem = error.into_inner().to_string();
        BuildError::new(backend, format!("{place}{}", problem.trim()), format!("mend the table [{backend}]"))
    })
}
