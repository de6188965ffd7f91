//! What a transcriber heard.

use super::Private;

/// One recognised word with its place in the segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The word as recognised.
    pub text: Private<String>,
    /// Start within the segment, in ms.
    pub start_ms: u64,
    /// End within the segment, in ms.
    pub end_ms: u64,
    /// 0 to 1, where the engine gives one.
    pub confidence: Option<f32>,
}

/// The text of one segment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// Recognised text, trimmed. Empty when the engine heard no words.
    pub text: Private<String>,
    /// Words with times; empty where the engine gives none.
    pub words: Vec<Word>,
    /// 0 to 1: the engine's own figure, such as exp(mean token log-probability).
    pub confidence: Option<f32>,
    /// BCP 47 tag of the language recognised.
    pub language: &'static str,
}
