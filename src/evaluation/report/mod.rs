//! An evaluation written down: JSON and CSV for programs, Markdown for a text, one HTML page to look at.

mod csv;
mod escape;
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

/// The files of a report; the page comes first.
pub const FILES: [&str; 5] =
    ["report.html", "report.md", "report.json", "scores.csv", "tables.csv"];

/// An evaluation with its sums.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was run.
    pub evaluation: &'a Evaluation,
    /// How it was run: labels and values.
    pub facts: Vec<(String, String)>,
    /// The table by action.
    pub by_action: Table,
    /// Tables by the manifest's other keys.
    pub by_strata: Vec<Table>,
    /// Methods against the first one.
    pub comparisons: Vec<Comparison>,
}

impl<'a> Report<'a> {
    /// Sums an evaluation up.
    pub fn new(evaluation: &'a Evaluation, facts: Vec<(String, String)>) -> Self {
        Self {
            evaluation,
            facts,
            by_action: tables::by_action(evaluation),
            by_strata: tables::by_strata(evaluation),
            comparisons: tables::comparisons(evaluation),
        }
    }

    /// The table by action and the differences as text, for a terminal.
    pub fn summary(&self) -> String {
        markdown::summary(self)
    }

    /// Writes [`FILES`] into a folder that is there; files of these names are replaced. Returns their paths.
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
