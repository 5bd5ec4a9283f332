//! Evaluation: runs methods over a data set, scores the edits, and writes a report.
//!
//! [`dataset`] reads a manifest, [`runner`] makes every edit and scores it with the metrics of [`figure`],
//! [`statistics`] and [`tables`] aggregate them with confidence intervals, [`report`] writes the report.

pub mod confidence;
pub mod dataset;
pub mod figure;
pub mod localization_steps;
pub mod method;
pub mod pictures;
pub mod report;
pub mod runner;
pub mod score;
pub mod statistics;
pub mod tables;

use std::{io, path::PathBuf};

use crate::editing::EditError;
use crate::picture::{error::PictureError, size::Size};

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The manifest can't be read.
    #[error("{path} can't be read: {source}")]
    ReadManifest {
        /// The manifest.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A line of the manifest is invalid.
    #[error("{path}:{line}: {fault}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault.
        fault: ManifestFault,
    },
    /// The manifest has no items.
    #[error("{path} has no items; write one JSON object per line, with id, image and instruction")]
    NoItems {
        /// The manifest.
        path: PathBuf,
    },
    /// Unknown method name.
    #[error("there is no method `{name}`; choose from {known}")]
    UnknownMethod {
        /// The name.
        name: String,
        /// All known names.
        known: String,
    },
    /// The run was stopped, or the model failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file of the report can't be written.
    #[error(transparent)]
    Write(PictureError),
}

/// Why a line of a manifest is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A required key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value is not a string.
    #[error("`{0}` is not a string")]
    NotText(&'static str),
    /// A string without a letter.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// An instruction without words.
    #[error("`instruction` {0}")]
    Instruction(&'static str),
    /// An unknown action.
    #[error("`action` is `{0}`, expected change, recolor, add, remove or global")]
    UnknownAction(String),
    /// A duplicate id.
    #[error("duplicate id `{id}`, first used on line {first}")]
    DuplicateId {
        /// The id.
        id: String,
        /// Line of its first occurrence.
        first: usize,
    },
    /// A picture file can't be used.
    #[error("`{key}`: {source}")]
    Picture {
        /// The key.
        key: &'static str,
        /// The error.
        source: PictureError,
    },
    /// A picture's size differs from the image's.
    #[error("`{key}` {path} is {found}, expected {expected} as `image`")]
    Size {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its size.
        found: Size,
        /// The image's size.
        expected: Size,
    },
}
