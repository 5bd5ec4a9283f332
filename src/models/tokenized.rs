//! Texts as token ids, each with its byte range in the text, for every tokenizer; and how its files are read.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A tokenized prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedPrompt {
    /// Token ids: the text's tokens among those that the model wants around them, then padding to its maximum length.
    pub ids: Vec<i64>,
    /// For each id its byte range in the text, at character boundaries; `None` for special tokens.
    pub offsets: Vec<Option<Range<usize>>>,
    /// Number of ids before the padding.
    pub length: usize,
    /// The part that was cut off, if the text exceeds the maximum length.
    pub truncated: Option<Truncation>,
}

/// The part of a prompt beyond the model's maximum length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    /// Byte offset in the text where the kept part ends; a character that is kept only in part is excluded.
    pub kept: usize,
    /// The removed text, trimmed.
    pub dropped: String,
}

/// Why a tokenizer can't be loaded, or fails on a text.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The folder has neither form of vocabulary.
    #[error("no tokenizer in {}: expected `tokenizer.json`, or `vocab.json` and `merges.txt`", folder.display())]
    Missing {
        /// The tokenizer's folder.
        folder: PathBuf,
    },
    /// A file of the tokenizer can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// A file of the tokenizer is invalid.
    #[error("{} is not a valid tokenizer file: {reason}", path.display())]
    Malformed {
        /// The file, or the folder if several files are inconsistent.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The built-in vocabulary does not fit the model.
    #[error("the built-in CLIP tokenizer does not fit the model: {reason}")]
    Unfit {
        /// What is wrong.
        reason: String,
    },
    /// A text can't be encoded.
    #[error("the text can't be tokenized: {reason}")]
    Text {
        /// The tokenizer's error.
        reason: String,
    },
}

/// The pairs of a `merges.txt`, by rank; `None` if a line is not a pair.
pub(in crate::models) fn merges(text: &str) -> Option<Vec<(&str, &str)>> {
    let lines = text.lines().filter(|it| !it.starts_with("#version") && !it.is_empty());
    lines.map(|it| it.split_once(' ').filter(|(_, second)| !second.contains(' '))).collect()
}

/// Byte range of each token in the text, from the tokenizer's offsets.
///
/// Differs: ranges are extended to whole characters, where a token may be part of one, and to combining marks that were
/// composed with its last letter, which the tokenizer assigns to no token.
pub(in crate::models) fn places(text: &str, offsets: &[(usize, usize)]) -> Vec<Range<usize>> {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let starts: Vec<usize> =
        offsets.iter().map(|it| (0..=it.0).rev().find(is_boundary).unwrap_or(0)).collect();
    let places = offsets.iter().enumerate().map(|(number, &(_, end))| {
        let end = (end..text.len()).find(is_boundary).unwrap_or(text.len());
        let next = starts.get(number + 1).copied().unwrap_or(text.len());
        // Tokens leave out white space at most, so that what follows up to it belongs to this one.
        // The next token may begin before this one ends, within the same character.
        let gap = text.get(end..next).unwrap_or_default();
        let marks = gap.find(char::is_whitespace).unwrap_or(gap.len());
        starts[number]..end + marks
    });
    places.collect()
}

/// The text of a file, without a byte order mark.
pub(in crate::models) fn read(path: &Path) -> Result<String, TokenizerError> {
    let text = fs::read_to_string(path)
        .map_err(|source| TokenizerError::Unreadable { path: path.to_owned(), source })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

pub(in crate::models) fn read_json(path: &Path) -> Result<Value, TokenizerError> {
    serde_json::from_str(&read(path)?).map_err(|error| TokenizerError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
