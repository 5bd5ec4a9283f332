//! The editing methods and what they say of an edit.
//!
//! [`editor::Editor`] is the door: a request in, events while it runs, an edited picture out.

pub mod baselines;
pub mod editor;
pub mod iam_edit;
pub mod localization_cache;
pub mod localize;
pub mod noise_difference;
pub mod preserve;
pub mod session;
pub mod settle_mask;
mod step_reports;

use crate::instruction::ParseError;
use crate::picture::error::PictureError;
use crate::pipelines::{PipelineError, denoise::DenoiseError};
use crate::sampling::Interrupted;

/// Why an edit ended without a picture.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The caller stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The model failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A mask or a size that does not fit.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The instruction was not understood, and the caller wants no plain edit then.
    #[error(transparent)]
    NotParsed(ParseError),
    /// A cluster that the localization does not have.
    #[error("there is no cluster {id}; clusters are numbered 1 to {count}")]
    UnknownCluster {
        /// As asked for.
        id: u8,
        /// How many there are.
        count: usize,
    },
    /// Clusters, or a mask to invert, where the instruction means the whole picture.
    #[error(
        "the instruction means the whole picture, so there are no clusters and no mask to invert"
    )]
    NothingFound,
    /// The object was hardly found, and the caller is strict.
    #[error(
        "`{object}` was found with a confidence of {confidence:.2}, below {least}: it may not be in the picture"
    )]
    LowConfidence {
        /// The words that were looked for.
        object: String,
        /// How sure the localization is, 0 to 1.
        confidence: f64,
        /// How sure it must be.
        least: f64,
    },
    /// The mask selects nothing.
    #[error("the mask selects nothing; at least one pixel must be edited")]
    EmptyMask,
    /// The U-Net has nothing to watch.
    #[error(
        "the model's U-Net has no attention in its down and up blocks, so it can't be localized with"
    )]
    NoAttention,
    /// A pool of nouns from which nothing is left.
    #[error(
        "no noun of the pool may stand for `{object}`; give the model's retouch.json more nouns"
    )]
    NoUnrelatedWord {
        /// The object.
        object: String,
    },
    /// A localization of another picture.
    #[error("the localization was made on a picture of other proportions ({height}x{width} cells)")]
    OtherGrid {
        /// Rows of its grid.
        height: i64,
        /// Columns of its grid.
        width: i64,
    },
}

impl From<DenoiseError> for EditError {
    fn from(error: DenoiseError) -> Self {
        match error {
            DenoiseError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            DenoiseError::Pipeline(error) => Self::Pipeline(error),
        }
    }
}
