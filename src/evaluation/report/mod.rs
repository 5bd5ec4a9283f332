//! The report of an evaluation, as JSON, CSV, Markdown and a single HTML page.

mod csv;
mod gallery;
mod html;
mod json;
mod markdown;
mod plots;

use std::path::{Path, PathBuf};

use crate::evaluation::{
    EvaluationError,
    runner::Evaluation,
    tables::{self, Comparison, Table},
};
use crate::picture::write::{self, Overwrite};

/// Files of a report; the HTML page comes first.
pub const FILES: [&str; 5] =
    ["report.html", "report.md", "report.json", "scores.csv", "tables.csv"];

/// An evaluation with its aggregates.
#[derive(Debug)]
pub struct Report<'a> {
    /// The evaluation.
    pub evaluation: &'a Evaluation,
    /// Metadata of the run: labels and values.
    pub facts: Vec<(String, String)>,
    /// The table by action.
    pub by_action: Table,
    /// Tables by the manifest's strata.
    pub by_strata: Vec<Table>,
    /// Comparisons of each method with the first.
    pub comparisons: Vec<Comparison>,
}

impl<'a> Report<'a> {
    /// Aggregates an evaluation.
    pub fn new(evaluation: &'a Evaluation, facts: Vec<(String, String)>) -> Self {
        Self {
            evaluation,
            facts,
            by_action: tables::by_action(evaluation),
            by_strata: tables::by_strata(evaluation),
            comparisons: tables::comparisons(evaluation),
        }
    }

    /// The table by action and the comparisons as text, for a terminal.
    pub fn summary(&self) -> String {
        markdown::summary(self)
    }

    /// Writes [`FILES`] into an existing folder, replacing files of these names. Returns their paths.
    ///
    /// # Errors
    /// [`EvaluationError::Write`].
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, EvaluationError> {
        let texts = [
            html::page(self),
            markdown::document(self),
            json::document(self),
            csv::scores(self.evaluation),
            csv::tables(self),
        ];
        let files = FILES.iter().zip(texts).map(|(name, text)| {
            let path = folder.join(name);
            write::write_atomically(&path, text.as_bytes(), Overwrite::Replace)
                .map_err(EvaluationError::Write)?;
            Ok(path)
        });
        files.collect()
    }
}
