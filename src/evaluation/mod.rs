//! Experiments: a data set times methods, scored, compared and reported.
//!
//! [`dataset`] reads a manifest, [`runner`] makes every edit and scores it with [`figure`]'s figures, [`statistics`] and
//! [`tables`] sum up with intervals, [`report`] writes it all down.

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

/// Why an evaluation ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The manifest can't be read.
    #[error("{path} can't be read: {source}")]
    ReadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the manifest is wrong.
    #[error("{path}:{line}: {fault}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: ManifestFault,
    },
    /// The manifest holds no item.
    #[error("{path} holds no item; write one JSON object a line, with id, image and instruction")]
    NoItems {
        /// The manifest.
        path: PathBuf,
    },
    /// A method that there is not.
    #[error("there is no method `{name}`; choose from {known}")]
    UnknownMethod {
        /// As typed.
        name: String,
        /// All names.
        known: String,
    },
    /// The run was stopped, or the model failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file of the report can't be written.
    #[error(transparent)]
    Write(PictureError),
}

/// What can be wrong with a line of a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// No JSON.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// JSON of another kind.
    #[error("not a JSON object")]
    NotAnObject,
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value that is no text.
    #[error("`{0}` is not a text")]
    NotText(&'static str),
    /// A text without a letter.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// An instruction that says nothing.
    #[error("`instruction` {0}")]
    Instruction(&'static str),
    /// An action that is not known.
    #[error("`action` is `{0}`, expected change, recolor, add, remove or global")]
    UnknownAction(String),
    /// An id that came before.
    #[error("the id `{id}` stands on line {first} already")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where it came first.
        first: usize,
    },
    /// A file that can't be used.
    #[error("`{key}`: {source}")]
    Picture {
        /// Which one.
        key: &'static str,
        /// Why.
        source: PictureError,
    },
    /// A file of another size than the image.
    #[error("`{key}` {path} is {found}, expected {expected} as `image`")]
    Size {
        /// Which one.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its size.
        found: Size,
        /// The image's size.
        expected: Size,
    },
}
