//! The editing methods: IAM-Edit and its baselines, with instruction parsing, masks, events and settings.
//!
//! [`editor::Editor`] is the entry point: it takes a request, emits events while it runs, and returns the edited
//! picture.
//! Callers that decide between the passes use an [`open_edit::OpenEdit`].

pub mod baselines;
pub mod editor;
pub mod iam_edit;
pub mod localization_cache;
pub mod method;
pub mod methods;
pub mod model_settings;
mod no_change;
pub mod noise_difference;
pub mod open_edit;
pub mod preserve;
mod reports;
pub mod session;
pub mod settle_mask;
mod step_reports;

use crate::instruction::ParseError;
use crate::picture::error::PictureError;
use crate::pipelines::{PipelineError, denoise::DenoiseError};
use crate::sampling::Interrupted;

/// Why an edit failed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The caller stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The model failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A mask or a size does not fit the picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The instruction could not be parsed, and the caller does not want a plain edit.
    #[error(transparent)]
    NotParsed(ParseError),
    /// A cluster id that the localization does not have.
    #[error("there is no cluster {id}; clusters are numbered 1 to {count}")]
    UnknownCluster {
        /// The requested id.
        id: u8,
        /// Number of clusters.
        count: usize,
    },
    /// Clusters or an inverted mask were requested for an edit of the whole picture.
    #[error("the instruction edits the whole picture, so it has no clusters and no mask to invert")]
    NothingFound,
    /// The object was found with low confidence, and the caller is strict.
    #[error(
        "`{object}` was found with a confidence of {confidence:.2}, below {least}: it may not be in the picture"
    )]
    LowConfidence {
        /// The object's words.
        object: String,
        /// The localization's confidence, 0 to 1.
        confidence: f64,
        /// The required confidence.
        least: f64,
    },
    /// The mask selects no pixel.
    #[error("the mask selects nothing; at least one pixel must be edited")]
    EmptyMask,
    /// The U-Net has no attention in its down and up blocks.
    #[error(
        "the model's U-Net has no attention in its down and up blocks, so it can't be used for localization"
    )]
    NoAttention,
    /// A distilled model predicts nothing without the instruction.
    #[error(
        "the model is distilled: it has no prediction without the instruction, as {what} needs"
    )]
    Distilled {
        /// What needs one.
        what: &'static str,
    },
    /// A model whose layers attend to the prompt or to the picture, but not to both.
    #[error(
        "the model has no joint attention over prompt and picture, as FLUX.2 has and the modulation \
         `{modulation}` needs"
    )]
    NotJoint {
        /// Name of the modulation that was asked for.
        modulation: &'static str,
    },
    /// A model with one guidance scale.
    #[error(
        "the model has one guidance scale, that of the instruction: an image guidance changes nothing"
    )]
    OneScale,
    /// No noun of the pool can be used.
    #[error(
        "every noun of the pool occurs in the instruction or in `{object}`; add nouns to the model's retouch.json"
    )]
    NoUnrelatedWord {
        /// The object.
        object: String,
    },
    /// A reused localization has the grid of another picture.
    #[error("the localization is for a picture with another aspect ratio ({height}x{width} cells)")]
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
