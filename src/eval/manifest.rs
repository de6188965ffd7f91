//! Which recordings there are and what is said in them: a table of tab-separated
//! columns with a heading.
//!
//! `file` and `transcript` must be there. `subset` ends in the language after a
//! slash or hyphen (`wer/en`, `wer/slots-en`), `ref_type` says where the transcript
//! comes from, `note` what else is to be known; without them a row is English and good.

use std::path::PathBuf;

/// What a manifest needs, for error messages.
pub const EXPECTED: &str = "a manifest is a table of tab-separated columns with a heading; it needs the columns \
                            file (relative to the manifest) and transcript, and may have subset, ref_type and note";

/// Words that a recording is known to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// All of them.
    Words(String),
    /// Some: answers that a caller gave, each of which should be heard somewhere.
    Slots(Vec<String>),
}

/// A recording to be transcribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Relative to the manifest.
    pub file: PathBuf,
    /// The folder it is in: `fleurs-en` for `wer/fleurs/x.wav`, the language told where
    /// the folder has many.
    pub set: String,
    /// What is said.
    pub reference: Reference,
}

/// Rows that cannot be used, by the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Skipped {
    /// In another language than English.
    pub other_language: usize,
    /// Whose transcript a machine wrote and nobody checked.
    pub machine_draft: usize,
    /// Marked `band C`: so hard that figures say nothing.
    pub stress: usize,
}

/// The rows that can be used, and how many cannot. Rows without transcript are not
/// meant for this and not counted.
///
/// # Errors
/// Names the column that is missing or the line that is no row.
pub fn parse(text: &str) -> Result<(Vec<Row>, Skipped), String> {
    let mut lines = text.lines().enumerate();
    let heading: Vec<&str> = lines.next().map(|(_, line)| line.split('\t').collect()).unwrap_or_default();
    let column = |name: &str| heading.iter().position(|column| *column == name);
    let needed = |name: &str| column(name).ok_or_else(|| format!("has no column {name:?}; {EXPECTED}"));
    let (file, transcript) = (needed("file")?, needed("transcript")?);
    let (subset, ref_type, note) = (column("subset"), column("ref_type"), column("note"));

    let mut rows = Vec::new();
    let mut languages = Vec::new();
    let mut skipped = Skipped::default();
    for (n, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).map_or("", |cell| cell.trim());
        let path = cell(Some(file));
        if path.is_empty() {
            return Err(format!("line {} names no file; {EXPECTED}", n + 1));
        }
        let language = cell(subset).rsplit(['/', '-']).next().filter(|l| l.len() == 2).unwrap_or("en");
        let folder = PathBuf::from(path);
        let folder = folder.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy();
        languages.push((folder.clone().into_owned(), language.to_owned()));
        let origin = cell(ref_type);
        if cell(Some(transcript)).is_empty() {
            skipped.machine_draft += usize::from(origin.contains("machine-draft"));
        } else if origin.contains("machine-draft") {
            skipped.machine_draft += 1;
        } else if language != "en" {
            skipped.other_language += 1;
        } else if cell(note).contains("band C") {
            skipped.stress += 1;
        } else {
            let reference = reference(cell(Some(transcript)))
                .ok_or_else(|| format!("line {}: transcript begins like JSON but is none", n + 1))?;
            rows.push(Row { file: PathBuf::from(path), set: folder.into_owned(), reference });
        }
    }
    for row in &mut rows {
        let mixed = languages.iter().any(|(folder, language)| *folder == row.set && language != "en");
        if mixed {
            row.set.push_str("-en");
        }
    }
    Ok((rows, skipped))
}

/// `{"size": "large"}`, its quotes escaped or not, are slots; anything else is words.
fn reference(cell: &str) -> Option<Reference> {
    if !cell.starts_with('{') {
        return Some(Reference::Words(cell.to_owned()));
    }
    let slots: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(cell).or_else(|_| serde_json::from_str(&cell.replace("\\\"", "\""))).ok()?;
    slots.values().map(|value| Some(value.as_str()?.trim().to_owned())).collect::<Option<_>>().map(Reference::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "file\ttranscript\tref_type\tsubset\tnote\n\
        calls/a.wav\t\tmachine-draft (consensus)\tcalls\t\n\
        wer/fleurs/en-1.wav\tHello there.\tupstream transcript\twer/en\t\n\
        wer/fleurs/de-1.wav\tGuten Tag\tupstream transcript\twer/de\t\n\
        wer/so/1.wav\tTOO HARD\tupstream transcript\twer/en\tdifficulty band C (stress only)\n\
        wer/so/2.wav\tFINE\tupstream transcript\twer/en\tdifficulty band A\n\
        wer/slots/1.wav\t{\\\"size\\\": \\\" large\\\"}\tslots\twer/slots-en\t\n";

    #[test]
    fn rows_come_with_their_sets_and_the_rest_is_counted() {
        let (rows, skipped) = parse(TABLE).unwrap();
        assert_eq!(skipped, Skipped { other_language: 1, machine_draft: 1, stress: 1 });
        let sets: Vec<_> = rows.iter().map(|row| row.set.as_str()).collect();
        assert_eq!(sets, ["fleurs-en", "so", "slots"]);
        assert_eq!(rows[0].reference, Reference::Words("Hello there.".to_owned()));
        assert_eq!(rows[2].reference, Reference::Slots(vec!["large".to_owned()]));
    }

    #[test]
    fn two_columns_are_enough() {
        let (rows, _) = parse("transcript\tfile\nhello\tx.wav\n").unwrap();
        assert_eq!((rows[0].file.as_path(), rows[0].set.as_str()), (std::path::Path::new("x.wav"), ""));
    }

    #[test]
    fn errors_say_what_is_needed() {
        for (text, part) in [
            ("", "\"file\""),
            ("file\tnote\n", "\"transcript\""),
            ("file\ttranscript\n\thello\n", "line 2"),
            ("file\ttranscript\na.wav\t{hello\n", "line 2"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
