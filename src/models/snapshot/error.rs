//! What can be wrong with a model folder or file.

use std::{io, path::PathBuf};

use crate::models::{
    stable_diffusion::clip::tokenizer::TokenizerError, weights::error::WeightsError,
};

/// A path that is no usable model.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Nothing is there.
    #[error("no model at {}: expected a folder with model_index.json, or a .safetensors file", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The folder lacks files.
    #[error("the model in {} lacks `{}`; {hint}", path.display(), files.join("`, `"))]
    Missing {
        /// The folder.
        path: PathBuf,
        /// Every file that is missing, by its path in the folder.
        files: Vec<String>,
        /// What is there instead, and what to do about it.
        hint: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} is not readable: {reason}; download it again, or correct it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// It is a model, but of another kind.
    #[error(
        "{} is {found}; needed is an InstructPix2Pix model: a U-Net with 8 input channels, an AutoencoderKL and one \
         CLIP text encoder",
        path.display()
    )]
    WrongArchitecture {
        /// The folder or file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The tokenizer and the text encoder are of different models.
    #[error("the tokenizer has {tokens} tokens, the text encoder knows {known}")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the text encoder's embedding.
        known: u64,
    },
    /// The weights of a part cannot be had.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer cannot be had.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
