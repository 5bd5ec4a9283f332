//! Errors of opening a model folder or file.

use std::{io, path::PathBuf};

use crate::models::{
    snapshot::family::Family, tokenized::TokenizerError, weights::error::WeightsError,
};

/// Why a path is not a usable model.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The path does not exist.
    #[error("no model at {}: expected a folder with model_index.json, or a .safetensors file", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// Files are missing from the folder.
    #[error("the model in {} lacks `{}`; {hint}", path.display(), files.join("`, `"))]
    Missing {
        /// The folder.
        path: PathBuf,
        /// Every missing file, by its path in the folder.
        files: Vec<String>,
        /// What the folder contains instead, and the remedy.
        hint: String,
    },
    /// A file can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// A file is invalid.
    #[error("{} is invalid: {reason}; download it again, or correct it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is a model, but of another kind.
    #[error("{} is {found}; expected {}", path.display(), Family::supported())]
    WrongArchitecture {
        /// The folder or file.
        path: PathBuf,
        /// The kind of model.
        found: String,
    },
    /// It is a model of a supported kind, but a variant that is not supported.
    #[error("{} is {found}; {remedy}", path.display())]
    OtherVariant {
        /// The folder or file.
        path: PathBuf,
        /// The variant.
        found: String,
        /// The model that can be used instead.
        remedy: &'static str,
    },
    /// Tokenizer and text encoder belong to different models.
    #[error(
        "the tokenizer's vocabulary has {tokens} tokens, the text encoder's only {known}; take both from one model"
    )]
    Vocabulary {
        /// Vocabulary size of the tokenizer.
        tokens: usize,
        /// Vocabulary size of the text encoder.
        known: u64,
    },
    /// The weights of a network can't be loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer can't be loaded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
