//! How a piece of text sounds.

/// The verdict in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentimentLabel {
    /// Compound at or below −0.05.
    Negative,
    /// In between.
    Neutral,
    /// Compound at or above 0.05.
    Positive,
}

impl SentimentLabel {
    /// The label that VADER's published thresholds give a compound score.
    #[must_use]
    pub fn from_compound(compound: f32) -> Self {
        match compound {
            c if c >= 0.05 => Self::Positive,
            c if c <= -0.05 => Self::Negative,
            _ => Self::Neutral,
        }
    }
}

/// A sentiment score for one final transcript.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sentiment {
    /// The verdict.
    pub label: SentimentLabel,
    /// One figure for ordering and trends, −1 (worst) to 1 (best).
    pub compound: f32,
    /// Weight of the negative class, 0 to 1. The three weights sum to 1, or to 0 for empty text.
    pub negative: f32,
    /// Weight of the neutral class, 0 to 1.
    pub neutral: f32,
    /// Weight of the positive class, 0 to 1.
    pub positive: f32,
}
