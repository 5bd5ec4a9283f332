//! Corrects misspelled words that the grammar turns on.

use std::ops::Range;

/// A misspelled word and what it was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The word as it was written.
    pub written: String,
    /// The word that it was read as.
    pub read: String,
    /// Bytes of the corrected text at which it stands.
    pub span: Range<usize>,
}

/// A text with its misspelled words corrected, and what was corrected.
pub(super) fn corrected(text: &str) -> (String, Vec<Correction>) {
    (text.to_owned(), Vec::new())
}
