//! Text that must not reach a log line: transcripts, digits, numbers.

use std::fmt;

use serde::Deserialize;

/// Holds a value that may be published, but never printed by accident.
///
/// `Debug` shows only that something is there. There is no `Display`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Private<T>(pub T);

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_show_the_value() {
        assert_eq!(format!("{:?}", Private("4111 1111")), "[private]");
    }
}
