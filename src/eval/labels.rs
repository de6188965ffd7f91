//! Labelled texts, and how well a scorer labels them.
//!
//! A file is a table with a heading, tab-separated (`.tsv`) or with commas (`.csv`, where a
//! cell may stand in double quotes, and two of them in it mean one). It has the columns
//! `label` (`negative`, `neutral` or `positive`) and `text`; others are not looked at.

use sha2::{Digest as _, Sha256};

use crate::types::SentimentLabel;

/// What a file needs, for error messages.
pub const EXPECTED: &str = "a labelled file is a table with a heading, tab-separated or with commas; it needs the \
                            columns label (negative, neutral or positive) and text";

/// Labels, in the order of every array here.
pub const LABELS: [SentimentLabel; 3] = [SentimentLabel::Negative, SentimentLabel::Neutral, SentimentLabel::Positive];

/// A text and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What people say of it.
    pub label: SentimentLabel,
    /// The text.
    pub text: String,
}

impl Row {
    /// Whether `models/sentiment/train.py` keeps texts like this one from training in every
    /// set: one in five, by the text's SHA-256.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        /// Of 256.
        const HELD_OUT: u8 = 51;
        Sha256::digest(self.text.trim().as_bytes())[0] < HELD_OUT
    }
}

/// The rows of a file; `tabs` for tab-separated.
///
/// # Errors
/// Names the column that is missing, or the line and what is wrong with it.
pub fn parse(text: &str, tabs: bool) -> Result<Vec<Row>, String> {
    let mut lines = text.lines().enumerate();
    let cells = |line: &str| if tabs { line.split('\t').map(str::to_owned).collect() } else { comma_cells(line) };
    let heading = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let column = |name: &str| {
        heading.iter().position(|cell| cell.trim() == name).ok_or_else(|| format!("has no column {name:?}; {EXPECTED}"))
    };
    let (label, text) = (column("label")?, column("text")?);
    let mut rows = Vec::new();
    for (n, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells = cells(line);
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        let found = LABELS.into_iter().find(|known| name(*known) == cell(label).trim());
        let label = found.ok_or_else(|| format!("line {}: label {:?}; {EXPECTED}", n + 1, cell(label)))?;
        rows.push(Row { label, text: cell(text).to_owned() });
    }
    Ok(rows)
}

/// A label as files have it.
#[must_use]
pub fn name(label: SentimentLabel) -> &'static str {
    match label {
        SentimentLabel::Negative => "negative",
        SentimentLabel::Neutral => "neutral",
        SentimentLabel::Positive => "positive",
    }
}

fn comma_cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().expect("there is always one");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    cells
}

/// How often which label was given for which: rows are what people say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    counts: [[u64; 3]; 3],
}

impl Confusion {
    /// Counts one text; a scorer that failed gave none.
    pub fn count(&mut self, label: SentimentLabel, given: SentimentLabel) {
        let place = |label| LABELS.iter().position(|known| *known == label).unwrap_or_default();
        self.counts[place(label)][place(given)] += 1;
    }

    /// Adds another set's.
    pub fn add(&mut self, more: &Self) {
        for (row, more) in self.counts.iter_mut().zip(&more.counts) {
            row.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// Texts counted.
    #[must_use]
    pub fn texts(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Share of the labels that are right; 0 to 1.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..3).map(|class| self.counts[class][class]).sum();
        right as f64 / self.texts().max(1) as f64
    }

    /// Mean over the classes that the set has of the harmonic mean of precision and recall.
    /// A set without neutral texts has two classes; neutral said of one of them is a miss.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let classes = (0..3).filter(|&class| self.counts[class].iter().sum::<u64>() > 0);
        let f1 = |class: usize| {
            let right = self.counts[class][class];
            let said: u64 = self.counts.iter().map(|row| row[class]).sum();
            let is: u64 = self.counts[class].iter().sum();
            2.0 * right as f64 / (said + is).max(1) as f64
        };
        let all: Vec<f64> = classes.map(f1).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use SentimentLabel::{Negative, Neutral, Positive};

    use super::*;

    #[test]
    fn tables_with_tabs_and_with_commas_are_read() {
        let tabs = "id\tlabel\ttext\n1\tnegative\tNot \"good\", no\n\n2\tneutral\tYes\n";
        let commas = "text,label\n\"Not \"\"good\"\", no\",negative\nYes,neutral\n";
        let expected = [(Negative, "Not \"good\", no"), (Neutral, "Yes")];
        for (text, tabbed) in [(tabs, true), (commas, false)] {
            let rows = parse(text, tabbed).unwrap();
            let rows: Vec<_> = rows.iter().map(|row| (row.label, row.text.as_str())).collect();
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn errors_name_column_line_and_value() {
        assert!(parse("label\nneutral\n", true).unwrap_err().contains("no column \"text\""));
        let error = parse("label\ttext\nneutral\ta\nbad\tb\n", true).unwrap_err();
        assert!(error.contains("line 3: label \"bad\"") && error.contains("positive"), "{error}");
    }

    #[test]
    fn figures_are_those_of_the_definitions() {
        let mut confusion = Confusion::default();
        for (label, given) in [
            (Negative, Negative),
            (Negative, Positive),
            (Positive, Positive),
            (Positive, Neutral),
            (Positive, Positive),
        ] {
            confusion.count(label, given);
        }
        assert_eq!(confusion.texts(), 5);
        assert!((confusion.accuracy() - 0.6).abs() < 1e-9);
        // Negative: 2·1/(1+2); positive: 2·2/(3+3).
        assert!((confusion.macro_f1() - (2.0 / 3.0 + 4.0 / 6.0) / 2.0).abs() < 1e-9, "{}", confusion.macro_f1());
        assert!(Confusion::default().macro_f1().abs() < 1e-9);
    }

    #[test]
    fn a_fifth_is_held_out_by_the_rule_of_the_training_script() {
        let row = |text: &str| Row { label: Neutral, text: text.to_owned() };
        let held = (0..1_000).filter(|n| row(&format!("text {n}")).is_held_out()).count();
        assert!((150..250).contains(&held), "{held}");
        // hashlib.sha256(b"no").digest()[0] is 0x93, of b"5" 0xef, of b"hello" 0x2c.
        assert!(row(" hello ").is_held_out() && !row("5").is_held_out());
    }
}
