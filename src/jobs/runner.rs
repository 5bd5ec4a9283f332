//! Interface between jobs and the model that runs their passes; tests script it.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;

use crate::edit::settings::EditSettings;
use crate::jobs::fault::Fault;
use crate::wire::{
    pictures::{LazyPreview, PictureFile},
    v1,
};

/// The loaded model, as reported to callers.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Digest of its weights.
    pub digest: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Number format, such as `bf16`.
    pub dtype: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Settings that the model recommends.
    pub recommended: EditSettings,
}

/// The parts of a job that a runner needs.
#[derive(Debug, Clone)]
pub struct Task {
    /// The normalized spec.
    pub spec: v1::EditSpec,
    /// The input's encoded file.
    pub image: Bytes,
    /// Saved localization of an earlier pass 1, in JSON.
    pub localization: Option<Bytes>,
    /// The decided mask, with the file of its image if it has one.
    pub mask: Option<(v1::Mask, Option<Bytes>)>,
}

/// Event during a pass.
#[derive(Debug)]
pub enum RunEvent {
    /// The parsed instruction.
    Parsed(v1::InstructionParsed),
    /// A warning.
    Warning(v1::Warning),
    /// A denoising step has ended.
    Step(v1::StepProgress),
    /// Preview after a denoising step (from 1) of a pass.
    Preview(v1::Pass, u32, LazyPreview),
    /// The mask that the edit uses is known.
    MaskSettled {
        /// The mask as a picture.
        file: PictureFile,
        /// Its share of the picture, 0 to 1.
        area: f64,
        /// Whether it is the whole picture because the instruction names no object.
        whole: bool,
    },
}

/// Callback for a pass's events; `Break` stops the pass within one denoising step.
pub type Listener<'a> = &'a mut dyn FnMut(RunEvent) -> ControlFlow<()>;

/// Result of pass 1.
#[derive(Debug)]
pub struct Localized {
    /// The localization; `None` where the instruction is about the whole picture.
    pub found: Option<Proposal>,
}

/// A localization with its pictures.
#[derive(Debug)]
pub struct Proposal {
    /// A saved localization, in JSON.
    pub json: Bytes,
    /// Whether it was computed, or taken from the cache or another job.
    pub source: v1::LocalizationSource,
    /// Clusters of the picture.
    pub clusters: Vec<v1::Cluster>,
    /// Cluster map in color and label map, if asked for.
    pub cluster_map: Option<(PictureFile, PictureFile)>,
    /// Heat map of each word, if asked for.
    pub heatmaps: Vec<(v1::Heatmap, PictureFile)>,
    /// Proposed mask.
    pub mask: PictureFile,
    /// Its share of the picture, 0 to 1.
    pub area: f64,
    /// See [`v1::MaskProposed`].
    pub covered: Option<v1::CoveredArea>,
    /// Confidence that the object is in the picture, 0 to 1, if it can be estimated.
    pub confidence: Option<f64>,
}

/// Result of pass 2.
#[derive(Debug)]
pub struct Edited {
    /// The edited picture.
    pub image: PictureFile,
    /// Time of decoding the latent and encoding the file.
    pub decode: Duration,
}

/// Why a pass gave no result.
#[derive(Debug)]
pub enum RunError {
    /// The listener stopped it.
    Interrupted,
    /// The pass failed.
    Fault(Fault),
    /// The device is unusable: no pass can run in this process any more.
    DeviceLost(String),
}

/// Runs the passes of jobs on one thread.
pub trait Runner {
    /// The loaded model.
    fn model(&self) -> &ModelInfo;

    /// Runs pass 1, or only renders its pictures where the task has a localization already.
    ///
    /// # Errors
    /// [`RunError`].
    fn localize(&mut self, task: &Task, listener: Listener<'_>) -> Result<Localized, RunError>;

    /// Runs pass 2.
    ///
    /// # Errors
    /// [`RunError`].
    fn edit(&mut self, task: &Task, listener: Listener<'_>) -> Result<Edited, RunError>;
}
